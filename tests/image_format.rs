//! The stored format keeps its promises: what is written comes back, casync reads it, and damage is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]
#![allow(missing_docs)]

use proptest::prelude::*;
use remint::image::{
    ChunkId, Decoder, Encoder, Entry, Index, Manifest, ManifestError, Piece, StoredFile, StoredVolume,
    UsedMap, check_frame, cut, layout, seal,
};
use remint::schema::{Compression, Content, Disk, FileSystem, FileSystemKind, Role, State, Table, Volume};
use remint::units::{ByteRange, MIB, RangeSet, SectorSize};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Content that compresses about as well as a disk does, different for each seed.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if at % 5 < 3 { b'a' } else { (state >> 56) as u8 }
        })
        .collect()
}

const COMPRESSIONS: [Compression; 5] = [
    Compression::None,
    Compression::Fast,
    Compression::Level(1),
    Compression::Level(3),
    Compression::Level(19),
];

#[test]
fn every_compression_gives_one_frame_that_comes_back() {
    let mut decoder = Decoder::new().unwrap();
    let mut frame = Vec::new();
    let mut out = Vec::new();
    for compression in COMPRESSIONS {
        let mut encoder = Encoder::new(compression).unwrap();
        for content in [
            content(1, 1),
            content(131_072, 2),
            content(1_048_576, 3),
            content(300_001, 4),
            vec![0; 5_000_000],
        ] {
            let id = ChunkId::of(&content);
            encoder.encode(&content, &mut frame).unwrap();
            let length = content.len() as u64;
            decoder.decode(id, &frame, length, &mut out).unwrap();
            assert!(out == content, "{compression}");
            assert_eq!(check_frame(id, &frame[..]).unwrap(), length);
            assert_eq!(zstd::stream::decode_all(&frame[..]).unwrap(), content);
            assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(length));
            for wrong in [0, length - 1, length + 1, u64::MAX] {
                assert!(decoder.decode(id, &frame, wrong, &mut out).is_err());
                assert!(out.is_empty());
            }
            assert!(decoder.decode(ChunkId::of(b"other"), &frame, length, &mut out).is_err());
            frame.push(0);
            assert!(decoder.decode(id, &frame, length, &mut out).is_err());
            assert!(check_frame(id, &frame[..]).is_err());
        }
    }
    Encoder::new(Compression::None).unwrap().encode(&vec![0; 64 << 20], &mut frame).unwrap();
    assert!(frame.len() < 4096, "zeros cost nothing even where nothing is compressed");
}

#[test]
fn a_bomb_is_refused_before_it_grows() {
    // 256 MiB of zeros in a frame that does not say its size.
    let mut bomb = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
    for number in 0..2048 {
        let header: u32 = (131_072 << 3) | 2 | u32::from(number == 2047);
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    let mut out = Vec::new();
    let error = Decoder::new().unwrap().decode(ChunkId::of(b""), &bomb, 1 << 20, &mut out).unwrap_err();
    assert!(out.capacity() <= 4 << 20, "{error}: {}", out.capacity());
    assert!(check_frame(ChunkId::of(b""), &bomb[..]).unwrap_err().to_string().contains("more than"));
}

#[test]
fn flipped_bytes_of_a_frame_never_pass_and_never_panic() {
    let mut decoder = Decoder::new().unwrap();
    let mut out = Vec::new();
    for compression in [Compression::None, Compression::Level(3)] {
        let content = content(3000, 7);
        let id = ChunkId::of(&content);
        let mut frame = Vec::new();
        Encoder::new(compression).unwrap().encode(&content, &mut frame).unwrap();
        for at in 0..frame.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut damaged = frame.clone();
                damaged[at] ^= flip;
                // A flip may hit a bit that zstd ignores; then the content is still the right one.
                if decoder.decode(id, &damaged, 3000, &mut out).is_ok() {
                    assert!(out == content);
                }
                let _ = check_frame(id, &damaged[..]);
            }
        }
        for length in 0..frame.len() {
            assert!(decoder.decode(id, &frame[..length], 3000, &mut out).is_err());
        }
    }
}

