//! Files that a deploy copies into the file systems that it writes.

use crate::units::Hex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest path that Linux takes (PATH_MAX).
const MOST_PATH_BYTES: usize = 4096;
/// So many folders deep is a copy at most, and so many once more is what is in an archive: each costs time for everything below.
pub const MOST_PARTS: usize = 128;
/// A file that is copied has this name until it is whole.
pub const UNFINISHED: &str = ".remint-unfinished";
/// Read, write and execute for three, and the three bits in front.
const MODE_BITS: u32 = 0o7777;

/// A file of the server, or of the command line, by the SHA-256 of what it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtefactId(pub [u8; 32]);

/// Text that names no artefact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an artefact; its name is its SHA-256, 64 digits of 0-9 and a-f")]
pub struct ParseArtefactIdError(String);

impl FromStr for ArtefactId {
    type Err = ParseArtefactIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseArtefactIdError(text.chars().take(80).collect());
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error());
        }
        let Hex(bytes) = text.parse().map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for ArtefactId {
    type Error = ParseArtefactIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ArtefactId> for String {
    fn from(id: ArtefactId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ArtefactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ArtefactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An artefact, and where it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCopy {
    /// Which.
    pub artefact: ArtefactId,
    /// As what.
    pub kind: CopyKind,
    /// Where to: name of a volume of the image (`d0-p2`), number of a partition of the target (`2`), or a logical volume
    /// (`GROUP/NAME`).
    pub volume: String,
    /// Path in it, from its root: of the file, or of the folder that an archive is unpacked in.
    pub to: String,
    /// Copies are made in the order of these numbers, and among equal ones in the order in which they are said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Whose everything is that is copied; of an archive, what it says, and root's otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// What everybody may do with it: folders get an `x` beside each `r`. Of an archive, what it says, 0644 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
}

/// What an artefact is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyKind {
    /// One file, whatever it holds.
    File,
    /// A tar, perhaps in gzip or zstd, that is unpacked.
    Archive,
}

/// Why nothing can be copied so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyFault {
    /// No volume.
    #[error("a copy to {to} names no volume; write its name, the number of its partition, or GROUP/NAME")]
    Volume {
        /// The path.
        to: String,
    },
    /// Not a path from the root of a volume.
    #[error(
        "\"{}\" is no place for a copy: write a path from the root of the volume, with a slash in front and without ..",
        to.escape_debug()
    )]
    Place {
        /// The path.
        to: String,
    },
    /// Too many folders.
    #[error("\"{}\" is no place for a copy: it is more than {MOST_PARTS} folders deep", to.escape_debug())]
    Deep {
        /// The path.
        to: String,
    },
    /// The name of what is not whole yet.
    #[error("\"{}\" is no place for a copy: Remint needs the name {UNFINISHED} itself", to.escape_debug())]
    Unfinished {
        /// The path.
        to: String,
    },
    /// A folder where a file is meant.
    #[error("\"{}\" names a folder, and a file is copied; write the whole path of the file", to.escape_debug())]
    Folder {
        /// The path.
        to: String,
    },
}

/// True for the name of what is not whole yet, also where small letters and capitals are the same.
#[must_use]
pub fn is_unfinished(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(UNFINISHED.as_bytes())
}

impl FileCopy {
    /// What keeps it from being made anywhere.
    #[must_use]
    pub fn fault(&self) -> Option<CopyFault> {
        let to = || self.to.clone();
        let is_place = self.to.starts_with('/')
            && self.to.len() < MOST_PATH_BYTES
            && !self.to.contains('\0')
            && self.to.split('/').all(|part| part != "..");
        if self.volume.is_empty() {
            Some(CopyFault::Volume { to: to() })
        } else if !is_place {
            Some(CopyFault::Place { to: to() })
        } else if self.place().split('/').count() > MOST_PARTS {
            Some(CopyFault::Deep { to: to() })
        } else if self.to.split('/').any(|part| is_unfinished(part.as_bytes())) {
            Some(CopyFault::Unfinished { to: to() })
        } else if self.kind == CopyKind::File && matches!(self.to.rsplit('/').next(), Some("" | ".")) {
            Some(CopyFault::Folder { to: to() })
        } else {
            None
        }
    }

