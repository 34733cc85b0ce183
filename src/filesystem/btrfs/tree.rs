//! The B-trees: nodes that are checked before anything in them is believed, walked in the order of their keys.
//!
//! ```text
//! header  csum 32, fsid 16, bytenr u64, flags u64, chunk_tree_uuid 16, generation u64, owner u64, nritems u32, level u8
//! leaf    nritems x (key 17, offset u32, size u32), free space, the items' data; offsets count from the header's end
//! node    nritems x (key 17, blockptr u64, generation u64)
//! ```
//!
//! A walk ends on any input: levels fall, and every node has a key, all of them in the range that its parent gives to
//! it and to no other, so that no node is met twice.
//!
//! Kernel: `struct btrfs_header`, `btrfs_item` and `btrfs_key_ptr` in `include/uapi/linux/btrfs_tree.h`; what is checked,
//! `btrfs_read_extent_buffer` in `fs/btrfs/disk-io.c` and `fs/btrfs/tree-checker.c`.

use super::chunk::{Chunks, Place};
use super::devices::Devices;
use super::key::Key;
use super::superblock::Superblock;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, OutOfBounds, read_array, read_slice, read_u8, read_u32le, read_u64le};
use crate::units::{u64_from, usize_from};
use std::cell::{Cell, RefCell};

const STRUCTURE: &str = "btrfs tree node";
/// Copies of one commit differ where devices were mounted without each other, as often.
pub(super) const SPLIT: &str = "its devices are at the same generation and say different things: each was mounted without the \
                                others; find out which is right, make the file system whole without the others (btrfs device \
                                remove missing), or capture every device with --when-dirty raw";
const HEADER_BYTES: usize = 0x65;
const ITEM_BYTES: usize = 25;
const POINTER_BYTES: usize = 33;

/// Where a tree or a part of it begins, and what has to be found there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    /// Logical address.
    pub(super) bytenr: u64,
    pub(super) generation: u64,
    pub(super) level: u8,
    /// `objectid` of the tree.
    pub(super) owner: u64,
}

/// The keys that a part of a tree may have: from the first one up to the second one, if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) from: Option<Key>,
    pub(super) below: Option<Key>,
}

impl Keys {
    const ALL: Self = Self { from: None, below: None };

    fn contains(self, key: Key) -> bool {
        self.from.is_none_or(|from| from <= key) && self.below.is_none_or(|below| key < below)
    }

    /// True where a key from `first` up to and with `last` may be among them.
    pub(super) fn may_hold(self, first: Key, last: Key) -> bool {
        self.from.is_none_or(|from| from <= last) && self.below.is_none_or(|below| first < below)
    }
}

/// One item of a leaf.
pub(super) struct Item<'a> {
    pub(super) key: Key,
    pub(super) data: &'a [u8],
    /// Where the leaf that it was read from begins, in bytes from the start of its device.
    pub(super) at: u64,
}

/// What is done with an item.
pub(super) type Visit<'v> = dyn FnMut(&Item<'_>) -> Result<(), Error> + 'v;

/// The trees of a file system.
pub(super) struct Trees<'a> {
    pub(super) devices: &'a Devices<'a>,
    pub(super) superblock: &'a Superblock,
    pub(super) chunks: Chunks,
    /// Nodes of which a copy was bad and another one good. Of one device only the copies are read up to the first good one.
    pub(super) bad_copies: Cell<u64>,
    /// Logical addresses of the nodes that were read.
    pub(super) nodes: RefCell<Vec<ByteRange>>,
}

/// A checked node.
struct Node {
    /// Where the copy that was read begins, in bytes from the start of its device.
    at: u64,
    bytes: Vec<u8>,
    keys: Vec<Key>,
}

