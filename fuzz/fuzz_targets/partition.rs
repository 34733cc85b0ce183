//! No bytes make the reader of partition tables, or the writer behind it, panic or hang.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::partition::{Trust, encode, read};
use remint::units::{SectorSize, u64_from};

fuzz_target!(|data: &[u8]| {
    for sector in [SectorSize::B512, SectorSize::B4096] {
        for trust in [Trust::Undecided, Trust::SectorZero, Trust::Gpt] {
            if let Ok(reading) = read(&data, sector, trust) {
                let _ = encode(&reading.table, u64_from(data.len()), sector);
            }
        }
    }
});
