//! Texts of groups and what is read of them.

use super::*;
use crate::blockio::{MemoryDisk, WriteAt};

const SIZE: u64 = 8 << 20;

/// The groups on a physical volume with this text.
fn found(text: &str) -> Found {
    found_beside(text, &[])
}

/// The groups on a physical volume with this text, and bytes at extents of it.
fn found_beside(text: &str, pieces: &[(u64, Vec<u8>)]) -> Found {
    let disk = MemoryDisk::new(SIZE);
    for (extent, bytes) in pieces {
        disk.write_at((1 << 20) + extent * (256 << 10), bytes).unwrap();
    }
    let physical = PhysicalVolume {
        volume: "d0-p1".to_owned(),
        uuid: "abcdef-ghij-klmn-opqr-stuv-wxyz-000001".to_owned(),
        start_bytes: 1 << 20,
        extents: 20,
        status: Vec::new(),
        tags: Vec::new(),
    };
    for piece in write::pieces_of(&physical, SIZE, text.as_bytes()).unwrap() {
        disk.write_at(piece.at, &piece.bytes).unwrap();
    }
    groups(&[("d0-p1", &disk)])
}

fn text(volumes: &str) -> String {
    format!(
        "vg {{ id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-000000\" seqno = 7 extent_size = 512 status = [\"READ\"] \
         physical_volumes {{ pv0 {{ id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-000001\" pe_start = 2048 pe_count = 20 }} }} \
         logical_volumes {{ {volumes} }} }} version = 1"
    )
}

fn volume(number: u32, name: &str, status: &str, segment: &str) -> String {
    format!(
        "{name} {{ id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-0001{number:02}\" status = [{status}] segment_count = 1 \
         segment1 {{ start_extent = 0 {segment} }} }}\n"
    )
}

fn extents(first: u64, count: u64) -> String {
    format!("extent_count = {count} type = \"striped\" stripe_count = 1 stripes = [\"pv0\", {first}]")
}

/// Names of the volumes of the only group, each with what only the kernel can read of it.
fn read(volumes: &[String]) -> Option<Vec<(String, Option<String>)>> {
    let found = found(&text(&volumes.concat()));
    let FoundGroup { group, kernel, .. } = found.groups.into_iter().next()?;
    Some(group.logical_volumes.into_iter().map(|logical| logical.name).zip(kernel).collect())
}

const VISIBLE: &str = "\"READ\", \"VISIBLE\"";

#[test]
fn what_people_see_is_read_from_its_extents_or_named() {
    let raid = "extent_count = 2 type = \"raid1\" device_count = 2 raids = [\"m0\", \"i0\", \"m1\", \"i1\"]";
    let volumes = [
        volume(1, "alone", VISIBLE, &extents(0, 2)),
        volume(2, "mirrored", VISIBLE, raid),
        volume(3, "i0", "\"READ\"", &extents(2, 2)),
        volume(4, "i1", "\"READ\"", &extents(4, 2)),
        volume(5, "m0", "\"READ\"", &extents(6, 1)),
        volume(6, "m1", "\"READ\"", &extents(7, 1)),
        volume(14, "striped", VISIBLE, &extents(16, 1)),
        volume(7, "origin", VISIBLE, &extents(8, 2)),
        volume(8, "cow", "\"READ\"", &extents(10, 1)),
        volume(
            9,
            "snapshot0",
            VISIBLE,
            "extent_count = 2 type = \"snapshot\" origin = \"origin\" cow_store = \"cow\"",
        ),
        volume(
            10,
            "pool",
            VISIBLE,
            "extent_count = 2 type = \"thin-pool\" pool = \"tdata\" metadata = \"tmeta\"",
        ),
        volume(11, "thin", VISIBLE, "extent_count = 9 type = \"thin\" thin_pool = \"pool\" device_id = 1"),
        volume(
            12,
            "moving",
            VISIBLE,
            "extent_count = 2 type = \"striped\" stripe_count = 1 stripes = [\"pvmove0\", 0]",
        ),
        volume(
            13,
            "pvmove0",
            "\"READ\"",
            "extent_count = 2 type = \"mirror\" mirrors = [\"pv0\", 12, \"pv0\", 14]",
        ),
    ];
    let read = read(&volumes).unwrap();
    let what = |what: &str| Some(what.to_owned());
    let expected = [
        ("alone", None),
        ("cow", what("a snapshot")),
        ("mirrored", what("a mirror of which no copy is known to be whole")),
        ("moving", what("a volume whose extents are being moved")),
        ("origin", None),
        ("striped", None),
        ("thin", what("a thin volume")),
    ];
    assert_eq!(read, expected.map(|(name, what)| (name.to_owned(), what)));
    // What a snapshot needs of its origin is lost when that is written anew.
    let FoundGroup { group, origins, .. } = found(&text(&volumes.concat())).groups.remove(0);
    let names = group.logical_volumes.iter().zip(origins).filter(|(_, is_origin)| *is_origin);
    assert_eq!(names.map(|(logical, _)| logical.name.as_str()).collect::<Vec<_>>(), ["origin"]);
}

