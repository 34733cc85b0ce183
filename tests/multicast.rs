//! Many machines take one image from one session: each target is what it would be without it, the server sends the image
//! about once, and whatever is slow, dead, lost or forged holds nobody up for long and harms no target.
#![cfg(feature = "server")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod contract_peer;
mod lab;
mod store_fixture;

use contract_peer::{ADMINISTRATOR, Lab, PASSWORD};
use lab::running::{Ended, PATIENCE, Running, Server};
use lab::{MIB, Noise, remint_ends, text};
use nix::sys::signal::Signal;
use remint::agent::multicast::{Datagrams, Invitation, MulticastStore, Wanted};
use remint::client::{Claimed, Client};
use remint::http::{Access, Secret};
use remint::image::{ChunkId, Decoder, ImageVersion, Manifest, Store, fetch_chunk};
use remint::linux::GroupReceiver;
use remint::progress::{Event, Silent};
use remint::protocol::datagram::{Datagram, Fragment};
use remint::protocol::{Inventory, Job};
use remint::server::make_administrator;
use remint::store::{OpenOptions, open};
use reqwest::Method;
use serde_json::json;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What agents of this process hold of frames: less than the image has.
const WINDOW: u64 = 24 * MIB;
/// How long a slow machine takes for a chunk.
const SLOW_FOR: Duration = Duration::from_secs(4);
/// A machine that is not slow.
static FAST: AtomicBool = AtomicBool::new(false);

/// A server with an image of noise, and machines with targets of noise.
struct Room {
    folder: tempfile::TempDir,
    server: Option<Server>,
    lab: Lab,
    group: SocketAddrV4,
    image_bytes: u64,
    machines: u32,
}

impl Room {
    /// `profile` says more of `deploy`; `rate` is the most that is sent in a second.
    fn new(image_mib: u64, multicast: serde_json::Value, rate: u64) -> Self {
        let folder = lab::folder();
        lab::disk_of_noise(&folder.path().join("disk.img"), image_mib * MIB);
        Self::of_disk(folder, image_mib * MIB, multicast, rate)
    }

