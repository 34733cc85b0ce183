//! Whatever is read as an index is written back as the same bytes, flags about directories aside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::{ChunkId, Entry, Index};
use remint_fuzz::{Seed, Seeds};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    let index = |chunks: u64| {
        let entry = |number: u64| Entry { end_bytes: number << 20, id: ChunkId([number as u8; 32]) };
        Index::new(1 << 20, (1..=chunks).map(entry).collect()).unwrap().encode()
    };
    Seeds::of([0, 1, 3, 40].map(|chunks| Seed::of_fields(index(chunks), 8)).into())
});

fuzz_target!(|input: &[u8]| {
    if let Some((file, options)) = SEEDS.volume(input) {
        let mut bytes = if options & 1 == 1 { file.to_vec(1 << 20) } else { input[2..].to_vec() };
        check(&bytes);
        // The length in the tail follows the file.
        if let Some(at) = bytes.len().checked_sub(16) {
            let length = (bytes.len() as u64).wrapping_sub(48).to_le_bytes();
            bytes[at..at + 8].copy_from_slice(&length);
            check(&bytes);
        }
    }
});

fn check(bytes: &[u8]) {
    let Ok(index) = Index::decode(bytes) else { return };
    let mut written = index.encode();
    assert_eq!(Index::decode(&written).as_ref(), Ok(&index));
    written[16..24].copy_from_slice(&bytes[16..24]);
    assert_eq!(written, bytes);
    let mut end = 0;
    for (range, _) in index.pieces() {
        assert!(range.start() == end && !range.is_empty());
        assert!(range.length() <= index.sizes().maximum_bytes);
        end = range.end();
    }
    assert_eq!(end, index.volume_bytes());
}
