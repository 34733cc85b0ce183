//! Single logical volumes are restored into groups that stand on the targets, as LVM's own tools see them: everything
//! outside of their extents stays to the byte, also when the deploy fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::lvm::Lvm;
use lab::{Kind, MIB, Place, remint_ends, text};
use std::fs;
use std::path::{Path, PathBuf};

const LVM: &str = "E6D6D379-F507-44C2-A23C-238F2A3DF928";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
/// Of many small groups: one of a single group cannot become smaller.
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "1024"] };
const FAT: Kind = Kind { name: "FAT16", family: "fat", make: &["mkfs.fat", "-F", "16"] };

/// An image of a disk with a FAT and a group, and two disks on which a group of the same name stands.
struct Lab {
    folder: tempfile::TempDir,
    store: String,
    source: PathBuf,
    targets: [PathBuf; 2],
}

/// A disk of noise with a table of two partitions whose fronts are blank.
fn disk(path: &Path, size: u64, first: u64, second: u64) -> Vec<Place> {
    let noisy = path.with_extension("noise");
    lab::noisy_disk(&noisy, size);
    let script = format!("label: gpt\nsize={first}MiB, type={LINUX}\nsize={second}MiB, type={LVM}\n");
    let places = lab::partitioned_disk(path, size, 512, &script);
    for place in &places {
        lab::overwrite(path, place.start, &lab::bytes(&noisy, place.start, place.length));
        lab::overwrite(path, place.start, &[0; 4096]);
    }
    fs::remove_file(noisy).unwrap();
    places
}

impl Lab {
    fn new() -> Self {
        let folder = lab::folder();
        let path = |name: &str| folder.path().join(name);
        let source = path("source.img");
        let places = disk(&source, 190 * MIB, 16, 160);
        let (part, files) = (path("part.img"), path("files"));
        fs::create_dir_all(files.join("deep")).unwrap();
        fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
        fs::write(files.join("content"), lab::Noise::new(2).bytes(5_000_000)).unwrap();
        FAT.build(&part, places[0].length, &files);
        lab::put(&source, places[0].start, &part);
        let lvm = Lvm::new(&[(&source, places[1])]);
        lvm.run("pvcreate", &[lvm.device(0)]);
        lvm.run("vgcreate", &["vg-0", lvm.device(0)]);
        lvm.create("vg-0", "root", &["-L", "96M"]);
        EXT4.build(&part, lvm.size("vg-0/root"), &files);
        lvm.put("vg-0/root", &part);
        drop(lvm);
        let store = text(&path("store")).to_owned();
        remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&source)]);

        let targets = [path("one.img"), path("two.img")];
        disk(&targets[0], 260 * MIB, 20, 200);
        lab::noisy_disk(&targets[1], 150 * MIB);
        lab::overwrite(&targets[1], 0, &[0; 4096]);
        let lab = Self { folder, store, source, targets };
        let lvm = lab.group();
        lvm.run("pvcreate", &[lvm.device(0)]);
        lvm.run("pvcreate", &[lvm.device(1)]);
        lvm.run("vgcreate", &["vg-0", lvm.device(0), lvm.device(1)]);
        lvm.create("vg-0", "data", &["-L", "40M"]);
        lvm.create("vg-0", "root", &["-i", "2", "-I", "64k", "-L", "120M"]);
        lvm.create("vg-0", "small", &["-L", "60M"]);
        lvm.create("vg-0", "tiny", &["-L", "4M"]);
        drop(lvm);
        lab
    }

    /// The group on the targets.
    fn group(&self) -> Lvm {
        let second = lab::partitions(&self.targets[0], 512)[1];
        let length = fs::metadata(&self.targets[1]).unwrap().len();
        Lvm::new(&[(&self.targets[0], second), (&self.targets[1], Place { number: 0, start: 0, length })])
    }

    fn deploy(&self, code: i32, targets: &[&Path], options: &[&str]) -> String {
        let mut arguments = vec!["deploy", "lab", "--from", &self.store, "--yes", "--keep-table"];
        arguments.extend(targets.iter().flat_map(|target| ["--disk", text(target)]));
        remint_ends(code, &[arguments.as_slice(), options].concat())
    }

    fn both(&self) -> [&Path; 2] {
        [&self.targets[0], &self.targets[1]]
    }

    /// Everything on the targets that is not of these volumes.
    fn others(&self, volumes: &[&str]) -> [Vec<u8>; 2] {
        let lvm = self.group();
        let mut disks = self.targets.each_ref().map(|target| fs::read(target).unwrap());
        for (file, start, length) in volumes.iter().flat_map(|volume| lvm.places(volume)) {
            let disk = self.targets.iter().position(|target| *target == file).unwrap();
            disks[disk][start as usize..(start + length) as usize].fill(0);
        }
        disks
    }

    /// The files of the image are in a volume of the group, and its file system fills it.
    fn judge(&self, volume: &str) {
        let (lvm, after) = (self.group(), self.folder.path().join("after.img"));
        let size = lvm.take(volume, &after);
        EXT4.check(&after, 0, size);
        let captured = lab::partitions(&self.source, 512)[1];
        let here = Lvm::new(&[(&self.source, captured)]);
        let before = self.folder.path().join("before.img");
        let old = here.take("vg-0/root", &before);
        assert_eq!(EXT4.files(&after, 0, size), EXT4.files(&before, 0, old));
        let found = lab::run("dumpe2fs", &["-h", text(&after)]);
        let blocks = found.lines().find(|line| line.starts_with("Block count:")).unwrap();
        assert_eq!(blocks.rsplit(' ').next().unwrap().parse::<u64>().unwrap() * 1024, size, "{volume}");
        lvm.run("vgck", &[]);
    }
}

