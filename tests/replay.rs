//! File systems that lost power under load: their journals are replayed beside the disk, every file that was synced
//! is in the image and comes back, and not a byte of the source changes.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::lvm::Lvm;
use lab::{Kind, MIB, Mount, Noise, Place, remint_ends, run, text};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F"] };
const XFS: Kind = Kind { name: "XFS", family: "xfs", make: &["mkfs.xfs", "-q", "-f"] };
const BTRFS: Kind = Kind { name: "btrfs", family: "btrfs", make: &["mkfs.btrfs", "-q", "-f"] };
const SYNCED: usize = 40;

/// Writes files and syncs them while others are written, then cuts the power: what was not synced is lost.
fn lose_power(disk: &Path, place: Place, kind: &Kind) -> BTreeMap<String, Vec<u8>> {
    let device = lab::Loop::new(disk, place.start, place.length, false);
    run(kind.make[0], &[&kind.make[1..], &[&device.0]].concat());
    drop(device);
    let mount = Mount::new(disk, place.start, place.length, kind.family, false);
    let folder = mount.path();
    let kept = disk.with_extension("kept");
    if kind.family == "btrfs" {
        // No commit of its own in between: only the log has what was synced.
        run("mount", &["-o", "remount,commit=300", text(folder)]);
    }
    let done = AtomicBool::new(false);
    let mut noise = Noise::new(place.start);
    let mut synced = BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..100_000u32).take_while(|_| !done.load(Ordering::Relaxed)) {
                let path = folder.join(format!("load-{}", number % 500));
                let _ = fs::write(&path, vec![7; 3000]);
                let _ = fs::remove_file(folder.join(format!("load-{}", (number + 250) % 500)));
            }
        });
        for number in 0..SYNCED {
            let name = format!("synced-{number}");
            let content = noise.bytes(1000 + number * 977);
            let mut file = File::create(folder.join(&name)).unwrap();
            file.write_all(&content).unwrap();
            file.sync_all().unwrap();
            File::open(folder).unwrap().sync_all().unwrap();
            synced.insert(name, content);
        }
        if kind.family == "btrfs" {
            // It cannot be shut down: what its device has now is kept, and put back when the rest was written.
            done.store(true, Ordering::Relaxed);
            fs::write(&kept, lab::bytes(disk, place.start, place.length)).unwrap();
        } else {
            run("xfs_io", &["-x", "-c", "shutdown", text(folder)]);
            done.store(true, Ordering::Relaxed);
        }
    });
    drop(mount);
    if kind.family == "btrfs" {
        lab::overwrite(disk, place.start, &fs::read(&kept).unwrap());
        fs::remove_file(&kept).unwrap();
    }
    synced
}

struct Crashed {
    folder: tempfile::TempDir,
    disk: PathBuf,
    places: Vec<Place>,
    synced: [BTreeMap<String, Vec<u8>>; 3],
}

/// A disk with an ext4, an XFS and a btrfs that lost power.
fn crashed() -> Crashed {
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    let script =
        format!("label: gpt\nsize=64MiB, type={LINUX}\nsize=320MiB, type={LINUX}\nsize=300MiB, type={LINUX}");
    let places = lab::partitioned_disk(&disk, 700 * MIB, 512, &script);
    let synced = [
        lose_power(&disk, places[0], &EXT4),
        lose_power(&disk, places[1], &XFS),
        lose_power(&disk, places[2], &BTRFS),
    ];
    Crashed { folder, disk, places, synced }
}

