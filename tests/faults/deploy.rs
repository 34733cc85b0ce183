//! Deploys of an image, and what a target must hold afterwards: every byte of it.

use super::boot_entries::Untouched;
use super::customize::{CODE, STAMP, STAMP_AT, Stamp};
use super::disk::{DISCARDED, Op, Target, Tear};
use super::image::{Image, ONE_WORKER, part, version};
use super::source::noise;
use super::trigger::Trigger;
use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::filesystem;
use remint::image::Store;
use remint::machine::MachineDisk;
use remint::partition::{self, Trust};
use remint::plan::{self, Clearing, DeployOptions, DeployPlan, DiskPlan, Step, VolumeAction, VolumePlan};
use remint::progress::Monitor;
use remint::resize::{Change, ResizeError, Resizer};
use remint::restore::{self, Error, Failure, Surroundings};
use remint::schema::{FileSystemKind, FreeSpace, Layout, Table};
use remint::units::{ByteRange, Hex, MIB, RangeSet, SectorSize};
use std::io;
use std::num::NonZeroUsize;

const SECTOR: SectorSize = SectorSize::B512;
/// What the test's resizer writes near the end of a volume that it grows.
const GROWN: [u8; 512] = [0x67; 512];
const GROWN_BEFORE_END: u64 = 4096;

/// How a deploy ended.
#[derive(Debug)]
pub enum Outcome {
    Refused(Error),
    Failed(Failure),
    Problems(Vec<String>),
    Done,
}

/// A deploy that is about to be made.
pub struct Deploy<'a> {
    pub image: &'a Image,
    pub plan: DeployPlan,
    pub workers: NonZeroUsize,
    /// What stands on the targets: noise, and the table of another disk.
    pub before: Vec<Vec<u8>>,
    expected: Vec<Vec<u8>>,
    stamp: Stamp,
}

impl<'a> Deploy<'a> {
    pub fn new(image: &'a Image, sizes: &[usize], free_space: FreeSpace) -> Self {
        let machine: Vec<MachineDisk> =
            (0..).zip(sizes).map(|(number, size)| machine_disk(number, *size)).collect();
        let disks = &image.manifest.disks;
        let targets = plan::match_disks(disks, &machine).unwrap();
        let options = DeployOptions { free_space, ..DeployOptions::of(Layout::Dynamic) };
        let plan = plan::deploy("machine", "1", disks, &targets, &options).unwrap();
        let before: Vec<Vec<u8>> = sizes.iter().map(|size| used_disk(*size)).collect();
        let expected =
            plan.disks.iter().zip(&before).map(|(plan, before)| expected(image, plan, before)).collect();
        Self { image, plan, workers: ONE_WORKER, before, expected, stamp: Stamp::default() }
    }

    /// Adds a step to the plan.
    pub fn take(&mut self, step: Step, stamp: Stamp) {
        for (disk, expected) in self.plan.disks.iter().zip(&mut self.expected) {
            let volume = disk.volumes.iter().find(|planned| planned.volume == step.volume()).unwrap();
            let at = (volume.place.start() + STAMP_AT) as usize;
            expected[at..at + STAMP.len()].copy_from_slice(&STAMP);
            expected[..CODE.len()].copy_from_slice(&CODE);
        }
        self.plan.steps.push(step);
        self.stamp = stamp;
    }

    /// Has the steps fail, so that nothing of them stands on the targets.
    pub fn fail_steps(&mut self, stamp: Stamp) {
        let (image, disks) = (self.image, self.plan.disks.iter().zip(&self.before));
        self.expected = disks.map(|(plan, before)| expected(image, plan, before)).collect();
        self.stamp = stamp;
    }

    /// Targets of which the one with this number fails.
    pub fn targets(&self, failing: usize, trigger: impl Fn() -> Trigger, tear: Tear) -> Vec<Target> {
        let trigger = |number| if number == failing { trigger() } else { Trigger::never() };
        let numbered = self.before.iter().enumerate();
        numbered.map(|(number, before)| Target::new(before, trigger(number), tear)).collect()
    }

    pub fn sound_targets(&self) -> Vec<Target> {
        self.targets(usize::MAX, Trigger::never, Tear::Before)
    }

