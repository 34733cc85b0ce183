//! Whole captures and deploys on memory disks, with a fault at every n-th read, write, zeroing, discard, flush
//! and store call: what is reported as good is good, and what failed says truly what was changed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::unimplemented,
    clippy::string_slice,
    missing_docs
)]

#[path = "faults/deploy.rs"]
mod deploy;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/image.rs"]
mod image;
#[path = "faults/source.rs"]
mod source;
#[path = "faults/store.rs"]
mod store;
#[path = "faults/trigger.rs"]
mod trigger;

use deploy::{Deploy, Outcome};
use disk::{Source, Target, Tear};
use image::{Capture, Image, verify};
use remint::capture;
use remint::image::{Entry, Index, StoredFile};
use remint::plan::{CaptureOptions, CaptureRefusal};
use remint::progress::Silent;
use remint::restore;
use remint::schema::{FreeSpace, OnReadError, WhenDirty};
use remint::units::{ByteRange, RangeSet};
use source::MIB;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use store::{Content, FailingStore, MemoryStore, Trouble};
use trigger::{StopAt, StopsLater, Trigger};

/// A disk with a table, onto a disk that is larger.
fn gpt() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| Capture::of(&[source::gpt()]).image())
}

/// A disk with logical partitions, and one that a file system fills and grows on.
fn two_disks() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| Capture::of(&[source::mbr(), source::whole_ext2()]).image())
}

/// NTFS that fills a disk, and grows.
fn ntfs() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| Capture::of(&[source::whole_ntfs()]).image())
}

const GPT_TARGET: [usize; 1] = [11 * MIB + 512];
const TWO_TARGETS: [usize; 2] = [7 * MIB, 4 * MIB + 123 * 512];
const NTFS_TARGET: [usize; 1] = [5 * MIB];

fn images() -> [(&'static Image, &'static [usize]); 3] {
    [(gpt(), &GPT_TARGET), (two_disks(), &TWO_TARGETS), (ntfs(), &NTFS_TARGET)]
}

const POLICIES: [FreeSpace; 3] = [FreeSpace::Keep, FreeSpace::Zero, FreeSpace::Discard];

/// Runs `attempt` for n = 1, 2, 3 and so on, until it says that its fault did not come any more.
fn for_every_call(mut attempt: impl FnMut(u64) -> bool) -> u64 {
    let mut n = 1;
    while attempt(n) {
        n += 1;
        assert!(n < 10_000, "faults without end");
    }
    assert!(n > 1, "no call was counted");
    n - 1
}

#[test]
fn a_deploy_without_faults_writes_exactly_what_was_planned() {
    for (image, sizes) in images() {
        assert_eq!(verify(&image.store, true).unwrap(), []);
        for policy in POLICIES {
            let mut deploy = Deploy::new(image, sizes, policy);
            for workers in [1, 3] {
                deploy.workers = NonZeroUsize::new(workers).unwrap();
                let targets = deploy.sound_targets();
                let outcome = deploy.run(&targets, &image.store, &Silent);
                assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
                deploy.judge(&targets, &outcome, &format!("{policy:?} by {workers}"));
            }
        }
    }
}

/// A fault at every call to each target.
fn fail_every_target_call(
    image: &Image,
    sizes: &[usize],
    policy: FreeSpace,
    trigger: fn(u64) -> Trigger,
    tear: Tear,
) {
    let deploy = Deploy::new(image, sizes, policy);
    for failing in 0..sizes.len() {
        for_every_call(|n| {
            let targets = deploy.targets(failing, || trigger(n), tear);
            let outcome = deploy.run(&targets, &image.store, &Silent);
            deploy.judge(&targets, &outcome, &format!("{policy:?}, {tear:?}, target {failing}, call {n}"));
            if let Outcome::Failed(failure) = &outcome {
                // A fault that passes does not keep the table from being cleared, one that stays does.
                let said = failure.not_cleared.iter().any(|text| text.contains(&format!("target{failing}")));
                let stays = trigger(1).strikes() && {
                    let t = trigger(1);
                    t.strikes();
                    t.strikes()
                };
                assert_eq!(said, stays, "call {n}: {failure:?}");
                assert!(failure.not_cleared.len() <= 1, "{failure:?}");
            }
            targets[failing].fired()
        });
    }
}

