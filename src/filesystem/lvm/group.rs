//! A volume group whose only physical volume is at hand: which of its extents belong to whom.

use super::label::Labelled;
use super::text::{self, Node, Section};
use crate::units::ByteRange;
use std::collections::BTreeSet;

/// Extents and addresses are counted in sectors of this size, whatever those of the disk.
const SECTOR_BYTES: u64 = 512;
/// More extents than this no group has (LVM2 counts them in 32 bits).
const MOST_EXTENTS: u64 = 1 << 32;

/// A group of one physical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its name.
    pub name: String,
    /// Size of an extent.
    pub extent_bytes: u64,
    /// The bytes of the physical volume that are cut into extents.
    pub data: ByteRange,
    /// Its logical volumes, also those that are parts of others, by name.
    pub volumes: Vec<LogicalVolume>,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// Its bytes on the physical volume, in its own order.
    pub places: Vec<ByteRange>,
    /// True where these bytes, one after the other, are its content: nothing is built on it, and it is built on
    /// nothing else.
    pub is_plain: bool,
}

/// Understands the metadata of a group for the physical volume that they were found on; `None` where there is any doubt, or
/// where the group has more than this one.
pub(super) fn read(found: &Labelled, size_bytes: u64) -> Option<Group> {
    let root = text::parse(&found.text)?;
    let mut sections = root.iter().filter_map(|(name, node)| match node {
        Node::Section(section) => Some((name, section)),
        _ => None,
    });
    let (Some((name, group)), None) = (sections.next(), sections.next()) else { return None };
    let extent_bytes =
        text::number(group, "extent_size")?.checked_mul(SECTOR_BYTES).filter(|size| *size > 0)?;
    let mut members = text::section(group, "physical_volumes")?.iter();
    let (Some((member, Node::Section(physical))), None) = (members.next(), members.next()) else {
        return None;
    };
    if text::text(physical, "id")?.replace('-', "") != found.uuid {
        return None;
    }
    let start = text::number(physical, "pe_start")?.checked_mul(SECTOR_BYTES)?;
    let count = text::number(physical, "pe_count").filter(|count| *count <= MOST_EXTENTS)?;
    let data = ByteRange::at(start, count.checked_mul(extent_bytes)?)?;
    // The label stands in front, and extents do not lie on what describes them.
    if start < 4 * SECTOR_BYTES
        || data.end() > size_bytes
        || found.areas.iter().any(|area| area.overlaps(data))
    {
        return None;
    }
    let space = Space { member, data, extent_bytes };
    let none = Section::new();
    let volumes = match group.get("logical_volumes") {
        None => &none,
        Some(Node::Section(volumes)) => volumes,
        Some(_) => return None,
    };
    let parts = built_upon(volumes);
    let volumes = volumes.iter().map(|(name, node)| match node {
        Node::Section(volume) => logical_volume(name, volume, &space, parts.contains(name.as_str())),
        _ => None,
    });
    let volumes: Vec<LogicalVolume> = volumes.collect::<Option<_>>()?;
    no_overlap(&volumes).then(|| Group { name: name.clone(), extent_bytes, data, volumes })
}

/// Where the extents of the physical volume are.
struct Space<'a> {
    member: &'a str,
    data: ByteRange,
    extent_bytes: u64,
}

impl Space<'_> {
    fn extents(&self, first: u64, count: u64) -> Option<ByteRange> {
        let start = self.data.start().checked_add(first.checked_mul(self.extent_bytes)?)?;
        let place = ByteRange::at(start, count.checked_mul(self.extent_bytes)?)?;
        (!place.is_empty() && self.data.contains(place)).then_some(place)
    }
}

/// Every name that stands anywhere in a segment: what a snapshot, a mirror, a pool or a cache is made of.
fn built_upon(volumes: &Section) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for volume in volumes.values() {
        let Node::Section(volume) = volume else { continue };
        for segment in volume.values() {
            let Node::Section(segment) = segment else { continue };
            for value in segment.values() {
                let values =
                    if let Node::List(list) = value { list.as_slice() } else { std::slice::from_ref(value) };
                names.extend(values.iter().filter_map(|value| match value {
                    Node::Text(text) => Some(text.as_str()),
                    _ => None,
                }));
            }
        }
    }
    names
}

