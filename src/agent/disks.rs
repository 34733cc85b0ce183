//! Finding, opening and reading the disks that a job names.

use super::btrfs;
use super::luks_keys;
use crate::blockio::ReadAt;
use crate::inspect::{self, DiskFacts, GroupInspection, Inspection};
use crate::linux::{self, DiskReader};
use crate::machine::{DiskKind, Holder, MachineDisk};
use crate::partition::{self, Trust};
use crate::progress::{Event, Monitor, Silent};
use crate::schema::{Destination, Disk};
use crate::uefi::{self, PartitionId};
use crate::units::{SectorSize, format_size};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// How disks are looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskSettings {
    /// Logical sector size of plain files that hold a disk; 512 where nobody says.
    pub sector_size: Option<SectorSize>,
    /// Which table counts where a disk has two that contradict each other.
    pub trust: Trust,
}

/// A disk of this machine with what it holds.
#[derive(Debug, Clone)]
pub struct InspectedDisk {
    /// The disk.
    pub machine: MachineDisk,
    /// What it holds.
    pub inspection: Inspection,
}

/// The disks that were inspected, and why others were not.
#[derive(Debug)]
pub struct Inspected {
    /// Those that can be read.
    pub disks: Vec<InspectedDisk>,
    /// The volume groups on them.
    pub groups: Vec<GroupInspection>,
    /// A sentence for each that cannot.
    pub problems: Vec<String>,
}

/// Inspects the named disks, or every disk of the machine. A named disk that cannot be read is an error; one among
/// all does not keep the others from being shown. `luks_keys` are files with keys that are tried on encrypted volumes.
pub fn inspect(wanted: &[Destination], settings: DiskSettings, luks_keys: &[PathBuf]) -> Result<Inspected> {
    let keys = luks_keys::read(luks_keys, &Silent)?;
    let machine = if wanted.is_empty() { linux::disks()? } else { named(wanted, settings)? };
    let mut inspected = Inspected { disks: Vec::new(), groups: Vec::new(), problems: Vec::new() };
    for (number, disk) in (0u32..).zip(machine) {
        match read(number, disk, settings, &Silent) {
            Ok(disk) => inspected.disks.push(disk),
            Err(error) if wanted.is_empty() => inspected.problems.push(format!("{error:#}")),
            Err(error) => return Err(error),
        }
    }
    let readers = inspected.disks.iter().map(|disk| DiskReader::open(&disk.machine.path));
    let readers: Vec<DiskReader> = readers.collect::<Result<_, _>>()?;
    let sources: Vec<&dyn ReadAt> = readers.iter().map(|reader| -> &dyn ReadAt { reader }).collect();
    let mut said = read_dynamic(&mut inspected.disks, &sources, &[]);
    said.extend(read_arrays(&mut inspected.disks, &sources, &[]));
    let mut unlocking = luks_keys::unlocking(&keys, &Silent);
    said.extend(luks_keys::unlock(&mut inspected.disks, &sources, &[], &mut unlocking)?);
    inspected.groups = read_groups(&mut inspected.disks, &sources);
    let disks: Vec<Disk> = inspected.disks.iter().map(|disk| disk.inspection.disk.clone()).collect();
    let opened: Vec<(&Disk, &dyn ReadAt)> = disks.iter().zip(sources.iter().copied()).collect();
    for group in inspected.groups.iter_mut().filter(|_| !keys.is_empty()) {
        let open = |logical| inspect::open_logical(&group.group, logical, &opened, &linux::KernelVolumes);
        let logical: Vec<Option<Box<dyn ReadAt>>> = group.group.logical_volumes.iter().map(open).collect();
        let logical: Vec<Option<&dyn ReadAt>> = logical.iter().map(Option::as_deref).collect();
        let position = disk_of(&disks, group);
        let sentences = luks_keys::unlock_logical(group, &logical, &[], &mut unlocking)?;
        said.extend(sentences.into_iter().map(|sentence| (position, sentence)));
    }
    // Keys for other machines among those of a fleet are no problem.
    inspected.problems.extend(luks_keys::useless(&unlocking).filter(|_| !unlocking.has_opened()));
    btrfs::read_inspected(&mut inspected, &sources);
    said.extend(twins(&inspected.disks, &[]));
    let machine: Vec<MachineDisk> = inspected.disks.iter().map(|disk| disk.machine.clone()).collect();
    said.extend(paths(&machine.iter().collect::<Vec<_>>(), &machine));
    for (position, sentence) in said {
        if let Some(disk) = inspected.disks.get_mut(position) {
            disk.inspection.findings.push(sentence);
        }
    }
    Ok(inspected)
}

