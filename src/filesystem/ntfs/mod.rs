//! Reads NTFS: recognises it, judges whether it is quiescent, and says which of its bytes are used.
//!
//! - Every structure that spans sectors is checked by its update sequence before a field of it is used.
//! - The map is `$Bitmap`, read through `$MFT` over all extents, plus what stands outside the clusters.
//! - A volume is clean only if `$LogFile` needs no replay, no Windows sleeps in `hiberfil.sys`, the first records agree
//!   with their mirror, and the map covers the system files. One that `$Volume` marks dirty is clean if besides that every
//!   record of the table agrees with the map.
//! - There is no map for a volume that is damaged or of an unknown version.

mod accounting;
mod attribute;
mod boot_sector;
mod fixup;
mod hibernation;
mod index;
mod judgement;
mod log_file;
mod mft;
mod mft_record;
mod mirror;
mod runlist;
mod stream;
mod usage;
mod volume_information;

use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::RangeSet;
use boot_sector::BootSector;
use judgement::Judgement;
use mft::Mft;
use volume_information::MARKED_DIRTY;

/// Recognises NTFS by its boot sector.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(boot_sector::is_ntfs(volume)?.then_some(FileSystemKind::Ntfs))
}

/// Reads everything.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let boot = BootSector::read(volume)?;
    let size_bytes = boot.size_bytes().min(volume.size_bytes());
    let mut file_system = FileSystem {
        kind: FileSystemKind::Ntfs,
        uuid: Some(format!("{:016X}", boot.serial)),
        label: None,
        block_size_bytes: boot.cluster_bytes,
        size_bytes,
        used_bytes: None,
        minimum_bytes: size_bytes,
        state: State::Clean,
        findings: Vec::new(),
    };
    let mut judgement = Judgement::new();
    let examined = examine(volume, boot, &mut file_system, &mut judgement);
    let used = judgement.absorb(examined)?.flatten();
    file_system.state = judgement.state;
    file_system.findings = judgement.findings;
    let used = used.filter(|_| !matches!(file_system.state, State::Damaged | State::Unsupported));
    match &used {
        Some(used) => file_system.used_bytes = Some(used.total_bytes()),
        None => file_system.minimum_bytes = size_bytes,
    }
    Ok(Reading { file_system, used })
}

/// Fills in what stands behind the boot sector. What contradicts the format in one part does not keep the
/// others from being looked at.
fn examine(
    volume: &dyn ReadAt,
    boot: BootSector,
    file_system: &mut FileSystem,
    judgement: &mut Judgement,
) -> Result<Option<RangeSet>, Error> {
    let mft = Mft::open(volume, boot)?;
    let information = volume_information::read(&mft)?;
    information.judge(judgement);
    file_system.label = information.label;
    let log = log_file::judge(&mft, judgement);
    judgement.absorb(log)?;
    let hibernation = hibernation::judge(&mft, judgement);
    judgement.absorb(hibernation)?;
    let mirror = mirror::judge(&mft, judgement);
    judgement.absorb(mirror)?;
    let Some(usage) = judgement.absorb(usage::read(&mft))? else { return Ok(None) };
    if usage.bad_clusters > 0 {
        judgement.note(format!(
            "{} clusters are marked bad, so the volume cannot be shrunk; after moving to a sound disk run `chkdsk /b`",
            usage.bad_clusters
        ));
    }
    file_system.minimum_bytes = usage.minimum_bytes;
    if judgement.suspects_only(MARKED_DIRTY) {
        look_into_the_mark(&mft, &usage.used, judgement)?;
    }
    Ok(Some(usage.used))
}

/// A volume that is marked for a check and has nothing to replay is as good as a clean one where its map is what its
/// files say. It comes back with the mark, so Windows checks it.
fn look_into_the_mark(mft: &Mft<'_>, used: &RangeSet, judgement: &mut Judgement) -> Result<(), Error> {
    match accounting::difference(mft, used) {
        Ok(None) => judgement.acquit(
            MARKED_DIRTY,
            "the volume is marked dirty; all of its files agree with its map, and Windows will check it at the next start",
        ),
        Ok(Some(difference)) => judgement.note(difference),
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(error) => judgement.note(error.to_string()),
    }
    Ok(())
}
