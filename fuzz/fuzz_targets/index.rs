//! Whatever is read as an index is written back as the same bytes, flags about directories aside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::Index;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = Index::decode(bytes) {
        assert_eq!(Index::decode(&index.encode()), Ok(index));
    }
});