#[test]
fn a_target_call_that_fails_ends_in_a_plain_target_or_a_good_one() {
    for (image, sizes) in images() {
        for policy in POLICIES {
            fail_every_target_call(image, sizes, policy, Trigger::once, Tear::Before);
        }
    }
}

#[test]
fn a_target_call_that_fails_halfway_ends_in_a_plain_target_or_a_good_one() {
    for (image, sizes) in images() {
        fail_every_target_call(image, sizes, FreeSpace::Keep, Trigger::once, Tear::Half);
    }
}

#[test]
fn a_target_that_dies_is_said_not_to_be_cleared() {
    for (image, sizes) in images() {
        fail_every_target_call(image, sizes, FreeSpace::Keep, Trigger::from, Tear::Half);
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_nothing_that_is_taken_for_a_whole_disk() {
    for (image, sizes) in images() {
        for policy in POLICIES {
            let deploy = Deploy::new(image, sizes, policy);
            let targets: Vec<Target> = deploy.before.iter().map(|before| Target::recording(before)).collect();
            let outcome = deploy.run(&targets, &image.store, &Silent);
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
            deploy.judge_power_cuts(&targets);
        }
    }
}

#[test]
fn a_disk_that_was_not_written_yet_keeps_its_content_when_another_fails() {
    let image = two_disks();
    let deploy = Deploy::new(image, &TWO_TARGETS, FreeSpace::Keep);
    let targets = deploy.targets(0, || Trigger::from(1), Tear::Before);
    let outcome = deploy.run(&targets, &image.store, &Silent);
    assert!(matches!(&outcome, Outcome::Failed(failure) if failure.not_cleared.len() == 1), "{outcome:?}");
    assert!(!targets[1].touched());
}

#[test]
fn a_bad_sector_under_the_table_does_not_keep_the_rest_of_it_from_being_cleared() {
    let image = gpt();
    let deploy = Deploy::new(image, &GPT_TARGET, FreeSpace::Keep);
    let mut targets = deploy.sound_targets();
    targets[0].bad = RangeSet::of(ByteRange::new(100 * 512, 101 * 512));
    let outcome = deploy.run(&targets, &image.store, &Silent);
    assert!(matches!(&outcome, Outcome::Failed(failure) if failure.not_cleared.len() == 1), "{outcome:?}");
    assert_eq!(deploy::recognised(&targets[0]), None);
    assert!(!targets[0].unflushed());
}

#[test]
fn a_store_that_fails_during_a_deploy_never_ends_in_a_wrong_target() {
    use Trouble::{Cut, Error, Flipped, LostAnswer, Missing, Swapped};
    for (image, sizes) in [(gpt(), &GPT_TARGET[..]), (two_disks(), &TWO_TARGETS)] {
        let deploy = Deploy::new(image, sizes, FreeSpace::Keep);
        for trouble in [Error, LostAnswer, Missing, Flipped, Cut, Swapped] {
            for_every_call(|n| {
                let store = FailingStore { inner: &image.store, trigger: Trigger::once(n), trouble };
                let targets = deploy.sound_targets();
                let outcome = deploy.run(&targets, &store, &Silent);
                let what = format!("{trouble:?}, call {n}");
                deploy.judge(&targets, &outcome, &what);
                let fired = store.trigger.fired();
                assert_eq!(fired, !matches!(outcome, Outcome::Done), "{what}: {outcome:?}");
                fired
            });
        }
    }
}

#[test]
fn a_deploy_stops_on_request_at_any_moment() {
    for (image, sizes) in images() {
        let deploy = Deploy::new(image, sizes, FreeSpace::Zero);
        for_every_call(|n| {
            let stop = StopAt(Trigger::once(n));
            let targets = deploy.sound_targets();
            let outcome = deploy.run(&targets, &image.store, &stop);
            deploy.judge(&targets, &outcome, &format!("event {n}"));
            if let Outcome::Failed(failure) = &outcome {
                assert!(matches!(failure.error, restore::Error::Cancelled) && failure.not_cleared.is_empty());
            }
            stop.0.fired()
        });
        let stopped = StopAt(Trigger::once(1));
        stopped.0.strikes();
        let targets = deploy.sound_targets();
        let outcome = deploy.run(&targets, &image.store, &stopped);
        deploy.judge(&targets, &outcome, "before it began");
        assert!(matches!(outcome, Outcome::Failed(failure) if !failure.target_changed));
    }
}

#[test]
fn what_is_not_written_is_zeroed_as_well_where_nobody_may_read_free_space() {
    let only = CaptureOptions { only: vec!["d0-p1".to_owned()], ..CaptureOptions::default() };
    let left_out = Capture::with(&[source::gpt()], &only).unwrap().image();
    let swap = Capture::of(&[source::whole_swap()]).image();
    for (image, size) in [(left_out, GPT_TARGET[0]), (swap, 4 * MIB)] {
        for policy in POLICIES {
            let deploy = Deploy::new(&image, &[size], policy);
            let targets = deploy.sound_targets();
            let outcome = deploy.run(&targets, &image.store, &Silent);
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
            deploy.judge(&targets, &outcome, &format!("{policy:?}"));
        }
    }
}

#[test]
fn what_a_swap_header_cannot_hold_is_refused_before_anything_is_written() {
    let mut image = Capture::of(&[source::gpt()]).image();
    for volume in image.manifest.disks.iter_mut().flat_map(|disk| &mut disk.volumes) {
        if let remint::schema::Content::Swap(swap) = &mut volume.content {
            swap.label = Some("seventeen letters".to_owned());
        }
    }
    let deploy = Deploy::new(&image, &GPT_TARGET, FreeSpace::Keep);
    let targets = deploy.sound_targets();
    let outcome = deploy.run(&targets, &image.store, &Silent);
    assert!(matches!(outcome, Outcome::Refused(restore::Error::Swap { .. })), "{outcome:?}");
    deploy.judge(&targets, &outcome, "swap");
}

/// Nothing was published, and another attempt sends what is missing and makes what the first would have made.
fn judge_failed_capture(image: &Image, store: &MemoryStore, what: &str) {
    use remint::image::Store;
    let name = image::version("1");
    assert_eq!(store.versions(&name.image).unwrap(), [], "{what}");
    let good = image.store.copy();
    let left = store.copy();
    assert!(left.chunks.keys().all(|id| good.chunks.contains_key(id)), "{what}: a chunk of nothing");
    let again = MemoryStore::holding(left.clone());
    let (manifest, _) = image.capture.run(&image.capture.sources(), &again, "1", None, &Silent).unwrap();
    assert_eq!(again.puts(), good.chunks.len() - left.chunks.len(), "{what}: chunks sent again");
    judge_good_capture(image, &again, &manifest, what);
}

/// The store holds the image that a capture without faults makes.
fn judge_good_capture(image: &Image, store: &MemoryStore, manifest: &remint::image::Manifest, what: &str) {
    let mut like_good = manifest.clone();
    for (stored, good) in like_good.stored.iter_mut().zip(&image.manifest.stored) {
        stored.stored_bytes = good.stored_bytes;
    }
    assert_eq!(like_good, image.manifest, "{what}");
    assert!(store.copy().chunks == image.store.copy().chunks, "{what}");
    assert_eq!(verify(store, true).unwrap(), [], "{what}");
}

#[test]
fn a_store_that_fails_during_a_capture_leaves_no_half_version() {
    for image in [gpt(), two_disks()] {
        for trouble in [Trouble::Error, Trouble::LostAnswer] {
            for_every_call(|n| {
                let store = MemoryStore::default();
                let (result, fired) = image.capture.send_to(&store, Trigger::once(n), trouble, "1", None);
                let what = format!("{trouble:?}, call {n}");
                let published = store.copy().files.contains_key(&("machine@1".into(), "image.json".into()));
                match result {
                    Ok((manifest, _)) => judge_good_capture(image, &store, &manifest, &what),
                    // The one answer whose loss cannot be seen: the version is there, and whole.
                    Err(_) if published && trouble == Trouble::LostAnswer => {
                        judge_good_capture(image, &store, &image.manifest, &what);
                    }
                    Err(error) => {
                        assert!(matches!(error, capture::Error::Store(_)), "{what}: {error}");
                        judge_failed_capture(image, &store, &what);
                    }
                }
                fired
            });
        }
    }
}

#[test]
fn the_next_capture_sends_nothing_that_is_there_and_survives_a_failing_store() {
    let image = gpt();
    for trouble in [Trouble::Error, Trouble::Missing, Trouble::Flipped, Trouble::Cut, Trouble::Swapped] {
        for_every_call(|n| {
            let store = MemoryStore::holding(image.store.copy());
            let previous = Some(&image.manifest);
            let name = image::version("2");
            let failing = FailingStore { inner: &store, trigger: Trigger::once(n), trouble };
            let result = image.capture.run(&image.capture.sources(), &failing, "2", previous, &Silent);
            if trouble != Trouble::Missing {
                assert_eq!(store.puts(), 0, "{trouble:?}, call {n}");
            }
            let published = store.copy().files.contains_key(&(name.to_string(), "image.json".to_owned()));
            assert_eq!(result.is_ok(), published, "{trouble:?}, call {n}");
            failing.trigger.fired()
        });
    }
}

#[test]
fn a_read_that_fails_once_is_read_again() {
    let image = gpt();
    for_every_call(|n| {
        let store = MemoryStore::default();
        let source = [Source::new(source::gpt(), Trigger::once(n))];
        let (manifest, report) = image.capture.read_from(&source, &store).unwrap();
        assert_eq!(report.bad_ranges, []);
        judge_good_capture(image, &store, &manifest, &format!("read {n}"));
        source[0].fired()
    });
}

#[test]
fn a_source_that_dies_ends_the_capture_or_is_recorded() {
    let mut capture = Capture::of(&[source::gpt()]);
    for_every_call(|n| {
        capture.on_read_error = OnReadError::Fail;
        let store = MemoryStore::default();
        let source = [Source::new(source::gpt(), Trigger::from(n))];
        let result = capture.read_from(&source, &store);
        if source[0].fired() {
            assert!(matches!(result, Err(capture::Error::Read { .. })), "read {n}");
            judge_failed_capture(gpt(), &store, &format!("read {n}"));
        }
        source[0].fired()
    });
}

#[test]
fn bad_sectors_are_recorded_exactly_and_restored_as_zeros() {
    // In the boot area, in the FAT, across two chunks of the noise, and in free space, which is never read.
    let bad: RangeSet = [
        ByteRange::new(40 * 512, 41 * 512),
        ByteRange::new(MIB as u64 + 7, MIB as u64 + 8),
        ByteRange::new(7 * MIB as u64 - 100, 7 * MIB as u64 + 600),
        ByteRange::new(9 * MIB as u64 + 4096, 9 * MIB as u64 + 8192),
    ]
    .into_iter()
    .collect();
    let mut capture = Capture::of(&[source::gpt()]);
    let store = MemoryStore::default();
    let scratched = || [Source::scratched(source::gpt(), bad.clone())];
    let result = capture.read_from(&scratched(), &store);
    assert!(matches!(result, Err(capture::Error::Read { .. })));
    judge_failed_capture(gpt(), &store, "scratched");

    for workers in [1, 3] {
        capture.on_read_error = OnReadError::Zero;
        capture.workers = NonZeroUsize::new(workers).unwrap();
        let store = MemoryStore::default();
        let (manifest, report) = capture.read_from(&scratched(), &store).unwrap();
        let range = |start: usize, end: usize| ByteRange::new(start as u64, end as u64);
        let found: Vec<(&str, ByteRange)> =
            report.bad_ranges.iter().map(|(volume, range)| (volume.as_str(), *range)).collect();
        let expected = [
            ("d0-boot", range(40 * 512, 41 * 512)),
            ("d0-p1", range(0, 512)),
            ("d0-p4", range(MIB - 512, MIB + 1024)),
        ];
        assert_eq!(found, expected);
        let image = Image { capture: Capture::of(&[source::gpt()]), manifest, store };
        assert_eq!(verify(&image.store, true).unwrap(), []);
        let deploy = Deploy::new(&image, &GPT_TARGET, FreeSpace::Keep);
        let targets = deploy.sound_targets();
        let outcome = deploy.run(&targets, &image.store, &Silent);
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        deploy.judge(&targets, &outcome, "scratched");
    }
}

#[test]
fn a_capture_stops_on_request_at_any_moment() {
    let image = gpt();
    for_every_call(|n| {
        let stop = StopAt(Trigger::once(n));
        let store = MemoryStore::default();
        let what = format!("event {n}");
        match image.capture.run(&image.capture.sources(), &store, "1", None, &stop) {
            Ok((manifest, _)) => judge_good_capture(image, &store, &manifest, &what),
            Err(error) => {
                assert!(matches!(error, capture::Error::Cancelled), "{error}");
                judge_failed_capture(image, &store, &what);
            }
        }
        stop.0.fired()
    });
}

#[test]
fn captures_by_many_workers_are_the_same_image() {
    for (image, _) in images() {
        let mut capture = Capture::of(&image.capture.sources);
        capture.workers = NonZeroUsize::new(4).unwrap();
        let store = MemoryStore::default();
        let (manifest, _) = capture.run(&capture.sources(), &store, "1", None, &Silent).unwrap();
        judge_good_capture(image, &store, &manifest, "4 workers");
    }
}

#[test]
fn a_file_system_that_is_not_clean_is_refused_or_captured_whole() {
    static DIRTY: OnceLock<Vec<u8>> = OnceLock::new();
    let dirty: &'static [u8] = DIRTY.get_or_init(|| {
        let mut bytes = source::whole_ext2().to_vec();
        bytes[1024 + 0x3A] &= !1;
        bytes
    });
    let refused = Capture::with(&[dirty], &CaptureOptions::default()).err().unwrap();
    assert!(
        matches!(&refused, CaptureRefusal::Untrusted { volumes } if volumes[0].volume == "d0-disk"),
        "{refused}"
    );
    let raw = CaptureOptions { when_dirty: WhenDirty::Raw, ..CaptureOptions::default() };
    let image = Capture::with(&[dirty], &raw).unwrap().image();
    let deploy = Deploy::new(&image, &[3 * MIB], FreeSpace::Keep);
    let targets = deploy.sound_targets();
    let outcome = deploy.run(&targets, &image.store, &Silent);
    deploy.judge(&targets, &outcome, "raw");
    deploy::assert_same(&targets[0].bytes(), dirty, "every block");
}

