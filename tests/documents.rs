//! Documents that could drift from the code do not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use remint::filesystem;
use remint::progress::{Event, Phase};
use remint::schema::FileSystemKind;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn tag(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned()
}

/// Every event that the program sends. A new one does not compile until it is here.
fn every_tag() -> BTreeSet<String> {
    let (phase, volume, text) = (Phase::Capture, String::new(), String::new());
    let events = [
        Event::PhaseStarted { phase, total_bytes: None },
        Event::VolumeStarted { phase, volume: volume.clone(), content: text.clone(), total_bytes: 0 },
        Event::Advanced {
            phase,
            volume: volume.clone(),
            done_bytes: 0,
            total_bytes: 0,
            transferred_bytes: 0,
        },
        Event::VolumeFinished { phase, volume },
        Event::PhaseFinished { phase },
        Event::Warning { subject: text.clone(), message: text.clone() },
        Event::Note { message: text.clone() },
        Event::Changed { volume: text.clone(), message: text.clone() },
        Event::Script { script: text.clone(), message: text.clone() },
        Event::Finished { message: text.clone(), problems: false },
        Event::Failed { message: text, target_changed: false },
    ];
    for event in &events {
        match event {
            Event::PhaseStarted { .. }
            | Event::VolumeStarted { .. }
            | Event::Advanced { .. }
            | Event::VolumeFinished { .. }
            | Event::PhaseFinished { .. }
            | Event::Warning { .. }
            | Event::Note { .. }
            | Event::Changed { .. }
            | Event::Script { .. }
            | Event::Finished { .. }
            | Event::Failed { .. }
            | Event::Unknown => {}
        }
    }
    events.iter().map(tag).collect()
}

#[test]
fn every_event_is_described_with_its_fields_and_an_example() {
    let text = document("docs/events.md");
    let mut shown = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("    {")) {
        let json: serde_json::Value = serde_json::from_str(&format!("{{{line}")).unwrap();
        let event: Event = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), json, "the example is what the program writes");
        let name = tag(&event);
        let row = text.lines().find(|row| row.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        for field in json.as_object().unwrap().keys().filter(|field| *field != "event") {
            assert!(row.contains(&format!("`{field}`")), "the row of {name} does not name {field}");
        }
        shown.insert(name);
    }
    assert_eq!(shown, every_tag());
    for phase in [
        Phase::Inspect,
        Phase::Capture,
        Phase::Preflight,
        Phase::Clear,
        Phase::Write,
        Phase::Resize,
        Phase::Customize,
        Phase::Commit,
        Phase::Verify,
        Phase::Collect,
    ] {
        let name = serde_json::to_value(phase).unwrap();
        assert!(text.contains(&format!("`{}`", name.as_str().unwrap())), "{name}");
    }
}

#[test]
fn every_file_system_is_in_the_document() {
    let text = document("docs/filesystems.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut names = 0;
    // The kinds have no list of their own: their schema has.
    let schema: serde_json::Value =
        serde_json::from_str(&document("docs/schema/inspect.schema.json")).unwrap();
    let mut found = Vec::new();
    collect(&schema, &mut found);
    for kind in found {
        assert!(text.contains(kind.name()), "docs/filesystems.md does not name {kind}");
        names += 1;
    }
    assert!(names > 25, "only {names} kinds were found");
    let page = filesystem::swap_header(4096, 4096 * 10, None, None);
    assert!(page.is_ok() && filesystem::swap_header(4096, 4096 * 9, None, None).is_err(), "ten pages");
}

/// Every text of the schema that is the name of a file system.
fn collect(value: &serde_json::Value, found: &mut Vec<FileSystemKind>) {
    match value {
        serde_json::Value::Array(list) => list.iter().for_each(|inner| collect(inner, found)),
        serde_json::Value::Object(map) => map.values().for_each(|inner| collect(inner, found)),
        text => found.extend(serde_json::from_value::<FileSystemKind>(text.clone()).ok()),
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut files: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|f| root().join(f)).into();
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    let mut links = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap();
            if !target.contains("://") && !target.is_empty() {
                assert!(file.parent().unwrap().join(target).exists(), "{}: {target}", file.display());
                links += 1;
            }
        }
    }
    assert!(links > 5, "only {links} links were found");
}

#[test]
fn every_dependency_test_and_fuzz_target_is_described() {
    let manifest = document("Cargo.toml");
    let dependencies = document("docs/dependencies.md");
    let sections = manifest
        .split("\n[")
        .filter(|section| section.starts_with("dependencies]") || section.starts_with("dev-dependencies]"));
    for line in sections.flat_map(str::lines).filter(|line| line.contains(" = ")) {
        let name = line.split(' ').next().unwrap();
        assert!(dependencies.contains(&format!("`{name}`")), "docs/dependencies.md does not name {name}");
    }
    let testing = document("docs/testing.md");
    for entry in std::fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.file_name().unwrap().to_str().unwrap();
            let family = if name.starts_with("filesystem_") { "filesystem_*.rs" } else { name };
            assert!(testing.contains(&format!("`{family}`")), "docs/testing.md does not name {name}");
        }
    }
    let (_, targets) = testing.split_once("| target | promise besides that |").unwrap();
    let (targets, _) = targets.split_once("\n\n").unwrap();
    for entry in std::fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(targets.contains(&format!("`{name}`")), "docs/testing.md does not say what {name} promises");
    }
}

/// `--help` at the end has the program read every word before it, and do nothing.
#[test]
fn the_commands_of_the_readme_are_understood() {
    let text = document("README.md");
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    remint ")).collect();
    assert!(commands.len() > 6, "the commands were not found");
    for command in commands {
        let arguments = command.split_whitespace().chain(["--help"]);
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_remint")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let wrong = ["deploy", "lab", "--from", "x", "--no-such-option", "--help"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_remint")).args(wrong).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "a wrong word is seen");
}
