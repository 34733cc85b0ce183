//! Dynamic disks of Windows: what of them is used is what their database and the file systems of their volumes say, and what
//! contradicts itself is not believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod lab;
#[path = "ldm/mod.rs"]
mod made;

use lab::{Kind, MIB, Noise, text};
use made::{Extent, Group, Shown, checksum, mixed};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::ldm::{self, Found, Home, Source};
use remint::schema::State;
use remint::units::{ByteRange, RangeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the database of a GPT disk of `mkldm` stands.
const PARTITION: Home = Home::Partition(ByteRange::new(34 * 512, 2082 * 512));
const NTFS: Kind = Kind {
    name: "NTFS",
    family: "ntfs",
    make: &["mkntfs", "-q", "-Q", "-F", "-s", "512", "-p", "0", "-L", "inside"],
};

fn memory(path: &Path) -> MemoryDisk {
    MemoryDisk::from_bytes(&fs::read(path).unwrap())
}

fn home(position: usize, group: &Group) -> Home {
    if group.json["disks"][position]["table"] == "mbr" { Home::Disk } else { PARTITION }
}

/// What is found on disks of a group, by their numbers from 1.
fn found(group: &Group, numbers: &[usize]) -> Vec<Found> {
    let disks: Vec<MemoryDisk> = numbers.iter().map(|number| memory(&group.disk(*number))).collect();
    let names: Vec<String> = numbers.iter().map(|number| format!("d{}", number - 1)).collect();
    let sources: Vec<Source<'_>> = disks
        .iter()
        .zip(numbers)
        .zip(&names)
        .map(|((disk, number), name)| Source { name, disk, home: home(number - 1, group), is_chosen: true })
        .collect();
    ldm::read(&sources)
}

/// An empty NTFS of a size.
fn empty(folder: &Path, name: &str, bytes: u64) -> PathBuf {
    let path = folder.join(name);
    lab::noisy_disk(&path, bytes);
    lab::run(NTFS.make[0], &[&NTFS.make[1..], &[text(&path)]].concat());
    path
}

/// The usual group, and the folder with what its volumes hold.
fn usual() -> (tempfile::TempDir, Group) {
    let folder = lab::folder();
    let group = mixed(|name, bytes| Some(empty(folder.path(), name, bytes)));
    group.make();
    (folder, group)
}

fn one_simple(table: &str) -> Group {
    let mut group = Group::new(&[table], 24 * MIB);
    let content = empty(group.folder.path(), "content", 8 * MIB);
    group.volume("Only", "simple", &[&[("Disk1", 4096, 16384)]], Some(&content));
    group.make();
    group
}

#[test]
fn a_database_is_read_as_ldmtool_reads_it_and_what_is_free_is_left_out() {
    for minor in [11, 12] {
        let folder = lab::folder();
        let mut group = mixed(|name, bytes| Some(empty(folder.path(), name, bytes)));
        group.set("minor", minor);
        group.make();
        let disks = [group.disk(1), group.disk(2)];
        let shown = Shown::new(&[&disks[0], &disks[1]]);
        let both = found(&group, &[1, 2]);
        for (found, (disk, name)) in both.iter().zip(disks.iter().zip(["Disk1", "Disk2"])) {
            assert_eq!(found.state, State::Clean, "{:?}", found.findings);
            let facts = shown.disk(name);
            assert_eq!(found.guid.unwrap().to_string().to_lowercase(), facts["guid"].as_str().unwrap());
            let mut extents = RangeSet::new();
            for volume in ["Simple", "Spanned", "Striped", "Mirror", "Other"] {
                let on = shown.extents(volume).into_iter().filter(|(path, _)| path == disk);
                on.for_each(|(_, place)| extents.insert(place));
            }
            assert_eq!(found.extents, extents, "{name}");
            let start = facts["data-start"].as_u64().unwrap() * 512;
            let public = ByteRange::at(start, facts["data-size"].as_u64().unwrap() * 512).unwrap();
            let unused = found.unused.as_ref().unwrap();
            // Of an empty NTFS nearly all is free, and everything between the volumes is.
            assert!(extents.gaps(public).iter().all(|gap| unused.contains(gap)));
            assert!(unused.total_bytes() > 100 * MIB && unused.iter().all(|range| public.contains(range)));
        }
        let said = both[0].findings.concat();
        assert!(
            said.contains(
                "Disk1 of the 2 disks of the group \"Lab-Dg0\" at change 39 has Simple (simple, 20"
            ),
            "{said}"
        );
        assert!(said.contains("Mirror (mirrored, 22") && said.contains("NTFS \"inside\""), "{said}");
        assert!(both.iter().all(|found| found.notice.is_none()));
    }
}

#[test]
fn every_volume_comes_back_from_what_is_used_of_its_disks_on_noise() {
    let folder = lab::folder();
    let files = folder.path().join("files");
    lab::real_files(&files, 6 * MIB);
    let fat = Kind { name: "FAT16", family: "fat", make: &["mkfs.fat", "-F", "16"] };
    let kind = |name: &str| if name == "Spanned" { &fat } else { &NTFS };
    let built = |name: &str, bytes: u64| {
        let path = folder.path().join(name);
        kind(name).build(&path, bytes, &files);
        Some(path)
    };
    let group = mixed(built);
    group.make();
    let before = found(&group, &[1, 2]);
    let restored: Vec<PathBuf> = (1..)
        .zip(&before)
        .map(|(number, found)| {
            assert_eq!(found.state, State::Clean, "{:?}", found.findings);
            let (old, new) = (group.disk(number), folder.path().join(format!("restored{number}")));
            lab::noisy_disk(&new, 120 * MIB);
            let used = found.unused.as_ref().unwrap().gaps(ByteRange::new(0, 120 * MIB));
            assert!(used.total_bytes() < 100 * MIB);
            used.iter().for_each(|range| {
                lab::overwrite(&new, range.start(), &lab::bytes(&old, range.start(), range.length()));
            });
            new
        })
        .collect();
    let old = Shown::new(&[&group.disk(1), &group.disk(2)]);
    let new = Shown::new(&[&restored[0], &restored[1]]);
    assert_eq!(new.all(), old.all());
    for name in ["Simple", "Spanned", "Striped", "Mirror", "Other"] {
        let copies = new.content(name);
        assert_eq!(copies.len(), if name == "Mirror" { 2 } else { 1 });
        for content in copies {
            let volume = folder.path().join("volume");
            fs::write(&volume, &content).unwrap();
            let bytes = content.len() as u64;
            kind(name).check(&volume, 0, bytes);
            let expected = kind(name).files(&folder.path().join(name), 0, bytes);
            assert!(expected.len() > 20);
            assert_eq!(kind(name).files(&volume, 0, bytes), expected, "{name}");
        }
    }
}

#[test]
fn what_one_disk_cannot_answer_for_is_refused_by_name_with_a_way_out() {
    let (_contents, group) = usual();
    // Each alone: the mirror would be whole, what is spanned or striped is not.
    for (number, missing) in [(1, "Disk2"), (2, "Disk1")] {
        let found = &found(&group, &[number])[0];
        let said = found.findings.concat();
        assert_eq!((found.state, &found.unused), (State::Unsupported, &None));
        assert!(
            said.contains(&format!("the volume Spanned lies on {missing} too, which is not here")),
            "{said}"
        );
        assert!(said.contains("the volume Striped") && said.contains("--when-dirty raw"), "{said}");
        assert!(!said.contains("Mirror") && !said.contains("Simple"), "{said}");
    }
    // A mirror and simple volumes: one disk is enough, and a sentence says what is missing.
    let mut group = Group::new(&["mbr", "mbr"], 40 * MIB);
    let content = empty(group.folder.path(), "content", 8 * MIB);
    group.volume("Mirror", "mirrored", &[&[("Disk1", 0, 16384)], &[("Disk2", 20000, 16384)]], Some(&content));
    group.make();
    for number in [1, 2] {
        let found = &found(&group, &[number])[0];
        assert_eq!(found.state, State::Clean, "{:?}", found.findings);
        let notice = found.notice.as_ref().unwrap();
        assert!(notice.contains("one of 2 disks of the group \"Lab-Dg0\", of which 1 are here"), "{notice}");
    }
    // Copies that are not equal.
    let disk = group.disk(2);
    let shown = Shown::new(&[&group.disk(1), &disk]);
    let place = shown.extents("Mirror").into_iter().find(|(path, _)| *path == disk).unwrap().1;
    lab::overwrite(&disk, place.start(), &lab::bytes(&empty(group.folder.path(), "x", 7 * MIB), 0, 7 * MIB));
    for found in found(&group, &[1, 2]) {
        let said = found.findings.concat();
        assert!(
            found.state == State::Unsupported
                && said.contains("is a mirror whose copies say different things"),
            "{said}"
        );
    }
}

#[test]
fn forms_and_states_that_are_not_known_are_refused_by_name() {
    let mut raid = Group::new(&["mbr", "mbr", "gpt"], 24 * MIB);
    let extents: &[Extent<'_>] = &[("Disk1", 0, 8192), ("Disk2", 0, 8192), ("Disk3", 0, 8192)];
    raid.volume("Raid", "raid5", &[extents], None);
    raid.make();
    for found in found(&raid, &[1, 2, 3]) {
        let said = found.findings.concat();
        assert!(
            found.state == State::Unsupported
                && said.contains("the volume Raid is a RAID 5, which only Windows reads"),
            "{said}"
        );
    }
    let mut failed = one_simple("mbr");
    failed.json["volumes"][0]["state"] = "FAILED".into();
    failed.make();
    let said = found(&failed, &[1])[0].findings.concat();
    assert!(said.contains("the volume Only is in the state \"FAILED\""), "{said}");
    // In the middle of a change.
    for (key, value) in [("state", 2), ("pending", 40)] {
        let mut group = one_simple("gpt");
        group.set(key, value);
        group.make();
        let found = &found(&group, &[1])[0];
        let said = found.findings.concat();
        assert!(
            found.state == State::Dirty && said.contains("a change of its database was not finished"),
            "{said}"
        );
    }
    // A volume that is not at rest is not captured, and where to put it right is said.
    let group = one_simple("mbr");
    let disk = memory(&group.disk(1));
    let start = Shown::new(&[&group.disk(1)]).extents("Only")[0].1.start();
    disk.write_at(start + 3, b"-FVE-FS-").unwrap();
    let source = Source { name: "d0", disk: &disk, home: Home::Disk, is_chosen: true };
    let found = &ldm::read(&[source])[0];
    let said = found.findings.concat();
    assert!(
        found.state == State::Encrypted && said.contains("the volume Only holds BitLocker"),
        "{:?} {said}",
        found.state
    );
    // A volume without a file system is used as a whole.
    disk.write_zeros(ByteRange::new(start, start + 8 * MIB)).unwrap();
    disk.write_at(start + 5 * MIB, b"x").unwrap();
    let found = &ldm::read(&[source])[0];
    assert_eq!(found.state, State::Clean, "{:?}", found.findings);
    assert!(found.unused.as_ref().unwrap().within(ByteRange::at(start, 8 * MIB).unwrap()).next().is_none());
}

/// As many columns as Windows makes, and stripes of a page: an image of a database cannot make more of a map than that.
#[test]
fn stripes_that_windows_does_not_make_are_refused_by_name() {
    for (columns, stripe, refused) in [
        (32, 128, None),
        (32, 8, None),
        (33, 128, Some("is striped over 33 columns, where Windows has at most 32")),
        (2, 1, Some("has stripes of 512 bytes, and powers of two from 4096 on")),
        (2, 4, Some("has stripes of 2048 bytes")),
        (2, 24, Some("has stripes of 12288 bytes")),
    ] {
        let mut group = Group::new(&["mbr"], 24 * MIB);
        let extents: Vec<Extent<'_>> =
            (0..columns).map(|column| ("Disk1", 100 + column * 1000, 768)).collect();
        let bytes = columns * 768 * 512;
        let content = refused.is_none().then(|| empty(group.folder.path(), "content", bytes));
        group.volume("Striped", "striped", &[&extents], content.as_deref());
        group.json["volumes"][0]["stripe"] = stripe.into();
        group.make();
        let found = &found(&group, &[1])[0];
        let said = found.findings.concat();
        match refused {
            None => assert_eq!(found.state, State::Clean, "{columns} {stripe}: {said}"),
            Some(words) => {
                assert_eq!(found.state, State::Unsupported, "{columns} {stripe}: {said}");
                assert!(said.contains(words) && said.contains("--when-dirty raw"), "{said}");
            }
        }
    }
}

/// Who stops in the middle has left the group that was there, the group at its new place, or no dynamic disk: never a header that
/// names half a database.
#[test]
fn a_database_that_moves_is_never_named_while_it_is_not_whole() {
    let group = one_simple("mbr");
    let old = fs::read(group.disk(1)).unwrap();
    let extents = found(&group, &[1])[0].extents.clone();
    for more in [512, 4096, MIB / 2, MIB - 512, MIB, MIB + 512, 8 * MIB] {
        let disk = MemoryDisk::new(old.len() as u64 + more);
        disk.write_at(0, &old).unwrap();
        let judged = |at: &str, may_be_none: bool| {
            let source = Source { name: "d0", disk: &disk, home: Home::Disk, is_chosen: true };
            let found = &ldm::read(&[source])[0];
            let said = found.findings.concat();
            let is_whole = found.state == State::Clean && found.extents == extents;
            let is_none = said.contains("PRIVHEAD") && said.contains("there is none");
            assert!(is_whole || (may_be_none && is_none), "{more}, {at}: {} {said}", found.state);
        };
        let pieces = ldm::moved_to_the_end(&disk).unwrap();
        for (number, piece) in pieces.iter().enumerate() {
            let overlaps = more < MIB;
            for end in [piece.bytes.len() / 3 / 512 * 512, piece.bytes.len()] {
                disk.write_at(piece.at, &piece.bytes[..end]).unwrap();
                judged(&format!("piece {number} to {end}"), overlaps);
            }
        }
        judged("the end", false);
        assert!(ldm::moved_to_the_end(&disk).unwrap().is_empty(), "{more}");
    }
}

#[test]
fn of_databases_that_differ_the_newest_counts_and_strangers_are_named() {
    let (_contents, mut group) = usual();
    let old = fs::read(group.disk(2)).unwrap();
    group.set("sequence", 40);
    group.make();
    fs::write(group.disk(2), &old).unwrap();
    let both = found(&group, &[1, 2]);
    let said = both[1].findings.concat();
    assert!(
        said.contains("its group went on without it: its database is at change 39, that of d0 at 40"),
        "{said}"
    );
    let said = both[0].findings.concat();
    assert!(said.contains("lies on Disk2 too, which is not here"), "{said}");
    // At the same change, but not the same.
    let mut split = one_simple("mbr");
    let other = split.folder.path().join("disk2");
    fs::copy(split.disk(1), &other).unwrap();
    split.json["volumes"][0]["name"] = "Renamed".into();
    let again = split.json["disks"][0].clone();
    split.json["disks"].as_array_mut().unwrap().push(again);
    split.json["disks"][1]["missing"] = true.into();
    split.json["disks"][1]["name"] = "Disk2".into();
    split.json["disks"][1]["guid"] = "06495a02-fbfd-11e1-8cf9-52540061f5db".into();
    split.make();
    for found in found(&split, &[1, 2]) {
        let said = found.findings.concat();
        assert!(said.contains("are at the same change 39 and say different things"), "{said}");
    }
    // The way out: who is left out decides nothing.
    let disks = [memory(&split.disk(1)), memory(&other)];
    let sources = |chosen: usize| -> Vec<Source<'_>> {
        let names = ["d0", "d1"].into_iter().enumerate();
        disks
            .iter()
            .zip(names)
            .map(|(disk, (number, name))| Source {
                name,
                disk,
                home: Home::Disk,
                is_chosen: number == chosen,
            })
            .collect()
    };
    let states = |chosen| ldm::read(&sources(chosen)).iter().map(|found| found.state).collect::<Vec<_>>();
    assert_eq!(states(0), [State::Clean, State::Unsupported]);
    assert_eq!(states(1), [State::Unsupported, State::Clean]);
    // Nor does one that is in the middle of a change.
    let head = disks[1].size_bytes() - MIB + 17 * 512;
    disks[1].write_at(head + 0x10, &[0, 2]).unwrap();
    assert_eq!(states(0), [State::Clean, State::Dirty]);
    // The same disk twice: one that is chosen counts.
    let group = one_simple("mbr");
    let disk = memory(&group.disk(1));
    let source = |name, is_chosen| Source { name, disk: &disk, home: Home::Disk, is_chosen };
    for found in ldm::read(&[source("d0", true), source("d1", true)]) {
        let said = found.findings.concat();
        assert!(
            found.state == State::Unsupported && said.contains("the same disk of its group as d"),
            "{said}"
        );
    }
    let states: Vec<State> =
        ldm::read(&[source("d0", false), source("d1", true)]).iter().map(|found| found.state).collect();
    assert_eq!(states, [State::Unsupported, State::Clean]);
    // A disk that its group does not know.
    let mut group = one_simple("gpt");
    let region = fs::read(group.disk(1)).unwrap();
    group.json["disks"][0]["guid"] = "06495aff-fbfd-11e1-8cf9-52540061f5db".into();
    group.make();
    let config = (34 + 17) * 512;
    lab::overwrite(&group.disk(1), config, &region[config as usize..(config + 1481 * 512) as usize]);
    let said = found(&group, &[1])[0].findings.concat();
    assert!(said.contains("the group \"Lab-Dg0\" does not know it"), "{said}");
}

/// Puts the checksum of a sector right.
fn seal(disk: &MemoryDisk, at: u64) {
    let sum = checksum(&read_vec(disk, at, 512).unwrap());
    disk.write_at(at + 8, &sum.to_be_bytes()).unwrap();
}

#[test]
fn headers_and_records_that_contradict_themselves_are_not_believed() {
    let group = one_simple("mbr");
    let disk = memory(&group.disk(1));
    let private = disk.size_bytes() - MIB;
    let judged = |words: &str, state: State| {
        let found = &ldm::read(&[Source { name: "d0", disk: &disk, home: Home::Disk, is_chosen: true }])[0];
        let said = found.findings.concat();
        assert!(
            found.state == state && said.contains(words) && found.unused.is_none(),
            "{words}: {:?} {said}",
            found.state
        );
    };
    let with = |at: u64, bytes: &[u8], seals: &[u64], words: &str, state: State| {
        let before = read_vec(&disk, 0, disk.size_bytes() as usize).unwrap();
        disk.write_at(at, bytes).unwrap();
        seals.iter().for_each(|at| seal(&disk, *at));
        judged(words, state);
        disk.write_at(0, &before).unwrap();
    };
    let (first, middle, config) = (6 * 512, private + 1856 * 512, private + 17 * 512);
    with(first, b"x", &[], "there is none", State::Damaged);
    with(first + 0x30, b"1", &[], "its checksum is wrong", State::Damaged);
    with(first + 0x0E, &[0, 13], &[first], "version 2.13", State::Unsupported);
    with(first + 0x12B, &[0xFF; 8], &[first], "its regions do not lie on the disk", State::Damaged);
    with(first + 0x133, &[0; 8], &[first], "its regions do not lie on the disk", State::Damaged);
    with(first + 0x11B, &[0, 0, 0, 0, 0, 0, 1, 0], &[first], "its private region is", State::Damaged);
    with(first + 0x30, b"nothing!", &[first], "is no GUID", State::Damaged);
    with(first + 0x28, &[0xFF; 8], &[first], "its copies do not lie", State::Damaged);
    with(middle, &[0; 512], &[], "there is none", State::Damaged);
    with(middle + 0xF0, b"other", &[middle], "its copies say something else", State::Damaged);
    with(
        private + 2 * 512 + 0x36,
        &[0; 8],
        &[private + 2 * 512],
        "its copies say something else",
        State::Damaged,
    );
    let both = [private + 2 * 512, private + 2045 * 512];
    let sector = read_vec(&disk, both[0], 512).unwrap();
    disk.write_at(both[0], &[0; 512]).unwrap();
    with(both[1], &[0; 512], &[], "there is none that can be believed", State::Damaged);
    disk.write_at(both[0], &sector).unwrap();
    with(config, b"x", &[], "VMDB", State::Damaged);
    with(config + 0x14, &[0, 11], &[], "version 4.11", State::Unsupported);
    with(config + 0x35, b"1", &[], "it is that of another group", State::Damaged);
    with(config + 0x08, &[0; 4], &[], "blocks of 0 bytes", State::Damaged);
    with(config + 0x85, &[0, 0, 0, 2], &[], "it counts [2, 1, 1, 1]", State::Damaged);
    with(config + 4 * 128 + 512 - 512, b"x", &[], "it is not block 4", State::Damaged);
    // Records, by what they are: a volume that has two components, an extent that is nowhere, one that is twice as long.
    let blocks: Vec<(u64, Vec<u8>)> =
        (4..40).map(|n| (config + n * 128, read_vec(&disk, config + n * 128, 128).unwrap())).collect();
    let of_kind = |kind: u8| blocks.iter().find(|(_, block)| block[19] == kind && block[15] == 1).unwrap();
    let (extent, block) = of_kind(0x33);
    let end = 24 + u64::from(block[23]);
    with(extent + end - 1, &[99], &[], "lies on no disk", State::Damaged);
    with(extent + end - 3, &[99], &[], "counts 1 extents, and has 0", State::Damaged);
    let start = 24 + 2 + 9 + 12;
    with(extent + start, &[0x7F], &[], "lies on no disk", State::Damaged);
    with(extent + start + 4, &[0xFF], &[], "do not lie in the public region", State::Damaged);
    with(extent + start + 8, &[1], &[], "not one behind the other", State::Damaged);
    let (component, _) = of_kind(0x32);
    with(component + 19, &[0x36], &[], "unknown kind 0x36", State::Unsupported);
    with(component + 23, &[0xFF], &[], "is cut off", State::Damaged);
    with(component + 16, &[0, 1], &[], "was not finished", State::Dirty);
    with(component + 14, &[0, 2], &[], "was not finished", State::Dirty);
    with(component + 14, &[0, 9], &[], "is part 0 of 9", State::Damaged);
}

/// What is left where only the used blocks were restored, on noise.
struct OnNoise<'a> {
    disk: &'a MemoryDisk,
    unused: &'a RangeSet,
}