#[test]
fn doubt_gives_no_group() {
    let alone = |segment: &str| read(&[volume(1, "a", VISIBLE, segment)]);
    assert!(alone(&extents(0, 20)).is_some());
    for doubtful in [
        extents(1, 20),
        extents(u64::MAX >> 1, 1),
        extents(0, 0),
        "extent_count = 3 type = \"striped\" stripe_count = 2 stripe_size = 8 stripes = [\"pv0\", 0, \"pv0\", 5]".to_owned(),
        "extent_count = 2 type = \"striped\" stripe_count = 1 stripes = [\"pv1\", 0]".to_owned(),
    ] {
        assert_eq!(alone(&doubtful), None, "{doubtful}");
    }
    assert_eq!(
        read(&[volume(1, "a", VISIBLE, &extents(0, 9)), volume(2, "b", VISIBLE, &extents(8, 1))]),
        None
    );
    assert_eq!(
        read(&[volume(1, "a", VISIBLE, &extents(0, 9)), volume(1, "b", VISIBLE, &extents(9, 1))]),
        None
    );
    let good = text("");
    assert_eq!(found(&good).groups.len(), 1);
    for (from, to) in [
        ("pe_start = 2048", "pe_start = 0"),
        ("pe_start = 2048", "pe_start = 2047"),
        ("pe_count = 20", "pe_count = 40"),
        ("extent_size = 512", "extent_size = 0"),
        ("seqno = 7", "seqno = 7 lock_type = \"sanlock\""),
        ("pe_count = 20", "pe_count = 20 flags = [\"MISSING\"]"),
    ] {
        let found = found(&good.replace(from, to));
        assert!(found.groups.is_empty() && !found.doubts.is_empty(), "{to}");
    }
    let two = good.replace(
        "pv0 {",
        "pv1 { id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-000009\" pe_start = 2048 pe_count = 1 } pv0 {",
    );
    let found = found(&two);
    assert!(found.groups.is_empty() && found.doubts[0].1.contains("1 of the 2 physical volumes"));
}