fn logical_volume(name: &str, volume: &Section, space: &Space<'_>, is_part: bool) -> Option<LogicalVolume> {
    let count = text::number(volume, "segment_count")?;
    let segments: Vec<&Section> = volume
        .iter()
        .filter(|(name, _)| name.strip_prefix("segment").is_some_and(|rest| rest.parse::<u64>().is_ok()))
        .map(|(_, node)| if let Node::Section(segment) = node { Some(segment) } else { None })
        .collect::<Option<_>>()?;
    if u64::try_from(segments.len()).ok()? != count {
        return None;
    }
    let mut pieces = Vec::new();
    let (mut linear, mut extents) = (true, 0u64);
    for segment in segments {
        let (first, length) =
            (text::number(segment, "start_extent")?, text::number(segment, "extent_count")?);
        extents = extents.checked_add(length)?;
        let places = segment_places(segment, length, space)?;
        linear &= places.len() == 1 && text::text(segment, "type") == Some("striped");
        pieces.extend(places.into_iter().map(|place| (first, length, place)));
    }
    pieces.sort_unstable();
    let mut behind = 0u64;
    for (first, length, _) in &pieces {
        linear &= *first == behind;
        behind = first.checked_add(*length)?;
    }
    let visible = text::list(volume, "status")?.contains(&Node::Text("VISIBLE".to_owned()));
    let is_plain = linear && behind == extents && visible && !is_part && !pieces.is_empty();
    Some(LogicalVolume {
        name: name.to_owned(),
        places: pieces.into_iter().map(|(_, _, place)| place).collect(),
        is_plain,
    })
}

/// The stretches of the physical volume that a segment has; none for what is made of other logical volumes.
fn segment_places(segment: &Section, extents: u64, space: &Space<'_>) -> Option<Vec<ByteRange>> {
    // Segments that are made of logical volumes, whose own segments have the extents.
    const OF_VOLUMES: [&str; 12] = [
        "snapshot",
        "mirror",
        "thin-pool",
        "thin",
        "cache",
        "cache-pool",
        "writecache",
        "integrity",
        "vdo",
        "vdo-pool",
        "error",
        "zero",
    ];
    let kind = text::text(segment, "type")?;
    let of_volumes = OF_VOLUMES.contains(&kind) || kind.starts_with("raid");
    if kind != "striped" {
        let names_member = |node: &Node| match node {
            Node::List(list) => list.contains(&Node::Text(space.member.to_owned())),
            Node::Text(text) => text == space.member,
            _ => false,
        };
        return (of_volumes && !segment.values().any(names_member)).then(Vec::new);
    }
    let stripes = text::list(segment, "stripes")?;
    let count = text::number(segment, "stripe_count")?;
    let (pairs, rest) = stripes.as_chunks::<2>();
    if !rest.is_empty() || u64::try_from(pairs.len()).ok()? != count {
        return None;
    }
    let each = extents.checked_div(count).filter(|each| each.checked_mul(count) == Some(extents))?;
    let place = |[name, first]: &[Node; 2]| match (name, first) {
        (Node::Text(name), Node::Number(first)) if name == space.member => {
            space.extents(u64::try_from(*first).ok()?, each)
        }
        _ => None,
    };
    pairs.iter().map(place).collect()
}

