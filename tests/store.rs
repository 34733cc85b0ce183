//! Stores keep their promises: half of anything does not exist, what is stored is what was sent, and the
//! collector never takes what somebody needs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]
#![allow(missing_docs)]

mod store_fixture;

use remint::image::{ChunkId, CollectOptions, ImageVersion, MAX_FRAME_BYTES, Store, StoreError, layout};
use remint::store::{Directory, OpenOptions, open};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};
use store_fixture::{Volume, capture, directory, files_below, frame, version};

#[test]
fn what_is_published_is_read_back_and_listed_in_order() {
    let (root, store) = directory();
    for name in ["2026-11-20T211500Z-10", "2026-11-20T211500Z-2", "2026-11-20T211400Z"] {
        capture(&store, &version(name), &Volume::new(3));
    }
    let names = store.versions(&"debian".parse().unwrap()).unwrap();
    assert_eq!(
        names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["2026-11-20T211400Z", "2026-11-20T211500Z-2", "2026-11-20T211500Z-10"]
    );
    assert_eq!(store.images().unwrap(), ["debian".parse().unwrap()]);
    assert!(store.versions(&"other".parse().unwrap()).unwrap().is_empty());
    let version = version("2026-11-20T211400Z");
    let manifest = store.get_file(&version, layout::MANIFEST_FILE, 1 << 20).unwrap();
    assert_eq!(manifest, Volume::new(3).manifest(&version));
    for part in Volume::new(3).parts {
        let bytes = store.get_chunk(ChunkId::of(&part), MAX_FRAME_BYTES).unwrap();
        assert_eq!(zstd::stream::decode_all(&bytes[..]).unwrap(), part);
    }
    assert!(files_below(&root.path().join("captures")).is_empty());
    assert!(files_below(&root.path().join("tmp")).is_empty());
}

#[test]
fn reading_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nowhere");
    let location = path.to_str().unwrap();
    assert!(matches!(open(location, &OpenOptions::default()), Err(StoreError::NotFound { .. })));
    assert!(!path.exists());
    let (root, store) = store_fixture::directory();
    capture(&store, &version("1"), &Volume::new(1));
    let before = files_below(root.path());
    let store = Directory::open(root.path(), false).unwrap();
    store.images().unwrap();
    store.get_file(&version("1"), "d0-disk.used", 1000).unwrap();
    assert_eq!(files_below(root.path()), before);
}

#[test]
fn a_store_of_a_newer_version_is_refused_politely() {
    let (root, _) = directory();
    let newer = r#"{"format":"remint-store","format_version":9,"digest":"sha-256","novelty":[]}"#;
    fs::write(root.path().join(layout::STORE_FILE), newer).unwrap();
    for create in [false, true] {
        let error = Directory::open(root.path(), create).unwrap_err();
        assert!(matches!(error, StoreError::Unsupported { .. }));
        assert!(
            error.to_string().contains("version 9") && error.to_string().contains("version 1"),
            "{error}"
        );
    }
    assert!(matches!(open("ftp://host/store", &OpenOptions::default()), Err(StoreError::Refused { .. })));
}

#[test]
fn a_version_is_published_once_and_only_when_everything_is_there() {
    let (root, store) = directory();
    let (version, volume) = (version("1"), Volume::new(4));
    store.begin_capture(&version).unwrap();
    let manifest = volume.manifest(&version);
    assert!(matches!(store.publish(&version, &manifest), Err(StoreError::NotFound { .. })), "no files yet");
    volume.put_files(&store, &version);
    let missing = store.publish(&version, &manifest).unwrap_err();
    assert!(missing.to_string().contains("4 of its chunks are not in the store"), "{missing}");
    volume.put_chunks(&store);
    store.put_file(&version, "d0-disk.used", b"something else").unwrap();
    assert!(matches!(store.publish(&version, &manifest), Err(StoreError::Corrupt { .. })));
    volume.put_files(&store, &version);
    assert!(matches!(store.publish(&version, b"{}"), Err(StoreError::Corrupt { .. })));
    let other = volume.manifest(&store_fixture::version("2"));
    assert!(store.publish(&version, &other).unwrap_err().to_string().contains("debian@2"));
    assert!(store.images().unwrap().is_empty(), "nothing of this is a version");
    store.publish(&version, &manifest).unwrap();
    for again in [
        store.publish(&version, &manifest),
        store.put_file(&version, "d0-disk.used", b""),
        store.begin_capture(&version),
    ] {
        assert!(matches!(again, Err(StoreError::Refused { .. })));
    }
    assert!(matches!(store.put_file(&version, "../x.used", b""), Err(StoreError::Refused { .. })));
    store.delete_version(&version).unwrap();
    assert!(matches!(store.delete_version(&version), Err(StoreError::NotFound { .. })));
    assert!(files_below(&root.path().join("images")).is_empty());
}