impl Trees<'_> {
    /// Visits the items of a tree in the order of their keys. Parts of which `wanted` says no are left out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a node contradicts what led to it, [`Error::Unsupported`] where it is on a device that is not here or its
    /// copies differ, [`Error::Io`] where no copy of it can be read; and what `visit` returns.
    pub(super) fn walk(
        &self,
        root: Root,
        wanted: &dyn Fn(Keys) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        self.walk_below(root, Keys::ALL, true, wanted, visit)
    }

    fn walk_below(
        &self,
        root: Root,
        bounds: Keys,
        is_root: bool,
        wanted: &dyn Fn(Keys) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let node = self.read_node(root, bounds, is_root)?;
        let short = Error::short(STRUCTURE, node.at);
        let Some(level) = root.level.checked_sub(1) else {
            for (index, key) in node.keys.iter().enumerate() {
                let data = item_data(&node.bytes, index, node.keys.len()).map_err(&short)?;
                visit(&Item { key: *key, data, at: node.at })?;
            }
            return Ok(());
        };
        for (index, key) in node.keys.iter().enumerate() {
            let next = node.keys.get(index.saturating_add(1)).copied();
            let below = Keys { from: Some(*key), below: next.or(bounds.below) };
            if !wanted(below) {
                continue;
            }
            let field = HEADER_BYTES.saturating_add(index.saturating_mul(POINTER_BYTES));
            let bytenr = read_u64le(&node.bytes, field.saturating_add(17)).map_err(&short)?;
            let generation = read_u64le(&node.bytes, field.saturating_add(25)).map_err(&short)?;
            self.walk_below(Root { bytenr, generation, level, ..root }, below, false, wanted, visit)?;
        }
        Ok(())
    }

    /// Reads the first good copy of a node. Where there are several devices, the other good ones have to say the same.
    ///
    /// # Errors
    /// Where no copy is good, what was wrong with the first one; [`SPLIT`] where good ones differ.
    fn read_node(&self, root: Root, bounds: Keys, is_root: bool) -> Result<Node, Error> {
        let [superblock_at, ..] = super::superblock::PLACES;
        let place = ByteRange::at(root.bytenr, self.superblock.nodesize.into())
            .and_then(|logical| Some((self.chunks.holding(logical)?, logical)));
        let Some((chunk, logical)) = place else {
            let fact = format!("the node at logical byte {} is in no chunk", root.bytenr);
            return Err(Error::corrupt(STRUCTURE, superblock_at, fact));
        };
        let is_alone = self.devices.count() == 1;
        let (mut found, mut failure): (Option<Node>, Option<Error>) = (None, None);
        for copy in 0..chunk.copies() {
            if is_alone && found.is_some() {
                break;
            }
            let read = match chunk.copy(logical, copy) {
                Ok(places) => self.read_copy(&places, root, bounds, is_root),
                Err(devid) => Err(Error::unsupported(elsewhere(devid))),
            };
            match (read, &found) {
                (Ok(node), None) => found = Some(node),
                (Ok(node), Some(first)) if node.bytes != first.bytes => {
                    return Err(Error::unsupported(SPLIT));
                }
                (Ok(_), Some(_)) => {}
                (Err(error), _) => failure = failure.or(Some(error)),
            }
        }
        if let Some(node) = found {
            let bad = u64::from(failure.is_some());
            self.bad_copies.set(self.bad_copies.get().saturating_add(bad));
            self.nodes.borrow_mut().push(logical);
            return Ok(node);
        }
        Err(match failure {
            None => Error::corrupt(STRUCTURE, superblock_at, "a chunk without stripes"),
            Some(Error::Corrupt { structure, at, fact }) if chunk.has_parity() => {
                let fact = format!("{fact}; its parity is not read: mount it and run btrfs scrub");
                Error::Corrupt { structure, at, fact }
            }
            Some(failure) => failure,
        })
    }

    /// Reads a copy of a node from the places of its pieces, one behind the other.
    fn read_copy(&self, places: &[Place], root: Root, bounds: Keys, is_root: bool) -> Result<Node, Error> {
        let mut bytes = Vec::new();
        for place in places {
            let device = self.devices.get(place.device);
            let device = device.ok_or_else(|| self.corrupt("a device that is not there"))?;
            let length = usize_from(place.range.length());
            bytes.extend(read_structure(device.volume, STRUCTURE, place.range.start(), length)?);
        }
        let first = places.first().copied();
        let at = first.map_or(0, |place| place.range.start());
        self.check_node(bytes, at, root, bounds, is_root).map_err(|error| match error {
            Error::Corrupt { structure, at, fact } => {
                let on = first.and_then(|place| self.devices.name_among_others(place.device));
                let fact = on.map_or_else(|| fact.clone(), |name| format!("{fact} (of {name})"));
                Error::Corrupt { structure, at, fact }
            }
            other => other,
        })
    }

    /// Believes the bytes of a node, which begin at `at` of their device, where its checksum is right and it is what `root` says, with
    /// keys in their order and within `bounds`. Only a leaf at the root of a tree may be empty.
    fn check_node(
        &self,
        bytes: Vec<u8>,
        at: u64,
        root: Root,
        bounds: Keys,
        is_root: bool,
    ) -> Result<Node, Error> {
        self.superblock.checksum.check(&bytes, STRUCTURE, at)?;
        let short = Error::short(STRUCTURE, at);
        let corrupt = |fact: String| Err(Error::corrupt(STRUCTURE, at, fact));
        if read_array(&bytes, 0x20).map_err(&short)? != self.superblock.node_uuid() {
            return corrupt("it carries the UUID of another file system".to_owned());
        }
        let header = |field: usize| read_u64le(&bytes, field).map_err(&short);
        let level = read_u8(&bytes, 0x64).map_err(&short)?;
        let found = (header(0x30)?, header(0x50)?, header(0x58)?, level);
        let expected = (root.bytenr, root.generation, root.owner, root.level);
        if found != expected {
            return corrupt(format!(
                "its address, generation, tree and level are {found:?}, where {expected:?} are expected"
            ));
        }
        let count = usize_from(read_u32le(&bytes, 0x60).map_err(&short)?.into());
        let entry_bytes = if level == 0 { ITEM_BYTES } else { POINTER_BYTES };
        let most = bytes.len().saturating_sub(HEADER_BYTES).checked_div(entry_bytes).unwrap_or(0);
        if count > most || (count == 0 && !(is_root && level == 0)) {
            return corrupt(format!("it has {count} entries of at most {most}"));
        }
        let field = |index: usize| HEADER_BYTES.saturating_add(index.saturating_mul(entry_bytes));
        let keys: Result<Vec<Key>, OutOfBounds> =
            (0..count).map(|index| Key::read(&bytes, field(index))).collect();
        let keys = keys.map_err(&short)?;
        let wrong = keys.iter().enumerate().find(|(index, key)| {
            let before = index.checked_sub(1).and_then(|before| keys.get(before));
            !bounds.contains(**key) || before.is_some_and(|before| before >= key)
        });
        match wrong {
            Some((index, key)) => corrupt(format!("its entry {index}, {key}, is out of order")),
            None => Ok(Node { at, bytes, keys }),
        }
    }

    /// An error about a tree as a whole.
    pub(super) fn corrupt(&self, fact: impl Into<String>) -> Error {
        let [at, ..] = super::superblock::PLACES;
        Error::corrupt(super::superblock::STRUCTURE, at, fact)
    }
}

/// What is said of a part that is on a device that is not here.
pub(super) fn elsewhere(devid: u64) -> String {
    format!("a part of it is on device {devid}, which is not here")
}

/// The data of an item of a leaf with `count` of them. The error is one that begins within the table of items, or ends outside of
/// the leaf.
fn item_data(leaf: &[u8], index: usize, count: usize) -> Result<&[u8], OutOfBounds> {
    let field = HEADER_BYTES.saturating_add(index.saturating_mul(ITEM_BYTES)).saturating_add(Key::BYTES);
    let offset = usize_from(read_u32le(leaf, field)?.into());
    let size = usize_from(read_u32le(leaf, field.saturating_add(4))?.into());
    if offset < count.saturating_mul(ITEM_BYTES) {
        let (at, length, available) = (u64_from(offset), u64_from(size), u64_from(leaf.len()));
        return Err(OutOfBounds { at, length, available });
    }
    read_slice(leaf, HEADER_BYTES.saturating_add(offset), size)
}
