//! Deploys to a smaller disk: whatever fails while a file system is moved below its new end, the target is plainly
//! unbootable, the image is what it was, and the error says which step failed.

use super::boot_entries::Untouched;
use super::customize::Stamp;
use super::deploy::{Outcome, assert_plain, assert_same, machine_disk};
use super::disk::{Target, Tear};
use super::image::{Capture, Image, ONE_WORKER, verify, version};
use super::source::{self, MIB};
use super::store::{FailingStore, Trouble};
use super::trigger::{StopAt, Trigger};
use super::{POLICIES, for_every_call};
use remint::blockio::{WriteAt, read_vec};
use remint::filesystem;
use remint::image::Store;
use remint::machine::MachineDisk;
use remint::partition::{self, Trust};
use remint::plan::{self, DeployOptions, DeployPlan, Resize};
use remint::progress::{Monitor, Silent};
use remint::resize::{Change, ResizeError, Resizer};
use remint::restore::{self, Surroundings};
use remint::schema::{FileSystemKind, FreeSpace, Layout, Table};
use remint::units::{ByteRange, RangeSet, SectorSize};
use std::fs;
use std::sync::OnceLock;

const SECTOR: SectorSize = SectorSize::B512;
const VOLUME: &str = "d0-p1";
const TARGET_BYTES: usize = 5 * MIB;
const BLOCK: usize = 4096;

/// A disk of one file system with files at its end, and what its own tool makes of that at the size of the target.
struct Shrinking {
    image: Image,
    plan: DeployPlan,
    before: Vec<u8>,
    /// The captured volume, and the one that was shrunk.
    whole: Vec<u8>,
    shrunk: Vec<u8>,
}

fn shrinking() -> &'static Shrinking {
    static SHRINKING: OnceLock<Shrinking> = OnceLock::new();
    SHRINKING.get_or_init(|| Shrinking::new(FreeSpace::Keep))
}

impl Shrinking {
    fn new(free_space: FreeSpace) -> Self {
        let image = Capture::of(&[source::ends_with_data()]).image();
        let disks = &image.manifest.disks;
        let targets = plan::match_disks(disks, &[machine_disk(0, TARGET_BYTES)]).unwrap();
        let options = DeployOptions {
            free_space,
            wishes: vec![format!("{VOLUME}=share").parse().unwrap()],
            ..DeployOptions::of(Layout::Custom)
        };
        let plan = plan::deploy("machine", "1", disks, &targets, &options).unwrap();
        let (whole, used) = image.volume(VOLUME);
        let planned = plan.disks[0].volumes.iter().find(|volume| volume.volume == VOLUME).unwrap();
        assert!(matches!(planned.resize, Some(Resize::Shrink { .. })), "{planned:?}");
        let end = planned.place.length();
        let above = ByteRange::new(end, whole.len() as u64);
        assert!(
            used.within(above).map(ByteRange::length).sum::<u64>() > 300_000,
            "there is something to move"
        );
        let shrunk = resize2fs(&whole, end);
        let before = source::noise(TARGET_BYTES, 93);
        Self { image, plan, before, whole, shrunk }
    }

    fn target(&self, trigger: Trigger, tear: Tear) -> Target {
        Target::new(&self.before, trigger, tear)
    }

    fn sound_target(&self) -> Target {
        self.target(Trigger::never(), Tear::Before)
    }