#[test]
fn an_abandoned_capture_leaves_only_its_chunks() {
    let (root, store) = directory();
    let (version, volume) = (version("1"), Volume::new(2));
    store.begin_capture(&version).unwrap();
    volume.put_chunks(&store);
    volume.put_files(&store, &version);
    store.abandon(&version).unwrap();
    assert!(files_below(&root.path().join("images")).is_empty());
    assert!(files_below(&root.path().join("captures")).is_empty());
    let ids: Vec<ChunkId> = volume.parts.iter().map(|part| ChunkId::of(part)).collect();
    assert_eq!(store.have_chunks(&ids).unwrap(), [true; 2]);
}

/// A client whose patience ends abandons what its server may still be publishing.
#[test]
fn a_version_that_is_abandoned_while_it_is_published_is_whole_or_not_there() {
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Directory::open(root.path(), true).unwrap();
    let volume = Volume::new(1);
    volume.put_chunks(&store);
    for round in 0..300 {
        let version = version(&round.to_string());
        store.begin_capture(&version).unwrap();
        volume.put_files(&store, &version);
        let published = std::thread::scope(|scope| {
            let publishing = scope.spawn(|| store.publish(&version, &volume.manifest(&version)));
            std::thread::sleep(Duration::from_micros(round));
            store.abandon(&version).unwrap();
            publishing.join().unwrap()
        });
        let there = store.versions(&version.image).unwrap().contains(&version.version);
        assert_eq!(there, published.is_ok());
        for file in ["d0-disk.caibx", "d0-disk.used"] {
            assert_eq!(store.get_file(&version, file, 1 << 20).is_ok(), there, "round {round}");
        }
    }
}

/// A store on a share that may not be written.
struct ReadOnly(tempfile::TempDir);

impl ReadOnly {
    fn of(root: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mount = |arguments: &[&std::ffi::OsStr]| {
            assert!(std::process::Command::new("mount").args(arguments).status().unwrap().success());
        };
        mount(&["--bind".as_ref(), root.as_os_str(), place.path().as_os_str()]);
        mount(&["-o".as_ref(), "remount,bind,ro".as_ref(), place.path().as_os_str()]);
        Self(place)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_read_only_store_is_good_to_read() {
    let (root, store) = directory();
    let volume = Volume::new(3);
    capture(&store, &version("1"), &volume);
    let share = ReadOnly::of(root.path());
    let shared = Directory::open(share.0.path(), false).unwrap();
    let mut ids: Vec<ChunkId> = volume.parts.iter().map(|part| ChunkId::of(part)).collect();
    ids.push(ChunkId::of(b"not there"));
    assert_eq!(shared.have_chunks(&ids).unwrap(), [true, true, true, false]);
    shared.get_chunk(ids[0], MAX_FRAME_BYTES).unwrap();
    assert!(matches!(shared.begin_capture(&version("2")), Err(StoreError::Io { .. })));
}

#[test]
fn one_version_is_written_by_one_capture() {
    let (root, store) = directory();
    store.begin_capture_as(&version("1"), "a").unwrap();
    store.begin_capture_as(&version("1"), "a").unwrap();
    let other = Directory::open(root.path(), false).unwrap();
    assert!(matches!(other.begin_capture_as(&version("1"), "b"), Err(StoreError::Refused { .. })));
}

#[test]
fn many_threads_store_the_same_chunk() {
    let (root, store) = directory();
    let part = store_fixture::content(100_000, 1);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    store.put_chunk(ChunkId::of(&part), &frame(&part)).unwrap();
                    assert!(store.have_chunk(ChunkId::of(&part)).unwrap());
                }
            });
        }
    });
    assert_eq!(files_below(&root.path().join("chunks")).len(), 1);
    assert!(files_below(&root.path().join("tmp")).is_empty());
}

