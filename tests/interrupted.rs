//! Work that is cut off: a capture goes on where it stopped and publishes nothing before its end; a deploy leaves
//! the target without a table. Asked to stop, killed, or left by the server.
#![cfg(feature = "server")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::running::{Ended, Running, Server};
use lab::{MIB, remint_ends, text};
use nix::sys::signal::Signal;
use remint::progress::{Event, Phase};
use std::fs;
use std::path::{Path, PathBuf};

/// Takes seconds for each MiB of noise: no test has to hurry to interrupt it.
const SLOW: [&str; 4] = ["--compress", "19", "--workers", "1"];

fn noise(folder: &Path, partition_bytes: u64) -> PathBuf {
    let disk = folder.join("disk.img");
    lab::disk_of_noise(&disk, partition_bytes);
    disk
}

fn stored_something(event: &Event) -> bool {
    matches!(event, Event::Advanced { phase: Phase::Capture, transferred_bytes: 500_000.., .. })
}

/// Starts a slow capture and returns when it has stored something.
fn capture_under_way(disk: &Path, store: &str, more: &[&str]) -> Running {
    let arguments = ["capture", "lab", "--to", store, "--disk", text(disk)];
    let mut running = Running::start(&[arguments.as_slice(), &SLOW, more].concat());
    running.wait_for(stored_something);
    running
}

/// Captures once more: what was stored before is not sent again and not touched.
fn goes_on(disk: &Path, url: &str, store: &Path) {
    assert_eq!(lab::published(store), 0);
    let before = lab::chunk_files(store);
    assert!(!before.is_empty());
    let again =
        Running::start(&["capture", "lab", "--to", url, "--disk", text(disk), "--compress", "none"]).end();
    assert_eq!(again.code, Some(0), "{:?}", again.events);
    let after = lab::chunk_files(store);
    assert!(before.iter().all(|(path, file)| after.get(path) == Some(file)), "a stored chunk was replaced");
    let new = after.keys().filter(|path| !before.contains_key(*path));
    let new: u64 = new.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(again.transferred(), new, "exactly what was missing is sent");
    assert!(new < fs::metadata(disk).unwrap().len() - MIB);
    remint_ends(0, &["verify", "lab", "--from", url, "--deep"]);
}

#[test]
fn a_capture_that_is_asked_to_stop_ends_cleanly_and_can_go_on() {
    let folder = lab::folder();
    let disk = noise(folder.path(), 48 * MIB);
    let store = folder.path().join("store");
    let running = capture_under_way(&disk, text(&store), &[]);
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    let (message, changed) = ended.failure();
    assert!(message.contains("stopped on request") && message.contains("sends only what is missing"));
    assert!(!changed);
    goes_on(&disk, text(&store), &store);
}

#[test]
fn a_capture_that_is_killed_can_go_on() {
    let folder = lab::folder();
    let disk = noise(folder.path(), 48 * MIB);
    let store = folder.path().join("store");
    let running = capture_under_way(&disk, text(&store), &[]);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, None);
    goes_on(&disk, text(&store), &store);
}

#[test]
fn a_capture_whose_server_is_lost_names_it_and_can_go_on() {
    let folder = lab::folder();
    let disk = noise(folder.path(), 48 * MIB);
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let (port, url) = (server.port(), server.url.clone());
    let running = capture_under_way(&disk, &url, &["--retry-for", "1"]);
    drop(server);
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{:?}", ended.events);
    assert!(ended.failure().0.contains(&url) && !ended.failure().1, "{:?}", ended.events);
    let server = Server::start(&data, port);
    goes_on(&disk, &server.url, &data.join("store"));
}

#[test]
fn a_capture_waits_for_a_server_that_is_restarted() {
    let folder = lab::folder();
    let disk = noise(folder.path(), 12 * MIB);
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let (port, url) = (server.port(), server.url.clone());
    let running = capture_under_way(&disk, &url, &["--retry-for", "60"]);
    drop(server);
    let server = Server::start(&data, port);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    remint_ends(0, &["verify", "lab", "--from", &server.url, "--deep"]);
}

