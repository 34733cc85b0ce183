//! The stretch from the start of the disk to the first partition: table, boot code and what boot loaders hide.

use super::volume::{Place, partition_bytes};
use crate::blockio::ReadAt;
use crate::partition::{Finding, array_sectors};
use crate::schema::{Role, Table};
use crate::units::{ByteRange, Lba, MIB, RangeSet, SectorSize, format_size};

/// Boot loaders stay within the first MiB on a PC and within 16 MiB on the boards that have them in front of
/// the first partition. What stands behind this, where the first partitions were deleted, is old data.
const MAX_BYTES: u64 = 64 * MIB;

/// The boot area, and what is to be said about it.
pub(super) fn place(
    table: &Table,
    sector: SectorSize,
    disk_bytes: u64,
    findings: &[Finding],
) -> (Place, Option<String>) {
    let table_end = table_end(table, sector);
    let first = partition_bytes(table, sector).into_iter().map(|(_, range)| range.start()).min();
    let wanted = first.unwrap_or_else(|| MIB.max(first_usable(table, sector)));
    let end = wanted.min(MAX_BYTES).max(table_end).min(disk_bytes);
    let range = ByteRange::new(0, end);
    let note = first.filter(|first| *first > end && end < disk_bytes).map(|first| {
        format!(
            "Between the first {} of the disk and its first partition at {} nothing is captured.",
            format_size(end),
            format_size(first)
        )
    });
    (
        Place {
            role: Role::BootArea,
            range,
            used: without_old_gpt(range, sector, findings),
            known: None,
            may_be_swap: false,
        },
        note,
    )
}

/// What is to be said of a boot loader that decrypts the disk behind it (VeraCrypt and TrueCrypt, `Boot/Windows/BootMain.cpp`:
/// each looks for its own name in sector 0).
pub(super) fn decrypting_loader(disk: &dyn ReadAt) -> Option<String> {
    let mut sector = [0; 512];
    disk.read_at(0, &mut sector).ok()?;
    let has = |name: &str| sector.windows(name.len()).any(|window| window == name.as_bytes());
    let name = ["VeraCrypt", "TrueCrypt"].into_iter().find(|name| has(&format!("{name} Boot Loader")))?;
    Some(format!(
        "The disk starts with the boot loader of {name}: what lies behind it is encrypted, in part or whole, and captured raw. It \
         opens only at its place on the disk: deploy it with the layout original."
    ))
}

/// A GPT that was left aside must not come to life on another disk: its header is not captured.
fn without_old_gpt(range: ByteRange, sector: SectorSize, findings: &[Finding]) -> Option<RangeSet> {
    findings.iter().any(|finding| matches!(finding, Finding::GptIgnored { backup_only: false })).then(|| {
        let mut used = RangeSet::of(range);
        used.remove(ByteRange::new(sector.bytes(), sector.bytes().saturating_mul(2)));
        used
    })
}

/// First byte behind the table at the start of the disk.
fn table_end(table: &Table, sector: SectorSize) -> u64 {
    match table {
        Table::Gpt(gpt) => {
            let sectors = array_sectors(gpt.entry_count, gpt.entry_size_bytes, sector).unwrap_or_default();
            let end = gpt.entries_lba.0.saturating_add(sectors);
            sector.byte_of(Lba(end)).unwrap_or(u64::MAX)
        }
        Table::Mbr(_) | Table::None => sector.bytes(),
    }
}

fn first_usable(table: &Table, sector: SectorSize) -> u64 {
    match table {
        Table::Gpt(gpt) => sector.byte_of(gpt.first_usable_lba).unwrap_or(u64::MAX),
        Table::Mbr(_) | Table::None => 0,
    }
}
