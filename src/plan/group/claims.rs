//! How many extents each logical volume gets.

use crate::plan::layout::divide;
use crate::plan::sharing::Claim;
use crate::plan::sizing::Sizing;
use crate::schema::{LogicalVolume, VolumeGroup};

/// Extents of the whole group.
pub(super) fn total(group: &VolumeGroup) -> u64 {
    group.physical_volumes.iter().map(|physical| physical.extents).fold(0, u64::saturating_add)
}

fn whole(bytes: u64, extent_bytes: u64) -> u64 {
    bytes.div_ceil(extent_bytes.max(1))
}

/// The extents that a logical volume needs at least.
pub(super) fn least(sizing: Sizing, logical: &LogicalVolume, extent_bytes: u64) -> u64 {
    let bytes = match sizing {
        Sizing::Fixed(_) => logical.volume.size_bytes,
        Sizing::Chosen { bytes } => bytes,
        Sizing::Shared { minimum_bytes } | Sizing::Part { minimum_bytes, .. } => minimum_bytes,
    };
    whole(bytes, extent_bytes).max(1)
}

/// Extents that no volume of a captured group has.
pub(super) fn free(group: &VolumeGroup) -> u64 {
    let used = group.volumes().map(|volume| whole(volume.size_bytes, group.extent_bytes));
    total(group).saturating_sub(used.fold(0, u64::saturating_add))
}

/// The extents of each logical volume in a group that has `total` and had `free` that no volume had; `None` where they
/// do not fit.
pub(super) fn sizes(group: &VolumeGroup, sizings: &[Sizing], total: u64, free: u64) -> Option<Vec<u64>> {
    let extent_bytes = group.extent_bytes;
    let old = |logical: &LogicalVolume| whole(logical.volume.size_bytes, extent_bytes);
    let volumes = || group.logical_volumes.iter().zip(sizings);
    // Nobody shrinks where nobody has to.
    let unshrunk = |(logical, sizing): (&LogicalVolume, &Sizing)| match sizing {
        Sizing::Shared { .. } => old(logical).max(least(*sizing, logical, extent_bytes)),
        _ => least(*sizing, logical, extent_bytes),
    };
    let fits = volumes().map(unshrunk).fold(0, u64::saturating_add) <= total;
    let minimum = |logical: &LogicalVolume, sizing: &Sizing| {
        if fits { unshrunk((logical, sizing)) } else { least(*sizing, logical, extent_bytes) }
    };
    let (mut left, mut parts, mut sharers) = (total, Vec::new(), Vec::new());
    for (key, (logical, sizing)) in (0u32..).zip(volumes()) {
        let claim = |weight| Claim { key, weight, minimum: minimum(logical, sizing) };
        match sizing {
            Sizing::Fixed(_) | Sizing::Chosen { .. } => {
                left = left.checked_sub(least(*sizing, logical, extent_bytes))?;
            }
            Sizing::Shared { .. } => sharers.push(claim(old(logical))),
            Sizing::Part { hundredths, .. } => parts.push(claim((*hundredths).into())),
        }
    }
    // What was free has its share too, for the snapshots that somebody keeps it for, but before anybody shrinks it goes.
    if free > 0 && fits && !sharers.is_empty() {
        sharers.push(Claim { key: u32::MAX, weight: free, minimum: 0 });
    }
    let (part_sizes, shared_sizes) = match (parts.is_empty(), sharers.is_empty()) {
        (true, true) => Default::default(),
        _ => divide(left, total, &parts, &sharers)?,
    };
    let shared = parts.iter().zip(part_sizes).chain(sharers.iter().zip(shared_sizes));
    let shared: Vec<(u32, u64)> = shared.map(|(claim, size)| (claim.key, size)).collect();
    let size = |(key, (logical, sizing)): (u32, (&LogicalVolume, &Sizing))| {
        let own = shared.iter().find(|(other, _)| *other == key).map(|(_, size)| *size);
        own.unwrap_or_else(|| least(*sizing, logical, extent_bytes))
    };
    Some((0u32..).zip(volumes()).map(size).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sizing::Why;
    use crate::schema::{Content, Mapping, PhysicalVolume, Role, Volume};

    fn group(extents: u64, sizes: &[u64]) -> VolumeGroup {
        let logical = |(number, size): (u32, &u64)| LogicalVolume {
            name: format!("v{number}"),
            uuid: String::new(),
            mapping: Mapping::Linear,
            status: vec![],
            flags: vec![],
            tags: vec![],
            allocation_policy: None,
            creation_time: None,
            creation_host: None,
            segments: vec![],
            volume: Volume {
                name: format!("g0-l{number}"),
                role: Role::Logical { group: 0, number },
                start_bytes: 0,
                size_bytes: size * 4096,
                content: Content::LeftOut,
                fixed: false,
            },
        };
        VolumeGroup {
            number: 0,
            name: "vg".into(),
            uuid: String::new(),
            sequence: 1,
            extent_bytes: 4096,
            status: vec![],
            tags: vec![],
            system_id: None,
            allocation_policy: None,
            physical_volumes: vec![PhysicalVolume {
                volume: "d0-p1".into(),
                uuid: String::new(),
                start_bytes: 1 << 20,
                extents,
                status: vec![],
                tags: vec![],
            }],
            logical_volumes: (1..).zip(sizes).map(logical).collect(),
        }
    }

    const FIXED: Sizing = Sizing::Fixed(Why::Swap);
    const SHARED: Sizing = Sizing::Shared { minimum_bytes: 10 * 4096 };

    #[test]
    fn what_was_free_shares_and_gives_way_first() {
        let group = group(100, &[60, 20]);
        for (total, expected) in [
            (200, Some(vec![135, 20])),
            (100, Some(vec![60, 20])),
            (90, Some(vec![60, 20])),
            (80, Some(vec![60, 20])),
            (70, Some(vec![50, 20])),
            (30, Some(vec![10, 20])),
            (29, None),
        ] {
            assert_eq!(sizes(&group, &[SHARED, FIXED], total, free(&group)), expected, "{total}");
        }
    }

    #[test]
    fn parts_are_of_the_group_and_chosen_sizes_are_whole_extents() {
        let group = group(80, &[60, 20]);
        let half = Sizing::Part { hundredths: 5000, minimum_bytes: 4096 };
        assert_eq!(sizes(&group, &[half, SHARED], 200, 0), Some(vec![100, 100]));
        let chosen = Sizing::Chosen { bytes: 4097 };
        assert_eq!(sizes(&group, &[chosen, SHARED], 200, 0), Some(vec![2, 198]));
    }
}