#[test]
fn every_synced_file_of_a_crashed_disk_comes_back_and_the_disk_is_not_touched() {
    let Crashed { folder, disk, places, synced } = crashed();
    let before = lab::hash_of(&disk);
    let store = text(&folder.path().join("store")).to_owned();
    let capture = ["capture", "lab", "--to", &store, "--disk", text(&disk), "--compress", "fast"];
    let refused = remint_ends(1, &[capture.as_slice(), &["--when-dirty", "refuse"]].concat());
    assert!(refused.contains("d0-p1") && refused.contains("d0-p2") && refused.contains("d0-p3"), "{refused}");

    let spill = folder.path().join("spill");
    let said = remint_ends(0, &[capture.as_slice(), &["--spill", text(&spill)]].concat());
    for volume in ["d0-p1", "d0-p2", "d0-p3"] {
        assert!(said.lines().any(|line| line.contains(volume) && line.contains("was replayed")), "{said}");
    }
    assert!(!spill.exists());
    assert_eq!(lab::hash_of(&disk), before, "the source was changed");
    let shown = remint_ends(0, &["images", &store, "show", "lab"]);
    assert_eq!(shown.matches("was replayed").count(), 3, "{shown}");

    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 720 * MIB);
    remint_ends(0, &["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"]);
    let there = lab::partitions(&target, 512);
    for ((kind, place), (synced, old)) in
        [EXT4, XFS, BTRFS].iter().zip(&there).zip(synced.iter().zip(&places))
    {
        assert_eq!(place.length, old.length);
        kind.check(&target, place.start, place.length);
        let mount = Mount::new(&target, place.start, place.length, kind.family, true);
        for (name, content) in synced {
            let found = fs::read(mount.path().join(name)).unwrap_or_default();
            assert!(found == *content, "{} lost {name}", kind.name);
        }
    }
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_reason() {
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    let script = format!("label: gpt\nsize=64MiB, type={LINUX}");
    let places = lab::partitioned_disk(&disk, 70 * MIB, 512, &script);
    lose_power(&disk, places[0], &EXT4);
    let store = text(&folder.path().join("store")).to_owned();
    let capture = ["capture", "lab", "--to", &store, "--disk", text(&disk)];

    // Somebody has it mounted: what is read changes meanwhile.
    let mount = Mount::new(&disk, places[0].start, places[0].length, "ext4", false);
    fs::write(mount.path().join("new"), "new").unwrap();
    run("sync", &["-f", text(mount.path())]);
    let said = remint_ends(1, &[capture.as_slice(), &["--allow-in-use"]].concat());
    assert!(said.contains("not replayed, because it is in use") && said.contains("is dirty"), "{said}");
    drop(mount);

    // A file that is there already is not overwritten by what is spilled.
    let spill = folder.path().join("spill");
    fs::write(&spill, "mine").unwrap();
    let said = remint_ends(1, &[capture.as_slice(), &["--spill", text(&spill)]].concat());
    assert!(said.contains("there already"), "{said}");
    assert_eq!(fs::read(&spill).unwrap(), b"mine");
    assert_eq!(lab::published(Path::new(&store)), 0);
}

#[test]
fn every_synced_file_of_a_crashed_logical_volume_comes_back_and_the_disk_is_not_touched() {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    let lvm_type = "E6D6D379-F507-44C2-A23C-238F2A3DF928";
    let disk = path("disk.img");
    let script = format!("label: gpt\nsize=60MiB, type={lvm_type}\nsize=60MiB, type={lvm_type}");
    let places = lab::partitioned_disk(&disk, 130 * MIB, 512, &script);
    let lvm = Lvm::new(&[(&disk, places[0]), (&disk, places[1])]);
    lvm.run("pvcreate", &[lvm.device(0)]);
    lvm.run("pvcreate", &[lvm.device(1)]);
    lvm.run("vgcreate", &["vg", lvm.device(0), lvm.device(1)]);
    lvm.create("vg", "root", &["-i", "2", "-I", "64k", "-L", "64M"]);
    let part = path("part.img");
    File::create(&part).unwrap().set_len(lvm.size("vg/root")).unwrap();
    let whole = Place { number: 0, start: 0, length: lvm.size("vg/root") };
    let synced = lose_power(&part, whole, &EXT4);
    lvm.put("vg/root", &part);
    drop(lvm);

    let before = lab::hash_of(&disk);
    let store = text(&path("store")).to_owned();
    let capture = ["capture", "lab", "--to", &store, "--disk", text(&disk)];
    let refused = remint_ends(1, &[capture.as_slice(), &["--when-dirty", "refuse"]].concat());
    assert!(refused.contains("g0-l1"), "{refused}");
    let said = remint_ends(0, &capture);
    assert!(said.lines().any(|line| line.contains("g0-l1") && line.contains("was replayed")), "{said}");
    assert_eq!(lab::hash_of(&disk), before, "the source was changed");

    let target = path("target.img");
    lab::noisy_disk(&target, 140 * MIB);
    remint_ends(0, &["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"]);
    let there = lab::partitions(&target, 512);
    let lvm = Lvm::new(&[(&target, there[0]), (&target, there[1])]);
    let after = path("after.img");
    let size = lvm.take("vg/root", &after);
    EXT4.check(&after, 0, size);
    let mount = Mount::new(&after, 0, size, "ext4", true);
    for (name, content) in synced {
        let found = fs::read(mount.path().join(&name)).unwrap_or_default();
        assert!(found == content, "{name} was lost");
    }
}
