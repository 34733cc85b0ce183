//! FAT12, FAT16 and FAT32 (Microsoft, "FAT: General Overview of On-Disk Format", 1.03).
//!
//! Invariants:
//!
//! - A cluster is used where any copy of the table says so, whichever copy is the active one.
//! - Clusters marked bad are not read: they are what a disk cannot read.
//! - The sectors behind the last cluster belong to no cluster and are kept.
//! - There is no journal, so the table of a dirty file system may hold chains that no file owns.
//!
//! ```text
//! 0          reserved            FATs           root directory   clusters 2, 3, ...        tail   end
//! | boot sector, FSInfo, backup | FAT 0 | FAT 1 | FAT12/16 only | 2 | 3 | 4 | 5 | ... | n | ... |
//! ```

mod boot;
mod files;
mod root;
mod table;

pub use self::files::{FatFiles, Item};

use self::boot::BootSector;
use self::table::Table;
use super::signature::identity::serial_text;
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{ByteRange, RangeSet};

/// The kind of FAT on the volume, if it is one.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    let Some(boot) = BootSector::read(volume)? else { return Ok(None) };
    Ok(table::begins_like_one(volume, &boot)?.then_some(boot.kind))
}

/// Reads the used map from the table.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let boot = BootSector::read(volume)?
        .ok_or_else(|| Error::corrupt("boot sector", 0, "it is not that of a FAT file system"))?;
    boot.check(volume.size_bytes())?;
    let mut used = RangeSet::of(ByteRange::new(0, boot.data_start));
    let table = table::read(volume, &boot, &mut used)?;
    used.insert(ByteRange::new(boot.data_end(), boot.total_bytes));
    let findings = findings(&boot, &table);
    Ok(Reading {
        file_system: FileSystem {
            kind: boot.kind,
            uuid: boot.serial.and_then(serial_text),
            label: root::label(volume, &boot)?.or(boot.label).and_then(|name| text_of(&name)),
            block_size_bytes: boot.cluster_bytes,
            size_bytes: boot.total_bytes,
            used_bytes: Some(used.total_bytes()),
            minimum_bytes: boot.total_bytes,
            state: if findings.is_empty() { State::Clean } else { State::Dirty },
            findings,
        },
        used: Some(used),
    })
}

/// What keeps the file system from being clean, a sentence each.
fn findings(boot: &BootSector, table: &Table) -> Vec<String> {
    const WAY_OUT: &str = "repair it with fsck.fat -a or chkdsk /f, or capture it with --when-dirty raw";
    let mut findings = Vec::new();
    if boot.dirty_flag || table.says_dirty {
        let place = match (boot.dirty_flag, table.says_dirty) {
            (true, true) => "its boot sector and its file allocation table say",
            (true, false) => "its boot sector says",
            (false, _) => "its file allocation table says",
        };
        findings.push(format!("{} was not unmounted: {place} so; {WAY_OUT}", boot.kind));
    }
    if boot.test_flag || table.says_errors {
        findings.push(format!("{} saw errors of the disk below it; {WAY_OUT}", boot.kind));
    }
    if let Some(cluster) = table.first_difference.filter(|_| boot.sole_table.is_none()) {
        findings.push(format!(
            "the copies of the file allocation table differ, first at cluster {cluster}; {WAY_OUT}"
        ));
    }
    findings
}

/// A name of 11 bytes as text; `None` for the one that says that there is none.
fn text_of(name: &[u8; 11]) -> Option<String> {
    let mut name = *name;
    // A first byte of 0xE5 would mean a deleted entry, so 0x05 stands for it.
    if let Some(first) = name.first_mut().filter(|first| **first == 0x05) {
        *first = 0xE5;
    }
    let text = String::from_utf8_lossy(&name);
    let text = text.trim_end_matches([' ', '\0']);
    (!text.is_empty() && text != "NO NAME").then(|| text.to_owned())
}
