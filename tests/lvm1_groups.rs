//! Groups of LVM1 come back from what is used of all their physical volumes; some of these alone are refused, and what contradicts
//! itself is not believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod lab;
#[path = "lvm1/mod.rs"]
mod made;

use lab::{MIB, Noise, remint_ends, run, text};
use made::{Group, START, Volume};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::lvm1::{self, Physical};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const EXTENT: usize = 1 << 20;

struct Lab {
    _folder: tempfile::TempDir,
    group: Group,
    store: String,
}

fn volume(name: &'static str, extents: Vec<(usize, usize)>) -> Volume {
    Volume { name, extents, stripes: 1, stripe_bytes: 0, access: 3 }
}

/// Two physical volumes with a linear volume in three pieces, a striped one, and swap space.
fn made() -> Lab {
    let folder = lab::folder();
    let linear = (2..8).map(|at| (0, at)).chain((0..6).map(|at| (1, at))).chain([(0, 0)]).collect();
    let striped = (10..16).map(|at| (0, at)).chain((9..15).map(|at| (1, at))).collect();
    let group = Group {
        folder: folder.path().to_owned(),
        extent_bytes: EXTENT,
        disks: vec![18, 16],
        volumes: vec![
            volume("root", linear),
            Volume { stripes: 2, stripe_bytes: 16 << 10, ..volume("data", striped) },
            volume("swap", vec![(1, 7)]),
        ],
    };
    let files = folder.path().join("files");
    lab::real_files(&files, 4 * MIB);
    let content: Vec<PathBuf> = (0..3).map(|number| folder.path().join(format!("content{number}"))).collect();
    for (number, path) in content.iter().enumerate() {
        lab::noisy_disk(path, (group.volumes[number].extents.len() * EXTENT) as u64);
    }
    for path in &content[..2] {
        run("mke2fs", &["-q", "-F", "-t", "ext4", "-E", "nodiscard", "-d", text(&files), text(path)]);
    }
    run("mkswap", &[text(&content[2])]);
    group.make(&content);
    let store = text(&folder.path().join("store")).to_owned();
    Lab { _folder: folder, group, store }
}

