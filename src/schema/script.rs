//! Shell scripts around a deploy.

use serde::{Deserialize, Serialize};

/// How long a script may take where nothing is said, in seconds.
pub const SCRIPT_LIMIT_SECONDS: u32 = 300;

/// A script that runs beside a deploy, on the machine that deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployScript {
    /// When it runs.
    pub when: ScriptTime,
    /// Its text, for `/bin/sh`.
    pub text: String,
    /// Scripts of the same time run in the order of these numbers, and among equal ones in the order in which they are said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// How long it may take, in seconds.
    #[serde(default = "usual_limit", skip_serializing_if = "is_usual_limit")]
    pub limit_seconds: u32,
    /// A volume that is mounted for it, named as in a copy; before files are copied only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// True: where it fails, the deploy does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fatal: bool,
}

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptTime {
    /// Before a target is opened for writing.
    BeforeImaging,
    /// When every volume has its content and its size, before files are copied into them.
    BeforeFileCopy,
    /// When the tables are written and the kernel knows them.
    AfterImaging,
}

impl ScriptTime {
    /// As a profile says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeImaging => "before-imaging",
            Self::BeforeFileCopy => "before-file-copy",
            Self::AfterImaging => "after-imaging",
        }
    }
}

// The forms that serde asks for.
const fn usual_limit() -> u32 {
    SCRIPT_LIMIT_SECONDS
}

fn is_usual_limit(value: &u32) -> bool {
    *value == SCRIPT_LIMIT_SECONDS
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_when_it_runs_and_what_it_does_not_say_is_usual() {
        let said = r#"{"when":"after-imaging","text":"true"}"#;
        let script: DeployScript = serde_json::from_str(said).unwrap();
        assert_eq!((script.priority, script.limit_seconds, script.fatal), (0, 300, false));
        assert_eq!(serde_json::to_string(&script).unwrap(), said);
        assert_eq!(serde_json::to_value(script.when).unwrap(), script.when.name());
        for wrong in [
            r#"{"text":"true"}"#,
            r#"{"when":"later","text":""}"#,
            r#"{"when":"after-imaging","text":"","run":1}"#,
        ] {
            assert!(serde_json::from_str::<DeployScript>(wrong).is_err(), "{wrong}");
        }
    }
}
