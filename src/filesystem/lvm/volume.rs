//! The logical volumes of a group, and of which extents each is made.

use super::group::{self, Member};
use super::text::{self, Node, Section};
use crate::schema::{Segment, Stripe, is_lvm_name};
use crate::units::u64_from;
use std::collections::BTreeMap;

/// Of so many copies a mirror has at most.
const MOST_LEGS: usize = 64;
/// Words of a volume's state that mean the same for one that is made of extents alone. A word that says more, as
/// `LOCKED`, would make LVM refuse a volume that has become linear, or its whole group.
pub(super) const KEPT_STATUS: [&str; 3] = ["READ", "WRITE", "VISIBLE"];
/// The same of its flags.
pub(super) const KEPT_FLAGS: [&str; 2] = ["ACTIVATION_SKIP", "WRITE_LOCKED"];

/// A logical volume that people see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logical {
    pub name: String,
    /// 32 characters.
    pub uuid: String,
    pub status: Vec<String>,
    pub flags: Vec<String>,
    pub tags: Vec<String>,
    pub allocation_policy: Option<String>,
    pub creation_time: Option<u64>,
    pub creation_host: Option<String>,
    pub extents: u64,
    pub made: Made,
    /// True where a snapshot is built on its present content.
    pub is_origin: bool,
}

/// How a logical volume is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Made {
    /// Of extents.
    Extents(Vec<Segment>),
    /// Of copies, any of which is the content where it is in step with the others.
    Legs(Vec<Leg>),
    /// Of what only the kernel maps: what it is, as `a thin volume`.
    Kernel(String),
}

/// One copy of a mirrored volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    pub data: Vec<Segment>,
    /// Where its state stands; `None` for a copy that the metadata alone call good.
    pub state: Option<Vec<Segment>>,
    /// False where it is no plain stretch of extents (lost, or kept with checksums), or is being made anew.
    pub may_be_read: bool,
    /// True where the kernel writes it later than the others (`WRITEMOSTLY`).
    pub is_written_late: bool,
}

/// The volumes of a group, by name; `None` where there is any doubt.
pub(super) fn read_all(volumes: &Section, names: &[&str], members: &[Member]) -> Option<Vec<Logical>> {
    let read = Reader { volumes, names, members };
    let mut found = Vec::new();
    let mut extents = Vec::new();
    for (name, node) in volumes {
        let Node::Section(section) = node else { return None };
        if let Some(segments) = read.plain(section)? {
            extents.extend(read.places(&segments)?);
        }
        found.extend(read.visible(name, section)?);
    }
    // No extent belongs to two volumes.
    extents.sort_unstable();
    let apart = extents.iter().zip(extents.iter().skip(1)).all(|(one, next)| {
        one.0 != next.0 || one.1.checked_add(one.2).is_some_and(|behind| behind <= next.1)
    });
    apart.then_some(found)
}

struct Reader<'a> {
    volumes: &'a Section,
    /// Names of the physical volumes in the text.
    names: &'a [&'a str],
    members: &'a [Member],
}

