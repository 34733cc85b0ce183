//! Whatever is read as a used map has exactly one form, and lies in its volume.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::UsedMap;
use remint::units::{ByteRange, RangeSet};
use remint_fuzz::{Seed, Seeds};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    let map = |ranges: u64, step: u64| {
        let used: RangeSet = (0..ranges).map(|n| ByteRange::new(n * step, n * step + step / 2)).collect();
        Seed::of_fields(UsedMap::new(ranges * step, &used).encode(), 1)
    };
    Seeds::of(vec![map(0, 0), map(1, 512), map(5, 4096), map(100, 3 << 40)])
});

fuzz_target!(|input: &[u8]| {
    if let Some((file, options)) = SEEDS.volume(input) {
        let bytes = if options & 1 == 1 { file.to_vec(1 << 20) } else { input[2..].to_vec() };
        if let Ok(map) = UsedMap::decode(&bytes) {
            assert_eq!(map.encode(), bytes);
            assert!(map.used.end() <= map.volume_bytes);
            assert!(map.used.ranges().windows(2).all(|pair| pair[0].end() < pair[1].start()));
            let gaps = map.used.gaps(ByteRange::new(0, map.volume_bytes));
            assert_eq!(gaps.total_bytes() + map.used.total_bytes(), map.volume_bytes);
        }
    }
});
