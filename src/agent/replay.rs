//! A disk as it would be after its journals were replayed, without changing it.

use super::capture::CaptureRequest;
use super::disks::{self, InspectedDisk};
use crate::blockio::{Overlay, ReadAt, Window, WriteAt};
use crate::inspect::{self, GroupInspection};
use crate::linux::{self, DiskReader, SpillFile};
use crate::progress::{Event, Monitor};
use crate::schema::{Disk, FileSystemKind, LogicalVolume, State, Volume, WhenDirty};
use crate::units::{ByteRange, MIB, RangeSet, SectorSize, TIB};
use anyhow::{Context, Result};

/// What of the changes of one disk is kept in memory.
const KEPT_BYTES: u64 = 128 * MIB;
/// The part of the spill file that one disk has; it takes room only as it is written.
const SPILL_BYTES: u64 = TIB;
/// What the manifest says of a file system whose journal was replayed.
const REPLAYED: &str = "its journal was replayed for the capture, beside the disk; the captured disk still has it to be \
                        replayed";

/// Where changes go that have no room in memory: the part of `spill` for the disk of this number.
fn part_of(spill: &SpillFile, number: u32) -> Option<Window<&SpillFile>> {
    let start = u64::from(number).checked_mul(SPILL_BYTES)?;
    Window::new(spill, ByteRange::at(start, SPILL_BYTES)?).ok()
}

/// The file that a person named for changes that have no room in memory.
pub(super) fn spill_file(request: &CaptureRequest) -> Result<Option<SpillFile>> {
    let path = request.spill.as_deref().filter(|_| request.options.when_dirty == WhenDirty::Replay);
    Ok(path.map(SpillFile::create).transpose()?)
}

/// The parts of a spill file, one for each of `count` disks or volumes, behind the first `taken` parts.
pub(super) fn spill_parts(
    spill: Option<&SpillFile>,
    taken: usize,
    count: usize,
) -> Vec<Option<Window<&SpillFile>>> {
    (0u32..).skip(taken).take(count).map(|number| spill.and_then(|spill| part_of(spill, number))).collect()
}

/// A group's number, and what is read of each of its logical volumes.
pub(super) type LogicalSources<'a> = (u32, Vec<Option<Box<dyn ReadAt + 'a>>>);

/// What a capture reads of the logical volumes of a group, with the group's number: the volumes themselves, or overlays
/// over them in which their journals were replayed. What is found there then stands in `found`.
pub(super) fn settled_group<'a>(
    found: &mut GroupInspection,
    disks: &[(Disk, &'a dyn ReadAt)],
    spills: &mut std::slice::Iter<'a, Option<Window<&'a SpillFile>>>,
    held: Option<&str>,
    request: &CaptureRequest,
    monitor: &dyn Monitor,
) -> LogicalSources<'a> {
    let disks: Vec<(&Disk, &'a dyn ReadAt)> = disks.iter().map(|(disk, source)| (disk, *source)).collect();
    let group = found.group.clone();
    let only = &request.options.only;
    let all = group.is_wanted_whole(only);
    let open =
        |logical: &LogicalVolume| inspect::open_logical(&group, logical, &disks, &linux::KernelVolumes);
    let sector = disks.iter().map(|(disk, _)| disk.logical_sector_bytes).max().unwrap_or(SectorSize::B512);
    let mut sources = Vec::new();
    for (logical, used) in found.group.logical_volumes.iter_mut().zip(&mut found.used) {
        let spill = spills.next().and_then(Option::as_ref).map(|spill| -> &dyn WriteAt { spill });
        let dirty = logical.volume.content.file_system().filter(|found| found.state == State::Dirty);
        let kind = dirty.map(|found| found.kind).filter(|kind| linux::can_replay(*kind));
        let wanted = request.options.when_dirty == WhenDirty::Replay
            && (all || only.contains(&logical.volume.name))
            && held.is_none();
        let source = open(logical);
        let settled = match (kind.filter(|_| wanted), source) {
            (Some(kind), Some(source)) => {
                let overlay = Overlay::new(source, KEPT_BYTES, spill);
                settle(logical, used, kind, sector, overlay, monitor).or_else(|| open(logical))
            }
            (_, source) => source,
        };
        if let Some(holders) = held.filter(|_| kind.is_some()) {
            let message = format!("its journal is not replayed, because a disk is in use ({holders})");
            monitor.event(Event::Warning { subject: logical.volume.name.clone(), message });
        }
        sources.push(settled);
    }
    (group.number, sources)
}

/// Replays the journal of a logical volume in an overlay over it, and finds out what is there then. `None` after a
/// warning, where that did not succeed.
fn settle<'a>(
    logical: &mut LogicalVolume,
    used: &mut Option<RangeSet>,
    kind: FileSystemKind,
    sector: SectorSize,
    overlay: Overlay<'a, Box<dyn ReadAt + 'a>>,
    monitor: &dyn Monitor,
) -> Option<Box<dyn ReadAt + 'a>> {
    let subject = logical.volume.name.clone();
    if let Err(error) = linux::replay(&overlay, kind, sector) {
        let mut message = format!("its journal was not replayed: {error}");
        if overlay.overflowed() {
            message.push_str("; name a file that has room for its changes with --spill");
        }
        monitor.event(Event::Warning { subject, message });
        return None;
    }
    (logical.volume.content, *used) = inspect::look_at(&overlay);
    if let Some(found) = logical.volume.content.file_system_mut().filter(|found| found.state == State::Clean)
    {
        found.findings.push(REPLAYED.to_owned());
        monitor.event(Event::Warning { subject, message: format!("{kind} {REPLAYED}") });
    }
    Some(Box::new(overlay))
}

