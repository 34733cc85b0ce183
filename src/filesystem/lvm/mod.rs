//! LVM2: which volume groups stand on some volumes, of which extents their logical volumes are made, and the bytes that
//! describe a group anew.
//!
//! Invariants:
//!
//! - A group is only read where all of its physical volumes are there, each once, and agree; otherwise a sentence says
//!   of each what is missing.
//! - Extents that a description places twice, outside a physical volume or on its metadata are not believed.
//! - A logical volume is read from its extents only where they are its content: linear and striped volumes, the first
//!   copy of a mirror, a copy of a RAID1 that the kernel noted as whole. What else there is, only the kernel maps.

mod group;
mod label;
mod leg;
mod set;
mod text;
mod volume;
mod write;

pub use write::{Piece, WriteError, pieces};

use crate::blockio::{Column, Mapped, ReadAt, Stretch};
use crate::schema::{Content, LogicalVolume, Mapping, PhysicalVolume, Role, Segment, Volume, VolumeGroup};
use crate::units::usize_from;
use volume::{Logical, Made};

/// A group that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundGroup {
    /// Itself. What its logical volumes hold was not looked at: their content is [`Content::LeftOut`].
    pub group: VolumeGroup,
    /// For each of its logical volumes that only the kernel can read, what it is, as `a thin volume`.
    pub kernel: Vec<Option<String>>,
}

/// The groups on some volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that are whole.
    pub groups: Vec<FoundGroup>,
    /// Names of physical volumes that cannot be captured with their group, each with a sentence that says why.
    pub doubts: Vec<(String, String)>,
    /// What a person should know about others: name and sentence.
    pub findings: Vec<(String, String)>,
}

/// Finds the groups whose physical volumes are among `volumes`, each of which has a name in the image.
#[must_use]
pub fn groups(volumes: &[(&str, &dyn ReadAt)]) -> Found {
    let mut found = Found::default();
    let (mut labels, mut labelled) = (Vec::new(), Vec::new());
    for (name, volume) in volumes {
        match label::read(*volume) {
            None => {}
            Some(Err(doubt)) => found.doubts.push(((*name).to_owned(), doubt)),
            Some(Ok(label)) => {
                let findings = label.findings.iter().map(|finding| ((*name).to_owned(), finding.clone()));
                found.findings.extend(findings);
                labels.push(label);
                labelled.push((*name, *volume));
            }
        }
    }
    let set = set::assemble(&labels);
    let name_of = |position: usize| labelled.get(position).map_or("", |(name, _)| *name).to_owned();
    found.doubts.extend(set.doubts.into_iter().map(|(position, sentence)| (name_of(position), sentence)));
    let mut wholes = set.groups;
    wholes.sort_by_key(|whole| whole.labels.iter().copied().min());
    for (number, whole) in (0u32..).zip(wholes) {
        let disks: Vec<&dyn ReadAt> = whole
            .labels
            .iter()
            .filter_map(|position| labelled.get(*position).map(|(_, volume)| *volume))
            .collect();
        let names: Vec<String> = whole.labels.iter().map(|position| name_of(*position)).collect();
        let group = found_group(number, whole.group, &names, &disks);
        match group.group.fault() {
            None => found.groups.push(group),
            Some(fault) => {
                let sentence = format!(
                    "the volume group {} contradicts itself: {fault}; check it with vgck, or capture it with --when-dirty raw",
                    group.group.name
                );
                found.doubts.extend(names.into_iter().map(|name| (name, sentence.clone())));
            }
        }
    }
    found
}

fn found_group(number: u32, group: group::Group, names: &[String], disks: &[&dyn ReadAt]) -> FoundGroup {
    let extent_bytes = group.extent_bytes;
    let starts: Vec<u64> = group.members.iter().map(|member| member.data.start()).collect();
    let physical_volumes = group.members.into_iter().zip(names).map(|(member, name)| PhysicalVolume {
        volume: name.clone(),
        uuid: with_dashes(&member.uuid),
        start_bytes: member.data.start(),
        extents: member.extents,
        status: member.status,
        tags: member.tags,
    });
    let (mut logical_volumes, mut kernel) = (Vec::new(), Vec::new());
    for (position, logical) in (1u32..).zip(group.volumes) {
        let read = extents_of(&logical.made, extent_bytes, &starts, disks);
        let (mapping, segments, what) = match read {
            Ok((mapping, segments)) => (mapping, segments, None),
            Err(what) => (Mapping::Kernel, Vec::new(), Some(what)),
        };
        logical_volumes.push(logical_volume((number, position), logical, extent_bytes, mapping, segments));
        kernel.push(what);
    }
    let group = VolumeGroup {
        number,
        name: group.name,
        uuid: with_dashes(&group.uuid),
        sequence: group.sequence,
        extent_bytes,
        status: group.status,
        tags: group.tags,
        system_id: group.system_id,
        allocation_policy: group.allocation_policy,
        physical_volumes: physical_volumes.collect(),
        logical_volumes,
    };
    FoundGroup { group, kernel }
}