/// The volumes whose index names the chunk.
fn volumes_of(image: &Image, chunk: remint::image::ChunkId) -> BTreeSet<String> {
    let files = image.store.copy().files;
    let index =
        |volume: &str| Index::decode(&files[&("machine@1".to_owned(), format!("{volume}.caibx"))]).unwrap();
    let names = image.manifest.stored.iter().map(|stored| stored.volume.clone());
    names.filter(|name| index(name).entries().iter().any(|entry| entry.id == chunk)).collect()
}

/// What can happen to stored bytes; `None` where they are gone.
fn damages(bytes: &[u8], other: &[u8]) -> Vec<Option<Vec<u8>>> {
    let flipped = |at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        Some(bytes)
    };
    let last = bytes.len() - 1;
    let more = [bytes, &[0]].concat();
    let mut damages: Vec<_> = [0, 1, 5, last / 3, last / 2, last].map(flipped).into();
    damages.extend([None, Some(Vec::new()), Some(bytes[..last].to_vec()), Some(more), Some(other.to_vec())]);
    damages.retain(|damaged| damaged.as_deref() != Some(bytes));
    damages
}

fn assert_found(content: Content, deep: bool, expected: &BTreeSet<String>, what: &str) {
    let faults = verify(&MemoryStore::holding(content), deep).unwrap();
    let named: BTreeSet<String> = faults.into_iter().map(|fault| fault.volume).collect();
    assert_eq!(named, *expected, "{what}");
}