fn index_of(parts: &[Vec<u8>]) -> Index {
    let mut end_bytes = 0;
    let entries = parts.iter().map(|part| {
        end_bytes += part.len() as u64;
        Entry { end_bytes, id: ChunkId::of(part) }
    });
    Index::new(MIB, entries.collect()).unwrap()
}

fn put_chunk(store: &Path, encoder: &mut Encoder, content: &[u8]) -> ChunkId {
    let id = ChunkId::of(content);
    let mut frame = Vec::new();
    encoder.encode(content, &mut frame).unwrap();
    fs::create_dir_all(store.join(layout::chunk_directory(id))).unwrap();
    fs::write(store.join(layout::chunk_file(id)), frame).unwrap();
    id
}

/// A volume with used and free stretches, stored as a capture would store it, comes out of casync.
#[test]
fn casync_extracts_the_volume_with_zeros_in_its_free_space() {
    for compression in [Compression::None, Compression::Fast, Compression::Level(3)] {
        let directory = tempfile::tempdir().unwrap();
        let volume_bytes = 150 * MIB + 512;
        let used: RangeSet = [
            ByteRange::new(0, 4096),
            ByteRange::new(5 * MIB + 77, 7 * MIB + 3),
            ByteRange::new(150 * MIB + 100, volume_bytes),
        ]
        .into_iter()
        .collect();
        let mut expected = vec![0; volume_bytes as usize];
        for range in used.iter() {
            let bytes = content(range.length() as usize, range.start());
            expected[range.start() as usize..range.end() as usize].copy_from_slice(&bytes);
        }
        let mut encoder = Encoder::new(compression).unwrap();
        let mut entries = Vec::new();
        for Piece { range, free } in cut(volume_bytes, &used) {
            let piece = &expected[range.start() as usize..range.end() as usize];
            assert!(!free || piece.iter().all(|byte| *byte == 0));
            entries
                .push(Entry { end_bytes: range.end(), id: put_chunk(directory.path(), &mut encoder, piece) });
        }
        let index = Index::new(MIB, entries).unwrap();
        let caibx = directory.path().join("d0-p1.caibx");
        fs::write(&caibx, index.encode()).unwrap();
        let out = directory.path().join("out");
        let done = Command::new("casync")
            .arg("extract")
            .arg(format!("--store={}", directory.path().join("chunks").display()))
            .args([&caibx, &out])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(fs::read(&out).unwrap() == expected, "{compression}");
    }
}

/// What casync makes of a blob is what we make of the same chunks, but for its flags about directories.
#[test]
fn an_index_of_casync_is_read_and_written_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let (blob, caibx) = (directory.path().join("blob"), directory.path().join("blob.caibx"));
    let bytes = content(3_000_000, 5);
    fs::write(&blob, &bytes).unwrap();
    let done = Command::new("casync")
        .args(["make", "--digest=sha256", "--chunk-size=1048576"])
        .arg(format!("--store={}", directory.path().join("store").display()))
        .args([&caibx, &blob])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut file = fs::read(&caibx).unwrap();
    let index = Index::decode(&file).unwrap();
    assert_eq!(file[23], 0x90, "neither nodump files nor other mounts, which a volume has not");
    file[23] = 0;
    assert_eq!(index.encode(), file);
    assert_eq!(index.volume_bytes(), 3_000_000);
    for (range, id) in index.pieces() {
        assert_eq!(ChunkId::of(&bytes[range.start() as usize..range.end() as usize]), id);
    }
}

