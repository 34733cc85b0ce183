//! The root directory: the entries of the allocation bitmap, of the up-case table and of the label.
//!
//! Offsets and names are those of Microsoft's "exFAT file system specification", chapter 7.

use super::boot::Boot;
use super::table;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::utf16_at;
use crate::units::{ByteRange, OutOfBounds, read_u8, read_u32le, read_u64le, usize_from};

const STRUCTURE: &str = "exFAT root directory";
const ENTRY_BYTES: usize = 32;
/// A directory has at most 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

const ALLOCATION_BITMAP: u8 = 0x81;
const UP_CASE_TABLE: u8 = 0x82;
const VOLUME_LABEL: u8 = 0x83;

/// `FirstCluster` and `DataLength` of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) first_cluster: u64,
    pub(super) data_length: u64,
}

/// What the root directory says of the volume.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) bitmap: Option<Stream>,
    pub(super) up_case_table: Option<Stream>,
    pub(super) label: Option<String>,
    /// The clusters that were read.
    pub(super) clusters: Vec<ByteRange>,
}

/// Reads the root directory, up to its end or until all three are found.
pub(super) fn read(volume: &dyn ReadAt, boot: &Boot) -> Result<Root, Error> {
    let mut root = Root::default();
    let mut cluster = boot.root_cluster;
    let most = MAX_BYTES.div_ceil(boot.cluster_bytes.max(1)).min(boot.clusters);
    for _ in 0..most {
        let Some(start) = boot.cluster_start(cluster) else { break };
        let bytes = read_structure(volume, STRUCTURE, start, usize_from(boot.cluster_bytes))?;
        root.clusters.push(ByteRange::new(start, start.saturating_add(boot.cluster_bytes)));
        let is_at_end = root.search(&bytes).map_err(Error::short(STRUCTURE, start))?;
        if is_at_end {
            break;
        }
        cluster = table::next(volume, boot, cluster)?;
    }
    Ok(root)
}

impl Root {
    /// Looks through one cluster; true where nothing more is to come.
    fn search(&mut self, bytes: &[u8]) -> Result<bool, OutOfBounds> {
        for entry in bytes.chunks_exact(ENTRY_BYTES) {
            match read_u8(entry, 0)? {
                0 => return Ok(true),
                // The second bitmap is that of a TexFAT.
                ALLOCATION_BITMAP if self.bitmap.is_none() && read_u8(entry, 1)? & 1 == 0 => {
                    self.bitmap = Some(Stream::parse(entry)?);
                }
                UP_CASE_TABLE if self.up_case_table.is_none() => {
                    self.up_case_table = Some(Stream::parse(entry)?);
                }
                VOLUME_LABEL => {
                    let characters = usize::from(read_u8(entry, 1)?.min(11));
                    self.label = utf16_at(entry, 2, characters.saturating_mul(2));
                }
                _ => {}
            }
            if self.bitmap.is_some() && self.up_case_table.is_some() && self.label.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Stream {
    fn parse(entry: &[u8]) -> Result<Self, OutOfBounds> {
        Ok(Self { first_cluster: read_u32le(entry, 20)?.into(), data_length: read_u64le(entry, 24)? })
    }
}
