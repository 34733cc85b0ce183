//! The project's own server, and an administrator beside it who types `remint admin`.

use super::lab::running::Server;
use super::lab::text;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Office {
    folder: PathBuf,
    server: Option<Server>,
    pub url: String,
}

impl Office {
    /// A server that knows the image `lab` with a profile, and the machine `pc-01`.
    pub fn open(folder: &Path, profile: &Value) -> Self {
        let (data, password) = (folder.join("data"), folder.join("password"));
        fs::write(&password, "correct horse battery\n").unwrap();
        fs::write(folder.join("profile.json"), profile.to_string()).unwrap();
        let server = Server::start(&data, 0);
        let url = server.url.trim_end_matches("/store").to_owned();
        let office = Self { folder: folder.to_owned(), server: Some(server), url };
        let file = text(&password);
        office.admin(&["init", "--data", text(&data), "--user", "anna", "--password-file", file]);
        office.admin(&["login", "anna", "--password-file", file]);
        office.admin(&["images", "set", "lab"]);
        let profile = folder.join("profile.json");
        office.admin(&["profiles", "set", "lab/default", "--file", text(&profile)]);
        let machine = ["machines", "add", "pc-01", "--mac", "52:54:00:00:00:01", "--assign", "lab/default"];
        office.admin(&machine);
        office
    }

    /// Types a command; what it says, where that is JSON.
    pub fn admin(&self, words: &[&str]) -> Value {
        let mut remint = Command::new(env!("CARGO_BIN_EXE_remint"));
        remint.args(["admin", "--json"]).args(words).env("REMINT_SERVER", &self.url);
        remint.env("HOME", &self.folder).env_remove("XDG_STATE_HOME").env("LC_ALL", "C");
        let output = remint.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The server is killed and started again, in the same place.
    pub fn restart(&mut self) {
        let server = self.server.take().unwrap();
        let port = server.port();
        drop(server);
        self.server = Some(Server::start(&self.folder.join("data"), port));
    }
}
