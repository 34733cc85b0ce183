//! Deploys onto disks with data on them: what is to stay is what it was, to the byte, also when a deploy fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{GIB, Kind, MIB, Place, remint_ends, text};
use std::fs;
use std::path::{Path, PathBuf};

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const FAT: Kind = Kind { name: "FAT16", family: "fat", make: &["mkfs.fat", "-F", "16"] };

/// An image of an ext4 and a FAT, and the disk that it was captured from.
struct Lab {
    folder: tempfile::TempDir,
    store: String,
    disk: PathBuf,
}

impl Lab {
    /// `label` is the kind of table: gpt or dos.
    fn new(label: &str) -> Self {
        let folder = lab::folder();
        let (disk, part, files) =
            (folder.path().join("disk.img"), folder.path().join("part.img"), folder.path().join("files"));
        fs::create_dir_all(files.join("deep")).unwrap();
        fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
        fs::write(files.join("content"), lab::Noise::new(2).bytes(3_000_000)).unwrap();
        let kind = if label == "gpt" { LINUX } else { "83" };
        let script = format!("label: {label}\nsize=24MiB, type={kind}\nsize=16MiB, type={kind}\n");
        let places = lab::partitioned_disk(&disk, 44 * MIB, 512, &script);
        for (place, kind) in places.iter().zip([&EXT4, &FAT]) {
            kind.build(&part, place.length, &files);
            lab::put(&disk, place.start, &part);
        }
        let store = text(&folder.path().join("store")).to_owned();
        remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
        Self { folder, store, disk }
    }

    /// A used disk of noise: 30 MiB, 20 MiB, and 25 MiB of data up to its end.
    fn used(&self, label: &str) -> (PathBuf, Vec<Place>) {
        let target = self.folder.path().join("target.img");
        let noisy = self.folder.path().join("noise.img");
        lab::noisy_disk(&noisy, 80 * MIB);
        let kind = if label == "gpt" { LINUX } else { "83" };
        let script =
            format!("label: {label}\nsize=30MiB, type={kind}\nsize=20MiB, type={kind}\ntype={kind}\n");
        let places = lab::partitioned_disk(&target, 80 * MIB, 512, &script);
        for place in &places {
            let bytes = lab::bytes(&noisy, place.start, place.length);
            lab::overwrite(&target, place.start, &bytes);
        }
        (target, places)
    }

    /// The largest chunk of the store.
    fn chunk(&self) -> PathBuf {
        let chunks = lab::chunk_files(Path::new(&self.store)).into_keys();
        chunks.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
    }

    fn deploy(&self, code: i32, target: &Path, options: &[&str]) -> String {
        let arguments = ["deploy", "lab", "--from", &self.store, "--disk", text(target), "--yes"];
        remint_ends(code, &[arguments.as_slice(), options].concat())
    }

    fn assert_same_files(&self, kind: &Kind, number: u32, target: &Path, place: Place) {
        let captured =
            lab::partitions(&self.disk, 512).into_iter().find(|place| place.number == number).unwrap();
        kind.check(target, place.start, place.length);
        assert_eq!(
            kind.files(target, place.start, place.length),
            kind.files(&self.disk, captured.start, captured.length)
        );
    }
}

/// Every byte outside of one partition.
fn others(disk: &Path, place: Place) -> (Vec<u8>, Vec<u8>) {
    let end = place.start + place.length;
    (lab::bytes(disk, 0, place.start), lab::bytes(disk, end, fs::metadata(disk).unwrap().len() - end))
}

#[test]
fn one_volume_goes_into_a_partition_and_no_other_byte_of_the_disk_changes() {
    let lab = Lab::new("gpt");
    for label in ["gpt", "dos"] {
        let (target, places) = lab.used(label);
        let before = others(&target, places[1]);
        let (whole, only) = (lab::hash_of(&target), ["--keep-table", "--only", "d0-p2=2"]);
        // What does not fit, or is not there, changes nothing.
        let said = lab.deploy(1, &target, &["--keep-table", "--only", "d0-p1=2"]);
        assert!(said.contains("partition 2") && said.contains("d0-p1"), "{said}");
        let said = lab.deploy(1, &target, &["--keep-table", "--only", "d0-p2=7"]);
        assert!(said.contains("no partition 7"), "{said}");
        remint_ends(
            2,
            &["deploy", "lab", "--from", &lab.store, "--disk", text(&target), "--yes", "--only", "d0-p2"],
        );
        assert_eq!(lab::hash_of(&target), whole);

        lab.deploy(0, &target, &[only.as_slice(), &["--free-space", "zero"]].concat());
        assert!(others(&target, places[1]) == before, "{label}: a byte outside the partition changed");
        lab.assert_same_files(&FAT, 2, &target, places[1]);

        // A deploy that fails half-way: the partition is empty, and everything else as it was.
        let chunk = lab.chunk();
        let frame = fs::read(&chunk).unwrap();
        let mut damaged = frame.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&chunk, &damaged).unwrap();
        let before = others(&target, places[0]);
        let said = lab.deploy(4, &target, &["--keep-table", "--only", "d0-p1=1"]);
        assert!(said.contains("its table and all others are as they were"), "{said}");
        assert!(
            others(&target, places[0]) == before,
            "{label}: a failure changed a byte outside the partition"
        );
        assert!(lab::bytes(&target, places[0].start, MIB).iter().all(|byte| *byte == 0));
        fs::write(&chunk, &frame).unwrap();
        lab.deploy(0, &target, &["--keep-table", "--only", "d0-p1=1"]);
        assert!(others(&target, places[0]) == before);
        lab.assert_same_files(&EXT4, 1, &target, places[0]);
        lab.assert_same_files(&FAT, 2, &target, places[1]);
    }
}

