//! Two hundred machines at once ask, claim, report and store, while the server is killed again and again: nothing is lost
//! and nothing is done twice.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]
#![allow(missing_docs)]

mod contract_peer;
mod lab;
mod store_fixture;

use contract_peer::{ADMINISTRATOR, Answer, Lab, Machine, PASSWORD, name};
use lab::Noise;
use lab::running::Server;
use remint::http::{Access, Secret};
use remint::image::ImageVersion;
use remint::server::make_administrator;
use remint::store::{OpenOptions, open};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use store_fixture::{Volume, capture};

const MACHINES: usize = 200;
const THREADS: usize = 24;
const AT_ONCE: usize = 7;
const EVENTS: u64 = 150;
/// The server is killed each time that so many more machines have begun.
const KILLED_AFTER: usize = 30;
/// How long a machine tries one request.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine's work: an image of its own to capture, or the common one to deploy.
struct Work {
    machine: Machine,
    job: u64,
    captures: Option<String>,
}

/// Sends until there is an answer that is not the server's failure.
fn stubborn(
    lab: &Lab,
    method: &Method,
    path: &str,
    token: &str,
    body: Option<&Value>,
    key: Option<&str>,
) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        match lab.try_send(method.clone(), path, token, body.cloned(), key) {
            Ok(answer) if answer.status < 500 => return answer,
            _ => assert!(Instant::now() < until, "{method} {path}: no answer"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn prepare(lab: &Lab) -> Vec<Work> {
    lab.settings(json!({"deploys_at_once": AT_ONCE, "captures_at_once": AT_ONCE}));
    let common = lab.image();
    let work = |number: usize| {
        let machine = lab.machine();
        let captures = number.is_multiple_of(2).then(|| name("own"));
        let (action, image) = match &captures {
            Some(image) => {
                lab.admin(Method::PUT, &format!("images/{image}"), json!({})).is(201);
                ("capture", image)
            }
            None => ("deploy", &common),
        };
        let job = lab.act(&machine, action, image);
        Work { machine, job, captures }
    };
    (0..MACHINES).map(work).collect()
}

/// Asks until the job is granted; its token.
fn claim(lab: &Lab, work: &Work) -> String {
    let introduction = work.machine.introduction();
    let session = stubborn(lab, &Method::POST, "sessions", "", Some(&introduction), None).is(200).body;
    assert_eq!(session["job"]["id"], work.job);
    let until = Instant::now() + PATIENCE;
    loop {
        let path = format!("jobs/{}/claim", work.job);
        let answer =
            stubborn(lab, &Method::POST, &path, session["token"].as_str().unwrap(), None, None).is(200);
        if answer.body["answer"] == "granted" {
            return answer.body["token"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "job {} waits for ever", work.job);
        thread::sleep(Duration::from_millis(50));
    }
}

/// Does a job as a machine does it on a bad day: it says everything, much of it twice.
fn carry_out(lab: &Lab, work: &Work) {
    let token = claim(lab, work);
    let mut noise = Noise::new(work.job);
    let mut next = 0;
    while next < EVENTS {
        let first = next.saturating_sub(noise.below(5));
        let count = (EVENTS - first).min(1 + noise.below(25));
        let event = |number: u64| json!({"time": "2026-11-27T12:00:00Z", "event": "warning", "subject": "d0", "message": format!("{} {number}", work.job)});
        let body = json!({"first": first, "events": (first..first + count).map(event).collect::<Vec<_>>()});
        let path = format!("jobs/{}/events", work.job);
        next = stubborn(lab, &Method::POST, &path, &token, Some(&body), None).is(200).body["next"]
            .as_u64()
            .unwrap();
    }
    if let Some(image) = &work.captures {
        let access = Access { token: Some(Secret::new(&token)), retry_for: PATIENCE, ..Access::default() };
        let store =
            open(&format!("{}/store", lab.url), &OpenOptions { access, ..OpenOptions::default() }).unwrap();
        let version: ImageVersion = format!("{image}@1").parse().unwrap();
        capture(&*store, &version, &Volume::new(1 + work.job % 3));
    }
    let finish = json!({"outcome": "done", "message": "done", "version": "1"});
    let (path, key) = (format!("jobs/{}/finish", work.job), format!("finish-{}", work.job));
    for _ in 0..2 {
        stubborn(lab, &Method::POST, &path, &token, Some(&finish), Some(&key)).is(204);
    }
}

fn judge(lab: &Lab, all: &[Work]) {
    let jobs = lab.get("jobs");
    let jobs: BTreeMap<u64, &Value> =
        jobs.as_array().unwrap().iter().map(|job| (job["id"].as_u64().unwrap(), job)).collect();
    assert_eq!(jobs.len(), MACHINES);
    let trail = lab.get("audit");
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for line in
        trail.as_array().unwrap().iter().filter_map(|line| line["what"].as_str()?.strip_suffix(": done"))
    {
        *ends.entry(line.to_owned()).or_default() += 1;
    }
    for work in all {
        let job = jobs[&work.job];
        assert_eq!((&job["state"], &job["outcome"]), (&json!("ended"), &json!("done")), "{job}");
        assert_eq!(ends[&format!("job {}", work.job)], 1, "ended once");
        let events = lab.get(&format!("jobs/{}/events", work.job));
        let said: Vec<(u64, &str)> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| (event["number"].as_u64().unwrap(), event["event"]["message"].as_str().unwrap()))
            .collect();
        let expected: Vec<(u64, String)> =
            (0..EVENTS).map(|number| (number, format!("{} {number}", work.job))).collect();
        assert!(
            said.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && a.1 == b.1) && said.len() == expected.len(),
            "{said:?}"
        );
        assert_eq!(lab.get(&format!("machines/{}", work.machine.name))["action"], Value::Null);
        if let Some(image) = &work.captures {
            let image = lab.get(&format!("images/{image}"));
            assert_eq!((&image["versions"], &image["protected"]), (&json!(["1"]), &json!(true)), "{image}");
        }
    }
}

/// Every image is whole: each chunk is there and is what its name says.
fn judge_store(lab: &Lab, all: &[Work]) {
    let access = Access { token: Some(Secret::new(&lab.admin)), ..Access::default() };
    let store =
        open(&format!("{}/store", lab.url), &OpenOptions { access, ..OpenOptions::default() }).unwrap();
    for work in all.iter().filter(|work| work.captures.is_some()).take(20) {
        let image = work.captures.as_ref().unwrap();
        let version: ImageVersion = format!("{image}@1").parse().unwrap();
        let volume = Volume::new(1 + work.job % 3);
        let ids: Vec<_> = volume.parts.iter().map(|part| remint::image::ChunkId::of(part)).collect();
        assert!(store.have_chunks(&ids).unwrap().iter().all(|present| *present));
        assert_eq!(store.get_file(&version, "d0-disk.caibx", 1 << 20).unwrap(), volume.index());
    }
}

#[test]
fn nothing_is_lost_or_done_twice_however_often_the_server_is_killed() {
    let data = lab::folder();
    make_administrator(data.path(), ADMINISTRATOR, PASSWORD).unwrap();
    let server = Server::start(data.path(), 0);
    let (port, url) = (server.port(), server.url.trim_end_matches("/store").to_owned());
    let lab = Lab::at(&url);
    let all = prepare(&lab);
    let (next, most, ended) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let server = Mutex::new(Some(server));
    let kills = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut noise = Noise::new(7);
            while !ended.load(Ordering::Relaxed) {
                // By what was begun, not by time: on a fast machine too it is killed in the middle.
                if next.load(Ordering::Relaxed) < KILLED_AFTER * (kills.load(Ordering::Relaxed) + 1) {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                }
                thread::sleep(Duration::from_millis(noise.below(150)));
                let mut server = server.lock().unwrap();
                drop(server.take());
                *server = Some(Server::start(data.path(), port));
                kills.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let open =
                    stubborn(&lab, &Method::GET, "admin/jobs?open=true", &lab.admin, None, None).is(200).body;
                let runs = |job: &&Value| job["state"] == "running" && job["operation"] == "deploy";
                most.fetch_max(open.as_array().unwrap().iter().filter(runs).count(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let machines: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(work) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                        carry_out(&lab, work);
                    }
                })
            })
            .collect();
        let done: Vec<_> = machines.into_iter().map(thread::ScopedJoinHandle::join).collect();
        ended.store(true, Ordering::Relaxed);
        assert!(done.iter().all(Result::is_ok), "a machine failed");
    });
    let (kills, most) = (kills.load(Ordering::Relaxed), most.load(Ordering::Relaxed));
    assert!(kills >= 4 && (1..=AT_ONCE).contains(&most), "{kills} kills, {most} at once");
    judge(&lab, &all);
    judge_store(&lab, &all);
}
