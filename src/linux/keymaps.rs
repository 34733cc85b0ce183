//! Keyboard layouts of the screen: those of the boot image, loaded by their names.

use super::program::{self, Outcome};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
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
    let mut names = BTreeSet::new();
    collect(Path::new(DIRECTORY), DEEPEST, &mut names);
    names.into_iter().collect()
}

fn collect(directory: &Path, depth: u32, names: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (Ok(kind), Some(name)) = (entry.file_type(), entry.file_name().to_str().map(str::to_owned))
        else {
            continue;
        };
        if kind.is_dir() && depth > 0 && name != PARTS {
            collect(&entry.path(), depth.saturating_sub(1), names);
        } else if !kind.is_dir() {
            names.extend(ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned));
        }
    }
}

/// Loads a keyboard layout for the screen.
///
/// # Errors
/// A sentence that says what is missing.
pub fn load(name: &str) -> Result<(), String> {
    let limit = Duration::from_secs(10);
    // As dumpkmap writes it, for busybox; or as kbd has it.
    let binary = ["bmap", "kmap.bin"].map(|ending| format!("{DIRECTORY}/{name}.{ending}"));
    let outcome = match binary.iter().find(|path| Path::new(path).exists()) {
        Some(path) => program::run("sh", &["-c", "exec loadkmap <\"$1\"", "sh", path], limit),
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
        let mut names = BTreeSet::new();
        collect(folder.path(), DEEPEST, &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["de", "de-latin1", "fr"]);
    }
}