/// What a capture reads of a disk: the disk itself, or an overlay over it in which every journal that had to be was
/// replayed; and what is found there. Where that did not succeed it is the disk as it is, after a warning.
pub(super) fn settled<'a>(
    inspected: InspectedDisk,
    reader: &'a DiskReader,
    spill: Option<&'a dyn WriteAt>,
    request: &CaptureRequest,
    monitor: &dyn Monitor,
) -> Result<(InspectedDisk, Box<dyn ReadAt + 'a>)> {
    let to_replay: Vec<(Volume, FileSystemKind)> = match request.options.when_dirty {
        WhenDirty::Replay => inspected
            .inspection
            .disk
            .volumes
            .iter()
            .filter_map(|volume| {
                let chosen = request.options.only.is_empty() || request.options.only.contains(&volume.name);
                let found = volume.content.file_system().filter(|found| found.state == State::Dirty);
                found
                    .filter(|found| chosen && linux::can_replay(found.kind))
                    .map(|found| (volume.clone(), found.kind))
            })
            .collect(),
        WhenDirty::Refuse | WhenDirty::Raw => Vec::new(),
    };
    if to_replay.is_empty() {
        return Ok((inspected, Box::new(reader)));
    }
    if let Some(holders) = disks::held(&inspected.machine) {
        let message = format!(
            "its journals are not replayed, because it is in use ({holders}) and changes while it is read"
        );
        monitor.event(Event::Warning { subject: inspected.machine.path.clone(), message });
        return Ok((inspected, Box::new(reader)));
    }
    let overlay = Overlay::new(reader, KEPT_BYTES, spill);
    for (volume, kind) in &to_replay {
        if let Err(error) = replay(&overlay, &inspected, volume, *kind) {
            let mut message = format!("its journal was not replayed: {error:#}");
            if overlay.overflowed() {
                message.push_str("; name a file that has room for its changes with --spill");
            }
            monitor.event(Event::Warning { subject: volume.name.clone(), message });
            return Ok((inspected, Box::new(reader)));
        }
    }
    let InspectedDisk { machine, inspection } = inspected;
    let mut after =
        disks::read_source(&overlay, inspection.disk.number, machine, request.disk_settings, monitor)?;
    for volume in &mut after.inspection.disk.volumes {
        let replayed = to_replay.iter().any(|(before, _)| before.name == volume.name);
        let Some(found) =
            volume.content.file_system_mut().filter(|found| replayed && found.state == State::Clean)
        else {
            continue;
        };
        found.findings.push(REPLAYED.to_owned());
        let message = format!("{} {}", found.kind, REPLAYED);
        monitor.event(Event::Warning { subject: volume.name.clone(), message });
    }
    Ok((after, Box::new(overlay)))
}

fn replay(
    overlay: &Overlay<'_, &DiskReader>,
    inspected: &InspectedDisk,
    volume: &Volume,
    kind: FileSystemKind,
) -> Result<()> {
    let place = ByteRange::at(volume.start_bytes, volume.size_bytes).context("it has no valid place")?;
    let window = Window::new(overlay, place).context("it does not lie on its disk")?;
    Ok(linux::replay(&window, kind, inspected.machine.logical_sector_bytes)?)
}
