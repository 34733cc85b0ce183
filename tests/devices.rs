//! What only a block device shows: discards that reach the medium, and swap space that the kernel uses.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::{Kind, Loop, MIB, remint_ends, text};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F"] };
const DISK_BYTES: u64 = 96 * MIB;
const SWAP_BYTES: u64 = 16 * MIB;

/// A disk with an ext4 and swap space, and where the swap space starts.
fn disk_with_swap(folder: &Path) -> (PathBuf, u64) {
    let (disk, part, files) = (folder.join("disk.img"), folder.join("part.img"), folder.join("files"));
    let script = "label: gpt\nsize=64MiB, type=L\nsize=16MiB, type=S";
    let places = lab::partitioned_disk(&disk, DISK_BYTES, 512, script);
    fs::create_dir(&files).unwrap();
    lab::real_files(&files, 5 * MIB);
    EXT4.build(&part, places[0].length, &files);
    lab::put(&disk, places[0].start, &part);
    let swap = Loop::new(&disk, places[1].start, places[1].length, false);
    lab::run("mkswap", &[&swap.0]);
    (disk, places[1].start)
}

#[test]
fn a_discard_leaves_nothing_of_the_previous_owner() {
    let folder = lab::folder();
    let (disk, _) = disk_with_swap(folder.path());
    let store = folder.path().join("store");
    remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);

    let target = folder.path().join("target.img");
    let size_bytes = 200 * MIB;
    lab::noisy_disk(&target, size_bytes);
    let device = Loop::new(&target, 0, size_bytes, false);
    let arguments = ["deploy", "lab", "--from", text(&store), "--disk", &device.0];
    remint_ends(0, &[&arguments[..], &["--layout", "original", "--free-space", "discard", "--yes"]].concat());
    drop(device);

    let behind = 82 * MIB;
    let unused = lab::bytes(&target, behind, size_bytes - behind - MIB);
    assert!(unused.iter().all(|byte| *byte == 0), "noise is left behind the last partition");
    let stored_bytes = fs::metadata(&target).unwrap().blocks() * 512;
    assert!(stored_bytes < 40 * MIB, "{stored_bytes} bytes are still stored");
    let place = lab::partitions(&target, 512)[0];
    EXT4.check(&target, place.start, place.length);
}

/// Swap space in use, until it is dropped.
struct Swapping<'a>(&'a Loop);

impl Drop for Swapping<'_> {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.0.0).output();
    }
}

#[test]
fn a_disk_whose_swap_space_is_in_use_is_refused_by_that_name() {
    let folder = lab::folder();
    let (disk, swap_start) = disk_with_swap(folder.path());
    let store = folder.path().join("store");
    remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);

    let device = Loop::new(&disk, swap_start, SWAP_BYTES, false);
    // A container may forbid it; there is nothing to refuse then.
    if !Command::new("swapon").arg(&device.0).status().unwrap().success() {
        return;
    }
    let swapping = Swapping(&device);
    // The kernel may put its own pages into the swap space meanwhile, and that is its right.
    let behind = swap_start + SWAP_BYTES;
    let outside = || (lab::bytes(&disk, 0, swap_start), lab::bytes(&disk, behind, DISK_BYTES - behind));
    let before = outside();
    let said = remint_ends(1, &["deploy", "lab", "--from", text(&store), "--disk", text(&disk), "--yes"]);
    assert!(said.contains(&format!("{} is in use as swap space", device.0)), "{said}");
    assert!(outside() == before, "the disk was changed");
    drop(swapping);
    drop(device);
    remint_ends(0, &["deploy", "lab", "--from", text(&store), "--disk", text(&disk), "--yes"]);
}
