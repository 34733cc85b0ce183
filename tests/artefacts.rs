//! A file is kept by its hash and reaches only the machine whose job names it; what is fetched is what was added, whatever the
//! network and the server do, and nothing is written before all of it is there.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]
#![allow(missing_docs, dead_code)]

mod contract_peer;
mod lab;
#[path = "unattended/office.rs"]
mod office;
#[path = "unattended/server.rs"]
mod server;
mod store_fixture;

use contract_peer::{Lab, finish};
use lab::running::{Ended, Running};
use lab::{Kind, MIB, Mount, remint_ends, text};
use office::Office;
use remint::progress::Event;
use reqwest::Method;
use serde_json::{Value, json};
use server::{Jobs, Script, granted, with_job};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const DELETE: Method = Method::DELETE;
const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn copy(artefact: &str, kind: &str, to: &str) -> Value {
    json!({"artefact": artefact, "kind": kind, "volume": "d0-p1", "to": to})
}

/// Sends an artefact: status, and what the server says.
fn put(lab: &Lab, token: &str, artefact: &str, bytes: &[u8]) -> (u16, Value) {
    let path = format!("/api/v1/admin/artefacts/{artefact}?name=a%20file");
    let answer = lab.request(PUT, &path, token).body(bytes.to_vec()).send().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().unwrap()).unwrap())
}

/// Fetches an artefact, or a range of it.
fn fetch(lab: &Lab, job: u64, artefact: &str, token: &str, range: Option<&str>) -> (u16, Vec<u8>) {
    let path = format!("/api/v1/jobs/{job}/artefacts/{artefact}");
    let mut request = lab.request(GET, &path, token);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let answer = request.send().unwrap();
    (answer.status().as_u16(), answer.bytes().unwrap().to_vec())
}

#[test]
fn an_artefact_is_kept_by_its_hash_and_reaches_the_job_that_names_it() {
    let lab = Lab::new();
    let operator = lab.log_in(&lab.user("operator"), contract_peer::PASSWORD);
    let bytes = lab::Noise::new(7).bytes(300_000);
    let id = hash(&bytes);
    let wrong = put(&lab, &operator, &"ab".repeat(32), &bytes);
    assert!(wrong.0 == 422 && wrong.1["detail"].as_str().unwrap().contains(&id), "{wrong:?}");
    assert_eq!(put(&lab, &operator, "ABCD", &bytes).0, 404);
    let (status, record) = put(&lab, &operator, &id, &bytes);
    assert_eq!((status, &record["bytes"], &record["name"]), (201, &json!(300_000), &json!("a file")));
    assert_eq!(put(&lab, &operator, &id, &bytes).0, 200, "the same again is the same");
    let (image, other) = (lab.image(), lab.image());
    let profile = |image: &str, copies: Value| {
        let change = json!({"profile": {"deploy": {"copies": copies}}});
        lab.admin(PUT, &format!("images/{image}/profiles/default"), change)
    };
    profile(&image, json!([copy(&"cd".repeat(32), "file", "/x")])).refuses(409, "is not here; add it first");
    profile(&image, json!([copy(&id, "file", "/x/")])).refuses(400, "names a folder");
    profile(&image, json!([copy(&id, "file", "/x"), copy(&id, "file", "/y")])).is(200);
    let listed = lab.get("artefacts");
    let mine = listed.as_array().unwrap().iter().find(|record| record["artefact"] == id).unwrap();
    assert_eq!(mine["profiles"], json!([format!("{image}/default")]));
    let delete = || lab.send(DELETE, &format!("admin/artefacts/{id}"), &operator, None);
    delete().refuses(409, &format!("{image}/default names"));
    let (machine, neighbour) = (lab.machine(), lab.machine());
    let (job, theirs) = (lab.act(&machine, "deploy", &image), lab.act(&neighbour, "deploy", &other));
    let session = machine.token(&lab);
    let claimed = lab.send(Method::POST, &format!("jobs/{job}/claim"), &session, None).is(200).body;
    let needed = json!([{"artefact": id, "bytes": 300_000, "name": "a file"}]);
    assert_eq!(claimed["artefacts"], needed, "each once");
    let token = claimed["token"].as_str().unwrap().to_owned();
    let their_token = neighbour.claim(&lab, theirs);
    assert_eq!(fetch(&lab, job, &id, &token, None), (200, bytes.clone()));
    let part = fetch(&lab, job, &id, &token, Some("bytes=1000-1999"));
    assert_eq!(part, (206, bytes[1000..2000].to_vec()));
    assert_eq!(fetch(&lab, theirs, &id, &their_token, None).0, 404, "its profile does not name it");
    assert_eq!(fetch(&lab, job, &id, &their_token, None).0, 410);
    assert_eq!(fetch(&lab, job, &"cd".repeat(32), &token, None).0, 404);
    assert_eq!(fetch(&lab, job, "%2e%2e%2fremint.sqlite", &token, None).0, 404);
    for (other, status) in [("", 401), (session.as_str(), 403), (operator.as_str(), 403)] {
        assert_eq!(fetch(&lab, job, &id, other, None).0, status);
    }
    // The job goes on with its profile as it was.
    lab.admin(PUT, &format!("images/{other}/profiles/default"), json!({"description": "x"})).is(409);
    finish(&lab, job, &token, "done").is(204);
    assert_eq!(fetch(&lab, job, &id, &token, None).0, 410, "with the job its token has ended");
    profile(&image, json!([])).is(200);
    let job = {
        profile(&image, json!([copy(&id, "file", "/x")])).is(200);
        lab.act(&machine, "deploy", &image)
    };
    delete().refuses(409, "names");
    lab.send(DELETE, &format!("admin/jobs/{job}"), &lab.admin, None).is(200);
    profile(&image, json!([])).is(200);
    delete().is(204);
    delete().is(404);
    finish(&lab, theirs, &their_token, "done").is(204);
}

