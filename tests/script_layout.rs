//! A script partitions a blank disk; what it made is judged before a byte of the target is written.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Kind, MIB, Place, remint_ends, text};
use std::fs;
use std::path::{Path, PathBuf};

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const FAT: Kind = Kind { name: "FAT16", family: "fat", make: &["mkfs.fat", "-F", "16"] };

/// An image of a FAT of 16 MiB and an ext4 of 24 MiB on a GPT.
struct Lab {
    folder: tempfile::TempDir,
    store: String,
    disk: PathBuf,
    places: Vec<Place>,
}

impl Lab {
    fn new() -> Self {
        let folder = lab::folder();
        let (disk, part, files) =
            (folder.path().join("disk.img"), folder.path().join("part.img"), folder.path().join("files"));
        fs::create_dir_all(files.join("deep")).unwrap();
        fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
        fs::write(files.join("content"), lab::Noise::new(2).bytes(3_000_000)).unwrap();
        let script = "label: gpt\nsize=16MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name=\"EFI, and more\"\n\
                      size=24MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n";
        let places = lab::partitioned_disk(&disk, 44 * MIB, 512, script);
        for (place, kind) in places.iter().zip([&FAT, &EXT4]) {
            kind.build(&part, place.length, &files);
            lab::put(&disk, place.start, &part);
        }
        let store = text(&folder.path().join("store")).to_owned();
        remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
        Self { folder, store, disk, places }
    }

    /// A target of noise.
    fn target(&self, size_bytes: u64) -> PathBuf {
        let target = self.folder.path().join("target.img");
        lab::noisy_disk(&target, size_bytes);
        target
    }

    fn script(&self, script: &str) -> PathBuf {
        let path = self.folder.path().join("script.sh");
        fs::write(&path, format!("set -e\n{script}\n")).unwrap();
        path
    }

    fn deploy(&self, code: i32, target: &Path, script: &Path, options: &[&str]) -> String {
        let arguments = ["deploy", "lab", "--from", &self.store, "--disk", text(target), "--yes"];
        let script = ["--layout", "script", "--script", text(script)];
        remint_ends(code, &[arguments.as_slice(), &script, options].concat())
    }

    /// A refusal, with nothing written and nothing left behind.
    fn refused(&self, script: &str, options: &[&str]) -> String {
        let target = self.folder.path().join("target.img");
        if !target.exists() {
            self.target(80 * MIB);
        }
        let before = lab::traces(&target);
        let said = self.deploy(1, &target, &self.script(script), options);
        assert!(before == lab::traces(&target), "{said}");
        said
    }

    fn assert_same_files(&self, kind: &Kind, captured: usize, target: &Path, place: Place) {
        kind.check(target, place.start, place.length);
        let old = self.places[captured];
        assert_eq!(
            kind.files(target, place.start, place.length),
            kind.files(&self.disk, old.start, old.length)
        );
    }
}

fn place(places: &[Place], number: u32) -> Place {
    *places.iter().find(|place| place.number == number).unwrap()
}

/// What `sfdisk` says of a disk with 512-byte sectors.
fn table(disk: &Path) -> serde_json::Value {
    let dump = lab::run("sfdisk", &["--json", text(disk)]);
    serde_json::from_str::<serde_json::Value>(&dump).unwrap()["partitiontable"].clone()
}

#[test]
fn the_example_makes_a_gpt_that_keeps_every_identifier() {
    let lab = Lab::new();
    let target = lab.target(300 * MIB);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/partition.sh");
    let plan = remint_ends(
        0,
        &[
            "plan",
            "lab",
            "--from",
            &lab.store,
            "--size",
            "300MiB",
            "--layout",
            "script",
            "--script",
            text(&example),
        ],
    );
    assert!(plan.contains("| d0-p2 (ext4, at least"), "{plan}");
    assert!(!plan.contains("New identifiers"), "{plan}");
    assert!(plan.contains("Nothing of the image goes into partition 3"), "{plan}");
    lab.deploy(0, &target, &example, &[]);
    let places = lab::partitions(&target, 512);
    assert_eq!(places.len(), 3);
    lab.assert_same_files(&FAT, 0, &target, place(&places, 1));
    lab.assert_same_files(&EXT4, 1, &target, place(&places, 2));
    assert!(place(&places, 2).length > 240 * MIB);
    let (old, new) = (table(&lab.disk), table(&target));
    assert_eq!(old["id"], new["id"]);
    for index in 0..2 {
        assert_eq!(old["partitions"][index]["uuid"], new["partitions"][index]["uuid"]);
        assert_eq!(old["partitions"][index]["type"], new["partitions"][index]["type"]);
    }
    lab::run("sgdisk", &["--verify", text(&target)]);
    // What is empty is empty: nothing of the noise is left where a file system would be looked for.
    let data = place(&places, 3);
    assert!(lab::bytes(&target, data.start, MIB).iter().all(|byte| *byte == 0));
}

