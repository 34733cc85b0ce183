//! `remint inspect --json` prints exactly what docs/schema/inspect.schema.json says.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::json_schema::judge;
use lab::{Loop, MIB, Place, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Every key that a schema names, and whether each object requires all of its own.
fn keys_of(schema: &Value, keys: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        keys.extend(properties.keys().cloned());
        let required: BTreeSet<&str> =
            schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(required, properties.keys().map(String::as_str).collect());
        assert_eq!(schema["additionalProperties"], false);
    }
    match schema {
        Value::Object(map) => map.values().for_each(|inner| keys_of(inner, keys)),
        Value::Array(list) => list.iter().for_each(|inner| keys_of(inner, keys)),
        _ => {}
    }
}

/// What the program prints about a GPT with every kind of content, an MBR with a logical partition, a disk
/// without a table, a volume group, and disks that are in use.
fn printed() -> Value {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    let linux = "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4";
    let script = format!("label: gpt\nsize=4MiB, {linux}\nsize=4MiB, {linux}\nsize=4MiB, {linux}");
    let places = lab::partitioned_disk(&path("gpt.img"), 32 * MIB, 512, &script);
    for (place, make) in places.iter().zip([&["mkfs.ext4", "-q", "-F"][..], &["mkswap"], &["mkfs.fat"]]) {
        fs::File::create(path("part.img")).unwrap().set_len(place.length).unwrap();
        lab::run(make[0], &[&make[1..], &[text(&path("part.img"))]].concat());
        lab::put(&path("gpt.img"), place.start, &path("part.img"));
    }
    let script = "label: dos\npart1: size=4MiB, type=83\npart2: size=8MiB, type=5\npart5: size=4MiB, type=83";
    lab::partitioned_disk(&path("mbr.img"), 32 * MIB, 512, script);
    // Recognised, and captured whole: a file system is named inside the raw content.
    fs::File::create(path("squashfs.img")).unwrap().set_len(16 * MIB).unwrap();
    lab::overwrite(&path("squashfs.img"), 0, b"hsqs");
    lab::overwrite(&path("squashfs.img"), 14, &[2, 0]);
    lab::overwrite(&path("squashfs.img"), 28, &[4]);
    // Two physical volumes that fill their disks, and a logical one over both.
    let members = ["one.img", "two.img"].map(path);
    members.iter().for_each(|file| fs::File::create(file).unwrap().set_len(16 * MIB).unwrap());
    let whole = Place { number: 0, start: 0, length: 16 * MIB };
    let lvm = lab::lvm::Lvm::new(&members.each_ref().map(|file| (file.as_path(), whole)));
    lvm.run("vgcreate", &["-s", "1M", "--addtag", "site=north", "vg", lvm.device(0), lvm.device(1)]);
    lvm.create("vg", "striped", &["-i", "2", "-I", "64k", "-L", "8M", "--addtag", "keep"]);
    drop(lvm);
    fs::File::create(path("mounted.img")).unwrap().set_len(16 * MIB).unwrap();
    lab::run("mkfs.ext4", &["-q", "-F", text(&path("mounted.img"))]);
    let mount = lab::Mount::new(&path("mounted.img"), 0, 16 * MIB, "ext4", true);
    let device = Loop::new(&path("mbr.img"), 0, 32 * MIB, true);
    let disks = ["gpt.img", "mbr.img", "squashfs.img", "mounted.img", "one.img", "two.img"].map(path);
    let mut arguments = vec!["inspect", "--json", &device.0];
    arguments.extend(disks.iter().map(|disk| text(disk)));
    let output = lab::remint(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    drop(mount);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_json_has_exactly_the_keys_that_the_schema_names() {
    let schema: Value = serde_json::from_str(include_str!("../docs/schema/inspect.schema.json")).unwrap();
    let json = printed();
    let mut met = BTreeSet::new();
    judge(&json, &schema, &schema, &mut met).unwrap();
    let mut named = BTreeSet::new();
    keys_of(&schema, &mut named);
    assert_eq!(met, named);

    let mut wrong = json.clone();
    wrong["disks"][0]["disk"]["colour"] = "red".into();
    assert!(judge(&wrong, &schema, &schema, &mut met).is_err());
    let mut wrong = json;
    wrong["disks"][0]["machine"].as_object_mut().unwrap().remove("serial");
    assert!(judge(&wrong, &schema, &schema, &mut met).is_err());
}