#[test]
fn what_is_not_understood_of_one_volume_is_named_and_does_not_hide_the_others() {
    let kind = |kind: &str| format!("extent_count = 2 type = \"{kind}\" device_count = 2");
    let raid = |parts: &str| format!("extent_count = 2 type = \"raid1\" device_count = 2 raids = [{parts}]");
    let merging = "extent_count = 2 type = \"snapshot\" origin = \"merged\" merging_store = \"cow\"";
    let volumes = [
        volume(1, "alone", VISIBLE, &extents(0, 2)),
        volume(2, "checked", VISIBLE, &raid("\"m0\", \"i0\", \"m1\", \"i1\"")),
        volume(3, "i0", "\"READ\"", &kind("integrity")),
        volume(4, "i1", "\"READ\"", &kind("integrity")),
        volume(5, "m0", "\"READ\"", &extents(2, 1)),
        volume(6, "m1", "\"READ\"", &extents(3, 1)),
        // Physical volumes have such names in the text.
        volume(7, "pv0", VISIBLE, &extents(4, 1)),
        volume(8, "minor", "\"READ\", \"VISIBLE\", \"FIXED_MINOR\"", &extents(5, 1)),
        volume(9, "pool", VISIBLE, &kind("thin-pool+CROP_METADATA")),
        volume(10, "later", VISIBLE, &extents(6, 1).replace("striped", "striped+LATER")),
        volume(11, "cached", VISIBLE, &kind("cache+CACHE_USES_CACHEVOL")),
        volume(12, "five", VISIBLE, &kind("raid5_ls+RESHAPE")),
        volume(13, "odd", "\"READ\", \"VISIBLE\", \"LATER\"", &extents(7, 1)),
        volume(14, "held", "\"READ\", \"VISIBLE\", \"LOCKED\"", &extents(8, 1)),
        volume(
            15,
            "copying",
            VISIBLE,
            "extent_count = 2 type = \"mirror\" mirrors = [\"within\", 0, \"i1\", 0]",
        ),
        volume(
            16,
            "within",
            "\"READ\"",
            "extent_count = 2 type = \"mirror\" mirrors = [\"pv0\", 9, \"pv0\", 11]",
        ),
        volume(17, "merged", VISIBLE, &extents(13, 2)),
        volume(18, "cow", "\"READ\"", &extents(15, 1)),
        volume(19, "snapshot0", "\"READ\"", merging),
        volume(20, "lost", VISIBLE, &kind("error")),
        volume(21, "checks", VISIBLE, &kind("integrity")),
        volume(22, "late", VISIBLE, &kind("writecache")),
        volume(23, "small", VISIBLE, &kind("vdo")),
    ];
    let read = read(&volumes).unwrap();
    let expected = [
        ("alone", None),
        ("cached", Some("a cached volume")),
        ("checked", Some("a mirror of which no copy can be read by itself")),
        ("checks", Some("a volume of the kind integrity")),
        ("copying", Some("a mirror that is being made or changed")),
        ("five", Some("a volume of the kind raid5_ls+RESHAPE")),
        ("held", Some("a volume whose extents are being moved")),
        ("late", Some("a cached volume")),
        ("later", Some("a volume of the kind striped+LATER")),
        ("lost", Some("a volume that lost a part")),
        ("merged", Some("a volume that is set back to a snapshot")),
        ("minor", None),
        ("odd", Some("a volume in the state LATER")),
        ("pv0", None),
        ("small", Some("a VDO volume")),
    ];
    assert_eq!(read, expected.map(|(name, what)| (name.to_owned(), what.map(str::to_owned))));
}

#[test]
fn a_volume_that_becomes_linear_keeps_only_the_words_that_a_linear_one_has() {
    let state = "\"READ\", \"VISIBLE\", \"FIXED_MINOR\"";
    let one = volume(1, "a", state, &extents(0, 2))
        .replace("] segment_count", "] flags = [\"CACHE_VOL\"] segment_count");
    let group = found(&text(&one)).groups.remove(0).group;
    assert_eq!(group.logical_volumes[0].status, ["READ", "VISIBLE"]);
    assert!(group.logical_volumes[0].flags.is_empty());
    // So does what an older image says.
    let mut older = group.clone();
    older.logical_volumes[0].status.push("LOCKED".to_owned());
    older.logical_volumes[0].flags.push("CACHE_VOL".to_owned());
    assert_eq!(pieces(&older, &[SIZE]).unwrap(), pieces(&group, &[SIZE]).unwrap());
}