    fn run(&self, target: &Target, store: &dyn Store, tool: &Tool<'_>, monitor: &dyn Monitor) -> Outcome {
        let (manifest, customizer) = (&self.image.manifest, Stamp::default());
        let prepared = match restore::prepare(&self.plan, manifest, store, version("1"), tool, &customizer) {
            Ok(prepared) => prepared,
            Err(error) => return Outcome::Refused(error),
        };
        let around = Surroundings {
            resizer: tool,
            customizer: &customizer,
            firmware: &Untouched,
            workers: ONE_WORKER,
            monitor,
        };
        match restore::run(&prepared, &[target], &around) {
            Ok(finished) => {
                assert!(finished.problems.is_empty(), "{finished:?}");
                Outcome::Done
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// Runs with a tool of which one step fails.
    fn run_plainly(&self, target: &Target, store: &dyn Store, fails: Trigger) -> Outcome {
        self.run(target, store, &Tool { of: self, fails }, &Silent)
    }

    fn judge(&self, target: &Target, outcome: &Outcome, what: &str) {
        match outcome {
            Outcome::Done | Outcome::Problems(_) => self.judge_done(target, what),
            Outcome::Refused(_) => assert!(!target.touched(), "{what}"),
            Outcome::Failed(failure) => {
                assert_eq!(failure.target_changed, target.touched(), "{what}: {failure:?}");
                if target.touched() && failure.not_cleared.is_empty() {
                    assert_plain(target, what);
                    assert!(!target.unflushed(), "{what}: the clearing is not on the medium");
                }
            }
        }
    }

    fn judge_done(&self, target: &Target, what: &str) {
        let (disk, now) = (&self.plan.disks[0], target.bytes());
        assert!(!target.unflushed(), "{what}: not everything is on the medium");
        let mut found = partition::read(&now.as_slice(), SECTOR, Trust::Undecided).unwrap().table;
        // The protective entry has the size of the disk.
        if let (Table::Gpt(found), Table::Gpt(planned)) = (&mut found, &disk.table) {
            found.boot_sector.clone_from(&planned.boot_sector);
        }
        assert_eq!(found, disk.table, "{what}");
        let place = disk.volumes.iter().find(|volume| volume.volume == VOLUME).unwrap().place;
        let found = &now[place.start() as usize..place.end() as usize];
        for range in used(&self.shrunk).iter() {
            let range = range.start() as usize..range.end() as usize;
            assert_same(&found[range.clone()], &self.shrunk[range], what);
        }
    }

    /// The image is what it was.
    fn assert_image_untouched(&self, chunks: &super::store::Content) {
        let now = self.image.store.copy();
        assert!(now.chunks == chunks.chunks && now.files == chunks.files, "the image was changed");
        assert_eq!(verify(&self.image.store, true).unwrap(), []);
    }
}

fn used(volume: &[u8]) -> RangeSet {
    filesystem::read(&volume).unwrap().unwrap().used.unwrap()
}

/// What resize2fs makes of a volume.
fn resize2fs(whole: &[u8], bytes: u64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    fs::write(&path, whole).unwrap();
    let path = path.to_str().unwrap();
    source::run("resize2fs", &["-f", path, &format!("{}s", bytes / 512)]);
    let mut shrunk = fs::read(path).unwrap();
    shrunk.truncate(bytes as usize);
    shrunk
}

/// Does to a volume what resize2fs did: looks at all of it, writes what became different, also a little behind the new
/// end, and looks at it once more.
struct Tool<'a> {
    of: &'a Shrinking,
    fails: Trigger,
}

/// The steps of [`Tool`].
const STEPS: [&str; 3] = ["e2fsck", "resize2fs", "e2fsck -n"];

impl Tool<'_> {
    fn step(&self, number: usize, place: ByteRange, disk: &MachineDisk) -> Result<(), Box<ResizeError>> {
        if !self.fails.strikes() {
            return Ok(());
        }
        Err(Box::new(ResizeError::Failed {
            change: Change::Shrink,
            tool: STEPS[number].to_owned(),
            outcome: "ended with exit code 8".to_owned(),
            kind: FileSystemKind::Ext2,
            place,
            disk: disk.path.clone(),
            output: "it printed nothing".to_owned(),
            cause: None,
        }))
    }
}

fn failed(number: usize) -> impl Fn(std::io::Error) -> ResizeError {
    move |source| ResizeError::Io { doing: format!("reading and writing by {}", STEPS[number]), source }
}

impl Resizer for Tool<'_> {
    fn missing(&self, _: Change, _: FileSystemKind, _: &MachineDisk) -> Option<String> {
        None
    }
    fn grow(&self, _: &MachineDisk, _: ByteRange, _: FileSystemKind) -> Result<(), ResizeError> {
        panic!("nothing grows here")
    }
    fn missing_shown(&self, _: Change, _: FileSystemKind, _: &MachineDisk) -> Option<String> {
        None
    }
    fn grow_shown(&self, _: &dyn WriteAt, _: &MachineDisk, _: FileSystemKind) -> Result<(), ResizeError> {
        panic!("nothing grows here")
    }
    fn shrink(
        &self,
        volume: &dyn WriteAt,
        disk: &MachineDisk,
        place: ByteRange,
        _: FileSystemKind,
    ) -> Result<(), ResizeError> {
        let Shrinking { whole, shrunk, .. } = self.of;
        assert_eq!(volume.size_bytes(), whole.len() as u64, "the volume has its old size");
        self.step(0, place, disk).map_err(|error| *error)?;
        for range in used(whole).iter() {
            let found = read_vec(volume, range.start(), range.length() as usize).map_err(failed(0))?;
            assert_same(
                &found,
                &whole[range.start() as usize..range.end() as usize],
                "the tool sees the volume",
            );
        }
        self.step(1, place, disk).map_err(|error| *error)?;
        let end = shrunk.len();
        let behind = [0x5B; BLOCK];
        volume.write_at(end as u64, &behind).map_err(failed(1))?;
        for (number, (old, new)) in whole.chunks(BLOCK).zip(shrunk.chunks(BLOCK)).enumerate() {
            if old != new {
                volume.write_at((number * BLOCK) as u64, new).map_err(failed(1))?;
            }
        }
        volume.flush().map_err(failed(1))?;
        self.step(2, place, disk).map_err(|error| *error)?;
        assert_eq!(
            read_vec(volume, end as u64, BLOCK).map_err(failed(2))?,
            behind,
            "what it wrote behind the end"
        );
        for range in used(shrunk).iter() {
            let found = read_vec(volume, range.start(), range.length() as usize).map_err(failed(2))?;
            assert_same(
                &found,
                &shrunk[range.start() as usize..range.end() as usize],
                "the tool sees what it wrote",
            );
        }
        Ok(())
    }
}

