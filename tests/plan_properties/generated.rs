//! Images of one disk, and what a person may want of them.

use super::plan_images::*;
use FileSystemKind::{Ext4, Fat32, Luks2, Ntfs, Swap, Xfs};
use proptest::prelude::*;
use remint::plan::{DeployOptions, Shrinking};
use remint::schema::{Content, Disk, FileSystemKind, FreeSpace, Layout, WantedSize};
use remint::units::{GIB, MIB, SectorSize};

pub fn sector() -> impl Strategy<Value = SectorSize> {
    prop_oneof![3 => Just(SectorSize::B512), 1 => Just(SectorSize::B4096)]
}

/// What works on sectors of any size, or anything.
fn content(size: u64, portable: bool) -> impl Strategy<Value = Content> {
    let portable_content = prop_oneof![
        5 => Just(holds(Ext4, size)),
        1 => Just(holds(Swap, size)),
        1 => Just(Content::LeftOut),
    ];
    let any_content = prop_oneof![
        5 => prop_oneof![Just(Ext4), Just(Ntfs), Just(Xfs)].prop_map(move |kind| holds(kind, size)),
        3 => prop_oneof![Just(Fat32), Just(Swap), Just(Luks2)].prop_map(move |kind| holds(kind, size)),
        1 => Just(unknown()),
        1 => Just(Content::LeftOut),
    ];
    (portable_content, any_content).prop_map(move |(one, other)| if portable { one } else { other })
}

/// Sizes around every limit there is, in units of 4096 bytes.
fn size() -> impl Strategy<Value = u64> {
    let bytes = prop_oneof![
        3 => (6u64..200).prop_map(|gib| gib * GIB),
        2 => 5 * GIB - MIB..60 * GIB,
        2 => MIB..600 * MIB,
        1 => 4096u64..2 * MIB,
    ];
    bytes.prop_map(|bytes| bytes / 4096 * 4096)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Gpt,
    Mbr,
    Bare,
}

/// An image of one disk: as systems make them, or anything.
pub fn image() -> impl Strategy<Value = Disk> {
    prop_oneof![1 => super::realistic::image(), 2 => any::<bool>().prop_flat_map(image_of)]
}

/// A layout without wishes.
pub fn plainly(layout: Layout) -> DeployOptions {
    DeployOptions { free_space: FreeSpace::Keep, ..DeployOptions::of(layout) }
}

/// Its first start, sizes with contents, gaps, and the room behind the last.
fn image_of(portable: bool) -> impl Strategy<Value = Disk> {
    let kind = prop_oneof![4 => Just(Kind::Gpt), 4 => Just(Kind::Mbr), 1 => Just(Kind::Bare)];
    let start =
        prop_oneof![3 => Just(MIB), 1 => Just(34 * 512), 1 => Just(16 * MIB), 1 => Just(3 * MIB + 8192)];
    let gap = prop_oneof![3 => Just(0u64), 1 => (0u64..2000).prop_map(|pages| pages * 4096)];
    let types =
        prop_oneof![4 => Just(LINUX), 1 => Just(EFI_SYSTEM), 1 => Just(BIOS_BOOT), 1 => Just(RECOVERY)];
    let piece =
        (size().prop_flat_map(move |size| (Just(size), content(size, portable))), gap, types, any::<u32>());
    let pieces = proptest::collection::vec(piece, 1..7);
    (kind, sector(), start, pieces, any::<bool>(), 0u64..20 * GIB).prop_map(
        |(kind, sector, start, pieces, aligned, tail)| {
            let logical_from = pieces.len() / 2;
            let mut order: Vec<(u32, usize)> = pieces.iter().map(|piece| piece.3).zip(0..).collect();
            order.sort_unstable();
            let rank = |index: usize| order.iter().position(|(_, of)| *of == index).unwrap();
            let front = if sector == SectorSize::B512 { start } else { start.next_multiple_of(MIB) };
            let (mut cursor, mut parts) = (front, Vec::new());
            for (index, ((size, content), gap, type_guid, _)) in pieces.into_iter().enumerate() {
                let logical = matches!(kind, Kind::Mbr) && index >= logical_from;
                let step = if aligned { MIB } else { 4096 };
                let at = (cursor + gap).next_multiple_of(if index == 0 { 512 } else { step });
                let at = if logical { (at + MIB).next_multiple_of(4096) } else { at };
                // Primary numbers 1 to 3 and logical ones from 5, in any order of the disk.
                let among =
                    |from: usize, to: usize| (from..to).filter(|other| rank(*other) < rank(index)).count();
                let number = match kind {
                    Kind::Mbr if logical => 5 + among(logical_from, 7.min(order.len())),
                    Kind::Mbr => 1 + among(0, logical_from),
                    _ => 1 + rank(index),
                };
                let type_guid = if matches!(kind, Kind::Mbr) { 0x83 } else { type_guid };
                parts.push(part(u32::try_from(number).unwrap(), at, size, type_guid, content));
                cursor = at + size;
            }
            let disk_bytes = (cursor + tail + 33 * 4096).next_multiple_of(4096);
            match kind {
                Kind::Gpt => gpt_disk(0, disk_bytes, sector, &parts),
                Kind::Mbr => mbr_disk(0, disk_bytes, sector, &parts, MIB),
                Kind::Bare => {
                    let content = parts.pop().unwrap().content;
                    bare_disk(0, disk_bytes, sector, content)
                }
            }
        },
    )
}

pub fn options() -> impl Strategy<Value = DeployOptions> {
    let layout = prop_oneof![3 => Just(Layout::Dynamic), 1 => Just(Layout::Original)];
    let free_space = prop_oneof![Just(FreeSpace::Discard), Just(FreeSpace::Keep), Just(FreeSpace::Zero)];
    let shrinking = prop_oneof![3 => Just(Shrinking::All), 1 => Just(Shrinking::None)];
    (layout, free_space, any::<bool>(), shrinking).prop_map(|(layout, free_space, expand, shrinking)| {
        DeployOptions { free_space, expand, shrinking, ..plainly(layout) }
    })
}

pub fn wanted() -> impl Strategy<Value = WantedSize> {
    prop_oneof![
        Just(WantedSize::Keep),
        Just(WantedSize::Share),
        (0..40 * GIB).prop_map(WantedSize::Bytes),
        (1u32..=10_000).prop_map(WantedSize::Percent),
    ]
}
