//! A job without a person: whatever the server says or fails to say, the job ends, the server hears how, and a target is
//! whole or plainly unbootable.
#![cfg(feature = "server")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;
#[path = "unattended/office.rs"]
mod office;
#[path = "unattended/server.rs"]
mod server;

use lab::running::{Ended, Running, Server};
use lab::{MIB, remint_ends, text};
use nix::sys::signal::Signal;
use office::Office;
use remint::progress::{Event, Phase};
use serde_json::{Value, json};
use server::{JOB_TOKEN, Jobs, Script, granted, with_job};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A machine with disk files, and an image of one of them.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = lab::folder();
        let machine = json!({"macs": ["52:54:00:00:00:01"], "serial": "PC-1"});
        fs::write(folder.path().join("machine.json"), machine.to_string()).unwrap();
        Self { folder }
    }

    /// With a captured disk of noise.
    fn with_image(partition_bytes: u64) -> Self {
        let lab = Self::new();
        lab::disk_of_noise(&lab.path("disk.img"), partition_bytes);
        let (disk, store) = (lab.path("disk.img"), lab.path("store"));
        remint_ends(
            0,
            &["capture", "lab", "--to", text(&store), "--disk", text(&disk), "--compress", "none"],
        );
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A target that is as large as the disk, and bootable before: what is left must not be the old system, either.
    fn target(&self) -> PathBuf {
        let target = self.path("target.img");
        fs::copy(self.path("disk.img"), &target).unwrap();
        target
    }

    fn version(&self) -> String {
        let versions = fs::read_dir(self.path("store/images/lab")).unwrap();
        versions.map(|entry| entry.unwrap().file_name().into_string().unwrap()).max().unwrap()
    }

    /// A server with one job that deploys the image, with more in its profile.
    fn deploying(&self, target: &Path, completion: Value) -> Script {
        let profile = json!({"deploy": {"targets": [text(target)]}, "completion": completion});
        let job = granted("deploy", "/store", Some(&self.version()), profile);
        Script {
            session: with_job("deploy"),
            claims: VecDeque::from([job]),
            store: self.path("store"),
            ..Script::default()
        }
    }

    fn run(&self, url: &str, more: &[&str]) -> Running {
        let (machine, completion) = (self.path("machine.json"), self.path("completion"));
        let arguments =
            ["run", "--server", url, "--inventory", text(&machine), "--completion", text(&completion)];
        Running::start(&[arguments.as_slice(), more].concat())
    }

    fn completion(&self) -> String {
        fs::read_to_string(self.path("completion")).unwrap_or_default().trim().to_owned()
    }
}

/// What the server has of the events is what the console has, in order, but for progress that was thinned.
fn the_server_heard_all(ended: &Ended, script: &Script) {
    assert_eq!(script.faults, Vec::<String>::new());
    let heard = script.events.iter().map(|event| serde_json::from_value::<Event>(event.clone()).unwrap());
    let counts = |event: &Event| !matches!(event, Event::Advanced { .. } | Event::Note { .. });
    let heard: Vec<Event> = heard.filter(counts).collect();
    let shown: Vec<Event> = ended.events.iter().filter(|event| counts(event)).cloned().collect();
    let begin = shown.len() - heard.len();
    assert_eq!(shown[begin..], heard[..]);
    assert!(script.events.iter().all(|event| event["time"].as_str().is_some_and(|time| time.contains('T'))));
}

fn is_plainly_unbootable(target: &Path) {
    let size = fs::metadata(target).unwrap().len();
    for start in [0, size - MIB] {
        assert!(lab::bytes(target, start, MIB).iter().all(|byte| *byte == 0), "at {start}");
    }
    assert!(remint_ends(0, &["inspect", text(target)]).contains("No partition table"));
}

fn is_writing(script: &Script) -> bool {
    script.events.iter().any(|event| event["event"] == "advanced" && event["phase"] == "write")
}

