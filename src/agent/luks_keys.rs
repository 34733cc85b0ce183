//! Keys of encrypted volumes, from the files that a person or a profile names.

use super::disks::InspectedDisk;
use crate::blockio::ReadAt;
use crate::filesystem::luks::{Key, Limits, MOST_KEY_BYTES};
use crate::inspect::{self, GroupInspection, Inspection, Unlocking};
use crate::linux;
use crate::progress::Monitor;
use crate::units::{GIB, u64_from};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What is taken of a machine that does not say how much memory it has.
const MEMORY_BYTES: u64 = GIB;

/// Reads the keys. Their files are on this machine.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Key>> {
    files.iter().map(read_one).collect()
}

fn read_one(file: &PathBuf) -> Result<Key> {
    let doing = || format!("reading the LUKS key {}, a file of this machine", file.display());
    // Room for all of it at once: no copy of a part is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_KEY_BYTES.saturating_add(2)));
    let most = u64_from(MOST_KEY_BYTES).saturating_add(1);
    File::open(file).with_context(doing)?.take(most).read_to_end(&mut bytes).with_context(doing)?;
    Ok(Key::new(&file.display().to_string(), bytes)?)
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

/// What is to be said of keys that opened nothing.
pub(super) fn useless(unlocking: &Unlocking<'_>) -> Option<String> {
    let names = unlocking.useless();
    (!names.is_empty()).then(|| format!("opened no encrypted volume: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_of_this_machine_with_a_passphrase_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let found = read(&[file("a", b"one"), file("b", b"two\n")]).unwrap();
        assert!(found.iter().map(Key::name).all(|name| name.ends_with('a') || name.ends_with('b')));
        let said = |path: PathBuf| format!("{:#}", read(&[path]).unwrap_err());
        assert!(said(file("empty", b"")).contains("is empty"));
        assert!(said(folder.path().join("none")).contains("a file of this machine: No such file"));
        let long = folder.path().join("long");
        File::create(&long).unwrap().set_len(u64_from(MOST_KEY_BYTES) + 1).unwrap();
        assert!(said(long).contains("longer than 8 MiB"));
    }
}
