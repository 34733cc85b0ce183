//! No change of the headers of an encrypted volume makes their reader panic, hang, grow without bound or break a promise. No key is
//! derived: what that may cost is bounded, but not to what a fuzz target has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::filesystem::luks::{self, Limits, Unlocked};
use remint::schema::FileSystemKind::{Luks1, Luks2};
use remint::schema::State;
use remint_fuzz::{Seeds, promise};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| Seeds::load("luks", promise::look));

fuzz_target!(|input: &[u8]| {
    let Some(reading) = promise::of_input(&SEEDS, input) else { return };
    let Some((mut volume, options)) = SEEDS.volume(input) else { return };
    if options & 1 == 1 {
        volume.repair_with(remint_fuzz::repair_metadata);
    }
    let limits = Limits { memory_bytes: 0 };
    if let Ok(unlocked) = luks::unlock(&volume, &[], limits, &|| false) {
        match unlocked {
            Unlocked::NotThere => assert!(!matches!(reading.file_system.kind, Luks1 | Luks2), "{reading:?}"),
            Unlocked::Closed(closed) => {
                assert_eq!((closed.file_system.state, &closed.used), (State::Encrypted, &None));
                assert!(!closed.file_system.findings.is_empty());
            }
            other => panic!("without a key: {other:?}"),
        }
    }
});
