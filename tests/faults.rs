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

#[path = "faults/boot_entries.rs"]
mod boot_entries;
#[path = "faults/captures.rs"]
mod captures;
#[path = "faults/checks.rs"]
mod checks;
#[path = "faults/customize.rs"]
mod customize;
#[path = "faults/deploy.rs"]
mod deploy;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/existing_group.rs"]
mod existing_group;
#[path = "faults/group.rs"]
mod group;
#[path = "faults/image.rs"]
mod image;
#[path = "faults/keep.rs"]
mod keep;
#[path = "faults/shrink.rs"]
mod shrink;
#[path = "faults/source.rs"]
mod source;
#[path = "faults/steps.rs"]
mod steps;
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