fn logical_volume(
    (group, number): (u32, u32),
    logical: Logical,
    extent_bytes: u64,
    mapping: Mapping,
    segments: Vec<Segment>,
) -> LogicalVolume {
    LogicalVolume {
        volume: Volume {
            name: format!("g{group}-l{number}"),
            role: Role::Logical { group, number },
            start_bytes: 0,
            size_bytes: logical.extents.saturating_mul(extent_bytes),
            content: Content::LeftOut,
        },
        name: logical.name,
        uuid: with_dashes(&logical.uuid),
        mapping,
        status: logical.status,
        flags: logical.flags,
        tags: logical.tags,
        allocation_policy: logical.allocation_policy,
        creation_time: logical.creation_time,
        creation_host: logical.creation_host,
        segments,
    }
}

/// The extents that are the content of a volume; what it is, where there are none.
fn extents_of(
    made: &Made,
    extent_bytes: u64,
    starts: &[u64],
    disks: &[&dyn ReadAt],
) -> Result<(Mapping, Vec<Segment>), String> {
    match made {
        Made::Kernel(what) => Err(what.clone()),
        Made::Extents(segments) => {
            let striped = segments.iter().any(|segment| segment.stripes.len() > 1);
            Ok((if striped { Mapping::Striped } else { Mapping::Linear }, segments.clone()))
        }
        Made::Legs(legs) => {
            let open = |segments: &[Segment]| {
                let origins: Vec<(usize, u64)> = starts.iter().copied().enumerate().collect();
                Mapped::new(disks.to_vec(), stretches(segments, extent_bytes, &origins)?).ok()
            };
            let chosen = match legs.first() {
                Some(leg) if leg.state.is_none() => Some(0),
                _ => {
                    let states: Vec<Option<Mapped<&dyn ReadAt>>> =
                        legs.iter().map(|leg| leg.state.as_deref().and_then(open)).collect();
                    let states: Vec<Option<&dyn ReadAt>> = (states.iter().zip(legs))
                        .map(|(state, leg)| {
                            state.as_ref().filter(|_| !leg.is_rebuilt).map(|state| -> &dyn ReadAt { state })
                        })
                        .collect();
                    leg::first_whole(&states)
                }
            };
            let leg = chosen.and_then(|position| legs.get(position));
            let leg = leg.ok_or_else(|| "a mirror of which no copy is known to be whole".to_owned())?;
            Ok((Mapping::Mirrored, leg.data.clone()))
        }
    }
}

/// Where segments lie on disks, given for each physical volume the disk that it is on and the first byte there of its
/// first extent; `None` where they do not lie on one.
#[must_use]
pub fn stretches(segments: &[Segment], extent_bytes: u64, origins: &[(usize, u64)]) -> Option<Vec<Stretch>> {
    let stretch = |segment: &Segment| {
        let columns = segment.stripes.iter().map(|stripe| {
            let (disk, origin) = origins.get(usize_from(stripe.physical_volume.into()))?;
            let start_bytes = origin.checked_add(stripe.first_extent.checked_mul(extent_bytes)?)?;
            Some(Column { disk: *disk, start_bytes })
        });
        Some(Stretch {
            length_bytes: segment.extents.checked_mul(extent_bytes)?,
            stripe_bytes: segment.stripe_bytes,
            columns: columns.collect::<Option<_>>()?,
        })
    };
    segments.iter().map(stretch).collect()
}

