//! Files that profiles name, so that a deploy copies them.

use super::ProfileName;
use crate::schema::ArtefactId;
use serde::{Deserialize, Serialize};

/// An artefact as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtefactRecord {
    /// Its SHA-256.
    pub artefact: ArtefactId,
    /// Its size.
    pub bytes: u64,
    /// What somebody called it.
    pub name: String,
    /// When it was added.
    pub added: String,
    /// The profiles that name it.
    #[serde(default)]
    pub profiles: Vec<ProfileName>,
}

/// What stands behind the question mark of `PUT admin/artefacts/DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtefactName {
    /// What it is called.
    #[serde(default)]
    pub name: String,
}

/// An artefact that a job needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobArtefact {
    /// Its SHA-256.
    pub artefact: ArtefactId,
    /// Its size.
    pub bytes: u64,
    /// What somebody called it.
    pub name: String,
}