/// A machine with disk files, and an image of one with an ext4.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: lab::folder() };
        let machine = json!({"macs": ["52:54:00:00:00:01"], "serial": "PC-1"});
        fs::write(place.path("machine.json"), machine.to_string()).unwrap();
        let (disk, files) = (place.path("disk.img"), place.path("files"));
        fs::create_dir_all(files.join("deep")).unwrap();
        fs::write(files.join("deep/file"), "x").unwrap();
        fs::write(files.join("noise-65536"), [7; 65536]).unwrap();
        let places = lab::partitioned_disk(&disk, 50 * MIB, 512, "label: dos\nsize=48MiB, type=83\n");
        EXT4.build(&place.path("part.img"), places[0].length, &files);
        lab::put(&disk, places[0].start, &place.path("part.img"));
        lab::noisy_disk(&place.path("target.img"), 50 * MIB);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn capture(&self, store: &Path) -> String {
        let disk = self.path("disk.img");
        remint_ends(0, &["capture", "lab", "--to", text(store), "--disk", text(&disk)]);
        let versions = fs::read_dir(store.join("images/lab")).unwrap();
        versions.map(|entry| entry.unwrap().file_name().into_string().unwrap()).max().unwrap()
    }

    fn run(&self, url: &str) -> Ended {
        let machine = self.path("machine.json");
        Running::start(&["run", "--server", url, "--inventory", text(&machine), "--retry-for", "30"]).end()
    }

    fn profile(&self, copies: Value) -> Value {
        json!({"deploy": {"targets": [text(&self.path("target.img"))], "copies": copies}})
    }

    fn mount(&self) -> Mount {
        let place = lab::partitions(&self.path("target.img"), 512)[0];
        EXT4.check(&self.path("target.img"), place.start, place.length);
        Mount::new(&self.path("target.img"), place.start, place.length, "ext4", true)
    }
}

