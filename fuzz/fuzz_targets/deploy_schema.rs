//! Whatever stands in a file of choices, it is understood or refused with a place in it. An input is text, or a list of
//! changes to the file exported for one of the disks that target `partition` starts from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::inspect::{DiskFacts, read_disk};
use remint::partition::{Trust, detect_sector_size};
use remint::plan::{self, DeployOptions};
use remint::progress::Silent;
use remint::schema::{Disk, FreeSpace, Layout};
use remint::units::SectorSize;
use remint_fuzz::{Seeds, json};
use serde_json::Value;
use std::sync::LazyLock;

static FILES: LazyLock<Vec<(Disk, Value)>> = LazyLock::new(|| {
    let disks = Seeds::load("partition", |_| ());
    let files: Vec<_> = disks.iter().filter_map(|seed| file_of(&seed.bytes)).collect();
    assert!(!files.is_empty());
    files
});

fn file_of(disk: &[u8]) -> Option<(Disk, Value)> {
    let facts = DiskFacts {
        number: 0,
        logical_sector_bytes: detect_sector_size(&disk).unwrap_or(SectorSize::B512),
        physical_sector_bytes: SectorSize::B4096,
        model: None,
        serial: None,
        wwn: None,
    };
    let disk = read_disk(&disk, facts, Trust::Undecided, &Silent).ok()?.disk;
    let options = DeployOptions {
        free_space: FreeSpace::Keep,
        ..DeployOptions::of(Layout::Dynamic)
    };
    let schema = plan::export("fuzz", std::slice::from_ref(&disk), &[], &options).ok()?;
    Some((disk, serde_json::to_value(schema).ok()?))
}

fuzz_target!(|input: &[u8]| {
    let number = input.first().copied().unwrap_or_default();
    let (disk, file) = &FILES[usize::from(number) % FILES.len()];
    if let [number, changes @ ..] = input
        && *number != b'{'
    {
        let mut file = file.clone();
        json::change(&mut file, changes);
        check(disk, &serde_json::to_string_pretty(&file).unwrap());
    } else if let Ok(text) = std::str::from_utf8(input) {
        check(disk, text);
    }
});

fn check(disk: &Disk, text: &str) {
    match plan::read_choices(text, "fuzz", std::slice::from_ref(disk)) {
        Ok(_) => {
            for volume in &disk.volumes {
                let place = plan::place_of_volume(text, &volume.name);
                assert!(place.is_none_or(|(line, column)| line > 0 && column > 0));
            }
        }
        Err(fault) => {
            assert!(!fault.what.is_empty());
            assert!(fault.line <= text.lines().count().max(1), "line {} of {text}", fault.line);
        }
    }
}
