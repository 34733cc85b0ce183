//! Where chunks stand, against tables that are filled row by row as the layouts are described.
#![allow(clippy::as_conversions, reason = "numbers of a few digits")]

use super::Superblock;
use super::array::Array;
use super::geometry::Geometry;
use super::superblock::Role;
use crate::blockio::{MemoryDisk, ReadAt, Window, WriteAt, read_vec};
use crate::units::{ByteRange, RangeSet};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CHUNK: u64 = 4096;

fn superblock(level: i32, disks: u32, layout: u32, data_bytes: u64) -> Superblock {
    Superblock {
        version: "1.2",
        at: 4096,
        array_uuid: None,
        name: None,
        level,
        disks,
        active: disks,
        number: 0,
        role: Role::Active,
        position: 0,
        chunk_bytes: CHUNK,
        layout: Some(layout),
        events: 1,
        data: ByteRange::new(0, data_bytes),
        in_sync: true,
        places: Vec::new(),
        bitmap_at: None,
        obstacle: None,
    }
}

/// For each chunk of the array, the places that it has: a member, and a row.
type Table = BTreeMap<u64, Vec<(u64, u64)>>;

/// Parity walks over the members, and data fill the others in each row.
fn parity_table(members: u64, rows: u64, level: i32, layout: u32) -> Table {
    let own = if level == 4 { 5 } else { layout };
    let stays_last = (16..=20).contains(&own);
    let wheel = if stays_last { members - 1 } else { members };
    let together = if level == 6 && !stays_last { 2 } else { 1 };
    let mut table = Table::new();
    let mut chunk = 0;
    for row in 0..rows {
        let first = match own % 16 {
            // To the left from the last member on, to the right from the first one on.
            0 | 2 => (wheel * rows - 1 - row) % wheel,
            1 | 3 => row % wheel,
            4 => 0,
            _ => wheel - together,
        };
        let parity: BTreeSet<u64> = (0..together).map(|number| (first + number) % wheel).collect();
        // Symmetric: data go on behind parity and around; otherwise they begin with the first member.
        let begin = if matches!(own % 16, 2 | 3) { first } else { 0 };
        let order = (0..wheel).map(|number| (begin + number) % wheel);
        for member in order.filter(|member| !parity.contains(member)) {
            table.insert(chunk, vec![(member, row)]);
            chunk += 1;
        }
    }
    table
}

/// Copies side by side, row after row; far ones again further down on the next member; with offset in the next row.
fn copies_table(members: u64, rows: u64, near: u64, far: u64, is_offset: bool) -> Table {
    let mut table = Table::new();
    let first_rows = rows / far;
    let mut position = 0;
    for chunk in 0..first_rows * members / near {
        for _ in 0..near {
            let (row, member) = (position / members, position % members);
            position += 1;
            for number in 0..far {
                let row = if is_offset { row * far + number } else { row + number * first_rows };
                table.entry(chunk).or_default().push(((member + number) % members, row));
            }
        }
    }
    table
}

/// What the table says of a map that has these bytes, for each member.
fn expected(table: &Table, members: u64, used: &RangeSet, parity_data: Option<u64>) -> Vec<RangeSet> {
    let mut parts = vec![Vec::new(); members as usize];
    for (chunk, places) in table {
        let window = ByteRange::at(chunk * CHUNK, CHUNK).unwrap();
        for part in used.within(window) {
            for (member, row) in places {
                let moved =
                    ByteRange::at(row * CHUNK + part.start() - window.start(), part.length()).unwrap();
                match parity_data {
                    Some(_) => parts.iter_mut().for_each(|parts| parts.push(moved)),
                    None => parts[*member as usize].push(moved),
                }
            }
        }
    }
    parts.into_iter().map(|parts| parts.into_iter().collect()).collect()
}

