//! The device tree: which bytes of the devices belong to which chunk, as seen from the devices.
//!
//! It has to say the same as the chunk tree, and no byte may belong to two chunks.

use super::chunk::Place;
use super::key::kind;
use super::tree::{Root, Trees};
use crate::filesystem::Error;
use crate::units::{ByteRange, read_u64le, u64_from};

const STRUCTURE: &str = "btrfs device tree item";
/// `BTRFS_IOCTL_DEV_REPLACE_STATE_STARTED` and `..._SUSPENDED`
const REPLACE_STARTED: u64 = 1;
const REPLACE_SUSPENDED: u64 = 4;
pub(super) const REPLACING: &str =
    "the replacement of a device was not finished; let btrfs replace finish, or cancel it, and capture again";

/// One stretch of a device that is given to a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DevExtent {
    pub(super) place: Place,
    /// Logical address of the chunk.
    pub(super) chunk_offset: u64,
}

/// The stretches of the devices that are given to chunks, ascending.
pub(super) fn read(trees: &Trees<'_>, root: Root) -> Result<Vec<DevExtent>, Error> {
    let mut extents: Vec<DevExtent> = Vec::new();
    let chunks = trees.chunks.as_slice();
    let most = chunks.iter().fold(0usize, |sum, chunk| sum.saturating_add(chunk.stripes.len()));
    trees.walk(root, &|_| true, &mut |item| {
        let short = Error::short(STRUCTURE, item.at);
        let corrupt = |fact: String| Err(Error::corrupt(STRUCTURE, item.at, fact));
        match item.key.kind {
            kind::DEV_EXTENT => {}
            kind::DEV_REPLACE => {
                let state = read_u64le(item.data, 32).map_err(&short)?;
                if matches!(state, REPLACE_STARTED | REPLACE_SUSPENDED) {
                    return Err(Error::unsupported(REPLACING));
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        let chunk_offset = read_u64le(item.data, 16).map_err(&short)?;
        let length = read_u64le(item.data, 24).map_err(&short)?;
        let device = trees.devices.position(item.key.objectid);
        let place = device.zip(ByteRange::at(item.key.offset, length));
        let place = place.map(|(device, range)| Place { device, range }).filter(|place| {
            let last = extents.last().map(|last| last.place).filter(|last| last.device == place.device);
            last.is_none_or(|last| place.range.start() >= last.range.end())
        });
        match place {
            Some(place) if extents.len() < most => {
                extents.push(DevExtent { place, chunk_offset });
                Ok(())
            }
            _ => corrupt(format!("{} of {length} bytes overlaps another one or has no chunk", item.key)),
        }
    })?;
    agree(trees, &extents)?;
    Ok(extents)
}

/// Compares with what the chunks say.
fn agree(trees: &Trees<'_>, extents: &[DevExtent]) -> Result<(), Error> {
    let chunks = trees.chunks.as_slice().iter();
    let mut of_chunks: Vec<DevExtent> = chunks
        .flat_map(|chunk| {
            let chunk_offset = chunk.logical.start();
            chunk.extents().map(move |place| DevExtent { place, chunk_offset })
        })
        .collect();
    of_chunks.sort_unstable();
    if of_chunks == extents {
        return Ok(());
    }
    Err(trees.corrupt(format!(
        "its chunk tree and its device tree do not name the same places ({} and {} of them)",
        u64_from(of_chunks.len()),
        u64_from(extents.len())
    )))
}
