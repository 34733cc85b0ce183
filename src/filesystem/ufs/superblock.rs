//! The superblock: form, sizes, state, and what it counts.
//!
//! It stands at one of four places, in the byte order of the machine that made it. Offsets and names are those of
//! `struct fs` in FreeBSD's `sys/ufs/ffs/fs.h`, without the prefix; where Linux's `fs/ufs/ufs_fs.h` knows more forms, its.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::text_at;
use crate::units::checksum::crc32c;
use crate::units::{
    ByteRange, KIB, OutOfBounds, read_u8, read_u32be, read_u32le, read_u64be, read_u64le, u64_from,
    usize_from,
};

const STRUCTURE: &str = "UFS superblock";
/// `SBLOCKSEARCH`: the order in which FreeBSD looks.
const PLACES: [u64; 4] = [64 * KIB, 8 * KIB, 0, 256 * KIB];
/// Where that of UFS1 stands at most: behind it are copies.
const LAST_OF_UFS1: u64 = 8 * KIB;
/// `SBLOCKSIZE`
const LENGTH: usize = 8192;
const MAGIC_AT: usize = 1372;
const CKHASH_AT: usize = 1304;
const UFS1: u32 = 0x0001_1954;
/// The second is that of NetBSD's `FS_UFS2EA_MAGIC`, with extended attributes.
const UFS2: [u32; 2] = [0x1954_0119, 0x1901_2038];
/// `UFS_MAGIC_LFN`, `_SEC`, `_FEA` and `_4GB`
const HP_UX: [u32; 4] = [0x0009_5014, 0x0061_2195, 0x0019_5612, 0x0523_1994];
/// `MINBSIZE` and `MAXBSIZE`
const BLOCKS: std::ops::RangeInclusive<u64> = 4096..=65536;
const MAX_FRAG: u64 = 8;
/// `fs_old_flags`: the fields of UFS2 count in UFS1 too.
const FLAGS_UPDATED: u8 = 0x80;
/// `fs_clean` of a file system that was unmounted.
const CLEAN: u8 = 1;
/// `fs_flags`
const NEEDSFSCK: u32 = 0x4;
const GJOURNAL: u32 = 0x40;
const METACKHASH: u32 = 0x200;
/// `FS_DOWAPBL` of NetBSD, with the version of its log in `fs_journal_version`; FreeBSD has the flag for something else. A clean
/// unmount takes the flag away last, after `fs_clean` (NetBSD `sys/ufs/ffs/ffs_vfsops.c`, `ffs_wapbl.c`).
const DOWAPBL: u32 = 0x100;
const WAPBL_VERSION_AT: usize = 864;
/// `fs_metackhash`
const CK_SUPERBLOCK: u32 = 0x1;
const CK_CYLGRP: u32 = 0x2;
/// The size of a `struct csum`.
pub(super) const SUMMARY_BYTES: u64 = 16;

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Result<u32, OutOfBounds> {
        match self {
            Self::Little => read_u32le(bytes, at),
            Self::Big => read_u32be(bytes, at),
        }
    }

    pub(super) fn u64(self, bytes: &[u8], at: usize) -> Result<u64, OutOfBounds> {
        match self {
            Self::Little => read_u64le(bytes, at),
            Self::Big => read_u64be(bytes, at),
        }
    }
}

/// `cs_nbfree` and `cs_nffree`: free blocks, and free fragments of others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Free {
    pub(super) blocks: u64,
    pub(super) fragments: u64,
}

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    at: u64,
    pub(super) order: Order,
    magic: u32,
    /// What is stored and what it should be, where there is one.
    checksum: Option<(u32, u32)>,
    pub(super) has_group_checksums: bool,
    sblkno: u64,
    cblkno: u64,
    iblkno: u64,
    dblkno: u64,
    cgoffset: u64,
    cgmask: u32,
    size: u64,
    pub(super) ncg: u64,
    pub(super) bsize: u64,
    pub(super) fsize: u64,
    pub(super) frag: u64,
    csaddr: u64,
    cssize: u64,
    pub(super) cgsize: u64,
    fpg: u64,
    pub(super) free: Free,
    clean: u8,
    flags: u32,
    /// NetBSD's log was in use when the superblock was written.
    has_log: bool,
    pub(super) uuid: Option<String>,
    pub(super) label: Option<String>,
}

/// Where the fragments of a cylinder group are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) number: u64,
    /// The first one, and how many there are.
    pub(super) base: u64,
    pub(super) count: u64,
    /// `cgstart`: where the group's own places are counted from.
    start: u64,
}

