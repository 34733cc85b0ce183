//! The GUID partition table of the target.

use super::{Arrangement, Ground};
use crate::partition::{array_sectors, remap_hybrid};
use crate::plan::refusal::Refusal;
use crate::schema::{Disk, Gpt, GptPartition, Layout};
use crate::units::{Lba, SectorSize};

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
    let partitions: Vec<GptPartition> = gpt.partitions.iter().map(entry).collect();
    let (boot_sector, lost) = if same_sectors && layout == Layout::Original {
        (gpt.boot_sector.clone(), Vec::new())
    } else {
        remap_hybrid(&gpt.boot_sector, &gpt.partitions, &partitions)
    };
    warnings.extend(lost.iter().map(|lost| {
        format!(
            "Entry {} of the hybrid MBR (type {:02x}) is removed, because it cannot follow any partition to its new \
             place.",
            lost.position, lost.type_code
        )
    }));
    let lba = |bytes| ground.sector.lba_of(bytes);
    Gpt {
        disk_guid: gpt.disk_guid,
        entry_count: gpt.entry_count,
        entry_size_bytes: gpt.entry_size_bytes,
        entries_lba: if same_sectors { gpt.entries_lba } else { Lba(2) },
        first_usable_lba: lba(ground.front),
        last_usable_lba: Lba(lba(ground.usable_end()).0.saturating_sub(1)),
        boot_sector,
        partitions,
    }
}
