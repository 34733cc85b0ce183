//! Volumes by the name a person gave them, and mounting them.

use super::Error;
use super::program;
use std::fs;
use std::time::Duration;

/// Reading the beginning of every disk takes a moment; one that does not answer, longer.
const LOOKING: Duration = Duration::from_secs(60);
/// A journal of a stick that was pulled out may have to be replayed.
const MOUNTING: Duration = Duration::from_secs(120);
/// What `blkid` says where it finds nothing.
const NOTHING: i32 = 2;

/// The devices that hold the volume with this name: `LABEL=`, `UUID=`, `PARTLABEL=` or `PARTUUID=` and a value, or
/// a device itself. Empty where there is none yet.
///
/// # Errors
/// Where `blkid` is missing or fails.
pub fn named(place: &str) -> Result<Vec<String>, Error> {
    if place.starts_with("/dev/") {
        return Ok(fs::metadata(place).map_or_else(|_| Vec::new(), |_| vec![place.to_owned()]));
    }
    // What was cached may be a stick that is gone.
    let arguments = ["--cache-file", "/dev/null", "--output", "device", "--match-token", place];
    let outcome = program::run("blkid", &arguments, LOOKING)?;
    match outcome.code {
        Some(0) => Ok(outcome
            .output
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()),
        Some(NOTHING) => Ok(Vec::new()),
        _ => Err(Error::unsupported(format!("blkid {}: {}", outcome.ending, outcome.output.trim()))),
    }
}

/// Mounts a volume for reading and writing, whatever its file system, in a directory that is made for it.
///
/// # Errors
/// Where the directory cannot be made or `mount` refuses, with what it says.
pub fn mount(device: &str, directory: &str) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::io(format!("making {directory}")))?;
    let outcome = program::run("mount", &["-o", "noatime,nosuid,nodev", device, directory], MOUNTING)?;
    match outcome.code {
        Some(0) => Ok(()),
        _ => Err(Error::unsupported(format!("mounting {device}: {}", outcome.output.trim()))),
    }
}
