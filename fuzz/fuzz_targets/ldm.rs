//! No change of a dynamic disk makes the reader of its database panic, hang, grow without bound or break a promise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::blockio::{ReadAt, read_vec};
use remint::filesystem::ldm::{self, Found, Home, Source};
use remint::schema::State;
use remint::units::ByteRange;
use remint_fuzz::{Restored, Seeds};
use std::sync::LazyLock;

/// Of the GPT disk of `scripts/fuzz-seeds`.
const PARTITION: Home = Home::Partition(ByteRange::new(34 * 512, 2082 * 512));

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    Seeds::load("ldm", |disk| {
        look(disk);
    })
});

fuzz_target!(|input: &[u8]| {
    let Some((mut disk, options)) = SEEDS.volume(input) else { return };
    if options & 1 == 1 {
        disk.repair_with(seal);
    }
    let found = look(&disk);
    assert!(!found.findings.is_empty());
    assert_eq!(found.unused.is_some(), found.state == State::Clean);
    if let Some(unused) = &found.unused {
        assert!(unused.end() <= disk.size_bytes());
        if !disk.is_spoiled() {
            // Not a byte of what describes the group is left out.
            let used = unused.gaps(ByteRange::new(0, disk.size_bytes()));
            assert_eq!(look(&Restored { volume: &disk, used: &used }), found);
        }
    }
    for piece in ldm::moved_to_the_end(&disk).unwrap_or_default() {
        assert!(piece.at + piece.bytes.len() as u64 <= disk.size_bytes());
    }
});

fn look(disk: &dyn ReadAt) -> Found {
    let is_gpt = read_vec(disk, 512, 8).is_ok_and(|magic| magic == b"EFI PART");
    let home = if is_gpt { PARTITION } else { Home::Disk };
    ldm::read(&[Source { name: "d0", disk, home, is_chosen: true }]).remove(0)
}

/// Puts checksums of headers and tables of contents right.
fn seal(_: u64, buffer: &mut [u8]) {
    for sector in buffer.chunks_exact_mut(512) {
        if sector.starts_with(b"PRIVHEAD") || sector.starts_with(b"TOCBLOCK") {
            sector[8..12].fill(0);
            let sum: u32 = sector.iter().map(|byte| u32::from(*byte)).sum();
            sector[8..12].copy_from_slice(&sum.to_be_bytes());
        }
    }
}
