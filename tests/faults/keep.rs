//! Deploys that keep something of the target: whatever fails, not a byte of it changes, and a table leads to it.

use super::boot_entries::Untouched;
use super::customize::Stamp;
use super::deploy::{Marker, machine_disk};
use super::disk::{Op, Target, Tear};
use super::image::{Image, ONE_WORKER, version};
use super::source::{self, MIB};
use super::store::{FailingStore, Trouble};
use super::trigger::Trigger;
use super::{POLICIES, for_every_call, gpt};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::image::Store;
use remint::partition::{self, Trust};
use remint::plan::{self, DeployOptions, DeployPlan, Stays};
use remint::progress::Silent;
use remint::restore::{self, Failure, Left, Surroundings};
use remint::schema::{ChosenVolume, FreeSpace, Keep, KeptPartition, Layout, Table};
use remint::units::{ByteRange, Lba, SectorSize};

const SECTOR: SectorSize = SectorSize::B512;
const TARGET_BYTES: usize = 16 * MIB;
/// The partition that a person has data on: in the last third of the disk, up to its last usable sector.
const KEPT: u32 = 4;
const KEPT_AT: usize = 11 * MIB;

/// A deploy that keeps something, with what stands on its target.
struct Keeping {
    image: &'static Image,
    plan: DeployPlan,
    before: Vec<u8>,
}

