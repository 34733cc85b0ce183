//! Disks as people really have them, made by tests/oddities/make: what is told about each is golden text, what is captured
//! comes back onto noise, what is not is refused with a reason and a way out, and no source is written to.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{run, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oddities/make");

/// Every run ends within these seconds, or it never does: a loop in a chain is what they are for.
const ENDLESS: &str = "300";

/// What a refusal tells a person to do, in one of these words.
const WAYS_OUT: [&str; 6] =
    ["repair the table", "Repair the table", "Put it right", "--trust gpt", "truncate -s", "copy a disk"];

/// One run of `remint`.
struct Ran {
    code: i32,
    out: String,
    /// Warnings and errors, with nothing in them that depends on the run.
    said: String,
}

fn remint(folder: &Path, arguments: &[&str]) -> Ran {
    let program = env!("CARGO_BIN_EXE_remint");
    let output =
        Command::new("timeout").args([ENDLESS, program, "--quiet"]).args(arguments).output().unwrap();
    let code = output.status.code().expect("it ends by itself");
    let said = String::from_utf8(output.stderr).unwrap().replace(&format!("{}/", text(folder)), "");
    assert!(matches!(code, 0 | 1), "remint {arguments:?} ended with {code}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    Ran { code, out: String::from_utf8(output.stdout).unwrap(), said }
}

/// The disk of an inspection as a person would note it down: without sizes in use, which a version of a tool decides.
fn described(json: &str) -> String {
    let value: Value = serde_json::from_str(json).unwrap();
    let disk = &value["disks"][0];
    let table = &disk["disk"]["table"];
    let mut lines =
        vec![format!("{}, {} bytes", table["kind"].as_str().unwrap(), disk["disk"]["size_bytes"])];
    for volume in disk["disk"]["volumes"].as_array().unwrap() {
        let content = &volume["content"];
        let file_system = if content["kind"].is_null() { &content["file_system"] } else { content };
        let mut line = format!(
            "{} at {}, {} bytes: {}",
            volume["name"].as_str().unwrap(),
            volume["start_bytes"],
            volume["size_bytes"],
            content["content"].as_str().unwrap()
        );
        if let (Some(kind), Some(state)) = (file_system["kind"].as_str(), file_system["state"].as_str()) {
            line.push_str(&format!(", {kind}, {state}"));
        }
        lines.push(line);
    }
    let refusals = disk["refusals"].as_array().unwrap();
    for finding in disk["findings"].as_array().unwrap() {
        let kind = if refusals.contains(finding) { "refused" } else { "note" };
        lines.push(format!("{kind}: {}", finding.as_str().unwrap()));
    }
    lines.join("\n")
}

fn section(told: &mut String, heading: &str, body: &str) {
    told.push_str(&format!("== {heading}\n"));
    if !body.trim().is_empty() {
        told.push_str(&format!("{}\n", body.trim_end()));
    }
}

/// Inspects, captures and deploys an oddity; returns what a person is told.
fn told_about(name: &str) -> String {
    let folder = lab::folder();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let (disk, store, target) = (path("disk.img"), path("store"), path("target.img"));
    run(MAKE, &[name, text(&disk)]);
    let before = lab::hash_of(&disk);
    let mut told = String::new();

    let inspected = remint(folder.path(), &["inspect", "--json", text(&disk)]);
    let body = if inspected.code == 0 { described(&inspected.out) } else { inspected.said };
    section(&mut told, "inspect", &body);

    let captured = remint(folder.path(), &["capture", "odd", "--to", text(&store), "--disk", text(&disk)]);
    // A switch that is offered does what it says.
    for switch in [["--trust", "gpt"], ["--when-dirty", "raw"]] {
        if captured.said.contains(&switch.join(" ")) {
            let aside = path("aside");
            let arguments =
                ["capture", "odd", "--to", text(&aside), "--disk", text(&disk), switch[0], switch[1]];
            let decided = remint(folder.path(), &arguments);
            assert_eq!(decided.code, 0, "{switch:?}: {}", decided.said);
        }
    }
    assert_eq!(lab::hash_of(&disk), before, "the source was written to");
    let heading = if captured.code == 0 { "capture" } else { "capture, refused" };
    section(&mut told, heading, &captured.said);
    if captured.code != 0 {
        assert!(WAYS_OUT.iter().any(|way| captured.said.contains(way)), "no way out: {}", captured.said);
        assert_eq!(lab::published(&store), 0);
        return told;
    }

    // What was captured can be deployed, and what is there then raises no eyebrow.
    let size = fs::metadata(&disk).unwrap().len();
    fs::write(&target, lab::Noise::new(size).bytes(usize::try_from(size).unwrap())).unwrap();
    let deploy = ["deploy", "odd", "--from", text(&store), "--disk", text(&target), "--yes"];
    let deployed = remint(folder.path(), &deploy);
    assert_eq!(deployed.code, 0, "{name} was captured and cannot be deployed: {}", deployed.said);
    section(&mut told, "deploy", &deployed.said);
    let there = remint(folder.path(), &["inspect", "--json", text(&target)]);
    assert_eq!(there.code, 0, "{}", there.said);
    section(&mut told, "the target", &described(&there.out));
    assert!(!told.contains(text(folder.path())), "{told}");
    told
}

macro_rules! oddities {
    ($($name:ident)+) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), told_about(stringify!($name)));
            }
        )+
    };
}

oddities! {
    ext4_larger_than_its_partition
    fat_larger_than_its_partition
    ntfs_larger_than_its_partition
    ext4_smaller_than_its_partition
    cut_off_inside_a_partition
    cut_off_behind_the_partitions
    cut_off_without_a_table
    mbr_cut_off
    enlarged
    overlap_in_an_mbr
    overlap_in_a_gpt
    same_partition_twice
    starts_beyond_the_end
    reaches_beyond_2_tib
    gpt_beyond_the_end
    without_sectors_in_an_mbr
    last_before_first_in_a_gpt
    partition_over_its_gpt
    gpt_with_128_partitions
    gpt_with_256_entries
    gpt_with_4_entries
    gpt_without_partitions
    gpt_not_in_disk_order
    chain_that_loops
    chain_that_names_itself
    chain_that_leaves_the_disk
    chain_without_a_record
    logical_outside_of_its_container
    extended_without_logical_ones
    two_extended
    hybrid
    primary_gpt_broken
    entries_of_the_primary_broken
    backup_gpt_broken
    no_good_gpt
    copies_of_the_gpt_differ
    without_protective_mbr
    mbr_over_a_gpt
    mbr_with_an_old_backup_gpt
    start_cleared
    starts_in_sector_1
    cd_image_on_a_stick
    table_of_4096_byte_sectors
    file_system_without_a_table
    nothing_at_all
    one_sector
    half_a_sector_too_much
    no_bytes
    same_uuid_twice
}

#[test]
fn no_oddity_of_the_script_is_left_out() {
    let listed = run(MAKE, &["--list"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), NAMES);
}
