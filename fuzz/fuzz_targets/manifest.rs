//! Whatever is read as a manifest can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::{Manifest, seal};

fuzz_target!(|bytes: &[u8]| {
    let _ = Manifest::decode(bytes);
    if let Ok(manifest) = Manifest::decode(&seal(bytes)) {
        let written = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&written).unwrap(), manifest);
    }
});