/// Noise with the table of the image's disk, of which partition 4 lies further behind.
fn used_disk() -> (Vec<u8>, Table) {
    let mut bytes = source::noise(TARGET_BYTES, 91);
    let Table::Gpt(mut gpt) = gpt().manifest.disks[0].table.clone() else { panic!() };
    let size = TARGET_BYTES as u64;
    gpt.last_usable_lba = partition::last_usable_lba(size, SECTOR, 128, 128).unwrap();
    let kept = gpt.partitions.iter_mut().find(|entry| entry.number == KEPT).unwrap();
    (kept.first_lba, kept.last_lba) = (Lba(KEPT_AT as u64 / 512), gpt.last_usable_lba);
    "data".clone_into(&mut kept.name);
    kept.name_utf16le.0 = "data".encode_utf16().flat_map(u16::to_le_bytes).collect();
    kept.name_utf16le.0.resize(72, 0);
    for piece in partition::encode(&Table::Gpt(gpt.clone()), size, SECTOR).unwrap() {
        bytes[piece.at as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    let found = partition::read(&bytes.as_slice(), SECTOR, Trust::Undecided).unwrap();
    assert_eq!(found.findings, []);
    (bytes, found.table)
}

impl Keeping {
    fn new(keep: Keep, free_space: FreeSpace) -> Self {
        let (image, (before, found)) = (gpt(), used_disk());
        let disks = &image.manifest.disks;
        let mut targets = plan::match_disks(disks, &[machine_disk(0, TARGET_BYTES)]).unwrap();
        targets[0].found = Some(found);
        let layout = Layout::Dynamic;
        let options = DeployOptions { free_space, keep, ..DeployOptions::of(layout) };
        let plan = plan::deploy("machine", "1", disks, &targets, &options).unwrap();
        Self { image, plan, before }
    }

    fn partition(free_space: FreeSpace) -> Self {
        Self::new(Keep::Partitions(vec![KeptPartition { disk: None, number: KEPT }]), free_space)
    }

    fn table(free_space: FreeSpace) -> Self {
        let volume = |volume: &str| ChosenVolume { volume: volume.to_owned(), place: None };
        Self::new(Keep::Table(vec![volume("d0-p2"), volume("d0-p3")]), free_space)
    }

    fn run(&self, target: &Target, store: &dyn Store) -> Result<(), Failure> {
        let targets = std::slice::from_ref(target);
        let resizer = Marker { plan: &self.plan, targets };
        let (manifest, customizer) = (&self.image.manifest, Stamp::default());
        let prepared = restore::prepare(&self.plan, manifest, store, version("1"), &resizer, &customizer)
            .map_err(Failure::from)?;
        let (workers, monitor) = (ONE_WORKER, &Silent);
        let around = Surroundings {
            resizer: &resizer,
            customizer: &customizer,
            firmware: &Untouched,
            workers,
            monitor,
        };
        restore::run(&prepared, &[target], &around).map(drop)
    }

    /// Every byte that is to stay is what it was.
    fn assert_kept(&self, now: &[u8], what: &str) {
        let spared = self.plan.disks[0].spared();
        assert!(spared.total_bytes() > MIB as u64, "something stays");
        for range in spared.iter() {
            let range = range.start() as usize..range.end() as usize;
            super::deploy::assert_same(&now[range.clone()], &self.before[range], what);
        }
    }

    /// A table that leads to what stays.
    fn assert_reachable(&self, now: &dyn ReadAt, what: &str) -> Table {
        let reading =
            partition::read(now, SECTOR, Trust::Undecided).unwrap_or_else(|error| panic!("{what}: {error}"));
        let entry = |table: &Table| match table {
            Table::Gpt(gpt) => gpt.partitions.iter().find(|entry| entry.number == KEPT).cloned(),
            _ => None,
        };
        let found = entry(self.plan.disks[0].stays.found().unwrap());
        assert_eq!(entry(&reading.table), found, "{what}");
        reading.table
    }

    fn judge(&self, target: &Target, result: &Result<(), Failure>, what: &str) {
        let (disk, now) = (&self.plan.disks[0], target.bytes());
        self.assert_kept(&now, what);
        match result {
            Ok(()) => {
                assert_eq!(
                    without_code(self.assert_reachable(&now.as_slice(), what)),
                    without_code(disk.table.clone())
                );
                self.assert_written(&now, what);
            }
            Err(failure) if failure.not_cleared.is_empty() => {
                let table = self.assert_reachable(&now.as_slice(), what);
                if !failure.target_changed {
                    return assert!(now == self.before, "{what}: nothing was written");
                }
                match (&disk.stays, failure.left) {
                    (Stays::Partitions { meanwhile, .. }, Left::KeptPartitions) => {
                        assert_eq!(without_code(table), without_code(meanwhile.clone()), "{what}");
                    }
                    (Stays::Table { found, .. }, Left::Table) => {
                        assert_eq!(table, *found, "{what}");
                        let start = disk.volumes[0].place.start() as usize;
                        assert!(
                            now[start..start + MIB].iter().all(|byte| *byte == 0),
                            "{what}: nothing is recognised"
                        );
                    }
                    other => panic!("{what}: {other:?}"),
                }
            }
            // A target that died: whatever arrived, nothing that stays was changed.
            Err(_) => {}
        }
    }

    /// The used blocks of what was deployed are on the target.
    fn assert_written(&self, now: &[u8], what: &str) {
        for volume in
            self.plan.disks[0].volumes.iter().filter(|volume| volume.partition.is_some_and(|n| n != 3))
        {
            let (source, used) = self.image.volume(&volume.volume);
            for range in used.iter() {
                let at = (volume.place.start() + range.start()) as usize;
                let range = range.start() as usize..range.end() as usize;
                super::deploy::assert_same(&now[at..at + range.len()], &source[range], what);
            }
        }
    }
}

/// A table without its sector 0, of which the length of the disk is a part.
fn without_code(mut table: Table) -> Table {
    if let Table::Gpt(gpt) = &mut table {
        gpt.boot_sector.0.clear();
    }
    table
}

fn both(free_space: FreeSpace) -> [Keeping; 2] {
    [Keeping::partition(free_space), Keeping::table(free_space)]
}

#[test]
fn what_is_kept_stays_to_the_byte() {
    for policy in POLICIES {
        for keeping in both(policy) {
            let target = Target::new(&keeping.before, Trigger::never(), Tear::Before);
            let result = keeping.run(&target, &keeping.image.store);
            assert!(result.is_ok(), "{result:?}");
            keeping.judge(&target, &result, &format!("{policy:?}"));
        }
    }
}

#[test]
fn what_is_kept_stays_whatever_call_to_the_target_fails() {
    for (trigger, tear) in [
        (Trigger::once as fn(u64) -> Trigger, Tear::Before),
        (Trigger::once, Tear::Half),
        (Trigger::from, Tear::Half),
    ] {
        for policy in [FreeSpace::Discard, FreeSpace::Zero] {
            for keeping in both(policy) {
                for_every_call(|n| {
                    let target = Target::new(&keeping.before, trigger(n), tear);
                    let result = keeping.run(&target, &keeping.image.store);
                    keeping.judge(&target, &result, &format!("{policy:?}, {tear:?}, call {n}"));
                    target.fired()
                });
            }
        }
    }
}

#[test]
fn what_is_kept_stays_whatever_the_store_does() {
    for trouble in [Trouble::Error, Trouble::Missing, Trouble::Flipped] {
        for keeping in both(FreeSpace::Keep) {
            for_every_call(|n| {
                let store = FailingStore { inner: &keeping.image.store, trigger: Trigger::once(n), trouble };
                let target = Target::new(&keeping.before, Trigger::never(), Tear::Before);
                let result = keeping.run(&target, &store);
                keeping.judge(&target, &result, &format!("{trouble:?}, call {n}"));
                assert_eq!(store.trigger.fired(), result.is_err(), "{trouble:?}, call {n}");
                store.trigger.fired()
            });
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_a_table_that_leads_to_what_is_kept() {
    for keeping in both(FreeSpace::Discard) {
        let target = Target::recording(&keeping.before);
        keeping.run(&target, &keeping.image.store).unwrap();
        let (flushed, all) =
            (MemoryDisk::from_bytes(&keeping.before), MemoryDisk::from_bytes(&keeping.before));
        let mut pending: Vec<Op> = Vec::new();
        for (index, op) in target.log().into_iter().enumerate() {
            let what = format!("power cut behind {index}: {:?}", op.range());
            if let Op::Flush = op {
                pending.drain(..).for_each(|op| op.replay(&flushed));
                continue;
            }
            op.replay(&all);
            keeping.assert_reachable(&all, &what);
            // Of what is on its way, only the last arrived.
            let range = op.range();
            let mut was = vec![0; range.length() as usize];
            flushed.read_at(range.start(), &mut was).unwrap();
            op.replay(&flushed);
            keeping.assert_reachable(&flushed, &what);
            flushed.write_at(range.start(), &was).unwrap();
            pending.push(op);
        }
        keeping.assert_kept(&target.bytes(), "at the end");
    }
}

#[test]
fn a_table_that_changed_since_the_plan_is_refused_untouched() {
    for keeping in both(FreeSpace::Keep) {
        let mut other = keeping.before.clone();
        let Some(Table::Gpt(mut gpt)) = keeping.plan.disks[0].stays.found().cloned() else { panic!() };
        gpt.partitions.retain(|entry| entry.number != 5);
        for piece in partition::encode(&Table::Gpt(gpt), TARGET_BYTES as u64, SECTOR).unwrap() {
            other[piece.at as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        let target = Target::new(&other, Trigger::never(), Tear::Before);
        let failure = keeping.run(&target, &keeping.image.store).unwrap_err();
        assert!(
            matches!(failure.error, restore::Error::TableChanged { .. }) && !failure.target_changed,
            "{failure:?}"
        );
        assert!(!target.touched());
    }
}

#[test]
fn a_plan_that_touches_what_stays_is_found_by_the_checker() {
    for keeping in both(FreeSpace::Keep) {
        let disks = &keeping.image.manifest.disks;
        assert_eq!(plan::check(&keeping.plan, disks), Ok(()));
        let damaged = |damage: &dyn Fn(&mut plan::DiskPlan)| {
            let mut plan = keeping.plan.clone();
            damage(&mut plan.disks[0]);
            plan::check(&plan, disks).is_err()
        };
        let spared = keeping.plan.disks[0].spared().iter().last().unwrap();
        assert!(damaged(&|disk| disk.clear.push(ByteRange::new(spared.end() - 512, spared.end()))));
        assert!(damaged(
            &|disk| disk.volumes.last_mut().unwrap().place = ByteRange::new(spared.start(), spared.end())
        ));
        assert!(damaged(&|disk| if let Table::Gpt(gpt) = &mut disk.table {
            gpt.partitions.iter_mut().find(|entry| entry.number == KEPT).unwrap().first_lba.0 += 1;
        }));
        assert!(damaged(&|disk| if let Table::Gpt(gpt) = &mut disk.table {
            gpt.partitions.retain(|entry| entry.number != KEPT);
        }));
        assert!(damaged(&|disk| disk.stays = Stays::Nothing));
    }
}
