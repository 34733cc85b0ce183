//! What a machine talks to: the project's own server, and the folder that `scripts/pxe` makes for it.

use super::qemu::mac;
use super::scenario::{Boot, Scenario, Server};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// How the emulated network calls this machine.
const HOST: &str = "10.0.2.2";
/// Of every administrator: `{folder}/password` holds it.
const PASSWORD: &str = "correct horse battery\n";

pub struct Site {
    server: Option<Child>,
    /// What the server is started with, but where it listens.
    serve: Vec<String>,
    port: u16,
    folder: PathBuf,
    pub tftp: PathBuf,
    values: Vec<(&'static str, String)>,
}

impl Site {
    /// Starts the server and makes the boot folder.
    pub fn new(scenario: &Scenario, folder: &Path) -> Self {
        let folder_of_site = folder.to_owned();
        let tftp = folder.join("pxe");
        let mut site =
            Self { server: None, serve: vec![], port: 0, folder: folder_of_site, tftp, values: vec![] };
        std::fs::create_dir(&site.tftp).unwrap();
        if scenario.server != Server::None {
            site.first_server(scenario, folder);
        }
        site.serve(scenario);
        site
    }

    /// Makes the boot folder, for this machine.
    pub fn serve(&self, scenario: &Scenario) {
        if scenario.boot == Boot::Network {
            self.make_boot_folder(scenario);
        }
        for (name, text) in &scenario.files {
            let path = self.tftp.join(self.fill(name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, self.fill(text).trim_start()).unwrap();
        }
        for name in &scenario.without {
            std::fs::remove_file(self.tftp.join(name)).unwrap();
        }
        std::fs::write(self.folder.join("password"), PASSWORD).unwrap();
        scenario.administrator.iter().for_each(|command| drop(self.administer(command)));
    }

    /// Types a command at the server's side, with a home of its own for what it keeps. What it prints.
    pub fn administer(&self, command: &str) -> String {
        let words: Vec<String> = command.split_whitespace().map(|word| self.fill(word)).collect();
        let mut remint = Command::new(env!("CARGO_BIN_EXE_remint"));
        remint
            .args(&words)
            .env("HOME", &self.folder)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME");
        let output = remint.env("REMINT_SERVER", self.fill("{here}")).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "remint {command}: {said}{printed}");
        printed
    }

    fn first_server(&mut self, scenario: &Scenario, folder: &Path) {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut words = vec!["--data".to_owned(), path(&folder.join("data"))];
        words.extend(["--boot".to_owned(), path(&self.tftp)]);
        let mut scheme = "http";
        if scenario.server == Server::Https {
            scheme = "https";
            let names = vec![HOST.to_owned()];
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
            std::fs::write(&certificate, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            words.extend(["--tls-cert".to_owned(), path(&certificate)]);
            words.extend(["--tls-key".to_owned(), path(&key)]);
            use sha2::Digest;
            let digest = sha2::Sha256::digest(made.cert.der());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            self.values.push(("{fingerprint}", digest));
        }
        self.serve = words;
        self.start_server();
        self.values.push(("{server}", format!("{scheme}://{HOST}:{}", self.port)));
        self.values.push(("{here}", format!("{scheme}://127.0.0.1:{}", self.port)));
    }

    /// Kills the server, and starts it again at the same address and with the same data.
    pub fn restart_server(&mut self, away: Duration) {
        if let Some(server) = &mut self.server {
            server.kill().unwrap();
            server.wait().unwrap();
        }
        std::thread::sleep(away);
        self.start_server();
    }

    /// Starts the server at its port; at a free one for the first time.
    fn start_server(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_remint"));
        command.args(["serve", "--listen", &listen]).args(&self.serve).stdout(Stdio::piped());
        let server = self.server.insert(command.spawn().unwrap());
        let output = server.stdout.take().unwrap();
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let line = said.recv_timeout(Duration::from_secs(20)).expect("the server starts");
        let port = line.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap();
        self.port = port.parse().unwrap();
    }

    fn make_boot_folder(&self, scenario: &Scenario) {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/pxe"));
        // Without a server of this machine the boot script looks for one beside the TFTP server.
        if scenario.server != Server::None {
            command.args(["--server", &self.fill("{server}")]);
        }
        command.args(["--arguments", &self.fill(&scenario.command_line), "--output"]).arg(&self.tftp);
        let output = command.output().unwrap();
        assert!(output.status.success(), "scripts/pxe: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A text with the values of this site put in.
    pub fn fill(&self, text: &str) -> String {
        let mut text = text.replace("{mac}", &mac(0).replace(':', "-"));
        text = text.replace("{folder}", self.folder.to_str().unwrap());
        for (name, value) in &self.values {
            text = text.replace(name, value);
        }
        text
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