#[test]
fn answers_are_bounded() {
    let (_root, store) = directory();
    let part = store_fixture::content(5000, 1);
    store.put_chunk(ChunkId::of(&part), &frame(&part)).unwrap();
    assert!(matches!(store.get_chunk(ChunkId::of(&part), 100), Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.get_chunk(ChunkId::of(b"x"), 100), Err(StoreError::NotFound { .. })));
}

/// A capture that died with its machine leaves its marker, and chunks that never reached the medium.
#[test]
fn a_chunk_that_a_crash_damaged_is_not_said_to_be_stored() {
    let (root, store) = directory();
    let (whole, cut) = (store_fixture::content(50_000, 1), store_fixture::content(50_000, 2));
    store.begin_capture_as(&version("1"), "died").unwrap();
    for part in [&whole, &cut] {
        store.put_chunk(ChunkId::of(part), &frame(part)).unwrap();
    }
    let path = root.path().join(layout::chunk_file(ChunkId::of(&cut)));
    let length = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    let store = Directory::open(root.path(), false).unwrap();
    let ids = [ChunkId::of(&whole), ChunkId::of(&cut)];
    assert_eq!(store.have_chunks(&ids).unwrap(), [true, false]);
    store.put_chunk(ChunkId::of(&cut), &frame(&cut)).unwrap();
    assert_eq!(store.have_chunks(&ids).unwrap(), [true, true]);
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert_eq!(store.have_chunks(&ids).unwrap(), [true, false]);
}

