//! What a Windows notes of partitions, on the deployed volumes: NTFS through ntfs-3g, FAT without a mount.

use super::customize::{missing_devices, written_place};
use super::ntfs_files::with_ntfs;
use super::tree::Tree;
use super::{Error, lvm_devices, windows_files};
use crate::blockio::Window;
use crate::customize::recovery::{self, RECOVERY};
use crate::customize::windows::{Followed, HIVES, follow_bytes, follow_in_fat};
use crate::customize::{CustomizeError, Deployed, Taken};
use crate::plan::MovedPartition;
use crate::progress::{Event, Monitor};
use crate::schema::FileSystemKind;
use std::path::Path;

/// Has one volume follow.
pub(super) fn follow(
    target: &str,
    volume: &str,
    kind: FileSystemKind,
    moved: &[MovedPartition],
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Taken, CustomizeError> {
    if moved.is_empty() {
        return Ok(Taken::default());
    }
    let followed = if kind == FileSystemKind::Ntfs {
        in_ntfs(target, volume, moved, deployed)?
    } else {
        let (shown, place) = written_place(target, volume, deployed)?;
        let window = Window::new(shown, place).map_err(Error::io(format!("looking into {volume}")))?;
        follow_in_fat(&window, moved)?
    };
    for message in followed.changed {
        monitor.event(Event::Changed { volume: volume.to_owned(), message });
    }
    let problems = followed.problems.into_iter().map(|problem| format!("{volume}: {problem}")).collect();
    Ok(Taken { problems, keeps_names: followed.keeps_names, ..Taken::default() })
}

fn in_ntfs(
    target: &str,
    volume: &str,
    moved: &[MovedPartition],
    deployed: Deployed<'_>,
) -> Result<Followed, CustomizeError> {
    if let Some(missing) = missing() {
        let mut followed = Followed::default();
        add_not_looked_into(&mut followed, moved, &missing);
        return Ok(followed);
    }
    let on_device = |device: &Path| Ok(on_device(device, volume, moved));
    let (followed, kept) = lvm_devices::on_device(target, volume, deployed, on_device)?;
    let mut followed = followed?;
    followed.problems.extend(kept);
    Ok(followed)
}

/// What is missing on this machine: a sentence.
pub(super) fn missing() -> Option<String> {
    let what = "having a Windows name the partitions of its new disk";
    missing_devices(what).or_else(|| windows_files::missing(what))
}

/// What cannot be mounted, or written, is no failure: a volume with data is as good as before. Of several files that are to be
/// written all are, or none is.
fn on_device(device: &Path, volume: &str, moved: &[MovedPartition]) -> Result<Followed, CustomizeError> {
    let looked = with_ntfs(device, true, volume, |tree| Ok(look(tree, moved)?));
    let (mut followed, to_write) = match looked {
        Err(error) if is_failure(&error) => return Err(error),
        Err(error) => (Followed::default(), Err(error)),
        Ok((followed, to_write)) => (followed, Ok(to_write)),
    };
    let written = to_write.and_then(|to_write| match to_write.as_slice() {
        [] => Ok(()),
        to_write => with_ntfs(device, false, volume, |tree| Ok(write_all(tree, to_write)?)),
    });
    match written {
        Ok(()) => Ok(followed),
        Err(error) if is_failure(&error) => Err(error),
        Err(error) => {
            followed.changed.clear();
            add_not_looked_into(&mut followed, moved, &error.with_causes());
            Ok(followed)
        }
    }
}

/// True where more is wrong than that a volume cannot be mounted or written.
const fn is_failure(error: &CustomizeError) -> bool {
    use CustomizeError::{Io, NotPutBack, StaysMounted};
    matches!(error, Io { .. } | StaysMounted { .. } | NotPutBack { .. })
}

/// A file, what it held, and what it is to hold.
type ToWrite = (String, Vec<u8>, Vec<u8>);

fn write_all(tree: &Tree, files: &[ToWrite]) -> Result<(), Error> {
    for (position, (path, _, new)) in files.iter().enumerate() {
        let Err(error) = tree.overwrite(path, new) else { continue };
        for (path, old, _) in files.iter().take(position) {
            tree.overwrite(path, old).map_err(|also| {
                let (error, also) = (error.with_causes(), also.with_causes());
                Error::NotPutBack {
                    fact: format!("{error}; what was changed before is not put back: {also}"),
                }
            })?;
        }
        return Err(error);
    }
    Ok(())
}

fn look(tree: &Tree, moved: &[MovedPartition]) -> Result<(Followed, Vec<ToWrite>), Error> {
    let (mut followed, mut to_write) = (Followed::default(), Vec::new());
    for path in HIVES {
        let Some(path) = tree.spelled(path)? else { continue };
        let read = match tree.read(&path) {
            Ok(Some(old)) => follow_bytes(old.clone(), moved).map(|(count, new)| (count, old, new)),
            Ok(None) => continue,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let read = read.map(|(count, old, new)| {
            to_write.extend(new.map(|new| (path.clone(), old, new)));
            count
        });
        followed.add(&path, read);
    }
    if let Some(path) = tree.spelled(RECOVERY)? {
        let read = match tree.read(&path) {
            Ok(old) => {
                let old = old.unwrap_or_default();
                recovery::follow(&old, moved).map(|(count, new)| (count, old, new))
            }
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let read = read.map(|(count, old, new)| {
            to_write.extend(new.map(|new| (path.clone(), old, new)));
            count
        });
        followed.add_recovery(&path, read);
    }
    Ok((followed, to_write))
}

/// Nothing is lost where only recovery settings could name a partition as it was: Windows puts them right with `reagentc`.
fn add_not_looked_into(followed: &mut Followed, moved: &[MovedPartition], why: &str) {
    if moved.iter().any(MovedPartition::has_another_name) {
        followed.keeps_names = true;
        followed.problems.push(not_looked_into(why));
    }
}

/// What is said of a volume that nobody could look into.
pub(super) fn not_looked_into(why: &str) -> String {
    format!(
        "it was not looked into ({why}): a Windows on it does not start where partitions have other identifiers, or on an MBR begin \
         elsewhere, than when they were captured, before its boot configuration names them anew (bcdboot, from Windows' \
         installation medium)"
    )
}