/// The places where a superblock may stand.
pub(super) fn places(volume_bytes: u64) -> impl Iterator<Item = ByteRange> {
    let end = move |at: u64| at.saturating_add(u64_from(LENGTH)).min(volume_bytes);
    PLACES.into_iter().filter(move |at| *at < volume_bytes).map(move |at| ByteRange::new(at, end(at)))
}

/// Where there is a superblock with a sane size of blocks, its byte order, and its bytes.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Option<(u64, Order, Vec<u8>)>, Error> {
    for place in places(volume.size_bytes()) {
        let at = place.start();
        if place.length() < u64_from(LENGTH) {
            continue;
        }
        let bytes = read_structure(volume, STRUCTURE, at, LENGTH)?;
        for order in [Order::Little, Order::Big] {
            let magic = order.u32(&bytes, MAGIC_AT).unwrap_or(0);
            let is_here = match magic {
                UFS1 => at <= LAST_OF_UFS1,
                magic if UFS2.contains(&magic) => order.u64(&bytes, 1000) == Ok(at),
                magic => HP_UX.contains(&magic),
            };
            let block = u64::from(order.u32(&bytes, 48).unwrap_or(0));
            if is_here && block.is_power_of_two() && BLOCKS.contains(&block) {
                return Ok(Some((at, order, bytes)));
            }
        }
    }
    Ok(None)
}

