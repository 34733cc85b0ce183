//! The GUID partition table of the target.

use super::{Arrangement, Ground};
use crate::partition::{array_sectors, chs_of};
use crate::plan::refusal::Refusal;
use crate::schema::{Disk, Gpt, GptPartition, Layout};
use crate::units::{ByteRange, Hex, Lba, SectorSize};

/// Where the parts of the table lie on the target, in its sectors.
pub(super) struct Frame {
    entries_lba: u64,
    array_sectors: u64,
    first_usable_lba: u64,
}

impl Frame {
    /// As on the original where the sector size is the same; else with the array in sector 2.
    pub(super) fn new(source: &Disk, gpt: &Gpt, sector: SectorSize) -> Result<Self, Refusal> {
        let unsound = |what: &str| Refusal::Unsound { disk: source.number, what: what.to_owned() };
        let array_sectors = array_sectors(gpt.entry_count, gpt.entry_size_bytes, sector)
            .ok_or_else(|| unsound("the array of its partition entries has an impossible size"))?;
        if sector != source.logical_sector_bytes {
            return Ok(Self {
                entries_lba: 2,
                array_sectors,
                first_usable_lba: array_sectors.saturating_add(2),
            });
        }
        let (entries_lba, first_usable_lba) = (gpt.entries_lba.0, gpt.first_usable_lba.0);
        let behind = entries_lba.checked_add(array_sectors);
        if entries_lba < 2 || behind.is_none_or(|behind| behind > first_usable_lba) {
            return Err(unsound("the array of its partition entries overlaps the partitions"));
        }
        Ok(Self { entries_lba, array_sectors, first_usable_lba })
    }

    pub(super) fn front_bytes(&self, sector: SectorSize) -> u64 {
        sector.byte_of(Lba(self.first_usable_lba)).unwrap_or(u64::MAX)
    }

    /// The backup array and header.
    pub(super) fn back_bytes(&self, sector: SectorSize) -> u64 {
        sector.byte_of(Lba(self.array_sectors.saturating_add(1))).unwrap_or(u64::MAX)
    }

    fn array_end_bytes(&self, sector: SectorSize) -> u64 {
        sector.byte_of(Lba(self.entries_lba.saturating_add(self.array_sectors))).unwrap_or(u64::MAX)
    }
}

/// First byte behind the entry array of the target, and of the original.
pub(super) fn table_ends(source: &Disk, gpt: &Gpt, sector: SectorSize) -> (u64, u64) {
    let end =
        |sector| Frame::new(source, gpt, sector).map_or(u64::MAX, |frame| frame.array_end_bytes(sector));
    (end(sector), end(source.logical_sector_bytes))
}

/// The table with everything at its new place. Where disk and method are those of the original, it is the
/// original's to the byte.
pub(super) fn table(
    ground: &Ground<'_>,
    gpt: &Gpt,
    arrangement: &Arrangement,
    layout: Layout,
    warnings: &mut Vec<String>,
) -> Gpt {
    let same_sectors = ground.sector == ground.source.logical_sector_bytes;
    if same_sectors && layout == Layout::Original && ground.disk_bytes == ground.source.size_bytes {
        return gpt.clone();
    }
    let place_of = |number: u32| {
        let mut pairs = ground.pieces.iter().zip(&arrangement.places);
        pairs.find(|(piece, _)| piece.number() == Some(number)).map(|(_, place)| *place)
    };
    let entry = |old: &GptPartition| {
        let place = place_of(old.number).unwrap_or_default();
        let last_lba = Lba(ground.sector.lba_of(place.end()).0.saturating_sub(1));
        GptPartition { first_lba: ground.sector.lba_of(place.start()), last_lba, ..old.clone() }
    };
    let boot_sector = if same_sectors && layout == Layout::Original {
        gpt.boot_sector.clone()
    } else {
        remap_hybrid(ground, &gpt.boot_sector, arrangement, warnings)
    };
    let lba = |bytes| ground.sector.lba_of(bytes);
    Gpt {
        disk_guid: gpt.disk_guid,
        entry_count: gpt.entry_count,
        entry_size_bytes: gpt.entry_size_bytes,
        entries_lba: if same_sectors { gpt.entries_lba } else { Lba(2) },
        first_usable_lba: lba(ground.front),
        last_usable_lba: Lba(lba(ground.usable_end()).0.saturating_sub(1)),
        boot_sector,
        partitions: gpt.partitions.iter().map(entry).collect(),
    }
}

/// Byte of the partition entries in sector 0, and their length.
const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;

/// Lets every entry of a hybrid MBR follow the partition that it repeats. One that repeats none, or whose
/// partition lies out of an MBR's reach, is removed: it would point at somebody else's bytes.
fn remap_hybrid(
    ground: &Ground<'_>,
    boot_sector: &Hex,
    arrangement: &Arrangement,
    warnings: &mut Vec<String>,
) -> Hex {
    let mut bytes = boot_sector.0.clone();
    let entries = bytes.get_mut(ENTRIES_AT..).unwrap_or_default().chunks_exact_mut(ENTRY_BYTES).take(4);
    for (position, entry) in (1..).zip(entries) {
        let Ok(old) = <[u8; ENTRY_BYTES]>::try_from(&*entry) else { continue };
        let [_, _, _, _, kind, _, _, _, s0, s1, s2, s3, n0, n1, n2, n3] = old;
        if kind == 0 || kind == 0xEE {
            continue;
        }
        let first = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let sectors = u64::from(u32::from_le_bytes([n0, n1, n2, n3]));
        let was = ground.source.logical_sector_bytes;
        let range = was.byte_of(Lba(first)).zip(was.byte_of(Lba(first.saturating_add(sectors))));
        let old_place = range.map(|(start, end)| ByteRange::new(start, end));
        let mut pairs = ground.pieces.iter().zip(&arrangement.places);
        let new_place = pairs.find(|(piece, _)| Some(piece.old) == old_place).map(|(_, place)| *place);
        if let Some(moved) = new_place.and_then(|place| hybrid_entry(old, place, ground.sector)) {
            entry.copy_from_slice(&moved);
        } else {
            entry.fill(0);
            warnings.push(format!(
                "Entry {position} of the hybrid MBR (type {kind:02x}) is removed, because it cannot follow any \
                 partition to its new place."
            ));
        }
    }
    Hex(bytes)
}

fn hybrid_entry(old: [u8; ENTRY_BYTES], place: ByteRange, sector: SectorSize) -> Option<[u8; ENTRY_BYTES]> {
    let [status, _, _, _, kind, ..] = old;
    let (first, behind) = (sector.lba_of(place.start()), sector.lba_of(place.end()));
    let [s0, s1, s2, s3] = u32::try_from(first.0).ok()?.to_le_bytes();
    let [n0, n1, n2, n3] = u32::try_from(behind.0.checked_sub(first.0)?).ok()?.to_le_bytes();
    let [a0, a1, a2] = chs_of(first);
    let [b0, b1, b2] = chs_of(Lba(behind.0.saturating_sub(1)));
    Some([status, a0, a1, a2, kind, b0, b1, b2, s0, s1, s2, s3, n0, n1, n2, n3])
}
