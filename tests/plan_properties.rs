//! The rules of the planner, 1 to 9, over generated images and disks: whatever is captured and whatever it is deployed to.
//!
//! | rule | property |
//! | --- | --- |
//! | 1 places on the target's sectors, on 1 MiB | `every_plan_passes_the_checker_and_keeps_the_rules` |
//! | 2 what is fixed keeps its size to the byte | the same |
//! | 3 wanted sizes, proportion, minimums, shared again after a clamp | `shares_are_those_of_the_rules_and_do_not_depend_on_the_order`, `wanted_sizes_are_given_and_nothing_is_lost`; `plan::sharing` |
//! | 4 an exact minimum, a disk that is filled | `the_minimum_is_exact`, `every_plan_passes_...` |
//! | 5 MBR: containers, boot records, 2^32 sectors | `an_mbr_is_one_that_reads_the_same_and_keeps_what_it_was`, `no_mbr_reaches_beyond_two_to_the_32_sectors` |
//! | 6 GPT: identity kept, hybrid entries | `a_gpt_is_one_that_reads_the_same_and_keeps_what_it_was`, `hybrid_entries_follow_their_partitions_or_are_left_out` |
//! | 7 logical volumes | with LVM, in their own tests |
//! | 8 sector sizes | `content_goes_onto_other_sectors_where_it_works_there_and_nowhere_else` |
//! | 9 which disk goes where | `disks_are_matched_by_their_names_or_not_at_all` in `plan_cases.rs`, `disks_without_names_are_matched_only_without_doubt` |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

#[path = "plan_properties/checker.rs"]
mod checker;
#[path = "plan_properties/generated.rs"]
mod generated;
#[path = "plan_properties/matching.rs"]
mod matching;
#[path = "plan_properties/realistic.rs"]
mod realistic;
#[path = "plan_properties/sectors.rs"]
mod sectors;
#[path = "plan_properties/sizes.rs"]
mod sizes;
#[path = "plan_properties/tables.rs"]
mod tables;

use plan_images::target;
use proptest::prelude::*;
use remint::plan::{self, DeployOptions, DeployPlan, Refusal, Target};
use remint::schema::{Disk, Layout, MbrRole, Table};
use remint::units::{ByteRange, GIB, Lba, MIB, SectorSize};
use std::collections::BTreeMap;

fn deploy(
    disk: &Disk,
    size_bytes: u64,
    sector: SectorSize,
    options: &DeployOptions,
) -> Result<DeployPlan, Refusal> {
    let targets = [Target::new(0, target("/dev/sda", size_bytes, sector))];
    plan::deploy("image", "1", std::slice::from_ref(disk), &targets, options)
}

/// The places of a table by partition number; 0 is the volume that fills a disk.
fn places(table: &Table, sector: SectorSize, whole: u64) -> BTreeMap<u32, ByteRange> {
    let place =
        |first: Lba, sectors: u64| ByteRange::at(first.0 * sector.bytes(), sectors * sector.bytes()).unwrap();
    match table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .map(|p| (p.number, place(p.first_lba, p.last_lba.0 - p.first_lba.0 + 1)))
            .collect(),
        Table::Mbr(mbr) => mbr
            .partitions
            .iter()
            .filter(|p| p.role != MbrRole::Extended)
            .map(|p| (p.number, place(p.first_lba, p.sectors)))
            .collect(),
        Table::None => BTreeMap::from([(0, ByteRange::new(0, whole))]),
    }
}

fn whole_place(plan: &DeployPlan) -> u64 {
    plan.disks[0].volumes.last().map_or(0, |volume| volume.place.end())
}

fn usable_end(plan: &DeployPlan, sector: SectorSize) -> u64 {
    let whole = plan.disks[0].target.size_bytes / sector.bytes() * sector.bytes();
    match &plan.disks[0].table {
        Table::Gpt(gpt) => (gpt.last_usable_lba.0 + 1) * sector.bytes(),
        Table::Mbr(_) => whole.min(sector.bytes() << 32),
        Table::None => whole,
    }
}
