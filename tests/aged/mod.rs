//! File systems that Linux aged in a virtual machine (`tests/aged/make`), and what tests on them share.
#![allow(dead_code, missing_docs)]

use crate::lab::{self, MIB, Noise, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::{Reading, read};
use remint::schema::State;
use remint::units::{ByteRange, RangeSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A file that holds a file system.
pub struct Image {
    pub folder: tempfile::TempDir,
    pub path: PathBuf,
}

/// What lies beside `make`.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aged").join(name)
}

/// Text that Linux printed when an image was made.
pub fn recorded(name: &str) -> String {
    fs::read_to_string(beside(name)).unwrap()
}

impl Image {
    /// An aged one.
    pub fn aged(name: &str) -> Self {
        let folder = lab::folder();
        let path = folder.path().join("volume");
        let source = File::open(beside(&format!("{name}.zst"))).unwrap();
        let mut decoder = zstd::stream::Decoder::new(source).unwrap();
        decoder.window_log_max(27).unwrap();
        std::io::copy(&mut decoder, &mut File::create(&path).unwrap()).unwrap();
        Self { folder, path }
    }

    /// One that a tool makes on noise.
    pub fn made(size_bytes: u64, command: &[&str]) -> Self {
        let folder = lab::folder();
        let path = folder.path().join("volume");
        lab::noisy_disk(&path, size_bytes);
        run(command[0], &[&command[1..], &[text(&path)]].concat());
        Self { folder, path }
    }

    pub fn size_bytes(&self) -> u64 {
        fs::metadata(&self.path).unwrap().len()
    }

    pub fn memory(&self) -> MemoryDisk {
        MemoryDisk::from_bytes(&fs::read(&self.path).unwrap())
    }

    pub fn reading(&self) -> Reading {
        reading(&self.memory())
    }

    /// What is used, on noise.
    pub fn restored(&self, used: &RangeSet) -> Self {
        let folder = lab::folder();
        let path = folder.path().join("restored");
        lab::noisy_disk(&path, self.size_bytes());
        let source = File::open(&self.path).unwrap();
        let target = File::options().write(true).open(&path).unwrap();
        for range in used.iter() {
            let mut bytes = vec![0; range.length() as usize];
            source.read_exact_at(&mut bytes, range.start()).unwrap();
            target.write_all_at(&bytes, range.start()).unwrap();
        }
        Self { folder, path }
    }

    /// Every file of `recorded` but `unread` has the content that Linux saw, by GRUB's drivers.
    pub fn has_files(&self, recorded: &str, unread: &[&str]) {
        let sums: BTreeMap<&str, &str> = recorded
            .lines()
            .map(|line| line.split_once("  ").unwrap())
            .map(|(sum, name)| (name, sum))
            .collect();
        assert!(sums.len() > 80, "{}", sums.len());
        let out = self.folder.path().join("file");
        for (name, sum) in sums.into_iter().filter(|(name, _)| !unread.contains(name)) {
            let file = format!("(loop0){}", name.strip_prefix('.').unwrap());
            let _ = fs::remove_file(&out);
            run("grub-fstest", &[text(&self.path), "cp", &file, text(&out)]);
            assert_eq!(lab::hash_of(&out), sum, "{name}");
        }
    }
}

pub fn reading(disk: &dyn ReadAt) -> Reading {
    read(disk).unwrap().unwrap()
}

/// The state and what is said about it, of a disk with changes.
pub fn changed(disk: &MemoryDisk, changes: &[(u64, &[u8])]) -> (State, String) {
    let before: Vec<_> =
        changes.iter().map(|(at, new)| (*at, read_vec(disk, *at, new.len()).unwrap())).collect();
    changes.iter().for_each(|(at, bytes)| disk.write_at(*at, bytes).unwrap());
    let Reading { file_system, used } = reading(disk);
    assert_eq!(used.is_some(), file_system.state == State::Clean);
    assert!(file_system.state == State::Clean || !file_system.findings.is_empty());
    before.iter().rev().for_each(|(at, bytes)| disk.write_at(*at, bytes).unwrap());
    (file_system.state, file_system.findings.concat())
}

/// CRC-32 without inversions.
pub fn crc32(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 },
        )
    })
}

/// Remembers what is read.
struct Recorder<'a> {
    disk: &'a MemoryDisk,
    places: Mutex<BTreeSet<(u64, u64)>>,
}

