//! A disk as it would be after its journals were replayed, without changing it.

use super::capture::CaptureRequest;
use super::disks::{self, InspectedDisk};
use crate::blockio::{Overlay, ReadAt, Window, WriteAt};
use crate::linux::{self, DiskReader, SpillFile};
use crate::progress::{Event, Monitor};
use crate::schema::{FileSystemKind, State, Volume, WhenDirty};
use crate::units::{ByteRange, MIB, TIB};
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

/// The parts of a spill file, one for each of `count` disks.
pub(super) fn spill_parts(spill: Option<&SpillFile>, count: usize) -> Vec<Option<Window<&SpillFile>>> {
    (0u32..).take(count).map(|number| spill.and_then(|spill| part_of(spill, number))).collect()
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
