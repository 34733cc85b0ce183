//! Machines boot Remint and do what they were told: from the network, from media, on every kind of disk, and
//! when something is missing. One test per file under `tests/scenarios/`, each in a virtual machine.
//!
//! `cargo test --test boot -- network` runs those with `network` in their name; `make scenario NAME=...` makes
//! what they boot first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::string_slice,
    missing_docs
)]

mod lab;
mod machine;

use libtest_mimic::{Arguments, Failed, Trial};
use std::cmp::Reverse;
use std::io::Write;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn scenarios() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    // Those of most machines take longest: begun first, none of them is left alone at the end.
    files.sort_by_cached_key(|file| {
        let machines = std::fs::read_to_string(file).unwrap().matches("\n[[then]]\n").count();
        (Reverse(machines), file.clone())
    });
    assert!(files.len() > 1, "the scenarios were not found");
    files
}

/// The README of the scenarios names every key that one of them has.
fn every_key_is_described() -> Result<(), Failed> {
    let readme = std::fs::read_to_string(folder().join("README.md"))?;
    for file in scenarios() {
        let table: toml::Table = std::fs::read_to_string(&file)?.parse()?;
        for (key, value) in &table {
            let inner = value.as_array().and_then(|list| list.first()).and_then(toml::Value::as_table);
            for name in inner.into_iter().flat_map(toml::Table::keys).chain([key]) {
                let shown = [format!("`{name}`"), format!("`{name} ="), format!("`[[{name}]]`")];
                if !shown.iter().any(|shown| readme.contains(shown)) {
                    return Err(format!("{}: the README does not describe {name}", file.display()).into());
                }
            }
        }
    }
    Ok(())
}

/// What failed, for the end of `make test`: it is far above by then.
fn failures() -> PathBuf {
    machine::boot_folder().join("logs/failures")
}

fn remember(failure: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(failures());
    file.and_then(|mut file| file.write_all(failure.as_bytes())).unwrap();
}

fn main() {
    let _ = std::fs::remove_file(failures());
    let mut arguments = Arguments::from_args();
    // An emulated machine keeps one processor busy, but where it waits: one more fills the gaps. More than four would want
    // too much memory.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(processors.saturating_add(1).min(4));
    let trials = scenarios().into_iter().map(|file| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let impossible = machine::impossible(&file);
        if let Some(why) = impossible {
            println!("{name} cannot be tried on this machine: {why}");
        }
        let trial = Trial::test(name.clone(), move || {
            let mut ran = machine::run(&name, &file);
            if let Err(failure) = &ran
                && failure.never_began
            {
                println!("{name}: its machine did not begin, and gets one more attempt: {}", failure.fact);
                ran = machine::run(&name, &file);
            }
            match ran {
                Ok(figures) => println!("{name}: {figures}"),
                Err(failure) => {
                    remember(&format!("{name}: {}\n", failure.fact));
                    return Err(failure.fact.into());
                }
            }
            Ok(())
        });
        trial.with_ignored_flag(impossible.is_some())
    });
    let described = Trial::test("every-key-is-described", every_key_is_described);
    libtest_mimic::run(&arguments, trials.chain([described]).collect()).exit();
}
