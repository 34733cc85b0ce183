//! A person's scripts run before and after a deploy: in their order, told what is deployed, never longer than their limit, and
//! what they fail at never leaves a target half written.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::running::{Ended, Running};
use lab::{MIB, text};
use nix::sys::signal::Signal;
use remint::progress::{Event, Phase};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SIZE: u64 = 8 * MIB;
const PARTITION: &str = "label: dos\nstart=2048, size=8192, type=83\n";

/// An image of a disk of noise, and a target of other noise.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: lab::folder() };
        let (disk, store) = (lab.path("disk.img"), lab.path("store"));
        let places = lab::partitioned_disk(&disk, SIZE, 512, PARTITION);
        lab::overwrite(&disk, places[0].start, &lab::Noise::new(1).bytes(places[0].length as usize));
        lab::remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);
        lab::noisy_disk(&lab.path("target.img"), SIZE);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A script, in the folder of the lab.
    fn script(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("set -eu\nlab='{}'\n{script}\n", text(self.folder.path()))).unwrap();
        path
    }

    fn start(&self, options: &[&str]) -> Running {
        let (store, target) = (self.path("store"), self.path("target.img"));
        let arguments = ["deploy", "lab", "--from", text(&store), "--disk", text(&target), "--yes"];
        Running::start(&[arguments.as_slice(), options].concat())
    }

    fn deploy(&self, options: &[&str]) -> Ended {
        self.start(options).end()
    }

    /// A deploy with one script.
    fn deploy_with(&self, flag: &str, script: &str, options: &[&str]) -> Ended {
        let script = self.script("script.sh", script);
        self.deploy(&[&[flag, text(&script)], options].concat())
    }

    /// The target holds the partition of the image, and a table with it.
    fn is_deployed(&self) {
        let (disk, target) = (self.path("disk.img"), self.path("target.img"));
        assert!(lab::bytes(&disk, MIB, 4 * MIB) == lab::bytes(&target, MIB, 4 * MIB));
        assert_eq!(lab::partitions(&target, 512).len(), 1);
    }

    fn target(&self) -> Vec<u8> {
        fs::read(self.path("target.img")).unwrap()
    }

    fn trace(&self) -> String {
        fs::read_to_string(self.path("trace")).unwrap_or_default()
    }
}

/// What a script said.
fn said(ended: &Ended) -> Vec<&str> {
    let lines = ended.events.iter().filter_map(|event| match event {
        Event::Script { message, .. } => Some(message.as_str()),
        _ => None,
    });
    lines.collect()
}