fn no_overlap(volumes: &[LogicalVolume]) -> bool {
    let mut places: Vec<ByteRange> =
        volumes.iter().flat_map(|volume| volume.places.iter().copied()).collect();
    places.sort_unstable();
    places.iter().zip(places.iter().skip(1)).all(|(one, next)| !one.overlaps(*next))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "abcdef0000";
    const SIZE: u64 = 1 << 30;

    fn labelled(text: &str, uuid: &str) -> Labelled {
        Labelled { uuid: uuid.to_owned(), text: text.to_owned(), areas: vec![ByteRange::new(4096, 1 << 20)] }
    }

    fn metadata(volumes: &str) -> String {
        format!(
            "vg {{ id = \"x\" seqno = 7 extent_size = 2048 physical_volumes {{ pv0 {{ id = \"abc-def-0000\" pe_start = 2048 \
             pe_count = 100 }} }} logical_volumes {{ {volumes} }} }} version = 1"
        )
    }

    fn volume(name: &str, status: &str, segment: &str) -> String {
        format!(
            "{name} {{ status = [{status}] segment_count = 1 segment1 {{ start_extent = 0 {segment} }} }}\n"
        )
    }

    fn striped(first: u64, count: u64) -> String {
        format!("extent_count = {count} type = \"striped\" stripe_count = 1 stripes = [\"pv0\", {first}]")
    }

    fn plain(volumes: &[String]) -> Option<Vec<(String, bool, u64)>> {
        let group = read(&labelled(&metadata(&volumes.concat()), UUID), SIZE)?;
        let bytes =
            |volume: &LogicalVolume| volume.places.iter().map(|place| place.length()).sum::<u64>() >> 20;
        Some(group.volumes.iter().map(|v| (v.name.clone(), v.is_plain, bytes(v))).collect())
    }

    const VISIBLE: &str = "\"READ\", \"VISIBLE\"";

    #[test]
    fn what_is_built_of_other_volumes_is_no_plain_stretch() {
        let raid =
            "extent_count = 4 type = \"raid1\" device_count = 2 raids = [\"m0\", \"i0\", \"m1\", \"i1\"]";
        let volumes = [
            volume("alone", VISIBLE, &striped(0, 10)),
            volume("mirrored", VISIBLE, raid),
            volume("i0", "\"READ\"", &striped(10, 4)),
            volume("origin", VISIBLE, &striped(20, 5)),
            volume("cow", VISIBLE, &striped(25, 5)),
            volume(
                "snapshot0",
                VISIBLE,
                "extent_count = 5 type = \"snapshot\" origin = \"origin\" cow_store = \"cow\"",
            ),
            volume("hidden", "\"READ\"", &striped(30, 1)),
        ];
        let found = plain(&volumes).unwrap();
        let expected = [
            ("alone", true, 10),
            ("cow", false, 5),
            ("hidden", false, 1),
            ("i0", false, 4),
            ("mirrored", false, 0),
            ("origin", false, 5),
            ("snapshot0", false, 0),
        ];
        assert_eq!(found, expected.map(|(name, plain, mib)| (name.to_owned(), plain, mib)));
    }

    #[test]
    fn doubt_gives_nothing() {
        let alone = |segment: &str| plain(&[volume("a", VISIBLE, segment)]);
        assert!(alone(&striped(0, 100)).is_some());
        for doubtful in [
            striped(1, 100),
            striped(u64::MAX >> 1, 1),
            striped(0, 0),
            "extent_count = 1 type = \"new-thing\"".to_owned(),
            "extent_count = 1 type = \"mirror\" mirrors = [\"pv0\", 0, \"pv0\", 1]".to_owned(),
            "extent_count = 2 type = \"striped\" stripe_count = 1 stripes = [\"pv1\", 0]".to_owned(),
            "extent_count = 3 type = \"striped\" stripe_count = 2 stripes = [\"pv0\", 0, \"pv0\", 5]"
                .to_owned(),
        ] {
            assert_eq!(alone(&doubtful), None, "{doubtful}");
        }
        let overlapping = [volume("a", VISIBLE, &striped(0, 10)), volume("b", VISIBLE, &striped(9, 1))];
        assert_eq!(plain(&overlapping), None);
        let good = metadata("");
        assert!(read(&labelled(&good, UUID), SIZE).is_some());
        assert_eq!(read(&labelled(&good, "another"), SIZE), None);
        assert_eq!(read(&labelled(&good, UUID), 50 << 20), None, "extents beyond the end");
        for (from, to) in [
            ("pe_start = 2048", "pe_start = 0"),
            ("pe_start = 2048", "pe_start = 2047"),
            ("extent_size = 2048", "extent_size = 0"),
        ] {
            assert_eq!(read(&labelled(&good.replace(from, to), UUID), SIZE), None, "{to}");
        }
        let two = good.replace("pv0 {", "pv1 { id = \"y\" pe_start = 2048 pe_count = 1 } pv0 {");
        assert_eq!(read(&labelled(&two, UUID), SIZE), None, "a group of two");
    }
}