impl ReadAt for Recorder<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.places.lock().unwrap().insert((offset, buffer.len() as u64));
        self.disk.read_at(offset, buffer)
    }
}

/// What is left where only the used blocks were restored, on noise.
pub struct OnNoise<'a> {
    pub disk: &'a MemoryDisk,
    pub used: &'a RangeSet,
}

impl ReadAt for OnNoise<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.disk.read_at(offset, buffer)?;
        let asked = ByteRange::at(offset, buffer.len() as u64).unwrap();
        for free in self.used.gaps(asked).iter() {
            let from = (free.start() - offset) as usize;
            let buffer = &mut buffer[from..from + free.length() as usize];
            for (at, byte) in (free.start()..).zip(buffer) {
                *byte = (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8;
            }
        }
        Ok(())
    }
}

/// The places that a reader looks at.
pub fn places(disk: &MemoryDisk) -> Vec<ByteRange> {
    let recorder = Recorder { disk, places: Mutex::default() };
    read(&recorder).unwrap();
    let places = recorder.places.into_inner().unwrap();
    places.into_iter().map(|(at, length)| ByteRange::at(at, length).unwrap()).collect()
}

/// Ten thousand changes where the reader looks, of a bit or of some bytes: each is survived, and what is still clean has
/// a map that `is_right` agrees with, and reads the same where only that map is left. `seal` puts checksums right behind every second change.
pub fn survives_damage(disk: &MemoryDisk, seal: impl Fn(&MemoryDisk), is_right: impl Fn(&RangeSet) -> bool) {
    let places = places(disk);
    let mut random = Noise::new(11);
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for round in 0..10_000 {
        let place = places[random.below(places.len() as u64) as usize];
        // Most of what matters stands at the beginning of a structure.
        let within = if round % 3 == 0 { place.length().min(128) } else { place.length() };
        let at = place.start() + random.below(within);
        let length = [1, 1, 2, 4, 8][random.below(5) as usize].min(place.end() - at) as usize;
        let old = read_vec(disk, at, length).unwrap();
        let new = match random.below(3) {
            0 => old.iter().map(|byte| byte ^ 1 << random.below(8)).collect(),
            1 => vec![[0, 0xFF][random.below(2) as usize]; length],
            _ => random.bytes(length),
        };
        disk.write_at(at, &new).unwrap();
        if round % 2 == 0 {
            seal(disk);
        }
        let state = match read(disk).unwrap() {
            Some(Reading { file_system, used }) => {
                assert!(file_system.minimum_bytes <= file_system.size_bytes);
                assert!(file_system.size_bytes <= disk.size_bytes());
                assert_eq!(used.as_ref().map(RangeSet::total_bytes), file_system.used_bytes);
                assert!(file_system.state == State::Clean || !file_system.findings.is_empty());
                if let Some(used) = &used {
                    assert!(used.end() <= disk.size_bytes());
                    let again = read(&OnNoise { disk, used }).unwrap().unwrap();
                    assert_eq!((&again.file_system, again.used.as_ref()), (&file_system, Some(used)));
                    assert!(is_right(used), "{new:x?} for {old:x?} at byte {at} of {place}");
                }
                file_system.state.to_string()
            }
            None => "nothing".to_owned(),
        };
        *seen.entry(state).or_default() += 1;
        disk.write_at(at, &old).unwrap();
        seal(disk);
    }
    // The more formats are looked for, the more of the changes are where only those look.
    assert!(seen.get("damaged").is_some_and(|count| *count > 100), "{seen:?}");
    assert_eq!(reading(disk).file_system.state, State::Clean);
}

/// Units of `unit` bytes, one behind the other from 0 on, for which `is_used` says so.
pub fn units(count: u64, unit: u64, is_used: impl Fn(u64) -> bool) -> RangeSet {
    (0..count)
        .filter(|number| is_used(*number))
        .map(|number| ByteRange::at(number * unit, unit).unwrap())
        .collect()
}

/// At least this much of a volume is left out.
pub fn leaves_out(reading: &Reading, least: u64) {
    let used = reading.used.as_ref().unwrap().total_bytes();
    assert!(used + least <= reading.file_system.size_bytes && least >= MIB, "{used} bytes are used");
}
