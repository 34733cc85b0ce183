//! The names of the volumes in a container: nothing depends on them, so what cannot be read has none.
//!
//! Offsets and names are those of `omap_phys_t`, `btree_node_phys_t` and `apfs_superblock_t` in Apple's "Apple File System
//! Reference".

use super::container::Container;
use super::object::{Kind, Object};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::signature::identity::text_at;
use crate::units::{RangeSet, read_u16le, read_u64le};

/// `BTNODE_LEAF` and `BTNODE_FIXED_KV_SIZE`
const LEAF: u16 = 0x2;
const FIXED: u16 = 0x4;
/// Where `btn_data` begins, and the size of `btree_info_t` at the end of a root.
const DATA_AT: usize = 56;
const INFO_BYTES: usize = 40;
/// Bytes of an entry of the table of a node with keys and values of one size.
const ENTRY_BYTES: usize = 4;
/// No object map has more levels.
const MAX_LEVELS: u16 = 16;
const NAME_AT: usize = 0x2C0;
const NAME_BYTES: usize = 256;

/// The names of all volumes, by commas.
pub(super) fn read(
    volume: &dyn ReadAt,
    container: &Container,
    used: &RangeSet,
) -> Result<Option<String>, Error> {
    let mut names = Vec::new();
    for identifier in container.volumes()? {
        match name(volume, container, used, identifier) {
            Err(error @ Error::Io { .. }) => return Err(error),
            found => names.extend(found.ok().flatten()),
        }
    }
    Ok((!names.is_empty()).then(|| names.join(", ")))
}

fn name(
    volume: &dyn ReadAt,
    container: &Container,
    used: &RangeSet,
    identifier: u64,
) -> Result<Option<String>, Error> {
    let read = |block: u64, kinds: &[Kind]| {
        let place = container.blocks(block, 1)?;
        if used.contains(place) {
            return Object::read(volume, place, kinds);
        }
        Err(Error::corrupt("APFS object", place.start(), "it is free"))
    };
    let map = read(container.object_map()?, &[Kind::ObjectMap])?;
    let mut node = read(map.u64(0x30)?, &[Kind::TreeRoot])?;
    let mut is_root = true;
    for _ in 0..MAX_LEVELS {
        let Some((value, is_leaf)) = below(&node, is_root, (identifier, container.transaction))? else {
            return Ok(None);
        };
        let found = if is_leaf { 8 } else { 0 };
        let block = read_u64le(value, found).map_err(node.short())?;
        if is_leaf {
            let superblock = read(block, &[Kind::Volume])?;
            return Ok(text_at(superblock.bytes(), NAME_AT, NAME_BYTES));
        }
        node = read(block, &[Kind::TreeNode])?;
        is_root = false;
    }
    Ok(None)
}

/// The value of the last key that is not behind the wanted one, and whether it is in a leaf; there it has to be of the wanted
/// object.
fn below(node: &Object, is_root: bool, wanted: (u64, u64)) -> Result<Option<(&[u8], bool)>, Error> {
    let bytes = node.bytes();
    let short = node.short();
    let number = |at: usize| read_u16le(bytes, at).map(usize::from).map_err(&short);
    let flags = read_u16le(bytes, 32).map_err(&short)?;
    if flags & FIXED == 0 {
        return Err(node.corrupt("its keys are not of one size"));
    }
    let table = DATA_AT.saturating_add(number(40)?);
    let keys = table.saturating_add(number(42)?);
    let values_end = bytes.len().saturating_sub(if is_root { INFO_BYTES } else { 0 });
    let entries = bytes.get(table..keys).unwrap_or_default().chunks_exact(ENTRY_BYTES);
    let count = usize::try_from(node.u32(36)?).unwrap_or(0);
    let mut last = None;
    for entry in entries.take(count) {
        let offset = |at: usize| read_u16le(entry, at).map(usize::from).map_err(&short);
        let key = keys.saturating_add(offset(0)?);
        let key = (node.u64(key)?, node.u64(key.saturating_add(8))?);
        if key > wanted {
            break;
        }
        last = Some((key, values_end.saturating_sub(offset(2)?)));
    }
    let is_leaf = flags & LEAF != 0;
    let last = last.filter(|((identifier, _), _)| !is_leaf || *identifier == wanted.0);
    Ok(last.map(|(_, value)| (bytes.get(value..).unwrap_or_default(), is_leaf)))
}
