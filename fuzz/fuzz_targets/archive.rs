//! No bytes of an archive make its reader panic, and no name leads out of the folder that it is unpacked in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::customize::archive;
use remint::progress::Silent;
use std::path::Component;

fuzz_target!(|bytes: &[u8]| {
    let _ = archive::walk(bytes, 1 << 30, &Silent, |entry, _| {
        assert!(entry.path.components().all(|part| matches!(part, Component::Normal(_))));
        Ok::<(), archive::ArchiveError>(())
    });
});
