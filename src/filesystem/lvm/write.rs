//! The bytes that make volumes the physical volumes of a group: label, metadata area and text.
//!
//! ```text
//! 512    the label, written last          4096   head of the metadata area
//!        the rest of the first 4 KiB      4608   the text, once; the area ends where the extents begin
//!        stays as it is
//! ```
//!
//! A physical volume whose extents begin too early for two texts gets no area; one of the group has to have room.

use super::label::{CRC_SEED, MAGIC, MOST_TEXT_BYTES, SECTOR};
use super::volume::{KEPT_FLAGS, KEPT_STATUS, kept};
use crate::schema::{LogicalVolume, PhysicalVolume, Segment, VolumeGroup};
use crate::units::checksum::crc32;
use crate::units::u64_from;
use std::fmt::Write as _;

/// Where the metadata area begins.
const AREA: u64 = 4096;
/// Metadata count in sectors of this size.
const SECTOR_BYTES: u64 = 512;

/// Bytes to be written to a physical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// First byte on the physical volume.
    pub at: u64,
    /// What stands there.
    pub bytes: Vec<u8>,
}

/// Why a group cannot be described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No physical volume has the room.
    #[error(
        "the {text_bytes} bytes that describe the volume group {group} find room in front of the extents of none of its \
         physical volumes"
    )]
    NoRoom {
        /// Name of the group.
        group: String,
        /// What is needed.
        text_bytes: u64,
    },
    /// Something in it cannot be written down.
    #[error("the volume group {group} cannot be described: {fact}")]
    Unfit {
        /// Name of the group.
        group: String,
        /// What.
        fact: String,
    },
}

/// The pieces of each physical volume, in the order in which they are written: the label is the last.
///
/// # Errors
/// [`WriteError`] where the description has no place, or the group contradicts itself.
pub fn pieces(group: &VolumeGroup, device_bytes: &[u64]) -> Result<Vec<Vec<Piece>>, WriteError> {
    let unfit = |fact: &str| WriteError::Unfit { group: group.name.clone(), fact: fact.to_owned() };
    if device_bytes.len() != group.physical_volumes.len() {
        return Err(unfit("the sizes of its physical volumes are not known"));
    }
    let mut text = text(group, device_bytes);
    text.push('\0');
    let text_bytes = u64_from(text.len());
    let mut all = Vec::new();
    let mut described = false;
    for (physical, device_bytes) in group.physical_volumes.iter().zip(device_bytes) {
        let own =
            pieces_of(physical, *device_bytes, text.as_bytes()).ok_or_else(|| unfit("a UUID is none"))?;
        described |= own.len() > 1;
        all.push(own);
    }
    if described { Ok(all) } else { Err(WriteError::NoRoom { group: group.name.clone(), text_bytes }) }
}

/// The pieces of one physical volume: area and label, or the label alone where an area has no room.
pub(super) fn pieces_of(physical: &PhysicalVolume, device_bytes: u64, text: &[u8]) -> Option<Vec<Piece>> {
    let text_bytes = u64_from(text.len());
    // LVM writes its next text behind this one.
    let area_bytes = (physical.start_bytes.saturating_sub(AREA) / SECTOR_BYTES).saturating_mul(SECTOR_BYTES);
    let needed = text_bytes.saturating_mul(2).saturating_add(u64_from(SECTOR));
    let has_area = needed <= area_bytes && text_bytes <= MOST_TEXT_BYTES;
    let mut own = Vec::new();
    if has_area {
        let mut bytes = area_head(area_bytes, text);
        bytes.extend_from_slice(text);
        own.push(Piece { at: AREA, bytes });
    }
    let bytes = label(physical, device_bytes, has_area.then_some(area_bytes))?;
    own.push(Piece { at: u64_from(SECTOR), bytes });
    Some(own)
}

/// Puts bytes at an offset of a sector.
fn put(sector: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    sector.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

fn label(physical: &PhysicalVolume, device_bytes: u64, area_bytes: Option<u64>) -> Option<Vec<u8>> {
    let uuid = physical.uuid.replace('-', "");
    if uuid.len() != 32 {
        return None;
    }
    let mut numbers = vec![device_bytes, physical.start_bytes, 0, 0, 0];
    if let Some(area_bytes) = area_bytes {
        numbers.extend([AREA, area_bytes]);
    }
    numbers.extend([0, 0]);
    let mut tail: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    // The extension: its version, the mark of a physical volume that is in a group, no boot loader area.
    tail.extend([2u32, 1].iter().flat_map(|number| number.to_le_bytes()));
    tail.extend([0; 16]);
    let mut sector = vec![0; SECTOR];
    put(&mut sector, 0, b"LABELONE")?;
    put(&mut sector, 8, &1u64.to_le_bytes())?;
    put(&mut sector, 20, &32u32.to_le_bytes())?;
    put(&mut sector, 24, b"LVM2 001")?;
    put(&mut sector, 32, uuid.as_bytes())?;
    put(&mut sector, 64, &tail)?;
    let checksum = crc32(CRC_SEED, sector.get(20..)?);
    put(&mut sector, 16, &checksum.to_le_bytes())?;
    Some(sector)
}

fn area_head(area_bytes: u64, text: &[u8]) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(1u32.to_le_bytes());
    for number in [AREA, area_bytes, u64_from(SECTOR), u64_from(text.len())] {
        head.extend(number.to_le_bytes());
    }
    head.extend(crc32(CRC_SEED, text).to_le_bytes());
    head.resize(SECTOR.saturating_sub(4), 0);
    let mut bytes = crc32(CRC_SEED, &head).to_le_bytes().to_vec();
    bytes.append(&mut head);
    bytes
}

