//! The table in docs/profile.md, the flags and the fields of a profile say the same.

use super::arguments::{Arguments, Command};
use clap::{CommandFactory, Parser};
use remint::agent::Artefacts;
use remint::schema::{CaptureChoices, Completion, DeployChoices, NetworkBoot, Profile};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TEXT: &str = include_str!("../../docs/profile.md");

/// A row: the flags, and the field with a value.
struct Row {
    flags: Vec<String>,
    part: String,
    field: String,
    value: Value,
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        let (name, value) = cells[2].split_once(": ").unwrap();
        let (part, field) = name.split_once('.').unwrap();
        let flags =
            if cells[1] == "-" { Vec::new() } else { cells[1].split(' ').map(str::to_owned).collect() };
        Row {
            flags,
            part: part.to_owned(),
            field: field.to_owned(),
            value: serde_json::from_str(value).unwrap(),
        }
    };
    TEXT.lines().filter(|line| line.starts_with("| ")).skip(2).map(row).collect()
}

/// The names that a reader of a part of a profile expects.
fn fields<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_str::<T>(r#"{"?":0}"#).err().unwrap().to_string();
    let names = error.split("expected").nth(1).unwrap().split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn every_field_has_a_row_and_every_row_is_a_field() {
    for (part, known) in [
        ("capture", fields::<CaptureChoices>()),
        ("deploy", fields::<DeployChoices>()),
        ("completion", fields::<Completion>()),
        ("network_boot", fields::<NetworkBoot>()),
    ] {
        let listed: BTreeSet<String> =
            rows().into_iter().filter(|row| row.part == part).map(|row| row.field).collect();
        assert_eq!(listed, known, "{part}");
    }
    assert_eq!(fields::<Profile>().len(), 4);
}

#[test]
fn every_flag_is_in_the_table_or_said_not_to_be() {
    let command = Arguments::command();
    let (table, beside) = TEXT.split_once("Not in a profile").unwrap();
    for name in ["capture", "deploy"] {
        let subcommand = command.get_subcommands().find(|sub| sub.get_name() == name).unwrap();
        for flag in subcommand.get_arguments().filter_map(|argument| argument.get_long()) {
            let named =
                |text: &str| text.contains(&format!("`--{flag}`")) || text.contains(&format!("`--{flag} "));
            let behind = table.contains(&format!(" --{flag} "));
            assert!(flag == "help" || named(table) || behind || named(beside), "{name} --{flag}");
        }
    }
}

#[test]
fn a_flag_and_its_field_choose_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "TEXT").unwrap();
    let file = file.to_str().unwrap();
    let mut compared = 0;
    for row in rows().into_iter().filter(|row| !row.flags.is_empty() && row.field != "schema") {
        let mut arguments = match row.part.as_str() {
            "capture" => vec!["remint", "capture", "lab", "--to", "store"],
            _ => vec!["remint", "deploy", "lab", "--from", "store"],
        };
        // A target has to be named on the command line, a limit needs its script, a size its layout.
        if row.part == "deploy" && row.field != "targets" {
            arguments.extend(["--disk", "x"]);
        }
        let needs_script = row.field == "script_limit_seconds";
        if needs_script {
            arguments.extend(["--script", file]);
        }
        let flags: Vec<String> = row.flags.iter().map(|flag| flag.replace("FILE", file)).collect();
        arguments.extend(flags.iter().map(String::as_str));
        let mut choices = json!({});
        choices[&row.field] = row.value.clone();
        match Arguments::try_parse_from(&arguments).unwrap().command {
            Command::Capture(capture) => {
                assert_eq!(serde_json::to_value(capture.choices()).unwrap(), choices, "{arguments:?}");
                serde_json::from_value::<CaptureChoices>(choices).unwrap();
            }
            Command::Deploy(deploy) => {
                let chosen = deploy.layout.choices(&deploy.disks, &mut Artefacts::default()).unwrap();
                let mut chosen = serde_json::to_value(chosen).unwrap();
                if row.field != "targets" {
                    chosen.as_object_mut().unwrap().remove("targets");
                }
                if needs_script {
                    chosen.as_object_mut().unwrap().remove("script");
                }
                assert_eq!(chosen, choices, "{arguments:?}");
                serde_json::from_value::<DeployChoices>(choices).unwrap();
            }
            other => panic!("{other:?}"),
        }
        compared += 1;
    }
    assert!(compared > 18, "{compared}");
}