#[test]
fn a_machine_waits_its_turn_and_deploys() {
    let lab = Lab::with_image(12 * MIB);
    let target = lab.target();
    lab::noisy_disk(&target, fs::metadata(lab.path("disk.img")).unwrap().len());
    let mut script = lab.deploying(&target, json!({"success": "poweroff"}));
    for ahead in [1, 2] {
        script.claims.push_front(json!({"answer": "queued", "ahead": ahead, "ask_again_seconds": 0}));
    }
    script.unauthorised = 1;
    let jobs = Jobs::start(script);
    let log = lab.path("machine.log");
    fs::write(&log, "remint: boot 3 s: network eth0\n").unwrap();
    let ended = lab.run(&jobs.url, &["--log", text(&log)]).end();
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    assert!(ended.out.contains("deployed lab@"), "{}", ended.out);
    let notes = ended.events.iter().filter_map(|event| match event {
        Event::Note { message } if message.contains(" waits: ") => Some(message.as_str()),
        _ => None,
    });
    assert_eq!(
        notes.collect::<Vec<_>>(),
        ["job 7 waits: 2 machines come first", "job 7 waits: 1 machine comes first"]
    );
    let script = jobs.script();
    the_server_heard_all(&ended, &script);
    assert_eq!(script.sessions, 2, "a session that has ended is begun anew once");
    let finish = script.finish.clone().unwrap();
    assert_eq!((&finish["outcome"], &finish["version"]), (&json!("done"), &json!(lab.version())));
    assert_eq!(script.events.last().unwrap()["event"], "finished");
    let mut keys = script.keys.clone();
    keys.sort_unstable();
    keys.dedup();
    // The claim that was refused and the one after it are the same request.
    assert_eq!(keys.len(), script.keys.len() - 1, "every other request has a key of its own");
    let log = script.log.clone().unwrap();
    assert!(log.contains("writing d0-p1") && !log.contains(JOB_TOKEN), "{log}");
    assert!(log.starts_with("remint: boot 3 s: network eth0\n"), "the machine's own log comes first: {log}");
    assert_eq!(lab.completion(), "poweroff");
    for start in [0, 6 * MIB, 13 * MIB] {
        assert!(
            lab::bytes(&target, start, MIB) == lab::bytes(&lab.path("disk.img"), start, MIB),
            "at {start}"
        );
    }
}

#[test]
fn scripts_of_a_profile_run_and_the_log_holds_what_they_print() {
    let lab = Lab::with_image(4 * MIB);
    let target = lab.target();
    let scripts = json!([
        {"when": "after-imaging", "text": "echo late; exit 1"},
        {"when": "before-imaging", "text": "echo early $REMINT_IMAGE", "priority": 5},
        {"when": "before-imaging", "text": "echo earlier", "priority": -5, "fatal": true},
    ]);
    let profile = json!({"deploy": {"targets": [text(&target)], "scripts": scripts}});
    let mut script = lab.deploying(&target, json!({}));
    script.claims = VecDeque::from([granted("deploy", "/store", Some(&lab.version()), profile)]);
    let jobs = Jobs::start(script);
    let ended = lab.run(&jobs.url, &[]).end();
    assert_eq!(ended.code, Some(3), "{:?}", ended.events);
    let script = jobs.script();
    the_server_heard_all(&ended, &script);
    assert_eq!(script.finish.clone().unwrap()["outcome"], "problems");
    let log = script.log.clone().unwrap();
    let at = |said: &str| log.find(said).unwrap_or_else(|| panic!("{said}: {log}"));
    let earlier = at("script number 3 of the profile: earlier");
    let early = at("script number 2 of the profile: early lab");
    let late = at("script number 1 of the profile: late");
    assert!(earlier < early && early < at("writing d0-p1") && at("writing d0-p1") < late, "{log}");
}

