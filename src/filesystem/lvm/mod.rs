//! LVM2: a physical volume is captured by what its logical volumes hold.
//!
//! Invariants:
//!
//! - Everything outside the extents (label, metadata, boot loader area, what lies behind the last extent) is used.
//! - A logical volume that is one stretch after the other on this physical volume, and that nothing is built on, is
//!   used as far as its file system is. Every other one is used as a whole: mirrors, RAID, snapshots, pools, caches,
//!   swap space, what is not clean, what nobody understands.
//! - Extents of no logical volume are free.
//! - Where there is any doubt about the metadata, there is no map, and the physical volume is captured whole. That
//!   holds for groups of several physical volumes as well: whether the metadata here are the newest, only the others
//!   could say.

mod group;
mod label;
mod mapped;
mod text;

use super::Reading;
use crate::blockio::ReadAt;
use crate::schema::{FileSystemKind, State};
use crate::units::{ByteRange, RangeSet};
use group::LogicalVolume;
use mapped::Mapped;

/// Adds the map to what the signature says about a physical volume, where there can be one.
pub(super) fn with_map(volume: &dyn ReadAt, mut reading: Reading) -> Reading {
    let size_bytes = volume.size_bytes();
    let group = label::read(volume).and_then(|found| group::read(&found, size_bytes));
    let Some(group) = group else { return reading };
    let mut used = RangeSet::of(ByteRange::new(0, size_bytes));
    used.remove(group.data);
    for logical in &group.volumes {
        let (places, finding) = used_of(volume, logical);
        used = used.union(&places);
        let about =
            finding.map(|finding| format!("logical volume {}/{} {finding}", group.name, logical.name));
        reading.file_system.findings.extend(about);
    }
    reading.file_system.label = Some(group.name);
    reading.file_system.block_size_bytes = group.extent_bytes;
    reading.file_system.used_bytes = Some(used.total_bytes());
    reading.used = Some(used);
    reading
}

/// The bytes of a logical volume that are used, on the physical one, and what is to be said about it.
fn used_of(volume: &dyn ReadAt, logical: &LogicalVolume) -> (RangeSet, Option<String>) {
    let whole = || logical.places.iter().copied().collect::<RangeSet>();
    if !logical.is_plain {
        return (whole(), None);
    }
    let mapped = Mapped::new(volume, &logical.places);
    // A physical volume in a logical one is not looked into.
    if label::read(&mapped).is_some() {
        return (whole(), None);
    }
    match super::read(&mapped) {
        Ok(Some(Reading { file_system, used: Some(used) }))
            if file_system.state == State::Clean && file_system.kind != FileSystemKind::LvmPhysicalVolume =>
        {
            (mapped.on_physical(&used), None)
        }
        Ok(Some(Reading { file_system, .. })) if file_system.state != State::Clean => {
            let (kind, state) = (file_system.kind, file_system.state);
            (whole(), Some(format!("is captured whole, because its {kind} is {state}")))
        }
        Ok(_) => (whole(), None),
        Err(error) => (whole(), Some(format!("is captured whole, because it could not be read: {error}"))),
    }
}
