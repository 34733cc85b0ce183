//! The choices of a deploy as a file: what is exported is what would be done, and what is wrong is named by its line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod lab;
mod plan_images;

use FileSystemKind::{Ext4, Fat32, Ntfs, Xfs};
use lab::json_schema::judge;
use lab::{remint_ends, text};
use plan_images::*;
use remint::plan::{self, DeployOptions, Shrinking, Target};
use remint::schema::{Disk, FileSystemKind, FreeSpace, Layout};
use remint::units::{GIB, MIB, SectorSize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const SMALL: SectorSize = SectorSize::B512;

fn disks() -> [Disk; 2] {
    let first = gpt_disk(
        0,
        120 * GIB,
        SMALL,
        &[
            Part { name: "EFI, \"system\"", ..part(1, MIB, 260 * MIB, EFI_SYSTEM, holds(Fat32, 260 * MIB)) },
            part(2, 261 * MIB, 60 * GIB, BASIC_DATA, holds(Ntfs, 60 * GIB - 512)),
            part(3, 261 * MIB + 60 * GIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB)),
        ],
    );
    [
        first,
        Disk {
            number: 1,
            serial: Some("WD-1".into()),
            ..bare_disk(1, 50 * GIB, SMALL, holds(Xfs, 50 * GIB))
        },
    ]
}

fn targets() -> Vec<Target> {
    let (mut one, mut other) = (target("/dev/sda", 500 * GIB, SMALL), target("/dev/sdb", 100 * GIB, SMALL));
    one.wwn = Some("naa.5000c500a1b2c3d4".into());
    (one.serial, other.serial) = (None, Some("WD-2".into()));
    vec![Target::new(0, one), Target::new(1, other)]
}

fn options(layout: Layout) -> DeployOptions {
    let (wishes, without) = (Vec::new(), Vec::new());
    DeployOptions { free_space: FreeSpace::Keep, wishes, without, ..DeployOptions::of(layout) }
}

fn exported(options: &DeployOptions) -> String {
    let schema = plan::export("lab", &disks(), &targets(), options).unwrap();
    serde_json::to_string_pretty(&schema).unwrap()
}

#[test]
fn an_exported_schema_is_for_a_person_and_keeps_to_its_description() {
    let text = exported(&options(Layout::Dynamic));
    insta::assert_snapshot!(text);
    let schema: Value = serde_json::from_str(include_str!("../docs/schema/deploy.schema.json")).unwrap();
    let mut met = BTreeSet::new();
    judge(&serde_json::from_str(&text).unwrap(), &schema, &schema, &mut met).unwrap();
    for key in
        ["format", "image", "layout", "free_space", "expand", "disk", "targets", "wwn", "serial", "size"]
    {
        assert!(met.contains(key), "{key}");
    }
    let mut wrong: Value = serde_json::from_str(&text).unwrap();
    wrong["disks"][0]["colour"] = "red".into();
    assert!(judge(&wrong, &schema, &schema, &mut met).is_err());
}

#[test]
fn what_is_exported_and_read_again_gives_the_same_plan() {
    for mut options in [options(Layout::Dynamic), options(Layout::Custom), options(Layout::Original)] {
        for without in [&[][..], &["d1".to_owned()], &["d0-p3".to_owned()]] {
            options.without = without.to_vec();
            options.wishes.clear();
            if options.layout == Layout::Custom {
                options.wishes = ["d0-p2=25%", "d0-p1=keep"].map(|wish| wish.parse().unwrap()).to_vec();
            }
            let choices = plan::read_choices(&exported(&options), "lab", &disks()).unwrap();
            let targets = || {
                let mut targets = targets();
                targets.retain(|target| !options.without.contains(&format!("d{}", target.number)));
                targets
            };
            let direct = plan::deploy("lab", "1", &disks(), &targets(), &options).unwrap();
            let read = plan::deploy("lab", "1", &disks(), &targets(), &choices.options).unwrap();
            for (one, other) in direct.disks.iter().zip(&read.disks) {
                assert_eq!((&one.table, &one.clear), (&other.table, &other.clear));
                let places = |plan: &plan::DiskPlan| {
                    plan.volumes
                        .iter()
                        .map(|v| (v.volume.clone(), v.place, v.action, v.resize))
                        .collect::<Vec<_>>()
                };
                assert_eq!(places(one), places(other));
            }
            assert_eq!((direct.disks.len(), direct.without), (read.disks.len(), read.without));
        }
    }
}

