//! A small image, and ways to store it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use remint::image::{
    ChunkId, Encoder, Entry, ImageVersion, Index, Manifest, Store, StoredFile, StoredVolume, UsedMap, layout,
};
use remint::schema::{Compression, Content, Disk, Role, Table};
use remint::store::Directory;
use remint::units::{ByteRange, RangeSet, SectorSize};
use std::path::{Path, PathBuf};

const CHUNK_BYTES: u64 = 65536;

/// Content that compresses about as well as a disk does, different for each seed.
pub fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if at % 5 < 3 { b'a' } else { (state >> 56) as u8 }
        })
        .collect()
}

/// The frame of a content.
pub fn frame(content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Encoder::new(Compression::Level(1)).unwrap().encode(content, &mut frame).unwrap();
    frame
}

/// A version of the image `debian`.
pub fn version(name: &str) -> ImageVersion {
    format!("debian@{name}").parse().unwrap()
}

/// An empty store in a directory that vanishes with the first value.
pub fn directory() -> (tempfile::TempDir, Directory) {
    let root = tempfile::tempdir().unwrap();
    let store = Directory::open(root.path(), true).unwrap();
    (root, store)
}

/// Every file below a directory, in order.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// The one volume of the image: pieces of 64 KiB. A larger volume begins with the pieces of a smaller one.
pub struct Volume {
    pub parts: Vec<Vec<u8>>,
}

impl Volume {
    pub fn new(parts: u64) -> Self {
        Self { parts: (0..parts).map(|seed| content(CHUNK_BYTES as usize, seed)).collect() }
    }

    fn bytes(&self) -> u64 {
        CHUNK_BYTES * self.parts.len() as u64
    }

    pub fn index(&self) -> Vec<u8> {
        let ends = (1..).map(|number| number * CHUNK_BYTES);
        let entry = |(end_bytes, part): (u64, &Vec<u8>)| Entry { end_bytes, id: ChunkId::of(part) };
        Index::new(CHUNK_BYTES, ends.zip(&self.parts).map(entry).collect()).unwrap().encode()
    }

    pub fn used(&self) -> Vec<u8> {
        UsedMap::new(self.bytes(), &RangeSet::of(ByteRange::new(0, self.bytes()))).encode()
    }

    pub fn manifest(&self, version: &ImageVersion) -> Vec<u8> {
        let created = "2026-11-20T21:15:00Z".to_owned();
        let mut manifest =
            Manifest::new(version.image.clone(), version.version.clone(), created, Compression::Level(1));
        manifest.disks.push(Disk {
            number: 0,
            size_bytes: self.bytes(),
            logical_sector_bytes: SectorSize::B512,
            physical_sector_bytes: SectorSize::B512,
            model: None,
            serial: None,
            wwn: None,
            table: Table::None,
            volumes: vec![remint::schema::Volume {
                name: "d0-disk".to_owned(),
                role: Role::WholeDisk,
                start_bytes: 0,
                size_bytes: self.bytes(),
                content: Content::Raw { reason: "a test".to_owned(), file_system: None },
                fixed: false,
            }],
        });
        manifest.stored.push(StoredVolume {
            volume: "d0-disk".to_owned(),
            index: StoredFile::of(layout::index_name("d0-disk"), &self.index()),
            used: StoredFile::of(layout::used_map_name("d0-disk"), &self.used()),
            chunk_bytes: CHUNK_BYTES,
            chunks: self.parts.len() as u64,
            used_bytes: self.bytes(),
            stored_bytes: 0,
            bad_ranges: Vec::new(),
        });
        manifest.encode().unwrap()
    }

    pub fn put_chunks(&self, store: &dyn Store) {
        for part in &self.parts {
            store.put_chunk(ChunkId::of(part), &frame(part)).unwrap();
        }
    }

    pub fn put_files(&self, store: &dyn Store, version: &ImageVersion) {
        store.put_file(version, "d0-disk.caibx", &self.index()).unwrap();
        store.put_file(version, "d0-disk.used", &self.used()).unwrap();
    }
}

/// Publishes a schema without data.
pub fn schema(store: &dyn Store, version: &ImageVersion) {
    let mut manifest = Manifest::decode(&Volume::new(1).manifest(version)).unwrap();
    (manifest.schema_only, manifest.format_version) = (true, 3);
    manifest.stored.clear();
    store.begin_capture(version).unwrap();
    store.publish(version, &manifest.encode().unwrap()).unwrap();
}

/// Stores and publishes a version.
pub fn capture(store: &dyn Store, version: &ImageVersion, volume: &Volume) {
    store.begin_capture(version).unwrap();
    volume.put_chunks(store);
    volume.put_files(store, version);
    store.publish(version, &volume.manifest(version)).unwrap();
}