impl Lab {
    fn capture(&self, code: i32, disks: &[usize], more: &[&str]) -> String {
        let paths: Vec<PathBuf> = disks.iter().map(|disk| self.group.disk(*disk)).collect();
        let mut arguments = vec!["capture", "group", "--to", &self.store];
        paths.iter().for_each(|disk| arguments.extend(["--disk", text(disk)]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }
}

#[test]
fn every_volume_comes_back_from_what_is_used_of_its_physical_volumes_on_noise() {
    let lab = made();
    let found = run("blkid", &["-p", "-o", "value", "-s", "TYPE", text(&lab.group.disk(0))]);
    assert_eq!(found.trim(), "LVM1_member");
    let said = remint_ends(0, &["inspect", text(&lab.group.disk(0)), text(&lab.group.disk(1))]);
    let words = "the LVM1 group old on 2 physical volumes has root (13.0 MiB): ext4";
    assert!(said.contains(words) && said.contains("swap (1.00 MiB): swap"), "{said}");
    lab.capture(0, &[0, 1], &[]);
    let targets: Vec<PathBuf> =
        (0..2).map(|number| lab.group.folder.join(format!("target{number}"))).collect();
    for (number, target) in targets.iter().enumerate() {
        lab::noisy_disk(target, fs::metadata(lab.group.disk(number)).unwrap().len());
    }
    let named: Vec<String> = (0..2).map(|number| format!("d{number}={}", text(&targets[number]))).collect();
    let arguments =
        ["deploy", "group", "--from", &lab.store, "--yes", "--free-space", "keep", "--disk", &named[0]];
    remint_ends(0, &[arguments.as_slice(), &["--disk", &named[1]]].concat());
    let mut different = 0;
    for (number, target) in targets.iter().enumerate() {
        let (old, new) = (fs::read(lab.group.disk(number)).unwrap(), fs::read(target).unwrap());
        assert!(old[..START] == new[..START], "the metadata of physical volume {number}");
        different += old.iter().zip(&new).filter(|(old, new)| old != new).count();
    }
    assert!(different > 6 << 20, "{different} bytes were not written");
    let (before, after) = (lab.group.folder.join("before"), lab.group.folder.join("after"));
    let disks = [lab.group.disk(0), lab.group.disk(1)];
    for volume in &lab.group.volumes[..2] {
        lab.group.read(volume, &disks, &before);
        lab.group.read(volume, &targets, &after);
        run("e2fsck", &["-f", "-n", text(&after)]);
        let trees: Vec<String> = [&before, &after]
            .iter()
            .map(|path| {
                let out = lab.group.folder.join("tree");
                let _ = fs::remove_dir_all(&out);
                fs::create_dir(&out).unwrap();
                run("debugfs", &["-R", &format!("rdump / {}", text(&out)), text(path)]);
                let tree = lab::tree(&out);
                assert!(tree.len() > 3, "{tree:?}");
                format!("{tree:?}")
            })
            .collect();
        assert_eq!(trees[0], trees[1], "{}", volume.name);
    }
}

#[test]
fn what_is_not_whole_or_not_read_is_refused_by_name_with_a_way_out() {
    let refused = |lab: &Lab, disks: &[usize], more: &[&str], words: &str| {
        let said = lab.capture(1, disks, more);
        assert!(said.contains(words) && said.contains("vgconvert"), "{said}");
    };
    let lab = made();
    refused(&lab, &[0], &[], "1 of the 2 physical volumes of its group are here");
    refused(
        &lab,
        &[0, 1],
        &["--only", "d0-disk"],
        "d1-disk belong to the same group: name them with --only too",
    );
    lab.capture(0, &[0], &["--when-dirty", "raw"]);
    // A copy of one beside the group.
    let copy = lab.group.folder.join("copy");
    fs::copy(lab.group.disk(1), &copy).unwrap();
    let beside = |only: &[&'static str]| {
        let only = only.iter().flat_map(|name| ["--only", *name]);
        ["--disk", text(&copy)].into_iter().chain(only).collect::<Vec<_>>()
    };
    let words = "d1-disk and d2-disk have the UUID of one physical volume of its group: leave all but one out with --only";
    refused(&lab, &[0, 1], &beside(&[]), words);
    let words = "d1-disk (or d2-disk) belong to the same group: name them with --only too";
    refused(&lab, &[0, 1], &beside(&["d0-disk"]), words);
    refused(
        &lab,
        &[1],
        &["--disk", text(&copy), "--only", "d0-disk"],
        "1 of the 2 physical volumes of its group are here",
    );
    lab.capture(0, &[0, 1], &beside(&["d0-disk", "d2-disk"]));
    // Which of two that differ is newer, nothing says.
    lab::overwrite(&lab.group.disk(1), 45_056 + 9, b"lost");
    refused(&lab, &[0, 1], &[], "say different things of it");
    for (access, words) in [(4 | 3, "has snapshots, or is one"), (8 | 3, "the volume old/root has snapshots")]
    {
        let lab = made();
        (0..2).for_each(|disk| lab::overwrite(&lab.group.disk(disk), 45_056 + 256, &[access]));
        refused(&lab, &[0, 1], &[], words);
    }
    let lab = made();
    lab::overwrite(&lab.group.disk(0), 65_536 + 2 * 4, &[0; 4]);
    refused(&lab, &[0, 1], &[], "lacks some of its extents");
    lab::overwrite(&lab.group.disk(0), 65_536 + 2 * 4, &[1, 0, 1, 0]);
    refused(&lab, &[0, 1], &[], "is there twice");
    // A file system that is not clean keeps the whole group.
    let lab = made();
    let (disk, at) = lab.group.place(&lab.group.volumes[0], 1024 + 0x30);
    lab::overwrite(&lab.group.disk(disk), at as u64, &[0xFF]);
    refused(&lab, &[0, 1], &[], "the volume old/root holds ext4");
    refused(&lab, &[0, 1], &[], "do that with a Linux that reads LVM1");
}

fn together(disks: &[MemoryDisk]) -> Option<Result<lvm1::Group, String>> {
    let mut members: Vec<(&dyn ReadAt, Physical)> = Vec::new();
    for disk in disks {
        match lvm1::read(disk) {
            Ok(physical) => members.push((disk, physical?)),
            Err(error) => return Some(Err(error.to_string())),
        }
    }
    Some(lvm1::read_together(&members).unwrap().map_err(|(_, fact)| fact))
}

/// Thousands of changes of the metadata, on one physical volume or on both.
#[test]
fn damage_is_survived_and_no_used_block_of_what_is_believed_goes_missing() {
    let lab = made();
    let disks = [0, 1].map(|disk| MemoryDisk::from_bytes(&fs::read(lab.group.disk(disk)).unwrap()));
    let whole = together(&disks).unwrap().unwrap();
    let places = [(0, 480), (4096, 188), (8192, 256), (45_056, 3 * 328), (65_536, 18 * 4)];
    let mut random = Noise::new(9);
    let mut seen: BTreeMap<bool, u32> = BTreeMap::new();
    for round in 0..10_000 {
        let (start, length) = places[random.below(places.len() as u64) as usize];
        let (at, bytes) = (start + random.below(length), random.below(4) as usize + 1);
        let new = if round % 3 == 0 { vec![0xFF; bytes] } else { random.bytes(bytes) };
        let one = random.below(2) as usize;
        let touched = if round % 2 == 0 { &disks[..] } else { &disks[one..=one] };
        let old: Vec<Vec<u8>> = touched.iter().map(|disk| read_vec(disk, at, bytes).unwrap()).collect();
        touched.iter().for_each(|disk| disk.write_at(at, &new).unwrap());
        let found = together(&disks);
        if let Some(Ok(group)) = &found {
            for (used, disk) in group.used.iter().zip(&disks) {
                assert!(used.end() <= disk.size_bytes());
            }
            // Names and flags change nothing; another place of an extent is another volume.
            if start == 0 || start == 4096 {
                for (used, before) in group.used.iter().zip(&whole.used) {
                    assert!(before.iter().all(|range| used.contains(range)), "{new:x?} at {at}");
                }
            }
        }
        *seen.entry(matches!(found, Some(Ok(_)))).or_default() += 1;
        touched.iter().zip(&old).for_each(|(disk, old)| disk.write_at(at, old).unwrap());
    }
    assert!(seen[&true] > 250 && seen[&false] > 1500, "{seen:?}");
}
