//! The rings of docs/architecture.md hold: a module names only modules of a lower ring, and the inner rings
//! do not touch the machine, the clock or the network.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::string_slice)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const INNERMOST_THAT_TOUCHES_THE_MACHINE: u32 = 7;

/// Module to ring, as the document says; `None` for modules that nobody may name.
fn rings() -> BTreeMap<String, Option<u32>> {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let rings: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let ring = cells.next()?.trim();
            let module = cells.next()?.trim().strip_prefix('`')?.strip_suffix('`')?;
            Some((module.to_owned(), ring.parse().ok()))
        })
        .collect();
    assert!(rings.len() > 10, "the table of rings was not found");
    rings
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The module that a file under src/ belongs to; `None` for the command line and lib.rs.
fn module_of(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first).to_owned();
    (!matches!(module.as_str(), "lib" | "main" | "cli")).then_some(module)
}

/// The code of a file without comments and without its unit tests.
fn shipped_code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Modules named as `crate::module`, also inside `use crate::{a::b, c::d}`.
fn named_modules(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && c.is_alphanumeric() => {
                        names.push(word(&group[at..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            names.push(word(rest));
        }
    }
    names
}

#[test]
fn a_module_names_only_modules_of_a_lower_ring() {
    let rings = rings();
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let Some(module) = module_of(&file) else { continue };
        let ring = rings.get(&module).unwrap_or_else(|| panic!("{module} is not in the table of rings"));
        for named in named_modules(&shipped_code(&file)) {
            let allowed = named == module
                || match (ring, rings.get(&named)) {
                    (Some(ring), Some(Some(named_ring))) => named_ring < ring,
                    (None, Some(Some(_))) => true,
                    _ => false,
                };
            if !allowed {
                wrong.push(format!("{} names {named}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_inner_rings_do_not_touch_the_machine() {
    let rings = rings();
    let forbidden = [
        "std::fs",
        "std::process",
        "std::net",
        "std::env",
        "thread::sleep",
        "SystemTime",
        "Instant::now",
        "::now_utc",
        " nix::",
        "reqwest",
        "println!",
        "eprintln!",
    ];
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let Some(module) = module_of(&file) else { continue };
        if rings[&module].is_none_or(|ring| ring >= INNERMOST_THAT_TOUCHES_THE_MACHINE) {
            continue;
        }
        let code = shipped_code(&file);
        for word in forbidden.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{} uses {word}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_linux_only() {
    for file in rust_files(&root().join("src")) {
        if module_of(&file).as_deref() != Some("linux") {
            let code = shipped_code(&file);
            assert!(!code.contains("unsafe {") && !code.contains("allow(unsafe_code"), "{}", file.display());
        }
    }
}

#[test]
fn names_in_braces_are_seen() {
    let code = "use crate::{units::{A, B}, blockio};\nfn f() { crate::plan::g() }";
    assert_eq!(named_modules(code), ["units", "blockio", "plan"]);
}
