//! What is wrong with a volume group that cannot be used by its logical volumes.

use std::fmt;

/// A group that was found, and is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub name: String,
    /// UUID as LVM prints it.
    pub uuid: String,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What is wrong with a group. As text: a clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Two descriptions of the same age that differ.
    Twins,
    /// Physical volumes that were not found.
    Missing {
        /// UUID of each, with the device that it was last.
        missing: Vec<String>,
        /// How many the group has.
        of: usize,
    },
    /// A physical volume was found more than once.
    Twice,
    /// A physical volume missed the last change.
    Behind,
    /// A state in which only LVM uses it: a clause.
    Problem(String),
    /// Extents outside of the disks, or on metadata.
    Misplaced,
    /// The description contradicts itself: a clause.
    Contradiction(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twins => f.write_str("there are two different descriptions of it of the same age"),
            Self::Missing { missing, of } => {
                write!(
                    f,
                    "{} of its {of} physical volumes are not there: {}",
                    missing.len(),
                    missing.join(", ")
                )
            }
            Self::Twice => f.write_str("one of its physical volumes is there twice"),
            Self::Behind => {
                f.write_str("one of its physical volumes was not there when the group was changed last")
            }
            Self::Problem(problem) => f.write_str(problem),
            Self::Misplaced => f.write_str("it lies outside its disks or on its own metadata"),
            Self::Contradiction(fault) => write!(f, "it contradicts itself: {fault}"),
        }
    }
}

impl Broken {
    /// Why its physical volumes cannot be captured with it, and the way out.
    pub(super) fn for_a_capture(&self) -> String {
        let of = format!("the volume group {}", self.name);
        let raw = "or capture it with --when-dirty raw";
        match &self.flaw {
            Flaw::Twins => format!(
                "there are two different descriptions of {of} of the same age; capture only one set of its disks, {raw}"
            ),
            Flaw::Missing { missing, of: all } => format!(
                "{} of the {all} physical volumes of {of} are on no disk that is captured; name all of its disks, {raw}",
                missing.len()
            ),
            Flaw::Twice => format!("a physical volume of {of} is there twice; leave the copy out, {raw}"),
            Flaw::Behind => format!(
                "a physical volume of {of} was not there when the group was changed last, so that it is behind; put it \
                 right with vgextend --restoremissing or vgreduce --removemissing, {raw}"
            ),
            Flaw::Problem(problem) => {
                format!("{of} is not captured by its volumes, because {problem}; put that right, {raw}")
            }
            Flaw::Misplaced => {
                format!("{of} lies outside its disks or on its own metadata; check it with vgck, {raw}")
            }
            Flaw::Contradiction(fault) => {
                format!("{of} contradicts itself: {fault}; check it with vgck, {raw}")
            }
        }
    }
}