    pub fn run(&self, targets: &[Target], store: &dyn Store, monitor: &dyn Monitor) -> Outcome {
        let resizer = Marker { plan: &self.plan, targets };
        let (manifest, version) = (&self.image.manifest, version("1"));
        let prepared = restore::prepare(&self.plan, manifest, store, version, &resizer, &self.stamp);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Outcome::Refused(error),
        };
        let targets: Vec<&dyn WriteAt> = targets.iter().map(|target| -> &dyn WriteAt { target }).collect();
        let (customizer, workers) = (&self.stamp, self.workers);
        let around = Surroundings { resizer: &resizer, customizer, firmware: &Untouched, workers, monitor };
        match restore::run(&prepared, &targets, &around) {
            Ok(finished) if finished.problems.is_empty() => Outcome::Done,
            Ok(finished) => Outcome::Problems(finished.problems),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// Holds the targets to what the outcome says.
    pub fn judge(&self, targets: &[Target], outcome: &Outcome, what: &str) {
        let not_cleared = match outcome {
            Outcome::Done | Outcome::Problems(_) => return self.judge_done(targets, what),
            Outcome::Refused(_) => &[] as &[String],
            Outcome::Failed(failure) => failure.not_cleared.as_slice(),
        };
        let changed = matches!(outcome, Outcome::Failed(failure) if failure.target_changed);
        assert_eq!(changed, targets.iter().any(Target::touched), "{what}: {outcome:?}");
        for (disk, target) in self.plan.disks.iter().zip(targets) {
            let said = not_cleared.iter().any(|sentence| sentence.contains(&disk.target.path));
            if target.touched() && !said {
                assert_plain(target, what);
                assert!(!target.unflushed(), "{what}: the clearing is not on the medium");
            }
        }
    }

    fn judge_done(&self, targets: &[Target], what: &str) {
        for (number, (disk, target)) in self.plan.disks.iter().zip(targets).enumerate() {
            let mut expected = self.expected[number].clone();
            if target.failed_to_discard() {
                // Free space keeps what stood there, and a warning says so.
                let kept = DiskPlan { free_space: Clearing::Keep, ..disk.clone() };
                expected = self::expected(self.image, &kept, &self.before[number]);
            }
            assert!(!target.unflushed(), "{what}: not everything is on the medium");
            let bytes = target.bytes();
            assert_same(&bytes, &expected, &format!("{what}: {}", disk.target.path));
            let reading = partition::read(&bytes.as_slice(), SECTOR, Trust::Undecided).unwrap();
            assert_eq!(without_sector_zero(reading.table), without_sector_zero(disk.table.clone()), "{what}");
            assert_eq!(reading.findings, [], "{what}");
        }
    }

    /// Holds the targets to a deploy of which only the step failed; its sector may be there or not, or by half.
    pub fn judge_without_step(&self, targets: &[Target], what: &str) {
        for ((disk, target), before) in self.plan.disks.iter().zip(targets).zip(&self.before) {
            let (bytes, mut expected) = (target.bytes(), expected(self.image, disk, before));
            let step = self.plan.steps[0].volume();
            let volume = disk.volumes.iter().find(|planned| planned.volume == step).unwrap();
            let at = (volume.place.start() + STAMP_AT) as usize;
            expected[at..at + STAMP.len()].copy_from_slice(&bytes[at..at + STAMP.len()]);
            assert!(!target.unflushed(), "{what}: not everything is on the medium");
            assert_same(&bytes, &expected, &format!("{what}: {}", disk.target.path));
        }
    }

    /// After a power cut at any moment, whatever of the unflushed writes is lost: a target that is recognised
    /// as anything holds every volume whole, or only lost its ends.
    pub fn judge_power_cuts(&self, targets: &[Target]) {
        for (number, target) in targets.iter().enumerate() {
            let log = target.log();
            let flushed = MemoryDisk::from_bytes(&self.before[number]);
            let mut pending: Vec<&Op> = Vec::new();
            let mut flushes = 0;
            for op in &log {
                if let Op::Flush = op {
                    pending.drain(..).for_each(|op| op.replay(&flushed));
                    flushes += 1;
                } else {
                    pending.push(op);
                }
                // All of it arrived, or only the last write, or nothing.
                let last = pending.len().saturating_sub(1);
                for arrived in [&pending[..], &pending[last..], &[]] {
                    self.judge_power_cut(number, &Medium { flushed: &flushed, arrived }, flushes);
                }
            }
        }
    }

    fn judge_power_cut(&self, number: usize, medium: &Medium<'_>, flushes: usize) {
        if recognised(medium).is_none() || flushes == 0 {
            return;
        }
        let disk = &self.plan.disks[number];
        let (bytes, expected) = (content(medium), &self.expected[number]);
        for volume in disk.volumes.iter().filter(|volume| written(volume).is_some()) {
            let mut place = volume.place;
            if volume.resize.is_some() {
                // A volume that fills the disk is recognised while it grows.
                place = ByteRange::new(place.start(), place.end() - GROWN_BEFORE_END);
            }
            let range = place.start() as usize..place.end() as usize;
            assert_same(
                &bytes[range.clone()],
                &expected[range],
                &format!("{} after a power cut", volume.volume),
            );
        }
    }
}

/// What a power cut left: what was flushed, and some of what was not.
struct Medium<'a> {
    flushed: &'a MemoryDisk,
    arrived: &'a [&'a Op],
}