impl Reader<'_> {
    /// A volume that people see and that has content of its own; no pool, and no note that one is a snapshot.
    fn visible(&self, name: &str, section: &Section) -> Option<Option<Logical>> {
        let segments = segments(section)?;
        let kinds: Vec<&str> =
            segments.iter().map(|segment| text::text(segment, "type")).collect::<Option<_>>()?;
        let is_pool = kinds.iter().any(|kind| {
            // Behind a plus sign stands what an older LVM would not understand of a kind.
            let kind = kind.split('+').next().unwrap_or_default();
            kind.ends_with("-pool") || kind == "snapshot"
        });
        let snapshot = self.snapshot_extents(name);
        let mut status = group::words(section, "status")?;
        if snapshot.is_some() && !status.iter().any(|word| word == "VISIBLE") {
            // LVM shows it, but does not write so.
            status.push("VISIBLE".to_owned());
        }
        if is_pool || !status.iter().any(|word| word == "VISIBLE") {
            return Some(None);
        }
        let mut sizes = segments.iter().map(|segment| text::number(segment, "extent_count"));
        let extents = sizes.try_fold(0u64, |sum, extents| sum.checked_add(extents?));
        // A snapshot is as large as what it was taken of; its own extents hold what changed since.
        let extents = snapshot.or(extents).filter(|extents| *extents > 0)?;
        let made = self.made(name, section, &segments, &kinds)?;
        let made = match status.iter().find(|word| !is_understood(word, &made)) {
            Some(word) => Made::Kernel(in_state(word)),
            None => made,
        };
        let time = text::number(section, "creation_time");
        Some(
            Some(Logical {
                name: name.to_owned(),
                uuid: group::uuid(section)?,
                status: kept(&status, &KEPT_STATUS),
                flags: kept(&group::words(section, "flags")?, &KEPT_FLAGS),
                tags: group::words(section, "tags")?,
                allocation_policy: group::optional(section, "allocation_policy")?,
                creation_time: time,
                creation_host: group::optional(section, "creation_host")?,
                extents,
                made,
                is_origin: self.is_origin(name),
            })
            .filter(|logical| is_lvm_name(&logical.name)),
        )
    }

    fn made(&self, name: &str, section: &Section, segments: &[&Section], kinds: &[&str]) -> Option<Made> {
        if let Some(what) = self.used_by(name) {
            return Some(Made::Kernel(what.to_owned()));
        }
        if let Some(segments) = self.plain(section)? {
            return Some(Made::Extents(segments));
        }
        match (segments, kinds) {
            ([segment], ["mirror"]) => self.mirror(segment),
            ([segment], ["raid1"]) => self.raid1(segment).map(Made::Legs),
            (_, [kind, ..]) => {
                Some(Made::Kernel(described(kinds.iter().find(|k| **k != "striped").unwrap_or(kind))))
            }
            _ => None,
        }
    }

    /// True where other volumes hold only what differs from this one.
    fn is_origin(&self, name: &str) -> bool {
        let mut all = self.all_segments();
        all.any(|segment| {
            let of = |key: &str| segment.get(key).is_some_and(|value| names(value, name));
            of("origin") || of("external_origin")
        })
    }

    /// The size of a volume that is a snapshot: what it was taken of is noted in a volume of its own.
    fn snapshot_extents(&self, name: &str) -> Option<u64> {
        let mut all = self.all_segments();
        let of = all.find(|segment| {
            text::text(segment, "type") == Some("snapshot") && text::text(segment, "cow_store") == Some(name)
        });
        text::number(of?, "extent_count")
    }

    /// The segments of all volumes.
    fn all_segments(&self) -> impl Iterator<Item = &Section> {
        let sections = self.volumes.values().filter_map(|node| match node {
            Node::Section(section) => segments(section),
            _ => None,
        });
        sections.flatten()
    }

    /// What a volume is to another one, where that means that its extents are not its content.
    fn used_by(&self, name: &str) -> Option<&'static str> {
        self.all_segments().find_map(|segment| {
            segment.iter().find_map(|(key, value)| match key.as_str() {
                // Words of LVM's own, which may be names of volumes too.
                "type" | "tags" | "flags" | "discards" | "cache_mode" | "policy" | "write_policy" => None,
                // A physical volume of that name counts before a logical one.
                "stripes" | "mirrors" if self.names.contains(&name) => None,
                "cow_store" | "merging_store" if names(value, name) => Some("a snapshot"),
                "origin" if names(value, name) && segment.contains_key("merging_store") => {
                    Some("a volume that is set back to a snapshot")
                }
                // The volume of which a snapshot was taken has the present content.
                "origin" | "external_origin" => None,
                _ if names(value, name) => Some("a part of another volume"),
                _ => None,
            })
        })
    }

    /// The extents of a volume that is made of nothing else; `Some(None)` where it is made of other things.
    fn plain(&self, section: &Section) -> Option<Option<Vec<Segment>>> {
        let mut placed = BTreeMap::new();
        for segment in segments(section)? {
            if text::text(segment, "type")? != "striped" {
                return Some(None);
            }
            let start = text::number(segment, "start_extent")?;
            let Some(read) = self.striped(segment)? else { return Some(None) };
            if placed.insert(start, read).is_some() {
                return None;
            }
        }
        let mut behind = 0u64;
        for (start, segment) in &placed {
            if *start != behind {
                return None;
            }
            behind = start.checked_add(segment.extents)?;
        }
        Some(Some(placed.into_values().collect()))
    }

    /// `Some(None)` where a stripe is another volume, as while extents are moved.
    fn striped(&self, segment: &Section) -> Option<Option<Segment>> {
        let stripes = pairs(segment, "stripes")?;
        let count = text::number(segment, "stripe_count")?;
        if u64_from(stripes.len()) != count {
            return None;
        }
        if stripes.iter().any(|(name, _)| !self.names.contains(name) && self.volumes.contains_key(*name)) {
            return Some(None);
        }
        let stripe_bytes = match count {
            1 => 0,
            _ => text::number(segment, "stripe_size")?
                .checked_mul(group::SECTOR_BYTES)
                .filter(|bytes| *bytes > 0)?,
        };
        let stripe = |(name, first): &(&str, u64)| self.stripe(name, *first);
        let read = Segment {
            extents: text::number(segment, "extent_count")?,
            stripe_bytes,
            stripes: stripes.iter().map(stripe).collect::<Option<_>>()?,
        };
        self.places(std::slice::from_ref(&read)).map(|_| Some(read))
    }

    fn stripe(&self, name: &str, first_extent: u64) -> Option<Stripe> {
        let position = self.names.iter().position(|known| *known == name)?;
        Some(Stripe { physical_volume: u32::try_from(position).ok()?, first_extent })
    }

    /// Physical volume, first extent and number of extents of every stripe; `None` where one is not there.
    fn places(&self, segments: &[Segment]) -> Option<Vec<(u32, u64, u64)>> {
        let mut places = Vec::new();
        for segment in segments {
            let each = segment.extents_each().filter(|each| *each > 0)?;
            for stripe in &segment.stripes {
                let position = usize::try_from(stripe.physical_volume).ok()?;
                let behind = stripe.first_extent.checked_add(each)?;
                self.members.get(position).filter(|member| behind <= member.extents)?;
                places.push((stripe.physical_volume, stripe.first_extent, each));
            }
        }
        Some(places)
    }

    /// Copies that the kernel's older mirror keeps: what is not in step is copied from the first. That one is a mirror
    /// itself while a copy is added.
    fn mirror(&self, segment: &Section) -> Option<Made> {
        let (name, first) = *pairs(segment, "mirrors")?.first()?;
        let extents = text::number(segment, "extent_count")?;
        let data = match self.stripe(name, first) {
            Some(stripe) => Some(vec![Segment { extents, stripe_bytes: 0, stripes: vec![stripe] }]),
            None => self.part(name)?,
        };
        let Some(data) = data else {
            return Some(Made::Kernel("a mirror that is being made or changed".to_owned()));
        };
        self.places(&data)?;
        Some(Made::Legs(vec![Leg { data, state: None, may_be_read: true, is_written_late: false }]))
    }

    /// Copies of RAID1, each with a volume that holds its state.
    fn raid1(&self, segment: &Section) -> Option<Vec<Leg>> {
        let parts = text::words(segment, "raids")?;
        let (pairs, rest) = parts.as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() || pairs.len() > MOST_LEGS {
            return None;
        }
        let leg = |[state, data]: &[String; 2]| {
            let status = group::words(text::section(self.volumes, data)?, "status")?;
            let understood = |word: &String| KEPT_STATUS.contains(&word.as_str()) || word == "WRITEMOSTLY";
            let (data, state) = (self.part(data)?, self.part(state)?);
            Some(Leg {
                may_be_read: data.is_some() && status.iter().all(understood),
                is_written_late: status.iter().any(|word| word == "WRITEMOSTLY"),
                data: data.unwrap_or_default(),
                state: Some(state.unwrap_or_default()),
            })
        };
        pairs.iter().map(leg).collect()
    }

    /// The extents of a volume that is a part of another one; `Some(None)` where it is made of other things.
    fn part(&self, name: &str) -> Option<Option<Vec<Segment>>> {
        self.plain(text::section(self.volumes, name)?)
    }
}