impl Superblock {
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        let Some((at, order, bytes)) = find(volume)? else {
            return Err(Error::corrupt(STRUCTURE, PLACES[0], "it is not there"));
        };
        Self::parse(&bytes, at, order).map_err(Error::short(STRUCTURE, at))
    }

    fn parse(bytes: &[u8], at: u64, order: Order) -> Result<Self, OutOfBounds> {
        let short = |at: usize| order.u32(bytes, at).map(u64::from);
        let long = |at: usize| order.u64(bytes, at);
        let magic = order.u32(bytes, MAGIC_AT)?;
        let is_ufs1 = magic == UFS1;
        let old_flags = read_u8(bytes, 211)?;
        // An older system does not keep the wide fields of UFS1, NetBSD not the old ones where there are wide ones.
        let is_wide = !is_ufs1 || old_flags & FLAGS_UPDATED != 0;
        let flags = if is_wide { order.u32(bytes, 1312)? } else { old_flags.into() };
        let hashes = if is_wide && flags & METACKHASH != 0 { order.u32(bytes, 1308)? } else { 0 };
        let checksum = match hashes & CK_SUPERBLOCK {
            0 => None,
            _ => Some((order.u32(bytes, CKHASH_AT)?, hash(bytes, short(104)?, CKHASH_AT))),
        };
        let id = (order.u32(bytes, 144)?, order.u32(bytes, 148)?);
        Ok(Self {
            at,
            order,
            magic,
            checksum,
            has_group_checksums: hashes & CK_CYLGRP != 0,
            sblkno: short(8)?,
            cblkno: short(12)?,
            iblkno: short(16)?,
            dblkno: short(20)?,
            cgoffset: if is_ufs1 { short(24)? } else { 0 },
            cgmask: order.u32(bytes, 28)?,
            size: if is_wide { long(1080)? } else { short(36)? },
            ncg: short(44)?,
            bsize: short(48)?,
            fsize: short(52)?,
            frag: short(56)?,
            csaddr: if is_wide { long(1096)? } else { short(152)? },
            cssize: short(156)?,
            cgsize: short(160)?,
            fpg: short(188)?,
            free: if is_wide {
                Free { blocks: long(1016)?, fragments: long(1032)? }
            } else {
                Free { blocks: short(196)?, fragments: short(204)? }
            },
            clean: read_u8(bytes, 209)?,
            has_log: flags & DOWAPBL != 0 && read_u8(bytes, WAPBL_VERSION_AT)? == 1,
            flags,
            uuid: (id != (0, 0)).then(|| format!("{:08x}{:08x}", id.0, id.1)),
            label: text_at(bytes, 680, 32).filter(|_| UFS2.contains(&magic)),
        })
    }

    fn corrupt(&self, fact: impl Into<String>) -> Error {
        Error::corrupt(STRUCTURE, self.at, fact)
    }

    pub(super) fn is_of_hp_ux(&self) -> bool {
        HP_UX.contains(&self.magic)
    }

    pub(super) fn check_checksum(&self) -> Result<(), Error> {
        match self.checksum {
            Some((stored, computed)) if stored != computed => {
                Err(self.corrupt(format!("its check hash is {computed:#010x} but {stored:#010x} is stored")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what this volume alone does not tell.
    pub(super) fn check_form(&self) -> Result<(), Error> {
        if self.flags & GJOURNAL != 0 {
            return Err(Error::unsupported(
                "it is journaled by gjournal, which may hold what is newer; stop that and run tunefs -J disable, or capture \
                 it with --when-dirty raw",
            ));
        }
        Ok(())
    }

    /// All groups lie on the volume, and the places of each in it.
    pub(super) fn check_geometry(&self, volume_bytes: u64) -> Result<(), Error> {
        let summaries = self.ncg.saturating_mul(SUMMARY_BYTES);
        let is_sound = self.frag.is_power_of_two()
            && self.frag <= MAX_FRAG
            && self.fsize >= 512
            && self.fsize.saturating_mul(self.frag) == self.bsize
            && self.cgsize <= self.bsize
            && self.fpg.checked_rem(self.frag) == Some(0)
            && self.fpg > 0
            && self.size.div_ceil(self.fpg) == self.ncg
            && (self.sblkno < self.cblkno && self.cblkno < self.iblkno && self.iblkno < self.dblkno)
            && (summaries..=summaries.saturating_add(self.bsize)).contains(&self.cssize)
            && self.csaddr < self.size;
        if !is_sound {
            return Err(self.corrupt(format!(
                "{} groups of {} fragments do not go with {} fragments of {} bytes in blocks of {}",
                self.ncg, self.fpg, self.size, self.fsize, self.bsize
            )));
        }
        if self.end() > volume_bytes {
            return Err(self.corrupt(format!(
                "the file system has {} fragments of {} bytes, but the volume only {volume_bytes} bytes",
                self.size, self.fsize
            )));
        }
        Ok(())
    }

    /// Why the map need not be true.
    pub(super) fn unfinished(&self) -> Option<String> {
        if self.flags & NEEDSFSCK != 0 {
            Some("was found to be inconsistent and needs a check".to_owned())
        } else if self.clean != CLEAN {
            Some(format!("was not unmounted (fs_clean is {})", self.clean))
        } else if self.has_log {
            Some("has a log of NetBSD that a mount would replay".to_owned())
        } else {
            None
        }
    }

    /// Where its last fragment ends.
    pub(super) const fn end(&self) -> u64 {
        self.size.saturating_mul(self.fsize)
    }

    /// The bytes of fragments.
    pub(super) fn fragments(&self, first: u64, count: u64) -> ByteRange {
        let bytes = |fragment: u64| fragment.saturating_mul(self.fsize);
        ByteRange::new(bytes(first), bytes(first.saturating_add(count)))
    }

    /// Where the summaries of all groups are.
    pub(super) fn summaries(&self) -> ByteRange {
        self.fragments(self.csaddr, self.cssize.div_ceil(self.fsize.max(1)))
    }

    /// A group, whose own places have to lie in it.
    pub(super) fn group(&self, number: u64) -> Result<Group, Error> {
        let base = self.fpg.saturating_mul(number);
        // A turn of the disk, in the days when its surfaces were told apart.
        let turn = number & u64::from(!self.cgmask);
        let group = Group {
            number,
            base,
            count: self.size.saturating_sub(base).min(self.fpg),
            start: base.saturating_add(self.cgoffset.saturating_mul(turn)),
        };
        if group.start.saturating_add(self.dblkno) > base.saturating_add(group.count) {
            return Err(self.corrupt(format!(
                "the inodes of group {number} end at fragment {} of {}",
                group.start.saturating_add(self.dblkno).saturating_sub(base),
                group.count
            )));
        }
        Ok(group)
    }

    /// Where a group's block with its bitmaps stands.
    pub(super) fn bitmaps_at(&self, group: &Group) -> u64 {
        self.fragments(group.start.saturating_add(self.cblkno), 1).start()
    }

    /// The copy of the superblock, the group's block and its inodes; in the first group what lies before them, too.
    pub(super) fn own_places(&self, group: &Group) -> ByteRange {
        let from = if group.number == 0 { 0 } else { group.start.saturating_add(self.sblkno) };
        self.fragments(from, group.start.saturating_add(self.dblkno).saturating_sub(from))
    }
}

/// The check hash of so many bytes (`calculate_crc32c` in FreeBSD's `sys/libkern/gsb_crc32.c`), whose own field counts as zeros.
pub(super) fn hash(bytes: &[u8], length: u64, field: usize) -> u32 {
    let bytes = bytes.get(..usize_from(length)).unwrap_or(bytes);
    let before = bytes.get(..field).unwrap_or_default();
    let behind = bytes.get(field.saturating_add(4)..).unwrap_or_default();
    crc32c(crc32c(crc32c(!0, before), &[0; 4]), behind)
}
