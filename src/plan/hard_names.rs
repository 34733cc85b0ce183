//! Names that not every file system takes, found before anything is written.

use serde::Serialize;
use std::path::{Component, Path};

/// The longest name: of Linux in bytes (NAME_MAX), of NTFS and FAT in units of UTF-16.
const MOST_UNITS: usize = 255;
/// Characters that Windows takes in no name, with those below a space.
///
/// Source: Microsoft, "Naming Files, Paths, and Namespaces".
const FORBIDDEN: [char; 9] = ['"', '*', '/', ':', '<', '>', '?', '\\', '|'];
/// Names of devices, with any ending; `COM` and `LPT` with a digit besides, which may stand high. The same source.
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];
const NUMBERS: &str = "123456789\u{b9}\u{b2}\u{b3}";

/// The first names that were found, as clauses: `"a:b" has a character that Windows takes in no name`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HardNames {
    /// One that file systems of Linux do not take.
    pub on_linux: Option<String>,
    /// One that NTFS or FAT does not take, or Windows does not open.
    pub on_windows: Option<String>,
}

impl HardNames {
    /// Looks at the names in a path. Symbolic links do not come onto NTFS and FAT.
    pub fn note(&mut self, path: &Path, is_link: bool) {
        let said = |name: &str, fact: &str| Some(format!("\"{}\" {fact}", name.escape_debug()));
        for part in path.components() {
            let Component::Normal(part) = part else { continue };
            let name = part.to_string_lossy();
            if self.on_linux.is_none() && part.len() > MOST_UNITS {
                self.on_linux = said(&name, "is a name of more than 255 bytes");
            }
            if self.on_windows.is_none() && !is_link {
                let fault = if part.to_str().is_none() { Some("is not text in UTF-8") } else { fault(&name) };
                self.on_windows = fault.and_then(|fact| said(&name, fact));
            }
        }
    }
}

/// What Windows has against a name: a clause.
fn fault(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ').to_uppercase();
    let is_numbered = |device: &&str| {
        let number = stem.strip_prefix(*device).map(|rest| (rest.chars().next(), rest.chars().nth(1)));
        matches!(number, Some((Some(number), None)) if NUMBERS.contains(number))
    };
    if name.chars().any(|c| c < ' ' || FORBIDDEN.contains(&c)) {
        Some("has a character that Windows takes in no name")
    } else if name.ends_with(['.', ' ']) {
        Some("ends with a dot or a space, with which Windows opens nothing")
    } else if DEVICES.contains(&stem.as_str()) || NUMBERED_DEVICES.iter().any(is_numbered) {
        Some("is the name of a device to Windows")
    } else if name.encode_utf16().count() > MOST_UNITS {
        Some("is a name of more than 255 characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn names(path: &str) -> HardNames {
        let mut names = HardNames::default();
        names.note(Path::new(path), false);
        names
    }

    #[test]
    fn a_name_that_windows_cannot_open_is_known() {
        for (path, part) in [
            ("a:b", "character"),
            ("sub/what?/file", "character"),
            ("a\\b", "character"),
            ("tab\there", "character"),
            ("dot.", "ends with"),
            ("sub /file", "ends with"),
            ("nul", "device"),
            ("Con.txt", "device"),
            ("COM1 .log", "device"),
            ("lpt\u{b2}.x", "device"),
            (&"x".repeat(256), "255 characters"),
        ] {
            let said = names(path).on_windows.unwrap_or_default();
            assert!(said.contains(part), "{path}: {said}");
        }
        for path in
            ["a.b", ".profile", "COM", "COM10", "console", "null", "\u{fc}ber/x", &"\u{4e2d}".repeat(255)]
        {
            assert_eq!(names(path).on_windows, None, "{path}");
        }
        let mut names = HardNames::default();
        names.note(Path::new("a:b"), true);
        assert_eq!(names, HardNames::default(), "a link is left out there");
        names.note(Path::new(OsStr::from_bytes(b"\xFF")), false);
        assert!(names.on_windows.unwrap().contains("UTF-8"));
    }

    #[test]
    fn linux_counts_bytes() {
        assert!(names(&"\u{4e2d}".repeat(86)).on_linux.unwrap().contains("255 bytes"));
        assert_eq!(names(&format!("{}/a:b", "x".repeat(255))).on_linux, None);
    }
}
