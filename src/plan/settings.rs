//! What deployed systems are told about themselves, and which volumes are looked into for them.

use super::captured::Captured;
use super::deploy::{DeployOptions, DeployPlan, VolumeAction, VolumePlan};
use super::step::Step;
use crate::schema::{Answer, BootDriver, Content, FileSystemKind};
use serde::{Serialize, Serializer};
use std::fmt;

/// What the systems on the targets are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Settings {
    /// What they are called.
    pub name: Option<String>,
    /// What elements of their answer files hold, one for each element. A plan does not show the values: they may be
    /// passwords.
    #[serde(serialize_with = "elements")]
    pub answers: Vec<Answer>,
    /// True: their page files, and the file of hibernation, are emptied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_page_files: bool,
    /// Storage drivers that a Windows starts with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boot_drivers: Vec<BootDriver>,
}

impl Settings {
    /// The name, or what else is set, for messages.
    #[must_use]
    pub fn subject(&self) -> &str {
        match &self.name {
            Some(name) => name,
            None if !self.answers.is_empty() => "answer files",
            None if !self.boot_drivers.is_empty() => "boot drivers",
            None => "page files",
        }
    }
}

impl Settings {
    /// What is set, with all of it that may be shown.
    pub(super) fn explained(&self) -> String {
        let elements = self.answers.iter().map(|answer| answer.element.clone()).collect::<Vec<_>>();
        let drivers = self.boot_drivers.iter().map(ToString::to_string).collect::<Vec<_>>();
        let parts = [
            self.name.as_ref().map(|name| format!("the name of the computer ({name})")),
            (!elements.is_empty()).then(|| format!("the answers of Windows ({})", elements.join(", "))),
            (!drivers.is_empty())
                .then(|| format!("the drivers that Windows starts with ({})", drivers.join(", "))),
            self.empty_page_files.then(|| "empty page files".to_owned()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Settings {
    /// As the object of "making" and "setting".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.name.is_some(), "the name of the computer"),
            (!self.answers.is_empty(), "the answers of Windows"),
            (!self.boot_drivers.is_empty(), "the drivers that Windows starts with"),
            (self.empty_page_files, "empty page files"),
        ];
        let said: Vec<&str> = parts.iter().filter(|(said, _)| *said).map(|(_, what)| *what).collect();
        f.write_str(&said.join(" and "))
    }
}

/// A volume that may hold a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SystemVolume {
    /// Path of the target that it, or the first physical volume of its group, is on.
    pub target: String,
    /// Its name.
    pub volume: String,
    /// Its file system.
    pub file_system: FileSystemKind,
}

/// The steps that tell the systems on the targets what is wished for, and give them keys of their own, where anything is.
pub(super) fn steps(captured: Captured<'_>, plan: &DeployPlan, options: &DeployOptions) -> Vec<Step> {
    let settings = Settings {
        name: options.computer_name.clone(),
        answers: last_of_each(&options.answers),
        empty_page_files: options.empty_page_files,
        boot_drivers: options.boot_drivers.clone(),
    };
    let mut steps = Vec::new();
    if settings != Settings::default() {
        let may_hold_one = |kind: FileSystemKind| {
            kind == FileSystemKind::Ntfs || (settings.name.is_some() && may_hold_a_linux(kind))
        };
        let volumes = volumes_of(captured, plan, may_hold_one);
        steps.push(Step::Settings { settings, volumes });
    }
    if options.new_ssh_host_keys {
        // Behind the name, which stands in the keys' comments.
        steps.push(Step::SshHostKeys { volumes: volumes_of(captured, plan, may_hold_a_linux) });
    }
    steps
}

/// The volumes that are written and have such a file system.
fn volumes_of(
    captured: Captured<'_>,
    plan: &DeployPlan,
    is_wanted: impl Fn(FileSystemKind) -> bool,
) -> Vec<SystemVolume> {
    let looked_into = |target: &str, planned: &VolumePlan| {
        let volume = captured.volumes().find(|volume| volume.name == planned.volume)?;
        let Content::FileSystem(found) = &volume.content else { return None };
        let is_looked_into = planned.action == VolumeAction::Write && is_wanted(found.kind);
        let (target, volume) = (target.to_owned(), planned.volume.clone());
        is_looked_into.then_some(SystemVolume { target, volume, file_system: found.kind })
    };
    let mut volumes = Vec::new();
    for disk in &plan.disks {
        volumes.extend(disk.volumes.iter().filter_map(|planned| looked_into(&disk.target.path, planned)));
    }
    let logical = plan.logical_volumes();
    volumes.extend(logical.iter().filter_map(|logical| looked_into(logical.target(plan), logical.planned)));
    volumes
}

/// By priority, and of several for one element the last.
fn last_of_each(answers: &[Answer]) -> Vec<Answer> {
    let mut sorted: Vec<&Answer> = answers.iter().collect();
    sorted.sort_by_key(|answer| answer.priority);
    let mut last: Vec<Answer> = Vec::new();
    for answer in sorted {
        last.retain(|earlier| earlier.element != answer.element);
        last.push(answer.clone());
    }
    last
}

fn elements<S: Serializer>(answers: &[Answer], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(answers.iter().map(|answer| &answer.element))
}

pub(super) const fn may_hold_a_linux(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, Xfs};
    matches!(kind, Ext2 | Ext3 | Ext4 | Xfs | Btrfs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_for_an_element_counts_and_no_value_is_shown() {
        let answer = |element: &str, value: &str, priority| Answer {
            element: element.to_owned(),
            value: value.to_owned(),
            priority,
        };
        let said = [
            answer("A", "late", 9),
            answer("B", "first", 0),
            answer("A", "soon", -1),
            answer("B", "second", 0),
        ];
        let last = last_of_each(&said);
        assert_eq!(last, [answer("B", "second", 0), answer("A", "late", 9)]);
        let shown = serde_json::to_string(&Settings { answers: last, ..Settings::default() }).unwrap();
        assert_eq!(shown, r#"{"name":null,"answers":["B","A"]}"#);
    }

    #[test]
    fn what_is_set_is_explained_without_a_value_that_may_be_a_password() {
        let answer = Answer { element: "Value".to_owned(), value: "s3cret".to_owned(), priority: 0 };
        let settings = Settings {
            name: Some("pc-07".to_owned()),
            answers: vec![answer],
            empty_page_files: true,
            boot_drivers: vec!["usual".parse().unwrap(), "iastorv".parse().unwrap()],
        };
        let expected = "the name of the computer (pc-07), the answers of Windows (Value), the drivers that Windows starts with \
                        (usual, iaStorV), empty page files";
        assert_eq!(settings.explained(), expected);
    }
}
