//! btrfs: the used map is what its block groups have in use, at every place where their chunks stand.
//!
//! - Nothing in a node is believed before its checksum, its address, its generation, its tree and its UUID agree.
//! - What is in use comes from the free space tree where that is valid, otherwise from the extent tree; either way it is
//!   as many bytes as each block group counts. Chunks and device tree name the same places.
//! - A log tree, which a sync of single files leaves until the next commit, makes the file system dirty: its nodes are
//!   in no other tree.
//! - A device of several has a map only together with all the others ([`read_btrfs_devices`]).
//!
//! ```text
//! superblock -> chunk tree: logical addresses -> places on the devices
//!            -> root tree -> device tree, block groups, free space tree or extent tree
//! ```

mod block_group;
mod checksum;
mod chunk;
mod device;
mod devices;
mod extent;
mod free_space;
mod key;
mod minimum;
mod others;
mod roots;
mod striping;
mod superblock;
mod together;
mod tree;
mod usage;

use super::error::read_structure;
use super::judgement::{Judged, Judgement, settle};
use super::{Error, Reader, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{RangeSet, u64_from};
use chunk::{Chunk, Chunks};
use devices::{DevItem, Device, Devices};
use std::cell::{Cell, RefCell};
use superblock::Superblock;
use tree::{Root, Trees};
use usage::Usage;

pub use together::{BtrfsSource, read_btrfs_devices};

/// The reader of btrfs.
pub(super) const READER: Reader = Reader { probe, read };

const DIRTY: &str = "its log tree is to be replayed: the file system is mounted or was not unmounted; unmount it, or mount \
                     and unmount it once, or capture it with --when-dirty replay";

/// Sees the magic number of the first superblock.
fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    let [at, ..] = superblock::PLACES;
    if volume.size_bytes() < at.saturating_add(u64_from(superblock::LENGTH)) {
        return Ok(None);
    }
    let magic =
        read_structure(volume, superblock::STRUCTURE, at.saturating_add(0x40), superblock::MAGIC.len())?;
    Ok((magic == superblock::MAGIC).then_some(FileSystemKind::Btrfs))
}

/// Reads the superblock and the trees. Below the superblock, damage and unknown forms are states of a reading that still
/// tells the UUID, the label and the size.
fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let superblock = Superblock::read(volume)?;
    let devices = Devices::new(vec![Device { name: "", volume, superblock: &superblock }]);
    let Judged { state, findings, map: usage } = settle(judge(&devices, &superblock))?;
    let minimum_bytes = usage.as_ref().and_then(|usage| usage.minimum_bytes);
    let used = usage.and_then(|usage| usage.used.into_iter().next());
    Ok(reading_of(&superblock, state, findings, used, minimum_bytes))
}

/// What a device belongs to.
const fn kind_of(superblock: &Superblock) -> FileSystemKind {
    if superblock.num_devices > 1 { FileSystemKind::BtrfsSet } else { FileSystemKind::Btrfs }
}

/// The reading of one device. Its smallest size is its own where no other is known.
fn reading_of(
    superblock: &Superblock,
    state: State,
    findings: Vec<String>,
    used: Option<RangeSet>,
    minimum_bytes: Option<u64>,
) -> Reading {
    let size_bytes = superblock.total_bytes;
    let file_system = FileSystem {
        kind: kind_of(superblock),
        uuid: superblock.uuid(),
        label: superblock.label(),
        block_size_bytes: superblock.sectorsize.into(),
        size_bytes,
        used_bytes: used.as_ref().map(RangeSet::total_bytes),
        minimum_bytes: minimum_bytes.unwrap_or(size_bytes),
        state,
        findings,
    };
    Reading { file_system, used }
}

/// Judges a file system that should have no other device.
fn judge(devices: &Devices<'_>, superblock: &Superblock) -> Result<Judgement<Usage>, Error> {
    superblock.check_features()?;
    if superblock.num_devices != 1 {
        return Err(Error::unsupported(format!(
            "it is one of {} devices of a btrfs, which are captured and restored together: name the disks of all of them; where they \
             are in encrypted volumes or arrays, open every one and name what is opened as disks (--disk /dev/mapper/A --disk \
             /dev/mapper/B, or --disk /dev/md0); or capture every one with --when-dirty raw",
            superblock.num_devices
        )));
    }
    if superblock.log_root != 0 {
        return Ok(Judgement::Dirty { fact: DIRTY.to_owned() });
    }
    let (trees, _) = read_chunks(devices, superblock)?;
    if let Some((devid, _)) = trees.chunks.elsewhere() {
        return Err(Error::unsupported(format!(
            "{}: capture it with --when-dirty raw, or finish the removal of the device",
            tree::elsewhere(devid)
        )));
    }
    judge_trees(&trees)
}

/// Judges a file system of which every device is here.
fn judge_trees(trees: &Trees<'_>) -> Result<Judgement<Usage>, Error> {
    let usage = usage::read(trees)?;
    let mut hints = Vec::new();
    let mut stale = 0u64;
    for device in trees.devices.as_slice() {
        stale = stale.saturating_add(device.superblock.stale_copies(device.volume)?);
    }
    if stale > 0 {
        hints.push(format!(
            "{stale} of the copies of its superblock are not those of the first one, which does no harm until that one is \
             lost; the next mount renews them"
        ));
    }
    let bad = trees.bad_copies.get();
    if bad > 0 {
        hints.push(format!(
            "{bad} bad copies of nodes were met, of which the other copy is good; run btrfs scrub"
        ));
    }
    if usage.has_balance {
        hints.push("a balance was interrupted: it goes on when the file system is mounted, and is cancelled where a deploy changes the \
             size".to_owned());
    }
    Ok(Judgement::Clean { map: usage, hints })
}

/// The chunk tree, found by the chunks that the superblock names, and the devices that it knows.
fn read_chunks<'a>(
    devices: &'a Devices<'a>,
    superblock: &'a Superblock,
) -> Result<(Trees<'a>, Vec<DevItem>), Error> {
    let first = Chunks::of_superblock(superblock, devices)?;
    let trees =
        Trees { devices, superblock, chunks: first, bad_copies: Cell::new(0), nodes: RefCell::default() };
    let root = Root {
        bytenr: superblock.chunk_root,
        generation: superblock.chunk_root_generation,
        level: superblock.chunk_root_level,
        owner: roots::tree::CHUNK,
    };
    let mut chunks = Chunks::default();
    let mut items = Vec::new();
    trees.walk(root, &|_| true, &mut |item| {
        if (item.key.objectid, item.key.kind) == (DevItem::OBJECTID, key::kind::DEV_ITEM) {
            let short = Error::short("btrfs device item", item.at);
            items.push(DevItem::parse(item.key.offset, item.data).map_err(short)?);
        }
        if item.key.kind != key::kind::CHUNK_ITEM {
            return Ok(());
        }
        let (chunk, length) = Chunk::parse(superblock, devices, item.key, item.data, item.at)?;
        if length != item.data.len() {
            let fact = format!("{} of {} bytes has another length", item.key, u64_from(item.data.len()));
            return Err(Error::corrupt("btrfs chunk item", item.at, fact));
        }
        chunks.push(chunk, item.at)
    })?;
    if !chunks.include(&trees.chunks) {
        return Err(trees.corrupt("its sys_chunk_array names chunks that the chunk tree does not have"));
    }
    Ok((Trees { chunks, ..trees }, items))
}
