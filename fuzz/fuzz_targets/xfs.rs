//! Any bytes are read as a volume; the seeds of this target are XFS file systems.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = remint::filesystem::read(data);
});
