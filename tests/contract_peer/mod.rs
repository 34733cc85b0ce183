//! Who talks to a server of jobs in tests: administrators and machines. Every exchange is held against docs/openapi.json.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod openapi;

use remint::http::{Access, Secret};
use remint::image::{ImageVersion, Store};
use remint::server::{RunningServer, ServeOptions, make_administrator, start};
use remint::store::{OpenOptions, open};
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

pub const ADMINISTRATOR: &str = "root";
pub const PASSWORD: &str = "correct horse";

/// Tests that share a server take turns: a setting is the whole server's.
static TURN: Mutex<()> = Mutex::new(());

/// A server: the one that `REMINT_CONTRACT_URL` names, or one of ours.
pub struct Lab {
    pub url: String,
    client: Client,
    /// The administrator's token.
    pub admin: String,
    ours: Option<(TempDir, RunningServer)>,
    shared: Option<Shared>,
}

/// What belongs to everybody: the settings as they were, which come back in the end.
struct Shared {
    settings: Value,
    _turn: MutexGuard<'static, ()>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub text: String,
    pub retry_after: Option<u64>,
}

impl Answer {
    /// The answer, which has to have this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// A refusal with this status, whose sentence holds this text.
    #[track_caller]
    pub fn refuses(self, status: u16, part: &str) {
        let answer = self.is(status);
        let detail = answer.body["detail"].as_str().unwrap_or_else(|| panic!("no problem: {}", answer.text));
        assert!(detail.contains(part), "\"{detail}\" does not say \"{part}\"");
        assert_eq!(answer.body["status"], status, "{detail}");
    }
}

fn client() -> Client {
    // Another test may have done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap()
}

/// A name that nobody else has, and that is no part of another one.
pub fn name(beginning: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{beginning}-{:x}-{}x", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A hardware address that nobody else has.
pub fn mac() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let [.., a, b] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [c, d, e, _] = std::process::id().to_le_bytes();
    format!("52:{c:02x}:{d:02x}:{e:02x}:{a:02x}:{b:02x}")
}

impl Lab {
    pub fn new() -> Self {
        let client = client();
        let given = |name: &str| std::env::var(name).ok();
        let (url, user, password, ours) = match given("REMINT_CONTRACT_URL") {
            Some(url) => {
                let user = given("REMINT_CONTRACT_USER").expect("REMINT_CONTRACT_USER");
                (url, user, given("REMINT_CONTRACT_PASSWORD").expect("REMINT_CONTRACT_PASSWORD"), None)
            }
            None => {
                let data = tempfile::tempdir().unwrap();
                make_administrator(data.path(), ADMINISTRATOR, PASSWORD).unwrap();
                let options = ServeOptions::new(data.path().to_owned(), "127.0.0.1:0".parse().unwrap());
                let server = start(&options).unwrap();
                (server.url(), ADMINISTRATOR.to_owned(), PASSWORD.to_owned(), Some((data, server)))
            }
        };
        let url = url.trim_end_matches('/').to_owned();
        let mut lab = Self { url, client, admin: String::new(), ours, shared: None };
        let turn = (!lab.is_ours()).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        lab.admin = lab.log_in(&user, &password);
        lab.shared = turn.map(|turn| Shared { settings: lab.get("settings"), _turn: turn });
        if lab.shared.is_some() {
            // What other tests began runs there for ever, and no test is about so many at once.
            lab.settings(
                json!({"deploys_at_once": 100_000, "captures_at_once": 100_000, "model_match": true}),
            );
        }
        lab
    }

    /// A lab at a server that somebody else started.
    pub fn at(url: &str) -> Self {
        let client = client();
        let mut lab = Self { url: url.to_owned(), client, admin: String::new(), ours: None, shared: None };
        lab.admin = lab.log_in(ADMINISTRATOR, PASSWORD);
        lab
    }

    /// True where the server is ours and starts empty.
    pub fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    pub fn log_in(&self, user: &str, password: &str) -> String {
        let body = json!({"user": user, "password": password});
        let answer = self.send(Method::POST, "admin/login", "", Some(body)).is(200);
        answer.body["token"].as_str().unwrap().to_owned()
    }

    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    /// A request below `/api/v1/`, with its answer; both as the description says.
    pub fn send(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        self.send_once(method, path, token, body, None)
    }