#[test]
fn without_a_job_the_machine_is_its_own() {
    let lab = Lab::new();
    let jobs = Jobs::start(Script { session: json!({}), ..Script::default() });
    let ended = lab.run(&jobs.url, &[]).end();
    assert_eq!((ended.code, lab.completion().as_str()), (Some(0), "local"));
    assert!(ended.out.contains("no job waits"), "{}", ended.out);
    jobs.script().session = json!({"on_demand": {"register": true}});
    assert_eq!((lab.run(&jobs.url, &[]).end().code, lab.completion().as_str()), (Some(0), "menu"));
    // One that was withdrawn between the question and the claim is none.
    jobs.script().session = with_job("deploy");
    let ended = lab.run(&jobs.url, &[]).end();
    assert_eq!((ended.code, lab.completion().as_str()), (Some(0), "local"));
    assert!(
        ended
            .events
            .iter()
            .any(|event| matches!(event, Event::Note { message } if message.contains("by anna")))
    );
    // Who waits asks again.
    let before = jobs.script().sessions;
    let running = lab.run(&jobs.url, &["--wait", "1"]);
    jobs.wait_until(|script| script.sessions >= before + 3);
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.failure().0.contains("nothing was changed"));
}

#[test]
fn a_server_that_is_none_or_of_another_time_is_named() {
    let lab = Lab::new();
    let jobs = Jobs::start(Script { protocols: vec![2, 3], ..Script::default() });
    let ended = lab.run(&jobs.url, &[]).end();
    assert!(
        ended
            .failure()
            .0
            .contains("scripted 1 speaks the protocol in version 2, 3, and this agent in version 1")
    );
    let ended = lab.run(&format!("{}/elsewhere", jobs.url), &[]).end();
    assert!(ended.failure().0.contains("is no Remint server that gives jobs"), "{:?}", ended.events);
    let ended = lab.run("http://127.0.0.1:1", &["--retry-for", "1"]).end();
    assert!(ended.failure().0.contains("127.0.0.1:1"), "{:?}", ended.events);
    assert_eq!((ended.code, lab.completion().as_str()), (Some(1), ""));
}

/// A job that leads to a write is understood whole, or nothing is written.
#[test]
fn what_is_not_understood_or_not_possible_changes_nothing_and_is_reported() {
    let lab = Lab::with_image(3 * MIB);
    let target = lab.target();
    let before = lab::traces(&target);
    let version = lab.version();
    let job = |profile: Value| granted("deploy", "/store", Some(&version), profile);
    let here = text(&target);
    let mut unknown = job(json!({}));
    unknown["burn_after_reading"] = json!(true);
    let mut other = job(json!({"deploy": {"targets": [here]}}));
    other["id"] = json!(8);
    for (job, part) in [
        (unknown, "burn_after_reading"),
        (job(json!({"deploy": {"targets": [here], "wipe": "twice"}})), "wipe"),
        (job(json!({"completion": {"success": "explode"}})), "explode"),
        (job(json!({"deploy": {"targets": [here], "keep": {"table": []}, "new_ids": true}})), "new_ids"),
        (job(json!({"deploy": {"targets": ["serial:NOBODY"]}})), "serial number NOBODY"),
        (job(json!({"deploy": {"targets": [here], "without": ["d0-p7"]}})), "d0-p7"),
        (granted("deploy", "/srv/../store", Some("1999Z"), json!({"deploy": {"targets": [here]}})), "store"),
        (
            granted("deploy", "file:///store", None, json!({"deploy": {"targets": [here]}})),
            "neither a path of the server",
        ),
        (other, "not the one that was offered"),
    ] {
        let claims = VecDeque::from([job]);
        let script =
            Script { session: with_job("deploy"), claims, store: lab.path("store"), ..Script::default() };
        let jobs = Jobs::start(script);
        let ended = lab.run(&jobs.url, &[]).end();
        assert_eq!(ended.code, Some(1), "{part}: {:?}", ended.events);
        let script = jobs.script();
        let finish = script.finish.clone().unwrap();
        assert_eq!((&finish["outcome"], &finish["target_changed"]), (&json!("failed"), &json!(false)));
        assert!(finish["message"].as_str().unwrap().contains(part), "{part}: {finish}");
        assert_eq!(script.events.last().unwrap()["event"], "failed");
        assert!(script.log.as_ref().unwrap().contains(part));
        assert_eq!(lab::traces(&target), before, "{part}");
    }
}

