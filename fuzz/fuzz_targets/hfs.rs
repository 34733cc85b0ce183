//! No change of an HFS makes its reader panic, hang, grow without bound or break a promise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint_fuzz::{Seeds, promise};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| Seeds::load("hfs", promise::look));

fuzz_target!(|input: &[u8]| {
    promise::of_input(&SEEDS, input);
});
