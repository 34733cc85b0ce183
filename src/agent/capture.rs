//! `remint capture`.

use super::btrfs;
use super::disks::{self, DiskSettings, InspectedDisk};
use super::images::{StoreSettings, open_store};
use super::luks_keys;
use super::replay::{self, LogicalSources};
use crate::blockio::{ReadAt, WriteAt};
use crate::capture::{self, Capture, Options, Report};
use crate::image::{ImageName, ImageVersion, Manifest, Store, StoreError, VersionName};
use crate::inspect::GroupInspection;
use crate::linux::{self, DiskReader};
use crate::machine::MachineDisk;
use crate::plan::{self, CaptureOptions, CapturePlan, DiskFound, GroupCapture, GroupFound};
use crate::progress::{Event, Monitor, Phase};
use crate::schema::{Compression, Destination, Disk, OnReadError};
use crate::units::format_size;
use anyhow::{Context, Result, bail};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct CaptureRequest {
    /// Name of the image.
    pub image: ImageName,
    /// Where it goes.
    pub store: StoreSettings,
    /// The disks; empty for the only one.
    pub disks: Vec<Destination>,
    /// How the disks are looked at.
    pub disk_settings: DiskSettings,
    /// What is captured.
    pub options: CaptureOptions,
    /// Files with keys that are tried on encrypted volumes.
    pub luks_keys: Vec<PathBuf>,
    /// How chunks are compressed.
    pub compression: Compression,
    /// What happens to unreadable sectors.
    pub on_read_error: OnReadError,
    /// Captures a disk although something uses it.
    pub allow_in_use: bool,
    /// A file to be made for changes of a replay that have no room in memory.
    pub spill: Option<PathBuf>,
    /// Number of threads.
    pub workers: NonZeroUsize,
    /// A remark for the manifest.
    pub comment: Option<String>,
}

/// What was captured.
#[derive(Debug, Clone)]
pub struct CaptureOutcome {
    /// The new version.
    pub version: ImageVersion,
    /// Its manifest.
    pub manifest: Manifest,
    /// What was read and sent.
    pub report: Report,
}

impl CaptureOutcome {
    /// What was made, as a sentence; `store` is where it went.
    #[must_use]
    pub fn sentence(&self, store: &str) -> String {
        if self.manifest.schema_only {
            return format!("sent the schema of {} without data to {store}", self.version);
        }
        let (read, sent) = (format_size(self.report.read_bytes), format_size(self.report.sent_bytes));
        format!("captured {}: {read} read, {sent} sent to {store}", self.version)
    }

    /// What needs attention although the capture is done.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let beside = |name: &str| {
            let volume = self.manifest.volumes().find(|volume| volume.name == name);
            volume.and_then(capture::meaning_of_zeros).map(|clause| format!("; {clause}")).unwrap_or_default()
        };
        let sentence = |(volume, range): &(String, _)| {
            let more = beside(volume);
            format!("unreadable, stored as zeros: {range} of {volume}{more}")
        };
        self.report.bad_ranges.iter().map(sentence).collect()
    }
}