#[test]
fn damaged_indexes_are_refused_or_are_other_indexes_but_never_panic() {
    let file = index_of(&[content(1000, 1), content(2000, 2), content(3, 3), vec![0; 70_000]]).encode();
    for at in 0..file.len() {
        for flip in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << flip;
            match Index::decode(&damaged) {
                // Flags about directories are read and not kept.
                Ok(index) if at != 23 => assert_eq!(index.encode(), damaged),
                _ => {}
            }
            let in_hash_or_sizes = (at >= 64 && at < file.len() - 40) || (16..48).contains(&at);
            assert!(in_hash_or_sizes || Index::decode(&damaged).is_err(), "byte {at}");
        }
    }
    for length in 0..file.len() {
        assert!(Index::decode(&file[..length]).is_err());
    }
    let mut sha512 = file.clone();
    sha512[23] = 0x20;
    assert!(Index::decode(&sha512).unwrap_err().to_string().contains("SHA-512"));
}

fn damaged_used_maps(file: &[u8]) {
    for at in 0..file.len() {
        for flip in 0..8 {
            let mut damaged = file.to_owned();
            damaged[at] ^= 1 << flip;
            if let Ok(map) = UsedMap::decode(&damaged) {
                assert_eq!(map.encode(), damaged);
            }
        }
    }
}

#[test]
fn damaged_used_maps_are_refused_or_are_other_maps_but_never_panic() {
    let used: RangeSet =
        (0..60).map(|n: u64| ByteRange::new(n * 1_000_003, n * 1_000_003 + 1 + n * n)).collect();
    damaged_used_maps(&UsedMap::new(1 << 40, &used).encode());
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Index::decode(&bytes);
        let _ = UsedMap::decode(&bytes);
        let _ = Manifest::decode(&bytes);
        let _ = Manifest::decode(&seal(&bytes));
        let _ = check_frame(ChunkId::of(b""), &bytes[..]);
        let _ = Decoder::new().unwrap().decode(ChunkId::of(b""), &bytes, 1000, &mut Vec::new());
    }
}

fn file_system() -> FileSystem {
    FileSystem {
        kind: FileSystemKind::Ext4,
        uuid: Some("0b3c".to_owned()),
        label: None,
        block_size_bytes: 4096,
        size_bytes: 8 * MIB,
        used_bytes: Some(4096),
        minimum_bytes: MIB,
        state: State::Clean,
        findings: Vec::new(),
    }
}

fn manifest() -> Manifest {
    let volume = |name: &str, content| Volume {
        name: name.to_owned(),
        role: Role::WholeDisk,
        start_bytes: 0,
        size_bytes: 8 * MIB,
        content,
        fixed: false,
    };
    let disk = |number, volume| Disk {
        number,
        size_bytes: 8 * MIB,
        logical_sector_bytes: SectorSize::B512,
        physical_sector_bytes: SectorSize::B4096,
        model: Some("ACME 1".to_owned()),
        serial: None,
        wwn: None,
        table: Table::None,
        volumes: vec![volume],
    };
    let stored = |name: &str| StoredVolume {
        volume: name.to_owned(),
        index: StoredFile { length_bytes: 104 + 8 * 40, ..StoredFile::of(layout::index_name(name), b"") },
        used: StoredFile::of(layout::used_map_name(name), b""),
        chunk_bytes: MIB,
        chunks: 8,
        used_bytes: 4096,
        stored_bytes: 100,
        bad_ranges: vec![ByteRange::new(512, 1024)],
    };
    let (image, version) = ("debian".parse().unwrap(), "2026-11-20T211500Z".parse().unwrap());
    let mut manifest =
        Manifest::new(image, version, "2026-11-20T21:15:00Z".to_owned(), Compression::Level(3));
    manifest.disks = vec![
        disk(0, volume("d0-disk", Content::FileSystem(file_system()))),
        disk(
            1,
            volume("d1-disk", Content::Raw { reason: "nothing recognised".to_owned(), file_system: None }),
        ),
        disk(2, volume("d2-disk", Content::Swap(file_system()))),
        disk(3, volume("d3-disk", Content::LeftOut)),
    ];
    manifest.stored = vec![stored("d0-disk"), stored("d1-disk")];
    manifest
}

#[test]
fn a_manifest_comes_back_as_it_went() {
    let manifest = manifest();
    let bytes = manifest.encode().unwrap();
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
}