    /// The same, of `disk.img` in a folder.
    fn of_disk(folder: tempfile::TempDir, image_bytes: u64, multicast: serde_json::Value, rate: u64) -> Self {
        static PORT: AtomicU16 = AtomicU16::new(0);
        let data = folder.path().join("data");
        make_administrator(&data, ADMINISTRATOR, PASSWORD).unwrap();
        let (disk, store) = (folder.path().join("disk.img"), data.join("store"));
        remint_ends(
            0,
            &["capture", "lab", "--to", text(&store), "--disk", text(&disk), "--compress", "none"],
        );
        let server = Server::start(&data, 0);
        let lab = Lab::at(server.url.trim_end_matches("/store"));
        // Tests of other processes have other ports.
        let port = 20_000
            + u16::try_from(std::process::id() % 2000).unwrap() * 16
            + PORT.fetch_add(1, Ordering::Relaxed);
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 1), port);
        lab.settings(json!({"multicast_group": group.ip(), "multicast_port": port,
            "multicast_interface": "127.0.0.1", "multicast_bytes_per_second": rate, "deploys_at_once": 1}));
        lab.admin(Method::PUT, "images/lab", json!({})).is(200);
        let profile = json!({"deploy": {"multicast": multicast}});
        lab.admin(Method::PUT, "images/lab/profiles/default", json!({"profile": profile})).is(200);
        Self { folder, server: Some(server), lab, group, image_bytes, machines: 0 }
    }

    fn url(&self) -> String {
        self.lab.url.clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A machine with a job.
    fn machine(&mut self) -> Pc {
        self.machine_with(json!({}))
    }

    /// The same, with more in the `deploy` of its profile.
    fn machine_with(&mut self, more: serde_json::Value) -> Pc {
        self.machines += 1;
        let number = self.machines;
        let (name, mac) = (format!("pc-{number:02}"), format!("52:54:00:00:01:{number:02x}"));
        self.lab.admin(Method::POST, "machines", json!({"name": name, "macs": [mac]})).is(201);
        let machine = contract_peer::Machine { name, mac: mac.clone() };
        let mut profile = self.lab.get("images/lab/profiles/default")["profile"].clone();
        for (field, value) in more.as_object().unwrap() {
            profile["deploy"][field] = value.clone();
        }
        let path = format!("images/lab/profiles/{}", machine.name);
        self.lab.admin(Method::PUT, &path, json!({"profile": profile})).is(201);
        Pc { job: self.lab.act(&machine, "deploy", &format!("lab/{}", machine.name)), mac }
    }

    /// A machine with its agent.
    fn start(&mut self) -> (Pc, PathBuf, Running) {
        self.start_with(json!({}))
    }

    fn start_with(&mut self, mut more: serde_json::Value) -> (Pc, PathBuf, Running) {
        let target = self.path(&format!("target-{}.img", self.machines + 1));
        if !target.exists() {
            lab::noisy_disk(&target, fs::metadata(self.path("disk.img")).unwrap().len());
        }
        more["targets"] = json!([text(&target)]);
        let pc = self.machine_with(more);
        let inventory = self.path(&format!("{}.json", pc.mac));
        fs::write(&inventory, json!({"macs": [pc.mac]}).to_string()).unwrap();
        let running = Running::start(&["run", "--server", &self.url(), "--inventory", text(&inventory)]);
        (pc, target, running)
    }

    fn is_the_image(&self, target: &PathBuf) {
        let (expected, found) = (fs::read(self.path("disk.img")).unwrap(), fs::read(target).unwrap());
        // The partition lies from 1 MiB on; a restored table is written anew around it.
        let range = usize::try_from(MIB).unwrap()..usize::try_from(MIB + self.image_bytes).unwrap();
        assert!(expected[range.clone()] == found[range], "{} is another", target.display());
    }

    /// What the audit trail says of sessions that ended, the newest first.
    fn told(&self) -> Vec<String> {
        let trail = self.lab.get("audit");
        let lines = trail.as_array().unwrap().iter().filter(|line| line["who"] == "multicast");
        lines.map(|line| line["what"].as_str().unwrap().to_owned()).collect()
    }

    /// The same, once there is one.
    fn end_told(&self) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.told().into_iter().next() {
                return line;
            }
            assert!(Instant::now() < until, "no session ended");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Claims the job of a machine, for an agent of this process.
    fn claim(&self, pc: &Pc) -> (Box<Job>, Invitation) {
        let inventory = Inventory { macs: vec![pc.mac.clone()], ..Inventory::default() };
        let mut client = Client::connect(&self.url(), &Access::default(), inventory).unwrap();
        client.session().unwrap();
        let Claimed::Granted(job) = client.claim(pc.job).unwrap() else { panic!("not granted") };
        let link = client.job(pc.job, Secret::new(&job.token)).unwrap();
        let offer = job.multicast.clone().unwrap();
        (job, Invitation { offer, link, stop: std::sync::Arc::default() })
    }

    /// Takes the whole image as a restore does, with datagrams from `source`; bytes by multicast and over HTTP.
    fn take(
        &self,
        pc: &Pc,
        source: impl FnOnce(GroupReceiver) -> Box<dyn Datagrams>,
        slow: &AtomicBool,
    ) -> (u64, u64) {
        let (job, invitation) = self.claim(pc);
        let access = Access { token: Some(Secret::new(&job.token)), ..Access::default() };
        let options = OpenOptions { access, ..OpenOptions::default() };
        let http = open(&format!("{}/store", self.url()), &options).unwrap();
        let version: ImageVersion = format!("{}@{}", job.image, job.version.unwrap()).parse().unwrap();
        let (manifest, chunks) = chunks_of(&*http, &version);
        let asked: Vec<ChunkId> = chunks.iter().map(|(_, id)| *id).collect();
        let store = MulticastStore::new(http);
        let group = GroupReceiver::join(self.group, Ipv4Addr::LOCALHOST).unwrap();
        let wanted = Wanted { manifest: &manifest, version: &version, asked: &asked };
        let joined = store.join_from(source(group), WINDOW, invitation, wanted, &Silent);
        joined.unwrap();
        let next = Mutex::new(chunks.iter());
        // As a restore does: a few at a time, nearly in order, and a chunk that is wrong fails it.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let (mut decoder, mut content) = (Decoder::new().unwrap(), Vec::new());
                    loop {
                        let begun = Instant::now();
                        let Some((length, id)) = next.lock().unwrap().next() else { return };
                        fetch_chunk(&store, *id, *length, &mut decoder, &mut content).unwrap();
                        while slow.load(Ordering::Relaxed) && begun.elapsed() < SLOW_FOR {
                            thread::sleep(Duration::from_millis(100));
                        }
                    }
                });
            }
        });
        store.leave(&Silent);
        contract_peer::finish(&self.lab, pc.job, &job.token, "done").is(204);
        store.bytes()
    }
}