#[test]
fn a_deep_check_finds_every_damaged_chunk_and_a_quick_one_every_missing_chunk() {
    for image in [gpt(), two_disks()] {
        let good = image.store.copy();
        let ids: Vec<_> = good.chunks.keys().copied().collect();
        for (id, other) in ids.iter().zip(ids.iter().cycle().skip(1)) {
            let volumes = volumes_of(image, *id);
            assert!(!volumes.is_empty());
            for damage in damages(&good.chunks[id], &good.chunks[other]) {
                let mut content = good.clone();
                let missing = damage.is_none();
                // A few bits of a zstd frame mean nothing.
                let content_of = |frame: &[u8]| zstd::stream::decode_all(frame).ok();
                if damage.as_deref().and_then(content_of) == content_of(&good.chunks[id]) {
                    continue;
                }
                match damage {
                    Some(frame) => content.chunks.insert(*id, frame),
                    None => content.chunks.remove(id),
                };
                if missing {
                    assert_found(content.clone(), false, &volumes, "quick");
                }
                assert_found(content, true, &volumes, &format!("chunk {id}"));
            }
        }
    }
}

#[test]
fn every_check_finds_every_damaged_file() {
    let image = gpt();
    let good = image.store.copy();
    let files: Vec<_> = good.files.keys().filter(|(_, name)| name != "image.json").cloned().collect();
    for (key, other) in files.iter().zip(files.iter().cycle().skip(2)) {
        let volume = key.1.split('.').next().unwrap().to_owned();
        for damage in damages(&good.files[key], &good.files[other]) {
            let mut content = good.clone();
            match damage {
                Some(bytes) => content.files.insert(key.clone(), bytes),
                None => content.files.remove(key),
            };
            for deep in [false, true] {
                assert_found(content.clone(), deep, &BTreeSet::from([volume.clone()]), &key.1);
            }
        }
    }
}

