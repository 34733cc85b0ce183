//! The metadata of a group as they stand in one text: itself, its physical volumes, its logical volumes.

use super::text::{self, Node, Section};
use super::volume::{self, Logical};
use crate::schema::{is_lvm_name, is_lvm_word};
use crate::units::ByteRange;

/// Extents and addresses are counted in sectors of this size, whatever those of the disk.
pub(super) const SECTOR_BYTES: u64 = 512;
/// More extents than this no physical volume has (LVM2 counts them in 32 bits).
const MOST_EXTENTS: u64 = 1 << 32;
/// More physical volumes than this no group has.
const MOST_MEMBERS: usize = 4096;

/// What one text says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its name.
    pub name: String,
    /// 32 characters.
    pub uuid: String,
    /// Which of several texts is the newest.
    pub sequence: u64,
    pub extent_bytes: u64,
    pub status: Vec<String>,
    pub tags: Vec<String>,
    pub system_id: Option<String>,
    pub allocation_policy: Option<String>,
    /// By their names in the text.
    pub members: Vec<Member>,
    /// Those that people see, by name.
    pub volumes: Vec<Logical>,
    /// Why the group cannot be captured by its volumes, where the text says so: a clause.
    pub problem: Option<String>,
}

/// A physical volume as the text describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// 32 characters.
    pub uuid: String,
    /// The bytes that are cut into extents.
    pub data: ByteRange,
    pub extents: u64,
    pub status: Vec<String>,
    pub tags: Vec<String>,
    /// True where it was not there when the group was last changed: what it holds is old.
    pub was_missing: bool,
    /// The device that it was when the text was written.
    pub device: Option<String>,
}

/// Understands a text; `None` where there is any doubt.
pub(super) fn read(text: &str) -> Option<Group> {
    let root = text::parse(text)?;
    let mut sections = root.iter().filter_map(|(name, node)| match node {
        Node::Section(section) => Some((name, section)),
        _ => None,
    });
    let (Some((name, group)), None) = (sections.next(), sections.next()) else { return None };
    let extent_bytes =
        text::number(group, "extent_size")?.checked_mul(SECTOR_BYTES).filter(|size| *size > 0)?;
    let physical = text::section(group, "physical_volumes")?;
    if !is_lvm_name(name) || physical.len() > MOST_MEMBERS {
        return None;
    }
    let names: Vec<&str> = physical.keys().map(String::as_str).collect();
    let members: Vec<Member> = physical
        .values()
        .map(|node| if let Node::Section(section) = node { member(section, extent_bytes) } else { None })
        .collect::<Option<_>>()?;
    let none = Section::new();
    let volumes = match group.get("logical_volumes") {
        None => &none,
        Some(Node::Section(volumes)) => volumes,
        Some(_) => return None,
    };
    let status = words(group, "status")?;
    Some(Group {
        name: name.clone(),
        uuid: uuid(group)?,
        sequence: text::number(group, "seqno")?,
        extent_bytes,
        problem: problem(group, &status),
        status,
        tags: words(group, "tags")?,
        system_id: optional(group, "system_id")?,
        allocation_policy: optional(group, "allocation_policy")?,
        volumes: volume::read_all(volumes, &names, &members)?,
        members,
    })
}

fn member(section: &Section, extent_bytes: u64) -> Option<Member> {
    let start = text::number(section, "pe_start")?.checked_mul(SECTOR_BYTES)?;
    let extents = text::number(section, "pe_count").filter(|count| *count <= MOST_EXTENTS)?;
    let (status, flags) = (words(section, "status")?, words(section, "flags")?);
    Some(Member {
        uuid: uuid(section)?,
        data: ByteRange::at(start, extents.checked_mul(extent_bytes)?)?,
        extents,
        tags: words(section, "tags")?,
        // LVM reads it as a word of the state too.
        was_missing: status.iter().chain(&flags).any(|word| word == "MISSING"),
        status,
        // Only a hint: whatever stands there is no doubt.
        device: text::text(section, "device").map(|device| device.escape_debug().take(100).collect()),
    })
}

/// What keeps a group from being captured by its volumes.
fn problem(group: &Section, status: &[String]) -> Option<String> {
    let lock = text::text(group, "lock_type").unwrap_or("none");
    if lock != "none" || status.iter().any(|word| word == "CLUSTERED" || word == "SHARED") {
        return Some("several machines share it".to_owned());
    }
    let known = |word: &&String| !["RESIZEABLE", "READ", "WRITE", "EXPORTED"].contains(&word.as_str());
    status.iter().find(known).map(|word| format!("it is in the state {word}"))
}

/// A UUID without its dashes.
pub(super) fn uuid(section: &Section) -> Option<String> {
    let uuid = text::text(section, "id")?.replace('-', "");
    (uuid.len() == 32 && uuid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"#!".contains(&byte)))
        .then_some(uuid)
}

/// Words that LVM writes in capitals, or tags.
pub(super) fn words(section: &Section, name: &str) -> Option<Vec<String>> {
    text::words(section, name).filter(|words| words.iter().all(|word| is_lvm_word(word)))
}

/// A text that need not be there.
pub(super) fn optional(section: &Section, name: &str) -> Option<Option<String>> {
    match section.get(name) {
        None => Some(None),
        Some(Node::Text(text)) if text.len() <= 1024 && !text.chars().any(char::is_control) => {
            Some(Some(text.clone()))
        }
        Some(_) => None,
    }
}
