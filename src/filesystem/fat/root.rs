//! The volume's name: the one entry of the root directory that is neither file nor directory.

use super::boot::BootSector;
use super::table;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{read_array, read_u8, read_u16le, usize_from};

/// A directory has at most 65536 entries of 32 bytes.
const DIRECTORY_BYTES: u64 = 2 << 20;
const ENTRY_BYTES: usize = 32;

/// What one part of the directory holds.
enum Search {
    Found([u8; 11]),
    GoOn,
    End,
}

/// The name in the root directory.
pub(super) fn label(volume: &dyn ReadAt, boot: &BootSector) -> Result<Option<[u8; 11]>, Error> {
    if boot.root_bytes > 0 {
        let bytes = read_structure(volume, "root directory", boot.root_start, usize_from(boot.root_bytes))?;
        return Ok(match search(&bytes) {
            Search::Found(name) => Some(name),
            Search::GoOn | Search::End => None,
        });
    }
    let mut cluster = boot.root_cluster;
    let steps = DIRECTORY_BYTES.div_ceil(boot.cluster_bytes.max(1));
    for _ in 0..steps {
        if cluster < 2 || cluster.saturating_sub(2) >= boot.clusters {
            break;
        }
        let at = boot.cluster_start(cluster);
        let bytes = read_structure(volume, "root directory", at, usize_from(boot.cluster_bytes))?;
        match search(&bytes) {
            Search::Found(name) => return Ok(Some(name)),
            Search::End => break,
            Search::GoOn => cluster = table::next(volume, boot, cluster)?,
        }
    }
    Ok(None)
}

fn search(bytes: &[u8]) -> Search {
    for entry in bytes.chunks_exact(ENTRY_BYTES) {
        let (Ok(name), Ok(attributes)) = (read_array::<11>(entry, 0), read_u8(entry, 11)) else {
            break;
        };
        let is_long_name = attributes & 0x3F == 0x0F;
        let is_label = attributes & 0x18 == 0x08;
        let has_cluster = read_u16le(entry, 20) != Ok(0) || read_u16le(entry, 26) != Ok(0);
        match name {
            [0, ..] => return Search::End,
            [0xE5, ..] => {}
            _ if is_label && !is_long_name && !has_cluster => return Search::Found(name),
            _ => {}
        }
    }
    Search::GoOn
}
