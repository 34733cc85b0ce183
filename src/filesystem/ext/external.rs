//! A journal on another device: which one, and whether both can be captured as they stand.
//!
//! The device begins with the superblock of an ext, behind which stands that of the journal (`ext2fs_journal_sb_start` of
//! e2fsprogs), with the UUIDs of the file systems that use it.

use super::journal;
use super::superblock::{Superblock, compat, incompat};
use crate::blockio::ReadAt;
use crate::filesystem::error::{Error, read_structure};
use crate::units::{KIB, read_slice, read_u32be};

const STRUCTURE: &str = "ext journal superblock";
const LENGTH: usize = 1024;
/// `s_nr_users` and `s_users`
const NR_USERS_AT: usize = 0x40;
const USERS_AT: usize = 0x100;
const UUID_BYTES: usize = 16;
/// `JFS_USERS_MAX`
const MAX_USERS: usize = 48;

/// True where the file system has its journal elsewhere.
pub(super) fn is_elsewhere(superblock: &Superblock) -> bool {
    superblock.has_compat(compat::HAS_JOURNAL)
        && (superblock.s_journal_dev != 0 || superblock.s_journal_inum == 0)
}

/// Refuses a device that is not the journal of a file system, or that holds what is not in it yet.
pub(super) fn check(device: &dyn ReadAt, superblock: &Superblock) -> Result<(), Error> {
    let found = Superblock::read(device)?.filter(|found| found.has_incompat(incompat::JOURNAL_DEV));
    let Some(found) = found.filter(|found| found.s_uuid == superblock.s_journal_uuid) else {
        return Err(Error::unsupported("what was taken for its journal is another one"));
    };
    found.check_checksum()?;
    let block = if found.block_bytes == KIB { 2 } else { 1 };
    let at = found.block_bytes.saturating_mul(block);
    let (is_live, errno) = journal::read_superblock(device, at)?;
    if is_live {
        return Err(Error::unsupported(
            "its journal, on another device, holds transactions: mount it and unmount it once, or run e2fsck -f on it, or \
             capture both with --when-dirty raw",
        ));
    }
    if errno != 0 {
        return Err(Error::corrupt(STRUCTURE, at, "the journal was aborted after an error"));
    }
    let bytes = read_structure(device, STRUCTURE, at, LENGTH)?;
    let users = usize::try_from(read_u32be(&bytes, NR_USERS_AT).map_err(Error::short(STRUCTURE, at))?);
    let users = users.unwrap_or(MAX_USERS).min(MAX_USERS);
    let uuid = |user: usize| {
        read_slice(&bytes, USERS_AT.saturating_add(user.saturating_mul(UUID_BYTES)), UUID_BYTES)
    };
    if (0..users).any(|user| uuid(user) == Ok(superblock.s_uuid.as_slice())) {
        return Ok(());
    }
    Err(Error::unsupported(
        "its journal, on another device, does not name it: run e2fsck -f on it, or capture both with --when-dirty raw",
    ))
}
