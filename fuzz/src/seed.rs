//! The untouched volumes, and the places of them that a reader looks at.

use crate::change;
use crate::volume::Volume;
use remint::blockio::ReadAt;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

/// Where the volume that an input means is written to, for a look at it with other tools.
static DUMP: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("FUZZ_DUMP"));

/// One untouched volume.
pub struct Seed {
    pub bytes: Vec<u8>,
    /// What a reader read, each place once, in the order in which it was read.
    pub places: Vec<Range<u64>>,
}

/// The seeds of one target.
pub struct Seeds(Vec<Seed>);

/// Remembers what is read.
struct Recorder<'a> {
    bytes: &'a [u8],
    seen: Mutex<(BTreeSet<(u64, u64)>, Vec<Range<u64>>)>,
}

impl ReadAt for Recorder<'_> {
    fn size_bytes(&self) -> u64 {
        self.bytes.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        let mut seen = self.seen.lock().unwrap();
        if !buffer.is_empty() && seen.0.insert((offset, end)) {
            seen.1.push(offset..end);
        }
        self.bytes.read_at(offset, buffer)
    }
}

impl Seed {
    /// A volume and the places that `read` looks at.
    pub fn new(bytes: Vec<u8>, read: impl Fn(&dyn ReadAt)) -> Self {
        let recorder = Recorder { bytes: &bytes, seen: Mutex::default() };
        read(&recorder);
        let (_, mut places) = recorder.seen.into_inner().unwrap();
        places.retain(|place| place.end <= bytes.len() as u64);
        Self { bytes, places }
    }

    /// Bytes whose fields of `field_bytes` each are a place.
    pub fn of_fields(bytes: Vec<u8>, field_bytes: u64) -> Self {
        let end = bytes.len() as u64;
        let fields = (0..end).step_by(field_bytes as usize);
        let places = fields.map(|at| at..(at + field_bytes).min(end)).collect();
        Self { bytes, places }
    }
}

impl Seeds {
    /// The files under `fuzz/seeds/NAME`, as `scripts/fuzz-seeds` made them.
    pub fn load(name: &str, read: impl Fn(&dyn ReadAt)) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let entries = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}; make it with scripts/fuzz-seeds", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        Self(paths.iter().map(|path| Seed::new(fs::read(path).unwrap(), &read)).collect())
    }

    /// These seeds.
    pub fn of(seeds: Vec<Seed>) -> Self {
        Self(seeds)
    }

    /// The volume that an input means: a byte for the seed, a byte of options, changes of 16 bytes each.
    pub fn volume(&self, input: &[u8]) -> Option<(Volume<'_>, u8)> {
        let [seed, options, changes @ ..] = input else { return None };
        let seed = self.0.get(usize::from(*seed) % self.0.len().max(1))?;
        let mut volume = Volume::new(&seed.bytes);
        for change in changes.as_chunks::<16>().0 {
            change::apply(&mut volume, seed, change);
        }
        if let Some(path) = DUMP.as_deref() {
            fs::write(path, volume.to_vec(256 << 20)).unwrap();
            eprintln!("{} bytes, options {options:#x}, {changes:x?}", volume.size_bytes_now());
        }
        Some((volume, *options))
    }

    /// Adds one more.
    pub fn push(&mut self, seed: Seed) {
        self.0.push(seed);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The untouched seeds.
    pub fn iter(&self) -> impl Iterator<Item = &Seed> {
        self.0.iter()
    }
}