impl ReadAt for Medium<'_> {
    fn size_bytes(&self) -> u64 {
        self.flushed.size_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.flushed.read_at(offset, buffer)?;
        let window = ByteRange::at(offset, buffer.len() as u64).unwrap();
        for op in self.arrived {
            let both = op.range().intersection(window);
            let at = (both.start().saturating_sub(offset)) as usize;
            let Some(place) = buffer.get_mut(at..at + both.length() as usize) else { continue };
            match op {
                Op::Write(start, bytes) if !place.is_empty() => {
                    place.copy_from_slice(&bytes[(both.start() - start) as usize..][..place.len()]);
                }
                Op::Discard(_) => place.fill(DISCARDED),
                _ => place.fill(0),
            }
        }
        Ok(())
    }
}

/// Growing: a mark near the end of the volume.
pub struct Marker<'a> {
    pub plan: &'a DeployPlan,
    pub targets: &'a [Target],
}

impl Resizer for Marker<'_> {
    fn missing(&self, _: Change, _: FileSystemKind, _: &MachineDisk) -> Option<String> {
        None
    }
    fn missing_shown(&self, _: Change, _: FileSystemKind, _: &MachineDisk) -> Option<String> {
        None
    }
    fn grow_shown(&self, _: &dyn WriteAt, _: &MachineDisk, _: FileSystemKind) -> Result<(), ResizeError> {
        panic!("no logical volume here grows")
    }
    fn grow(&self, disk: &MachineDisk, place: ByteRange, _: FileSystemKind) -> Result<(), ResizeError> {
        let failed = |source| ResizeError::Io { doing: "growing".to_owned(), source };
        let number = self.plan.disks.iter().position(|plan| plan.target.path == disk.path).unwrap();
        let target = &self.targets[number];
        assert!(!target.unflushed(), "a tool that opens the device would not see everything");
        assert!(filesystem::read(&target.bytes().as_slice()).unwrap().is_some(), "there is nothing to grow");
        target.write_at(place.end() - GROWN_BEFORE_END, &GROWN).map_err(failed)?;
        target.flush().map_err(failed)
    }
    fn shrink(
        &self,
        _: &dyn WriteAt,
        _: &MachineDisk,
        _: ByteRange,
        _: FileSystemKind,
    ) -> Result<(), ResizeError> {
        panic!("no target here is smaller than its image")
    }
}

pub fn machine_disk(number: u32, size: usize) -> MachineDisk {
    let disk = MachineDisk::new(format!("/dev/target{number}"), size as u64, SECTOR);
    MachineDisk { can_discard: true, ..disk }
}