/// What the kernel notes beside one of two copies: how often that was written, and how many sectors were copied.
fn state(position: u32, events: u64, copied: u64) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"DmRd\x01");
    put(8, &2u32.to_le_bytes());
    put(12, &position.to_le_bytes());
    put(16, &events.to_le_bytes());
    put(32, &copied.to_le_bytes());
    put(48, &1u32.to_le_bytes());
    bytes
}

/// The first extent that is read of a RAID1 volume whose two copies are at 4 and 6, with these words for the state of
/// each, and whether the kernel noted the first as whole.
fn copy_of(first: (&str, &str), other: (&str, &str), first_is_whole: bool) -> Option<u64> {
    let raid = "extent_count = 2 type = \"raid1\" device_count = 2 raids = [\"m0\", \"i0\", \"m1\", \"i1\"]";
    let volumes = [
        volume(1, "copied", "\"READ\", \"VISIBLE\", \"NOTSYNCED\"", raid),
        volume(2, "m0", "\"READ\"", &extents(1, 1)),
        volume(3, "m1", "\"READ\"", &extents(2, 1)),
        volume(4, "i0", first.0, first.1),
        volume(5, "i1", other.0, other.1),
    ];
    let first_copied = if first_is_whole { u64::MAX } else { 8 };
    let pieces = [(1, state(0, 3, first_copied)), (2, state(1, 3, u64::MAX))];
    let group = found_beside(&text(&volumes.concat()), &pieces).groups.remove(0).group;
    assert_eq!(group.logical_volumes.len(), 1);
    let logical = &group.logical_volumes[0];
    Some(logical.segments.first()?.stripes[0].first_extent).filter(|_| logical.mapping == Mapping::Mirrored)
}

#[test]
fn a_copy_that_is_lost_or_made_anew_is_not_read_and_one_that_is_written_late_only_where_there_is_no_other() {
    let (one, other) = (extents(4, 2), extents(6, 2));
    let error = "extent_count = 2 type = \"error\"";
    let (plain, late) = ("\"READ\"", "\"READ\", \"WRITEMOSTLY\"");
    assert_eq!(copy_of((plain, &one), (plain, &other), true), Some(4));
    assert_eq!(copy_of((plain, &one), (plain, &other), false), Some(6));
    assert_eq!(copy_of(("\"READ\", \"REBUILD\"", &one), (plain, &other), true), Some(6));
    assert_eq!(copy_of((plain, error), (plain, &other), true), Some(6));
    assert_eq!(copy_of((late, &one), (plain, &other), true), Some(6));
    assert_eq!(copy_of((late, &one), (late, &other), true), Some(4));
    assert_eq!(copy_of((late, &one), (plain, error), true), Some(4));
    assert_eq!(copy_of((plain, error), (plain, error), true), None);
}

/// What is read of each volume of a group on three disks, whose text LVM wrote, and what the kernel noted beside copies:
/// disk, extent and bytes.
fn read_text_of_lvm(text: &str, extents: u64, notes: &[(usize, u64, Vec<u8>)]) -> Vec<String> {
    const EXTENT: u64 = 1 << 20;
    let uuids = text.split("\t\tpv").skip(1).map(|section| section.split('"').nth(1).unwrap());
    let make = |uuid: &str| {
        let size = (extents + 1) * EXTENT;
        let disk = MemoryDisk::new(size);
        let physical = PhysicalVolume {
            volume: String::new(),
            uuid: uuid.to_owned(),
            start_bytes: EXTENT,
            extents,
            status: Vec::new(),
            tags: Vec::new(),
        };
        for piece in write::pieces_of(&physical, size, text.as_bytes()).unwrap() {
            disk.write_at(piece.at, &piece.bytes).unwrap();
        }
        disk
    };
    let disks: Vec<MemoryDisk> = uuids.map(make).collect();
    for (disk, extent, bytes) in notes {
        disks[*disk].write_at(EXTENT + extent * EXTENT, bytes).unwrap();
    }
    let found = groups(&[("d0-disk", &disks[0]), ("d1-disk", &disks[1]), ("d2-disk", &disks[2])]);
    assert_eq!((found.doubts, found.findings), (vec![], vec![]));
    let FoundGroup { group, kernel, .. } = &found.groups[0];
    let line = |(logical, kernel): (&LogicalVolume, &Option<String>)| {
        let stripes = logical.segments.iter().flat_map(|segment| &segment.stripes);
        let places = stripes.map(|stripe| format!(" {}:{}", stripe.physical_volume, stripe.first_extent));
        let places: String = places.collect();
        let from = kernel.clone().unwrap_or_else(|| format!("{:?}{places}", logical.mapping));
        let (size, status) = (logical.volume.size_bytes / EXTENT, logical.status.join(" "));
        format!("{} {size} {status}: {from}", logical.name)
    };
    group.logical_volumes.iter().zip(kernel).map(line).collect()
}

