//! Keyboard layouts of the screen: those of the boot image, loaded by their names.

use super::program::{self, Outcome};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Debian's `console-data` and kbd have them.
const DIRECTORY: &str = "/usr/share/keymaps";
/// As kbd has them, packed or not, and as dumpkmap writes them for busybox.
const ENDINGS: [&str; 6] = [".kmap.gz", ".map.gz", ".kmap", ".map", ".bmap", ".kmap.bin"];
/// What layouts have in common lies there, and is none.
const PARTS: &str = "include";
const DEEPEST: u32 = 8;

/// The names of the layouts that are there, in order.
#[must_use]
pub fn names() -> Vec<String> {
    layouts(Path::new(DIRECTORY)).into_keys().collect()
}

/// The layouts below a folder, by their names; of several files of one name one for busybox comes first.
fn layouts(directory: &Path) -> BTreeMap<String, PathBuf> {
    let mut layouts = BTreeMap::new();
    collect(directory, DEEPEST, &mut layouts);
    layouts
}

fn collect(directory: &Path, depth: u32, layouts: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (Ok(kind), Some(name)) = (entry.file_type(), entry.file_name().to_str().map(str::to_owned))
        else {
            continue;
        };
        if kind.is_dir() && depth > 0 && name != PARTS {
            collect(&entry.path(), depth.saturating_sub(1), layouts);
        } else if !kind.is_dir() {
            let Some(layout) = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)) else { continue };
            if is_binary(&entry.path()) || !layouts.contains_key(layout) {
                layouts.insert(layout.to_owned(), entry.path());
            }
        }
    }
}

/// As dumpkmap writes it, for busybox.
fn is_binary(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(".bmap") || path.ends_with(".kmap.bin"))
}

/// Loads a keyboard layout for the screen.
///
/// # Errors
/// A sentence that says what is missing.
pub fn load(name: &str) -> Result<(), String> {
    let limit = Duration::from_secs(10);
    let binary = layouts(Path::new(DIRECTORY)).remove(name).filter(|path| is_binary(path));
    let outcome = match binary {
        Some(path) => {
            let arguments = ["-c", "exec loadkmap <\"$1\"", "sh"].map(OsString::from);
            program::run("sh", &[arguments.as_slice(), &[path.into_os_string()]].concat(), limit)
        }
        None if program::find("loadkeys").is_some() => program::run("loadkeys", &["-q", name], limit),
        None => {
            return Err(format!(
                "there is no keyboard layout \"{name}\" in this initramfs ({DIRECTORY}/{name}.bmap)"
            ));
        }
    };
    match outcome {
        Ok(Outcome { code: Some(0), .. }) => Ok(()),
        Ok(outcome) => {
            Err(format!("loading the keyboard layout {name} {}: {}", outcome.ending, outcome.output))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_found_at_any_depth_and_parts_of_them_are_none() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["qwertz/de-latin1.kmap.gz", "qwertz/de.kmap", "fr.bmap", "include/compose.kmap.gz", "README"]
        {
            let path = folder.path().join("i386").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = layouts(folder.path());
        assert_eq!(found.keys().collect::<Vec<_>>(), ["de", "de-latin1", "fr"]);
        assert!(found["fr"].ends_with("i386/fr.bmap"));
    }
}
