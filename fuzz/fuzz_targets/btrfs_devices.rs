//! No change of a btrfs on two devices makes its reader panic, hang, grow without bound or break a promise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::blockio::{ReadAt, Window};
use remint::filesystem::{BtrfsSource, Reading, read_btrfs_devices};
use remint::schema::State;
use remint::units::{ByteRange, RangeSet};
use remint_fuzz::{Restored, Seeds};
use std::sync::LazyLock;

/// Size of the first device of the seeds of `scripts/fuzz-seeds`; the second one stands behind it.
const FIRST_BYTES: u64 = 128 << 20;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    Seeds::load("btrfs_devices", |disk| {
        look(disk);
    })
});

fuzz_target!(|input: &[u8]| {
    let Some((mut disk, options)) = SEEDS.volume(input) else { return };
    if options & 1 == 1 {
        disk.repair_with(remint_fuzz::repair_metadata);
    }
    let found = look(&disk);
    let clean = found.iter().filter(|reading| reading.file_system.state == State::Clean).count();
    assert!(clean == 0 || clean == found.len(), "one device is believed, the other is not");
    for reading in &found {
        let fs = &reading.file_system;
        assert!(!fs.findings.is_empty());
        assert_eq!(reading.used.is_some(), fs.state == State::Clean);
        assert_eq!(fs.used_bytes, reading.used.as_ref().map(RangeSet::total_bytes));
        assert!(reading.used.as_ref().is_none_or(|used| used.end() <= fs.size_bytes));
    }
    if let [Some(first), Some(second)] = [0, 1].map(|device| found.get(device)?.used.clone())
        && !disk.is_spoiled()
    {
        // Not a byte that the trees are read from is left out.
        let second =
            second.iter().filter_map(|part| ByteRange::at(part.start() + FIRST_BYTES, part.length()));
        let used: RangeSet = first.iter().chain(second).collect();
        assert_eq!(look(&Restored { volume: &disk, used: &used }), found);
    }
});

/// Reads the devices of which the first one has a superblock, and the second one.
fn look(disk: &dyn ReadAt) -> Vec<Reading> {
    let end = disk.size_bytes();
    let places = [ByteRange::new(0, FIRST_BYTES.min(end)), ByteRange::new(FIRST_BYTES.min(end), end)];
    let windows = places.map(|place| Window::new(disk, place).unwrap());
    let source = |name, volume| BtrfsSource { name, volume, is_chosen: true, is_device: true };
    let readings = read_btrfs_devices(&[source("d0-p1", &windows[0]), source("d1-p1", &windows[1])]);
    readings.into_iter().flatten().collect()
}
