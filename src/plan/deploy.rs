//! What a deploy will do, as a value.

use crate::machine::MachineDisk;
use crate::schema::{FileSystemKind, FreeSpace, Layout, Table};
use crate::units::ByteRange;
use serde::Serialize;

/// What a person chooses about a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeployOptions {
    /// How partitions are laid out.
    pub layout: Layout,
    /// What happens to space that nothing occupies.
    pub free_space: FreeSpace,
    /// False: file systems stay at their captured size ("don't expand volumes").
    pub expand: bool,
}

/// Everything that a deploy will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployPlan {
    /// Name of the image.
    pub image: String,
    /// Its version.
    pub version: String,
    /// One plan for each target disk.
    pub disks: Vec<DiskPlan>,
}

/// What is done to one target disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskPlan {
    /// Number of the disk within the image.
    pub source_number: u32,
    /// Size of the disk that was captured.
    pub source_bytes: u64,
    /// The disk that is overwritten.
    pub target: MachineDisk,
    /// The method that made the layout.
    pub layout: Layout,
    /// The smallest disk, in bytes, that this image fits on with this method and sector size.
    pub minimum_disk_bytes: u64,
    /// Areas that are zeroed first, so that no old signature or table survives: ascending, disjoint.
    pub clear: Vec<ByteRange>,
    /// What happens to free space.
    pub free_space: Clearing,
    /// What is written to the volumes, in disk order.
    pub volumes: Vec<VolumePlan>,
    /// The table that is written at the end, with the target's sector numbers.
    pub table: Table,
    /// What a person should know before confirming.
    pub warnings: Vec<String>,
}

/// How free space is treated, with everything about the device known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clearing {
    /// The whole disk is discarded before anything is written.
    Discard,
    /// What stood there stays there.
    Keep,
    /// Everything that no used block occupies is overwritten with zeros.
    Zero,
}

/// What is done with one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumePlan {
    /// Its name in the image.
    pub volume: String,
    /// Number of its partition in the target's table, if it is one.
    pub partition: Option<u32>,
    /// Its bytes on the target disk.
    pub place: ByteRange,
    /// What is written there.
    pub action: VolumeAction,
    /// How its file system changes size afterwards.
    pub resize: Option<Resize>,
    /// Why it has this place and size: a sentence.
    pub reason: String,
}

/// What is written to a volume's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum VolumeAction {
    /// The used blocks, at the offset they were captured from.
    Write,
    /// Of a boot area, only these bytes of the captured stretch: what stands between the table and the
    /// first partition. Byte offsets are the same on both disks.
    WriteGap {
        /// The bytes, from the start of the disk.
        gap: ByteRange,
    },
    /// A new swap header with the captured UUID and label.
    RecreateSwap,
    /// Nothing: the volume was left out of the capture.
    LeaveEmpty,
}

/// A change of size of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "resize", rename_all = "kebab-case")]
pub enum Resize {
    /// Grow it to the size of its volume.
    Grow {
        /// Which file system.
        kind: FileSystemKind,
        /// Its captured size in bytes.
        from_bytes: u64,
        /// The size of its volume in bytes.
        to_bytes: u64,
    },
}
