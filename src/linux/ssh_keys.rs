//! New SSH host keys for deployed systems, made by their own `ssh-keygen`.
//!
//! Nothing is replaced before its successor is there. A file keeps its owner, mode and attributes.

use super::cage::{self, Cage, RESULTS};
use super::mounted::{MountFolder, Mounted, how, roots_of};
use super::program::Watch;
use super::tree::Tree;
use super::{Error, lvm_devices};
use crate::customize::host_keys::{FOLDER, HostKey, MAKERS, fingerprint, makes_keys};
use crate::customize::{CustomizeError, Deployed};
use crate::plan::SystemVolume;
use crate::progress::{Event, Monitor};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A key of 16384 bits may take minutes.
const LIMIT: Duration = Duration::from_secs(300);
const PROGRAMS: [&str; 2] = ["usr/bin/ssh-keygen", "bin/ssh-keygen"];

/// Gives the systems on the volumes new keys. Returns sentences about what a person has to look after.
pub(super) fn renew(
    volumes: &[SystemVolume],
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, CustomizeError> {
    let mut problems = Vec::new();
    for on in volumes {
        let on_device = |device: &Path| Ok(in_volume(device, on, deployed.is_rehearsal, monitor));
        let told = lvm_devices::on_device(&on.target, &on.volume, deployed, on_device)??;
        problems.extend(told.into_iter().map(|problem| format!("{}: {problem}", on.volume)));
    }
    Ok(problems)
}

fn in_volume(
    device: &Path,
    on: &SystemVolume,
    is_rehearsal: bool,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, CustomizeError> {
    let Some((name, options)) = how(on.file_system) else { return Ok(Vec::new()) };
    let folder = MountFolder::new("keys")?;
    let mounted = Mounted::read_only(device, folder.path(), name, options);
    let mounted = match mounted {
        Ok(mounted) => mounted,
        // A volume with data is as good as before.
        Err(error) => {
            let why = CustomizeError::from(error).with_causes();
            return Ok(vec![format!("whether it holds SSH host keys could not be seen: {why}")]);
        }
    };
    let found = systems(folder.path(), on);
    mounted.unmount()?;
    let found = found?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let mounted = Mounted::with_programs(device, folder.path(), name, options)?;
    let renew = |root: &&str| {
        let root = folder.path().join(root);
        let tree = Tree::open(&root, &on.volume)?;
        System { tree, root, on, is_rehearsal, monitor }.renew()
    };
    let problems: Result<Vec<Vec<String>>, CustomizeError> = found.iter().map(renew).collect();
    let unmounted = mounted.unmount();
    let problems = problems?;
    unmounted?;
    Ok(problems.concat())
}

/// The roots of systems with host keys within a mounted file system.
fn systems(mounted: &Path, on: &SystemVolume) -> Result<Vec<&'static str>, Error> {
    let mut found = Vec::new();
    for root in roots_of(on.file_system) {
        let path = mounted.join(root);
        // A link would lead out of the file system.
        if fs::symlink_metadata(path.as_path()).is_ok_and(|found| found.is_dir())
            && !keys_of(&Tree::open(&path, &on.volume)?)?.is_empty()
        {
            found.push(*root);
        }
    }
    Ok(found)
}

fn keys_of(tree: &Tree) -> Result<Vec<HostKey>, Error> {
    let mut keys = Vec::new();
    for (name, is_folder) in tree.list(FOLDER)? {
        if !is_folder && name.starts_with("ssh_host_") && name.ends_with("_key") {
            let public = tree.read(&format!("{FOLDER}/{name}.pub"))?;
            let public = public.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            keys.extend(HostKey::of(&name, public.as_deref()));
        }
    }
    Ok(keys)
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
    fn renew(&self) -> Result<Vec<String>, CustomizeError> {
        let keys = keys_of(&self.tree)?;
        let name = self.tree.read_text("etc/hostname")?.unwrap_or_default();
        let comment = format!("root@{}", if name.trim().is_empty() { "localhost" } else { name.trim() });
        let mut problems = Vec::new();
        for key in &keys {
            let made =
                cage::find(&self.tree, &PROGRAMS).and_then(|program| self.make(program, key, &comment));
            match made {
                Ok(made) => self.put(key, &made)?,
                Err(why) => problems.extend(self.do_without(key, &why)?),
            }
        }
        problems.extend(self.no_longer_fitting(&keys)?);
        Ok(problems)
    }

    /// Has the system make a key: the private and the public part, and what is told of it. A clause where it did not.
    fn make(
        &self,
        program: &str,
        key: &HostKey,
        comment: &str,
    ) -> Result<(Vec<u8>, Vec<u8>, String), String> {
        let path = format!("{RESULTS}/{}", key.file());
        let arguments = key.arguments(&path, comment);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let cancelled = || self.monitor.cancelled();
        let watch = Watch { cancelled: Some(&cancelled), ..Watch::for_at_most(LIMIT) };
        let cage = Cage { root: &self.root, devices: &[], inner: &[] };
        let ran = cage.run(program, &arguments, &watch);
        let (outcome, results) = ran.map_err(|error| CustomizeError::from(error).with_causes())?;
        if outcome.code != Some(0) {
            let last = outcome.output.lines().next_back().unwrap_or_default();
            return Err(format!("its /{program} {} ({last})", outcome.ending));
        }
        let read = |name: &str| results.read(name).unwrap_or_default();
        let (private, public) = (read(&key.file()), read(&format!("{}.pub", key.file())));
        key.check(&private, &public)?;
        let print = fingerprint(&outcome.output).filter(|_| !self.is_rehearsal);
        Ok((private, public, print.map_or_else(String::new, |print| format!(", {print}"))))
    }

    fn put(&self, key: &HostKey, (private, public, print): &(Vec<u8>, Vec<u8>, String)) -> Result<(), Error> {
        let path = format!("{FOLDER}/{}", key.file());
        self.tree.overwrite(&path, private)?;
        self.tree.write(&format!("{path}.pub"), public)?;
        self.changed(format!("the SSH host key /{path} is a new one{print}"));
        Ok(())
    }

    /// Removes a key that could not be made anew, where the system makes one by itself when it starts.
    fn do_without(&self, key: &HostKey, why: &str) -> Result<Option<String>, Error> {
        let path = format!("{FOLDER}/{}", key.file());
        for (maker, says) in MAKERS {
            let text = self.tree.read(maker)?.unwrap_or_default();
            if makes_keys(&String::from_utf8_lossy(&text), says) {
                self.tree.remove(&path)?;
                self.tree.remove(&format!("{path}.pub"))?;
                self.changed(format!(
                    "the SSH host key /{path} was removed, and /{maker} makes a new one when the system starts ({why})"
                ));
                return Ok(None);
            }
        }
        Ok(Some(format!(
            "the SSH host key /{path} is that of the image still, because {why}, and nothing is known to make one when the \
             system starts; run ssh-keygen -A there once it is removed"
        )))
    }

    /// What was signed for the old keys.
    fn no_longer_fitting(&self, keys: &[HostKey]) -> Result<Vec<String>, Error> {
        let names = self.tree.list(FOLDER)?;
        let certificates = keys.iter().map(|key| format!("{}-cert.pub", key.file()));
        let there = certificates.filter(|certificate| names.iter().any(|(name, _)| name == certificate));
        Ok(there
            .map(|name| format!("/{FOLDER}/{name} is for the old SSH host key; have the new one signed"))
            .collect())
    }

    fn changed(&self, message: String) {
        self.monitor.event(Event::Changed { volume: self.on.volume.clone(), message });
    }
}
