//! A schema without data can be looked at and planned with, and is never deployed: not by a person, not by its image's
//! name, not by a server's job.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Kind, MIB, remint, remint_ends, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-L", "root"] };

/// A disk with one ext4.
fn disk(folder: &Path) -> String {
    let disk = folder.join("disk.img");
    let script = "label: gpt\nsize=24MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root";
    let places = lab::partitioned_disk(&disk, 32 * MIB, 512, script);
    let (files, part) = (folder.join("files"), folder.join("part.img"));
    fs::create_dir_all(files.join("deep")).unwrap();
    fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
    EXT4.build(&part, places[0].length, &files);
    lab::put(&disk, places[0].start, &part);
    text(&disk).to_owned()
}

fn listed(store: &str) -> Vec<Value> {
    let output = remint(&["images", store, "--json"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

#[test]
fn a_schema_is_planned_with_and_not_deployed_and_a_name_means_data_where_there_are_some() {
    let folder = lab::folder();
    let (disk, store) = (disk(folder.path()), text(&folder.path().join("store")).to_owned());
    let before = lab::hash_of(Path::new(&disk));
    let said = remint_ends(0, &["capture", "lab", "--to", &store, "--disk", &disk, "--schema-only"]);
    assert!(said.contains("without data"), "{said}");
    assert_eq!(lab::hash_of(Path::new(&disk)), before);
    assert!(lab::chunk_files(&folder.path().join("store")).is_empty(), "a schema has no chunks");

    let said = remint_ends(0, &["images", &store]);
    assert!(said.contains("schema only"), "{said}");
    let said = remint_ends(0, &["images", &store, "show", "lab"]);
    assert!(said.contains("A schema without data") && said.contains("ext4"), "{said}");
    let said = remint_ends(0, &["verify", "lab", "--from", &store, "--deep"]);
    assert!(said.contains("is a schema without data"), "{said}");
    let said = remint_ends(0, &["plan", "lab", "--from", &store, "--size", "100MB"]);
    assert!(said.contains("Smallest disk") && said.contains("it cannot be deployed"), "{said}");

    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 40 * MIB);
    let noise = lab::hash_of(&target);
    let refused = |image: &str| {
        let said = remint_ends(1, &["deploy", image, "--from", &store, "--disk", text(&target), "--yes"]);
        assert!(said.contains("holds a schema and no data, so it cannot be deployed"), "{said}");
        assert_eq!(lab::hash_of(&target), noise);
    };
    refused("lab");

    // With data, the name means these, also where a newer schema stands behind them.
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", &disk]);
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", &disk, "--schema-only"]);
    let versions = listed(&store);
    let only: Vec<bool> = versions.iter().map(|version| version["schema_only"] == true).collect();
    assert_eq!(only, [true, false, true]);
    assert!(versions[0]["used_bytes"].as_u64().unwrap() > 0, "{}", versions[0]);
    assert_eq!(versions[0]["stored_bytes"], 0, "{}", versions[0]);
    refused(&format!("lab@{}", versions[2]["version"].as_str().unwrap()));
    let said = remint_ends(0, &["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"]);
    assert!(said.contains(versions[1]["version"].as_str().unwrap()), "{said}");
    EXT4.check(&target, lab::partitions(&target, 512)[0].start, lab::partitions(&target, 512)[0].length);
    let report = remint_ends(0, &["images", &store, "collect"]);
    assert!(report.contains("deleted 0 chunks"), "{report}");
}