/// Position of the disk with the first physical volume of a group, under which is said what there is to say of the group.
fn disk_of(disks: &[Disk], group: &GroupInspection) -> usize {
    let first = group.group.physical_volumes.first();
    let has_it = |disk: &Disk| {
        disk.volumes.iter().any(|volume| first.is_some_and(|first| first.volume == volume.name))
    };
    disks.iter().position(has_it).unwrap_or(0)
}

/// What is to be said of disks that this machine reaches by several paths: the position of each, with a sentence.
pub(super) fn paths(disks: &[&MachineDisk], all: &[MachineDisk]) -> Vec<(usize, String)> {
    let said = disks.iter().enumerate().filter_map(|(position, disk)| {
        let others: Vec<&str> =
            all.iter().filter(|other| other.is_other_path_of(disk)).map(|other| other.path.as_str()).collect();
        let sentence = format!(
            "{} is reached as {} too: these are paths of one disk. What only one of them is told, the others may not see: let \
             multipath join them (multipath -r) and name its device (/dev/mapper/mpatha), or see that nobody uses the others.",
            disk.path,
            others.join(" and ")
        );
        (!others.is_empty()).then_some((position, sentence))
    });
    said.collect()
}

/// Looks at members of arrays, at journals of others, and at groups of LVM1, on inspected disks together; what is to be said of the members, with
/// the position of the disk.
pub(super) fn read_arrays(
    disks: &mut [InspectedDisk],
    sources: &[&dyn ReadAt],
    only: &[String],
) -> Vec<(usize, String)> {
    let mut inspections: Vec<&mut Inspection> = disks.iter_mut().map(|disk| &mut disk.inspection).collect();
    inspect::read_journals(sources, &mut inspections, only);
    inspect::read_lvm1(sources, &mut inspections, only);
    inspect::read_arrays(sources, &mut inspections, only)
}

/// Looks at dynamic disks of Windows together; what is to be said of them, with the position of the disk.
pub(super) fn read_dynamic(
    disks: &mut [InspectedDisk],
    sources: &[&dyn ReadAt],
    only: &[String],
) -> Vec<(usize, String)> {
    let mut inspections: Vec<&mut Inspection> = disks.iter_mut().map(|disk| &mut disk.inspection).collect();
    inspect::read_dynamic(sources, &mut inspections, only)
}

/// Finds the volume groups on inspected disks, and says of each physical volume what it is.
pub(super) fn read_groups(disks: &mut [InspectedDisk], sources: &[&dyn ReadAt]) -> Vec<GroupInspection> {
    let mut inspections: Vec<&mut Inspection> = disks.iter_mut().map(|disk| &mut disk.inspection).collect();
    inspect::read_groups(sources, &mut inspections, &linux::KernelVolumes)
}

/// Says what a person should know about a disk, and refuses one whose table is nobody's guess.
pub(super) fn refuse_or_warn(disk: &InspectedDisk, monitor: &dyn Monitor) -> Result<()> {
    let refusals = &disk.inspection.refusals;
    for finding in disk.inspection.findings.iter().filter(|finding| !refusals.contains(finding)) {
        let subject = disk.machine.path.clone();
        monitor.event(Event::Warning { subject, message: finding.clone() });
    }
    match refusals.first() {
        Some(refusal) => bail!("{}: {refusal}", disk.machine.path),
        None => Ok(()),
    }
}

/// What is to be said of file systems with the same UUID: the position of each disk concerned, with a sentence.
pub(super) fn twins(disks: &[InspectedDisk], only: &[String]) -> Vec<(usize, String)> {
    let inspections: Vec<&Inspection> = disks.iter().map(|disk| &disk.inspection).collect();
    inspect::twins(&inspections, only)
}

/// The partitions of fixed disks, as a firmware's boot entries name them.
#[must_use]
pub fn partition_ids(disks: &[InspectedDisk]) -> Vec<PartitionId> {
    let fixed = disks.iter().filter(|disk| !disk.machine.removable && !disk.machine.boot_medium);
    let drives = fixed.flat_map(|disk| uefi::hard_drives(&disk.inspection.disk.table));
    drives.map(|drive| drive.id).collect()
}

/// True where the device, file or disk is there, and there is one of it.
#[must_use]
pub fn is_there(wanted: &Destination) -> bool {
    path_of(wanted).is_ok_and(|path| Path::new(&path).exists())
}

