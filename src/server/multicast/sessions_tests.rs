use super::*;
use crate::protocol::{Claim, Inventory, ProfileName};
use crate::server::database::{self, Database, For};
use crate::server::moment::Moment;
use crate::store::Directory;

/// A server's database with so many jobs that deploy `lab` in sessions of two.
fn room(count: usize) -> (tempfile::TempDir, Database, Vec<JobRow>) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let store = Directory::open(&folder.path().join("store"), true).unwrap();
    let now = Moment::now();
    let jobs = database.write(|c| {
        database::add_image(c, &"lab".parse().unwrap())?;
        let name = ProfileName { image: "lab".to_owned(), profile: None };
        let wish = database::wish(c, &store, Operation::Capture, &name)?;
        let make = |number| {
            let name = format!("pc-{number}");
            let machine = database::add_machine(c, &name, &Inventory::default(), None, now)?.id;
            let whose = For { machine: Some(machine), session: None, name: &name };
            let id = database::add_job(c, &wish, whose, "root", now)?;
            let mut job = database::job(c, id.unsigned_abs())?;
            job.operation = Operation::Deploy;
            job.version = Some("2026-11-28T010131Z".to_owned());
            job.profile = serde_json::from_str(r#"{"deploy": {"multicast": {"machines": 2}}}"#).unwrap();
            Ok(job)
        };
        (0..count).map(make).collect::<Result<Vec<JobRow>, Problem>>()
    });
    (folder, database, jobs.unwrap())
}

fn settings() -> Settings {
    let multicast_group = "239.255.77.1".to_owned();
    Settings { multicast_group, ..Settings::default() }
}

fn offered(sessions: &Sessions, job: &JobRow, settings: &Settings) -> MulticastOffer {
    sessions.offer(job, settings).unwrap().unwrap()
}

#[test]
fn a_session_is_joined_only_where_it_is_what_the_settings_and_the_profile_say_today() {
    let (_folder, _database, mut jobs) = room(4);
    let (sessions, before) = (Sessions::default(), settings());
    let first = offered(&sessions, &jobs[0], &before);
    let port = Settings { multicast_port: 9000, ..settings() };
    let interface = Settings { multicast_interface: "10.0.0.1".to_owned(), ..settings() };
    for other in [&port, &interface] {
        assert!(!sessions.waits_for(&jobs[1], other));
    }
    let second = offered(&sessions, &jobs[1], &port);
    assert!(second.session != first.session && second.port == 9000, "{second:?}");
    assert!(sessions.waits_for(&jobs[2], &before));
    jobs[3].profile.deploy.multicast.as_mut().unwrap().wait_seconds = 7;
    assert!(!sessions.waits_for(&jobs[3], &before));
    assert_eq!(offered(&sessions, &jobs[2], &before), first);
}

#[test]
fn one_more_machine_than_a_session_waits_for_is_in_the_next_one() {
    let (_folder, _database, jobs) = room(4);
    let (sessions, settings) = (Sessions::default(), settings());
    let offers: Vec<_> = jobs.iter().map(|job| offered(&sessions, job, &settings).session).collect();
    assert_eq!((offers[0], offers[2]), (offers[1], offers[3]));
    assert_ne!(offers[0], offers[2]);
    let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
    assert_eq!(sessions.places(&ids), 2, "one for each session");
    // One that goes on without its session has its own.
    let session = sessions.all.lock().unwrap()[0].clone();
    let said = MulticastReport {
        session: offers[0],
        total: 1,
        position: 0,
        window_bytes: 1,
        wanted: None,
        missing: Vec::new(),
        leaving: true,
    };
    assert!(!sessions.report(&jobs[0], &said).member);
    assert_eq!(sessions.places(&ids), 3);
    assert!(sessions.waits_for(&jobs[0], &settings), "there is room for another");
    session.state().end();
    assert_eq!(sessions.places(&ids), 3, "who is left of it fetches too");
    assert_eq!(sessions.all.lock().unwrap().len(), 1, "it is forgotten");
}

#[test]
fn a_claim_that_fails_leaves_no_session() {
    let (_folder, database, mut jobs) = room(2);
    let sessions = Sessions::default();
    database.write(|c| database::set_settings(c, &settings())).unwrap();
    let job = &mut jobs[0];
    let copy = format!(r#"{{"artefact": "{}", "kind": "file", "volume": "1", "to": "/x"}}"#, "a".repeat(64));
    let profile = format!(r#"{{"deploy": {{"multicast": {{"machines": 2}}, "copies": [{copy}]}}}}"#);
    job.profile = serde_json::from_str(&profile).unwrap();
    let claim = |job: &JobRow| database.write(|c| database::claim(c, &sessions, job, Moment::now()));
    assert!(claim(job).is_err(), "its artefact is gone");
    assert!(sessions.all.lock().unwrap().is_empty());
    let Claim::Granted(job) = claim(&jobs[1]).unwrap() else { panic!("not granted") };
    assert!(job.multicast.is_some() && sessions.all.lock().unwrap().len() == 1);
}