#[test]
fn boot_entries_that_are_to_stay_are_exported_and_read_again() {
    let schema: Value = serde_json::from_str(include_str!("../docs/schema/deploy.schema.json")).unwrap();
    for keep_boot_entries in [false, true] {
        let boot_first = !keep_boot_entries;
        let options = DeployOptions { keep_boot_entries, boot_first, ..options(Layout::Dynamic) };
        let text = exported(&options);
        assert_eq!(text.contains("\"boot_first\": true"), boot_first, "{text}");
        assert_eq!(text.contains("\"keep_boot_entries\": true"), keep_boot_entries, "{text}");
        judge(&serde_json::from_str(&text).unwrap(), &schema, &schema, &mut BTreeSet::new()).unwrap();
        let read = plan::read_choices(&text, "lab", &disks()).unwrap().options;
        assert_eq!((read.keep_boot_entries, read.started_by), (keep_boot_entries, None));
        assert_eq!(read.boot_first, boot_first);
        // Both together are refused at their place.
        let mut both: Value = serde_json::from_str(&text).unwrap();
        (both["boot_first"], both["keep_boot_entries"]) = (true.into(), true.into());
        let both = serde_json::to_string_pretty(&both).unwrap();
        let fault = plan::read_choices(&both, "lab", &disks()).unwrap_err();
        assert!(fault.line > 1 && fault.what.contains("leave one of them out"), "{fault}");
    }
}

#[test]
fn volumes_that_may_not_shrink_are_exported_and_read_again() {
    let schema: Value = serde_json::from_str(include_str!("../docs/schema/deploy.schema.json")).unwrap();
    for shrinking in [Shrinking::All, Shrinking::NotLogical, Shrinking::None] {
        let text = exported(&DeployOptions { shrinking, ..options(Layout::Dynamic) });
        assert_eq!(text.contains("\"shrink\": false"), shrinking == Shrinking::None, "{text}");
        assert_eq!(text.contains("\"shrink_lvm\": false"), shrinking == Shrinking::NotLogical, "{text}");
        judge(&serde_json::from_str(&text).unwrap(), &schema, &schema, &mut BTreeSet::new()).unwrap();
        assert_eq!(plan::read_choices(&text, "lab", &disks()).unwrap().options.shrinking, shrinking);
    }
}

#[test]
fn people_write_sizes_as_they_like() {
    let text = exported(&options(Layout::Dynamic)).replacen("\"share\"", "\"100 GB\"", 1).replacen(
        "\"share\"",
        "\"12.5%\"",
        1,
    );
    let choices = plan::read_choices(&text, "lab", &disks()).unwrap();
    let plan = plan::deploy("lab", "1", &disks(), &targets(), &choices.options).unwrap();
    let place = |name: &str| plan.disks[0].volumes.iter().find(|v| v.volume == name).unwrap().place.length();
    assert_eq!(place("d0-p2"), 100_000_000_000);
    assert!(place("d0-p3") >= 500 * GIB / 8);
}

