//! The beginning: who the server is, who the machine is, and what may be done.

use super::{Inventory, JobSummary};
use serde::{Deserialize, Serialize};

/// `GET hello`: who the server is. Nobody has to log in for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions of the protocol that it speaks.
    pub protocols: Vec<u32>,
    /// The program, with its version.
    pub server: String,
    /// Its time.
    pub time: String,
    /// Ways to log in: `password`. Others may come.
    #[serde(default)]
    pub login: Vec<String>,
}

/// `POST sessions`: a machine introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRequest {
    /// The agent's version.
    pub agent: String,
    /// The machine.
    pub machine: Inventory,
    /// True: nobody is at the machine, and it does what the server has for it, also the image for its model. False where it is
    /// not said: a person chooses, and nothing begins there by itself.
    #[serde(default)]
    pub unattended: bool,
}

/// The answer: what the machine is to the server. Its token is for this machine alone and for a short time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the machine shows from now on, as `Authorization: Bearer`.
    pub token: String,
    /// When the token ends; a new session gives a new one.
    pub expires: String,
    /// The machine, where the server knows it.
    #[serde(default)]
    pub machine: Option<KnownMachine>,
    /// The job that waits for it.
    #[serde(default)]
    pub job: Option<JobSummary>,
    /// What a person at its console may do.
    #[serde(default)]
    pub on_demand: OnDemand,
}

/// A machine that is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownMachine {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// What a person may do at a machine's console now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OnDemand {
    /// Deploy images that are offered.
    pub deploy: bool,
    /// Capture.
    pub capture: bool,
    /// Register the machine.
    pub register: bool,
    /// True: a login allows more.
    pub after_login: bool,
}

/// `POST login`: a person at the machine. Tries are bounded.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The answer to a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginAnswer {
    /// What the person shows from now on.
    pub token: String,
    /// When it ends.
    pub expires: String,
    /// What a person at this machine may do now.
    #[serde(default)]
    pub on_demand: OnDemand,
}

/// `POST machines`: registers the machine of the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Its name: 1 to 63 letters, digits and hyphens, none of them at the ends.
    pub name: String,
}

/// `GET images`: what may be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageChoices {
    /// By name.
    pub images: Vec<ImageChoice>,
}

/// An image that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageChoice {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its newest version with data; `None` where it was never captured.
    #[serde(default)]
    pub version: Option<String>,
    /// True: only a description of disks is there, without data.
    #[serde(default)]
    pub schema_only: bool,
    /// When that was captured.
    #[serde(default)]
    pub captured: Option<String>,
    /// The size of its disks.
    #[serde(default)]
    pub disk_bytes: u64,
    /// What is in use on them.
    #[serde(default)]
    pub used_bytes: u64,
    /// True: it may not be captured again or deleted.
    #[serde(default)]
    pub protected: bool,
    /// Its profiles; the first is the one that counts where none is named.
    #[serde(default)]
    pub profiles: Vec<ProfileChoice>,
}

/// A profile that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileChoice {
    /// Its name, once among those of the image.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The smallest disks in bytes that the image fits on with this profile, one for each of its disks that is deployed,
    /// in their order: exact for disks with the sectors of the captured ones. Nothing where only a target says it.
    #[serde(default)]
    pub minimum_disk_bytes: Vec<u64>,
    /// What it calls the computer: a name or a template of one, as `deploy.computer_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computer_name: Option<String>,
}
