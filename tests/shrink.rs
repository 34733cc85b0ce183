//! A disk that is smaller than the captured one: file systems are shrunk on the way, every file comes back, their
//! checkers are content, memory stays bounded, and what cannot shrink is refused with the smallest disk that does.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::running::{Running, Watched};
use lab::{GIB, Kind, MIB, Mount, Noise, text};
use nix::sys::signal::Signal;
use remint::progress::{Event, Phase};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const WINDOWS: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-m", "0"] };
const BTRFS: Kind = Kind { name: "btrfs", family: "btrfs", make: &["mkfs.btrfs", "-q", "-f"] };
const NTFS: Kind = Kind { name: "NTFS", family: "ntfs", make: &["mkntfs", "-q", "-Q", "-F"] };

/// A store with one captured disk.
struct Captured {
    folder: TempDir,
    disk: PathBuf,
}

impl Captured {
    fn store(&self) -> String {
        text(&self.folder.path().join("store")).to_owned()
    }

    /// Partitions below 5 GiB share only where somebody asks for it.
    fn share(&self) -> &'static [&'static str] {
        &["--layout", "custom", "--partition", "d0-p1=share"]
    }

    fn target(&self, size_bytes: u64) -> PathBuf {
        let target = self.folder.path().join("target.img");
        lab::noisy_disk(&target, size_bytes);
        target
    }

    fn minimum_disk_bytes(&self) -> u64 {
        let size = fs::metadata(&self.disk).unwrap().len().to_string();
        let plan = ["plan", "lab", "--from", &self.store(), "--size", &size, "--json"];
        let json = lab::remint_ends(0, &[&plan, self.share()].concat());
        let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
        plan["disks"][0]["minimum_disk_bytes"].as_u64().unwrap()
    }
}

/// A disk with one partition, and on it a file system whose last files lie at its very end.
fn with_data_at_the_end(
    kind: &Kind,
    part_type: &str,
    size_bytes: u64,
) -> (Captured, BTreeMap<String, (u64, String)>) {
    let folder = lab::folder();
    let disk = folder.path().join("source.img");
    let script = format!("label: gpt\nstart=2048, size={}, type={part_type}", size_bytes / 512);
    lab::partitioned_disk(&disk, size_bytes + 2 * MIB, 512, &script);
    let device = lab::Loop::new(&disk, MIB, size_bytes, false);
    lab::run(kind.make[0], &[&kind.make[1..], &[&device.0]].concat());
    drop(device);
    let mount = Mount::new(&disk, MIB, size_bytes, kind.family, false);
    lab::real_files(&mount.path().join("first"), 20 * MIB);
    // What is free is taken, and given back when the last files are where its end was.
    let ballast = mount.path().join("ballast");
    fs::create_dir(&ballast).unwrap();
    if kind.family == "ext4" {
        fill_ext(&ballast);
    } else if kind.family == "ntfs" {
        fill_ntfs(&ballast, size_bytes);
    }
    lab::real_files(&mount.path().join("last"), 40 * MIB);
    fs::write(mount.path().join("last/large"), Noise::new(5).bytes(20_000_000)).unwrap();
    lab::run("sync", &["-f", text(mount.path())]);
    fs::remove_dir_all(&ballast).unwrap();
    drop(mount);
    let files = kind.files(&disk, MIB, size_bytes);
    let captured = Captured { folder, disk };
    lab::remint_ends(0, &["capture", "lab", "--to", &captured.store(), "--disk", text(&captured.disk)]);
    (captured, files)
}

/// Takes all but 256 MiB at the end.
fn fill_ext(ballast: &Path) {
    let piece = |number: usize| ballast.join(number.to_string());
    let take = |number: &usize| {
        File::create(piece(*number)).unwrap();
        let taken =
            std::process::Command::new("fallocate").args(["-l", "256MiB", text(&piece(*number))]).output();
        taken.unwrap().status.success()
    };
    let last_block = |number: usize| -> u64 {
        let extents = lab::run("filefrag", &["-v", text(&piece(number))]);
        let ends = extents
            .lines()
            .filter_map(|line| line.split(':').nth(2)?.split("..").nth(1)?.trim().parse().ok());
        ends.max().unwrap_or(0)
    };
    let taken = (0..).take_while(take).count();
    let last = (0..taken).max_by_key(|number| last_block(*number)).unwrap();
    fs::remove_file(piece(last)).unwrap();
    // What the one that failed has taken is given back with the others.
    lab::run("sync", &["-f", text(ballast)]);
}

/// Takes three quarters: what comes next goes behind it.
fn fill_ntfs(ballast: &Path, size_bytes: u64) {
    let of = format!("of={}", text(&ballast.join("0")));
    let count = format!("count={}", size_bytes / MIB * 3 / 4);
    lab::run("dd", &["if=/dev/zero", &of, "bs=1M", &count, "status=none"]);
}

