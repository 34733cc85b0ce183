//! Members of arrays that mdadm and Linux made in a virtual machine (`tests/arrays/make`), and what tests on them share.
#![allow(dead_code, missing_docs)]

pub mod model;

use crate::aged::Image;
use crate::lab::{self, MIB, run, text};
use remint::filesystem::md;
use remint::units::ByteRange;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Mirrors that were stopped, with the first byte and the length of their data.
pub const VERSIONS: [(&str, u64, u64); 4] = [
    ("clean-0.90", 0, 16 * MIB - 65536),
    ("clean-1.0", 0, 16 * MIB - 16384),
    ("clean-1.1", MIB, 15 * MIB),
    ("clean-1.2", MIB, 15 * MIB),
];

/// Arrays whose data lie on all their members together, all of which are there.
pub const WHOLE: [&str; 15] = [
    "whole-0-alternate",
    "whole-0-original",
    "whole-4",
    "whole-5-090",
    "whole-5-first",
    "whole-5-la",
    "whole-5-ls",
    "whole-5-ra",
    "whole-5-rs",
    "whole-6-ls",
    "whole-6-ls6",
    "whole-6-ra",
    "whole-10-f2",
    "whole-10-n2",
    "whole-10-o2",
];

/// All members of 16 MiB that a file holds.
pub fn members(name: &str) -> Vec<Image> {
    let all = unpacked(name, 0, None);
    (0..all.size_bytes() / (16 * MIB))
        .map(|position| {
            let folder = lab::folder();
            let path = folder.path().join("volume");
            std::fs::write(&path, lab::bytes(&all.path, position * 16 * MIB, 16 * MIB)).unwrap();
            Image { folder, path }
        })
        .collect()
}

/// What lies beside `make`.
pub fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/arrays").join(name)
}

/// One member of 16 MiB of those that a file holds.
pub fn member(name: &str, position: usize) -> Image {
    unpacked(name, position as u64 * 16 * MIB, Some(16 * MIB))
}

/// A member of 420 MiB, and where its data are.
pub fn large(name: &str) -> (Image, ByteRange) {
    let image = unpacked(name, 0, None);
    let data = md::member(&image.memory()).unwrap().unwrap().data;
    (image, data)
}

/// A part of what a file holds, its zeros left out.
pub fn unpacked(name: &str, start: u64, length: Option<u64>) -> Image {
    let folder = lab::folder();
    let path = folder.path().join("volume");
    let mut decoder =
        zstd::stream::Decoder::new(File::open(beside(&format!("{name}.zst"))).unwrap()).unwrap();
    decoder.window_log_max(27).unwrap();
    std::io::copy(&mut decoder.by_ref().take(start), &mut std::io::sink()).unwrap();
    let mut rest: Box<dyn Read> = match length {
        Some(length) => Box::new(decoder.take(length)),
        None => Box::new(decoder),
    };
    let mut target = File::create(&path).unwrap();
    let mut size = 0;
    let mut buffer = vec![0; MIB as usize];
    loop {
        let read = rest.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            std::io::Seek::seek(&mut target, std::io::SeekFrom::Start(size)).unwrap();
            target.write_all(&buffer[..read]).unwrap();
        }
        size += read as u64;
    }
    target.set_len(size).unwrap();
    Image { folder, path }
}

/// All that mdadm says of a member, its path left out.
pub fn examined(path: &Path) -> String {
    let said = run("mdadm", &["--examine", text(path)]);
    said.lines().skip(1).map(|line| format!("{line}\n")).collect()
}

/// The checksum of a superblock of version 1.
pub fn checksum(bytes: &[u8]) -> u32 {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let roles = (word(220) as usize).min(1920);
    let end = 256 + roles * 2;
    let whole = (0..end / 4).filter(|number| *number != 54).map(|number| u64::from(word(number * 4)));
    let half =
        if end % 4 == 2 { u64::from(u16::from_le_bytes(bytes[end - 2..end].try_into().unwrap())) } else { 0 };
    let sum = whole.sum::<u64>() + half;
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

/// That of version 0.90, little-endian.
pub fn checksum_0(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(4).enumerate().filter(|(number, _)| *number != 38);
    let sum: u64 = words.map(|(_, word)| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum();
    (sum as u32).wrapping_add((sum >> 32) as u32)
}
