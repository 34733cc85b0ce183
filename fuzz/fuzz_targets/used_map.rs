//! Whatever is read as a used map has exactly one form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::UsedMap;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(map) = UsedMap::decode(bytes) {
        assert_eq!(map.encode(), bytes);
    }
});