/// The manifest of an image, and the chunks that are not zeros, with their lengths.
fn chunks_of(store: &dyn Store, version: &ImageVersion) -> (Manifest, Vec<(u64, ChunkId)>) {
    let manifest = Manifest::load(store, version).unwrap();
    let mut chunks = Vec::new();
    for stored in &manifest.stored {
        let index = manifest.load_index(store, version, &stored.volume).unwrap();
        chunks.extend(index.pieces().map(|(piece, id)| (piece.length(), id)));
    }
    chunks.retain(|(length, id)| ChunkId::of_zeros(*length) != *id);
    (manifest, chunks)
}

struct Pc {
    job: u64,
    mac: String,
}

/// How many MiB came by multicast and over HTTP, as the machine says.
fn came(ended: &Ended) -> String {
    let note = ended.events.iter().find_map(|event| match event {
        Event::Note { message } => message.strip_prefix("multicast: the chunks came with "),
        _ => None,
    });
    note.unwrap_or_else(|| panic!("{:#?}", ended.events)).to_owned()
}

fn warnings(ended: &Ended) -> Vec<&str> {
    let about = |event: &'_ Event| matches!(event, Event::Warning { subject, .. } if subject == "multicast");
    let lines = ended.events.iter().filter(|event| about(event));
    lines
        .map(|event| if let Event::Warning { message, .. } = event { message.as_str() } else { "" })
        .collect()
}

fn mib(said: &str) -> f64 {
    let (number, unit) = said.split_once(' ').unwrap();
    let number: f64 = number.parse().unwrap();
    match unit.split([' ', ',', ';']).next().unwrap() {
        "bytes" | "B" => number / 1_048_576.0,
        "KiB" => number / 1024.0,
        "MiB" => number,
        "GiB" => number * 1024.0,
        other => panic!("{other}"),
    }
}

/// Bytes that a session sent, in MiB, as the audit trail says: `lab@...: 5 machines, 64.8 MiB sent, ...`.
fn sent(line: &str) -> f64 {
    mib(line.split(", ").nth(1).unwrap())
}

#[test]
fn a_room_of_machines_takes_one_image_from_one_session_and_counts_as_one() {
    let mut room = Room::new(48, json!({"machines": 6, "wait_seconds": 60}), 60_000_000);
    let machines: Vec<_> = (0..6).map(|_| room.start()).collect();
    for (_, target, running) in machines {
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
        assert_eq!(warnings(&ended), [""; 0]);
        let said = came(&ended);
        println!("{said}");
        let (received, fetched) = said.split_once(" by multicast and ").unwrap();
        assert!(mib(received) > 47.0 && mib(fetched) < 1.0, "{said}");
        room.is_the_image(&target);
    }
    let line = room.end_told();
    println!("{line}");
    assert!(line.contains(": 6 machines, ") && !line.contains("left behind"), "{line}");
    // The image, its headers, and what was lost on the way.
    assert!((48.0..60.0).contains(&sent(&line)), "{line}");
    assert_eq!(room.told().len(), 1, "one session");
    let jobs = room.lab.get("jobs");
    let told =
        jobs.as_array().unwrap().iter().all(|job| job["message"].as_str().unwrap().contains("by multicast"));
    assert!(told, "{jobs}");
}

