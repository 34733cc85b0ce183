//! Whatever is read as a manifest can be written and read again. An input is JSON, or a list of changes to the
//! manifest of one of the disks that target `partition` starts from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::{Manifest, seal};
use remint::inspect::{DiskFacts, read_disk};
use remint::partition::{Trust, detect_sector_size};
use remint::progress::Silent;
use remint::units::SectorSize;
use remint_fuzz::{Seeds, json, promise};
use serde_json::Value;
use std::sync::LazyLock;

static MANIFESTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let disks = Seeds::load("partition", |_| ());
    let manifests: Vec<Value> = disks.iter().filter_map(|seed| manifest_of(&seed.bytes)).collect();
    assert!(!manifests.is_empty());
    manifests
});

fn manifest_of(disk: &[u8]) -> Option<Value> {
    let sector = detect_sector_size(&disk).unwrap_or(SectorSize::B512);
    let facts = DiskFacts {
        number: 0,
        logical_sector_bytes: sector,
        physical_sector_bytes: SectorSize::B4096,
        model: Some("a model".to_owned()),
        serial: None,
        wwn: None,
    };
    let inspection = read_disk(&disk, facts, Trust::Undecided, &Silent).ok()?;
    let bytes = promise::manifest_of(inspection.disk).encode().ok()?;
    let mut manifest: Value = serde_json::from_slice(&bytes).ok()?;
    // The digest is made anew for what the changes leave.
    manifest.as_object_mut()?.remove("sha256");
    Some(manifest)
}

fuzz_target!(|input: &[u8]| {
    if let [number, changes @ ..] = input
        && *number != b'{'
    {
        let mut manifest = MANIFESTS[usize::from(*number) % MANIFESTS.len()].clone();
        json::change(&mut manifest, changes);
        check(&serde_json::to_vec(&manifest).unwrap());
    } else {
        check(input);
    }
});

fn check(bytes: &[u8]) {
    let _ = Manifest::decode(bytes);
    if let Ok(manifest) = Manifest::decode(&seal(bytes)) {
        let written = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&written).unwrap(), manifest);
        assert_eq!(Manifest::decode(&written).unwrap().encode().unwrap(), written);
    }
}
