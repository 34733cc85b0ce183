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

use libtest_mimic::{Arguments, Trial};
use std::path::Path;

fn main() {
    let mut arguments = Arguments::from_args();
    // Two emulated machines share the processors with each other and gain nothing.
    arguments.test_threads.get_or_insert(1);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    assert!(files.len() > 1, "the scenarios were not found");
    let trials = files.into_iter().map(|file| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let impossible = machine::impossible(&file);
        if let Some(why) = impossible {
            println!("{name} cannot be tried on this machine: {why}");
        }
        let trial = Trial::test(name.clone(), move || {
            let figures = machine::run(&name, &file)?;
            println!("{name}: {figures}");
            Ok(())
        });
        trial.with_ignored_flag(impossible.is_some())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
