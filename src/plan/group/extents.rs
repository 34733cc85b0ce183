//! On which extents each logical volume lies.

use crate::plan::refusal::Refusal;
use crate::schema::{Mapping, Segment, Stripe, VolumeGroup};
use crate::units::{u64_from, usize_from};

/// Leaves every volume on the extents that it was captured from.
pub(super) fn keep(group: &mut VolumeGroup) -> Result<(), Refusal> {
    match group.logical_volumes.iter().find(|logical| logical.segments.is_empty()) {
        None => Ok(()),
        Some(logical) => Err(Refusal::Group {
            group: group.number,
            name: group.name.clone(),
            reason: format!(
                "its volume {} has no extents of its own to stay on; use the layout dynamic",
                logical.name
            ),
        }),
    }
}

/// Gives every volume its extents in runs that are as long as they can be: on the physical volumes that it was on, as far
/// as there is room, and then on the others. `None` where they do not fit.
pub(super) fn place(group: &mut VolumeGroup, sizes: &[u64]) -> Option<()> {
    let mut next = vec![0u64; group.physical_volumes.len()];
    let ends: Vec<u64> = group.physical_volumes.iter().map(|physical| physical.extents).collect();
    let mut order: Vec<usize> = (0..group.logical_volumes.len()).collect();
    order.sort_by_key(|position| {
        let logical = group.logical_volumes.get(*position);
        logical
            .and_then(|logical| logical.segments.first()?.stripes.first())
            .map(|s| (s.physical_volume, s.first_extent))
    });
    let mut missing = sizes.to_vec();
    let mut taken: Vec<Vec<Segment>> = vec![Vec::new(); group.logical_volumes.len()];
    let all: Vec<u32> = (0..u32::try_from(ends.len()).ok()?).collect();
    for only_home in [true, false] {
        for position in order.iter().copied() {
            let home = homes(group, position)?;
            let candidates = if only_home { &home } else { &all };
            for member in candidates {
                let at = usize_from((*member).into());
                let (first, end) = (next.get_mut(at)?, ends.get(at)?);
                let want = missing.get_mut(position)?;
                let run = end.saturating_sub(*first).min(*want);
                if run > 0 {
                    let stripe = Stripe { physical_volume: *member, first_extent: *first };
                    taken.get_mut(position)?.push(Segment {
                        extents: run,
                        stripe_bytes: 0,
                        stripes: vec![stripe],
                    });
                    *first = first.checked_add(run)?;
                    *want = want.checked_sub(run)?;
                }
            }
        }
    }
    for ((logical, segments), size) in group.logical_volumes.iter_mut().zip(taken).zip(sizes) {
        logical.volume.size_bytes = size.checked_mul(group.extent_bytes)?;
        logical.segments = merged(segments)?;
        if logical.mapping != Mapping::Linear {
            logical.mapping = Mapping::Linear;
            // They spoke of the other kind of volume.
            logical.flags.clear();
        }
    }
    missing.iter().all(|missing| *missing == 0).then_some(())
}

/// The physical volumes that a volume was on, in its own order.
fn homes(group: &VolumeGroup, position: usize) -> Option<Vec<u32>> {
    let mut homes: Vec<u32> = Vec::new();
    for stripe in group.logical_volumes.get(position)?.segments.iter().flat_map(|segment| &segment.stripes) {
        if !homes.contains(&stripe.physical_volume) {
            homes.push(stripe.physical_volume);
        }
    }
    Some(homes)
}

/// Runs that follow one another are one.
fn merged(segments: Vec<Segment>) -> Option<Vec<Segment>> {
    let mut merged: Vec<Segment> = Vec::new();
    for segment in segments {
        let stripe = *segment.stripes.first()?;
        if let Some(last) = merged.last_mut()
            && let Some(before) = last.stripes.first()
            && before.physical_volume == stripe.physical_volume
            && before.first_extent.checked_add(last.extents) == Some(stripe.first_extent)
        {
            last.extents = last.extents.checked_add(segment.extents)?;
        } else {
            merged.push(segment);
        }
    }
    Some(merged)
}

/// Says which volumes are made otherwise on the target than they were.
pub(super) fn lost_mappings(group: &VolumeGroup, original: bool) -> Option<String> {
    let lost = group.logical_volumes.iter().filter(|logical| match logical.mapping {
        Mapping::Linear => false,
        Mapping::Striped => !original,
        Mapping::Mirrored | Mapping::Kernel => true,
    });
    let names: Vec<&str> = lost.map(|logical| logical.name.as_str()).collect();
    let verb = if u64_from(names.len()) == 1 { "is a plain volume" } else { "are plain volumes" };
    (!names.is_empty()).then(|| {
        format!(
            "Of the volume group {}, {} {verb} on the target: stripes, copies, pools and caches are not made again; \
             lvconvert can do it afterwards.",
            group.name,
            names.join(", ")
        )
    })
}