#[test]
fn a_job_that_is_cancelled_stops_in_time_and_leaves_nothing_bootable() {
    let lab = Lab::with_image(128 * MIB);
    let target = lab.target();
    let mut script = lab.deploying(&target, json!({"success": "reboot", "failure": "shell"}));
    script.chunk_delay = Duration::from_millis(400);
    let jobs = Jobs::start(script);
    let running = lab.run(&jobs.url, &[]);
    jobs.wait_until(is_writing);
    jobs.script().cancel = Some("by anna".to_owned());
    let asked = Instant::now();
    let ended = running.end();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!((ended.code, lab.completion().as_str()), (Some(4), "shell"));
    let script = jobs.script();
    the_server_heard_all(&ended, &script);
    let finish = script.finish.clone().unwrap();
    assert_eq!((&finish["outcome"], &finish["target_changed"]), (&json!("cancelled"), &json!(true)));
    assert!(finish["message"].as_str().unwrap().contains("by anna"), "{finish}");
    is_plainly_unbootable(&target);
}

#[test]
fn a_job_that_the_server_forgot_stops() {
    let lab = Lab::with_image(128 * MIB);
    let target = lab.target();
    let mut script = lab.deploying(&target, json!({}));
    script.chunk_delay = Duration::from_millis(400);
    let jobs = Jobs::start(script);
    let running = lab.run(&jobs.url, &[]);
    jobs.wait_until(is_writing);
    jobs.script().gone = true;
    let asked = Instant::now();
    let ended = running.end();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(ended.code, Some(4));
    assert!(ended.failure().0.contains("withdrawn by anna"), "{:?}", ended.failure());
    assert_eq!(jobs.script().finish, None);
    is_plainly_unbootable(&target);
}

#[test]
fn a_server_that_is_away_for_a_while_does_not_stop_a_deploy_and_hears_of_it_later() {
    let lab = Lab::with_image(64 * MIB);
    let target = lab.target();
    let mut script = lab.deploying(&target, json!({}));
    script.chunk_delay = Duration::from_millis(600);
    script.counts_from = 40;
    let jobs = Jobs::start(script);
    let mut running = lab.run(&jobs.url, &[]);
    jobs.wait_until(is_writing);
    jobs.script().away = true;
    running.wait_for(|event| matches!(event, Event::Warning { subject, message } if subject == "server" && message.contains("the work goes on")));
    running.wait_for(|event| matches!(event, Event::Finished { .. }));
    jobs.script().away = false;
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    let script = jobs.script();
    the_server_heard_all(&ended, &script);
    assert_eq!(script.finish.clone().unwrap()["outcome"], "done");
    assert_eq!(script.events.last().unwrap()["event"], "finished", "nothing comes after the end");
    assert!(script.events.iter().any(|event| event["event"] == "warning" && event["subject"] == "server"));
    let pauses: Vec<Duration> = script.heard.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() > 2, "{pauses:?}");
}

