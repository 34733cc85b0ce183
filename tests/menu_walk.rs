//! A person at a terminal: logs in, registers the machine, captures a disk and deploys it to another one, with a real
//! server and a real terminal (tmux) of 80 columns and 25 lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod lab;

use lab::{Kind, MIB, text};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F"] };
const PASSWORD: &str = "correct horse";
const PATIENCE: Duration = Duration::from_secs(120);

struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let password = folder.join("password");
        fs::write(&password, PASSWORD).unwrap();
        let (data, remint) = (folder.join("data"), env!("CARGO_BIN_EXE_remint"));
        lab::run(remint, &["admin", "init", "--data", text(&data), "--password-file", text(&password)]);
        Self::start_again(folder, "127.0.0.1:0")
    }

    fn start_again(folder: &Path, listen: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_remint"))
            .args(["serve", "--listen", listen, "--data", text(&folder.join("data"))])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains("http://"))).unwrap();
        let port = line.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A terminal with a person before it.
struct Person {
    socket: PathBuf,
}

impl Person {
    fn sits_down(folder: &Path, command: &str) -> Self {
        let person = Self { socket: folder.join("terminal") };
        person.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "25", command]);
        person
    }

    fn tmux(&self, words: &[&str]) -> String {
        lab::run("tmux", &[&["-S", text(&self.socket)], words].concat())
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits for a text on the screen.
    fn sees(&self, wanted: &str) {
        let begun = Instant::now();
        while !self.screen().contains(wanted) {
            assert!(begun.elapsed() < PATIENCE, "\"{wanted}\" was not shown:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn presses(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn types(&self, what: &str) {
        self.tmux(&["send-keys", "-l", "--", what]);
    }
}

impl Person {
    /// As the administrator; what happens behind Enter is the caller's.
    fn fills_in_the_login(&self, password: &str) {
        self.types("admin");
        self.presses("Tab");
        self.types(password);
    }

    /// From the first screen to the disks that are captured into a new image.
    fn captures_into(&self, image: &str) {
        self.sees("c  capture this machine");
        self.presses("c");
        self.presses("n");
        self.sees("Name of the image");
        self.types(image);
        self.presses("Enter");
        self.sees(&format!("Which disk is captured into {image}?"));
    }

    /// From the chosen disks to the end of the capture.
    fn agrees_to_the_capture(&self) {
        self.presses("Enter");
        self.sees("What capturing");
        self.presses("Enter");
        self.sees("Done.");
        self.presses("Enter");
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// There is an image for the machine's model. It would get it and be registered for it, were nobody there to choose.
fn an_image_is_for_its_model(folder: &Path, url: &str, disk: &Path) {
    let (store, password) = (folder.join("data/store"), folder.join("password"));
    for words in [
        vec!["capture", "other", "--to", text(&store), "--disk", text(disk), "--quiet"],
        vec!["admin", "login", "admin", "--password-file", text(&password)],
        vec!["admin", "profiles", "set", "other/default", "--for", "equals:Walker 7"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remint"));
        command.args(&words).env("HOME", folder).env_remove("XDG_STATE_HOME").env("REMINT_SERVER", url);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_person_registers_captures_and_deploys_at_a_terminal() {
    let folder = lab::folder();
    let (source, target, tree) =
        (folder.path().join("source"), folder.path().join("target"), folder.path().join("files"));
    fs::create_dir_all(tree.join("deep")).unwrap();
    for number in 0..20 {
        fs::write(tree.join(format!("deep/file-{number}")), lab::Noise::new(number).bytes(30_000)).unwrap();
    }
    fs::write(tree.join("noise-65536"), lab::Noise::new(99).bytes(65536)).unwrap();
    fs::create_dir(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/hostname"), "golden\n").unwrap();
    let place = lab::partitioned_disk(&source, 100 * MIB, 512, "label: gpt\nsize=64MiB\n")[0];
    let part = folder.path().join("part");
    EXT4.build(&part, place.length, &tree);
    lab::put(&source, place.start, &part);
    lab::noisy_disk(&target, 120 * MIB);
    let inventory = folder.path().join("inventory");
    fs::write(&inventory, r#"{"macs": ["52:54:00:00:00:17"], "vendor": "Lab", "model": "Walker 7"}"#)
        .unwrap();

    let server = Server::start(folder.path());
    an_image_is_for_its_model(folder.path(), &server.url, &source);
    let command = format!(
        "{} menu --server {} --inventory {} --disk {} --disk {}",
        env!("CARGO_BIN_EXE_remint"),
        server.url,
        text(&inventory),
        text(&source),
        text(&target)
    );
    let person = Person::sits_down(folder.path(), &command);
    person.sees("not registered   Lab Walker 7");
    person.sees("l  log in");
    person.presses("l");
    person.fills_in_the_login("wrong password");
    person.presses("Enter");
    person.sees(" ! ");
    person.fills_in_the_login(PASSWORD);
    assert!(!person.screen().contains(PASSWORD));
    person.presses("Enter");
    person.sees("g  register this machine");
    person.presses("g");
    person.types("pc-17");
    person.presses("Enter");
    person.sees("now registered as pc-17");

    person.captures_into("lab");
    person.agrees_to_the_capture();

    person.sees("d  deploy an image");
    person.presses("d");
    person.sees("profiles:");
    person.presses("Enter");
    person.sees("Onto which disk is lab deployed?");
    person.presses("Down");
    person.presses("Enter");
    person.sees("Which name does this computer get with lab?");
    person.types("walker_7");
    person.presses("Enter");
    person.sees("'_' is none of the");
    person.presses("BSpace");
    person.presses("BSpace");
    person.types("-7");
    person.presses("Enter");
    person.sees("What deploying lab onto");
    person.presses("Enter");
    person.sees("type the name of the disk");
    let before = fs::read(&target).unwrap();
    person.types(text(&source));
    person.presses("Enter");
    person.sees("nothing was changed");
    assert!(before == fs::read(&target).unwrap(), "another disk's name began the work");
    person.types(text(&target));
    person.presses("Enter");
    person.sees("Done.");
    person.presses("Enter");
    person.sees("q  leave the menu");
    person.presses("q");

    let deployed = lab::partitions(&target, 512)[0];
    EXT4.check(&target, deployed.start, deployed.length);
    let mount = lab::Mount::new(&target, deployed.start, deployed.length, EXT4.family, true);
    assert_eq!(fs::read_to_string(mount.path().join("etc/hostname")).unwrap(), "walker-7\n");
    drop(mount);
    let but_the_name = |disk: &Path, place: lab::Place| {
        let mut files = EXT4.files(disk, place.start, place.length);
        assert!(files.remove("etc/hostname").is_some(), "{files:?}");
        files
    };
    let (was, is) = (but_the_name(&source, place), but_the_name(&target, deployed));
    assert!(was.len() >= 20, "{was:?}");
    assert_eq!(was, is);
}

#[test]
fn a_person_captures_two_disks_together_and_deploys_them_onto_two_others() {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    let disks = ["source-a", "source-b", "target-a", "target-b"].map(path);
    let (tree, part) = (path("files"), path("part"));
    fs::create_dir_all(tree.join("deep")).unwrap();
    let mut sources = Vec::new();
    for (number, disk) in (1..).zip(&disks[..2]) {
        fs::write(tree.join(format!("deep/of-{number}")), lab::Noise::new(number).bytes(30_000)).unwrap();
        fs::write(tree.join("noise-65536"), lab::Noise::new(99).bytes(65536)).unwrap();
        let script = format!("label: gpt\nsize={}MiB\n", 20 * number);
        let place = lab::partitioned_disk(disk, (10 + 20 * number) * MIB, 512, &script)[0];
        EXT4.build(&part, place.length, &tree);
        lab::put(disk, place.start, &part);
        sources.push(EXT4.files(disk, place.start, place.length));
    }
    // Each fits on one of the targets only.
    lab::noisy_disk(&disks[2], 40 * MIB);
    lab::noisy_disk(&disks[3], 60 * MIB);
    let inventory = path("inventory");
    fs::write(&inventory, r#"{"macs": ["52:54:00:00:00:19"], "vendor": "Lab", "model": "Walker 9"}"#)
        .unwrap();
    let server = Server::start(folder.path());
    let shown: String = disks.iter().map(|disk| format!(" --disk {}", text(disk))).collect();
    let command = format!(
        "{} menu --server {} --inventory {}{shown}",
        env!("CARGO_BIN_EXE_remint"),
        server.url,
        text(&inventory)
    );
    let person = Person::sits_down(folder.path(), &command);
    person.sees("l  log in");
    person.presses("l");
    person.fills_in_the_login(PASSWORD);
    person.presses("Enter");
    person.captures_into("pair");
    person.sees("Space chooses several");
    for key in ["Space", "Down", "Space"] {
        person.presses(key);
    }
    person.sees("Which disks are captured into pair?");
    person.agrees_to_the_capture();

    person.sees("d  deploy an image");
    person.presses("d");
    person.sees("2 disks");
    person.presses("Enter");
    person.sees("Onto which disk is pair deployed?");
    for key in ["Down", "Down", "Space", "Down", "Space", "Enter"] {
        person.presses(key);
    }
    person.sees("Which name does this computer get with pair?");
    person.presses("Enter");
    person.sees("What deploying pair onto");
    person.presses("Enter");
    person.sees("type the names of the disks");
    let before = disks[2..].iter().map(|disk| lab::hash_of(disk)).collect::<Vec<_>>();
    person.types(text(&disks[2]));
    person.presses("Enter");
    person.sees("nothing was changed");
    assert_eq!(before, disks[2..].iter().map(|disk| lab::hash_of(disk)).collect::<Vec<_>>());
    person.types(&format!("{} {}", text(&disks[2]), text(&disks[3])));
    person.presses("Enter");
    person.sees("Done.");
    person.presses("Enter");
    person.sees("q  leave the menu");
    person.presses("q");
    for (disk, files) in disks[2..].iter().zip(&sources) {
        let place = lab::partitions(disk, 512)[0];
        EXT4.check(disk, place.start, place.length);
        assert_eq!(EXT4.files(disk, place.start, place.length), *files);
    }
}

#[test]
fn a_terminal_that_changes_its_size_and_a_server_that_goes_and_comes_are_survived() {
    let folder = lab::folder();
    let disk = folder.path().join("disk");
    lab::partitioned_disk(&disk, 20 * MIB, 512, "label: gpt\nsize=8MiB\n");
    let inventory = folder.path().join("inventory");
    fs::write(&inventory, r#"{"macs": ["52:54:00:00:00:18"], "model": "Walker 8"}"#).unwrap();
    let mut server = Server::start(folder.path());
    let command = format!(
        "{} menu --server {} --inventory {} --disk {}",
        env!("CARGO_BIN_EXE_remint"),
        server.url,
        text(&inventory),
        text(&disk)
    );
    let person = Person::sits_down(folder.path(), &command);
    person.sees("l  log in");
    person.tmux(&["resize-window", "-x", "40", "-y", "12"]);
    person.sees("needs a terminal of 60");
    person.tmux(&["resize-window", "-x", "60", "-y", "16"]);
    person.sees("l  log in");
    person.tmux(&["resize-window", "-x", "132", "-y", "43"]);
    person.sees(&"-".repeat(132));

    // In the middle of a login.
    person.presses("l");
    person.fills_in_the_login(PASSWORD);
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    person.presses("Enter");
    person.sees("no server:");
    person.sees("the server does not answer");
    // This machine can be looked at as before.
    person.presses("Escape");
    person.presses("k");
    person.sees("Disks of this machine");
    person.sees("GPT, no file system");
    person.presses("Escape");
    person.sees("a  ask the server again");
    let listen = server.url.trim_start_matches("http://").to_owned();
    server = Server::start_again(folder.path(), &listen);
    person.presses("a");
    person.sees(&format!("server: {}", server.url));
    person.sees("l  log in");
    person.presses("q");
}
