//! An administrator runs a lab with `remint admin`: from the first user to the end of a job, over HTTPS with the server's
//! own certificate.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A server over HTTPS, and an administrator's home.
struct Lab {
    folder: TempDir,
    child: Child,
    url: String,
    fingerprint: String,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::write(folder.path().join("password"), "correct horse\n").unwrap();
        let init = |password: &str| {
            let password = folder.path().join(password);
            let mut command = Command::new(env!("CARGO_BIN_EXE_remint"));
            command
                .args(["admin", "init", "--user", "root", "--data"])
                .arg(&data)
                .arg("--password-file")
                .arg(password);
            command.output().unwrap()
        };
        fs::write(folder.path().join("short"), "short\n").unwrap();
        said(&init("short"), 1, "at least 8");
        said(&init("password"), 0, "root is an administrator");
        let (child, url, fingerprint) = serve(&data);
        Self { folder, child, url, fingerprint }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remint"));
        command.arg("admin").args(arguments).env("HOME", self.folder.path()).env_remove("XDG_STATE_HOME");
        command.env_remove("REMINT_SERVER").stdin(Stdio::null()).output().unwrap()
    }

    /// What a command prints that has to succeed.
    fn does(&self, arguments: &str) -> String {
        said(&self.run(&arguments.split(' ').collect::<Vec<_>>()), 0, "")
    }

    /// The sentence of a command that has to fail.
    fn refuses(&self, arguments: &str, part: &str) {
        said(&self.run(&arguments.split(' ').collect::<Vec<_>>()), 1, part);
    }

    fn login(&self) -> String {
        let password = self.path("password").display().to_string();
        self.does(&format!(
            "--server {} --fingerprint {} login root --password-file {password}",
            self.url, self.fingerprint
        ))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path) -> (Child, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remint"));
    command.args(["serve", "--tls-generate", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let url = lines.next().unwrap().split(" at ").nth(1).unwrap().trim_end_matches("/store").to_owned();
    let fingerprint = lines.next().unwrap().rsplit(' ').next().unwrap().to_owned();
    (child, url, fingerprint)
}

#[track_caller]
fn said(output: &Output, code: i32, part: &str) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(part), "\"{part}\" is not in: {text}");
    text
}

#[test]
fn a_lab_is_run_from_the_command_line() {
    let lab = Lab::new();
    assert!(lab.url.starts_with("https://"), "{}", lab.url);
    lab.refuses("machines", "no server is named");
    let stranger = format!("--server {} machines", lab.url);
    lab.refuses(&stranger, "does not prove who it is");
    assert!(lab.login().contains("logged in"));
    let kept = lab.path(".local/state/remint/login.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&kept).unwrap().contains("correct horse"));
    // The login says where, and whom to trust.
    assert_eq!(lab.does("machines"), "none\n");
    lab.does("images set lab --on-demand true");
    lab.refuses("machines add pc_1 --mac 52:54:00:12:34:56", "letters, digits");
    let added = lab.does("machines add pc-01 --mac 52:54:00:12:34:56 --assign lab");
    assert!(
        added.contains("pc-01") && added.contains("52:54:00:12:34:56") && added.contains("never"),
        "{added}"
    );
    lab.refuses("action pc-01 deploy", "never captured");
    lab.refuses("machines show pc-09", "pc-09");
    lab.refuses("machines show ../users", "cannot be a name");
    fs::write(lab.path("profile.json"), r#"{"deploy": {"new_ids": true}}"#).unwrap();
    lab.does(&format!(
        "profiles set lab/fresh --file {} --for starts:OptiPlex",
        lab.path("profile.json").display()
    ));
    let shown: Value = serde_json::from_str(&lab.does("--json profiles show lab/fresh")).unwrap();
    assert_eq!(shown, serde_json::json!({"deploy": {"new_ids": true}}));
    lab.does("profiles set lab/copy --clone-of fresh");
    assert!(lab.does("profiles list lab").contains("starts:OptiPlex"));
    fs::write(lab.path("profile.json"), r#"{"deploy": {"new_idz": true}}"#).unwrap();
    lab.refuses(&format!("profiles set lab/fresh --file {}", lab.path("profile.json").display()), "new_idz");
    let action = lab.does("action pc-01 capture");
    assert!(action.contains("capture (job 1)"), "{action}");
    assert!(lab.does("jobs list --open").contains("pending"));
    lab.does("groups set room pc-01");
    lab.refuses("jobs capture lab --group room", "job 1");
    assert!(lab.does("jobs cancel 1").contains("withdrawn by root"));
    assert!(lab.does("images history lab").contains("cancelled"));
    let settings = lab.does("settings set deploys_at_once=3 open_menu=true");
    assert!(settings.contains("deploys_at_once=3\n") && settings.contains("open_menu=true\n"), "{settings}");
    lab.refuses("settings set colour=1", "colour");
    let password = lab.path("password").display().to_string();
    lab.does(&format!("users set ann --role operator --password-file {password}"));
    assert!(lab.does("users").contains("operator"));
    lab.does("users delete ann");
    lab.refuses("users delete root", "last administrator");
    let audit = lab.does("audit");
    assert!(audit.contains("user ann: deleted") && audit.contains("machine pc-01: added"), "{audit}");
    lab.does("machines delete pc-01");
    lab.does("logout");
    assert!(!kept.exists());
    lab.refuses("machines", "no server is named");
}

#[test]
fn the_server_keeps_its_certificate_and_its_users() {
    let mut lab = Lab::new();
    lab.child.kill().unwrap();
    lab.child.wait().unwrap();
    let data = lab.path("data");
    let key = data.join("tls/key.pem");
    for private in [&key, &data.join("remint.sqlite")] {
        assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o077, 0, "{}", private.display());
    }
    let (child, url, fingerprint) = serve(&data);
    assert_eq!(fingerprint, lab.fingerprint, "machines know it by this");
    (lab.child, lab.url) = (child, url);
    lab.login();
    assert!(lab.does("users").contains("root"));
    fs::write(lab.path("wrong"), "wrong horse\n").unwrap();
    let wrong = format!("login root --password-file {}", lab.path("wrong").display());
    lab.refuses(&wrong, "no user of this name with this password");
}
