//! No change of a volume that is only recognised makes a look at signatures panic or break a promise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint_fuzz::{Seeds, promise};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| Seeds::load("signature", promise::look));

fuzz_target!(|input: &[u8]| {
    promise::of_input(&SEEDS, input);
});