#[test]
fn a_killed_and_a_stopped_machine_hold_up_the_others_for_seconds() {
    let mut room = Room::new(96, json!({"machines": 4, "wait_seconds": 60}), 12_000_000);
    let mut machines: Vec<_> = (0..4).map(|_| room.start()).collect();
    for (_, _, running) in &mut machines {
        running
            .wait_for(|event| matches!(event, Event::Advanced { done_bytes, .. } if *done_bytes > 4 * MIB));
    }
    machines[0].2.signal(Signal::SIGKILL);
    machines[1].2.signal(Signal::SIGSTOP);
    let begun = Instant::now();
    let mut machines = machines.into_iter();
    let (_killed, mut stopped) = (machines.next().unwrap(), machines.next().unwrap());
    for (_, target, running) in machines {
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
        assert!(mib(&came(&ended)) > 90.0, "{}", came(&ended));
        room.is_the_image(&target);
    }
    // 92 MiB at 12 MB a second are 8 seconds, and a dead machine is noticed after 10.
    println!("the others went on after {:?}", begun.elapsed());
    let line = room.end_told();
    println!("{line}");
    assert!(line.contains("pc-01 was not heard") && line.contains("pc-02 was not heard"), "{line}");
    stopped.2.signal(Signal::SIGCONT);
    let finished = stopped.2.wait_for(|event| matches!(event, Event::Finished { .. } | Event::Failed { .. }));
    assert!(matches!(finished, Event::Finished { .. }), "{finished:?}");
    let ended = stopped.2.end();
    assert_eq!(ended.code, Some(0));
    println!("{:?} {}", warnings(&ended), came(&ended));
    assert_eq!(warnings(&ended).len(), 1);
    room.is_the_image(&stopped.1);
}

#[test]
fn a_cancelled_machine_stops_and_the_others_go_on() {
    let mut room = Room::new(64, json!({"machines": 2, "wait_seconds": 60}), 8_000_000);
    let mut machines: Vec<_> = (0..2).map(|_| room.start()).collect();
    for (_, _, running) in &mut machines {
        running
            .wait_for(|event| matches!(event, Event::Advanced { done_bytes, .. } if *done_bytes > 4 * MIB));
    }
    let job = machines[0].0.job;
    room.lab.admin(Method::DELETE, &format!("jobs/{job}"), json!(null)).is(200);
    let (other, cancelled) = (machines.pop().unwrap(), machines.pop().unwrap());
    let ended = cancelled.2.end();
    assert!(ended.failure().0.contains("cancelled") && ended.failure().1, "{:#?}", ended.events);
    let ended = other.2.end();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
    assert_eq!(warnings(&ended), [""; 0]);
    room.is_the_image(&other.1);
}

#[test]
fn a_machine_that_waits_has_not_touched_its_target() {
    let mut room = Room::new(8, json!({"machines": 2, "wait_seconds": 60}), 8_000_000);
    let target = room.path("target-1.img");
    lab::noisy_disk(&target, fs::metadata(room.path("disk.img")).unwrap().len());
    let before = fs::read(&target).unwrap();
    let (pc, _, mut running) = room.start();
    running.wait_for(
        |event| matches!(event, Event::Note { message } if message.contains("waiting for up to 2")),
    );
    // More than a target of this size takes to be cleared.
    thread::sleep(Duration::from_secs(1));
    assert!(fs::read(&target).unwrap() == before, "it was written to");
    room.lab.admin(Method::DELETE, &format!("jobs/{}", pc.job), json!(null)).is(200);
    let ended = running.end();
    let (message, target_changed) = ended.failure();
    assert!(message.contains("cancelled") && !target_changed, "{:#?}", ended.events);
    assert!(fs::read(&target).unwrap() == before, "it was written to");
}

#[test]
fn a_chunk_that_is_wrong_in_the_store_is_not_said_to_have_arrived_so() {
    let mut room = Room::new(8, json!({"machines": 2, "wait_seconds": 60}), 8_000_000);
    let pc = room.machine();
    let (job, invitation) = room.claim(&pc);
    let access = Access { token: Some(Secret::new(&job.token)), ..Access::default() };
    let options = OpenOptions { access, ..OpenOptions::default() };
    let http = open(&format!("{}/store", room.url()), &options).unwrap();
    let version: ImageVersion = format!("{}@{}", job.image, job.version.unwrap()).parse().unwrap();
    let (manifest, chunks) = chunks_of(&*http, &version);
    let asked: Vec<ChunkId> = chunks.iter().map(|(_, id)| *id).collect();
    let (length, id) = chunks[3];
    let store = MulticastStore::new(http);
    // It is fetched because nobody waits for the session.
    invitation.stop.store(true, Ordering::Relaxed);
    let group = GroupReceiver::join(room.group, Ipv4Addr::LOCALHOST).unwrap();
    let wanted = Wanted { manifest: &manifest, version: &version, asked: &asked };
    let joined = store.join_from(Box::new(group), WINDOW, invitation, wanted, &Silent);
    joined.unwrap();
    let name = id.to_string();
    let files = store_fixture::files_below(&room.path("data").join("store"));
    let file = files.iter().find(|file| file.to_string_lossy().contains(&name)).unwrap();
    let mut frame = fs::read(file).unwrap();
    let middle = frame.len() / 2;
    frame[middle] ^= 1;
    fs::write(file, frame).unwrap();
    let (mut decoder, mut content) = (Decoder::new().unwrap(), Vec::new());
    let fault = fetch_chunk(&store, id, length, &mut decoder, &mut content).unwrap_err();
    let said = store.leave(&Silent).unwrap();
    assert!(!said.contains("another content"), "{said}: {fault}");
}

