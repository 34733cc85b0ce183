//! Captures of the test's disks, as the agent makes them.

use super::disk::Source;
use super::store::{FailingStore, MemoryStore, Trouble};
use super::trigger::Trigger;
use remint::blockio::ReadAt;
use remint::capture::{self, Options, Report};
use remint::image::{ImageVersion, Manifest, Store};
use remint::inspect::{self, DiskFacts};
use remint::partition::Trust;
use remint::plan::{self, CaptureOptions, CapturePlan, CaptureRefusal, DiskFound};
use remint::progress::{Monitor, Silent};
use remint::schema::{Compression, OnReadError};
use remint::units::{ByteRange, RangeSet, SectorSize};
use remint::verify;
use std::num::NonZeroUsize;

pub const ONE_WORKER: NonZeroUsize = NonZeroUsize::MIN;

pub fn version(name: &str) -> ImageVersion {
    format!("machine@{name}").parse().unwrap()
}

/// What is on the disks and which of it is used.
pub fn inspect(sources: &[&[u8]]) -> Vec<DiskFound> {
    let read = |(number, source): (u32, &&[u8])| {
        let facts = DiskFacts {
            number,
            logical_sector_bytes: SectorSize::B512,
            physical_sector_bytes: SectorSize::B512,
            model: None,
            serial: None,
            wwn: None,
        };
        let inspection = inspect::read_disk(source, facts, Trust::Undecided, &Silent).unwrap();
        assert_eq!(inspection.refusals, [] as [String; 0]);
        inspection.into()
    };
    (0..).zip(sources).map(read).collect()
}

/// A capture that is about to be made.
pub struct Capture {
    pub sources: Vec<&'static [u8]>,
    pub plan: CapturePlan,
    pub on_read_error: OnReadError,
    pub workers: NonZeroUsize,
}

impl Capture {
    pub fn of(sources: &[&'static [u8]]) -> Self {
        Self::with(sources, &CaptureOptions::default()).unwrap()
    }

    pub fn with(sources: &[&'static [u8]], options: &CaptureOptions) -> Result<Self, CaptureRefusal> {
        let plan = plan::capture(inspect(sources), vec![], options)?;
        let on_read_error = OnReadError::Fail;
        Ok(Self { sources: sources.to_vec(), plan, on_read_error, workers: ONE_WORKER })
    }

    pub fn run(
        &self,
        sources: &[&dyn ReadAt],
        store: &dyn Store,
        name: &str,
        previous: Option<&Manifest>,
        monitor: &dyn Monitor,
    ) -> Result<(Manifest, Report), capture::Error> {
        let options = Options {
            compression: Compression::Fast,
            on_read_error: self.on_read_error,
            workers: self.workers,
            comment: Some("made by a test".to_owned()),
            created: "2026-11-20T21:15:00Z".to_owned(),
        };
        let version = version(name);
        let plan = &self.plan;
        capture::run(&capture::Capture {
            plan,
            sources,
            logical: &[],
            store,
            version: &version,
            previous,
            options: &options,
            monitor,
        })
    }

    /// A capture in which only reading fails.
    pub fn read_from(
        &self,
        sources: &[Source<'_>],
        store: &MemoryStore,
    ) -> Result<(Manifest, Report), capture::Error> {
        let sources: Vec<&dyn ReadAt> = sources.iter().map(|source| -> &dyn ReadAt { source }).collect();
        self.run(&sources, store, "1", None, &Silent)
    }

    /// A capture in which only the store fails.
    pub fn send_to(
        &self,
        store: &MemoryStore,
        trigger: Trigger,
        trouble: Trouble,
        name: &str,
        previous: Option<&Manifest>,
    ) -> (Result<(Manifest, Report), capture::Error>, bool) {
        let store = FailingStore { inner: store, trigger, trouble };
        let result = self.run(&self.sources(), &store, name, previous, &Silent);
        (result, store.trigger.fired())
    }

    pub fn sources(&self) -> Vec<&dyn ReadAt> {
        self.sources.iter().map(|source| -> &dyn ReadAt { source }).collect()
    }

    /// A capture in which nothing fails.
    pub fn image(self) -> Image {
        let store = MemoryStore::default();
        let (manifest, report) = self.run(&self.sources(), &store, "1", None, &Silent).unwrap();
        assert_eq!(report.bad_ranges, []);
        Image { capture: self, manifest, store }
    }
}

/// A capture that was made, under the version "1".
pub struct Image {
    pub capture: Capture,
    pub manifest: Manifest,
    pub store: MemoryStore,
}

impl Image {
    /// What an image of this volume must give back: its bytes, with zeros where they could not be read.
    pub fn volume(&self, name: &str) -> (Vec<u8>, RangeSet) {
        for (disk, source) in self.capture.plan.disks.iter().zip(&self.capture.sources) {
            for (volume, read) in disk.disk.volumes.iter().zip(&disk.read) {
                if volume.name == name {
                    let start = volume.start_bytes as usize;
                    let mut bytes = source[start..start + volume.size_bytes as usize].to_vec();
                    let bad = self.manifest.stored(name).map(|stored| stored.bad_ranges.clone());
                    for range in bad.unwrap_or_default() {
                        part(&mut bytes, range).fill(0);
                    }
                    return (bytes, read.clone().unwrap_or_default());
                }
            }
        }
        panic!("no volume {name}")
    }
}

/// What a check of version "1" finds.
pub fn verify(store: &dyn Store, deep: bool) -> Result<Vec<verify::Fault>, verify::Error> {
    let version = version("1");
    let manifest = Manifest::load(store, &version)?;
    verify::run(&manifest, &version, store, deep, ONE_WORKER, &Silent).map(|report| report.faults)
}

pub fn part(bytes: &mut [u8], range: ByteRange) -> &mut [u8] {
    &mut bytes[range.start() as usize..range.end() as usize]
}