/// Starts a deploy and returns when it has begun to write the partition.
fn deploy_under_way(store: &str, target: &Path, more: &[&str]) -> Running {
    let arguments = ["deploy", "lab", "--from", store, "--disk", text(target), "--yes", "--workers", "1"];
    let mut running = Running::start(&[arguments.as_slice(), more].concat());
    running.wait_for(
        |event| matches!(event, Event::VolumeStarted { phase: Phase::Write, volume, .. } if volume == "d0-p1"),
    );
    running
}

/// The target has no table, for nobody.
fn is_plainly_unbootable(target: &Path) {
    lab::run_allowing("sfdisk", &["--dump", text(target)], &[1]);
    let size = fs::metadata(target).unwrap().len();
    for start in [0, size - MIB] {
        assert!(lab::bytes(target, start, MIB).iter().all(|byte| *byte == 0), "at {start}");
    }
    assert!(remint_ends(0, &["inspect", text(target)]).contains("No partition table"));
}

fn failed_after_a_change(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(4), "{:?}", ended.events);
    let (message, changed) = ended.failure();
    assert!(changed && message.contains("left without a partition table; deploy again"), "{message}");
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn a_deploy_that_is_cut_off_leaves_no_table_and_can_be_started_again() {
    let folder = lab::folder();
    let disk = noise(folder.path(), 384 * MIB);
    let data = folder.path().join("data");
    let target = folder.path().join("target.img");
    let size = fs::metadata(&disk).unwrap().len();
    let store = data.join("store");
    // The target is bootable before: what is left must not be the old system, either.
    fs::create_dir(&data).unwrap();
    fs::copy(&disk, &target).unwrap();
    remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk), "--compress", "none"]);

    let running = deploy_under_way(text(&store), &target, &[]);
    running.signal(Signal::SIGINT);
    failed_after_a_change(&running.end(), &["stopped on request"]);
    is_plainly_unbootable(&target);

    let running = deploy_under_way(text(&store), &target, &[]);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, None);
    is_plainly_unbootable(&target);

    let server = Server::start(&data, 0);
    let (port, url) = (server.port(), server.url.clone());
    let running = deploy_under_way(&url, &target, &["--retry-for", "1"]);
    drop(server);
    failed_after_a_change(&running.end(), &[&url]);
    is_plainly_unbootable(&target);

    let server = Server::start(&data, port);
    remint_ends(0, &["deploy", "lab", "--from", &server.url, "--disk", text(&target), "--yes"]);
    for start in [0, size / 2, size - MIB] {
        assert!(lab::bytes(&target, start, MIB) == lab::bytes(&disk, start, MIB), "at {start}");
    }
}

/// Compression "none", a download that ends early, and a chunk that does not decompress end in "success" elsewhere.
#[test]
fn a_chunk_that_is_cut_short_or_does_not_decompress_never_ends_in_success() {
    let folder = lab::folder();
    let disk = noise(folder.path(), 3 * MIB);
    let target = folder.path().join("target.img");
    for level in ["none", "fast"] {
        let store = folder.path().join(level);
        remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk), "--compress", level]);
        let deploy = ["deploy", "lab", "--from", text(&store), "--disk", text(&target), "--yes"];
        // The largest: a piece of the partition.
        let chunk = lab::chunk_files(&store)
            .into_keys()
            .max_by_key(|path| fs::metadata(path).unwrap().len())
            .unwrap();
        let id = chunk.file_stem().unwrap().to_str().unwrap().to_owned();
        let whole = fs::read(&chunk).unwrap();
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        let damages: [Vec<u8>; 4] = [
            whole[..whole.len() / 2].to_vec(),
            whole[..whole.len() - 1].to_vec(),
            flipped(2),
            flipped(whole.len() / 2),
        ];
        for damaged in damages {
            lab::noisy_disk(&target, fs::metadata(&disk).unwrap().len());
            fs::write(&chunk, damaged).unwrap();
            failed_after_a_change(&Running::start(&deploy).end(), &[&id]);
            is_plainly_unbootable(&target);
        }
        // An empty one is none, which is seen before anything is written.
        fs::write(&chunk, []).unwrap();
        let said = remint_ends(1, &deploy);
        assert!(said.contains("missing from the store"), "{said}");
        fs::write(&chunk, whole).unwrap();
        remint_ends(0, &deploy);
        assert!(lab::bytes(&target, MIB, 3 * MIB) == lab::bytes(&disk, MIB, 3 * MIB), "{level}");
    }
}