/// Noise, and in front of it and behind it a GPT of another disk.
fn used_disk(size: usize) -> Vec<u8> {
    let mut bytes = noise(size, 77);
    let Table::Gpt(mut gpt) = super::image::inspect(&[super::source::gpt()]).remove(0).disk.table else {
        panic!()
    };
    gpt.partitions.truncate(1);
    gpt.last_usable_lba =
        partition::last_usable_lba(size as u64, SECTOR, gpt.entry_count, gpt.entry_size_bytes).unwrap();
    for piece in partition::encode(&Table::Gpt(gpt), size as u64, SECTOR).unwrap() {
        bytes[piece.at as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    bytes
}

/// The bytes of a captured volume that a plan writes.
fn written(volume: &VolumePlan) -> Option<ByteRange> {
    match volume.action {
        VolumeAction::Write => Some(ByteRange::new(0, u64::MAX)),
        VolumeAction::WriteGap { gap } => Some(gap),
        VolumeAction::RecreateSwap => Some(ByteRange::new(0, 4096)),
        VolumeAction::MakePhysicalVolume | VolumeAction::LeaveEmpty => None,
    }
}

/// What the target must hold after a good deploy.
fn expected(image: &Image, plan: &DiskPlan, before: &[u8]) -> Vec<u8> {
    let mut bytes = match plan.free_space {
        Clearing::Keep => before.to_vec(),
        Clearing::Discard => vec![DISCARDED; before.len()],
        Clearing::Zero => vec![0; before.len()],
    };
    plan.clear.iter().for_each(|range| part(&mut bytes, *range).fill(0));
    for volume in &plan.volumes {
        let (source, used) = image.volume(&volume.volume);
        let origin = if let VolumeAction::WriteGap { .. } = volume.action { 0 } else { volume.place.start() };
        let scope = written(volume).unwrap_or_default();
        let used = if volume.action == VolumeAction::RecreateSwap { RangeSet::of(scope) } else { used };
        for range in used.within(scope) {
            let place = ByteRange::at(origin + range.start(), range.length()).unwrap();
            part(&mut bytes, place).copy_from_slice(&source[range.start() as usize..range.end() as usize]);
        }
        let end = volume.place.end() as usize;
        let kind = image.manifest.disks.iter().flat_map(|disk| &disk.volumes);
        let kind =
            kind.filter(|captured| captured.name == volume.volume).find_map(|v| v.content.file_system());
        let larger = volume.place.length() > source.len() as u64;
        if larger && kind.is_some_and(|fs| fs.kind == FileSystemKind::Ntfs) {
            bytes[end - 512..end].copy_from_slice(&source[..512]);
        }
        if volume.resize.is_some() {
            bytes[end - GROWN_BEFORE_END as usize..][..GROWN.len()].copy_from_slice(&GROWN);
        }
    }
    for piece in partition::encode(&plan.table, before.len() as u64, SECTOR).unwrap() {
        bytes[piece.at as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    bytes
}

/// What a firmware or a system would take the disk for.
pub fn recognised(disk: &dyn ReadAt) -> Option<String> {
    match partition::read(disk, SECTOR, Trust::Undecided) {
        Err(error) => return Some(error.to_string()),
        Ok(reading) if reading.table != Table::None => return Some(format!("{:?}", reading.table)),
        Ok(reading) if !reading.findings.is_empty() => return Some(format!("{:?}", reading.findings)),
        Ok(_) => {}
    }
    filesystem::read(disk).unwrap().map(|reading| reading.file_system.kind.to_string())
}

/// The table without the protective MBR, whose length is that of the disk.
fn without_sector_zero(mut table: Table) -> Table {
    if let Table::Gpt(gpt) = &mut table {
        gpt.boot_sector = Hex(Vec::new());
    }
    table
}

/// The target is plainly unbootable: nothing is left of a table or of a file system that fills the disk.
pub fn assert_plain(target: &Target, what: &str) {
    let bytes = target.bytes();
    assert_eq!(recognised(&bytes.as_slice()), None, "{what}");
    let end = MIB.min(bytes.len() as u64) as usize;
    assert!(bytes[..end].iter().all(|byte| *byte == 0), "{what}: the first MiB");
    assert!(bytes[bytes.len() - end..].iter().all(|byte| *byte == 0), "{what}: the last MiB");
}

fn content(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; disk.size_bytes() as usize];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found != expected {
        let at = found.iter().zip(expected).position(|(one, other)| one != other);
        let count = found.iter().zip(expected).filter(|(one, other)| one != other).count();
        panic!(
            "{what}: {count} bytes differ, the first at {at:?} ({} and {} bytes)",
            found.len(),
            expected.len()
        );
    }
}
