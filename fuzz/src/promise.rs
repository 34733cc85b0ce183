//! What is promised of a volume whatever its bytes are.

use crate::seed::Seeds;
use crate::volume::{Restored, Volume};
use remint::blockio::ReadAt;
use remint::filesystem::{self, Error, Reading};
use remint::image::{
    ChunkId, ImageVersion, MAX_CHUNK_BYTES, Manifest, StoredFile, StoredVolume, UsedMap, layout,
};
use remint::schema::{Compression, Content, Disk, FileSystemKind, State};

/// Reads what is on a seed, for the places.
pub fn look(volume: &dyn ReadAt) {
    let _ = filesystem::read(volume);
}

/// Reads the volume that an input means and holds what was read to the promises.
pub fn of_input(seeds: &Seeds, input: &[u8]) -> Option<Reading> {
    let (mut volume, options) = seeds.volume(input)?;
    if options & 1 == 1 {
        volume.repair_with(crate::repair_metadata);
    }
    of_volume(&volume)
}

/// Reads a volume and holds what was read to the promises.
pub fn of_volume(volume: &Volume<'_>) -> Option<Reading> {
    let reading = match filesystem::read(volume) {
        Ok(reading) => reading?,
        Err(Error::Io { structure, at, source }) => {
            assert!(volume.has_failed(), "{structure} at {at}: {source}, though every byte can be read");
            return None;
        }
        Err(error) => panic!("not a failure to read, but an error: {error}"),
    };
    let fs = &reading.file_system;
    let size = volume.size_bytes();
    assert!(fs.size_bytes <= size, "{} bytes of file system on {size}", fs.size_bytes);
    assert!(fs.minimum_bytes <= fs.size_bytes, "at least {} of {} bytes", fs.minimum_bytes, fs.size_bytes);
    let is_clean = fs.state == State::Clean;
    assert!(!(is_clean && fs.kind.has_used_map()) || reading.used.is_some(), "clean without a map");
    assert!(is_clean || !fs.findings.is_empty(), "{} without a reason", fs.state);
    let Some(used) = &reading.used else {
        assert_eq!(fs.used_bytes, None);
        return Some(reading);
    };
    assert_eq!(fs.used_bytes, Some(used.total_bytes()));
    assert!(used.end() <= size, "{} bytes of map for {size}", used.end());
    let map = UsedMap::new(size, used);
    assert_eq!(UsedMap::decode(&map.encode()), Ok(map));
    if fs.kind != FileSystemKind::Swap && is_clean && !volume.is_spoiled() {
        let again = filesystem::read(&Restored { volume, used }).unwrap();
        assert_eq!(again.as_ref(), Some(&reading), "what is restored reads differently");
    }
    Some(reading)
}

/// The manifest of a capture of one disk in which nothing was decided by a person.
pub fn manifest_of(disk: Disk) -> Manifest {
    let created = "2026-11-20T21:15:00Z".to_owned();
    let name = "fuzz@1".parse::<ImageVersion>().unwrap();
    let mut manifest = Manifest::new(name.image, name.version, created, Compression::Level(3));
    for volume in &disk.volumes {
        if let Content::FileSystem(_) | Content::Raw { .. } = volume.content {
            let chunks = volume.size_bytes.div_ceil(MAX_CHUNK_BYTES);
            let file = |name: String, length_bytes: u64| StoredFile {
                name,
                length_bytes,
                sha256: ChunkId([7; 32]).to_string(),
            };
            manifest.stored.push(StoredVolume {
                volume: volume.name.clone(),
                index: file(layout::index_name(&volume.name), chunks * 40 + 104),
                used: file(layout::used_map_name(&volume.name), 40),
                chunk_bytes: 1 << 20,
                chunks,
                used_bytes: volume.size_bytes,
                stored_bytes: 0,
                bad_ranges: Vec::new(),
            });
        }
    }
    manifest.disks.push(disk);
    manifest
}

/// Of a disk that is not refused, a manifest can be made that is read again.
pub fn of_disk(disk: Disk) {
    // An index has no more chunks.
    if disk.size_bytes < 1 << 47 {
        let manifest = manifest_of(disk);
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    }
}