/// The words that are known, of some.
pub(super) fn kept(words: &[String], known: &[&str]) -> Vec<String> {
    words.iter().filter(|word| known.contains(&word.as_str())).cloned().collect()
}

/// Whether a word of a volume's state takes nothing from what was understood of it. Copies that were never made equal
/// (`NOTSYNCED`) differ only where nobody wrote.
fn is_understood(word: &str, made: &Made) -> bool {
    KEPT_STATUS.contains(&word)
        || word == "FIXED_MINOR"
        || (word == "NOTSYNCED" && matches!(made, Made::Legs(_)))
        || matches!(made, Made::Kernel(_))
}

fn in_state(word: &str) -> String {
    match word {
        "LOCKED" => "a volume whose extents are being moved".to_owned(),
        word => format!("a volume in the state {}", word.chars().take(40).collect::<String>()),
    }
}

/// The segments of a volume, as many as it says.
fn segments(volume: &Section) -> Option<Vec<&Section>> {
    let count = text::number(volume, "segment_count")?;
    let number = |name: &str| name.strip_prefix("segment").is_some_and(|rest| rest.parse::<u64>().is_ok());
    let segments: Vec<&Section> = volume
        .iter()
        .filter(|(name, _)| number(name))
        .map(|(_, node)| if let Node::Section(segment) = node { Some(segment) } else { None })
        .collect::<Option<_>>()?;
    (u64_from(segments.len()) == count && count > 0).then_some(segments)
}

/// A list of names, each with a number.
fn pairs<'a>(segment: &'a Section, name: &str) -> Option<Vec<(&'a str, u64)>> {
    let (pairs, rest) = text::list(segment, name)?.as_chunks::<2>();
    let pair = |[name, number]: &'a [Node; 2]| match (name, number) {
        (Node::Text(name), Node::Number(number)) => Some((name.as_str(), u64::try_from(*number).ok()?)),
        _ => None,
    };
    if rest.is_empty() { pairs.iter().map(pair).collect() } else { None }
}

/// True where a value is this name, or a list that has it.
fn names(value: &Node, name: &str) -> bool {
    match value {
        Node::Text(text) => text == name,
        Node::List(list) => list.iter().any(|node| names(node, name)),
        Node::Number(_) | Node::Section(_) => false,
    }
}

fn described(kind: &str) -> String {
    match kind.split('+').next().unwrap_or_default() {
        "thin" => "a thin volume".to_owned(),
        "cache" | "writecache" => "a cached volume".to_owned(),
        "vdo" => "a VDO volume".to_owned(),
        "striped" if kind == "striped" => "a volume whose extents are being moved".to_owned(),
        "error" => "a volume that lost a part".to_owned(),
        _ => format!("a volume of the kind {}", kind.chars().take(40).collect::<String>()),
    }
}
