//! No bytes make the ext reader panic, hang or allocate without bound.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = remint::filesystem::read(&data);
});
