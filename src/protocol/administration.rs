//! What administrators see and say: machines, groups, images, profiles, jobs, users, history. Everything that they say
//! is taken whole or refused; everything that they are shown may grow.

use super::{Inventory, Operation, Outcome};
use crate::progress::Event;
use crate::schema::Profile;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A machine that the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Its number.
    pub id: u64,
    /// Its name, once among machines.
    pub name: String,
    /// What it said of itself the last time.
    pub inventory: Inventory,
    /// The image and profile that its actions are about.
    #[serde(default)]
    pub assigned: Option<ProfileName>,
    /// What it does at its next boot.
    #[serde(default)]
    pub action: Option<Action>,
    /// Names of its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// When it was registered.
    pub registered: String,
    /// When it was last seen.
    #[serde(default)]
    pub seen: Option<String>,
}

/// An image and one of its profiles: `lab/default` as text. The image's first profile where none is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName {
    /// Name of the image.
    pub image: String,
    /// Name of the profile.
    pub profile: Option<String>,
}

/// Text that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" names no image; write its name, or IMAGE/PROFILE")]
pub struct ParseProfileNameError(String);

impl FromStr for ProfileName {
    type Err = ParseProfileNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (image, profile) = match text.split_once('/') {
            Some((image, profile)) => (image, Some(profile)),
            None => (text, None),
        };
        if image.is_empty() || profile.is_some_and(|name| name.is_empty() || name.contains('/')) {
            return Err(ParseProfileNameError(text.to_owned()));
        }
        Ok(Self { image: image.to_owned(), profile: profile.map(str::to_owned) })
    }
}

impl TryFrom<String> for ProfileName {
    type Error = ParseProfileNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.profile {
            Some(profile) => write!(f, "{}/{profile}", self.image),
            None => f.write_str(&self.image),
        }
    }
}

/// What a machine does at its next boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// A job waits for it.
    Pending {
        /// The job.
        job: u64,
        /// What it does.
        operation: Operation,
    },
    /// Its last job failed. It boots from its own disk until somebody resets or sets an action.
    Failed {
        /// The job.
        job: u64,
        /// The sentence.
        message: String,
    },
}

/// `PUT admin/machines/ID/action`: capture, deploy, or reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ActionRequest {
    /// Capture the machine into the image of `profile`, or into the assigned one.
    Capture {
        /// The image and profile.
        #[serde(default)]
        profile: Option<ProfileName>,
    },
    /// Deploy the image of `profile`, or the assigned one.
    Deploy {
        /// The image and profile.
        #[serde(default)]
        profile: Option<ProfileName>,
    },
    /// Nothing: what is pending is withdrawn, a failure is forgotten.
    Reset,
}

/// `POST admin/machines` and `PATCH admin/machines/ID`. What is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineChange {
    /// Name.
    pub name: Option<String>,
    /// Hardware addresses, for a machine that was never seen.
    pub macs: Option<Vec<String>>,
    /// What its actions are about.
    pub assigned: Option<ProfileName>,
}

/// A group of machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its name.
    pub name: String,
    /// Names of its machines.
    pub machines: Vec<String>,
}

/// `PUT admin/groups/NAME`: the machines that are in it from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRequest {
    /// Names of machines.
    pub machines: Vec<String>,
}

/// An image and what administrators say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// False: nobody gets it.
    pub enabled: bool,
    /// True: a person at a machine may choose it.
    pub on_demand: bool,
    /// True: it is neither captured again nor deleted. Set by a capture.
    pub protected: bool,
    /// Its versions, oldest first.
    pub versions: Vec<String>,
    /// True: none of them holds data, only the description of disks; there is nothing to deploy.
    #[serde(default)]
    pub schema_only: bool,
    /// Names of its profiles, the first one first.
    pub profiles: Vec<String>,
}

/// `PUT admin/images/NAME`: makes it or changes it. What is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageChange {
    /// What it is for.
    pub description: Option<String>,
    /// False: nobody gets it.
    pub enabled: Option<bool>,
    /// True: a person at a machine may choose it.
    pub on_demand: Option<bool>,
    /// True: it is neither captured again nor deleted.
    pub protected: Option<bool>,
}