#[test]
fn a_machine_goes_on_without_the_session_when_the_server_is_killed_or_nothing_arrives() {
    let mut room = Room::new(64, json!({"machines": 1}), 8_000_000);
    let (_, target, mut running) = room.start();
    running.wait_for(|event| matches!(event, Event::Advanced { done_bytes, .. } if *done_bytes > 4 * MIB));
    let port = room.server.as_ref().unwrap().port();
    drop(room.server.take());
    room.server = Some(Server::start(&room.path("data"), port));
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
    println!("{:?} {}", warnings(&ended), came(&ended));
    assert_eq!(warnings(&ended).len(), 1);
    room.is_the_image(&target);

    // Another port than that of the group: nothing arrives, as behind a switch that keeps it.
    let pc = room.machine();
    let group = SocketAddrV4::new(*room.group.ip(), room.group.port() + 4000);
    let begun = Instant::now();
    let nothing =
        |_| -> Box<dyn Datagrams> { Box::new(GroupReceiver::join(group, Ipv4Addr::LOCALHOST).unwrap()) };
    let (received, fetched) = room.take(&pc, nothing, &FAST);
    assert_eq!(received, 0);
    assert!(fetched >= 64 * MIB && begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_machine_that_comes_too_late_is_in_the_next_session() {
    let mut room = Room::new(64, json!({"machines": 1, "wait_seconds": 5}), 8_000_000);
    room.lab.settings(json!({"deploys_at_once": 2}));
    let mut first = room.start();
    first.2.wait_for(|event| matches!(event, Event::Advanced { .. }));
    let second = room.start();
    for (_, target, running) in [first, second] {
        let ended = running.end();
        assert_eq!((ended.code, warnings(&ended).len()), (Some(0), 0), "{:#?}", ended.events);
        assert!(mib(&came(&ended)) > 60.0, "{}", came(&ended));
        room.is_the_image(&target);
    }
    let until = Instant::now() + PATIENCE;
    while room.told().len() < 2 {
        assert!(Instant::now() < until, "{:?}", room.told());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_without_a_group_has_its_images_fetched() {
    let mut room = Room::new(8, json!({}), 8_000_000);
    room.lab.settings(json!({"multicast_group": ""}));
    let (_, target, running) = room.start();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
    let noted = |event: &Event| matches!(event, Event::Note { message } if message.contains("sends nothing to groups"));
    assert!(ended.events.iter().any(noted), "{:#?}", ended.events);
    room.is_the_image(&target);
    let set = |value| room.lab.admin(Method::PUT, "settings", value).status;
    let mut settings = room.lab.get("settings");
    for (name, wrong) in [
        ("multicast_group", json!("10.0.0.1")),
        ("multicast_group", json!("239.255.255.250x")),
        ("multicast_interface", json!("eth0")),
        ("multicast_bytes_per_second", json!(10)),
        ("multicast_port", json!(0)),
        ("multicast_ttl", json!(0)),
    ] {
        let before = std::mem::replace(&mut settings[name], wrong);
        assert_eq!(set(settings.clone()), 400, "{name}");
        settings[name] = before;
    }
}

#[test]
fn machines_of_one_session_take_one_place_and_others_wait() {
    let lab = Lab::new();
    let (shared, single) = (lab.image(), lab.image());
    lab.settings(
        json!({"multicast_group": "239.255.78.1", "multicast_interface": "127.0.0.1", "deploys_at_once": 1}),
    );
    let profile = json!({"profile": {"deploy": {"multicast": {"machines": 2, "wait_seconds": 60}}}});
    lab.admin(Method::PUT, &format!("images/{shared}/profiles/default"), profile.clone()).is(200);
    let other = lab.image();
    lab.admin(Method::PUT, &format!("images/{other}/profiles/default"), profile).is(200);
    let claim = |image: &str| {
        let machine = lab.machine();
        let job = lab.act(&machine, "deploy", image);
        let answer = lab.send(Method::POST, &format!("jobs/{job}/claim"), &machine.token(&lab), None).is(200);
        (machine, job, answer.body)
    };
    let (first, second) = (claim(&shared), claim(&shared));
    assert_eq!((&first.2["answer"], &second.2["answer"]), (&json!("granted"), &json!("granted")));
    let offer = &first.2["multicast"];
    assert_eq!(
        (offer, &offer["machines"], &offer["wait_seconds"]),
        (&second.2["multicast"], &json!(2), &json!(60))
    );
    for image in [&single, &other] {
        assert_eq!(claim(image).2["answer"], "queued", "the session has the only place");
    }
    // What a machine says of a session.
    let path = |job: u64| format!("jobs/{job}/multicast");
    let token = |claimed: &serde_json::Value| claimed["token"].as_str().unwrap().to_owned();
    let session = offer["session"].as_str().unwrap();
    let report = json!({"session": session, "total": 1, "position": 0, "window_bytes": 1 << 26,
        "wanted": [{"first": 0, "end": 1}]});
    let say = |claimed: &(contract_peer::Machine, u64, serde_json::Value), body: &serde_json::Value| {
        lab.send(Method::POST, &path(claimed.1), &token(&claimed.2), Some(body.clone()))
    };
    lab.send(Method::POST, &path(first.1), "", Some(report.clone())).is(401);
    lab.send(Method::POST, &path(second.1), &token(&first.2), Some(report.clone())).is(410);
    assert_eq!(say(&first, &report).is(200).body["member"], true);
    let stranger = json!({"session": "0123456789abcdef", "total": 1, "position": 0, "window_bytes": 1});
    assert_eq!(say(&second, &stranger).is(200).body["member"], false);
    say(&second, &json!({"session": session, "total": 1, "position": 0, "window_bytes": 1, "hurry": true}))
        .is(400);
    let counts_two = json!({"session": session, "total": 2, "position": 0, "window_bytes": 1 << 26,
        "wanted": [{"first": 0, "end": 2}]});
    let until = Instant::now() + PATIENCE;
    // The server knows its count a moment later.
    while say(&second, &counts_two).is(200).body["member"] == true {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(50));
    }
    // Who goes on without the session takes a place of its own.
    lab.settings(json!({"deploys_at_once": 4}));
    assert_eq!(
        claim(&single).2["answer"],
        "queued",
        "two that wait, the session, and the one that is not in it"
    );
    contract_peer::finish(&lab, second.1, &token(&second.2), "done").is(204);
    // A machine that starts anew claims its job again and is in a session again.
    let again =
        lab.send(Method::POST, &format!("jobs/{}/claim", first.1), &first.0.token(&lab), None).is(200);
    assert!(again.body["multicast"]["session"].is_string(), "{}", again.text);
}

#[test]
fn machines_that_need_a_part_or_nothing_of_an_image_take_what_they_need() {
    // Two partitions of 16 MiB of noise, and one of zeros.
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    let script = "label: gpt\nsize=16MiB\nsize=16MiB\nsize=16MiB";
    let places = lab::partitioned_disk(&disk, 52 * MIB, 512, script);
    for place in &places[..2] {
        lab::overwrite(
            &disk,
            place.start,
            &Noise::new(place.start).bytes(usize::try_from(16 * MIB).unwrap()),
        );
    }
    let mut room = Room::of_disk(folder, 0, json!({"machines": 2, "wait_seconds": 60}), 8_000_000);
    let machines = [
        room.start_with(json!({"without": ["d0-p2"]})),
        room.start_with(json!({"without": ["d0-p2", "d0-p3"]})),
    ];
    for (_, target, running) in machines {
        let ended = running.end();
        assert_eq!((ended.code, warnings(&ended).len()), (Some(0), 0), "{:#?}", ended.events);
        assert!((15.0..18.0).contains(&mib(&came(&ended))), "{}", came(&ended));
        assert!(
            lab::bytes(&target, places[0].start, 16 * MIB) == lab::bytes(&disk, places[0].start, 16 * MIB)
        );
    }
    let line = room.end_told();
    assert!((16.0..20.0).contains(&sent(&line)), "what nobody needs is not sent: {line}");
    // Into the table that is there comes nothing but zeros: nobody is waited for.
    fs::copy(&disk, room.path("target-3.img")).unwrap();
    lab::overwrite(&room.path("target-3.img"), places[2].start, &[7; 4096]);
    let (_, target, running) =
        room.start_with(json!({"keep": {"table": [{"volume": "d0-p3", "place": null}]}}));
    let ended = running.end();
    assert_eq!((ended.code, warnings(&ended).len()), (Some(0), 0), "{:#?}", ended.events);
    assert!(lab::bytes(&target, 0, 52 * MIB) == lab::bytes(&disk, 0, 52 * MIB), "it is as it was");
    assert_eq!(room.told().len(), 1);
}

/// Loses, doubles, turns round and cuts off datagrams.
struct Bad {
    group: GroupReceiver,
    noise: Mutex<Noise>,
    lost_percent: u64,
    kept: Mutex<Option<Vec<u8>>>,
}

impl Datagrams for Bad {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut noise = self.noise.lock().unwrap();
        // What came before, once more or late.
        if noise.below(50) == 0
            && let Some(kept) = self.kept.lock().unwrap().take()
        {
            buffer[..kept.len()].copy_from_slice(&kept);
            return Ok(Some(kept.len()));
        }
        let Some(length) = self.group.receive(buffer)? else { return Ok(None) };
        if noise.below(100) < self.lost_percent {
            return Ok(None);
        }
        match noise.below(20_000) {
            0..100 => *self.kept.lock().unwrap() = Some(buffer[..length].to_vec()),
            100..200 => return Ok(Some(length / 2)),
            // What no checksum of the network sees.
            200..202 => buffer[length / 3] ^= 1,
            _ => {}
        }
        Ok(Some(length))
    }
}

#[test]
fn what_is_lost_or_damaged_on_the_way_is_sent_again_and_every_chunk_is_right() {
    let mut room = Room::new(48, json!({"machines": 3, "wait_seconds": 60}), 20_000_000);
    let machines: Vec<Pc> = (0..3).map(|_| room.machine()).collect();
    let all: Vec<(u64, u64)> = thread::scope(|scope| {
        let room = &room;
        let take = |(seed, pc)| {
            scope.spawn(move || {
                let bad = |group| -> Box<dyn Datagrams> {
                    let (noise, kept) = (Mutex::new(Noise::new(seed)), Mutex::default());
                    Box::new(Bad { group, noise, lost_percent: 2, kept })
                };
                room.take(pc, bad, &FAST)
            })
        };
        let threads: Vec<_> = (1u64..).zip(&machines).map(take).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(all.len(), 3);
    for (received, fetched) in &all {
        println!("{} KiB by multicast, {} KiB over HTTP", received >> 10, fetched >> 10);
        assert!(*received > 24 * MIB, "most of it came: {received}");
    }
    let line = room.end_told();
    println!("{line}");
    let fetched: u64 = all.iter().map(|(_, fetched)| fetched).sum();
    // Each of the three loses one datagram in fifty.
    assert!(line.contains(": 3 machines") && !line.contains("left behind"), "{line}");
    assert!(sent(&line) < 48.0 * 1.4 && fetched < 24 * MIB, "{line} {fetched}");
}

#[test]
fn a_slow_machine_is_left_behind_and_gets_the_image_by_itself() {
    let mut room = Room::new(64, json!({"machines": 3, "wait_seconds": 60}), 16_000_000);
    let machines: Vec<Pc> = (0..3).map(|_| room.machine()).collect();
    let slow = AtomicBool::new(true);
    let group = |group| -> Box<dyn Datagrams> { Box::new(group) };
    thread::scope(|scope| {
        let (room, slow) = (&room, &slow);
        let others: Vec<_> =
            machines[1..].iter().map(|pc| scope.spawn(move || room.take(pc, group, &FAST))).collect();
        let slow_one = scope.spawn(|| room.take(&machines[0], group, slow));
        for other in others {
            let (received, fetched) = other.join().unwrap();
            assert!(received > 60 * MIB && fetched < 4 * MIB, "{received} {fetched}");
        }
        let line = room.end_told();
        println!("{line}");
        assert!(line.contains("; left behind: pc-01 kept the others waiting"), "{line}");
        slow.store(false, Ordering::Relaxed);
        let (received, fetched) = slow_one.join().unwrap();
        println!("the slow one: {} MiB by multicast, {} MiB over HTTP", received / MIB, fetched / MIB);
        assert!(received + fetched >= 64 * MIB && fetched > 10 * MIB);
    });
}

/// Sends what nobody should believe, to whoever listens.
fn forge(group: SocketAddrV4, stop: &AtomicBool) -> u32 {
    let ear = GroupReceiver::join(group, Ipv4Addr::LOCALHOST).unwrap();
    let mouth = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (mut buffer, mut out, mut noise, mut count) = (vec![0; 2000], Vec::new(), Noise::new(3), 0);
    while !stop.load(Ordering::Relaxed) {
        let Some(length) = ear.receive(&mut buffer).unwrap() else { continue };
        let Some(Datagram::Fragment(real)) = Datagram::read(&buffer[..length]) else { continue };
        if noise.below(400) != 0 {
            continue;
        }
        let nonsense = vec![7; real.bytes.len()];
        let next = Fragment { position: real.position.saturating_add(3), bytes: &nonsense, ..real };
        for forged in [
            // The content of a chunk that is yet to come would need its name, which the real one has.
            Fragment { bytes: &nonsense, ..real },
            next,
            Fragment { frame_bytes: u32::MAX, ..real },
            Fragment { position: u32::MAX, ..real },
            Fragment { session: remint::protocol::SessionId(9), ..real },
            Fragment { number: u16::MAX, ..real },
        ] {
            Datagram::Fragment(forged).write(&mut out);
            mouth.send_to(&out, group).unwrap();
            count += 1;
        }
        mouth.send_to(&out[..40], group).unwrap();
    }
    count
}

#[test]
fn forged_datagrams_cost_time_and_never_a_target() {
    let mut room = Room::new(48, json!({"machines": 2, "wait_seconds": 60}), 20_000_000);
    let stop = AtomicBool::new(false);
    let group = room.group;
    thread::scope(|scope| {
        let forging = scope.spawn(|| forge(group, &stop));
        // The beginning of every third chunk is there before it is sent.
        let early = scope.spawn(|| forge_ahead(group, &stop));
        let machines: Vec<_> = (0..2).map(|_| room.start()).collect();
        for (_, target, running) in machines {
            let ended = running.end();
            assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
            println!("{}", came(&ended));
            assert!(came(&ended).contains("arrived with another content"), "{}", came(&ended));
            room.is_the_image(&target);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(forging.join().unwrap() > 10 && early.join().unwrap() > 3);
    });
}

/// Somebody who knows the image sends wrong pieces of what comes next, with everything else right.
fn forge_ahead(group: SocketAddrV4, stop: &AtomicBool) -> u32 {
    let ear = GroupReceiver::join(group, Ipv4Addr::LOCALHOST).unwrap();
    let mouth = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (mut buffer, mut out, mut count) = (vec![0; 2000], Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let Some(length) = ear.receive(&mut buffer).unwrap() else { continue };
        let Some(Datagram::Fragment(real)) = Datagram::read(&buffer[..length]) else { continue };
        if real.number != 1 || real.position % 3 != 0 {
            continue;
        }
        // A piece far behind the one that was just sent.
        let nonsense = vec![9; remint::protocol::datagram::FRAGMENT_BYTES];
        Datagram::Fragment(Fragment { number: 700, bytes: &nonsense, ..real }).write(&mut out);
        mouth.send_to(&out, group).unwrap();
        count += 1;
    }
    count
}

#[test]
fn a_session_that_is_left_before_it_begins_is_no_hindrance() {
    let mut room = Room::new(8, json!({"machines": 3, "wait_seconds": 20}), 8_000_000);
    let (_, _, mut running) = room.start();
    running.wait_for(
        |event| matches!(event, Event::Note { message } if message.contains("waiting for up to 3")),
    );
    drop(running);
    // The one that is gone is one of the three for ten seconds more.
    let machines: Vec<_> = (0..2).map(|_| room.start()).collect();
    for (_, target, running) in machines {
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
        room.is_the_image(&target);
    }
}
