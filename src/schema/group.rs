//! A volume group of LVM2 and its logical volumes.

use super::{Role, Volume};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A volume group whose logical volumes are captured one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeGroup {
    /// Number within the image, from 0.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// UUID as LVM prints it: 32 characters in seven groups.
    pub uuid: String,
    /// How often its metadata were changed.
    pub sequence: u64,
    /// Size of an extent.
    pub extent_bytes: u64,
    /// Words such as `RESIZEABLE`, `READ`, `WRITE`.
    pub status: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// The system that may use it, where only one may.
    pub system_id: Option<String>,
    /// How space is found for its volumes, where it is not the usual way.
    pub allocation_policy: Option<String>,
    /// Its physical volumes, in the order of their volumes in the image.
    pub physical_volumes: Vec<PhysicalVolume>,
    /// Its logical volumes, by name.
    pub logical_volumes: Vec<LogicalVolume>,
}

/// A partition or disk that belongs to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhysicalVolume {
    /// The volume that it is: `d0-p2`.
    pub volume: String,
    /// UUID as LVM prints it.
    pub uuid: String,
    /// Where its first extent begins, from the start of the volume.
    pub start_bytes: u64,
    /// Number of its extents.
    pub extents: u64,
    /// Words such as `ALLOCATABLE`.
    pub status: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogicalVolume {
    /// Its name within the group.
    pub name: String,
    /// UUID as LVM prints it.
    pub uuid: String,
    /// How it was made of physical volumes.
    pub mapping: Mapping,
    /// Words such as `READ`, `WRITE`, `VISIBLE`.
    pub status: Vec<String>,
    /// Words such as `ACTIVATION_SKIP`.
    pub flags: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// How space is found for it, where it is not the usual way.
    pub allocation_policy: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_time: Option<u64>,
    /// On which system it was made.
    pub creation_host: Option<String>,
    /// The extents that its content was read from, in its own order; none where the kernel's mapping was read.
    pub segments: Vec<Segment>,
    /// What is captured: its name in the image, such as `g0-l1`, its size and its content.
    pub volume: Volume,
}

/// How a logical volume was made of physical ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// Stretches, one after the other.
    Linear,
    /// Stretches of which some alternate between physical volumes.
    Striped,
    /// Several copies, of which one was read.
    Mirrored,
    /// What only the kernel maps: thin and cache volumes, snapshots, the other kinds of RAID.
    Kernel,
}

/// A run of extents of a logical volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// How many.
    pub extents: u64,
    /// Bytes after which the next stripe follows; 0 where there is only one.
    pub stripe_bytes: u64,
    /// Where they lie: as many each.
    pub stripes: Vec<Stripe>,
}

/// The extents of one physical volume in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripe {
    /// Position of the physical volume in its group.
    pub physical_volume: u32,
    /// The first of its extents.
    pub first_extent: u64,
}

impl Segment {
    /// Extents that every stripe has; `None` where they are not shared evenly.
    #[must_use]
    pub fn extents_each(&self) -> Option<u64> {
        let count = u64::try_from(self.stripes.len()).ok()?;
        self.extents.checked_div(count).filter(|each| each.checked_mul(count) == Some(self.extents))
    }
}

/// True for a UUID as LVM prints it: 32 characters in groups of 6, 4, 4, 4, 4, 4 and 6.
#[must_use]
pub fn is_lvm_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"#!-".contains(&byte);
    groups == [6, 4, 4, 4, 4, 4, 6] && text.bytes().all(fit)
}

/// True for a name that a group or a logical volume can have: `lvm(8)`, "valid names".
#[must_use]
pub fn is_lvm_name(name: &str) -> bool {
    (1..=127).contains(&name.len())
        && !name.starts_with('-')
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte))
}