fn finished(ended: &Ended) -> &str {
    match ended.events.last() {
        Some(Event::Finished { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

/// Waits until a process is gone, or a corpse that nobody has asked about.
fn is_gone(pid: &str) {
    let since = Instant::now();
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !state().is_empty() && !state().contains(") Z ") {
        assert!(since.elapsed() < Duration::from_secs(10), "{pid} still runs: {}", state());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn scripts_run_in_their_order_and_are_told_what_is_deployed() {
    let lab = Lab::new();
    let before = lab.target();
    let first = lab.script(
        "first.sh",
        "echo \"first $REMINT_PHASE\" >>$lab/trace; cp \"$REMINT_DISK\" $lab/copy-before",
    );
    let second = lab.script(
        "second.sh",
        "echo \"second $REMINT_PHASE\" >>$lab/trace; ! read -r line; echo to a person >&2",
    );
    let after = lab.script(
        "after.sh",
        "echo \"after $REMINT_PHASE\" >>$lab/trace; cp \"$REMINT_DISK\" $lab/copy-after\n\
         env | sed 's/=.*//' | sort >$lab/names; cp $REMINT_SCHEMA $lab/schema; cp $REMINT_VOLUMES $lab/volumes\n\
         echo \"$REMINT_DISKS|$REMINT_IMAGE|$REMINT_VERSION|$REMINT_COMPUTER_NAME\" >$lab/values",
    );
    let ended = lab.deploy(&[
        "--script-after",
        text(&after),
        "--script-before",
        text(&first),
        "--script-before",
        text(&second),
    ]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    assert_eq!(lab.trace(), "first before-imaging\nsecond before-imaging\nafter after-imaging\n");
    assert!(fs::read(lab.path("copy-before")).unwrap() == before, "the target was untouched");
    assert!(fs::read(lab.path("copy-after")).unwrap() == lab.target(), "the target was complete");
    lab.is_deployed();
    assert_eq!(
        said(&ended),
        ["begins, before-imaging", "begins, before-imaging", "to a person", "begins, after-imaging"]
    );
    // Nothing of the caller's environment gets through.
    let names = fs::read_to_string(lab.path("names")).unwrap();
    let own = |name: &&str| {
        !name.starts_with("REMINT_") && !["LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)
    };
    assert_eq!(names.lines().filter(own).collect::<Vec<_>>(), Vec::<&str>::new());
    let values = fs::read_to_string(lab.path("values")).unwrap();
    let target = lab.path("target.img");
    assert!(values.starts_with(&format!("{}|lab|", text(&target))) && values.ends_with("|\n"), "{values}");
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(lab.path(name)).unwrap()).unwrap()
    };
    let volumes = json("volumes");
    let volume = volumes.as_array().unwrap().iter().find(|volume| volume["volume"] == "d0-p1").unwrap();
    assert_eq!((&volume["disk"], &volume["partition"]), (&text(&target).into(), &1.into()));
    assert_eq!((&volume["offset_bytes"], &volume["size_bytes"]), (&MIB.into(), &(4 * MIB).into()));
    assert_eq!(json("schema")[0]["number"], 0);
}

#[test]
fn before_imaging_a_fatal_script_leaves_the_target_alone_and_another_is_a_problem() {
    let lab = Lab::new();
    let before = lab::traces(&lab.path("target.img"));
    let later = lab.script("later.sh", "echo later >>$lab/trace");
    let options = ["--scripts-fatal", "--script-before", text(&later), "--script-after", text(&later)];
    let ended = lab.deploy_with("--script-before", "echo no such board; exit 7", &options);
    assert_eq!(ended.code, Some(1));
    let (message, changed) = ended.failure();
    assert!(message.contains("ended with exit code 7 (no such board); nothing was written"), "{message}");
    assert!(!changed && before == lab::traces(&lab.path("target.img")));
    assert_eq!(lab.trace(), "", "no other script runs");
    let ended = lab.deploy_with("--script-before", "exit 7", &options[1..]);
    assert_eq!(ended.code, Some(3));
    assert!(finished(&ended).contains("script.sh ended with exit code 7"), "{}", finished(&ended));
    assert_eq!(lab.trace(), "later\nlater\n");
    lab.is_deployed();
}

#[test]
fn after_imaging_the_disk_is_complete_whatever_a_script_does() {
    for (options, code) in [(&["--scripts-fatal"][..], 4), (&[], 3)] {
        let lab = Lab::new();
        let ended = lab.deploy_with("--script-after", "exit 1", options);
        assert_eq!(ended.code, Some(code));
        if code == 4 {
            let (message, changed) = ended.failure();
            assert!(changed && message.contains("ended with exit code 1; the disk is complete"), "{message}");
        } else {
            assert!(finished(&ended).contains("script.sh ended with exit code 1"));
        }
        lab.is_deployed();
    }
    // What else needs attention is told beside the script that failed.
    let lab = Lab::new();
    let ended = lab.deploy_with("--script-after", "exit 1", &["--scripts-fatal", "--computer-name", "pc-1"]);
    assert_eq!(ended.code, Some(4));
    let is_told =
        |event: &Event| matches!(event, Event::Warning { message, .. } if message.contains("called pc-1"));
    assert!(ended.events.iter().any(is_told), "{:?}", ended.events);
}

#[test]
fn a_script_ends_at_its_limit_with_all_that_it_started() {
    let lab = Lab::new();
    let since = Instant::now();
    let script = "sleep 300 & echo $! >$lab/pid; echo begun; sleep 300";
    let ended = lab.deploy_with("--script-before", script, &["--scripts-limit", "1"]);
    assert_eq!(ended.code, Some(3));
    assert!(since.elapsed() < Duration::from_secs(60));
    assert!(
        finished(&ended).contains("did not end within 1 seconds and was stopped (begun)"),
        "{}",
        finished(&ended)
    );
    is_gone(fs::read_to_string(lab.path("pid")).unwrap().trim());
    // What a script leaves behind at its own end is stopped too.
    let ended = lab.deploy_with("--script-after", "sleep 300 >/dev/null 2>&1 & echo $! >$lab/pid", &[]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.events.last());
    is_gone(fs::read_to_string(lab.path("pid")).unwrap().trim());
}

#[test]
fn a_script_that_prints_without_end_is_told_of_in_part() {
    let lab = Lab::new();
    let ended =
        lab.deploy_with("--script-before", "yes | head -n 100000; head -c 100000 /dev/zero; echo end", &[]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.events.last());
    let said = said(&ended);
    assert_eq!(said.len(), 2002);
    assert_eq!(said.last(), Some(&"(what else it prints is left out)"));
}

#[test]
fn a_request_to_stop_is_heard_while_a_script_runs() {
    let lab = Lab::new();
    let before = lab::traces(&lab.path("target.img"));
    let script = lab.script("script.sh", "echo asleep; sleep 300");
    let asleep = |event: &Event| matches!(event, Event::Script { message, .. } if message == "asleep");
    let since = Instant::now();
    let mut running = lab.start(&["--script-before", text(&script)]);
    running.wait_for(asleep);
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    let (message, changed) = ended.failure();
    assert!(
        !changed && message.contains("nothing was written") && message.contains("stopped on request"),
        "{message}"
    );
    assert!(before == lab::traces(&lab.path("target.img")));
    let more = lab.script("more.sh", "echo more >>$lab/trace");
    let mut running = lab.start(&["--script-after", text(&script), "--script-after", text(&more)]);
    running.wait_for(asleep);
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, Some(3), "{:?}", ended.events.last());
    let message = finished(&ended);
    assert!(message.contains("script.sh was stopped on request"), "{message}");
    assert!(message.contains("more.sh was not run, because somebody asked to stop"), "{message}");
    assert_eq!(lab.trace(), "");
    assert!(since.elapsed() < Duration::from_secs(120));
    lab.is_deployed();
}

#[test]
fn a_deploy_that_fails_runs_no_script_after_it() {
    let lab = Lab::new();
    let after = lab.script("after.sh", "echo after >>$lab/trace");
    remove_chunks(&lab.path("store"));
    let ended =
        lab.deploy_with("--script-before", "echo before >>$lab/trace", &["--script-after", text(&after)]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(lab.trace(), "", "what is known beforehand is checked before any script");
    assert!(
        !ended.events.iter().any(|event| matches!(event, Event::PhaseStarted { phase: Phase::Clear, .. }))
    );
    // What is there and wrong is found out while the target is written.
    let lab = Lab::new();
    let after = lab.script("after.sh", "echo after >>$lab/trace");
    for chunk in lab::chunk_files(&lab.path("store")).keys() {
        fs::write(lab.path("store").join(chunk), "no frame").unwrap();
    }
    let ended =
        lab.deploy_with("--script-before", "echo before >>$lab/trace", &["--script-after", text(&after)]);
    assert_eq!(ended.code, Some(4), "{:?}", ended.events.last());
    assert_eq!(lab.trace(), "before\n");
}

fn remove_chunks(store: &Path) {
    for chunk in lab::chunk_files(store).keys() {
        fs::remove_file(store.join(chunk)).unwrap();
    }
}