#[test]
fn a_partition_of_data_survives_a_deploy_and_a_deploy_that_fails() {
    for label in ["gpt", "dos"] {
        let lab = Lab::new(label);
        // A table of the other kind has no place for what is kept.
        let (target, _) = lab.used(if label == "gpt" { "dos" } else { "gpt" });
        let before = lab::hash_of(&target);
        assert!(lab.deploy(1, &target, &["--keep", "3"]).contains("no table of the same kind"));
        assert_eq!(lab::hash_of(&target), before);

        let (target, places) = lab.used(label);
        let data = |target: &Path| lab::bytes(target, places[2].start, places[2].length);
        let before = data(&target);
        let plan =
            remint_ends(0, &["plan", "lab", "--from", &lab.store, "--disk", text(&target), "--keep", "3"]);
        assert!(plan.contains("Partition 3 stays as it is"), "{plan}");

        let chunk = lab.chunk();
        let frame = fs::read(&chunk).unwrap();
        let mut damaged = frame.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&chunk, &damaged).unwrap();
        let said = lab.deploy(4, &target, &["--keep", "3", "--free-space", "zero"]);
        assert!(said.contains("a partition table of the kept partitions only"), "{said}");
        assert!(data(&target) == before, "{label}: a failure changed the data");
        assert_eq!(lab::partitions(&target, 512), [places[2]], "{label}: the data can be reached");

        fs::write(&chunk, &frame).unwrap();
        lab.deploy(0, &target, &["--keep", "3"]);
        assert!(data(&target) == before, "{label}: the data changed");
        let now = lab::partitions(&target, 512);
        assert_eq!(now.len(), 3);
        assert_eq!(now[2], places[2]);
        lab.assert_same_files(&EXT4, 1, &target, now[0]);
        lab.assert_same_files(&FAT, 2, &target, now[1]);
        if label == "gpt" {
            lab::run("sgdisk", &["--verify", text(&target)]);
        }
    }
}

#[test]
fn a_file_system_grows_and_shrinks_into_partitions_that_are_there() {
    let folder = lab::folder();
    let (disk, target) = (folder.path().join("disk.img"), folder.path().join("target.img"));
    let place =
        lab::partitioned_disk(&disk, 402 * MIB, 512, &format!("label: gpt\nsize=400MiB, type={LINUX}"))[0];
    let part = folder.path().join("part.img");
    let files = folder.path().join("files");
    fs::create_dir_all(files.join("deep")).unwrap();
    fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
    EXT4.build(&part, place.length, &files);
    lab::put(&disk, place.start, &part);
    let store = text(&folder.path().join("store")).to_owned();
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);

    let places = lab::partitioned_disk(
        &target,
        GIB,
        512,
        "label: dos\nsize=200MiB, type=7\nsize=600MiB, type=83\ntype=83\n",
    );
    lab::overwrite(&target, places[0].start, &lab::Noise::new(7).bytes(20 << 20));
    lab::overwrite(&target, places[2].start, &lab::Noise::new(8).bytes(20 << 20));
    let before = others(&target, places[1]);
    let arguments = ["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes", "--keep-table"];
    remint_ends(0, &[&arguments[..], &["--only", "d0-p1=2"]].concat());
    assert!(others(&target, places[1]) == before, "a byte outside the partition changed");
    EXT4.check(&target, places[1].start, places[1].length);
    let said = remint_ends(0, &["inspect", text(&target), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let volumes = json["disks"][0]["disk"]["volumes"].as_array().unwrap();
    let grown = volumes.iter().find(|volume| volume["name"] == "d0-p2").unwrap();
    assert_eq!(grown["content"]["size_bytes"].as_u64(), Some(places[1].length));

    // The first partition has 200 MiB, and the captured one 400.
    let before = others(&target, places[0]);
    remint_ends(0, &[&arguments[..], &["--only", "d0-p1=1"]].concat());
    assert!(others(&target, places[0]) == before, "a byte outside the partition changed");
    EXT4.check(&target, places[0].start, places[0].length);
    assert_eq!(
        EXT4.files(&target, places[0].start, places[0].length),
        EXT4.files(&disk, place.start, place.length)
    );
}