#[test]
fn volumes_of_every_kind_as_lvm_itself_describes_them_are_read_or_named() {
    let notes = [
        (0, 12, state(0, 0x14, u64::MAX)),
        (1, 4, state(1, 0x14, u64::MAX)),
        (0, 21, state(0, 0x19, 0xA00)),
        (1, 13, state(1, 0x19, u64::MAX)),
    ];
    let read = read_text_of_lvm(include_str!("../../../tests/lvm_kinds/group.txt"), 95, &notes);
    let expected = [
        "cached 8 READ WRITE VISIBLE: a cached volume",
        "linear-one 8 READ WRITE VISIBLE: Linear 0:0",
        "mirror-1 8 READ WRITE VISIBLE: Mirrored 0:46",
        "origin 8 READ WRITE VISIBLE: Linear 0:54",
        "raid-1 8 READ WRITE VISIBLE: Mirrored 0:13",
        "rebuilt 24 READ WRITE VISIBLE: Mirrored 1:14",
        "snap 8 READ WRITE VISIBLE: a snapshot",
        "striped 8 READ WRITE VISIBLE: Striped 0:8 1:0",
        "thin-a 40 READ WRITE VISIBLE: a thin volume",
    ];
    assert_eq!(read, expected);
    let notes = [
        (0, 92, state(0, 0x16, u64::MAX)),
        (1, 40, state(1, 0x16, u64::MAX)),
        (0, 74, state(0, 3, u64::MAX)),
        (1, 22, state(1, 3, u64::MAX)),
        (0, 83, state(0, 0x16, u64::MAX)),
        (1, 31, state(1, 0x14, u64::MAX)),
    ];
    let read = read_text_of_lvm(include_str!("../../../tests/lvm_kinds/named.txt"), 399, &notes);
    let expected = [
        "checked 8 READ WRITE VISIBLE: a mirror of which no copy can be read by itself",
        "cv 8 READ WRITE VISIBLE: a cached volume",
        "five 8 READ WRITE VISIBLE: a volume of the kind raid5",
        "late 8 READ WRITE VISIBLE: a cached volume",
        "merged 8 READ WRITE VISIBLE: a volume that is set back to a snapshot",
        "minor 8 READ WRITE VISIBLE: Linear 0:61",
        "mostly 8 READ WRITE VISIBLE: Mirrored 1:41",
        "moved 100 READ WRITE VISIBLE: a volume whose extents are being moved",
        "pv0 4 READ WRITE VISIBLE: Linear 0:101",
        "sparse 64 READ WRITE VISIBLE: a thin volume",
        "split 8 READ WRITE VISIBLE: Mirrored 0:84",
        "split_rimage_1 8 READ VISIBLE: a part of another volume",
        "unsynced 8 READ WRITE VISIBLE: Mirrored 0:75",
    ];
    assert_eq!(read, expected);
}
