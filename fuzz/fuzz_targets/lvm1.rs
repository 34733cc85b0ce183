//! No change of a group of LVM1 makes its reader panic, hang, grow without bound or break a promise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::blockio::ReadAt;
use remint::filesystem::lvm1::{self, Group};
use remint_fuzz::{Restored, Seeds};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    Seeds::load("lvm1", |volume| {
        look(volume);
    })
});

fuzz_target!(|input: &[u8]| {
    let Some((volume, _)) = SEEDS.volume(input) else { return };
    let Some(group) = look(&volume) else { return };
    let [used] = group.used.as_slice() else { panic!("another number of physical volumes") };
    assert!(used.end() <= volume.size_bytes() && !group.findings.is_empty());
    if !volume.is_spoiled() {
        let with = Restored { volume: &volume, used };
        assert_eq!(look(&with), Some(group), "what is restored reads differently");
    }
});

/// The group of which the physical volume is the only one.
fn look(volume: &dyn ReadAt) -> Option<Group> {
    let physical = lvm1::read(volume).ok()??;
    lvm1::read_together(&[(volume, physical)]).ok()?.ok()
}
