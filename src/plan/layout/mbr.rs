//! The master boot record of the target.

use super::{Arrangement, Ground};
use crate::partition::chs_of;
use crate::schema::{Mbr, MbrPartition, MbrRole};
use crate::units::{ByteRange, Lba};

/// The table with everything at its new place; signature, boot code, numbers, types and the active flag
/// stay. The CHS bytes of an entry whose sectors did not change stay as they were found.
pub(super) fn table(ground: &Ground<'_>, mbr: &Mbr, arrangement: &Arrangement) -> Mbr {
    let entry = |old: &MbrPartition| {
        let piece = ground.pieces.iter().position(|piece| piece.number() == Some(old.number));
        let place = match old.role {
            MbrRole::Extended if arrangement.container.is_some() => arrangement.container,
            _ => piece.and_then(|index| arrangement.places.get(index)).copied(),
        };
        let ebr = piece.and_then(|index| arrangement.ebrs.get(index)).copied().flatten();
        move_entry(ground, old, place.unwrap_or_default(), ebr)
    };
    Mbr {
        disk_signature: mbr.disk_signature,
        boot_code: mbr.boot_code.clone(),
        reserved: mbr.reserved,
        partitions: mbr.partitions.iter().map(entry).collect(),
    }
}

fn move_entry(ground: &Ground<'_>, old: &MbrPartition, place: ByteRange, ebr: Option<u64>) -> MbrPartition {
    let first_lba = ground.sector.lba_of(place.start());
    let sectors = ground.sector.lba_of(place.length()).0;
    let role = match (&old.role, ebr) {
        (MbrRole::Logical { ebr_code, .. }, Some(ebr)) => {
            MbrRole::Logical { ebr_lba: ground.sector.lba_of(ebr), ebr_code: ebr_code.clone() }
        }
        (role, _) => role.clone(),
    };
    let moved = MbrPartition { first_lba, sectors, role, ..old.clone() };
    if (first_lba, sectors) == (old.first_lba, old.sectors) {
        return moved;
    }
    let last_lba = Lba(first_lba.0.saturating_add(sectors).saturating_sub(1));
    MbrPartition { first_chs: chs_of(first_lba), last_chs: chs_of(last_lba), ..moved }
}