/// True for a word of LVM's metadata, such as `READ`, or a tag: nothing in it needs care in a text.
#[must_use]
pub fn is_lvm_word(word: &str) -> bool {
    (1..=1024).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// The unit in which LVM counts.
const SECTOR_BYTES: u64 = 512;

impl VolumeGroup {
    /// What contradicts itself in it: a clause; `None` where nothing does. Where its physical volumes lie is not
    /// asked here.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let words = |words: &[String]| words.iter().all(|word| is_lvm_word(word));
        let text = |text: &Option<String>| {
            text.as_ref().is_none_or(|text| text.len() <= 1024 && !text.chars().any(char::is_control))
        };
        let own = is_lvm_name(&self.name)
            && is_lvm_uuid(&self.uuid)
            && words(&self.status)
            && words(&self.tags)
            && text(&self.system_id)
            && text(&self.allocation_policy);
        if !own || self.extent_bytes == 0 || !self.extent_bytes.is_multiple_of(SECTOR_BYTES) {
            return Some("its name, UUID or extent size is none".to_owned());
        }
        let mut uuids = BTreeSet::from([self.uuid.as_str()]);
        for physical in &self.physical_volumes {
            let sound = is_lvm_uuid(&physical.uuid)
                && uuids.insert(&physical.uuid)
                && physical.start_bytes.is_multiple_of(SECTOR_BYTES)
                && words(&physical.status)
                && words(&physical.tags);
            if !sound {
                return Some(format!("its physical volume {} is not described soundly", physical.volume));
            }
        }
        let mut names = BTreeSet::new();
        for logical in &self.logical_volumes {
            let sound = is_lvm_uuid(&logical.uuid)
                && uuids.insert(&logical.uuid)
                && is_lvm_name(&logical.name)
                && names.insert(logical.name.as_str())
                && words(&logical.status)
                && words(&logical.flags)
                && words(&logical.tags)
                && text(&logical.allocation_policy)
                && text(&logical.creation_host)
                && logical.volume.start_bytes == 0
                && logical.volume.size_bytes > 0
                && logical.volume.size_bytes.is_multiple_of(self.extent_bytes)
                && self.holds(logical);
            if !sound {
                return Some(format!("its volume {} is not described soundly", logical.volume.name));
            }
        }
        None
    }

    /// True where the segments of a logical volume make its size and lie in the physical volumes.
    fn holds(&self, logical: &LogicalVolume) -> bool {
        let mut extents = 0u64;
        for segment in &logical.segments {
            let Some(each) = segment.extents_each().filter(|each| *each > 0) else { return false };
            let striped = segment.stripes.len() > 1;
            let whole = |bytes: u64| bytes > 0 && self.extent_bytes.is_multiple_of(bytes);
            let inside = segment.stripes.iter().all(|stripe| {
                let position = usize::try_from(stripe.physical_volume).ok();
                let physical = position.and_then(|position| self.physical_volumes.get(position));
                let behind = stripe.first_extent.checked_add(each);
                physical.zip(behind).is_some_and(|(physical, behind)| behind <= physical.extents)
            });
            if !inside || (striped && !whole(segment.stripe_bytes)) {
                return false;
            }
            extents = extents.saturating_add(segment.extents);
        }
        let bytes = extents.checked_mul(self.extent_bytes);
        logical.segments.is_empty() || bytes == Some(logical.volume.size_bytes)
    }

    /// The same group with its volumes called as LVM calls them, `GROUP/VOLUME`, whatever its number is.
    #[must_use]
    pub fn under_its_own_names(mut self) -> Self {
        self.number = 0;
        for (number, logical) in (1u32..).zip(&mut self.logical_volumes) {
            logical.volume.name = format!("{}/{}", self.name, logical.name);
            logical.volume.role = Role::Logical { group: 0, number };
        }
        self
    }

    /// True where it is wanted with all its logical volumes. `only` names what is wanted, empty for all: a physical volume stands
    /// for its whole group, and a logical one for itself.
    #[must_use]
    pub fn is_wanted_whole(&self, only: &[String]) -> bool {
        only.is_empty() || self.physical_volumes.iter().any(|physical| only.contains(&physical.volume))
    }

    /// Its logical volumes as volumes.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.logical_volumes.iter().map(|logical| &logical.volume)
    }
}