/// The path of the disk that a person means.
pub(super) fn path_of(wanted: &Destination) -> Result<String> {
    match wanted {
        Destination::Path(path) => Ok(path.clone()),
        Destination::Serial(_) | Destination::Wwn(_) => {
            the_one(wanted, &linux::disks()?).map(|disk| disk.path.clone())
        }
    }
}

/// The one disk of `all` that has a serial number or a WWN.
fn the_one<'a>(wanted: &Destination, all: &'a [MachineDisk]) -> Result<&'a MachineDisk> {
    let fits = |disk: &&MachineDisk| match wanted {
        Destination::Path(path) => disk.path == *path,
        Destination::Serial(serial) => {
            disk.serial.as_deref().is_some_and(|found| found.trim() == serial.trim())
        }
        Destination::Wwn(wwn) => {
            disk.wwn.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(wwn.trim()))
        }
    };
    let mut fitting = all.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(disk), None) => Ok(disk),
        (Some(one), Some(other)) => {
            bail!("{wanted} is both {} and {}; name it by its path", one.path, other.path)
        }
        (None, _) => {
            let found: Vec<String> = all.iter().map(|disk| disk.path.clone()).collect();
            bail!("this machine does not have {wanted} (found: {}); name another disk", found.join(", "))
        }
    }
}

/// The disks that a person named.
pub(super) fn named(wanted: &[Destination], settings: DiskSettings) -> Result<Vec<MachineDisk>> {
    let mut disks: Vec<MachineDisk> = Vec::new();
    for name in wanted {
        let disk = with_its_sectors(linux::disk(&path_of(name)?, settings.sector_size)?, settings)?;
        if disks.iter().any(|other| other.path == disk.path) {
            bail!("{} is named twice; name it once", disk.path);
        }
        if let Some(other) = disks.iter().find(|other| other.is_other_path_of(&disk)) {
            bail!(
                "{} and {} are paths of one disk (serial:{}); name one of them, or the device in which multipath joins them",
                other.path,
                disk.path,
                disk.serial.as_deref().unwrap_or_default()
            );
        }
        disks.push(disk);
    }
    Ok(disks)
}

/// A plain file has no sector size of its own: where nobody says, that of the GPT in it counts.
fn with_its_sectors(mut disk: MachineDisk, settings: DiskSettings) -> Result<MachineDisk> {
    if disk.kind == DiskKind::File
        && settings.sector_size.is_none()
        && let Some(sector) = partition::detect_sector_size(&DiskReader::open(&disk.path)?)
    {
        disk.logical_sector_bytes = sector;
        disk.physical_sector_bytes = disk.physical_sector_bytes.max(sector);
    }
    Ok(disk)
}

/// The one disk that a job without a name means: fixed, not the boot medium, and alone in that.
pub(super) fn only_candidate() -> Result<MachineDisk> {
    the_only(linux::disks()?)
}

fn the_only(all: Vec<MachineDisk>) -> Result<MachineDisk> {
    let is_candidate = |disk: &MachineDisk| !disk.removable && !disk.boot_medium && disk.size_bytes > 0;
    let (mut candidates, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_candidate);
    match (candidates.pop(), candidates.is_empty()) {
        (Some(disk), true) => Ok(disk),
        (Some(last), false) => {
            candidates.push(last);
            bail!(
                "the disk could be any of {}; name it with --disk, or in the profile, best by its serial number",
                facts(&candidates)
            )
        }
        (None, _) if others.is_empty() => bail!("this machine has no disk, or none with a driver"),
        (None, _) => bail!(
            "this machine has no fixed disk but what it was started from (found: {}); name one with --disk",
            facts(&others)
        ),
    }
}

/// Disks, as a person tells them apart.
fn facts(disks: &[MachineDisk]) -> String {
    let fact = |disk: &MachineDisk| {
        let model = disk.model.as_deref().map(|model| format!(" {model}")).unwrap_or_default();
        let serial = disk.serial.as_deref().map(|serial| format!(", serial:{serial}")).unwrap_or_default();
        format!("{} ({}{model}{serial})", disk.path, format_size(disk.size_bytes))
    };
    disks.iter().map(fact).collect::<Vec<_>>().join(", ")
}

/// Passes on the wish to stop, and no events: inspecting a disk is one step of a longer job here.
struct OnlyStop<'a>(&'a dyn Monitor);

impl Monitor for OnlyStop<'_> {
    fn event(&self, _: Event) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Reads a disk of this machine.