impl ReadAt for OnNoise<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.disk.read_at(offset, buffer)?;
        let asked = ByteRange::at(offset, buffer.len() as u64).unwrap();
        for part in self.unused.within(asked) {
            let from = (part.start() - offset) as usize;
            buffer[from..from + part.length() as usize].fill(0xA7);
        }
        Ok(())
    }
}

/// Ten thousand changes of what describes a group, every second one with its checksums put right.
#[test]
fn damage_is_survived_and_what_is_believed_reads_the_same_from_its_map() {
    let mut group = Group::new(&["mbr", "gpt"], 12 * MIB);
    let folder = lab::folder();
    let content = |name: &str, bytes: u64| empty(folder.path(), name, bytes);
    group.volume("Simple", "simple", &[&[("Disk1", 65, 2304)]], Some(&content("a", 2304 * 512)));
    let small = 2304 * 512;
    let spanned: &[Extent<'_>] = &[("Disk2", 94, 2304), ("Disk1", 3000, 2304)];
    group.volume("Spanned", "spanned", &[spanned], Some(&content("b", 2 * small)));
    let striped: &[Extent<'_>] = &[("Disk1", 6000, 2304), ("Disk2", 4000, 2304)];
    group.volume("Striped", "striped", &[striped], Some(&content("c", 2 * small)));
    let copies: [&[Extent<'_>]; 2] = [&[("Disk1", 9000, 2304)], &[("Disk2", 7000, 2304)]];
    group.volume("Mirror", "mirrored", &copies, Some(&content("d", small)));
    group.make();
    let disks = [memory(&group.disk(1)), memory(&group.disk(2))];
    let private = [disks[0].size_bytes() - MIB, 34 * 512];
    let headers = [
        vec![6 * 512, private[0] + 1856 * 512, private[0] + 2047 * 512],
        vec![private[1] + 1856 * 512, private[1] + 2047 * 512],
    ];
    let tables = |disk: usize| [private[disk] + 2 * 512, private[disk] + 2045 * 512];
    let homes = [Home::Disk, PARTITION];
    let mut random = Noise::new(5);
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..10_000 {
        let which = random.below(2) as usize;
        let disk = &disks[which];
        let (start, length) = match random.below(4) {
            0 => (headers[which][random.below(headers[which].len() as u64) as usize], 0x180),
            1 => (tables(which)[random.below(2) as usize], 0x70),
            2 => (private[which] + 17 * 512, 0xD0),
            _ => (private[which] + 18 * 512, 5 * 1024),
        };
        let at = start + random.below(length);
        let length = [1, 1, 2, 4, 8][random.below(5) as usize];
        let old = read_vec(disk, at, length).unwrap();
        let new: Vec<u8> = match random.below(3) {
            0 => old.iter().map(|byte| byte ^ 1 << random.below(8)).collect(),
            1 => vec![[0, 0xFF][random.below(2) as usize]; length],
            _ => random.bytes(length),
        };
        // The same change in every copy gets further.
        let same = |places: &[u64]| places.iter().any(|place| (*place..place + 512).contains(&at));
        let copies: Vec<u64> = if same(&headers[which]) && round % 4 == 0 {
            headers[which].clone()
        } else if same(&tables(which)) && round % 4 == 0 {
            tables(which).to_vec()
        } else {
            vec![start]
        };
        let everywhere = |bytes: &[u8]| {
            copies.iter().for_each(|copy| disk.write_at(copy + (at - start), bytes).unwrap());
        };
        let sealed = || headers[which].iter().chain(&tables(which)).for_each(|at| seal(disk, *at));
        everywhere(&new);
        if round % 2 == 0 {
            sealed();
        }
        let sources: Vec<Source<'_>> = (0..2)
            .map(|number| Source {
                name: ["d0", "d1"][number],
                disk: &disks[number],
                home: homes[number],
                is_chosen: true,
            })
            .collect();
        let found = ldm::read(&sources);
        assert_eq!(found.len(), 2);
        for (found, disk) in found.iter().zip(&disks) {
            assert!(!found.findings.is_empty());
            assert_eq!(found.unused.is_some(), found.state == State::Clean);
            assert!(found.unused.iter().all(|unused| unused.end() <= disk.size_bytes()));
            *seen.entry(found.state.to_string()).or_default() += 1;
        }
        if found.iter().all(|found| found.state == State::Clean) {
            let left: Vec<OnNoise<'_>> = found
                .iter()
                .zip(&disks)
                .map(|(found, disk)| OnNoise { disk, unused: found.unused.as_ref().unwrap() })
                .collect();
            let again: Vec<Source<'_>> =
                sources.iter().zip(&left).map(|(source, disk)| Source { disk, ..*source }).collect();
            assert_eq!(ldm::read(&again), found, "{new:x?} for {old:x?} at byte {at}");
        }
        let _ = ldm::moved_to_the_end(&disks[0]);
        everywhere(&old);
        sealed();
    }
    for state in ["damaged", "clean", "dirty", "unsupported"] {
        assert!(seen.get(state).is_some_and(|count| *count > 50), "{seen:?}");
    }
}

/// Disks of Windows Server 2003 R2 and 2008 R2, as libldm's own tests have them (test/data/ldm-data.tar.xz of its source, LGPL):
/// REMINT_LDM_WINDOWS names the folder with the images.
#[test]
#[ignore = "needs the images of libldm's tests"]
fn disks_that_windows_made_are_read_as_ldmtool_reads_them() {
    let folder = PathBuf::from(std::env::var("REMINT_LDM_WINDOWS").expect("the folder with the images"));
    for (name, count) in [
        ("2003r2-simple", 1),
        ("2003r2-spanned", 2),
        ("2003r2-striped", 2),
        ("2003r2-mirrored", 2),
        ("2003r2-raid5", 3),
        ("2008r2-spanned", 2),
        ("2008r2-striped", 2),
        ("2008r2-mirrored", 2),
        ("2008r2-raid5", 3),
    ] {
        let disks: Vec<MemoryDisk> =
            (1..=count).map(|number| memory(&folder.join(format!("ldm-{name}-{number}.img")))).collect();
        let sources: Vec<Source<'_>> = disks
            .iter()
            .map(|disk| {
                let is_gpt = read_vec(disk, 512, 8).unwrap() == b"EFI PART";
                Source { name: "d", disk, home: if is_gpt { PARTITION } else { Home::Disk }, is_chosen: true }
            })
            .collect();
        for found in ldm::read(&sources) {
            println!("{name}: {} {:?} {:?} {:?}", found.state, found.findings, found.extents, found.notice);
            assert!(found.guid.is_some() && !found.extents.is_empty());
            let said = found.findings.concat();
            // Of 2008 R2's and of the last volume other disks are missing in the collection.
            assert!(
                found.state == State::Clean
                    || said.contains("too, which is not here")
                    || said.contains("RAID 5"),
                "{said}"
            );
        }
        if name.starts_with("2003r2") {
            let moved = ldm::moved_to_the_end(&disks[0]).unwrap();
            assert!(moved.is_empty(), "its database stands at the end");
        }
    }
}