/// The last used byte of the only partition, from its used map.
fn last_used_byte(store: &str) -> u64 {
    let map = lab::run("find", &[store, "-name", "d0-p1.used"]);
    let map = remint::image::UsedMap::decode(&fs::read(map.trim()).unwrap()).unwrap();
    // The last sector of the partition is used in any case.
    let ranges = map.used.ranges();
    ranges.iter().rev().find(|range| range.length() > 4096).unwrap().end()
}

fn deployed(captured: &Captured, size_bytes: u64) -> PathBuf {
    let target = captured.target(size_bytes);
    let arguments =
        ["deploy", "lab", "--from", &captured.store(), "--disk", text(&target), "--yes", "--workers", "4"];
    let peaks = Watched::run(&[&arguments, captured.share()].concat());
    println!("{peaks:?}");
    assert!(peaks["remint"] < 400 * MIB, "{peaks:?}");
    target
}

/// The smallest disk that the plan names is reached, and one sector less is refused.
fn the_smallest_disk_is_exact_and_reached(
    captured: &Captured,
    kind: &Kind,
    files: &BTreeMap<String, (u64, String)>,
) {
    let minimum = captured.minimum_disk_bytes();
    let content: u64 = files.values().map(|file| file.0).sum();
    println!("{}: {} MiB for {} MiB of files", kind.name, minimum / MIB, content / MIB);
    let size = (minimum - 512).to_string();
    let plan = ["plan", "lab", "--from", &captured.store(), "--size", &size];
    let said = lab::remint_ends(1, &[&plan, captured.share()].concat());
    assert!(said.contains(&minimum.to_string()) && said.contains("needs that much"), "{said}");
    let target = deployed(captured, minimum);
    let place = lab::partitions(&target, 512)[0];
    assert!(kind.files(&target, place.start, place.length) == *files, "not every file is the same");
}

#[test]
fn twenty_gibibytes_of_ext4_with_data_at_the_end_come_back_on_a_quarter_of_the_room() {
    let (captured, files) = with_data_at_the_end(&EXT4, LINUX, 20 * GIB);
    assert!(last_used_byte(&captured.store()) > 19 * GIB, "{}", last_used_byte(&captured.store()));
    let target = deployed(&captured, 5 * GIB);
    let place = lab::partitions(&target, 512)[0];
    assert_eq!(place.start + place.length + 33 * 512, 5 * GIB, "the disk is filled");
    EXT4.check(&target, place.start, place.length);
    assert!(EXT4.files(&target, place.start, place.length) == files, "not every file is the same");
    let whole = lab::Loop::new(&target, place.start, place.length, true);
    let header = lab::run("dumpe2fs", &["-h", &whole.0]);
    let blocks = header.lines().find_map(|line| line.strip_prefix("Block count:")).unwrap();
    assert_eq!(blocks.trim().parse::<u64>().unwrap(), place.length / 4096, "it fills its partition");
    drop(whole);
    the_smallest_disk_is_exact_and_reached(&captured, &EXT4, &files);
}

#[test]
fn btrfs_comes_back_on_half_of_the_room() {
    let (captured, files) = with_data_at_the_end(&BTRFS, LINUX, 8 * GIB);
    let target = deployed(&captured, 4 * GIB);
    let place = lab::partitions(&target, 512)[0];
    BTRFS.check(&target, place.start, place.length);
    let whole = lab::Loop::new(&target, place.start, place.length, true);
    let dump = lab::run("btrfs", &["inspect-internal", "dump-super", &whole.0]);
    let line = dump.lines().find(|line| line.starts_with("dev_item.total_bytes")).unwrap();
    let bytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(bytes, place.length / 4096 * 4096, "it fills its partition");
    drop(whole);
    assert!(BTRFS.files(&target, place.start, place.length) == files, "not every file is the same");
    the_smallest_disk_is_exact_and_reached(&captured, &BTRFS, &files);
}

#[test]
fn ntfs_with_data_at_the_end_comes_back_on_a_quarter_of_the_room() {
    let (captured, files) = with_data_at_the_end(&NTFS, WINDOWS, GIB);
    assert!(last_used_byte(&captured.store()) > 3 * GIB / 4, "{}", last_used_byte(&captured.store()));
    let target = deployed(&captured, 256 * MIB);
    let place = lab::partitions(&target, 512)[0];
    let device = lab::Loop::new(&target, place.start, place.length, false);
    lab::run("ntfsresize", &["--info", "-f", "-f", "--no-progress-bar", &device.0]);
    drop(device);
    let first = lab::bytes(&target, place.start, 512);
    let last = lab::bytes(&target, place.start + place.length - 512, 512);
    assert!(first == last, "the backup boot sector is in the last sector");
    let sectors = u64::from_le_bytes(first[0x28..0x30].try_into().unwrap());
    assert!(sectors * 512 < place.length && sectors * 512 + 8192 > place.length, "{sectors} sectors");
    assert!(NTFS.files(&target, place.start, place.length) == files, "not every file is the same");
    the_smallest_disk_is_exact_and_reached(&captured, &NTFS, &files);
}

