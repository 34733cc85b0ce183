//! Whatever is read as a manifest can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::Manifest;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::decode(bytes) {
        let written = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&written).unwrap(), manifest);
    }
});
