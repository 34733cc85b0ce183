//! `remint inspect --json` prints exactly what docs/schema/inspect.schema.json says.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Loop, MIB, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Judges a value by a schema; knows the words that our schema uses and fails on any other. Adds the keys it
/// meets to `met`.
fn judge(value: &Value, schema: &Value, root: &Value, met: &mut BTreeSet<String>) -> Result<(), String> {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            root.pointer(reference.trim_start_matches('#')).ok_or(format!("{reference} is nowhere"))?
        }
        None => schema,
    };
    for (word, rule) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "description" | "title" | "$schema" | "$id" | "$defs" | "pattern" | "$ref" => true,
            "type" => is_of_type(value, rule),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_u64().is_none_or(|number| number >= rule.as_u64().unwrap()),
            "maximum" => value.as_u64().is_none_or(|number| number <= rule.as_u64().unwrap()),
            "minItems" | "maxItems" => {
                Some(value.as_array().unwrap().len())
                    == rule.as_u64().map(|count| usize::try_from(count).unwrap())
            }
            "additionalProperties" => rule == false,
            "required" => rule.as_array().unwrap().iter().all(|k| value.get(k.as_str().unwrap()).is_some()),
            "items" => {
                for item in value.as_array().unwrap() {
                    judge(item, rule, root, met)?;
                }
                true
            }
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|schema| {
                    let mut inner = BTreeSet::new();
                    let fits = judge(value, schema, root, &mut inner).is_ok();
                    met.extend(inner.into_iter().filter(|_| fits));
                    fits
                });
                fitting.count() == 1
            }
            "properties" => {
                for (key, inner) in value.as_object().ok_or("not an object")? {
                    let rule = rule.get(key).ok_or(format!("the schema has no {key}"))?;
                    judge(inner, rule, root, met)?;
                    met.insert(key.clone());
                }
                true
            }
            other => return Err(format!("the schema has the unknown word {other}")),
        };
        if !fits {
            return Err(format!("{value} does not keep to {word} {rule}"));
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, rule: &Value) -> bool {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    rule == name || rule.as_array().is_some_and(|names| names.iter().any(|n| n == name))
}

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
/// without a table, and disks that are in use.
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
    fs::File::create(path("btrfs.img")).unwrap().set_len(120 * MIB).unwrap();
    lab::run("mkfs.btrfs", &["-q", text(&path("btrfs.img"))]);
    fs::File::create(path("mounted.img")).unwrap().set_len(16 * MIB).unwrap();
    lab::run("mkfs.ext4", &["-q", "-F", text(&path("mounted.img"))]);
    let mount = lab::Mount::new(&path("mounted.img"), 0, 16 * MIB, "ext4", true);
    let device = Loop::new(&path("mbr.img"), 0, 32 * MIB, true);
    let disks = ["gpt.img", "mbr.img", "btrfs.img", "mounted.img"].map(path);
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
