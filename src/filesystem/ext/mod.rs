//! ext2, ext3 and ext4: recognise them, judge whether they are quiescent, read their used map.
//!
//! - Every checksum that guards the map is verified, and every free count of a group is compared with its
//!   bitmap: a file system that contradicts itself has no map.
//! - A file system is dirty as long as a journal is to be replayed, as the superblock says that it was not
//!   unmounted, or as its multi-mount protection says that somebody holds it.
//! - Files that are deleted but still listed as orphans keep their blocks in the bitmap until the next
//!   mount: the map is true, the state is clean, and a finding says so.
//! - A mount count or check interval that has run out says nothing about the map.

mod external;
mod geometry;
mod group;
mod inode_blocks;
mod journal;
mod minimum;
mod superblock;
mod usage;

use super::error::read_structure;
use super::signature::identity::uuid_text;
use super::{Error, Reader, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{RangeSet, read_u32le};
use geometry::Geometry;
use superblock::{Superblock, compat, incompat, ro_compat, state};

/// The reader of the family.
pub(super) const READER: Reader = Reader { probe, read };

/// `mmp_seq` of a file system that nobody holds (kernel, `EXT4_MMP_SEQ_CLEAN`).
const MMP_SEQ_CLEAN: u32 = 0xFF4D_4D50;

fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(Superblock::read(volume)?.map(|superblock| superblock.kind()))
}

fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    read_with(volume, None)
}

/// The UUID of the journal that the ext on a volume has on another device; `None` where it has none there.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn external_journal(volume: &dyn ReadAt) -> Result<Option<String>, Error> {
    let superblock = Superblock::read(volume)?.filter(external::is_elsewhere);
    Ok(superblock.and_then(|superblock| uuid_text(superblock.s_journal_uuid)))
}

/// Reads an ext together with the device that its journal is on. It is clean only where both are at rest; where they are not,
/// it stays unsupported, because a replay would write to the other device. Its smallest size is its own.
///
/// # Errors
/// As [`crate::filesystem::read`].
pub fn read_with_journal(volume: &dyn ReadAt, journal: &dyn ReadAt) -> Result<Reading, Error> {
    let mut reading = read_with(volume, Some(journal))?;
    let file_system = &mut reading.file_system;
    file_system.minimum_bytes = file_system.size_bytes;
    if file_system.state == State::Dirty {
        file_system.state = State::Unsupported;
        file_system.used_bytes = None;
        reading.used = None;
    }
    Ok(reading)
}

fn read_with(volume: &dyn ReadAt, journal: Option<&dyn ReadAt>) -> Result<Reading, Error> {
    let superblock = Superblock::read(volume)?
        .ok_or_else(|| Error::corrupt("ext superblock", superblock::SUPERBLOCK_AT, "there is none"))?;
    let verdict = match examine(volume, &superblock, journal) {
        Ok(verdict) => verdict,
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(error @ Error::Unsupported { .. }) => Verdict::without_map(State::Unsupported, &error),
        Err(error @ Error::Corrupt { .. }) => Verdict::without_map(State::Damaged, &error),
    };
    Ok(verdict.into_reading(&superblock, volume.size_bytes()))
}

/// What was found out about a file system whose superblock could be read.
struct Verdict {
    state: State,
    findings: Vec<String>,
    /// The used map and the smallest size in bytes.
    map: Option<(RangeSet, u64)>,
}

impl Verdict {
    fn without_map(state: State, error: &Error) -> Self {
        Self { state, findings: vec![error.to_string()], map: None }
    }

    /// Never makes a state better.
    fn worsen(&mut self, state: State, finding: impl Into<String>) {
        if self.state != State::Damaged {
            self.state = state;
        }
        self.findings.push(finding.into());
    }

    fn into_reading(self, superblock: &Superblock, volume_bytes: u64) -> Reading {
        let size_bytes = superblock.s_blocks_count.saturating_mul(superblock.block_bytes).min(volume_bytes);
        let (used, minimum_bytes) = match self.map {
            Some((used, minimum_bytes)) => (Some(used), minimum_bytes),
            None => (None, size_bytes),
        };
        let file_system = FileSystem {
            kind: superblock.kind(),
            uuid: superblock.uuid(),
            label: superblock.label(),
            block_size_bytes: superblock.block_bytes,
            size_bytes,
            used_bytes: used.as_ref().map(RangeSet::total_bytes),
            minimum_bytes,
            state: self.state,
            findings: self.findings,
        };
        Reading { file_system, used }
    }
}