#[test]
fn what_an_administrator_adds_comes_onto_the_machines_disk() {
    let place = Place::new();
    let office = Office::open(place.folder.path(), &json!({}));
    place.capture(&place.path("data/store"));
    let (tools, conf) = (place.path("tools"), place.path("lab conf"));
    fs::create_dir_all(tools.join("bin")).unwrap();
    fs::write(tools.join("bin/run"), lab::Noise::new(3).bytes(9_000_000)).unwrap();
    fs::set_permissions(tools.join("bin/run"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("bin/run", tools.join("run")).unwrap();
    fs::write(&conf, "of the lab").unwrap();
    let added = office.admin(&["artefacts", "add", text(&tools), text(&conf)]);
    let id = |position: usize| added[position]["artefact"].as_str().unwrap().to_owned();
    assert_eq!((&added[1]["name"], id(1)), (&json!("lab conf"), hash(b"of the lab")));
    assert_eq!(office.admin(&["artefacts", "add", text(&tools)])[0]["artefact"], id(0), "packed as before");
    let mut first = copy(&id(1), "file", "/opt/tools/conf");
    (first["priority"], first["mode"]) = (json!(5), json!("0600"));
    let mut profile = place.profile(json!([first, copy(&id(0), "archive", "/opt/tools")]));
    profile["deploy"]["answers"] = json!([{"element": "AdministratorPassword", "value": "s3cret-answer"}]);
    fs::write(place.path("profile.json"), profile.to_string()).unwrap();
    office.admin(&["profiles", "set", "lab/default", "--file", text(&place.path("profile.json"))]);
    office.admin(&["action", "pc-01", "deploy"]);
    let ended = place.run(&office.url);
    // There is no Windows whose answer could be set.
    assert_eq!(ended.code, Some(3), "{:?}", ended.events);
    let mount = place.mount();
    let below = |path: &str| mount.path().join("opt/tools").join(path);
    assert_eq!(fs::read_to_string(below("conf")).unwrap(), "of the lab");
    assert_eq!(fs::metadata(below("conf")).unwrap().mode() & 0o7777, 0o600);
    assert!(fs::read(below("bin/run")).unwrap() == fs::read(tools.join("bin/run")).unwrap());
    assert_eq!(fs::metadata(below("bin/run")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::read_link(below("run")).unwrap(), Path::new("bin/run"));
    let said = |part: &str| {
        ended.events.iter().any(|event| matches!(event, Event::Note { message } if message.contains(part)))
    };
    assert!(said("fetched tools, 8.5") && said("to /opt/tools of d0-p1 (ext4,"), "{:?}", ended.events);
    // What was answered may have been a password.
    let database = rusqlite::Connection::open(place.path("data/remint.sqlite")).unwrap();
    let kept: String = database.query_row("SELECT profile FROM jobs", [], |row| row.get(0)).unwrap();
    assert!(kept.contains("AdministratorPassword") && !kept.contains("s3cret-answer"), "{kept}");
    office.admin(&["profiles", "set", "lab/other"]);
    office.admin(&["profiles", "delete", "lab/default"]);
    office.admin(&["artefacts", "remove", &id(0)]);
    let left = office.admin(&["artefacts"]);
    assert_eq!((left.as_array().unwrap().len(), &left[0]["artefact"]), (1, &json!(id(1))));
    assert_eq!(fs::read_dir(place.path("data/artefacts")).unwrap().count(), 1);
}

#[test]
fn what_was_half_sent_is_gone_when_the_server_starts_again() {
    let place = Place::new();
    let mut office = Office::open(place.folder.path(), &json!({}));
    fs::write(place.path("conf"), "kept").unwrap();
    office.admin(&["artefacts", "add", text(&place.path("conf"))]);
    let artefacts = place.path("data/artefacts");
    fs::write(artefacts.join(".upload-abc"), "half").unwrap();
    fs::write(artefacts.join("ab".repeat(32)), "nobody knows it").unwrap();
    office.restart();
    let names: Vec<_> = fs::read_dir(&artefacts).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [hash(b"kept").as_str()]);
}

#[test]
fn an_artefact_is_fetched_whole_or_nothing_is_written() {
    let place = Place::new();
    let version = place.capture(&place.path("store"));
    let bytes = lab::Noise::new(11).bytes(10 << 20);
    let id = hash(&bytes);
    let script = |statuses: &[u16], sent: Option<Vec<u8>>, announced: u64| {
        let profile = place.profile(json!([copy(&id, "file", "/large")]));
        let mut job = granted("deploy", "/store", Some(&version), profile);
        job["artefacts"] = json!([{"artefact": id, "bytes": announced, "name": "large"}]);
        Script {
            session: with_job("deploy"),
            claims: VecDeque::from([job]),
            store: place.path("store"),
            artefacts: sent.into_iter().map(|bytes| (id.clone(), bytes)).collect(),
            part_statuses: statuses.iter().copied().collect(),
            ..Script::default()
        }
    };
    let fails = |script: Script, part: &str| {
        let before = lab::traces(&place.path("target.img"));
        let jobs = Jobs::start(script);
        let ended = place.run(&jobs.url);
        let (message, changed) = ended.failure();
        assert!(!changed && message.contains(part), "{message}");
        assert!(before == lab::traces(&place.path("target.img")), "{part}");
    };
    let size = bytes.len() as u64;
    let mut other = bytes.clone();
    other[5_000_000] ^= 1;
    fails(script(&[], Some(other), size), "has another hash");
    fails(script(&[], Some(bytes[..9 << 20].to_vec()), size), "less of the artefact");
    fails(script(&[], None, size), "there is no such artefact");
    fails(script(&[0, 410], Some(bytes.clone()), size), "gone");
    fails(script(&[], Some(bytes.clone()), 1 << 50), "has room for");
    let mut unlisted = script(&[], Some(bytes.clone()), size);
    unlisted.claims[0]["artefacts"] = json!([]);
    fails(unlisted, "is not here");
    // The server is away for a while in the middle of it.
    let jobs = Jobs::start(script(&[0, 503, 500, 503, 0, 503], Some(bytes.clone()), size));
    let ended = place.run(&jobs.url);
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    assert_eq!(jobs.script().parts, 7, "no part is fetched twice");
    assert!(fs::read(place.mount().path().join("large")).unwrap() == bytes);
}
