//! Metadata of LVM2, made by its own tools: read wherever they stand in their area, and flipped bytes do no harm.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::lvm::Lvm;
use lab::{MIB, Place};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::filesystem::lvm::{self, Found};
use remint::schema::{Mapping, VolumeGroup};
use std::fs;
use std::path::Path;

const SIZE: u64 = 40 * MIB;
const WHOLE: Place = Place { number: 0, start: 0, length: SIZE };

fn groups(disk: &dyn ReadAt) -> Found {
    lvm::groups(&[("d0-disk", disk)])
}

fn read(disk: &Path) -> VolumeGroup {
    let mut found = groups(&lab::bytes(disk, 0, SIZE).as_slice());
    assert_eq!(found.doubts, []);
    found.groups.remove(0).group
}

/// Bytes on the disk of each stretch of a volume, as read by us.
fn places(group: &VolumeGroup, name: &str) -> Vec<(u64, u64)> {
    let logical = group.logical_volumes.iter().find(|logical| logical.name == name).unwrap();
    let start = group.physical_volumes[0].start_bytes;
    let place = |segment: &remint::schema::Segment| {
        let first = start + segment.stripes[0].first_extent * group.extent_bytes;
        (first, segment.extents * group.extent_bytes)
    };
    logical.segments.iter().map(place).collect()
}

/// A physical volume with small metadata areas, whose metadata were written often.
fn small(disk: &Path) {
    fs::File::create(disk).unwrap().set_len(SIZE).unwrap();
    let tools = Lvm::new(&[(disk, WHOLE)]);
    tools.run("pvcreate", &["--metadatasize", "32k", "--dataalignment", "4k", tools.device(0)]);
    tools.run("vgcreate", &["-s", "1M", "vg-one", tools.device(0)]);
    tools.create("vg-one", "root", &["-L", "16M"]);
    tools.create("vg-one", "between", &["-L", "1M"]);
    tools.run("lvextend", &["-L", "+4M", "vg-one/root"]);
    for letter in ["a", "b", "c"] {
        tools.run("vgchange", &["--addtag", &letter.repeat(1000), "vg-one"]);
    }
    let mut went_around = false;
    // Every change writes the metadata once more, until they go around the end of their area.
    for turn in 0..10u64 {
        let (from, to) = if turn % 2 == 0 { ("root", "other") } else { ("other", "root") };
        tools.run("lvrename", &["vg-one", from, to]);
        let expected: Vec<(u64, u64)> =
            tools.places(&format!("vg-one/{to}")).into_iter().map(|p| (p.1, p.2)).collect();
        assert_eq!(expected.len(), 2, "in two stretches");
        // The first text begins behind the head of its area; later it is the rest of one that goes around.
        went_around |= lab::bytes(disk, 4096 + 512, 8) != b"vg-one {";
        let group = read(disk);
        assert_eq!(places(&group, to), expected, "change {turn}");
        let logical = group.logical_volumes.iter().find(|logical| logical.name == to).unwrap();
        assert_eq!((logical.mapping, logical.volume.size_bytes), (Mapping::Linear, 20 * MIB));
    }
    assert!(went_around, "the metadata never reached the end of their area");
}

#[test]
fn metadata_that_go_around_their_area_are_read_and_flipped_bytes_do_no_harm() {
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    small(&disk);
    let bytes = lab::bytes(&disk, 0, SIZE);
    let sound = groups(&bytes.as_slice());
    assert_eq!((sound.groups.len(), &sound.findings), (1, &vec![]));
    // A changed byte of label or metadata is seen, or has no meaning.
    let memory = MemoryDisk::from_bytes(&bytes);
    let start = sound.groups[0].group.physical_volumes[0].start_bytes as usize;
    for at in (0..start).step_by(13) {
        memory.write_at(at as u64, &[bytes[at] ^ if at % 2 == 0 { 0x01 } else { 0x80 }]).unwrap();
        let found = groups(&memory);
        assert!(found.groups.is_empty() || found.groups == sound.groups, "byte {at}");
        memory.write_at(at as u64, &[bytes[at]]).unwrap();
    }
}

#[test]
fn the_newest_of_several_descriptions_counts_and_what_was_removed_is_doubtful() {
    let folder = lab::folder();
    let (one, other) = (folder.path().join("one.img"), folder.path().join("other.img"));
    for disk in [&one, &other] {
        fs::File::create(disk).unwrap().set_len(SIZE).unwrap();
    }
    let tools = Lvm::new(&[(&one, WHOLE), (&other, WHOLE)]);
    tools.run("pvcreate", &[tools.device(0), tools.device(1)]);
    tools.run("vgcreate", &["-s", "1M", "vg", tools.device(0), tools.device(1)]);
    tools.create("vg", "first", &["-L", "8M"]);
    drop(tools);
    let old = lab::bytes(&other, 0, SIZE);
    let tools = Lvm::new(&[(&one, WHOLE), (&other, WHOLE)]);
    tools.create("vg", "second", &["-L", "8M"]);
    drop(tools);
    let new = lab::bytes(&one, 0, SIZE);
    let found = lvm::groups(&[("d0-disk", &new.as_slice()), ("d1-disk", &old.as_slice())]);
    assert_eq!(found.doubts, []);
    let names: Vec<&str> = found.groups[0].group.logical_volumes.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    let tools = Lvm::new(&[(&one, WHOLE), (&other, WHOLE)]);
    tools.run("vgreduce", &["vg", tools.device(1)]);
    drop(tools);
    let now = lab::bytes(&one, 0, SIZE);
    let found = lvm::groups(&[("d0-disk", &now.as_slice()), ("d1-disk", &old.as_slice())]);
    assert_eq!(found.groups.len(), 1, "{:?}", found.doubts);
    assert!(found.doubts.iter().any(|(name, why)| name == "d1-disk" && why.contains("goes on without it")));
}