/// Captures disks into a new version of an image.
pub fn capture(request: &CaptureRequest, monitor: &dyn Monitor) -> Result<CaptureOutcome> {
    monitor.event(Event::PhaseStarted { phase: Phase::Inspect, total_bytes: None });
    let keys = luks_keys::read(&request.luks_keys, monitor)?;
    let machine = match request.disks.as_slice() {
        [] => vec![disks::only_candidate()?],
        named => disks::named(named, request.disk_settings)?,
    };
    let mut inspected = Vec::new();
    let mut readers = Vec::new();
    for (number, disk) in (0u32..).zip(machine) {
        if let Some(holders) = disks::held(&disk) {
            let message = format!("{} is in use: {holders}", disk.path);
            if !request.allow_in_use {
                bail!("{message}; what is read could change meanwhile. Unmount it, or pass --allow-in-use");
            }
            monitor.event(Event::Warning { subject: disk.path.clone(), message });
        }
        readers.push(DiskReader::open(&disk.path)?);
        let disk = disks::read(number, disk, request.disk_settings, monitor)?;
        disks::refuse_or_warn(&disk, monitor)?;
        inspected.push(disk);
    }
    let machine: Vec<&MachineDisk> = inspected.iter().map(|disk| &disk.machine).collect();
    let all = linux::disks().unwrap_or_default();
    warn(&inspected, disks::paths(&machine, &all), monitor);
    warn(&inspected, disks::twins(&inspected, &request.options.only), monitor);
    let spill = replay::spill_file(request)?;
    let spills = replay::spill_parts(spill.as_ref(), 0, readers.len());
    let mut found = Vec::new();
    let mut sources = Vec::new();
    for ((disk, reader), spill) in inspected.into_iter().zip(&readers).zip(&spills) {
        let spill = spill.as_ref().map(|spill| -> &dyn WriteAt { spill });
        let (disk, source) = replay::settled(disk, reader, spill, request, monitor)?;
        found.push(disk);
        sources.push(source);
    }
    let sources: Vec<&dyn ReadAt> = sources.iter().map(|source| -> &dyn ReadAt { source }).collect();
    let said = disks::read_dynamic(&mut found, &sources, &request.options.only);
    warn(&found, said, monitor);
    let said = disks::read_arrays(&mut found, &sources, &request.options.only);
    warn(&found, said, monitor);
    let mut unlocking = luks_keys::unlocking(&keys, monitor);
    let said = luks_keys::unlock(&mut found, &sources, &request.options.only, &mut unlocking)?;
    warn(&found, said, monitor);
    let mut groups = disks::read_groups(&mut found, &sources);
    let held = found.iter().find_map(|disk| disks::held(&disk.machine));
    let mut found: Vec<DiskFound> = found.into_iter().map(|disk| disk.inspection.into()).collect();
    let opened: Vec<(Disk, &dyn ReadAt)> =
        found.iter().map(|found| found.disk.clone()).zip(sources.iter().copied()).collect();
    let count = groups.iter().map(|found| found.group.logical_volumes.len()).sum();
    let logical_spills = replay::spill_parts(spill.as_ref(), readers.len(), count);
    let mut spills = logical_spills.iter();
    let mut logical = Vec::new();
    for group in &mut groups {
        let (number, sources) =
            replay::settled_group(group, &opened, &mut spills, held.as_deref(), request, monitor);
        let borrowed = borrowed(&sources);
        for message in luks_keys::unlock_logical(group, &borrowed, &request.options.only, &mut unlocking)? {
            monitor.event(Event::Warning { subject: group.group.name.clone(), message });
        }
        logical.push((number, sources));
    }
    if let Some(message) = luks_keys::useless(&unlocking) {
        monitor.event(Event::Warning { subject: "keys".to_owned(), message });
    }
    // They have served, and are wiped.
    drop(unlocking);
    drop(keys);
    let maps = found.iter_mut().zip(&sources).map(|(found, source)| -> btrfs::DiskMaps<'_> {
        let DiskFound { disk, used, .. } = found;
        (disk, used, *source)
    });
    btrfs::read_together(maps, &mut groups, &logical, &request.options.only);
    monitor.event(Event::PhaseFinished { phase: Phase::Inspect });
    let groups = groups.into_iter().map(|found| {
        let GroupInspection { group, used, problems } = found;
        GroupFound { group, used, problems }
    });
    let plan = plan::capture(found, groups.collect(), &request.options)?;
    for doubt in &plan.untrusted {
        let findings = doubt.findings.join("; ");
        let message =
            format!("a capture with data would be refused: {} is {}: {findings}", doubt.content, doubt.state);
        monitor.event(Event::Warning { subject: doubt.volume.clone(), message });
    }
    let logical = of_plan(&plan, &logical);
    let store = open_store(&request.store, true)?;
    let (version, previous) = next_version(store.as_ref(), &request.image, monitor)?;
    let options = Options {
        compression: request.compression,
        on_read_error: request.on_read_error,
        workers: request.workers,
        comment: request.comment.clone(),
        created: OffsetDateTime::now_utc().format(&Rfc3339).context("writing the time")?,
    };
    let (manifest, report) = capture::run(&Capture {
        plan: &plan,
        sources: &sources,
        logical: &logical,
        store: store.as_ref(),
        version: &version,
        previous: previous.as_ref(),
        options: &options,
        monitor,
    })?;
    Ok(CaptureOutcome { version, manifest, report })
}

/// Tells what is to be said of disks, each by its position.
fn warn(disks: &[InspectedDisk], said: Vec<(usize, String)>, monitor: &dyn Monitor) {
    for (position, message) in said {
        let subject = disks.get(position).map(|disk| disk.machine.path.clone()).unwrap_or_default();
        monitor.event(Event::Warning { subject, message });
    }
}

