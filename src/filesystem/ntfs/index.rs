//! The index of the root directory: finds a file by name.
//!
//! Every entry of the tree is looked at instead of descending by collation: the root directory is small,
//! and so the volume's own upper-case table does not have to be trusted.
//!
//! ```text
//! $INDEX_ROOT   0x08 bytes per index block   0x10 header
//! index block   "INDX"   0x10 VCN            0x18 header
//! header        0x00 offset of entries       0x04 end of entries, both from the header
//! entry         0x00 file reference          0x08 length   0x0A key length   0x0C flags: 1 subnode, 2 last
//!               0x10 key; VCN of the subnode in the last 8 bytes
//! file name     0x40 length                  0x42 name
//! ```

use super::attribute::{kind, text};
use super::fixup;
use super::mft::{Mft, number};
use super::mft_record::Reference;
use super::stream::Stream;
use crate::filesystem::Error;
use crate::units::{read_slice, read_u8, read_u16le, read_u32le, read_u64le, usize_from};
use std::collections::BTreeSet;

const NAME: &str = "$I30";
const ROOT: &str = "the NTFS root directory";
const BLOCK: &str = "an NTFS index block";
const SUBNODE: u16 = 0x0001;
const LAST: u16 = 0x0002;
/// About five million files in the root directory itself.
const MAX_BLOCKS: usize = 1 << 16;

/// The file in the root directory whose name equals `name` but for the case of its letters.
pub(super) fn find_in_root(mft: &Mft<'_>, name: &str) -> Result<Option<Reference>, Error> {
    let base = mft.base(Reference(number::ROOT))?;
    let root = mft
        .stream(&base, kind::INDEX_ROOT, NAME)?
        .ok_or_else(|| base.corrupt("the root directory has no index"))?;
    let length = usize_from(root.data_bytes.min(mft.boot.record_bytes));
    let bytes = root.read(mft.volume, ROOT, 0, length)?;
    let allocation = mft.stream(&base, kind::INDEX_ALLOCATION, NAME)?;
    Search { mft, name, allocation, found: None, pending: Vec::new(), seen: BTreeSet::new() }
        .run(&bytes, base.at)
}

struct Search<'a> {
    mft: &'a Mft<'a>,
    name: &'a str,
    allocation: Option<Stream>,
    found: Option<Reference>,
    pending: Vec<u64>,
    seen: BTreeSet<u64>,
}

impl Search<'_> {
    fn run(mut self, root: &[u8], at: u64) -> Result<Option<Reference>, Error> {
        let short = Error::short(ROOT, at);
        let block_bytes = u64::from(read_u32le(root, 0x08).map_err(&short)?);
        if !block_bytes.is_power_of_two() || !(512..=64 << 10).contains(&block_bytes) {
            return Err(Error::corrupt(ROOT, at, format!("index blocks of {block_bytes} bytes")));
        }
        self.node(ROOT, at, root.get(0x10..).unwrap_or_default())?;
        while self.found.is_none()
            && let Some(vcn) = self.pending.pop()
        {
            self.block(vcn, block_bytes)?;
        }
        Ok(self.found)
    }

    /// Reads the index block at a VCN, which counts clusters or, where a cluster is larger than a block,
    /// 512 bytes.
    fn block(&mut self, vcn: u64, block_bytes: u64) -> Result<(), Error> {
        let Some(allocation) = &self.allocation else {
            return Err(Error::corrupt(ROOT, 0, "its index has nodes but no index blocks"));
        };
        let cluster_bytes = self.mft.boot.cluster_bytes;
        let unit = if cluster_bytes <= block_bytes { cluster_bytes } else { 512 };
        let offset = vcn.saturating_mul(unit);
        let mut bytes = allocation.read(self.mft.volume, BLOCK, offset, usize_from(block_bytes))?;
        let at = allocation.position(offset);
        fixup::restore(BLOCK, at, b"INDX", &mut bytes)?;
        let own = read_u64le(&bytes, 0x10).map_err(Error::short(BLOCK, at))?;
        if own != vcn {
            return Err(Error::corrupt(BLOCK, at, format!("block {own} stands where block {vcn} belongs")));
        }
        self.node(BLOCK, at, bytes.get(0x18..).unwrap_or_default())
    }

    /// Looks at all entries of a node, given from its header on.
    fn node(&mut self, structure: &'static str, at: u64, node: &[u8]) -> Result<(), Error> {
        let short = Error::short(structure, at);
        let mut position = usize_from(read_u32le(node, 0x00).map_err(&short)?.into());
        let end = usize_from(read_u32le(node, 0x04).map_err(&short)?.into());
        let entries = read_slice(node, 0, end).map_err(&short)?;
        loop {
            let length = usize::from(read_u16le(entries, position.saturating_add(0x08)).map_err(&short)?);
            let entry = read_slice(entries, position, length).map_err(&short)?;
            let flags = read_u16le(entry, 0x0C).map_err(&short)?;
            if flags & SUBNODE != 0 {
                let vcn = read_u64le(entry, length.saturating_sub(8)).map_err(&short)?;
                self.descend(structure, at, vcn)?;
            }
            if flags & LAST != 0 {
                return Ok(());
            }
            let key = usize::from(read_u16le(entry, 0x0A).map_err(&short)?);
            let file_name = read_slice(entry, 0x10, key).map_err(&short)?;
            let name_bytes = usize::from(read_u8(file_name, 0x40).map_err(&short)?).saturating_mul(2);
            let name = text(read_slice(file_name, 0x42, name_bytes).map_err(&short)?);
            if name.eq_ignore_ascii_case(self.name) {
                self.found = Some(Reference(read_u64le(entry, 0x00).map_err(&short)?));
                return Ok(());
            }
            position = position.saturating_add(length);
        }
    }

    fn descend(&mut self, structure: &'static str, at: u64, vcn: u64) -> Result<(), Error> {
        if !self.seen.insert(vcn) {
            return Err(Error::corrupt(structure, at, format!("index block {vcn} is reached twice")));
        }
        if self.seen.len() > MAX_BLOCKS {
            return Err(Error::unsupported(
                "the root directory of this NTFS volume has millions of entries; move them into a directory",
            ));
        }
        self.pending.push(vcn);
        Ok(())
    }
}