#[test]
fn what_is_wrong_is_named_by_its_line() {
    let good = exported(&options(Layout::Dynamic));
    let said = |from: &str, to: &str| {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        match plan::read_choices(&text, "lab", &disks()) {
            Err(fault) => fault.to_string(),
            Ok(choices) => {
                let refusal = plan::deploy("lab", "1", &disks(), &targets(), &choices.options).unwrap_err();
                let (line, column) = plan::place_of_volume(&text, refusal.volume().unwrap()).unwrap();
                format!("{line}:{column}: {refusal}")
            }
        }
    };
    insta::assert_snapshot!(
        [
            said("\"format\": 1", "\"format\": 2"),
            said("\"lab\"", "\"other\""),
            said("\"size\": \"share\"", "\"siez\": \"share\""),
            said("\"size\": \"share\"", "\"size\": \"much\""),
            said("\"size\": \"share\"", "\"size\": 40"),
            said("\"size\": \"share\"", "\"size\": \"120%\""),
            said("\"size\": \"share\"", "\"size\": \"1 GB\""),
            said("\"size\": \"keep\"", "\"size\": \"40 GB\""),
            said("\"d0-p2\"", "\"d0-p9\""),
            said("\"d0-p2\"", "\"d0-p1\""),
            said("\"disk\": 1", "\"disk\": 7"),
            said("\"disk\": 1", "\"disk\": 0"),
            said("\"layout\": \"custom\"", "\"layout\": \"free\""),
            said("\"wwn\"", "\"wnw\""),
            said("\"keep\": []", "\"keep\": [0]"),
            said("\"expand\": true,", "\"expand\": true"),
        ]
        .join("\n")
    );
    let cut = |from: &str, to: &str| {
        let (start, end) = (good.find(from).unwrap(), good.rfind(to).unwrap() + to.len());
        let text = [good.get(..start).unwrap(), good.get(end..).unwrap()].concat();
        plan::read_choices(&text, "lab", &disks()).unwrap_err().to_string()
    };
    let second = ",\n    {\n      \"disk\": 1";
    assert!(
        cut(second, "\"size\": \"share\"\n        }\n      ]\n    }")
            .contains("nothing is said about disk 1")
    );
    // Whatever stands there, an answer comes.
    for end in 0..good.len() {
        if let Some(text) = good.get(..end) {
            plan::read_choices(text, "lab", &disks()).unwrap_err();
        }
    }
}

#[test]
fn a_schema_is_exported_edited_planned_and_deployed_to_two_disks() {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    let script = "label: gpt\nsize=16MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\nsize=8MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4";
    let places = lab::partitioned_disk(&path("disk.img"), 32 * lab::MIB, 512, script);
    for (seed, place) in (5..).zip(&places) {
        let length = usize::try_from(place.length).unwrap();
        lab::overwrite(&path("disk.img"), place.start, &lab::Noise::new(seed).bytes(length));
    }
    let store = text(&path("store")).to_owned();
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&path("disk.img"))]);
    let (file, said) = (path("lab.json"), path("wrong.json"));
    remint_ends(0, &["plan", "lab", "--from", &store, "--export", text(&file)]);
    let again = remint_ends(1, &["plan", "lab", "--from", &store, "--export", text(&file)]);
    assert!(again.contains("is there already"), "{again}");
    let text_of = fs::read_to_string(&file).unwrap();

    // A mistake: the file, the line and what is allowed.
    fs::write(&said, text_of.replacen("\"keep\"\n", "\"sixty\"\n", 1)).unwrap();
    let wrong = remint_ends(1, &["plan", "lab", "--from", &store, "--size", "1G", "--schema", text(&said)]);
    assert!(wrong.contains("wrong.json:") && wrong.contains("\"sixty\"") && wrong.contains("25%"), "{wrong}");
    // No target.
    let none = remint_ends(1, &["deploy", "lab", "--from", &store, "--yes", "--schema", text(&file)]);
    assert!(none.contains("names no targets"), "{none}");
    remint_ends(2, &["deploy", "lab", "--from", &store, "--yes"]);
    remint_ends(2, &["plan", "lab", "--from", &store, "--schema", text(&file), "--layout", "original"]);

    for name in ["a.img", "b.img"] {
        lab::noisy_disk(&path(name), 48 * lab::MIB);
    }
    let both = format!("[{{\"path\": {:?}}}, {{\"path\": {:?}}}]", path("a.img"), path("b.img"));
    let edited = text_of.replacen("\"targets\": []", &format!("\"targets\": {both}"), 1);
    let second = edited.rfind("\"deploy\": true").unwrap();
    let edited =
        [edited.get(..second).unwrap(), "\"deploy\": false", edited.get(second + 14..).unwrap()].concat();
    fs::write(&file, edited).unwrap();
    let planned = remint_ends(0, &["plan", "lab", "--from", &store, "--schema", text(&file)]);
    assert!(planned.contains("a.img") && planned.contains("receives the same disk 0"), "{planned}");
    remint_ends(0, &["deploy", "lab", "--from", &store, "--yes", "--schema", text(&file)]);
    for name in ["a.img", "b.img"] {
        let now = lab::partitions(&path(name), 512);
        assert_eq!(now.len(), 1, "the second partition is left out");
        let content = lab::bytes(&path(name), now[0].start, now[0].length);
        assert!(content == lab::bytes(&path("disk.img"), places[0].start, places[0].length), "{name}");
    }
}