/// A profile of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// Name of the image.
    pub image: String,
    /// Its name, once among those of the image.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its choices.
    pub profile: Profile,
    /// The machines that it is for.
    #[serde(default)]
    pub model_match: Option<ModelMatch>,
}

/// `PUT admin/images/IMAGE/profiles/NAME`: makes it or changes it. What is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileChange {
    /// What it is for.
    pub description: Option<String>,
    /// Its choices, all of them.
    pub profile: Option<Profile>,
    /// Name of a profile of the same image to copy from.
    pub clone_of: Option<String>,
    /// The machines that it is for; an empty text takes it away.
    pub model_match: Option<ModelMatch>,
}

/// For which machines a profile is where none is named: it is assigned to them when they are registered, used by an
/// action of a machine that has none assigned, and deployed when one starts that never had a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMatch {
    /// How the text is compared. An exact match wins over a beginning, that over an end, that over a part.
    pub kind: ModelMatchKind,
    /// The text, compared without regard to case.
    pub text: String,
}

/// How a model is compared; the order is the one in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelMatchKind {
    /// The model is the text.
    Equals,
    /// It begins with it.
    Starts,
    /// It ends with it.
    Ends,
    /// It contains it.
    Contains,
}

impl ModelMatch {
    /// Whether a machine of this model is meant. An empty text means none.
    #[must_use]
    pub fn matches(&self, model: &str) -> bool {
        let (model, text) = (model.trim().to_lowercase(), self.text.trim().to_lowercase());
        !text.is_empty()
            && match self.kind {
                ModelMatchKind::Equals => model == text,
                ModelMatchKind::Starts => model.starts_with(&text),
                ModelMatchKind::Ends => model.ends_with(&text),
                ModelMatchKind::Contains => model.contains(&text),
            }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Its machine has not asked for it.
    Pending,
    /// Its machine waits for a place.
    Queued,
    /// Its machine works.
    Running,
    /// It ended.
    Ended,
}

/// A job and its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its number.
    pub id: u64,
    /// What is done.
    pub operation: Operation,
    /// Name of the machine.
    pub machine: String,
    /// Name of the image.
    pub image: String,
    /// Name of the profile.
    pub profile: String,
    /// Where it stands.
    pub state: JobState,
    /// How it ended.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The sentence of its end, or why it is to stop.
    #[serde(default)]
    pub message: Option<String>,
    /// Who wished it: a user's name, or `machine`.
    pub by: String,
    /// When it was wished.
    pub created: String,
    /// When it began.
    #[serde(default)]
    pub started: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub ended: Option<String>,
    /// When its machine was last heard.
    #[serde(default)]
    pub heard: Option<String>,
    /// The last progress.
    #[serde(default)]
    pub progress: Option<Event>,
    /// The version that was captured or deployed.
    #[serde(default)]
    pub version: Option<String>,
}

/// For which machines a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobTarget {
    /// One, by name.
    Machine(String),
    /// All of a group.
    Group(String),
    /// All that are known of a model.
    Model(ModelMatch),
}

/// `POST admin/jobs`: one job for each machine that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// What is done.
    pub operation: Operation,
    /// For whom.
    pub target: JobTarget,
    /// With what; what is assigned to each machine where nothing is said.
    #[serde(default)]
    pub profile: Option<ProfileName>,
}

/// `GET admin/jobs?...`: which are shown. All where nothing is said, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobFilter {
    /// Of one machine.
    pub machine: Option<String>,
    /// Of one image.
    pub image: Option<String>,
    /// True: those that have not ended.
    pub open: bool,
    /// As in [`Page`].
    pub before: Option<u64>,
    /// As in [`Page`].
    pub limit: Option<u32>,
}

/// `?before=NUMBER&limit=N`: which part is shown of a list that has the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// What is older than the entry of this number: the last one of the page before.
    pub before: Option<u64>,
    /// At most so many, from 1 to 1000; 1000 where nothing is said.
    pub limit: Option<u32>,
}

/// `GET admin/jobs/ID/events?first=N&limit=N`: which are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventFilter {
    /// Number of the first.
    pub first: u64,
    /// As in [`Page`].
    pub limit: Option<u32>,
}

