//! A person's shell script: without input, in a folder of its own that is gone afterwards, with nothing in its environment
//! but what is said here.

use super::program::{self, Outcome, Watch};
use super::{Error, left_behind};
use crate::progress::{Event, Monitor};
use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// What a script prints beyond so many lines is not told.
const MOST_LINES: usize = 2000;

/// A script, and what it is told.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// Its text, for `/bin/sh`.
    pub text: &'a str,
    /// Variables of its environment.
    pub variables: &'a [(&'a str, OsString)],
    /// Files for it: the variable that holds the path of each, and its content.
    pub files: &'a [(&'a str, String)],
}

impl Script<'_> {
    /// Runs it for `limit` at most, and tells of each line that it prints as an event under its name. Whatever it started and
    /// left in its process group is killed at its end. Returns what went wrong, a clause; `None` where it ended with exit
    /// code 0.
    ///
    /// # Errors
    /// Where it could not be started.
    pub fn run(&self, name: &str, limit: Duration, monitor: &dyn Monitor) -> Result<Option<String>, Error> {
        let folder = ScriptFolder::new()?;
        let (told, last) = (Cell::new(0usize), RefCell::new(String::new()));
        let tell = |message: &str| {
            monitor.event(Event::Script { script: name.to_owned(), message: message.to_owned() });
        };
        let each_line = |line: &str| {
            last.replace(line.to_owned());
            told.set(told.get().saturating_add(1));
            match told.get() {
                ..=MOST_LINES => tell(line),
                number if number == MOST_LINES.saturating_add(1) => tell("(what else it prints is left out)"),
                _ => {}
            }
        };
        let cancelled = || monitor.cancelled();
        let watch =
            Watch { limit, each_line: Some(&each_line), cancelled: Some(&cancelled), kills_leftovers: true };
        let outcome = self.run_in(folder.path(), &watch)?;
        if outcome.code == Some(0) {
            return Ok(None);
        }
        let last = last.into_inner();
        let said = if last.is_empty() { String::new() } else { format!(" ({last})") };
        Ok(Some(format!("{}{said}", outcome.ending)))
    }

    /// Runs it in a folder.
    pub(super) fn run_in(&self, folder: &Path, watch: &Watch<'_>) -> Result<Outcome, Error> {
        let script = write_file(folder, "script", self.text)?;
        let mut variables = self.variables.to_vec();
        for (name, content) in self.files {
            variables.push((*name, write_file(folder, &name.to_lowercase(), content)?));
        }
        program::run_watched(folder, &variables, "sh", &[script], watch)
    }
}

/// A folder for a script, removed with everything in it, but for what is mounted there.
pub(super) struct ScriptFolder(Option<TempDir>);

impl ScriptFolder {
    pub(super) fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("remint-script-").tempdir();
        folder.map(|folder| Self(Some(folder))).map_err(Error::io("making a folder for the script"))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for ScriptFolder {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take()
            && !left_behind::unmount_all(folder.path())
        {
            let _ = folder.keep();
        }
    }
}

/// Writes a file into the script's folder. Returns its path.
pub(super) fn write_file(folder: &Path, name: &str, content: &str) -> Result<OsString, Error> {
    let path = folder.join(name);
    fs::write(&path, content).map_err(Error::io(format!("writing {}", path.display())))?;
    Ok(path.into_os_string())
}
