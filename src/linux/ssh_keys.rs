//! New SSH host keys for deployed systems, made by their own `ssh-keygen`.
//!
//! Nothing is replaced before its successor is there. A file keeps its owner, mode and attributes. A key that stays that of the
//! image is said, whatever it is that keeps it: only a file system that stays mounted is an error.

use super::cage::{self, Cage, RESULTS};
use super::mounted::{MountFolder, Mounted, default_subvolume, how, roots_of};
use super::program::Watch;
use super::tree::Tree;
use super::{Error, lvm_devices};
use crate::customize::host_keys::{
    FOLDER, HostKey, MAKERS, fingerprint, host_name, makes_keys, named_elsewhere,
};
use crate::customize::{CustomizeError, Deployed};
use crate::plan::SystemVolume;
use crate::progress::{Event, Monitor};
use crate::schema::FileSystemKind;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A key of 16384 bits may take minutes.
const LIMIT: Duration = Duration::from_secs(300);
const PROGRAMS: [&str; 2] = ["usr/bin/ssh-keygen", "bin/ssh-keygen"];
/// Where sshd's settings are, with a folder of the same name and `.d`: those of openSUSE begin below `/usr`.
const SETTINGS: [&str; 2] = ["etc/ssh/sshd_config", "usr/etc/ssh/sshd_config"];

/// Gives the systems on the volumes new keys. Returns sentences about what a person has to look after.
///
/// # Errors
/// Where a file system stays mounted, and at a request to stop.
pub(super) fn renew(
    volumes: &[SystemVolume],
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, CustomizeError> {
    let (mut problems, mut has_keys) = (Vec::new(), false);
    for on in volumes.iter().take_while(|_| !monitor.cancelled()) {
        let on_device = |device: &Path| in_volume(device, on, deployed.is_rehearsal, monitor);
        let looked = lvm_devices::on_device(&on.target, &on.volume, deployed, on_device);
        let looked = match looked {
            Ok((looked, kept)) => {
                problems.extend(kept);
                looked
            }
            Err(error @ Error::StaysMounted { .. }) => return Err(error.into()),
            Err(error) => Looked::not(error),
        };
        has_keys |= looked.has_keys;
        problems.extend(looked.problems.into_iter().map(|problem| format!("{}: {problem}", on.volume)));
    }
    if monitor.cancelled() {
        let fact = "stopped on request; a key that was not told of as a new one is that of the image still";
        return Err(CustomizeError::Refused { fact: fact.to_owned() });
    }
    if !has_keys {
        problems.push(format!(
            "no SSH host keys are new ones, because none of a known type was found in /{FOLDER} on any deployed volume; a system that \
             has some keeps those of the image"
        ));
    }
    Ok(problems)
}

/// What was found on a volume, and not done.
#[derive(Default)]
struct Looked {
    has_keys: bool,
    problems: Vec<String>,
}

impl Looked {
    /// A volume with data is as good as before.
    fn not(error: Error) -> Self {
        let why = error.with_causes();
        let problems = vec![format!("whether it holds SSH host keys could not be seen: {why}")];
        Self { has_keys: false, problems }
    }
}

/// An error is one of unmounting.
fn in_volume(
    device: &Path,
    on: &SystemVolume,
    is_rehearsal: bool,
    monitor: &dyn Monitor,
) -> Result<Looked, Error> {
    let Some((name, options)) = how(on.file_system) else { return Ok(Looked::default()) };
    let folder = match MountFolder::new("keys") {
        Ok(folder) => folder,
        Err(error) => return Ok(Looked::not(error)),
    };
    let mut roots: Vec<String> = roots_of(on.file_system).iter().map(|root| (*root).to_owned()).collect();
    if on.file_system == FileSystemKind::Btrfs {
        let default = default_subvolume(device, folder.path())?;
        roots.extend(default.filter(|default| !roots.contains(default)));
    }
    let mounted = match Mounted::read_only(device, folder.path(), name, options) {
        Ok(mounted) => mounted,
        Err(error) => return Ok(Looked::not(error)),
    };
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for root in roots {
        let path = folder.path().join(&root);
        // A link would lead out of the file system.
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            match look(&path, on, &mut problems) {
                Ok(true) => found.push(root),
                Ok(false) => {}
                Err(error) => problems.extend(Looked::not(error).problems),
            }
        }
    }
    mounted.unmount()?;
    let has_keys = !found.is_empty();
    if !has_keys {
        return Ok(Looked { has_keys, problems });
    }
    let mounted = match Mounted::with_programs(device, folder.path(), name, options) {
        Ok(mounted) => mounted,
        Err(error) => {
            let why = error.with_causes();
            problems.push(format!("its SSH host keys are those of the image still: {why}"));
            return Ok(Looked { has_keys, problems });
        }
    };
    for root in found {
        let root = folder.path().join(root);
        match Tree::open(&root, &on.volume) {
            Ok(tree) => problems.extend(System { tree, root, on, is_rehearsal, monitor }.renew()),
            Err(error) => problems.extend(Looked::not(error).problems),
        }
    }
    mounted.unmount()?;
    Ok(Looked { has_keys, problems })
}