fn make_old(path: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn age_chunks(root: &Path, hours: u64) {
    for file in files_below(&root.join("chunks")) {
        make_old(&file, hours);
    }
}

fn chunks(root: &Path) -> usize {
    files_below(&root.join("chunks")).len()
}

#[test]
fn the_collector_deletes_what_nothing_refers_to_and_nothing_else() {
    let (root, store) = directory();
    capture(&store, &version("1"), &Volume::new(5));
    capture(&store, &version("2"), &Volume::new(3));
    store.delete_version(&version("1")).unwrap();
    let options = CollectOptions::default();
    assert_eq!(store.collect(&options).unwrap().deleted_chunks, 0, "they are too young");
    age_chunks(root.path(), 2);
    let dry = store.collect(&CollectOptions { dry_run: true, ..options }).unwrap();
    assert_eq!((dry.deleted_chunks, dry.kept_chunks, dry.versions, chunks(root.path())), (2, 3, 1, 5));
    let report = store.collect(&options).unwrap();
    assert_eq!((report.deleted_chunks, report.kept_chunks, chunks(root.path())), (2, 3, 3));
    assert!(report.deleted_bytes > 0 && report.deleted_bytes == dry.deleted_bytes);
    for part in Volume::new(3).parts {
        store.get_chunk(ChunkId::of(&part), MAX_FRAME_BYTES).unwrap();
    }
    assert!(files_below(&root.path().join("trash")).is_empty());
}

#[test]
fn the_collector_deletes_nothing_where_an_image_cannot_be_read() {
    let (root, store) = directory();
    capture(&store, &version("1"), &Volume::new(3));
    let stray = store_fixture::content(1000, 99);
    store.put_chunk(ChunkId::of(&stray), &frame(&stray)).unwrap();
    age_chunks(root.path(), 2);
    let directory = root.path().join(layout::version_directory(&version("1")));
    for name in ["image.json", "d0-disk.caibx"] {
        let path = directory.join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[70] ^= 1;
        for damage in [Some(bad), Some(good[..80].to_vec()), None] {
            // A version without a manifest is one that was deleted.
            if name == "image.json" && damage.is_none() {
                continue;
            }
            match damage {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let error = store.collect(&CollectOptions::default()).unwrap_err();
            assert!(matches!(error, StoreError::Refused { .. }));
            assert!(
                error.to_string().contains("nothing was deleted") && error.to_string().contains("debian@1"),
                "{error}"
            );
            assert_eq!(chunks(root.path()), 4);
        }
        fs::write(&path, good).unwrap();
    }
    assert_eq!(store.collect(&CollectOptions::default()).unwrap().deleted_chunks, 1);
}

#[test]
fn the_collector_spares_a_capture_under_way() {
    let (root, store) = directory();
    let volume = Volume::new(4);
    // Two chunks of an earlier image, deleted; the capture counts on them, and stores two more.
    capture(&store, &version("1"), &Volume::new(2));
    store.delete_version(&version("1")).unwrap();
    age_chunks(root.path(), 200);
    store.begin_capture(&version("2")).unwrap();
    let marker = root.path().join(layout::capture_file(&version("2")));
    make_old(&marker, 48);
    let ids: Vec<ChunkId> = volume.parts.iter().map(|part| ChunkId::of(part)).collect();
    assert_eq!(store.have_chunks(&ids).unwrap(), [true, true, false, false]);
    volume.put_chunks(&store);
    age_chunks(root.path(), 47);
    let report = store.collect(&CollectOptions { grace_seconds: 0, dry_run: false }).unwrap();
    assert_eq!((report.captures, report.deleted_chunks), (1, 0));
    // Even where the capture is so slow that its marker counts as stale, its index keeps its chunks.
    volume.put_files(&store, &version("2"));
    make_old(&marker, 8 * 24);
    age_chunks(root.path(), 200);
    let report = store.collect(&CollectOptions::default()).unwrap();
    assert_eq!((report.captures, report.deleted_chunks, report.deleted_leftovers), (0, 0, 1));
    store.publish(&version("2"), &volume.manifest(&version("2"))).unwrap();
}

#[test]
fn the_collector_removes_what_died_long_ago() {
    let (root, store) = directory();
    let volume = Volume::new(2);
    store.begin_capture(&version("1")).unwrap();
    volume.put_chunks(&store);
    volume.put_files(&store, &version("1"));
    fs::write(root.path().join("tmp/put-old"), b"half a chunk").unwrap();
    for directory in ["chunks", "captures", "images", "tmp"] {
        files_below(&root.path().join(directory)).iter().for_each(|file| make_old(file, 8 * 24));
    }
    let report = store.collect(&CollectOptions::default()).unwrap();
    assert_eq!((report.deleted_chunks, report.deleted_leftovers), (2, 3));
    for directory in ["chunks", "captures", "images", "tmp", "trash"] {
        assert!(files_below(&root.path().join(directory)).is_empty(), "{directory}");
    }
}

#[test]
fn a_collector_that_was_killed_loses_nothing() {
    let (root, store) = directory();
    capture(&store, &version("1"), &Volume::new(2));
    let id = ChunkId::of(&Volume::new(2).parts[1]);
    fs::create_dir_all(root.path().join("trash")).unwrap();
    let place = root.path().join(layout::chunk_file(id));
    fs::rename(&place, root.path().join("trash").join(place.file_name().unwrap())).unwrap();
    assert!(!store.have_chunk(id).unwrap());
    store.collect(&CollectOptions::default()).unwrap();
    assert!(store.have_chunk(id).unwrap());
}

/// A collector without grace runs all the time beside captures that reuse each other's chunks: whatever is
/// published is whole.
#[test]
fn captures_and_the_collector_get_along() {
    let (root, store) = directory();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                store.collect(&CollectOptions { grace_seconds: 0, dry_run: false }).unwrap();
            }
        });
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let root = root.path();
                scope.spawn(move || {
                    let store = Directory::open(root, false).unwrap();
                    for round in 0..8 {
                        let version: ImageVersion = format!("w{worker}@{round}").parse().unwrap();
                        let volume = Volume::new(6);
                        store.begin_capture(&version).unwrap();
                        for part in &volume.parts {
                            if !store.have_chunk(ChunkId::of(part)).unwrap() {
                                store.put_chunk(ChunkId::of(part), &frame(part)).unwrap();
                            }
                        }
                        volume.put_files(&store, &version);
                        store.publish(&version, &volume.manifest(&version)).unwrap();
                        for part in &volume.parts {
                            store.get_chunk(ChunkId::of(part), MAX_FRAME_BYTES).unwrap();
                        }
                        store.delete_version(&version).unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