#[test]
fn a_manifest_of_another_version_is_refused_politely() {
    let text = String::from_utf8(manifest().encode().unwrap()).unwrap();
    let newer = text.replace("\"format_version\": 1", "\"format_version\": 7, \"novelty\": {}");
    let error = Manifest::decode(newer.as_bytes()).unwrap_err();
    assert!(matches!(error, ManifestError::Unsupported { found: 7 }));
    assert!(
        error.to_string().contains("version 7") && error.to_string().contains("versions up to 4"),
        "{error}"
    );
    let plain = serde_json::to_string_pretty(&manifest()).unwrap();
    let unknown = seal(plain.replace("\"digest\"", "\"novelty\": 1, \"digest\"").as_bytes());
    assert!(Manifest::decode(&unknown).unwrap_err().to_string().contains("novelty"));
}

#[test]
fn a_schema_without_data_says_so_and_has_a_version_of_its_own() {
    let mut schema = manifest();
    (schema.schema_only, schema.format_version) = (true, 3);
    assert!(schema.encode().unwrap_err().to_string().contains("that has data"));
    schema.stored.clear();
    let bytes = schema.encode().unwrap();
    assert_eq!(Manifest::decode(&bytes).unwrap(), schema);
    // Older programs must not take it for an image of which the data are lost.
    for version in [1, 2] {
        schema.format_version = version;
        assert!(schema.encode().is_err());
    }
    (schema.schema_only, schema.format_version) = (false, 3);
    assert!(schema.encode().is_err());
}

#[test]
fn a_volume_that_keeps_its_size_makes_a_version_that_older_programs_refuse() {
    let mut manifest = manifest();
    assert!(!String::from_utf8(manifest.encode().unwrap()).unwrap().contains("fixed"));
    manifest.disks[0].volumes[0].fixed = true;
    assert!(manifest.encode().is_err(), "the version of what has none");
    manifest.format_version = 4;
    let bytes = manifest.encode().unwrap();
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    type Change = fn(&mut Manifest);
    let changes: [(&str, Change); 14] = [
        ("created", |m| m.created = "yesterday".to_owned()),
        ("digest", |m| m.digest = "md5".to_owned()),
        ("two disks of one number", |m| m.disks[1].number = 0),
        ("two volumes of one name", |m| m.disks[2].volumes[0].name = "d0-disk".to_owned()),
        ("a name that is a path", |m| m.disks[3].volumes[0].name = "../x".to_owned()),
        ("a volume outside its disk", |m| m.disks[0].size_bytes = MIB),
        ("a volume beyond all numbers", |m| m.disks[3].volumes[0].start_bytes = u64::MAX),
        ("a partition that no table has", |m| m.disks[0].volumes[0].role = Role::Partition { number: 1 }),
        ("a volume that is not stored", |m| drop(m.stored.pop())),
        ("a volume stored twice", |m| m.stored.push(m.stored[0].clone())),
        ("swap that is stored", |m| m.stored[0].volume = "d2-disk".to_owned()),
        ("an index of another length", |m| m.stored[0].chunks = 9),
        ("a file elsewhere", |m| m.stored[0].used.name = "../../d0-disk.used".to_owned()),
        ("a bad range behind the volume", |m| m.stored[0].bad_ranges = vec![ByteRange::new(0, 9 * MIB)]),
    ];
    for (name, change) in changes {
        let mut wrong = manifest();
        change(&mut wrong);
        assert!(wrong.encode().is_err(), "{name}");
        let error = Manifest::decode(&seal(&serde_json::to_vec(&wrong).unwrap())).unwrap_err();
        assert!(!error.to_string().contains("its own digest"), "{name}: {error}");
    }
}

#[test]
fn a_manifest_with_any_byte_flipped_is_refused() {
    let bytes = manifest().encode().unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x20] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            assert!(Manifest::decode(&damaged).is_err(), "byte {at}");
        }
    }
    assert!(Manifest::decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(Manifest::decode(&[bytes.as_slice(), b"\n"].concat()).is_err());
}