/// True where a root has keys. Says what is none that could be made anew.
fn look(root: &Path, on: &SystemVolume, problems: &mut Vec<String>) -> Result<bool, Error> {
    let tree = Tree::open(root, &on.volume)?;
    let mut has_keys = false;
    for name in files_of_keys(&tree)? {
        if HostKey::of(&name, None).is_some() {
            has_keys = true;
        } else {
            problems.push(format!(
                "the SSH host key /{FOLDER}/{name} is of a type that is not known here, and is that of the image still"
            ));
        }
    }
    for file in SETTINGS {
        let more = tree.list(&format!("{file}.d"))?.into_iter().filter(|(name, _)| name.ends_with(".conf"));
        let more = more.map(|(name, _)| format!("{file}.d/{name}"));
        for path in std::iter::once(file.to_owned()).chain(more) {
            let text = tree.read(&path).unwrap_or_else(|error| {
                problems.push(format!("whether it names SSH host keys could not be seen: {error}"));
                None
            });
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            problems.extend(named_elsewhere(&text).map(|key| {
                format!("/{path} names the SSH host key {key}, which is that of the image still")
            }));
        }
    }
    Ok(has_keys)
}

fn files_of_keys(tree: &Tree) -> Result<Vec<String>, Error> {
    let is_key = |(name, is_folder): &(String, bool)| {
        !is_folder && name.starts_with("ssh_host_") && name.ends_with("_key")
    };
    Ok(tree.list(FOLDER)?.into_iter().filter(is_key).map(|(name, _)| name).collect())
}

/// The sentence for a key that stays.
fn stays(key: &HostKey, why: &str) -> String {
    format!("the SSH host key /{FOLDER}/{} is that of the image still, because {why}", key.file())
}

/// Why there is no new key: a clause.
enum NotMade {
    /// It cannot be run, or failed by itself.
    Failed(String),
    /// It was ended.
    Stopped(String),
}

/// A new key: its private and its public part, and what is told of it.
struct Made {
    private: Vec<u8>,
    public: Vec<u8>,
    told: String,
}

/// A system with host keys, mounted so that its programs can be run.
struct System<'a> {
    tree: Tree,
    root: PathBuf,
    on: &'a SystemVolume,
    is_rehearsal: bool,
    monitor: &'a dyn Monitor,
}

