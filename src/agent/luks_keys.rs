//! Keys of encrypted volumes, from the files that a person or a profile names.

use super::disks::InspectedDisk;
use crate::blockio::ReadAt;
use crate::filesystem::luks::{Key, Limits, MOST_KEY_BYTES};
use crate::inspect::{self, GroupInspection, Inspection, Unlocking};
use crate::linux;
use crate::progress::Monitor;
use crate::units::GIB;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// What is taken of a machine that does not say how much memory it has.
const MEMORY_BYTES: u64 = GIB;

/// Reads the keys, from files or pipes of this machine.
pub(super) fn read(files: &[PathBuf], monitor: &dyn Monitor) -> Result<Vec<Key>> {
    let read_one = |file: &PathBuf| -> Result<Key> {
        let bytes = linux::read_secret(file, MOST_KEY_BYTES, &|| monitor.cancelled())
            .with_context(|| format!("the LUKS key {}, a file of this machine", file.display()))?;
        Ok(Key::new(&file.display().to_string(), bytes)?)
    };
    files.iter().map(read_one).collect()
}

/// Keys for what is to be opened on this machine. A keyslot may take three quarters of the memory that is free, because one that was made
/// here took up to half of all.
pub(super) fn unlocking<'a>(keys: &'a [Key], monitor: &'a dyn Monitor) -> Unlocking<'a> {
    let memory_bytes = linux::available_bytes().map_or(MEMORY_BYTES, |free| free.saturating_sub(free / 4));
    Unlocking::new(keys, Limits { memory_bytes }, monitor)
}

/// Opens what the keys open of disks and of the groups on them, each group's volumes with what is read of them. What is to be said of
/// that, with the position of the disk.
pub(super) fn unlock(
    disks: &mut [InspectedDisk],
    sources: &[&dyn ReadAt],
    only: &[String],
    unlocking: &mut Unlocking<'_>,
) -> Result<Vec<(usize, String)>> {
    if unlocking.keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut inspections: Vec<&mut Inspection> = disks.iter_mut().map(|disk| &mut disk.inspection).collect();
    Ok(inspect::unlock(sources, &mut inspections, only, unlocking)?)
}

/// The same for a volume group.
pub(super) fn unlock_logical(
    found: &mut GroupInspection,
    sources: &[Option<&dyn ReadAt>],
    only: &[String],
    unlocking: &mut Unlocking<'_>,
) -> Result<Vec<String>> {
    if unlocking.keys.is_empty() {
        return Ok(Vec::new());
    }
    Ok(inspect::unlock_logical(found, sources, only, unlocking)?)
}

/// What is to be said of keys with which nothing was opened.
pub(super) fn useless(unlocking: &Unlocking<'_>) -> Option<String> {
    let names = unlocking.useless().join(", ");
    if names.is_empty() {
        return None;
    }
    Some(match unlocking.has_opened() {
        false => format!("opened no encrypted volume: {names}"),
        true => format!("nothing was opened with {names}; what one key opens is not tried with the others"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::units::u64_from;
    use std::fs::File;

    #[test]
    fn a_key_is_a_file_of_this_machine_with_a_passphrase_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let found = read(&[file("a", b"one"), file("b", b"two\n")], &Silent).unwrap();
        assert!(found.iter().map(Key::name).all(|name| name.ends_with('a') || name.ends_with('b')));
        let said = |path: PathBuf| format!("{:#}", read(&[path], &Silent).unwrap_err());
        assert!(said(file("empty", b"")).contains("is empty"));
        let none = said(folder.path().join("none"));
        assert!(none.contains("a file of this machine: ") && none.contains("No such file"), "{none}");
        assert!(said(PathBuf::from("/dev/zero")).contains("neither a file nor a pipe"));
        let long = folder.path().join("long");
        File::create(&long).unwrap().set_len(u64_from(MOST_KEY_BYTES) + 1).unwrap();
        assert!(said(long).contains("longer than 8 MiB"));
    }
}
