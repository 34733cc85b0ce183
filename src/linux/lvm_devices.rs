//! LVM's list of the devices that it may use, `system.devices`, in a deployed system (lvmdevices(8)).
//!
//! It names physical volumes by the serial numbers of their disks. On another disk LVM would pass over them, and a system
//! on LVM would not start. Without the list LVM uses what it finds, as it does before anybody makes one.

use super::as_device::{kept_by, shown_as_device};
use super::loop_device::{LoopDevice, control_device};
use super::mounted::{MountFolder, Mounted, kernel_has};
use super::{Error, fuse, is_root};
use crate::blockio::{Mapped, Window, WriteAt};
use crate::customize::Deployed;
use crate::progress::{Event, Monitor};
use crate::schema::FileSystemKind;
use crate::units::SectorSize;
use std::fs;
use std::path::Path;

/// Where the list stands, from the root of a system.
const LIST: [&str; 4] = ["etc", "lvm", "devices", "system.devices"];
/// What it is called then, so that nothing is lost. Where there is no room for another name it is removed.
const KEPT_AS: &str = "system.devices.captured";

/// Takes the list on a volume away, where there is one. A sentence where that could not be found out.
pub(super) fn forget(
    target: &str,
    volume: &str,
    kind: FileSystemKind,
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, Error> {
    let family = if kind == FileSystemKind::Xfs { "xfs" } else { "ext4" };
    let done = match missing(family) {
        Some(error) => Err(error),
        None => on_device(target, volume, deployed, |device| take_away(device, family)),
    };
    match done {
        Ok((done, kept)) => {
            if let Some(message) = done {
                monitor.event(Event::Changed { volume: volume.to_owned(), message });
            }
            Ok(kept.into_iter().collect())
        }
        Err(error @ (Error::Io { .. } | Error::StaysMounted { .. } | Error::NotPutBack { .. })) => Err(error),
        Err(error) => Ok(vec![format!(
            "whether {volume} has a list of LVM's devices that names the captured disk could not be seen ({error}); if it \
             has /{}, remove it",
            LIST.join("/")
        )]),
    }
}

/// What keeps this process from looking into a volume.
fn missing(family: &str) -> Option<Error> {
    if !is_root() {
        return Some(Error::unsupported("only root can mount it"));
    }
    if !kernel_has(family) {
        return Some(Error::unsupported(format!("this kernel cannot mount {family}")));
    }
    control_device().err().or_else(fuse::missing)
}

/// Shows a volume of the plan as a device. Returns what came of the work, and a sentence where the device stays although everything
/// is done and on the disk: a program keeps it open.
///
/// # Errors
/// Where it cannot be shown, and those of `work`. [`Error::NotPutBack`] where what it changed may not be on the disk.
pub(super) fn on_device<T>(
    target: &str,
    volume: &str,
    deployed: Deployed<'_>,
    work: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<(T, Option<String>), Error> {
    let gone = || Error::refused(format!("the plan has no volume {volume} on {target}"));
    let mut disks = deployed.plan.disks.iter().filter(|disk| disk.target.path == target);
    let planned =
        disks.find_map(|disk| Some((disk, disk.volumes.iter().find(|planned| planned.volume == volume)?)));
    if let Some((disk, planned)) = planned {
        let sector = disk.target.logical_sector_bytes;
        if deployed.is_rehearsal {
            let (disk, place) = super::customize::written_place(target, volume, deployed)?;
            let window = Window::new(disk, place).map_err(Error::io(format!("looking at {volume}")))?;
            return shown_as_device(&window, volume, sector, false, work);
        }
        let shown = LoopDevice::attach(target, planned.place, false, sector)?;
        let done = work(shown.path())?;
        return Ok((done, kept_by(shown, volume)?));
    }
    let plan = deployed.plan;
    let logical = plan
        .logical_volumes()
        .into_iter()
        .find(|logical| logical.planned.volume == volume && logical.target(plan) == target)
        .ok_or_else(gone)?;
    let targets: Vec<&dyn WriteAt> = deployed.targets.to_vec();
    let stretches = logical.stretches();
    let mapped = stretches.and_then(|stretches| Mapped::new(targets, stretches).ok()).ok_or_else(gone)?;
    shown_as_device(&mapped, volume, SectorSize::B512, false, work)
}

/// Takes the list on a device away. Returns what was done: a sentence where there was one.
fn take_away(device: &Path, family: &str) -> Result<Option<String>, Error> {
    let place = MountFolder::new("devices")?;
    let options = if family == "xfs" { "nouuid" } else { "" };
    let mounted = Mounted::new(device, place.path(), family, options)
        .map_err(|error| Error::unsupported(error.to_string()))?;
    let done = take_away_below(place.path());
    mounted.unmount()?;
    done
}

fn take_away_below(root: &Path) -> Result<Option<String>, Error> {
    let mut path = root.to_path_buf();
    for (position, part) in LIST.iter().enumerate() {
        path.push(part);
        // A link may lead out of the volume.
        let found = fs::symlink_metadata(&path).map(|found| found.file_type());
        let expected = match found {
            Ok(found) if position.saturating_add(1) == LIST.len() => found.is_file(),
            Ok(found) => found.is_dir(),
            Err(_) => false,
        };
        if !expected {
            return Ok(None);
        }
    }
    let kept = path.with_file_name(KEPT_AS);
    // A full file system may have no room for another name; LVM makes the list anew, and does not start with this one.
    let list = format!("/{}", LIST.join("/"));
    match fs::rename(&path, &kept) {
        Ok(()) => Ok(Some(format!("{list} was renamed to {KEPT_AS}"))),
        Err(why) => {
            let doing = format!("removing {list}, which cannot be renamed ({why})");
            fs::remove_file(&path).map_err(Error::io(doing))?;
            Ok(Some(format!("{list} was removed, because it could not be renamed to {KEPT_AS} ({why})")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_the_list_is_what_was_done() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/lvm/devices");
        assert_eq!(take_away_below(root.path()).unwrap(), None);
        fs::create_dir_all(&folder).unwrap();
        let (list, kept) = (folder.join("system.devices"), folder.join(KEPT_AS));
        fs::write(&list, "PVID=x").unwrap();
        let said = take_away_below(root.path()).unwrap();
        assert_eq!(
            said.as_deref(),
            Some("/etc/lvm/devices/system.devices was renamed to system.devices.captured")
        );
        assert_eq!((list.exists(), fs::read_to_string(&kept).unwrap().as_str()), (false, "PVID=x"));
        // A folder has the name that it would get.
        fs::remove_file(&kept).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(&list, "PVID=x").unwrap();
        let said = take_away_below(root.path()).unwrap().unwrap();
        assert!(
            said.starts_with("/etc/lvm/devices/system.devices was removed, because it could not"),
            "{said}"
        );
        assert!(!list.exists());
    }
}
