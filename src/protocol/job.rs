//! Work for a machine. It leads to a write, so nothing in it that is not known is passed over.

use super::{JobArtefact, MulticastOffer};
use crate::schema::Profile;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The machine's disks become a new version of an image.
    Capture,
    /// An image comes onto the machine's disks.
    Deploy,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capture => "capture",
            Self::Deploy => "deploy",
        })
    }
}

/// A job as it is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its number.
    pub id: u64,
    /// What is done.
    pub operation: Operation,
    /// Name of the image.
    pub image: String,
    /// Name of the profile.
    pub profile: String,
}

/// `POST jobs`: what a person at the machine wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemandRequest {
    /// What is done.
    pub operation: Operation,
    /// Name of the image.
    pub image: String,
    /// Name of the profile; the image's first where none is named.
    #[serde(default)]
    pub profile: Option<String>,
    /// True: the image is to be made, for a capture.
    #[serde(default)]
    pub new_image: bool,
    /// What the computer is called with a deploy, as in the profile; empty for the name that is in the image. What the profile
    /// says counts where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computer_name: Option<String>,
    /// Disks that the person chose: those of a capture, or the targets of a deploy, as in the profile.
    #[serde(default)]
    pub disks: Vec<String>,
}

/// `POST jobs/ID/claim`: the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Claim {
    /// The machine has the job, and begins.
    Granted(Box<Job>),
    /// Others come first.
    Queued(Place),
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How many come first.
    pub ahead: u64,
    /// When to ask again.
    pub ask_again_seconds: u32,
}

/// A job with everything that is needed to do it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// What is done.
    pub operation: Operation,
    /// Name of the image.
    pub image: String,
    /// Version of the image that is deployed.
    pub version: Option<String>,
    /// Where the image is or goes: a URL, or a path of the server such as `/store`.
    pub store: String,
    /// What the machine shows for this job, at the store too.
    pub token: String,
    /// Every choice.
    pub profile: Profile,
    /// Where its image is sent to many machines at once, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multicast: Option<MulticastOffer>,
    /// The artefacts that the profile names, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artefacts: Vec<JobArtefact>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Job");
        shown.field("id", &self.id).field("operation", &self.operation).field("image", &self.image);
        shown.field("version", &self.version).field("store", &self.store).field("profile", &self.profile);
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_with_a_wish_that_is_not_known_is_refused() {
        let job = |extra: &str| {
            format!(
                r#"{{"answer":"granted","id":7,"operation":"deploy","image":"lab","version":null,"store":"/store","token":"t","profile":{{{extra}}}}}"#
            )
        };
        assert!(matches!(serde_json::from_str(&job("")).unwrap(), Claim::Granted(_)));
        assert!(serde_json::from_str::<Claim>(&job(r#""wipe":true"#)).is_err());
        let place = r#"{"answer":"queued","ahead":3,"ask_again_seconds":5,"since":"now"}"#;
        assert!(matches!(serde_json::from_str(place).unwrap(), Claim::Queued(Place { ahead: 3, .. })));
    }

    #[test]
    fn tokens_are_not_shown() {
        let job = Job {
            id: 1,
            operation: Operation::Deploy,
            image: "lab".to_owned(),
            version: None,
            store: "/store".to_owned(),
            token: "secret".to_owned(),
            profile: Profile::default(),
            multicast: None,
            artefacts: Vec::new(),
        };
        assert!(!format!("{job:?}").contains("secret"));
    }
}