#[test]
fn a_check_of_a_store_that_fails_is_never_a_good_report() {
    for trouble in [Trouble::Error, Trouble::Missing, Trouble::Flipped, Trouble::Cut, Trouble::Swapped] {
        for deep in [false, true] {
            // The first call reads the manifest, which has no other one to be swapped with.
            let first = if trouble == Trouble::Swapped { 1 } else { 0 };
            for_every_call(|n| {
                let trigger = Trigger::once(n + first);
                let store = FailingStore { inner: &gpt().store, trigger, trouble };
                let result = verify(&store, deep);
                let fired = store.trigger.fired();
                let good = matches!(&result, Ok(faults) if faults.is_empty());
                assert_eq!(good, !fired, "{trouble:?}, call {n}: {result:?}");
                fired
            });
        }
    }
}

#[test]
fn a_deep_check_finds_a_chunk_that_is_named_with_two_lengths() {
    let mut content = gpt().store.copy();
    let mut manifest = gpt().manifest.clone();
    let stored = manifest.stored.iter_mut().find(|stored| stored.volume == "d0-p4").unwrap();
    let key = ("machine@1".to_owned(), stored.index.name.clone());
    let mut entries = Index::decode(&content.files[&key]).unwrap().into_entries();
    entries.insert(0, Entry { end_bytes: MIB as u64 / 2, ..entries[0] });
    let index = Index::new(MIB as u64, entries).unwrap().encode();
    (stored.index, stored.chunks) = (StoredFile::of(key.1.clone(), &index), 3);
    content.files.insert(key, index);
    content.files.insert(("machine@1".to_owned(), "image.json".to_owned()), manifest.encode().unwrap());
    assert_found(content, true, &BTreeSet::from(["d0-p4".to_owned()]), "two lengths");
}

#[test]
fn a_capture_of_a_dying_disk_stops_on_request_between_sectors() {
    let mut capture = Capture::of(&[source::whole_ext2()]);
    capture.on_read_error = OnReadError::Zero;
    let source = Source::scratched(source::whole_ext2(), RangeSet::of(ByteRange::new(0, 3 * MIB as u64)));
    let result = capture.run(&[&source], &MemoryStore::default(), "1", None, &StopsLater::default());
    assert!(matches!(result, Err(capture::Error::Cancelled)));
    assert!(source.reads() < 20, "{} reads", source.reads());
}