fn check(superblock: &Superblock, rows: u64, table: &Table, used: &[(u64, u64)], has_parity: bool) {
    let geometry = Geometry::new(superblock, rows * CHUNK + 512).unwrap();
    let size = table.len() as u64 * CHUNK;
    assert_eq!(geometry.size_bytes(), size);
    assert_eq!(geometry.has_parity(), has_parity);
    for (chunk, places) in table {
        for within in [0, 1, CHUNK - 1] {
            let found = geometry.locate(chunk * CHUNK + within).unwrap();
            let (member, row) = places[0];
            assert_eq!(
                found,
                (member as usize, row * CHUNK + within, CHUNK - within),
                "{chunk} {superblock:?}"
            );
        }
        let all: BTreeSet<u64> = places.iter().map(|(member, _)| *member).collect();
        assert_eq!(all.len(), places.len(), "copies on one member: {places:?}");
    }
    let used: RangeSet = used
        .iter()
        .map(|(start, length)| ByteRange::new(start % size, (start % size + length).min(size)))
        .collect();
    let expected = expected(table, superblock.disks.into(), &used, has_parity.then_some(1));
    assert_eq!(geometry.places(&used).unwrap(), expected, "{superblock:?} {used:?}");
    assert!(geometry.places(&RangeSet::of(ByteRange::new(0, size + 1))).is_none());
}

fn some_ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let length = prop_oneof![1u64..600, 1u64..3 * CHUNK, 1u64..40 * CHUNK];
    proptest::collection::vec((0u64..200 * CHUNK, length), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rows_with_parity_are_as_they_are_described(
        level in 4i32..7, members in 4u32..8, rows in 1u64..20, pick in 0usize..11, used in some_ranges(),
    ) {
        let layout = match level {
            6 => [0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20][pick],
            5 => [0, 1, 2, 3, 4, 5][pick % 6],
            _ => 0,
        };
        let superblock = superblock(level, members, layout, rows * CHUNK);
        let table = parity_table(members.into(), rows, level, layout);
        check(&superblock, rows, &table, &used, true);
    }

    #[test]
    fn copies_are_as_they_are_described(
        members in 2u32..8, rows in 4u64..24, count in 2u32..5, form in 0u32..3, used in some_ranges(),
    ) {
        let count = count.min(members);
        let (near, far, is_offset) = [(count, 1, false), (1, count, false), (1, count, true)][form as usize];
        let layout = near | far << 8 | u32::from(is_offset) << 16;
        let superblock = superblock(10, members, layout, rows * CHUNK);
        let table = copies_table(members.into(), rows, near.into(), far.into(), is_offset);
        check(&superblock, rows, &table, &used, false);
    }

    /// What is written in the order of the array is read in that order, and lies in the map.
    #[test]
    fn members_of_several_sizes_are_read_as_zones(
        sizes in proptest::collection::vec(1u64..9, 2..5), level in -1i32..1, layout in 1u32..3, used in some_ranges(),
    ) {
        let disks: Vec<MemoryDisk> = sizes.iter().map(|size| MemoryDisk::new(size * CHUNK + 512)).collect();
        // Fills chunk after chunk: a number for each.
        let mut chunk = 0u64;
        let mut put = |member: usize, row: u64| {
            let bytes = [chunk as u8 + 1; CHUNK as usize];
            disks[member].write_at(row * CHUNK, &bytes).unwrap();
            chunk += 1;
        };
        if level == -1 {
            (0..sizes.len()).for_each(|member| (0..sizes[member]).for_each(|row| put(member, row)));
        } else {
            let mut in_zone = 0u64;
            let mut before = 0u64;
            let mut zone: Vec<usize> = Vec::new();
            for row in 0..*sizes.iter().max().unwrap() {
                let there: Vec<usize> = (0..sizes.len()).filter(|member| sizes[*member] > row).collect();
                if there != zone {
                    (zone, before, in_zone) = (there, before + in_zone, 0);
                }
                for _ in 0..zone.len() {
                    let turn = if layout == 1 { before + in_zone } else { in_zone };
                    put(zone[turn as usize % zone.len()], row);
                    in_zone += 1;
                }
            }
        }
        let superblocks: Vec<Superblock> = sizes
            .iter()
            .map(|size| superblock(level, sizes.len() as u32, layout, size * CHUNK + 512))
            .collect();
        let windows = superblocks.iter().zip(&disks).map(|(superblock, disk)| {
            (superblock, Window::new(disk as &dyn ReadAt, superblock.data).unwrap())
        });
        let array = Array::new(windows.collect()).unwrap();
        prop_assert_eq!(array.size_bytes(), chunk * CHUNK);
        for number in 0..chunk {
            prop_assert_eq!(read_vec(&array, number * CHUNK, 1).unwrap()[0], number as u8 + 1);
        }
        let size = array.size_bytes();
        let used: RangeSet = used
            .iter()
            .map(|(start, length)| ByteRange::new(start % size, (start % size + length).min(size)))
            .collect();
        let places = array.places(&used).unwrap();
        let total: u64 = places.iter().map(RangeSet::total_bytes).sum();
        prop_assert_eq!(total, used.total_bytes());
        for (disk, places) in disks.iter().zip(&places) {
            places.iter().for_each(|place| disk.write_zeros(place).unwrap());
        }
        let read = read_vec(&array, 0, size as usize).unwrap();
        let zeros: RangeSet = (0u64..).zip(read).filter(|(_, byte)| *byte == 0)
            .map(|(at, _)| ByteRange::new(at, at + 1)).collect();
        prop_assert_eq!(zeros, used);
    }
}

