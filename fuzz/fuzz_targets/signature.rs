//! Signatures: the input stands at the start and at the end of a volume, where superblocks are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = remint::filesystem::read(&data);
    let mut volume = vec![0; 1 << 20];
    let (start, end) = volume.split_at_mut(512 << 10);
    for (target, source) in start.iter_mut().zip(data) {
        *target = *source;
    }
    for (target, source) in end.iter_mut().rev().zip(data.iter().rev()) {
        *target = *source;
    }
    let _ = remint::filesystem::read(&volume.as_slice());
});