    pub fn send_once(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Answer {
        self.try_send(method, path, token, body, key).unwrap()
    }

    /// The same, where the server may not be there.
    pub fn try_send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Result<Answer, reqwest::Error> {
        let full = format!("/api/v1/{path}");
        let mut request = self.request(method.clone(), &full, token);
        if let Some(body) = &body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send()?;
        let status = response.status().as_u16();
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let content_type = header("content-type").unwrap_or_default();
        let retry_after = header("retry-after").map(|seconds| seconds.parse().unwrap());
        let text = response.text()?;
        let json = content_type.contains("json");
        let answer = if json { serde_json::from_str(&text).unwrap() } else { Value::Null };
        openapi::hold(&method, &full, body.as_ref(), status, &content_type, &answer);
        Ok(Answer { status, body: answer, text, retry_after })
    }

    /// As the administrator.
    pub fn admin(&self, method: Method, path: &str, body: Value) -> Answer {
        let body = (!body.is_null()).then_some(body);
        self.send(method, &format!("admin/{path}"), &self.admin, body)
    }

    pub fn get(&self, path: &str) -> Value {
        self.admin(Method::GET, path, Value::Null).is(200).body
    }

    /// A user of this role; his name.
    pub fn user(&self, role: &str) -> String {
        let name = name(role);
        let body = json!({"role": role, "password": PASSWORD});
        self.admin(Method::PUT, &format!("users/{name}"), body).is(201);
        name
    }

    /// The status of a request to the store.
    pub fn store(&self, method: Method, path: &str, token: &str) -> u16 {
        let body =
            if method == Method::PUT && path.starts_with("captures") { r#"{"holder":"x"}"# } else { "" };
        self.request(method, &format!("/store/{path}"), token).body(body).send().unwrap().status().as_u16()
    }

    /// A machine that an administrator has added.
    pub fn machine(&self) -> Machine {
        let (name, mac) = (name("pc"), mac());
        self.admin(Method::POST, "machines", json!({"name": name, "macs": [mac]})).is(201);
        Machine { name, mac }
    }

    /// An image that was captured by hand, as before there were jobs.
    pub fn image(&self) -> String {
        let image = name("image");
        self.store_image(&image, &self.admin);
        self.admin(Method::PUT, &format!("images/{image}"), json!({})).is(200);
        image
    }

    /// Stores version 1 of an image.
    pub fn store_image(&self, image: &str, token: &str) {
        let version: ImageVersion = format!("{image}@1").parse().unwrap();
        let volume = crate::store_fixture::Volume::new(1);
        crate::store_fixture::capture(&*self.open_store(token), &version, &volume);
    }

    /// The store, for whoever has this token.
    pub fn open_store(&self, token: &str) -> Arc<dyn Store> {
        let access = Access { token: Some(Secret::new(token)), ..Access::default() };
        let options = OpenOptions { access, ..OpenOptions::default() };
        open(&format!("{}/store", self.url), &options).unwrap()
    }

    pub fn settings(&self, changes: Value) {
        let mut settings = self.get("settings");
        for (key, value) in changes.as_object().unwrap() {
            settings[key] = value.clone();
        }
        self.admin(Method::PUT, "settings", settings).is(200);
    }

    /// Gives a machine something to do; the number of the job.
    pub fn act(&self, machine: &Machine, action: &str, image: &str) -> u64 {
        let path = format!("machines/{}/action", machine.name);
        let answer = self.admin(Method::PUT, &path, json!({"action": action, "profile": image})).is(200);
        answer.body["action"]["job"].as_u64().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(Shared { settings, .. }) = &self.shared {
            let request = self.request(Method::PUT, "/api/v1/admin/settings", &self.admin);
            // A test that failed says why itself.
            let _ = request.body(settings.to_string()).send();
        }
    }
}

/// A machine with one card.
pub struct Machine {
    pub name: String,
    pub mac: String,
}

impl Machine {
    pub fn unknown() -> Self {
        Self { name: name("pc"), mac: mac() }
    }

    /// Introduces itself; the whole answer.
    pub fn session(&self, lab: &Lab) -> Value {
        lab.send(Method::POST, "sessions", "", Some(self.introduction())).is(200).body
    }

    pub fn introduction(&self) -> Value {
        json!({"agent": "0.1.0", "machine": {"macs": [self.mac], "model": format!("Model {}", self.name), "memory_bytes": 1 << 30}})
    }

    /// Introduces itself; its token.
    pub fn token(&self, lab: &Lab) -> String {
        self.session(lab)["token"].as_str().unwrap().to_owned()
    }

    /// Claims a job that has to be granted; the token of the job.
    pub fn claim(&self, lab: &Lab, job: u64) -> String {
        let answer = lab.send(Method::POST, &format!("jobs/{job}/claim"), &self.token(lab), None).is(200);
        assert_eq!(answer.body["answer"], "granted", "{}", answer.text);
        answer.body["token"].as_str().unwrap().to_owned()
    }
}

/// How a job ends.
pub fn finish(lab: &Lab, job: u64, token: &str, outcome: &str) -> Answer {
    let version = (outcome == "done").then_some("1");
    let body = json!({"outcome": outcome, "message": format!("it is {outcome}"), "version": version});
    lab.send(Method::POST, &format!("jobs/{job}/finish"), token, Some(body))
}
