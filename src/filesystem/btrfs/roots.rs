//! The tree of roots: where the other trees begin, and what was going on.

use super::key::{Key, kind};
use super::superblock::MAX_LEVELS;
use super::tree::{Keys, Root, Trees};
use crate::filesystem::Error;
use crate::units::{OutOfBounds, read_u8, read_u64le};

const STRUCTURE: &str = "btrfs root item";
/// `BTRFS_ROOT_TREE_OBJECTID`
const ROOT_TREE: u64 = 1;
/// `BTRFS_BALANCE_OBJECTID`, which is -4.
const BALANCE: u64 = u64::MAX - 3;

/// `BTRFS_*_TREE_OBJECTID`
pub(super) mod tree {
    pub(in super::super) const EXTENT: u64 = 2;
    pub(in super::super) const CHUNK: u64 = 3;
    pub(in super::super) const DEV: u64 = 4;
    pub(in super::super) const FREE_SPACE: u64 = 10;
    pub(in super::super) const BLOCK_GROUP: u64 = 11;
}

/// What of the tree of roots matters here.
pub(super) struct Roots(Root);

impl Roots {
    /// The tree that the superblock names.
    pub(super) fn new(trees: &Trees<'_>) -> Self {
        let superblock = trees.superblock;
        Self(Root {
            bytenr: superblock.root,
            generation: superblock.generation,
            level: superblock.root_level,
            owner: ROOT_TREE,
        })
    }

    /// Where a tree begins.
    pub(super) fn of(&self, trees: &Trees<'_>, objectid: u64) -> Result<Root, Error> {
        let mut root = None;
        let (first, last) = span(objectid, kind::ROOT_ITEM);
        trees.walk(self.0, &|keys: Keys| keys.may_hold(first, last), &mut |item| {
            if item.key.objectid == objectid && item.key.kind == kind::ROOT_ITEM {
                let found = parse(objectid, item.data).map_err(Error::short(STRUCTURE, item.at))?;
                if found.level >= MAX_LEVELS {
                    let fact = format!("tree {objectid} has {} levels", found.level);
                    return Err(Error::corrupt(STRUCTURE, item.at, fact));
                }
                root = Some(found);
            }
            Ok(())
        })?;
        root.ok_or_else(|| trees.corrupt(format!("there is no tree {objectid}")))
    }

    /// True where a balance was interrupted and goes on at the next mount.
    pub(super) fn has_balance(&self, trees: &Trees<'_>) -> Result<bool, Error> {
        let (first, last) = span(BALANCE, kind::TEMPORARY_ITEM);
        let mut is_there = false;
        trees.walk(self.0, &|keys: Keys| keys.may_hold(first, last), &mut |item| {
            is_there |= (first..=last).contains(&item.key);
            Ok(())
        })?;
        Ok(is_there)
    }
}

/// The keys of an object's items of one type.
const fn span(objectid: u64, kind: u8) -> (Key, Key) {
    (Key::first(objectid, kind), Key { objectid, kind, offset: u64::MAX })
}

/// `struct btrfs_root_item`, which begins with an inode of 160 bytes.
fn parse(owner: u64, item: &[u8]) -> Result<Root, OutOfBounds> {
    let (generation, bytenr) = (read_u64le(item, 160)?, read_u64le(item, 176)?);
    Ok(Root { bytenr, generation, level: read_u8(item, 238)?, owner })
}