/// An event of a job as the server keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Its number within the job.
    pub number: u64,
    /// When the server got it.
    pub received: String,
    /// The event with its time, as its machine sent it; also one that this server does not know.
    pub event: serde_json::Value,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look at everything.
    Reader,
    /// Also set actions and jobs, and image machines at their consoles.
    Operator,
    /// Everything.
    Administrator,
}

/// `POST admin/login`: the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLogin {
    /// What the user shows from now on.
    pub token: String,
    /// When it ends.
    pub expires: String,
    /// What he may do.
    pub role: Role,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Name.
    pub name: String,
    /// What he may do.
    pub role: Role,
}

/// `PUT admin/users/NAME`: makes or changes one. What is not said stays.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserRequest {
    /// What he may do.
    pub role: Option<Role>,
    /// Password, at least 8 characters.
    pub password: Option<String>,
}

impl fmt::Debug for UserRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRequest").field("role", &self.role).finish_non_exhaustive()
    }
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number; later ones have larger ones.
    #[serde(default)]
    pub id: u64,
    /// When.
    pub time: String,
    /// Who: a user's name, or `machine NAME`.
    pub who: String,
    /// What, as a sentence.
    pub what: String,
}

/// What holds for the whole server. `PUT admin/settings` takes them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many machines may deploy at a time; the rest wait.
    pub deploys_at_once: u32,
    /// How many may capture at a time.
    pub captures_at_once: u32,
    /// True: a person at a console may register a machine.
    pub open_registration: bool,
    /// True: a person at a console may choose an image without a login.
    pub open_menu: bool,
    /// Seconds without a word from a machine after which its job has failed.
    pub silence_seconds: u32,
    /// What a machine without a job does: true shows the menu, false boots its disk.
    pub menu_without_job: bool,
    /// True: a machine that never had a job gets the image that is for its model when it starts.
    pub model_match: bool,
    /// Days after a job's end for which its events and its machine's log are kept; 0: for ever.
    pub keep_events_days: u32,
    /// Address of the group that images are sent to for jobs that say multicast, as in `239.255.77.1`; several sessions take
    /// the ones behind it. Nothing is sent where this is empty.
    pub multicast_group: String,
    /// The port there.
    pub multicast_port: u16,
    /// The address of this server on the network that it is sent to; the system chooses where this is empty.
    pub multicast_interface: String,
    /// How many routers it may pass, and one.
    pub multicast_ttl: u8,
    /// The most that all sessions together send in a second.
    pub multicast_bytes_per_second: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deploys_at_once: 10,
            captures_at_once: 4,
            open_registration: false,
            open_menu: false,
            silence_seconds: 3600,
            menu_without_job: false,
            model_match: true,
            keep_events_days: 90,
            multicast_group: String::new(),
            multicast_port: 8461,
            multicast_interface: String::new(),
            multicast_ttl: 1,
            multicast_bytes_per_second: 100_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_compared_as_people_write_them() {
        let rule = |kind, text: &str| ModelMatch { kind, text: text.to_owned() };
        assert!(rule(ModelMatchKind::Equals, "OptiPlex 7010").matches("optiplex 7010 "));
        assert!(rule(ModelMatchKind::Starts, "optiplex").matches("OptiPlex 7010"));
        assert!(rule(ModelMatchKind::Ends, "7010").matches("OptiPlex 7010"));
        assert!(rule(ModelMatchKind::Contains, "plex 70").matches("OptiPlex 7010"));
        assert!(!rule(ModelMatchKind::Equals, "OptiPlex").matches("OptiPlex 7010"));
        assert!(!rule(ModelMatchKind::Contains, " ").matches("OptiPlex 7010"));
        assert!(ModelMatchKind::Equals < ModelMatchKind::Contains);
    }

    #[test]
    fn a_profile_is_named_with_its_image() {
        let name: ProfileName = "lab/fast".parse().unwrap();
        assert_eq!((name.image.as_str(), name.profile.as_deref()), ("lab", Some("fast")));
        assert_eq!(name.to_string(), "lab/fast");
        assert_eq!("lab".parse::<ProfileName>().unwrap().profile, None);
        for text in ["", "/x", "lab/", "a/b/c"] {
            assert!(text.parse::<ProfileName>().is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let request = UserRequest { role: None, password: Some("hunter22".to_owned()) };
        assert!(!format!("{request:?}").contains("hunter22"));
    }
}
