//! A script partitions a blank disk that is not there: a rehearsal of what it would do to a real one.
//!
//! Invariants:
//!
//! - The script is told of the rehearsal disk only, a loop device on memory of this process; nothing it is given leads
//!   to a disk of the machine.
//! - It runs without input, in a folder of its own that is gone afterwards, and no longer than its limit.

use super::loop_device::{LoopDevice, control_device};
use super::program::Watch;
use super::script::{self, Script, ScriptFolder};
use super::{Error, fuse, is_root};
use crate::blockio::BlankDisk;
use crate::units::{MIB, SectorSize};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// What a script may write to the disk: tables take some KiB, signatures and boot loaders a little more.
const MOST_DATA_BYTES: u64 = 64 * MIB;
/// What is read of the places that it names.
const MOST_PLACES_BYTES: u64 = 64 << 10;

/// What is rehearsed.
#[derive(Debug, Clone, Copy)]
pub struct Rehearsal<'a> {
    /// The script, for `/bin/sh`.
    pub script: &'a str,
    /// Size of the disk.
    pub size_bytes: u64,
    /// Its logical sector size.
    pub sector: SectorSize,
    /// Variables of the script's environment.
    pub variables: &'a [(&'a str, String)],
    /// Files for it: the variable that holds the path of each, and its content.
    pub files: &'a [(&'a str, String)],
    /// How long it may take.
    pub limit: Duration,
}

/// What came of it.
pub struct Rehearsed {
    /// The disk as the script left it.
    pub disk: BlankDisk,
    /// What it wrote into the file `REMINT_PLACES`.
    pub places: String,
    /// The end of what it printed.
    pub output: String,
}

impl Rehearsal<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a disk cannot be shown, [`Error::Refused`] where the script fails, does not end, or
    /// writes more than a table.
    pub fn run(&self) -> Result<Rehearsed, Error> {
        if let Some(fact) = missing() {
            return Err(Error::unsupported(fact));
        }
        let folder = ScriptFolder::new()?;
        let disk = BlankDisk::new(self.size_bytes, MOST_DATA_BYTES);
        let (ran, failure) = fuse::serve(&disk, |file| {
            let shown = LoopDevice::attach_disk(file, "the rehearsal disk", self.size_bytes, self.sector)?;
            let output = self.run_on(shown.path(), folder.path())?;
            shown.detach()?;
            Ok(output)
        })?;
        match failure {
            Some(error) if error.kind() == io::ErrorKind::StorageFull => Err(Error::refused(format!(
                "the script wrote more than {MOST_DATA_BYTES} bytes to the disk; it is only to partition it, the image \
                 brings the content"
            ))),
            Some(error) => Err(Error::io("serving the disk that the script partitions")(error)),
            None => Ok(Rehearsed { output: ran?, places: read_places(&folder.path().join(PLACES))?, disk }),
        }
    }

    /// Returns what it printed.
    fn run_on(&self, device: &Path, folder: &Path) -> Result<String, Error> {
        let mut variables: Vec<(&str, OsString)> = vec![
            ("REMINT_DISK", device.as_os_str().to_owned()),
            ("REMINT_SIZE_BYTES", self.size_bytes.to_string().into()),
            ("REMINT_SECTOR_BYTES", self.sector.to_string().into()),
            ("REMINT_SECTORS", self.sector.lba_of(self.size_bytes).0.to_string().into()),
            ("REMINT_PLACES", script::write_file(folder, PLACES, "")?),
        ];
        variables.extend(self.variables.iter().map(|(name, value)| (*name, OsString::from(value))));
        let script = Script { text: self.script, variables: &variables, files: self.files };
        let ran = script.run_in(folder, &Watch::for_at_most(self.limit))?;
        if ran.code == Some(0) {
            return Ok(ran.output);
        }
        let output = if ran.output.is_empty() { "it printed nothing".to_owned() } else { ran.output };
        Err(Error::refused(format!("the script {}:\n{output}", ran.ending)))
    }
}

/// The file for the places, in the script's folder.
const PLACES: &str = "places";

/// What stands in the way of a rehearsal.
fn missing() -> Option<String> {
    let why = "a script is run on a loop device first, not on the target";
    if !is_root() {
        return Some(format!("the layout script needs root, because {why}; run as root"));
    }
    let missing = control_device().err().or_else(fuse::missing);
    missing.map(|error| format!("the layout script cannot be used here, because {why}: {error}"))
}

fn read_places(path: &Path) -> Result<String, Error> {
    let doing = || Error::io(format!("reading {}", path.display()));
    let file = fs::symlink_metadata(path).map_err(doing())?;
    if !file.is_file() || file.len() > MOST_PLACES_BYTES {
        return Err(Error::refused(
            "what the script left as $REMINT_PLACES is no small file; a line VOLUME=NUMBER for each volume is enough",
        ));
    }
    fs::read_to_string(path).map_err(doing())
}
