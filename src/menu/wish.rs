//! What a person wants: an operation, an image, and the disks.

use super::state::DiskView;
use crate::protocol::Operation;

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What is done.
    pub operation: Operation,
    /// Name of the image.
    pub image: String,
    /// Name of the profile.
    pub profile: Option<String>,
    /// True where the image is made.
    pub new_image: bool,
    /// What the computer is called; empty for the name that is in the image, `None` where the profile says it.
    pub computer_name: Option<String>,
    /// The disks, in the order of the machine.
    pub disks: Vec<ChosenDisk>,
}

/// A disk that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenDisk {
    /// As a person knows it.
    pub path: String,
    /// By what means the same at every start.
    pub stable_name: String,
}

impl Wish {
    /// The disks in a sentence: `/dev/sda and /dev/sdb`.
    #[must_use]
    pub fn disks_text(&self) -> String {
        self.paths().collect::<Vec<_>>().join(" and ")
    }

    /// What a person types to confirm: `/dev/sda /dev/sdb`.
    #[must_use]
    pub fn confirmation(&self) -> String {
        self.paths().collect::<Vec<_>>().join(" ")
    }

    /// True where that was typed, however it is spaced.
    #[must_use]
    pub fn is_confirmed_by(&self, typed: &str) -> bool {
        !self.disks.is_empty() && typed.split_whitespace().eq(self.paths())
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.disks.iter().map(|disk| disk.path.as_str())
    }
}

impl From<&DiskView> for ChosenDisk {
    fn from(disk: &DiskView) -> Self {
        Self { path: disk.path.clone(), stable_name: disk.stable_name.clone() }
    }
}
