//! casync, an independent program, reads what was captured from a real disk.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::{Kind, MIB, Noise, Place, remint_ends, run, text};
use remint::blockio::MemoryDisk;
use std::fs;
use std::path::Path;

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F"] };

/// The bytes of a volume with its free space as zeros, as the file system's own map says.
fn without_free_space(disk: &Path, place: Place) -> Vec<u8> {
    let all = lab::bytes(disk, place.start, place.length);
    let reading = remint::filesystem::read(&MemoryDisk::from_bytes(&all)).unwrap().unwrap();
    let mut expected = vec![0; all.len()];
    for used in reading.used.unwrap().iter() {
        let range = used.start() as usize..used.end() as usize;
        expected[range.clone()].copy_from_slice(&all[range]);
    }
    assert!(expected != all, "free space was to hold garbage");
    expected
}

#[test]
fn casync_extracts_every_volume_with_its_free_space_as_zeros() {
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    let linux = "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4";
    let script = format!("label: gpt\nsize=64MiB, {linux}\nsize=8MiB, {linux}");
    let places = lab::partitioned_disk(&disk, 80 * MIB, 512, &script);
    let (part, files) = (folder.path().join("part.img"), folder.path().join("files"));
    lab::real_files(&files, 16 * MIB);
    EXT4.build(&part, places[0].length, &files);
    lab::put(&disk, places[0].start, &part);
    lab::overwrite(&disk, places[1].start + 4096, &Noise::new(7).bytes(5 << 20));
    let store = folder.path().join("store");
    for level in ["none", "fast", "19"] {
        let capture = ["capture", "lab", "--to", text(&store), "--disk", text(&disk), "--compress", level];
        remint_ends(0, &[capture.as_slice(), &["--comment", level]].concat());
    }
    let chunks = format!("--store={}", text(&store.join("chunks")));
    let raw = lab::bytes(&disk, places[1].start, places[1].length);
    let expected = [("d0-p1", without_free_space(&disk, places[0])), ("d0-p2", raw)];
    let mut versions = 0;
    for version in fs::read_dir(store.join("images/lab")).unwrap().flatten() {
        versions += 1;
        for (volume, bytes) in &expected {
            let (index, out) = (version.path().join(format!("{volume}.caibx")), folder.path().join("out"));
            let _ = fs::remove_file(&out);
            run("casync", &["extract", &chunks, "--seed-output=no", text(&index), text(&out)]);
            assert!(fs::read(&out).unwrap() == *bytes, "{volume}");
            // Read through the index chunk by chunk, and from the finished file: the same digest.
            let digest = |path: &Path| run("casync", &["digest", &chunks, text(path)]);
            assert_eq!(digest(&index), digest(&out), "{volume}");
        }
    }
    assert_eq!(versions, 3);
}