#[test]
fn what_cannot_shrink_is_refused_with_the_smallest_disk_before_anything_is_written() {
    let folder = lab::folder();
    let disk = folder.path().join("source.img");
    File::create(&disk).unwrap().set_len(6 * GIB).unwrap();
    lab::run("mkfs.xfs", &["-q", "-f", text(&disk)]);
    let store = text(&folder.path().join("store")).to_owned();
    lab::remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 5 * GIB);
    let before = lab::traces(&target);
    let said = lab::remint_ends(1, &["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"]);
    assert!(said.contains("no tool shrinks XFS") && said.contains(&(6 * GIB).to_string()), "{said}");
    assert_eq!(lab::traces(&target), before);
}

/// Stopped, killed, and with an image that fails: each time while the file system is being shrunk.
#[test]
fn a_deploy_that_ends_while_it_shrinks_leaves_no_table_and_nothing_behind() {
    let (captured, files) = with_data_at_the_end(&EXT4, LINUX, 6 * GIB);
    let store = captured.store();
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let target = captured.target(2 * GIB);
        let deploy = ["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"];
        let mut running = Running::start(&[&deploy, captured.share()].concat());
        running.wait_for(|event| matches!(event, Event::VolumeStarted { phase: Phase::Resize, .. }));
        running.signal(signal);
        let ended = running.end();
        if signal == Signal::SIGINT {
            assert_eq!(ended.code, Some(4), "{:?}", ended.events);
            assert!(ended.failure().0.contains("stopped on request"), "{:?}", ended.events);
        }
        nothing_is_recognised(&target);
        nothing_stays();
    }

    // The chunk with the last large file: it is needed only when its blocks are moved.
    let store = captured.folder.path().join("store");
    let index = lab::run("find", &[text(&store), "-name", "d0-p1.caibx"]);
    let index = remint::image::Index::decode(&fs::read(index.trim()).unwrap()).unwrap();
    let last = last_used_byte(text(&store)) - 8192;
    let (_, id) = index.pieces().find(|(piece, _)| piece.start() <= last && last < piece.end()).unwrap();
    let id = id.to_string();
    let folder: String = id.chars().take(4).collect();
    let chunk = store.join("chunks").join(folder).join(format!("{id}.cacnk"));
    let whole = fs::read(&chunk).unwrap();
    let mut frame = whole.clone();
    let middle = frame.len() / 2;
    frame[middle] ^= 0xFF;
    fs::write(&chunk, frame).unwrap();
    let target = captured.target(2 * GIB);
    let deploy = ["deploy", "lab", "--from", text(&store), "--disk", text(&target), "--yes"];
    let deploy = [&deploy, captured.share()].concat();
    let said = lab::remint_ends(4, &deploy);
    assert!(said.contains("shrinking") && said.contains(&id), "{said}");
    nothing_is_recognised(&target);
    nothing_stays();

    fs::write(&chunk, whole).unwrap();
    lab::remint_ends(0, &deploy);
    let place = lab::partitions(&target, 512)[0];
    assert!(EXT4.files(&target, place.start, place.length) == files, "not every file is the same");
}

fn nothing_is_recognised(target: &Path) {
    let whole = lab::Loop::new(target, 0, 2 * GIB, true);
    assert_eq!(lab::run_allowing("blkid", &["-p", &whole.0], &[2]), "", "something is recognised");
    drop(whole);
    assert!(is_zero(target, 0) && is_zero(target, 2 * GIB - MIB));
}

/// Waits until no device stands on a file of ours and nothing of ours is mounted.
fn nothing_stays() {
    for _ in 0..300 {
        let devices = lab::run("losetup", &["--list", "--noheadings", "--output", "SIZELIMIT,BACK-FILE"]);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        // What has no place in the tree of files shows the name that it had in its own; other tests have other sizes.
        let size = (6 * GIB).to_string();
        let ours = devices.lines().any(|line| line.contains("/volume") && line.contains(&size));
        if !ours && !mounts.contains("fuse remint ") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{}", lab::run("losetup", &["--list"]));
}

fn is_zero(disk: &Path, start: u64) -> bool {
    lab::bytes(disk, start, MIB).iter().all(|byte| *byte == 0)
}
