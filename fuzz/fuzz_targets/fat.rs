//! FAT: the marks that every probe asks for are set, so that mutations reach the table and the root directory.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = remint::filesystem::read(&data);
    let mut volume = data.to_vec();
    let marks: [(usize, &[u8]); 4] =
        [(0x0B, &[0x00, 0x02]), (0x15, &[0xF8]), (0x36, b"FAT"), (0x1FE, &[0x55, 0xAA])];
    for (at, bytes) in marks {
        if let Some(field) = volume.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }
    let _ = remint::filesystem::read(&volume.as_slice());
});