/// The text of a group.
fn text(group: &VolumeGroup, device_bytes: &[u64]) -> String {
    let mut text = format!(
        "{} {{\nid = \"{}\"\nseqno = {}\nformat = \"lvm2\"\n",
        group.name, group.uuid, group.sequence
    );
    list(&mut text, "status", &group.status);
    list(&mut text, "flags", &[]);
    tags(&mut text, &group.tags);
    optional(&mut text, "system_id", group.system_id.as_deref());
    let _ = writeln!(text, "extent_size = {}\nmax_lv = 0\nmax_pv = 0", group.extent_bytes / SECTOR_BYTES);
    optional(&mut text, "allocation_policy", group.allocation_policy.as_deref());
    text.push_str("metadata_copies = 0\n\nphysical_volumes {\n");
    for (number, (physical, bytes)) in group.physical_volumes.iter().zip(device_bytes).enumerate() {
        let _ = writeln!(text, "pv{number} {{\nid = \"{}\"\ndevice = \"unknown\"", physical.uuid);
        list(&mut text, "status", &physical.status);
        list(&mut text, "flags", &[]);
        tags(&mut text, &physical.tags);
        let (size, start) = (bytes / SECTOR_BYTES, physical.start_bytes / SECTOR_BYTES);
        let _ = writeln!(text, "dev_size = {size}\npe_start = {start}\npe_count = {}\n}}", physical.extents);
    }
    text.push_str("}\n\n");
    if !group.logical_volumes.is_empty() {
        text.push_str("logical_volumes {\n");
        group.logical_volumes.iter().for_each(|logical| logical_text(&mut text, logical));
        text.push_str("}\n");
    }
    text.push_str(
        "}\ncontents = \"Text Format Volume Group\"\nversion = 1\ndescription = \"Deployed by Remint\"\n",
    );
    text
}

fn logical_text(text: &mut String, logical: &LogicalVolume) {
    let _ = writeln!(text, "{} {{\nid = \"{}\"", logical.name, logical.uuid);
    list(text, "status", &kept(&logical.status, &KEPT_STATUS));
    list(text, "flags", &kept(&logical.flags, &KEPT_FLAGS));
    tags(text, &logical.tags);
    if let Some(time) = logical.creation_time {
        let _ = writeln!(text, "creation_time = {time}");
    }
    optional(text, "creation_host", logical.creation_host.as_deref());
    optional(text, "allocation_policy", logical.allocation_policy.as_deref());
    let _ = writeln!(text, "segment_count = {}", logical.segments.len());
    let mut start = 0u64;
    for (number, segment) in (1u64..).zip(&logical.segments) {
        segment_text(text, number, start, segment);
        start = start.saturating_add(segment.extents);
    }
    text.push_str("}\n");
}

fn segment_text(text: &mut String, number: u64, start: u64, segment: &Segment) {
    let (extents, count) = (segment.extents, segment.stripes.len());
    let _ = writeln!(text, "segment{number} {{\nstart_extent = {start}\nextent_count = {extents}");
    let _ = writeln!(text, "type = \"striped\"\nstripe_count = {count}");
    if count > 1 {
        let _ = writeln!(text, "stripe_size = {}", segment.stripe_bytes / SECTOR_BYTES);
    }
    let stripes: Vec<String> = segment
        .stripes
        .iter()
        .map(|stripe| format!("\"pv{}\", {}", stripe.physical_volume, stripe.first_extent))
        .collect();
    let _ = writeln!(text, "stripes = [\n{}\n]\n}}", stripes.join(",\n"));
}

fn list(text: &mut String, name: &str, words: &[String]) {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let _ = writeln!(text, "{name} = [{}]", words.join(", "));
}

/// Tags are left out where there are none, as LVM does.
fn tags(text: &mut String, tags: &[String]) {
    if !tags.is_empty() {
        list(text, "tags", tags);
    }
}

fn optional(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = writeln!(text, "{name} = {}", quoted(value));
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