    /// Where it comes, without a slash in front or at the end; empty for the root.
    #[must_use]
    pub fn place(&self) -> String {
        let parts = self.to.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.collect::<Vec<_>>().join("/")
    }
}

/// A user and a group, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// What everybody may do with a file, as chmod(1) takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(pub u32);

/// Text that is no owner or mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRightsError {
    /// No owner.
    #[error("\"{0}\" is no owner; write the numbers of user and group, as in 1000:1000")]
    Owner(String),
    /// No mode.
    #[error("\"{0}\" is no mode; write it as chmod takes it, as in 0644")]
    Mode(String),
}

impl FromStr for Owner {
    type Err = ParseRightsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What is all ones stands for "leave it" (chown(2)).
        let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX);
        let numbers = text.split_once(':').and_then(|(user, group)| Some((number(user)?, number(group)?)));
        let (user, group) = numbers.ok_or_else(|| ParseRightsError::Owner(text.to_owned()))?;
        Ok(Self { user, group })
    }
}

impl FromStr for FileMode {
    type Err = ParseRightsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !MODE_BITS == 0);
        mode.map(Self).ok_or_else(|| ParseRightsError::Mode(text.to_owned()))
    }
}

impl TryFrom<String> for Owner {
    type Error = ParseRightsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for FileMode {
    type Error = ParseRightsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        format!("{}:{}", owner.user, owner.group)
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

// The form that serde asks for.
fn is_zero(value: &i32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(kind: &str, to: &str) -> FileCopy {
        let copy = serde_json::json!({"artefact": "ab".repeat(32), "kind": kind, "volume": "2", "to": to});
        serde_json::from_value(copy).unwrap()
    }

    #[test]
    fn a_copy_goes_to_a_path_in_a_volume_and_nowhere_else() {
        for (kind, to, place) in [
            ("file", "/etc/motd", "etc/motd"),
            ("file", "//etc/./motd", "etc/motd"),
            ("archive", "/", ""),
            ("archive", "/opt/lab/", "opt/lab"),
        ] {
            let copy = copy(kind, to);
            assert_eq!((copy.fault(), copy.place().as_str()), (None, place), "{to}");
        }
        for (kind, to) in
            [("file", "/"), ("file", "/etc/"), ("file", "etc/motd"), ("archive", "/../x"), ("archive", "")]
        {
            assert!(copy(kind, to).fault().is_some(), "{to}");
        }
        let deep = |count| "/x".repeat(count);
        assert_eq!(copy("file", &deep(MOST_PARTS)).fault(), None);
        assert!(matches!(copy("file", &deep(MOST_PARTS + 1)).fault(), Some(CopyFault::Deep { .. })));
        for to in ["/etc/.remint-unfinished", "/.Remint-Unfinished/x"] {
            assert!(matches!(copy("file", to).fault(), Some(CopyFault::Unfinished { .. })), "{to}");
        }
        assert!(FileCopy { volume: String::new(), ..copy("file", "/x") }.fault().is_some());
    }

    #[test]
    fn what_a_copy_does_not_say_is_not_written_and_what_is_not_known_is_refused() {
        let said = format!(
            r#"{{"artefact":"{}","kind":"archive","volume":"vg/root","to":"/","owner":"1000:100","mode":"0640"}}"#,
            "0f".repeat(32)
        );
        let copy: FileCopy = serde_json::from_str(&said).unwrap();
        assert_eq!(serde_json::to_string(&copy).unwrap(), said);
        for (known, wrong) in [
            ("0f0f0f", "0F0F0F"),
            ("0f0f0f", "0f0f0"),
            ("archive", "folder"),
            ("1000:100", "lab:lab"),
            ("1000:100", "4294967295:0"),
            ("0640", "10000"),
            ("0640", "u+x"),
            ("\"to\"", "\"into\""),
        ] {
            assert!(serde_json::from_str::<FileCopy>(&said.replacen(known, wrong, 1)).is_err(), "{wrong}");
        }
    }
}