/// The store is the project's own server.
#[test]
fn a_capture_that_was_cut_off_goes_on() {
    let lab = Lab::new();
    let (disk, data) = (lab.path("disk.img"), lab.path("data"));
    lab::disk_of_noise(&disk, 48 * MIB);
    let store = Server::start(&data, 0);
    let job = |compression: &str| {
        let capture = json!({"disks": [text(&disk)], "compression": compression, "comment": "by a job"});
        granted("capture", &store.url, None, json!({"capture": capture}))
    };
    let script =
        Script { session: with_job("capture"), claims: VecDeque::from([job("19")]), ..Script::default() };
    let jobs = Jobs::start(script);
    let mut running = lab.run(&jobs.url, &[]);
    running.wait_for(|event| {
        matches!(event, Event::Advanced { phase: Phase::Capture, transferred_bytes: 500_000.., .. })
    });
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, None);
    assert_eq!(lab::published(&data.join("store")), 0);
    let stored = lab::chunk_files(&data.join("store"));
    {
        // The count goes on after the events that arrived.
        let mut script = jobs.script();
        script.counts_from += script.events.len() as u64;
        script.events.clear();
        script.claims = VecDeque::from([job("none")]);
    }
    let ended = lab.run(&jobs.url, &[]).end();
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    let after = lab::chunk_files(&data.join("store"));
    assert!(!stored.is_empty() && stored.iter().all(|(path, file)| after.get(path) == Some(file)));
    let script = jobs.script();
    the_server_heard_all(&ended, &script);
    let version = script.finish.clone().unwrap()["version"].as_str().unwrap().to_owned();
    let shown = remint_ends(0, &["images", &store.url, "show", &format!("lab@{version}")]);
    assert!(shown.contains("by a job"), "{shown}");
    remint_ends(0, &["verify", "lab", "--from", &store.url, "--deep"]);
}

/// The project's own server, from an administrator's word to the end, with the server killed in the middle.
#[test]
fn an_administrators_word_is_done_also_where_the_server_is_killed_meanwhile() {
    let lab = Lab::new();
    let (disk, target) = (lab.path("disk.img"), lab.path("target.img"));
    lab::disk_of_noise(&disk, 12 * MIB);
    lab::noisy_disk(&target, fs::metadata(&disk).unwrap().len());
    let profile = json!({
        "capture": {"disks": [text(&disk)], "compression": "19"},
        "deploy": {"targets": [text(&target)]},
        "completion": {"success": "poweroff"},
    });
    let mut office = Office::open(lab.folder.path(), &profile);
    assert!(lab.run(&office.url, &[]).end().out.contains("pc-01: no job waits"));

    office.admin(&["action", "pc-01", "capture"]);
    let mut running = lab.run(&office.url, &[]);
    running.wait_for(|event| matches!(event, Event::Advanced { transferred_bytes: 500_000.., .. }));
    office.restart();
    let ended = running.end();
    assert_eq!((ended.code, lab.completion().as_str()), (Some(0), "poweroff"), "{:?}", ended.events);
    let job = office.admin(&["jobs", "show", "1"]);
    assert_eq!((&job["state"], &job["outcome"]), (&json!("ended"), &json!("done")), "{job}");
    let events = office.admin(&["jobs", "events", "1"]);
    assert_eq!(events.as_array().unwrap().last().unwrap()["event"]["event"], "finished", "{events}");

    office.admin(&["action", "pc-01", "deploy"]);
    let ended = lab.run(&office.url, &[]).end();
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    for start in [0, 6 * MIB, 13 * MIB] {
        assert!(lab::bytes(&target, start, MIB) == lab::bytes(&disk, start, MIB), "at {start}");
    }
    assert!(lab.run(&office.url, &[]).end().out.contains("pc-01: no job waits"), "the action clears itself");

    office.admin(&["images", "set", "lab", "--protected", "false"]);
    lab::disk_of_noise(&disk, 48 * MIB);
    office.admin(&["action", "pc-01", "capture"]);
    let mut running = lab.run(&office.url, &[]);
    running.wait_for(|event| matches!(event, Event::Advanced { transferred_bytes: 500_000.., .. }));
    // A fast machine would be done before it asks again.
    running.signal(Signal::SIGSTOP);
    office.admin(&["jobs", "cancel", "3"]);
    // It speaks to the server every two seconds: now it is its turn.
    std::thread::sleep(Duration::from_secs(2));
    let asked = Instant::now();
    running.signal(Signal::SIGCONT);
    let ended = running.end();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(ended.code, Some(1), "{:?}", ended.events);
    let job = office.admin(&["jobs", "show", "3"]);
    assert_eq!(job["outcome"], "cancelled", "{job}");
    assert_eq!(lab::published(&lab.path("data/store")), 1);
}
