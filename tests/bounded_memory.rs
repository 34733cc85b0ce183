//! Memory is bounded and does not grow with the disk, at any level of compression.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{GIB, MIB, text};
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const LIMIT_BYTES: u64 = 300 * MIB;
/// What a machine with two cores takes where nobody says.
const WORKERS: [&str; 2] = ["--workers", "4"];

/// Runs `remint`, whose memory has to stay within the limit. The kernel keeps the peak, so it is enough to look at
/// it until the end.
fn within_limit(arguments: &[&str]) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_remint"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{} MiB: {arguments:?}", peak / MIB);
    assert!(peak > MIB, "the peak was not seen");
    assert!(peak < LIMIT_BYTES, "{arguments:?} took {} MiB", peak / MIB);
}

/// As on a machine with two cores.
fn with_workers(arguments: &[&str]) {
    within_limit(&[arguments, &WORKERS].concat());
}

#[test]
fn a_disk_of_one_tebibyte_takes_no_more_than_a_small_one() {
    let folder = lab::folder();
    let (disk, target) = (folder.path().join("disk.img"), folder.path().join("target.img"));
    let files = folder.path().join("files");
    lab::real_files(&files, 16 * MIB);
    for path in [&disk, &target] {
        File::create(path).unwrap().set_len(1024 * GIB).unwrap();
    }
    // Few inodes: their tables are used blocks, and reading them is not what is judged here.
    let make = ["-q", "-F", "-i", "1048576", "-J", "size=64", "-d", text(&files), text(&disk)];
    lab::run("mkfs.ext4", &make);
    let store = text(&folder.path().join("store")).to_owned();
    within_limit(&["inspect", text(&disk)]);
    with_workers(&["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    with_workers(&["verify", "lab", "--from", &store, "--deep"]);
    with_workers(&["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"]);
    lab::run("e2fsck", &["-n", text(&target)]);
}

#[test]
fn noise_takes_no_more_at_any_level() {
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    lab::disk_of_noise(&disk, GIB);
    let store = text(&folder.path().join("store")).to_owned();
    with_workers(&["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    // Over the source: what it holds is what is written.
    with_workers(&["deploy", "lab", "--from", &store, "--disk", text(&disk), "--yes"]);
    // The highest level takes seconds for each MiB; its memory is all taken when every worker had a few.
    lab::disk_of_noise(&disk, 20 * MIB);
    let store = text(&folder.path().join("other")).to_owned();
    let highest = ["capture", "lab", "--to", &store, "--disk", text(&disk), "--compress", "19"];
    with_workers(&highest);
}
