//! Captures that fail: nothing half is published, and the next attempt sends what is missing.

use super::*;

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
fn a_capture_of_a_dying_disk_stops_on_request_between_sectors() {
    let mut capture = Capture::of(&[source::whole_ext2()]);
    capture.on_read_error = OnReadError::Zero;
    let source = Source::scratched(source::whole_ext2(), RangeSet::of(ByteRange::new(0, 3 * MIB as u64)));
    let result = capture.run(&[&source], &MemoryStore::default(), "1", None, &StopsLater::default());
    assert!(matches!(result, Err(capture::Error::Cancelled)));
    assert!(source.reads() < 20, "{} reads", source.reads());
}
