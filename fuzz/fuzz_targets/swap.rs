//! No change of swap space makes its reader panic; and what is read can be written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::filesystem::{self, swap_header};
use remint::schema::{FileSystemKind, State};
use remint_fuzz::{Seeds, Volume, promise};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| Seeds::load("swap", promise::look));

fuzz_target!(|input: &[u8]| {
    let Some(reading) = promise::of_input(&SEEDS, input) else { return };
    let fs = reading.file_system;
    let (uuid, label) = (fs.uuid.as_deref(), fs.label.as_deref());
    if fs.kind != FileSystemKind::Swap || fs.state == State::Damaged || fs.size_bytes > 1 << 20 {
        return;
    }
    if fs.size_bytes / fs.block_size_bytes < 10 {
        return;
    }
    let mut page = swap_header(fs.block_size_bytes, fs.size_bytes, uuid, label).unwrap();
    page.resize(usize::try_from(fs.size_bytes).unwrap(), 0);
    let again = filesystem::read(&Volume::new(&page)).unwrap().unwrap().file_system;
    assert_eq!((again.kind, again.size_bytes), (fs.kind, fs.size_bytes));
    assert_eq!((again.uuid, again.label), (fs.uuid, fs.label));
});