#[test]
fn a_logical_volume_goes_into_a_group_and_no_other_byte_of_its_disks_changes() {
    let lab = Lab::new();
    let before = lab.others(&["vg-0/root"]);
    let said = lab.deploy(0, &lab.both(), &["--only", "g0-l1", "--free-space", "zero"]);
    assert!(said.contains("writing g0-l1 (ext4"), "{said}");
    assert!(lab.others(&["vg-0/root"]) == before, "a byte outside of the volume changed");
    lab.judge("vg-0/root");

    // Into a smaller one that a person names, together with a partition.
    let partition = lab::partitions(&lab.targets[0], 512)[0];
    let without = |mut disks: [Vec<u8>; 2]| {
        disks[0][partition.start as usize..(partition.start + partition.length) as usize].fill(0);
        disks
    };
    let before = without(lab.others(&["vg-0/small"]));
    let first = PathBuf::from(format!("d0={}", text(&lab.targets[0])));
    let only = ["--only", "d0-p1=1", "--only", "g0-l1=vg-0/small"];
    lab.deploy(0, &[&first, &lab.targets[1]], &only);
    assert!(without(lab.others(&["vg-0/small"])) == before, "a byte outside of the volumes changed");
    lab.judge("vg-0/small");
    lab.judge("vg-0/root");
    FAT.check(&lab.targets[0], partition.start, partition.length);
}

#[test]
fn what_does_not_fit_or_is_not_whole_is_refused_and_a_failure_leaves_the_volume_empty() {
    let lab = Lab::new();
    let hashes = || lab.targets.each_ref().map(|target| lab::hash_of(target));
    let before = hashes();
    let refused = |targets: &[&Path], only: &str, expected: &[&str]| {
        let said = lab.deploy(1, targets, &["--only", only]).split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in expected {
            assert!(said.contains(expected), "{said}");
        }
    };
    // The one that is missing is named as LVM names it.
    let lvm = lab.group();
    let missing = lvm.run("pvs", &["--noheadings", "-o", "pv_uuid", lvm.device(1)]);
    drop(lvm);
    let expected =
        ["vg-0", "1 of its 2 physical volumes are not there", missing.trim(), "name all of its disks"];
    refused(&[&lab.targets[0]], "g0-l1", &expected);
    refused(&lab.both(), "g0-l1=vg-0/tiny", &["vg-0/tiny has 4194304 bytes", "lvextend"]);
    refused(&lab.both(), "g0-l1=vg-0/none", &["no logical volume vg-0/none", "vg-0/data, vg-0/root"]);
    refused(&[&lab.targets[0]], "d0-p2=2", &["physical volume", "g0-l1"]);
    let stranger = lab.folder.path().join("stranger.img");
    lab::noisy_disk(&stranger, 8 * MIB);
    refused(
        &[&lab.targets[0], &lab.targets[1], &stranger],
        "g0-l1",
        &["nothing that is restored", "stranger.img"],
    );
    assert_eq!(hashes(), before);

    // Whichever of them are of this volume.
    for chunk in lab::chunk_files(Path::new(&lab.store)).into_keys() {
        let mut damaged = fs::read(&chunk).unwrap();
        if damaged.len() > 100_000 {
            let middle = damaged.len() / 2;
            damaged[middle] ^= 1;
            fs::write(&chunk, &damaged).unwrap();
        }
    }
    let before = lab.others(&["vg-0/root"]);
    let said = lab.deploy(4, &lab.both(), &["--only", "g0-l1"]);
    assert!(said.contains("its table and all others are as they were"), "{said}");
    assert!(lab.others(&["vg-0/root"]) == before, "a failure changed a byte outside of the volume");
    let after = lab.folder.path().join("after.img");
    lab.group().take("vg-0/root", &after);
    assert!(lab::bytes(&after, 0, MIB).iter().all(|byte| *byte == 0), "the volume is empty");
}

#[test]
fn everything_of_an_image_goes_back_where_it_came_from() {
    let lab = Lab::new();
    // The same disk, with another name for the group, and with what it held overwritten.
    let target = lab.folder.path().join("again.img");
    fs::copy(&lab.source, &target).unwrap();
    let places = lab::partitions(&target, 512);
    let lvm = Lvm::new(&[(&target, places[1])]);
    lvm.run("vgrename", &["vg-0", "renamed"]);
    let (file, start, length) = lvm.places("renamed/root").remove(0);
    drop(lvm);
    for (at, length) in [(start, length), (places[0].start, places[0].length)] {
        lab::overwrite(&file, at, &lab::Noise::new(at).bytes(length as usize));
    }
    let outside = || {
        let mut disk = fs::read(&target).unwrap();
        for (at, length) in [(start, length), (places[0].start, places[0].length)] {
            disk[at as usize..(at + length) as usize].fill(0);
        }
        disk
    };
    let before = outside();
    lab.deploy(0, &[&target], &[]);
    assert!(outside() == before, "a byte outside of the volumes changed");
    FAT.check(&target, places[0].start, places[0].length);
    EXT4.check(&target, start, length);
    assert_eq!(EXT4.files(&target, start, length), EXT4.files(&lab.source, start, length));

    let size = ["plan", "lab", "--from", &lab.store, "--size", "500GB", "--keep-table", "--only", "g0-l1"];
    assert!(remint_ends(1, &size).contains("no volume group stands on"));
}
