//! What FreeBSD's GEOM keeps in the last sector of a volume: its classes put volumes together, mirror, journal or name them.
//!
//! Every class has its name at the beginning of that sector (`G_MIRROR_MAGIC` in FreeBSD's `sys/geom/mirror/g_mirror.h`, and
//! the same for the others), which has 512 or 4096 bytes.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::text_at;

const MAGIC: &str = "GEOM::";
/// Bytes of a class's name with what stands before it.
const NAME_BYTES: usize = 16;
/// A class that only names its volume.
const LABEL: &str = "LABEL";
const LARGEST_SECTOR: u64 = 4096;

/// Where the last sector begins, of the larger size.
pub(super) const fn tail_start(volume_bytes: u64) -> u64 {
    last_sector(volume_bytes, LARGEST_SECTOR)
}

const fn last_sector(volume_bytes: u64, sector_bytes: u64) -> u64 {
    match volume_bytes.checked_rem(sector_bytes) {
        Some(rest) => volume_bytes.saturating_sub(rest).saturating_sub(sector_bytes),
        None => 0,
    }
}

/// Refuses a volume that is a part of something larger.
pub(super) fn check(volume: &dyn ReadAt) -> Result<(), Error> {
    let size = volume.size_bytes();
    for sector_bytes in [512, LARGEST_SECTOR] {
        let at = last_sector(size, sector_bytes);
        if size.saturating_sub(at) < sector_bytes {
            continue;
        }
        let bytes = read_structure(volume, "GEOM metadata", at, NAME_BYTES)?;
        let name = text_at(&bytes, 0, NAME_BYTES).unwrap_or_default();
        match name.strip_prefix(MAGIC) {
            None | Some(LABEL) => {}
            Some(class) => {
                return Err(Error::unsupported(format!(
                    "its last sector has the metadata of a GEOM {class}, whose other parts may hold what is newer or \
                     missing here; take it out of there, or capture all of its parts with --when-dirty raw"
                )));
            }
        }
    }
    Ok(())
}
