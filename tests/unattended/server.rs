//! A server of jobs that does what a test wants: the contract of docs/protocol.md with every answer under control, also those
//! that a good server never gives. Images come from a folder, as slowly as a test needs.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the server is told and what it was told.
#[derive(Default)]
pub struct Script {
    /// Versions of the protocol; 1 where there are none.
    pub protocols: Vec<u32>,
    /// What a session says besides its token.
    pub session: Value,
    /// Answers to claims; the last stays.
    pub claims: VecDeque<Value>,
    /// How many claims are first answered with 401.
    pub unauthorised: u32,
    /// The number of the first event.
    pub counts_from: u64,
    /// Why the job is to stop.
    pub cancel: Option<String>,
    /// The job is not there any more.
    pub gone: bool,
    /// Everything but the store is answered with 503.
    pub away: bool,
    /// Where chunks and images lie, and how long each chunk takes.
    pub store: PathBuf,
    pub chunk_delay: Duration,
    /// What artefacts hold, by their names; the statuses of the next answers for parts of them, 0 for a good one.
    pub artefacts: BTreeMap<String, Vec<u8>>,
    pub part_statuses: VecDeque<u16>,
    pub parts: u32,
    /// Events by their number, without gaps.
    pub events: Vec<Value>,
    /// Batches behind a gap, and events that came twice.
    pub faults: Vec<String>,
    /// When something was last heard of the job.
    pub heard: Vec<Instant>,
    pub sessions: u32,
    pub keys: Vec<String>,
    pub log: Option<String>,
    pub finish: Option<Value>,
}

#[derive(Clone)]
pub struct Jobs {
    script: Arc<Mutex<Script>>,
    pub url: String,
}

pub const JOB_TOKEN: &str = "token-of-the-job";
const SESSION_TOKEN: &str = "token-of-the-session";

impl Jobs {
    pub fn start(script: Script) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let script = Arc::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, Router::new().fallback(answer).with_state(shared)).await.unwrap();
            });
        });
        Self { script, url }
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Waits until something is so.
    pub fn wait_until(&self, so: impl Fn(&Script) -> bool) {
        let begun = Instant::now();
        while !so(&self.script()) {
            assert!(
                begun.elapsed() < super::lab::running::PATIENCE,
                "it did not happen: {:#?}",
                self.script().events
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A job as the server gives it.
pub fn granted(operation: &str, store: &str, version: Option<&str>, profile: Value) -> Value {
    json!({
        "answer": "granted", "id": 7, "operation": operation, "image": "lab", "version": version,
        "store": store, "token": JOB_TOKEN, "profile": profile,
    })
}

/// A session of a machine that has a job.
pub fn with_job(operation: &str) -> Value {
    json!({
        "machine": {"id": 1, "name": "pc1"},
        "job": {"id": 7, "operation": operation, "image": "lab", "profile": "default"},
    })
}

type Shared = Arc<Mutex<Script>>;

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    if let Some(file) = path.strip_prefix("/store/") {
        let (file, delay) = {
            let script = shared.lock().unwrap();
            (script.store.join(file), script.chunk_delay)
        };
        if method == Method::POST && path == "/store/chunks/present" {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let present = vec![true; asked["chunks"].as_array().unwrap().len()];
            return said(&json!({ "present": present }));
        }
        if path.contains("/chunks/") && method == Method::GET {
            tokio::time::sleep(delay).await;
        }
        return match std::fs::read(file) {
            Ok(bytes) => bytes.into_response(),
            Err(_) => problem(404, "there is no such file"),
        };
    }
    let mut script = shared.lock().unwrap();
    if script.away {
        return problem(503, "the server is being restarted");
    }
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some(key) = headers.get("idempotency-key") {
        script.keys.push(key.to_str().unwrap().to_owned());
    }
    let job = path.strip_prefix("/api/v1/jobs/7/");
    let expected = match job {
        None => "",
        Some("claim") => SESSION_TOKEN,
        Some(_) => JOB_TOKEN,
    };
    assert!(expected.is_empty() || shown == format!("Bearer {expected}"), "{path}: {shown}");
    match (method.as_str(), path.as_str(), job) {
        ("GET", "/api/v1/hello", _) => {
            let protocols = if script.protocols.is_empty() { vec![1] } else { script.protocols.clone() };
            said(
                &json!({"protocols": protocols, "server": "scripted 1", "time": "2026-11-27T12:00:00Z", "more": 1}),
            )
        }
        ("POST", "/api/v1/sessions", _) => {
            script.sessions += 1;
            let request: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(request["machine"]["macs"], json!(["52:54:00:00:00:01"]));
            let mut session = script.session.clone();
            session["token"] = json!(SESSION_TOKEN);
            session["expires"] = json!("2026-11-27T13:00:00Z");
            said(&session)
        }
        ("POST", _, Some("claim")) => claim(&mut script),
        ("GET", _, Some(part)) if part.starts_with("artefacts/") => {
            let range = headers[header::RANGE].to_str().unwrap().trim_start_matches("bytes=").to_owned();
            artefact_part(&mut script, part.trim_start_matches("artefacts/"), &range)
        }
        (_, _, Some(_)) if script.gone => problem(410, "job 7 was withdrawn by anna"),
        ("POST", _, Some("events")) => events(&mut script, &body),
        ("PUT", _, Some("log")) => {
            script.log = Some(String::from_utf8(body.to_vec()).unwrap());
            StatusCode::NO_CONTENT.into_response()
        }
        ("POST", _, Some("finish")) => {
            script.finish = Some(serde_json::from_slice(&body).unwrap());
            StatusCode::NO_CONTENT.into_response()
        }
        _ => problem(404, "there is nothing"),
    }
}

fn claim(script: &mut Script) -> Response {
    if script.unauthorised > 0 {
        script.unauthorised -= 1;
        return problem(401, "the session has ended");
    }
    let answer =
        if script.claims.len() > 1 { script.claims.pop_front() } else { script.claims.front().cloned() };
    answer.map_or_else(|| problem(410, "job 7 was withdrawn by anna"), |answer| said(&answer))
}

fn artefact_part(script: &mut Script, name: &str, range: &str) -> Response {
    script.parts += 1;
    match script.part_statuses.pop_front() {
        None | Some(0) => {}
        Some(status) => return problem(status, "not this time"),
    }
    let Some(bytes) = script.artefacts.get(name) else { return problem(404, "there is no such artefact") };
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let part = bytes.get(first..bytes.len().min(last + 1)).unwrap_or_default().to_vec();
    (StatusCode::PARTIAL_CONTENT, part).into_response()
}

/// Takes events as a server has to: each once, in order, and none behind a gap.
fn events(script: &mut Script, body: &[u8]) -> Response {
    let batch: Value = serde_json::from_slice(body).unwrap();
    let first = batch["first"].as_u64().unwrap();
    script.heard.push(Instant::now());
    for (number, event) in (first..).zip(batch["events"].as_array().unwrap()) {
        let next = script.counts_from + script.events.len() as u64;
        if number == next {
            script.events.push(event.clone());
        } else if number > next {
            script.faults.push(format!("event {number} came where {next} is expected"));
        } else if script.events.get((number - script.counts_from) as usize) != Some(event) {
            script.faults.push(format!("event {number} was another one before: {event}"));
        }
    }
    let next = script.counts_from + script.events.len() as u64;
    said(&json!({"next": next, "cancel": script.cancel, "more": "later"}))
}

fn said(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn problem(status: u16, detail: &str) -> Response {
    let body = json!({"title": "refused", "status": status, "detail": detail, "kind": "refused"});
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