impl System<'_> {
    fn renew(&self) -> Vec<String> {
        let keys = match files_of_keys(&self.tree) {
            Ok(names) => names,
            Err(error) => return Looked::not(error).problems,
        };
        let key = |name: &String| {
            // One that cannot be read says nothing about its key.
            let public = self.tree.read(&format!("{FOLDER}/{name}.pub")).ok().flatten();
            let public = public.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            HostKey::of(name, public.as_deref())
        };
        let keys: Vec<HostKey> = keys.iter().filter_map(key).collect();
        let named = self.tree.read("etc/hostname").ok().flatten().unwrap_or_default();
        let comment = format!("root@{}", host_name(&named).unwrap_or("localhost"));
        let program = cage::find(&self.tree, &PROGRAMS);
        let mut problems = Vec::new();
        for key in &keys {
            if self.monitor.cancelled() {
                return problems;
            }
            let made = match &program {
                Ok(program) => self.make(program, key, &comment),
                Err(why) => Err(NotMade::Failed(why.clone())),
            };
            match made {
                Ok(made) => problems.extend(self.put(key, &made)),
                Err(NotMade::Stopped(why)) => problems.push(stays(key, &why)),
                Err(NotMade::Failed(why)) => problems.extend(self.do_without(key, &why)),
            }
        }
        problems.extend(self.no_longer_fitting(&keys));
        problems
    }

    fn make(&self, program: &str, key: &HostKey, comment: &str) -> Result<Made, NotMade> {
        let path = format!("{RESULTS}/{}", key.file());
        let arguments = key.arguments(&path, comment);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let cancelled = || self.monitor.cancelled();
        let watch = Watch { cancelled: Some(&cancelled), ..Watch::for_at_most(LIMIT) };
        let cage = Cage { root: &self.root, devices: &[], inner: &[] };
        let ran = cage.run(program, &arguments, &watch);
        let failed = |error: Error| NotMade::Failed(error.with_causes());
        let (outcome, results) = ran.map_err(failed)?;
        if outcome.code != Some(0) {
            let last = outcome.output.lines().next_back().unwrap_or_default();
            let why = format!("its /{program} {} ({last})", outcome.ending);
            return Err(if outcome.code.is_some() { NotMade::Failed(why) } else { NotMade::Stopped(why) });
        }
        let read = |name: &str| results.read(name).unwrap_or_default();
        let (private, public) = (read(&key.file()), read(&format!("{}.pub", key.file())));
        key.check(&private, &public).map_err(NotMade::Failed)?;
        let print = fingerprint(&outcome.output).filter(|_| !self.is_rehearsal);
        let told = print.map_or_else(String::new, |print| format!(", {print}"));
        Ok(Made { private, public, told })
    }

    /// Puts a key in the place of the old one. A sentence where that stays.
    fn put(&self, key: &HostKey, made: &Made) -> Option<String> {
        let path = format!("{FOLDER}/{}", key.file());
        let public = format!("{path}.pub");
        let stays = |error: Error| stays(key, &error.with_causes());
        let old = match self.tree.read(&public) {
            Ok(old) => old,
            Err(error) => return Some(stays(error)),
        };
        let written = self.tree.write(&public, &made.public);
        let Err(error) = written.and_then(|()| self.tree.overwrite(&path, &made.private)) else {
            self.changed(format!("the SSH host key /{path} is a new one{}", made.told));
            return None;
        };
        // The two parts belong together.
        let back = match &old {
            _ if self.tree.read(&public).is_ok_and(|now| now == old) => Ok(()),
            Some(old) => self.tree.write(&public, old),
            None => self.tree.remove(&public),
        };
        let also = back.err().map_or_else(String::new, |error| format!(", but its public part: {error}"));
        Some(format!("{}{also}", stays(error)))
    }

    /// Removes a key that could not be made anew, where the system makes one by itself when it starts. A sentence where it stays.
    fn do_without(&self, key: &HostKey, why: &str) -> Option<String> {
        let path = format!("{FOLDER}/{}", key.file());
        let makes = |(maker, says): &&(&str, &str)| {
            // What cannot be read makes nothing.
            let text = self.tree.read(maker).ok().flatten().unwrap_or_default();
            makes_keys(&String::from_utf8_lossy(&text), says)
        };
        let Some((maker, _)) = MAKERS.iter().find(makes) else {
            return Some(format!(
                "{}, and nothing is known to make one when the system starts; run ssh-keygen -A there once it is removed",
                stays(key, why)
            ));
        };
        let removed = self.tree.remove(&format!("{path}.pub")).and_then(|()| self.tree.remove(&path));
        match removed {
            Ok(()) => {
                self.changed(format!(
                    "the SSH host key /{path} was removed, and /{maker} makes a new one when the system starts ({why})"
                ));
                None
            }
            Err(error) => Some(format!("{}; {}", stays(key, why), error.with_causes())),
        }
    }

    /// What was signed for the old keys.
    fn no_longer_fitting(&self, keys: &[HostKey]) -> Vec<String> {
        let names = match self.tree.list(FOLDER) {
            Ok(names) => names,
            Err(error) => return vec![format!("whether it has SSH certificates could not be seen: {error}")],
        };
        let certificates = keys.iter().map(|key| format!("{}-cert.pub", key.file()));
        let there = certificates.filter(|certificate| names.iter().any(|(name, _)| name == certificate));
        there
            .map(|name| format!("/{FOLDER}/{name} is for the old SSH host key; have the new one signed"))
            .collect()
    }

    fn changed(&self, message: String) {
        self.monitor.event(Event::Changed { volume: self.on.volume.clone(), message });
    }
}