pub(super) fn read(
    number: u32,
    machine: MachineDisk,
    settings: DiskSettings,
    monitor: &dyn Monitor,
) -> Result<InspectedDisk> {
    let reader = DiskReader::open(&machine.path)?;
    read_source(&reader, number, machine, settings, monitor)
}

/// Reads what stands for a disk of this machine.
pub(super) fn read_source(
    source: &dyn ReadAt,
    number: u32,
    machine: MachineDisk,
    settings: DiskSettings,
    monitor: &dyn Monitor,
) -> Result<InspectedDisk> {
    let facts = DiskFacts {
        number,
        logical_sector_bytes: machine.logical_sector_bytes,
        physical_sector_bytes: machine.physical_sector_bytes,
        model: machine.model.clone(),
        serial: machine.serial.clone(),
        wwn: machine.wwn.clone(),
    };
    let inspection = inspect::read_disk(source, facts, settings.trust, &OnlyStop(monitor))
        .with_context(|| format!("inspecting {}", machine.path))?;
    Ok(InspectedDisk { machine, inspection })
}

/// Who uses a disk, as one sentence; `None` where nobody does.
pub(super) fn held(disk: &MachineDisk) -> Option<String> {
    let holders: Vec<String> = disk.holders.iter().map(Holder::to_string).collect();
    (!holders.is_empty()).then(|| holders.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MIB;

    fn disk(path: &str, serial: &str, wwn: Option<&str>) -> MachineDisk {
        MachineDisk {
            serial: Some(serial.to_owned()),
            wwn: wwn.map(str::to_owned),
            ..MachineDisk::new(path, MIB, SectorSize::B512)
        }
    }

    #[test]
    fn where_no_disk_is_named_there_is_one_that_it_can_be_or_none() {
        let stick = MachineDisk { removable: true, ..disk("/dev/sdc", "0", None) };
        let booted = MachineDisk { boot_medium: true, ..disk("/dev/sdd", "0", None) };
        let (sda, sdb) = (disk("/dev/sda", "WD-1", None), disk("/dev/sdb", "WD-2", None));
        let found = the_only(vec![stick.clone(), sda.clone(), booted.clone()]).unwrap();
        assert_eq!(found.path, "/dev/sda");
        let said = the_only(vec![sda, sdb, stick.clone()]).unwrap_err().to_string();
        assert!(
            said.contains("/dev/sda (1.00 MiB, serial:WD-1), /dev/sdb (1.00 MiB, serial:WD-2)"),
            "{said}"
        );
        assert!(!said.contains("sdc"), "{said}");
        let said = the_only(vec![stick, booted]).unwrap_err().to_string();
        assert!(said.contains("no fixed disk") && said.contains("/dev/sdd"), "{said}");
        assert!(the_only(Vec::new()).unwrap_err().to_string().contains("has no disk"));
    }

    #[test]
    fn paths_of_one_disk_are_told_from_disks_that_share_a_name() {
        let (one, other) = (disk("/dev/sda", "S-1", Some("naa.5")), disk("/dev/sdb", "S-1", Some("naa.5")));
        let adapter = disk("/dev/sdc", "S-2", Some("naa.5"));
        let nameless = disk("/dev/sdd", "S-1", None);
        let file = MachineDisk { kind: DiskKind::File, ..disk("/srv/a", "S-1", Some("naa.5")) };
        let all = [one.clone(), other, adapter.clone(), nameless.clone(), file.clone()];
        let said = paths(&[&adapter, &one, &nameless, &file], &all);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].0, 1);
        assert!(said[0].1.starts_with("/dev/sda is reached as /dev/sdb too"), "{}", said[0].1);
    }

    #[test]
    fn a_serial_number_or_a_wwn_names_one_disk_or_none() {
        let all = [
            disk("/dev/sda", " WD-1", Some("naa.5000C500")),
            disk("/dev/sdb", "0", None),
            disk("/dev/sdc", "0", None),
        ];
        let found = |wanted: &str| {
            let Ok(wanted) = wanted.parse::<Destination>();
            the_one(&wanted, &all).map(|disk| disk.path.as_str()).map_err(|error| error.to_string())
        };
        assert_eq!(found("serial:WD-1"), Ok("/dev/sda"));
        assert_eq!(found("wwn:naa.5000c500"), Ok("/dev/sda"));
        let twice = found("serial:0").unwrap_err();
        assert!(twice.contains("both /dev/sdb and /dev/sdc"), "{twice}");
        let missing = found("serial:WD").unwrap_err();
        assert!(missing.contains("(found: /dev/sda, /dev/sdb, /dev/sdc)"), "{missing}");
    }
}