/// The sources of the groups that are captured, of all that were found.
fn of_plan<'a>(plan: &CapturePlan, logical: &'a [LogicalSources<'a>]) -> Vec<Vec<Option<&'a dyn ReadAt>>> {
    let of_group = |group: &GroupCapture| {
        let found = logical.iter().find(|(number, _)| *number == group.group.number);
        borrowed(found.map(|(_, sources)| sources.as_slice()).unwrap_or_default())
    };
    plan.groups.iter().map(of_group).collect()
}

fn borrowed<'a>(sources: &'a [Option<Box<dyn ReadAt + 'a>>]) -> Vec<Option<&'a dyn ReadAt>> {
    sources.iter().map(|source| source.as_ref().map(|source| -> &dyn ReadAt { source })).collect()
}

/// Announces a new version, named by the time; returns it, and the manifest of the newest one with data before where
/// that can be read.
fn next_version(
    store: &dyn Store,
    image: &ImageName,
    monitor: &dyn Monitor,
) -> Result<(ImageVersion, Option<Manifest>)> {
    let now = OffsetDateTime::now_utc()
        .format(format_description!("[year]-[month]-[day]T[hour][minute][second]"))?;
    let taken = store.versions(image)?;
    let previous = Manifest::newest(store, image)?.and_then(|(_, manifest)| manifest);
    let version = announce(store, image, &now, taken)?;
    if !version.version.as_ref().starts_with(&now) {
        let message = format!(
            "the clock of this machine says {now}, and there is a later version already; the new one is named \
             {version}, so that it is the newest"
        );
        monitor.event(Event::Warning { subject: image.to_string(), message });
    }
    Ok((version, previous))
}

/// How many captures of one image may begin in the same second.
const AT_ONCE: u32 = 20;

/// Takes the first name that is free. Captures that were killed, or run elsewhere, can be seen only by asking.
fn announce(
    store: &dyn Store,
    image: &ImageName,
    now: &str,
    mut taken: Vec<VersionName>,
) -> Result<ImageVersion> {
    let mut asked = 0u32;
    loop {
        let version = ImageVersion { image: image.clone(), version: name_after(now, &taken).parse()? };
        asked = asked.saturating_add(1);
        match store.begin_capture(&version) {
            Ok(()) => return Ok(version),
            Err(StoreError::Refused { .. }) if asked < AT_ONCE => taken.push(version.version),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A name that sorts behind all that are taken: what was captured last is the newest, even where a clock was
/// set back or several captures fall into one second.
fn name_after(now: &str, taken: &[VersionName]) -> String {
    let is_time = |text: &str| {
        text.len() == now.len()
            && text.bytes().zip(now.bytes()).all(|(a, b)| a.is_ascii_digit() == b.is_ascii_digit())
    };
    let newest = taken.iter().map(VersionName::age_key).filter(|(second, _)| is_time(second)).max();
    match newest {
        Some((second, number)) if second >= now => {
            format!("{second}Z-{}", number.saturating_add(1).max(2))
        }
        _ => format!("{now}Z"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_is_captured_last_is_the_newest() {
        const NOW: &str = "2026-11-20T211500";
        for (taken, expected) in [
            (vec![], "2026-11-20T211500Z"),
            (vec!["2026-11-20T211459Z-7"], "2026-11-20T211500Z"),
            (vec!["2026-11-20T211500Z"], "2026-11-20T211500Z-2"),
            (
                vec!["2026-11-20T211500Z", "2026-11-20T211500Z-9", "2026-11-20T211500Z-10"],
                "2026-11-20T211500Z-11",
            ),
            // A clock that was set back.
            (vec!["2026-11-20T211459Z", "2031-01-01T000000Z"], "2031-01-01T000000Z-2"),
            // A name that is no time says nothing about time.
            (vec!["golden"], "2026-11-20T211500Z"),
        ] {
            let taken: Vec<VersionName> = taken.iter().map(|name| name.parse().unwrap()).collect();
            let name: VersionName = name_after(NOW, &taken).parse().unwrap();
            assert_eq!(name.as_ref(), expected);
            let newest =
                taken.iter().filter(|name| name.as_ref() != "golden").all(|t| t.age_key() < name.age_key());
            assert!(newest, "{name}");
        }
    }
}