/// A UUID as LVM prints it.
fn with_dashes(uuid: &str) -> String {
    let mut text = String::with_capacity(38);
    for (position, character) in uuid.chars().enumerate() {
        if matches!(position, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, WriteAt};

    const SIZE: u64 = 8 << 20;

    /// The groups on a physical volume with this text.
    fn found(text: &str) -> Found {
        let disk = MemoryDisk::new(SIZE);
        let physical = PhysicalVolume {
            volume: "d0-p1".to_owned(),
            uuid: "abcdef-ghij-klmn-opqr-stuv-wxyz-000001".to_owned(),
            start_bytes: 1 << 20,
            extents: 20,
            status: Vec::new(),
            tags: Vec::new(),
        };
        for piece in write::pieces_of(&physical, SIZE, text.as_bytes()).unwrap() {
            disk.write_at(piece.at, &piece.bytes).unwrap();
        }
        groups(&[("d0-p1", &disk)])
    }

    fn text(volumes: &str) -> String {
        format!(
            "vg {{ id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-000000\" seqno = 7 extent_size = 512 status = [\"READ\"] \
             physical_volumes {{ pv0 {{ id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-000001\" pe_start = 2048 pe_count = 20 }} }} \
             logical_volumes {{ {volumes} }} }} version = 1"
        )
    }

    fn volume(number: u32, name: &str, status: &str, segment: &str) -> String {
        format!(
            "{name} {{ id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-0001{number:02}\" status = [{status}] segment_count = 1 \
             segment1 {{ start_extent = 0 {segment} }} }}\n"
        )
    }

    fn extents(first: u64, count: u64) -> String {
        format!("extent_count = {count} type = \"striped\" stripe_count = 1 stripes = [\"pv0\", {first}]")
    }

    /// Names of the volumes of the only group, each with what only the kernel can read of it.
    fn read(volumes: &[String]) -> Option<Vec<(String, Option<String>)>> {
        let found = found(&text(&volumes.concat()));
        let FoundGroup { group, kernel } = found.groups.into_iter().next()?;
        Some(group.logical_volumes.into_iter().map(|logical| logical.name).zip(kernel).collect())
    }

    const VISIBLE: &str = "\"READ\", \"VISIBLE\"";

    #[test]
    fn what_people_see_is_read_from_its_extents_or_named() {
        let raid =
            "extent_count = 2 type = \"raid1\" device_count = 2 raids = [\"m0\", \"i0\", \"m1\", \"i1\"]";
        let volumes = [
            volume(1, "alone", VISIBLE, &extents(0, 2)),
            volume(2, "mirrored", VISIBLE, raid),
            volume(3, "i0", "\"READ\"", &extents(2, 2)),
            volume(4, "i1", "\"READ\"", &extents(4, 2)),
            volume(5, "m0", "\"READ\"", &extents(6, 1)),
            volume(6, "m1", "\"READ\"", &extents(7, 1)),
            volume(14, "striped", VISIBLE, &extents(16, 1)),
            volume(7, "origin", VISIBLE, &extents(8, 2)),
            volume(8, "cow", VISIBLE, &extents(10, 2)),
            volume(
                9,
                "snapshot0",
                VISIBLE,
                "extent_count = 2 type = \"snapshot\" origin = \"origin\" cow_store = \"cow\"",
            ),
            volume(
                10,
                "pool",
                VISIBLE,
                "extent_count = 2 type = \"thin-pool\" pool = \"tdata\" metadata = \"tmeta\"",
            ),
            volume(
                11,
                "thin",
                VISIBLE,
                "extent_count = 9 type = \"thin\" thin_pool = \"pool\" device_id = 1",
            ),
            volume(
                12,
                "moving",
                VISIBLE,
                "extent_count = 2 type = \"striped\" stripe_count = 1 stripes = [\"pvmove0\", 0]",
            ),
            volume(
                13,
                "pvmove0",
                "\"READ\"",
                "extent_count = 2 type = \"mirror\" mirrors = [\"pv0\", 12, \"pv0\", 14]",
            ),
        ];
        let read = read(&volumes).unwrap();
        let what = |what: &str| Some(what.to_owned());
        let expected = [
            ("alone", None),
            ("cow", what("a snapshot")),
            ("mirrored", what("a mirror of which no copy is known to be whole")),
            ("moving", what("a volume whose extents are being moved")),
            ("origin", None),
            ("striped", None),
            ("thin", what("a thin volume")),
        ];
        assert_eq!(read, expected.map(|(name, what)| (name.to_owned(), what)));
    }

    #[test]
    fn doubt_gives_no_group() {
        let alone = |segment: &str| read(&[volume(1, "a", VISIBLE, segment)]);
        assert!(alone(&extents(0, 20)).is_some());
        for doubtful in [
            extents(1, 20),
            extents(u64::MAX >> 1, 1),
            extents(0, 0),
            "extent_count = 3 type = \"striped\" stripe_count = 2 stripe_size = 8 stripes = [\"pv0\", 0, \"pv0\", 5]".to_owned(),
            "extent_count = 2 type = \"striped\" stripe_count = 1 stripes = [\"pv1\", 0]".to_owned(),
        ] {
            assert_eq!(alone(&doubtful), None, "{doubtful}");
        }
        assert_eq!(
            read(&[volume(1, "a", VISIBLE, &extents(0, 9)), volume(2, "b", VISIBLE, &extents(8, 1))]),
            None
        );
        assert_eq!(
            read(&[volume(1, "a", VISIBLE, &extents(0, 9)), volume(1, "b", VISIBLE, &extents(9, 1))]),
            None
        );
        let good = text("");
        assert_eq!(found(&good).groups.len(), 1);
        for (from, to) in [
            ("pe_start = 2048", "pe_start = 0"),
            ("pe_start = 2048", "pe_start = 2047"),
            ("pe_count = 20", "pe_count = 40"),
            ("extent_size = 512", "extent_size = 0"),
            ("seqno = 7", "seqno = 7 lock_type = \"sanlock\""),
            ("pe_count = 20", "pe_count = 20 flags = [\"MISSING\"]"),
        ] {
            let found = found(&good.replace(from, to));
            assert!(found.groups.is_empty() && !found.doubts.is_empty(), "{to}");
        }
        let two = good.replace(
            "pv0 {",
            "pv1 { id = \"abcdef-ghij-klmn-opqr-stuv-wxyz-000009\" pe_start = 2048 pe_count = 1 } pv0 {",
        );
        let found = found(&two);
        assert!(found.groups.is_empty() && found.doubts[0].1.contains("1 of the 2 physical volumes"));
    }
}