#[test]
fn an_mbr_with_a_logical_partition_takes_the_volumes_that_the_script_says() {
    let lab = Lab::new();
    let target = lab.target(120 * MIB);
    let script = lab.script(
        r#"sfdisk "$REMINT_DISK" <<END
label: dos
label-id: 0x12345678
size=40MiB, type=83, bootable
type=5
size=20MiB, type=6
END
partprobe "$REMINT_DISK"
printf 'd0-p2=1\nd0-p1=5\n' > "$REMINT_PLACES""#,
    );
    // The partitions have other identifiers than they had, and nothing names them, which is seen on a FAT with any kernel.
    let said = lab.deploy(0, &target, &script, &[]);
    assert!(said.contains("deployed") && !said.contains("not looked into"), "{said}");
    let places = lab::partitions(&target, 512);
    lab.assert_same_files(&EXT4, 1, &target, place(&places, 1));
    lab.assert_same_files(&FAT, 0, &target, place(&places, 5));
    let table = table(&target);
    assert_eq!(table["id"], "0x12345678");
    assert_eq!(table["partitions"][0]["bootable"], true);
    let plan = remint_ends(
        0,
        &[
            "plan",
            "lab",
            "--from",
            &lab.store,
            "--disk",
            text(&target),
            "--layout",
            "script",
            "--script",
            text(&script),
        ],
    );
    assert!(
        plan.contains("New identifiers: the disk is") || plan.contains("2 partitions have new names"),
        "{plan}"
    );
}

#[test]
fn the_rehearsal_disk_has_the_sectors_of_the_target() {
    let lab = Lab::new();
    let target = lab.target(160 * MIB);
    let script = lab.script(
        "[ \"$(blockdev --getss \"$REMINT_DISK\")\" = \"$REMINT_SECTOR_BYTES\" ]\n\
         [ \"$REMINT_SECTORS\" = 40960 ]\n\
         parted --script \"$REMINT_DISK\" mklabel gpt mkpart fat 1MiB 4MiB mkpart root 4MiB 100MiB",
    );
    lab.deploy(0, &target, &script, &["--sector-size", "4096", "--without", "d0-p1"]);
    let places = lab::partitions(&target, 4096);
    lab.assert_same_files(&EXT4, 1, &target, place(&places, 2));
    assert_eq!(place(&places, 2).start, 4 * MIB);
}

#[test]
fn what_a_script_makes_is_refused_by_name_before_anything_is_written() {
    let lab = Lab::new();
    let sgdisk = |partitions: &str| format!("sgdisk {partitions} \"$REMINT_DISK\"");
    // Two entries of an MBR that overlap, which no tool would write.
    let overlapping = r"printf '\000\000\000\000\203\000\000\000\000\010\000\000\000\000\001\000\000\000\000\000\203\000\000\000\000\020\000\000\000\000\001\000' |
         dd of=$REMINT_DISK bs=1 seek=446 conv=notrunc
         printf '\125\252' | dd of=$REMINT_DISK bs=1 seek=510 conv=notrunc";
    for (script, expected) in [
        (sgdisk("-n 1:0:+16M -n 2:0:+2M"), "partition 2 of"),
        (sgdisk("-n 1:0:+16M"), "the script made no partition for d0-p2"),
        (
            sgdisk("-n 1:0:+16M -n 2:0:+24M") + "\necho d0-p1=2 > \"$REMINT_PLACES\"",
            "both go into partition 2",
        ),
        (sgdisk("-n 1:0:+16M -n 2:0:+24M") + "\necho d0-p9=2 > \"$REMINT_PLACES\"", "no volume d0-p9"),
        (sgdisk("-n 1:0:+16M -n 2:0:+24M") + "\necho nonsense > \"$REMINT_PLACES\"", "VOLUME=NUMBER"),
        (sgdisk("-n 1:0:+16M -n 2:0:+24M") + "\nrm \"$REMINT_PLACES\"", "reading"),
        (overlapping.to_owned(), "Partitions 1 and 2 overlap"),
        ("true".to_owned(), "the script made no partition table"),
        ("echo what went wrong; exit 7".to_owned(), "ended with exit code 7:\nwhat went wrong"),
        ("no-such-tool".to_owned(), "no-such-tool"),
        (
            "dd if=/dev/urandom of=\"$REMINT_DISK\" bs=1M count=70 oflag=direct".to_owned(),
            "only to partition it",
        ),
    ] {
        let said = lab.refused(&script, &[]);
        assert!(said.contains(expected), "{script}\n{said}");
    }
    let said = lab.refused("echo begun; sleep 600", &["--script-limit", "1"]);
    assert!(said.contains("did not end within 1 seconds") && said.contains("begun"), "{said}");
    let said = lab.refused("true", &["--keep", "1"]);
    assert!(said.contains("nothing of the target can be kept"), "{said}");
}

#[test]
fn nothing_that_the_script_is_told_leads_to_the_target() {
    let lab = Lab::new();
    let target = lab.target(80 * MIB);
    let said = lab.deploy(
        1,
        &target,
        &lab.script("env; cat \"$REMINT_SCHEMA\" \"$REMINT_PARTITIONS\"; ls; pwd; exit 1"),
        &[],
    );
    let (_, printed) = said.split_once("exit code 1:").unwrap();
    assert!(printed.contains("REMINT_DISK=/dev/loop") && printed.contains("d0-p2 2 25165824"), "{printed}");
    assert!(!printed.contains("target.img"), "{printed}");
}

#[test]
fn a_script_goes_with_its_layout_only() {
    let lab = Lab::new();
    let script = lab.script("true");
    let plan = |options: &[&str]| {
        let arguments = ["plan", "lab", "--from", &lab.store, "--size", "1GiB"];
        remint_ends(1, &[arguments.as_slice(), options].concat())
    };
    assert!(plan(&["--layout", "script"]).contains("name it with --script FILE"));
    assert!(plan(&["--script", text(&script)]).contains("add --layout script"));
    assert!(plan(&["--layout", "script", "--partition", "d0-p2=1GiB"]).contains("custom"));
}
