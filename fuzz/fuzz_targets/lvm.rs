//! No text in a metadata area of LVM makes the reader panic or claim what is not there. An input is a list of changes
//! to the text of a group; label and checksums are right, so that every change gets to the parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::blockio::{Mapped, ReadAt};
use remint::filesystem::lvm;
use remint::schema::{Mapping, VolumeGroup};
use remint::units::checksum::crc32;

const TEXT: &str = r#"vg {
id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
seqno = 7
status = ["RESIZEABLE", "READ", "WRITE"]
extent_size = 8 # 4 KiB
physical_volumes { pv0 { id = "abcdef-ghij-klmn-opqr-stuv-wxyz-ABCDEF" device = "/dev/sda" pe_start = 264 pe_count = 16 } }
logical_volumes {
root { status = ["READ", "WRITE", "VISIBLE"] segment_count = 2
segment1 { start_extent = 0 extent_count = 2 type = "striped" stripe_count = 1 stripes = ["pv0", 0] }
segment2 { start_extent = 2 extent_count = 3 type = "striped" stripe_count = 1 stripes = ["pv0", 5] } }
pool { status = ["READ"] segment_count = 1
segment1 { start_extent = 0 extent_count = 4 type = "thin-pool" metadata = "root" pool = "root" } }
}
}
contents = "Text Format Volume Group"
version = 1
"#;
const UUID: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyzABCDEF";
const CRC_SEED: u32 = 0xF597_A6CF;
const AREA: usize = 4096;
const AREA_BYTES: usize = 32 * 4096;
const DISK_BYTES: usize = 264 * 512 + 17 * 4096;

fuzz_target!(|input: &[u8]| {
    let Some((first, changes)) = input.split_first() else { return };
    let mut text = TEXT.as_bytes().to_vec();
    for change in changes.as_chunks::<4>().0 {
        edit(&mut text, *change);
    }
    // In half of the inputs the text goes around the end of its area.
    let offset = if first & 1 == 0 { 512 } else { AREA_BYTES - 512 };
    if text.len() < AREA_BYTES - 1024 {
        check(&volume(&text, offset));
    }
});

/// Replaces, inserts, removes or repeats bytes.
fn edit(text: &mut Vec<u8>, [low, high, kind, byte]: [u8; 4]) {
    let at = usize::from(u16::from_le_bytes([low, high])) % text.len().max(1);
    let end = (at + usize::from(byte)).min(text.len());
    match kind % 4 {
        0 if at < text.len() => text[at] = byte,
        1 => text.insert(at, byte),
        2 => drop(text.drain(at..end)),
        _ => {
            let run = text[at..end].to_vec();
            text.splice(at..at, run);
        }
    }
}

fn volume(text: &[u8], offset: usize) -> Vec<u8> {
    let mut disk = vec![0; DISK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    let numbers = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    put(512, b"LABELONE\x01");
    put(532, &[32]);
    put(536, b"LVM2 001");
    put(544, UUID);
    put(576, &numbers(&[DISK_BYTES as u64, 264 * 512, 0, 0, 0, AREA as u64, AREA_BYTES as u64, 0, 0]));
    put(AREA + 4, b" LVM2 x[5A%r0N*>\x01");
    put(AREA + 24, &numbers(&[AREA as u64, AREA_BYTES as u64, offset as u64, text.len() as u64]));
    put(AREA + 56, &crc32(CRC_SEED, text).to_le_bytes());
    let before = text.len().min(AREA_BYTES - offset);
    put(AREA + offset, &text[..before]);
    put(AREA + 512, &text[before..]);
    for (from, to, at) in [(532, 1024, 528), (AREA + 4, AREA + 512, AREA)] {
        let sum = crc32(CRC_SEED, &disk[from..to]).to_le_bytes();
        disk[at..at + 4].copy_from_slice(&sum);
    }
    disk
}

fn check(disk: &[u8]) {
    let found = lvm::groups(&[("d0-disk", &disk)]);
    for lvm::FoundGroup { group, kernel, .. } in found.groups {
        assert_eq!(group.fault(), None);
        assert_eq!(kernel.len(), group.logical_volumes.len());
        let physical = &group.physical_volumes[0];
        // The label and the metadata are in no volume, and nothing lies behind the end.
        assert!(physical.start_bytes >= (AREA + AREA_BYTES) as u64);
        assert!(physical.start_bytes + physical.extents * group.extent_bytes <= DISK_BYTES as u64);
        let origins = [(0, physical.start_bytes)];
        for logical in &group.logical_volumes {
            let stretches = lvm::stretches(&logical.segments, group.extent_bytes, &origins).unwrap();
            let mapped = Mapped::new(vec![disk], stretches).unwrap();
            assert!(logical.mapping == Mapping::Kernel || mapped.size_bytes() == logical.volume.size_bytes);
        }
        // What is read can be written down, and reads the same, where every volume has extents of its own.
        if group.logical_volumes.iter().all(|logical| !logical.segments.is_empty()) {
            rewrite(&group, disk);
        }
    }
}

fn rewrite(group: &VolumeGroup, disk: &[u8]) {
    let Ok(pieces) = lvm::pieces(group, &[DISK_BYTES as u64]) else { return };
    let mut bytes = disk.to_vec();
    for piece in &pieces[0] {
        bytes[piece.at as usize..piece.at as usize + piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    // The other label, where the seed had it, is the same sector.
    let found = lvm::groups(&[("d0-disk", &bytes.as_slice())]);
    let mut again = found.groups.into_iter().next().expect("what was written is a group").group;
    for (logical, before) in again.logical_volumes.iter_mut().zip(&group.logical_volumes) {
        if before.mapping == Mapping::Mirrored {
            logical.mapping = Mapping::Mirrored;
        }
    }
    assert_eq!(again.logical_volumes, group.logical_volumes);
}