fn examine(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    device: Option<&dyn ReadAt>,
) -> Result<Verdict, Error> {
    let mut verdict = Verdict { state: State::Clean, findings: Vec::new(), map: None };
    superblock.check_checksum()?;
    if superblock.has_incompat(incompat::JOURNAL_DEV) {
        let fact = "the journal of another volume's file system: capture both in one image, or this one with --when-dirty raw";
        verdict.worsen(State::Unsupported, fact);
        return Ok(verdict);
    }
    superblock.check_features()?;
    judge_flags(superblock, &mut verdict);
    let geometry = Geometry::new(superblock, volume.size_bytes())?;
    judge_holder(volume, &geometry, &mut verdict)?;
    let journal = judge_journal(volume, device, &geometry, &mut verdict)?;
    if verdict.state == State::Damaged {
        return Ok(verdict);
    }
    let usage = usage::read(volume, &geometry, &journal)
        .and_then(|usage| Ok((minimum::minimum_bytes(volume, &geometry, &usage)?, usage)));
    match usage {
        Ok((minimum_bytes, usage)) => verdict.map = Some((usage.used, minimum_bytes)),
        // What contradicts itself now may be put right by the journal.
        Err(error @ Error::Corrupt { .. }) if verdict.state == State::Dirty => {
            verdict.findings.push(error.to_string());
        }
        Err(error) => return Err(error),
    }
    Ok(verdict)
}

fn judge_flags(superblock: &Superblock, verdict: &mut Verdict) {
    if superblock.has_incompat(incompat::RECOVER) {
        verdict.worsen(
            State::Dirty,
            "the journal is to be replayed (needs_recovery): the file system is mounted or was not unmounted; \
             unmount it, or mount and unmount it once, or run e2fsck -f",
        );
    } else if superblock.s_state & state::VALID_FS == 0 {
        verdict.worsen(
            State::Dirty,
            "the file system is mounted or was not unmounted cleanly; unmount it and run e2fsck -f",
        );
    }
    if superblock.s_state & state::ERROR_FS != 0 {
        verdict.worsen(
            State::Damaged,
            "the kernel has found errors in the file system and marked it; run e2fsck -f",
        );
    }
    if superblock.s_last_orphan != 0 || superblock.has_ro_compat(ro_compat::ORPHAN_PRESENT) {
        verdict.findings.push(
            "files that were deleted while open still hold their space; the next mount frees it".to_owned(),
        );
    }
}

/// Multi-mount protection: another machine may have the file system mounted.
fn judge_holder(volume: &dyn ReadAt, geometry: &Geometry, verdict: &mut Verdict) -> Result<(), Error> {
    if !geometry.superblock.has_incompat(incompat::MMP) {
        return Ok(());
    }
    let block = geometry.superblock.s_mmp_block;
    let at = geometry.byte_of(block);
    if !geometry.holds(block, 1) {
        return Err(Error::corrupt("ext4 MMP block", at, format!("block {block} is not in the file system")));
    }
    let bytes = read_structure(volume, "ext4 MMP block", at, 1024)?;
    let sequence = read_u32le(&bytes, 0x4).map_err(Error::short("ext4 MMP block", at))?;
    if sequence != MMP_SEQ_CLEAN {
        verdict.worsen(
            State::Dirty,
            "multi-mount protection says that a machine or a check holds the file system; unmount it there, or \
             run tune2fs -f -E clear_mmp if none does",
        );
    }
    Ok(())
}

/// Judges the journal; the bytes that it takes. `device` is that of a journal that is elsewhere.
fn judge_journal(
    volume: &dyn ReadAt,
    device: Option<&dyn ReadAt>,
    geometry: &Geometry,
    verdict: &mut Verdict,
) -> Result<RangeSet, Error> {
    let superblock = geometry.superblock;
    if !superblock.has_compat(compat::HAS_JOURNAL) {
        return Ok(RangeSet::new());
    }
    if external::is_elsewhere(superblock) {
        let Some(device) = device else {
            return Err(Error::unsupported(format!(
                "the journal is on another device, {}, which is captured and restored together with this one: name its disk \
                 too, capture both with --when-dirty raw, or make it internal with tune2fs -O ^has_journal and tune2fs -j",
                uuid_text(superblock.s_journal_uuid)
                    .unwrap_or_else(|| "of which it does not say the UUID".to_owned())
            )));
        };
        external::check(device, superblock)?;
        return Ok(RangeSet::new());
    }
    let journal = journal::read(volume, geometry)?;
    if journal.is_live && !superblock.has_incompat(incompat::RECOVER) {
        verdict.worsen(
            State::Dirty,
            "the journal holds transactions although the superblock asks for no recovery; run e2fsck -f",
        );
    }
    if journal.errno != 0 {
        verdict.worsen(State::Damaged, "the journal was aborted after an error; run e2fsck -f");
    }
    Ok(journal.blocks)
}
