//! What a disk holds: its table, its volumes, their file systems and used maps. Reads only.
//!
//! Invariants:
//!
//! - Every partition with sectors on the disk is a volume, as is the boot area in front of the first one. A disk
//!   without a table is one volume. Gaps between partitions are nobody's.
//! - A volume that nobody understands is captured raw; nothing is left out because it was not recognised.
//! - A finding that makes a capture doubtful is a refusal as well; it stays one until a person decided.

mod arrays;
mod boot_area;
mod btrfs;
mod claim;
mod copies;
mod dynamic;
mod encrypted;
mod error;
mod groups;
mod journals;
mod json;
mod lvm1;
#[cfg(test)]
mod tests;
mod text;
mod twins;
mod volume;
mod whole_arrays;

pub use arrays::read_arrays;
pub use btrfs::{BtrfsDevice, btrfs_on_disk, btrfs_on_logical, read_btrfs};
pub use dynamic::read_dynamic;
pub use encrypted::{Unlocking, unlock, unlock_logical};
pub use error::Error;
pub use groups::{GroupInspection, KernelVolumes, NoKernelVolumes, look_at, open_logical, read_groups};
pub use journals::read_journals;
pub use json::{DiskView, view_disk};
pub use lvm1::read_lvm1;
pub use text::{groups_text, table_text};
pub use twins::twins;

use crate::blockio::ReadAt;
use crate::partition::{self, Finding, Severity, TableReading, Trust};
use crate::progress::{Event, Monitor, Phase};
use crate::schema::{Disk, Role, Table, Volume};
use crate::units::{ByteRange, RangeSet, SectorSize};
use volume::{Place, Understood};

/// What the machine knows about a disk, and its bytes do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// Number within the image, from 0.
    pub number: u32,
    /// The unit of its sector numbers.
    pub logical_sector_bytes: SectorSize,
    /// What the medium really writes.
    pub physical_sector_bytes: SectorSize,
    /// Model, as the device says.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
}

/// All that was found out about one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The disk. The content of its volumes is provisional: whether a file system that is not clean is captured
    /// at all is for the capture plan to decide.
    pub disk: Disk,
    /// For each volume, the bytes of it that a capture has to read; `None` where it has to read all.
    pub used: Vec<Option<RangeSet>>,
    /// For each volume, the bytes of which those that are free have to be zeros wherever it is deployed; of most volumes none.
    pub zeros: Vec<ByteRange>,
    /// What a person should know about the disk: sentences.
    pub findings: Vec<String>,
    /// Those of the findings for which a capture is refused unless a person decided.
    pub refusals: Vec<String>,
}

impl Inspection {
    /// What was found on a disk when it was captured, as far as its manifest tells.
    #[must_use]
    pub fn of_captured(disk: Disk) -> Self {
        let used = vec![None; disk.volumes.len()];
        let zeros = vec![ByteRange::default(); disk.volumes.len()];
        Self { disk, used, zeros, findings: Vec::new(), refusals: Vec::new() }
    }
}

/// Reads one disk.
///
/// # Errors
/// [`Error::Table`] where the table cannot be read, [`Error::Cancelled`] where the monitor says so.
pub fn read_disk(
    disk: &dyn ReadAt,
    facts: DiskFacts,
    trust: Trust,
    monitor: &dyn Monitor,
) -> Result<Inspection, Error> {
    monitor.event(Event::PhaseStarted { phase: Phase::Inspect, total_bytes: None });
    let sector = facts.logical_sector_bytes;
    let reading = partition::read(disk, sector, trust);
    let mut notes = Notes::default();
    let claim = claim::find(disk, reading.as_ref().ok().map(|reading| &reading.table), sector);
    let (table, places) = match (claim, trust) {
        (Some(claim), Trust::Undecided) => {
            (Table::None, vec![Place { known: Some(claim), ..Place::whole(disk) }])
        }
        (claim, _) => {
            let reading = reading.map_err(|source| Error::Table { source })?;
            notes.take(&reading.findings);
            let left = claim.filter(|_| reading.table != Table::None).map(|claim| claim.file_system.kind);
            notes.findings.extend(left.map(|kind| {
                format!("The disk has the marks of a {kind}; its table was believed, as asked.")
            }));
            places(disk, reading, sector, &mut notes)
        }
    };
    notes.findings.extend(boot_area::decrypting_loader(disk));
    let mut volumes = Vec::new();
    let mut used = Vec::new();
    for place in places {
        if monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        let name = place.name(facts.number);
        started(monitor, &name, &place);
        let Understood { content, used: map, finding } = volume::understand(disk, &place);
        notes.findings.extend(finding.map(|fact| format!("Volume {name} {fact}.")));
        monitor.event(Event::VolumeFinished { phase: Phase::Inspect, volume: name.clone() });
        let (start_bytes, size_bytes) = (place.range.start(), place.range.length());
        volumes.push(Volume { name, role: place.role, start_bytes, size_bytes, content, fixed: false });
        used.push(map);
    }
    monitor.event(Event::PhaseFinished { phase: Phase::Inspect });
    Ok(Inspection {
        zeros: vec![ByteRange::default(); used.len()],
        disk: Disk {
            number: facts.number,
            size_bytes: disk.size_bytes(),
            logical_sector_bytes: sector,
            physical_sector_bytes: facts.physical_sector_bytes,
            model: facts.model,
            serial: facts.serial,
            wwn: facts.wwn,
            table,
            volumes,
        },
        used,
        findings: notes.findings,
        refusals: notes.refusals,
    })
}

/// The sentences that are collected on the way.
#[derive(Default)]
struct Notes {
    findings: Vec<String>,
    refusals: Vec<String>,
}

impl Notes {
    fn take(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.findings.push(finding.to_string());
            if finding.severity() == Severity::Refusal {
                self.refusals.push(finding.to_string());
            }
        }
    }
}

fn started(monitor: &dyn Monitor, name: &str, place: &Place) {
    monitor.event(Event::VolumeStarted {
        phase: Phase::Inspect,
        volume: name.to_owned(),
        content: match place.role {
            Role::Partition { number } => format!("partition {number}"),
            Role::BootArea => "boot area".to_owned(),
            Role::WholeDisk => "whole disk".to_owned(),
            Role::Logical { .. } => "logical volume".to_owned(),
        },
        total_bytes: place.range.length(),
    });
}

/// The table and the stretches of the disk that are volumes, in disk order.
fn places(
    disk: &dyn ReadAt,
    reading: TableReading,
    sector: SectorSize,
    notes: &mut Notes,
) -> (Table, Vec<Place>) {
    let mut table = reading.table;
    partition::drop_empty(&mut table);
    if let Table::Mbr(mbr) = &table
        && mbr.partitions.is_empty()
        && let Some(kind) = volume::recognised(disk)
    {
        // A boot loader in front of a file system without partitions looks like a table without partitions.
        notes.findings.push(format!(
            "Sector 0 looks like an MBR without partitions, but {kind} fills the disk; it is taken as one volume."
        ));
        return (Table::None, vec![Place::whole(disk)]);
    }
    if table == Table::None {
        // A card reader without a card is a disk without bytes.
        let is_empty = disk.size_bytes() == 0;
        return (table, if is_empty { Vec::new() } else { vec![Place::whole(disk)] });
    }
    let mut places = volume::partitions(&table, sector, disk.size_bytes());
    let (boot, note) = boot_area::place(&table, sector, disk.size_bytes(), &reading.findings);
    notes.findings.extend(note);
    places.insert(0, boot);
    (table, places)
}
