//! Swap: the input is a header, with its signature in place; and what is read can be written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut volume = vec![0; 40960];
    for (target, source) in volume.iter_mut().skip(1024).zip(data) {
        *target = *source;
    }
    volume[4086..4096].copy_from_slice(b"SWAPSPACE2");
    if let Ok(Some(reading)) = remint::filesystem::read(&volume.as_slice()) {
        let (uuid, label) = (reading.file_system.uuid.as_deref(), reading.file_system.label.as_deref());
        let _ = remint::filesystem::swap_header(4096, reading.file_system.size_bytes, uuid, label);
    }
});