#[test]
fn a_file_system_is_shrunk_under_its_tool_and_what_it_wrote_behind_the_end_is_forgotten() {
    for policy in POLICIES {
        let shrinking = Shrinking::new(policy);
        let before = shrinking.image.store.copy();
        let target = shrinking.sound_target();
        let outcome = shrinking.run_plainly(&target, &shrinking.image.store, Trigger::never());
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        shrinking.judge(&target, &outcome, &format!("{policy:?}"));
        shrinking.assert_image_untouched(&before);
    }
}

#[test]
fn a_target_call_that_fails_while_shrinking_leaves_a_plain_target() {
    let shrinking = shrinking();
    let before = shrinking.image.store.copy();
    for (trigger, tear) in [
        (Trigger::once as fn(u64) -> Trigger, Tear::Before),
        (Trigger::once, Tear::Half),
        (Trigger::from, Tear::Half),
    ] {
        let mut while_shrinking = 0;
        for_every_call(|n| {
            let target = shrinking.target(trigger(n), tear);
            let outcome = shrinking.run_plainly(&target, &shrinking.image.store, Trigger::never());
            shrinking.judge(&target, &outcome, &format!("{tear:?}, call {n}"));
            if let Outcome::Failed(restore::Failure {
                error: error @ restore::Error::Resize { .. }, ..
            }) = &outcome
            {
                let said = chain(error);
                assert!(said.contains("shrinking") && said.contains(VOLUME), "{said}");
                assert!(STEPS.iter().any(|step| said.contains(step)), "{said}");
                while_shrinking += 1;
            }
            // Done is done, as was judged; only a look for signatures of others may fail for that.
            let done = target.fired() && matches!(outcome, Outcome::Done);
            assert!(!done || target.only_reads_failed(), "{tear:?}, call {n}");
            target.fired()
        });
        assert!(while_shrinking > 100, "{while_shrinking} calls failed while the tool worked");
    }
    shrinking.assert_image_untouched(&before);
}

#[test]
fn a_step_of_the_tool_that_fails_is_named_and_leaves_a_plain_target() {
    let shrinking = shrinking();
    let before = shrinking.image.store.copy();
    let steps = for_every_call(|n| {
        let (target, fails) = (shrinking.sound_target(), Trigger::once(n));
        let tool = Tool { of: shrinking, fails };
        let outcome = shrinking.run(&target, &shrinking.image.store, &tool, &Silent);
        shrinking.judge(&target, &outcome, &format!("step {n}"));
        let fired = tool.fails.fired();
        if let Outcome::Failed(failure) = &outcome {
            let said = chain(&failure.error);
            assert!(said.contains(STEPS[n as usize - 1]) && said.contains("exit code 8"), "{said}");
            assert!(said.contains("shrinking the file system of d0-p1"), "{said}");
        }
        assert_eq!(fired, matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        fired
    });
    assert_eq!(steps, STEPS.len() as u64);
    shrinking.assert_image_untouched(&before);
}

#[test]
fn a_store_that_fails_while_shrinking_leaves_a_plain_target() {
    use Trouble::{Cut, Error, Flipped, Missing, Swapped};
    let shrinking = shrinking();
    let before = shrinking.image.store.copy();
    for trouble in [Error, Missing, Flipped, Cut, Swapped] {
        let mut while_shrinking = 0;
        for_every_call(|n| {
            let store = FailingStore { inner: &shrinking.image.store, trigger: Trigger::once(n), trouble };
            let target = shrinking.sound_target();
            let outcome = shrinking.run_plainly(&target, &store, Trigger::never());
            let what = format!("{trouble:?}, call {n}");
            shrinking.judge(&target, &outcome, &what);
            let fired = store.trigger.fired();
            assert_eq!(fired, !matches!(outcome, Outcome::Done), "{what}: {outcome:?}");
            if let Outcome::Failed(restore::Failure { error: restore::Error::Resize { .. }, .. }) = &outcome {
                while_shrinking += 1;
            }
            fired
        });
        assert!(while_shrinking > 0, "{trouble:?}: the image is read while the tool works");
    }
    shrinking.assert_image_untouched(&before);
}

#[test]
fn a_shrink_stops_on_request_at_any_moment() {
    let shrinking = shrinking();
    for_every_call(|n| {
        let stop = StopAt(Trigger::once(n));
        let target = shrinking.sound_target();
        let tool = Tool { of: shrinking, fails: Trigger::never() };
        let outcome = shrinking.run(&target, &shrinking.image.store, &tool, &stop);
        shrinking.judge(&target, &outcome, &format!("event {n}"));
        if let Outcome::Failed(failure) = &outcome {
            assert!(matches!(failure.error, restore::Error::Cancelled) && failure.not_cleared.is_empty());
        }
        stop.0.fired()
    });
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