/// In a row of large chunks, ranges of a later column stand in front of those of an earlier one: this ends only where that costs
/// no more than their number.
#[test]
fn many_ranges_in_few_large_chunks_are_placed_in_their_number() {
    let chunk_bytes = 1 << 40;
    let count = 300_000;
    let in_chunk =
        |chunk: u64| (0..count).map(move |at| ByteRange::at(chunk * chunk_bytes + at * 8192, 4096).unwrap());
    for (level, layout) in [(5, 2), (10, 0x1_0201)] {
        let superblock = Superblock { chunk_bytes, ..superblock(level, 3, layout, 2 * chunk_bytes) };
        let geometry = Geometry::new(&superblock, 2 * chunk_bytes).unwrap();
        let used: RangeSet = in_chunk(0).chain(in_chunk(1)).collect();
        let places = geometry.places(&used).unwrap();
        let expected: Vec<u64> = if level == 5 { vec![count; 3] } else { vec![count, 2 * count, count] };
        let found: Vec<u64> = places.iter().map(|places| places.ranges().len() as u64).collect();
        assert_eq!(found, expected, "RAID {level}");
    }
}

/// Far copies of older and newer arrays stay among fewer members.
#[test]
fn far_copies_stay_in_their_sets() {
    let on = |members: u32, layout: u32| {
        let geometry = Geometry::new(&superblock(10, members, layout, 0), 8 * CHUNK).unwrap();
        (0..u64::from(members))
            .map(|chunk| {
                let used = RangeSet::of(ByteRange::at(chunk * CHUNK, CHUNK).unwrap());
                let places = geometry.places(&used).unwrap();
                let far = |places: &RangeSet| places.iter().any(|place| place.start() == 4 * CHUNK);
                places.iter().position(far).unwrap()
            })
            .collect::<Vec<usize>>()
    };
    // Bit 17: as many sets as copies. Bit 18: sets of as many members as copies, what is left over in the last one.
    assert_eq!(on(6, 0x0_0201), [1, 2, 3, 4, 5, 0]);
    assert_eq!(on(6, 0x2_0201), [1, 2, 0, 4, 5, 3]);
    assert_eq!(on(6, 0x4_0201), [1, 0, 3, 2, 5, 4]);
    assert_eq!(on(5, 0x4_0201), [1, 0, 3, 4, 2]);
}

#[test]
fn what_linux_does_not_make_is_refused() {
    let said = |level: i32, disks: u32, layout: u32, bytes: u64| {
        Geometry::new(&superblock(level, disks, layout, bytes), bytes).unwrap_err()
    };
    assert!(said(6, 4, 8, 9 * CHUNK).contains("layout 8 of DDF"));
    for (level, disks, layout) in [
        (5, 3, 6),
        (5, 1, 2),
        (6, 3, 2),
        (6, 4, 21),
        (5, 3, 16),
        (10, 2, 0x103),
        (10, 2, 1),
        (10, 4, 0),
        (10, 4, 0x8_0102),
    ] {
        assert!(
            said(level, disks, layout, 9 * CHUNK).contains("which Linux has none of"),
            "{level} {layout:#x}"
        );
    }
    assert!(said(10, 4, 0x202, 9 * CHUNK).contains("2 near and 2 far"));
    assert!(said(-4, 4, 0, 9 * CHUNK).contains("level -4"));
    assert!(said(5, 3, 2, CHUNK - 1).contains("no room"));
    assert!(said(5, 3, 2, u64::MAX - 1000).contains("no room"));
    let odd = Superblock { chunk_bytes: 12288, ..superblock(5, 3, 2, 9 * CHUNK) };
    assert!(Geometry::new(&odd, 9 * CHUNK).unwrap_err().contains("chunks of 12288 bytes"));
}
