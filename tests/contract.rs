//! The contract of docs/protocol.md: what a server of jobs answers to machines and administrators. It runs against any
//! server (REMINT_CONTRACT_URL, REMINT_CONTRACT_USER, REMINT_CONTRACT_PASSWORD), and against ours where none is named.
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

use contract_peer::{Lab, Machine, PASSWORD, finish, mac, name};
use reqwest::Method;
use serde_json::{Value, json};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

#[test]
fn a_machine_introduces_itself_and_hears_what_it_is_to_the_server() {
    let lab = Lab::new();
    let hello = lab.send(GET, "hello", "", None).is(200).body;
    assert!(hello["protocols"].as_array().unwrap().contains(&json!(1)), "{hello}");
    let unknown = Machine::unknown().session(&lab);
    assert_eq!((&unknown["machine"], &unknown["job"]), (&Value::Null, &Value::Null));
    let machine = lab.machine();
    let known = machine.session(&lab);
    assert_eq!(known["machine"]["name"], machine.name);
    // What only is shown may have fields that the server does not know.
    let mut introduction = machine.introduction();
    introduction["machine"]["colour"] = json!("grey");
    introduction["machine"]["macs"] = json!([machine.mac.to_uppercase().replace(':', "-")]);
    let answer = lab.request(POST, "/api/v1/sessions", "").body(introduction.to_string()).send().unwrap();
    let answer: Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
    assert_eq!(answer["machine"]["name"], machine.name, "addresses have one form");
    let record = lab.get(&format!("machines/{}", machine.name));
    assert_eq!(record["inventory"]["macs"], json!([machine.mac]));
    assert!(record["seen"].is_string());
    lab.send(POST, "sessions", "", Some(json!({"agent": "1", "machine": {"macs": ["x\ny"]}})))
        .refuses(400, "card");
    lab.send(POST, "sessions", "", Some(json!(["no"]))).refuses(400, "JSON");
    lab.send(GET, "sessions", "", None).is(405);
    lab.send(GET, "nothing", "", None).is(404);
}

#[test]
fn a_machine_is_registered_once_under_a_name_of_its_own_by_who_may() {
    let lab = Lab::new();
    lab.settings(json!({"open_registration": false, "open_menu": false}));
    let machine = Machine::unknown();
    let session = machine.session(&lab);
    assert_eq!(
        session["on_demand"],
        json!({"deploy": false, "capture": false, "register": false, "after_login": true})
    );
    let token = session["token"].as_str().unwrap();
    let registration = || Some(json!({"name": machine.name}));
    lab.send(POST, "machines", token, registration()).refuses(403, "log in");
    let operator = lab.user("operator");
    let login = |password: &str| Some(json!({"user": operator, "password": password}));
    lab.send(POST, "login", token, login("wrong horse")).refuses(401, "password");
    lab.send(POST, "login", "", login(PASSWORD)).is(401);
    let answer = lab.send(POST, "login", token, login(PASSWORD)).is(200).body;
    assert_eq!(
        answer["on_demand"],
        json!({"deploy": true, "capture": true, "register": true, "after_login": false})
    );
    let person = answer["token"].as_str().unwrap();
    for wrong in ["", "-pc", "pc-", "p c", "pc\n", "ä", &"x".repeat(64)] {
        lab.send(POST, "machines", person, Some(json!({"name": wrong}))).refuses(400, "letters");
    }
    let taken = lab.machine().name;
    lab.send(POST, "machines", person, Some(json!({"name": taken}))).refuses(409, &taken);
    let first = lab.send_once(POST, "machines", person, registration(), Some("k1")).is(201).body;
    let again = lab.send_once(POST, "machines", person, registration(), Some("k1")).is(201).body;
    assert_eq!(first, again, "a repeated request is the same one");
    lab.send_once(POST, "machines", person, Some(json!({"name": "other"})), Some("k1")).refuses(409, "key");
    lab.send(POST, "machines", person, registration()).refuses(409, &machine.name);
    assert_eq!(machine.session(&lab)["machine"]["name"], machine.name);
    // Without a login, where the settings allow it.
    lab.settings(json!({"open_registration": true}));
    let open = Machine::unknown();
    let session = open.session(&lab);
    assert_eq!(session["on_demand"]["register"], true);
    let token = session["token"].as_str().unwrap();
    lab.send(POST, "machines", token, Some(json!({"name": open.name}))).is(201);
}

#[test]
fn every_request_of_administrators_takes_its_role() {
    let lab = Lab::new();
    let token = |role: &str| lab.log_in(&lab.user(role), PASSWORD);
    let (reader, operator) = (token("reader"), token("operator"));
    let (machine, image) = (lab.machine(), lab.image());
    let session = machine.token(&lab);
    let job = lab.act(&machine, "deploy", &image);
    let working = machine.claim(&lab, job);
    let looks = [
        "machines".to_owned(),
        format!("machines/{}", machine.name),
        "groups".to_owned(),
        "images".to_owned(),
        format!("images/{image}"),
        format!("images/{image}/history"),
        format!("images/{image}/profiles"),
        format!("images/{image}/profiles/default"),
        "jobs".to_owned(),
        format!("jobs/{job}"),
        format!("jobs/{job}/events"),
        format!("jobs/{job}/log"),
        "artefacts".to_owned(),
        "settings".to_owned(),
        "audit".to_owned(),
    ];
    for path in looks.map(|path| format!("admin/{path}")) {
        lab.send(GET, &path, &reader, None).is(200);
        lab.send(GET, &path, "", None).refuses(401, "token");
        lab.send(GET, &path, "0123", None).refuses(401, "token");
        for machines in [&session, &working] {
            lab.send(GET, &path, machines, None).refuses(403, "machine");
        }
    }
    let acts = [
        (PUT, format!("machines/{}/action", machine.name), Some(json!({"action": "reset"})), "operator"),
        (
            POST,
            "jobs".to_owned(),
            Some(json!({"operation": "deploy", "target": {"machine": "x"}})),
            "operator",
        ),
        (DELETE, format!("jobs/{job}"), None, "operator"),
        (PUT, format!("artefacts/{}", "ab".repeat(32)), None, "operator"),
        (DELETE, format!("artefacts/{}", "ab".repeat(32)), None, "operator"),
        (POST, "machines".to_owned(), Some(json!({"name": "x"})), "administrator"),
        (PATCH, format!("machines/{}", machine.name), Some(json!({})), "administrator"),
        (DELETE, format!("machines/{}", machine.name), None, "administrator"),
        (PUT, "groups/x".to_owned(), Some(json!({"machines": []})), "administrator"),
        (DELETE, "groups/x".to_owned(), None, "administrator"),
        (PUT, format!("images/{image}"), Some(json!({})), "administrator"),
        (DELETE, format!("images/{image}"), None, "administrator"),
        (PUT, format!("images/{image}/profiles/x"), Some(json!({})), "administrator"),
        (DELETE, format!("images/{image}/profiles/x"), None, "administrator"),
        (GET, "users".to_owned(), None, "administrator"),
        (PUT, "users/x".to_owned(), Some(json!({})), "administrator"),
        (DELETE, "users/x".to_owned(), None, "administrator"),
        (PUT, "settings".to_owned(), Some(json!({})), "administrator"),
    ];
    for (method, path, body, least) in acts {
        let path = format!("admin/{path}");
        lab.send(method.clone(), &path, &reader, body.clone()).refuses(403, least);
        if least == "administrator" {
            lab.send(method, &path, &operator, body).refuses(403, least);
        }
    }
    lab.send(DELETE, "admin/login", &reader, None).is(204);
    lab.send(GET, "admin/machines", &reader, None).is(401);
}

#[test]
fn an_action_clears_itself_and_a_failure_does_not_loop() {
    let lab = Lab::new();
    let (machine, image) = (lab.machine(), name("lab"));
    let action = |body: Value| lab.admin(PUT, &format!("machines/{}/action", machine.name), body);
    let record = || lab.get(&format!("machines/{}", machine.name));
    lab.admin(PUT, &format!("images/{image}"), json!({"description": "the lab"})).is(201);
    action(json!({"action": "deploy", "profile": image})).refuses(409, &image);
    action(json!({"action": "deploy"})).refuses(409, "assigned");
    action(json!({"action": "deploy", "profile": "nothing"})).refuses(404, "nothing");
    let job = lab.act(&machine, "capture", &image);
    action(json!({"action": "capture", "profile": image})).refuses(409, &format!("{job}"));
    assert_eq!(record()["action"], json!({"action": "pending", "job": job, "operation": "capture"}));
    let session = machine.session(&lab);
    assert_eq!(
        session["job"],
        json!({"id": job, "operation": "capture", "image": image, "profile": "default"})
    );
    let token = machine.claim(&lab, job);
    lab.store_image(&image, &token);
    finish(&lab, job, &token, "done").is(204);
    assert_eq!(record()["action"], Value::Null, "it is done and does not come again");
    assert_eq!(machine.session(&lab)["job"], Value::Null);
    let known = lab.get(&format!("images/{image}"));
    assert_eq!((&known["protected"], &known["versions"]), (&json!(true), &json!(["1"])));
    action(json!({"action": "capture", "profile": image})).refuses(409, "protected");
    lab.admin(DELETE, &format!("images/{image}"), Value::Null).refuses(409, "protected");
    assert_eq!(lab.store(DELETE, &format!("images/{image}/1"), &lab.admin), 409);
    assert_eq!(lab.store(PUT, &format!("captures/{image}@2"), &lab.admin), 409);
    // A failure is kept as a mark until somebody resets it.
    let job = lab.act(&machine, "deploy", &image);
    let token = machine.claim(&lab, job);
    finish(&lab, job, &token, "failed").is(204);
    assert_eq!(record()["action"], json!({"action": "failed", "job": job, "message": "it is failed"}));
    assert_eq!(machine.session(&lab)["job"], Value::Null, "it does not loop");
    assert_eq!(action(json!({"action": "reset"})).is(200).body["action"], Value::Null);
    // A capture that is not in the store has failed, whatever its machine says.
    lab.admin(PUT, &format!("images/{image}"), json!({"protected": false})).is(200);
    let job = lab.act(&machine, "capture", &image);
    let token = machine.claim(&lab, job);
    finish(&lab, job, &token, "done").is(204);
    assert_eq!(lab.get(&format!("jobs/{job}"))["outcome"], "failed");
    action(json!({"action": "reset"})).is(200);
    // Reset withdraws what waits.
    let job = lab.act(&machine, "deploy", &image);
    action(json!({"action": "reset"})).is(200);
    lab.send(POST, &format!("jobs/{job}/claim"), &machine.token(&lab), None).is(410);
    assert_eq!(lab.get(&format!("jobs/{job}"))["outcome"], "cancelled");
    let history = lab.get(&format!("images/{image}/history"));
    assert_eq!(history.as_array().unwrap().len(), 4, "{history:#}");
    lab.admin(DELETE, &format!("images/{image}"), Value::Null).is(204);
    lab.admin(GET, &format!("images/{image}"), Value::Null).is(404);
}

#[test]
fn a_machine_has_its_own_jobs_and_nothing_else() {
    let lab = Lab::new();
    let (own, other, image, foreign) = (lab.machine(), lab.machine(), lab.image(), lab.image());
    let (job, theirs) = (lab.act(&own, "deploy", &image), lab.act(&other, "deploy", &image));
    let session = own.token(&lab);
    lab.send(POST, &format!("jobs/{theirs}/claim"), &session, None).refuses(410, "not one of this machine");
    lab.send(POST, "jobs/999999999/claim", &session, None).refuses(422, "never");
    lab.send(POST, &format!("jobs/{job}/claim"), "", None).is(401);
    lab.send(POST, &format!("jobs/{job}/claim"), &lab.admin, None).is(403);
    let first = own.claim(&lab, job);
    let token = own.claim(&lab, job);
    let events = || Some(json!({"first": 0, "events": []}));
    lab.send(POST, &format!("jobs/{job}/events"), &first, events()).refuses(401, "token");
    lab.send(POST, &format!("jobs/{job}/events"), &session, events()).is(403);
    lab.send(POST, &format!("jobs/{theirs}/events"), &token, events()).is(410);
    lab.send(POST, "jobs/999999999/events", &token, events()).is(422);
    lab.send(POST, "jobs/1x/events", &token, events()).is(404);
    // What a deploy's token opens: its image and chunks, to be read.
    let chunk = format!("chunks/0000/{}.cacnk", "0".repeat(64));
    let reads = [
        ("remint-store.json".to_owned(), 200),
        (chunk.clone(), 404),
        (format!("images/{image}/1/image.json"), 200),
    ];
    for (path, status) in reads {
        assert_eq!(lab.store(GET, &path, &token), status, "{path}");
        assert_eq!(lab.store(GET, &path, ""), 401, "{path}");
        assert_eq!(lab.store(GET, &path, &session), 403, "{path}");
    }
    for (method, path) in [
        (GET, "images/".to_owned()),
        (GET, format!("images/{foreign}/1/image.json")),
        (PUT, chunk.clone()),
        (PUT, format!("captures/{image}@2")),
        (PUT, format!("images/{image}/1/d0-disk.used")),
        (DELETE, format!("images/{image}/1")),
        (POST, "collect".to_owned()),
    ] {
        assert_eq!(lab.store(method.clone(), &path, &token), 403, "{method} {path}");
    }
    finish(&lab, job, &token, "done").is(204);
    lab.send(POST, &format!("jobs/{job}/events"), &token, events()).is(410);
    lab.send(POST, &format!("jobs/{job}/claim"), &session, None).is(410);
    assert_eq!(lab.store(GET, &format!("images/{image}/1/image.json"), &token), 410, "its job has ended");
    // What a capture's token opens: chunks, and the one version that it has announced.
    lab.admin(PUT, &format!("machines/{}/action", other.name), json!({"action": "reset"})).is(200);
    let job = lab.act(&other, "capture", &image);
    let token = other.claim(&lab, job);
    for (method, path) in [
        (PUT, format!("captures/{foreign}@2")),
        (PUT, format!("images/{image}/2/d0-disk.used")),
        (DELETE, format!("captures/{image}@2")),
        (GET, format!("images/{foreign}/1/image.json")),
        (DELETE, format!("images/{image}/1")),
        (POST, "collect".to_owned()),
    ] {
        assert_eq!(lab.store(method.clone(), &path, &token), 403, "{method} {path}");
    }
    assert_eq!(lab.store(PUT, &format!("captures/{image}@1"), &token), 409, "it exists");
    assert_eq!(lab.store(PUT, &format!("captures/{image}@2"), &token), 201);
    assert_eq!(lab.store(PUT, &format!("images/{image}/2/d0-disk.used"), &token), 201);
    assert_eq!(lab.store(PUT, &format!("images/{image}/3/d0-disk.used"), &token), 403);
    assert_eq!(lab.store(GET, "images/", &lab.admin), 200);
}

#[test]
fn events_are_taken_once_and_in_order() {
    let lab = Lab::new();
    let (machine, image) = (lab.machine(), lab.image());
    let job = lab.act(&machine, "deploy", &image);
    let token = machine.claim(&lab, job);
    let event = |number: u64| json!({"time": "2026-11-27T12:00:00Z", "event": "warning", "subject": "d0", "message": format!("{number}")});
    let send = |first: u64, count: u64| {
        let events: Vec<Value> = (first..first + count).map(event).collect();
        let body = json!({"first": first, "events": events});
        lab.send(POST, &format!("jobs/{job}/events"), &token, Some(body))
    };
    assert_eq!(send(0, 2).is(200).body, json!({"next": 2, "cancel": null}));
    assert_eq!(send(0, 2).is(200).body["next"], 2, "sent again");
    assert_eq!(send(1, 3).is(200).body["next"], 4, "some are new");
    assert_eq!(send(9, 1).is(200).body["next"], 4, "behind a gap");
    assert_eq!(send(4, 0).is(200).body["next"], 4, "a sign of life");
    send(4, 501).refuses(400, "500");
    let newer = json!({"first": 4, "events": [{"time": "x", "event": "sang", "song": 7},
        {"time": "x", "event": "advanced", "phase": "write", "volume": "d0-p1", "done_bytes": 5, "total_bytes": 9, "transferred_bytes": 1}]});
    assert_eq!(lab.send(POST, &format!("jobs/{job}/events"), &token, Some(newer)).is(200).body["next"], 6);
    lab.send(POST, &format!("jobs/{job}/events"), &token, Some(json!({"first": 6, "events": [7]}))).is(400);
    let kept = lab.get(&format!("jobs/{job}/events"));
    let numbers: Vec<u64> =
        kept.as_array().unwrap().iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    assert_eq!((&kept[3]["event"]["message"], &kept[4]["event"]["song"]), (&json!("3"), &json!(7)));
    assert_eq!(lab.get(&format!("jobs/{job}/events?first=5")).as_array().unwrap().len(), 1);
    assert_eq!(lab.get(&format!("jobs/{job}/events?first=2&limit=2")).as_array().unwrap().len(), 2);
    assert_eq!(lab.get(&format!("jobs/{job}"))["progress"]["done_bytes"], 5);
    // A second claim goes on where the first one was.
    let token = machine.claim(&lab, job);
    let answer = lab
        .send(POST, &format!("jobs/{job}/events"), &token, Some(json!({"first": 0, "events": []})))
        .is(200);
    assert_eq!(answer.body["next"], 6);
    let log = |text: String| {
        lab.request(PUT, &format!("/api/v1/jobs/{job}/log"), &token).body(text).send().unwrap().status()
    };
    assert_eq!(log("first".to_owned()), 204);
    assert_eq!(log("x".repeat((4 << 20) + 1)), 413);
    assert_eq!(log("second\n".to_owned()), 204);
    assert_eq!(lab.admin(GET, &format!("jobs/{job}/log"), Value::Null).is(200).text, "second\n");
    // Finished once, however often it is said.
    let end = |key: Option<&str>| {
        let body = json!({"outcome": "problems", "message": "done", "problems": ["a label was lost"], "target_changed": true});
        lab.send_once(POST, &format!("jobs/{job}/finish"), &token, Some(body), key)
    };
    end(Some("end")).is(204);
    end(Some("end")).is(204);
    end(None).refuses(410, "ended");
    let record = lab.get(&format!("jobs/{job}"));
    assert_eq!((&record["outcome"], &record["state"]), (&json!("problems"), &json!("ended")));
    assert!(record["message"].as_str().unwrap().contains("label"), "{record}");
}

#[test]
fn history_is_read_in_pages() {
    let lab = Lab::new();
    let (machine, image) = (lab.machine(), lab.image());
    let job = || {
        let job = lab.act(&machine, "deploy", &image);
        lab.admin(DELETE, &format!("jobs/{job}"), Value::Null).is(200);
        job
    };
    let mut made: Vec<u64> = (0..5).map(|_| job()).collect();
    made.reverse();
    let numbers = |path: &str| -> Vec<u64> {
        lab.get(path).as_array().unwrap().iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
    };
    for list in [format!("jobs?image={image}&"), format!("images/{image}/history?")] {
        assert_eq!(numbers(&list), made);
        assert_eq!(numbers(&format!("{list}limit=2")), made[..2]);
        assert_eq!(numbers(&format!("{list}limit=2&before={}", made[1])), made[2..4]);
        assert_eq!(numbers(&format!("{list}before={}", made[4])), [0; 0]);
        for wrong in ["limit=0", "limit=1001", "limit=-1", "before=x", "colour=grey"] {
            lab.admin(GET, &format!("{list}{wrong}"), Value::Null).is(400);
        }
    }
    let first = numbers("audit?limit=3");
    let next = numbers(&format!("audit?limit=3&before={}", first[2]));
    assert!(first.len() == 3 && next.len() == 3 && first[2] > next[0], "{first:?} {next:?}");
    lab.admin(GET, "audit?limit=0", Value::Null).is(400);
}

#[test]
fn a_job_is_cancelled_by_word_of_mouth_and_withdrawn_before_it_begins() {
    let lab = Lab::new();
    let (machine, image) = (lab.machine(), lab.image());
    let beat = |job: u64, token: &str| {
        lab.send(POST, &format!("jobs/{job}/events"), token, Some(json!({"first": 0, "events": []})))
            .is(200)
            .body
    };
    let job = lab.act(&machine, "deploy", &image);
    let token = machine.claim(&lab, job);
    assert_eq!(beat(job, &token)["cancel"], Value::Null);
    lab.admin(PUT, &format!("machines/{}/action", machine.name), json!({"action": "reset"}))
        .refuses(409, "cancel");
    lab.admin(DELETE, &format!("jobs/{job}"), Value::Null).is(200);
    assert!(beat(job, &token)["cancel"].as_str().unwrap().contains("cancelled by"));
    finish(&lab, job, &token, "cancelled").is(204);
    lab.admin(DELETE, &format!("jobs/{job}"), Value::Null).refuses(409, "ended");
    assert_eq!(lab.get(&format!("machines/{}", machine.name))["action"], Value::Null, "a wish is no failure");
    // A machine that was started anew before it heard of it does not begin again.
    let job = lab.act(&machine, "deploy", &image);
    machine.claim(&lab, job);
    lab.admin(DELETE, &format!("jobs/{job}"), Value::Null).is(200);
    lab.send(POST, &format!("jobs/{job}/claim"), &machine.token(&lab), None).refuses(410, "cancelled");
    assert_eq!(lab.get(&format!("jobs/{job}"))["outcome"], "cancelled");
    let job = lab.act(&machine, "deploy", &image);
    let withdrawn = lab.admin(DELETE, &format!("jobs/{job}"), Value::Null).is(200).body;
    assert_eq!((&withdrawn["state"], &withdrawn["outcome"]), (&json!("ended"), &json!("cancelled")));
    lab.admin(DELETE, "jobs/999999999", Value::Null).is(404);
}

#[test]
fn machines_wait_in_the_order_in_which_they_asked() {
    let lab = Lab::new();
    let image = lab.image();
    // At a server that is not ours other tests have left some.
    let open = lab.get("jobs?open=true");
    let deploys = |job: &&Value| job["operation"] == "deploy" && job["state"] == "running";
    let running = open.as_array().unwrap().iter().filter(deploys).count();
    lab.settings(json!({"deploys_at_once": running + 1}));
    let machines: Vec<Machine> = (0..3).map(|_| lab.machine()).collect();
    let jobs: Vec<u64> = machines.iter().map(|machine| lab.act(machine, "deploy", &image)).collect();
    let ask = |at: usize| {
        let path = format!("jobs/{}/claim", jobs[at]);
        lab.send(POST, &path, &machines[at].token(&lab), None).is(200).body
    };
    let first = machines[0].claim(&lab, jobs[0]);
    for (at, ahead) in [(1, 0), (2, 1), (1, 0), (2, 1)] {
        let place = ask(at);
        assert_eq!((&place["answer"], &place["ahead"]), (&json!("queued"), &json!(ahead)), "{at}");
        assert!(place["ask_again_seconds"].as_u64().unwrap() > 0);
    }
    assert_eq!(lab.get(&format!("jobs/{}", jobs[2]))["state"], "queued");
    finish(&lab, jobs[0], &first, "done").is(204);
    assert_eq!(ask(2)["answer"], "queued", "the second one comes first");
    assert_eq!(ask(1)["answer"], "granted");
    lab.settings(json!({"deploys_at_once": running + 2}));
    assert_eq!(ask(2)["answer"], "granted");
    let open = lab.get(&format!("jobs?open=true&image={image}"));
    assert_eq!(open.as_array().unwrap().len(), 2);
    lab.admin(GET, "jobs?colour=grey", Value::Null).is(400);
}

#[test]
fn what_a_job_was_made_from_does_not_change_under_it() {
    let lab = Lab::new();
    let (machine, image) = (lab.machine(), lab.image());
    let profile = |name: &str, body: Value| lab.admin(PUT, &format!("images/{image}/profiles/{name}"), body);
    profile("fast", json!({"description": "no expanding", "profile": {"deploy": {"expand": false}}})).is(201);
    profile("copy", json!({"clone_of": "fast", "description": "a copy"})).is(201);
    let copy = lab.get(&format!("images/{image}/profiles/copy"));
    assert_eq!(copy["profile"], json!({"deploy": {"expand": false}}));
    assert_eq!(lab.get(&format!("images/{image}"))["profiles"], json!(["default", "fast", "copy"]));
    profile("fast", json!({"profile": {"deploy": {"explode": true}}})).refuses(400, "explode");
    profile("fast", json!({"colour": "grey"})).refuses(400, "colour");
    profile("fast", json!({"clone_of": "copy", "profile": {}})).refuses(400, "both");
    profile("no/name", json!({})).is(404);
    profile("fast", json!({"profile": {"network_boot": {"arguments": "quiet\nshell"}}}))
        .refuses(400, "line break");
    profile("fast", json!({"profile": {"network_boot": {"kernel": "../../secret"}}})).refuses(400, "kernel");
    let job = lab.act(&machine, "deploy", &format!("{image}/fast"));
    profile("fast", json!({"profile": {}})).refuses(409, &format!("{job}"));
    lab.admin(DELETE, &format!("images/{image}/profiles/fast"), Value::Null).refuses(409, &format!("{job}"));
    lab.admin(DELETE, &format!("images/{image}"), Value::Null).refuses(409, &format!("{job}"));
    lab.admin(DELETE, &format!("machines/{}", machine.name), Value::Null).refuses(409, &format!("{job}"));
    assert_eq!(lab.store(DELETE, &format!("images/{image}/1"), &lab.admin), 409);
    profile("copy", json!({"profile": {}})).is(200);
    let answer = lab.send(POST, &format!("jobs/{job}/claim"), &machine.token(&lab), None).is(200).body;
    assert_eq!(
        (&answer["version"], &answer["profile"]),
        (&json!("1"), &json!({"deploy": {"expand": false}}))
    );
    finish(&lab, job, answer["token"].as_str().unwrap(), "done").is(204);
    profile("fast", json!({"profile": {}})).is(200);
    lab.admin(DELETE, &format!("images/{image}/profiles/fast"), Value::Null).is(204);
    lab.admin(DELETE, &format!("images/{image}/profiles/fast"), Value::Null).is(404);
    lab.admin(DELETE, &format!("images/{image}/profiles/copy"), Value::Null).is(204);
    lab.admin(DELETE, &format!("images/{image}/profiles/default"), Value::Null).refuses(409, "last");
    lab.admin(PUT, &format!("images/{image}"), json!({"enabled": false})).is(200);
    lab.admin(
        PUT,
        &format!("machines/{}/action", machine.name),
        json!({"action": "deploy", "profile": image}),
    )
    .refuses(409, "disabled");
    lab.admin(DELETE, &format!("machines/{}", machine.name), Value::Null).is(204);
    assert_eq!(lab.get(&format!("jobs/{job}"))["machine"], machine.name, "history stays");
}

#[test]
fn a_schema_without_data_is_shown_as_one_and_is_no_image_to_deploy() {
    let lab = Lab::new();
    lab.settings(json!({"open_menu": true}));
    let (machine, image) = (lab.machine(), name("schema"));
    let version = |number: u32| format!("{image}@{number}").parse().unwrap();
    store_fixture::schema(&*lab.open_store(&lab.admin), &version(1));
    lab.admin(PUT, &format!("images/{image}"), json!({"on_demand": true})).is(200);
    assert_eq!(lab.get(&format!("images/{image}"))["schema_only"], true);
    let act = || {
        let body = json!({"action": "deploy", "profile": image});
        lab.admin(PUT, &format!("machines/{}/action", machine.name), body)
    };
    act().refuses(409, "holds a schema and no data");
    let offered = || {
        let images = lab.send(GET, "images", &machine.token(&lab), None).is(200).body;
        let images = images["images"].as_array().unwrap();
        images.iter().find(|offered| offered["name"] == image).unwrap().clone()
    };
    assert_eq!((&offered()["version"], &offered()["schema_only"]), (&Value::Null, &json!(true)));
    // With data, a newer schema behind them is not what is deployed.
    let volume = store_fixture::Volume::new(1);
    store_fixture::capture(&*lab.open_store(&lab.admin), &version(2), &volume);
    store_fixture::schema(&*lab.open_store(&lab.admin), &version(3));
    assert_eq!(lab.get(&format!("images/{image}"))["schema_only"], false);
    assert_eq!((&offered()["version"], &offered()["schema_only"]), (&json!("2"), &json!(false)));
    let job = act().is(200).body["action"]["job"].as_u64().unwrap();
    assert_eq!(lab.get(&format!("jobs/{job}"))["version"], "2");
    lab.settings(json!({"open_menu": false}));
}

#[test]
fn a_job_for_many_is_made_for_each_or_for_none() {
    let lab = Lab::new();
    let (a, b, image, group) = (lab.machine(), lab.machine(), lab.image(), name("room"));
    let (left, right) = (a.name.clone(), b.name.clone());
    let put = |machines: Value| lab.admin(PUT, &format!("groups/{group}"), json!({"machines": machines}));
    put(json!([left, "nobody"])).refuses(404, "nobody");
    put(json!([left])).is(201);
    put(json!([left, right])).is(200);
    assert_eq!(lab.get(&format!("machines/{left}"))["groups"], json!([group]));
    let jobs = |operation: &str, target: Value| {
        lab.admin(POST, "jobs", json!({"operation": operation, "target": target, "profile": image}))
    };
    jobs("capture", json!({"group": group})).refuses(409, "one");
    let busy = lab.act(&b, "deploy", &image);
    jobs("deploy", json!({"group": group})).refuses(409, &right);
    assert_eq!(lab.get(&format!("machines/{left}"))["action"], Value::Null, "for each or for none");
    lab.admin(DELETE, &format!("jobs/{busy}"), Value::Null).is(200);
    let body = json!({"operation": "deploy", "target": {"group": group}, "profile": image});
    let key = name("key");
    let send = || lab.send_once(POST, "admin/jobs", &lab.admin, Some(body.clone()), Some(&key)).is(201).body;
    let made = send();
    assert_eq!(made.as_array().unwrap().len(), 2);
    assert_eq!(made, send(), "a repeated request is the same one");
    for job in made.as_array().unwrap() {
        lab.admin(DELETE, &format!("jobs/{}", job["id"]), Value::Null).is(200);
    }
    lab.admin(DELETE, &format!("groups/{group}"), Value::Null).is(204);
    jobs("deploy", json!({"group": group})).is(404);
    // By model, and by the profile that is for a model.
    a.session(&lab);
    let model = json!({"kind": "ends", "text": left.to_uppercase()});
    let made = jobs("deploy", json!({"model": model})).is(201).body;
    assert_eq!((made.as_array().unwrap().len(), &made[0]["machine"]), (1, &json!(left)));
    lab.admin(DELETE, &format!("jobs/{}", made[0]["id"]), Value::Null).is(200);
    let part = json!({"kind": "contains", "text": left});
    lab.admin(PUT, &format!("images/{image}/profiles/part"), json!({"model_match": part})).is(201);
    lab.admin(PUT, &format!("images/{image}/profiles/whole"), json!({"model_match": model})).is(201);
    let answer = lab.admin(PUT, &format!("machines/{left}/action"), json!({"action": "deploy"})).is(200).body;
    let job = lab.get(&format!("jobs/{}", answer["action"]["job"]));
    assert_eq!(job["profile"], "whole", "an end wins over a part");
}

#[test]
fn a_person_at_a_machine_chooses_what_is_offered_there() {
    let lab = Lab::new();
    lab.settings(json!({"open_menu": false, "open_registration": false}));
    let (offered, kept) = (lab.image(), lab.image());
    lab.admin(PUT, &format!("images/{offered}"), json!({"on_demand": true, "description": "for all"}))
        .is(200);
    let machine = Machine::unknown();
    let closed = machine.token(&lab);
    lab.send(GET, "images", &closed, None).refuses(403, "log in");
    let deploy = |image: &str| Some(json!({"operation": "deploy", "image": image, "disks": ["/dev/sda"]}));
    lab.send(POST, "jobs", &closed, deploy(&offered)).refuses(403, "login");
    lab.settings(json!({"open_menu": true}));
    let token = machine.token(&lab);
    let images = lab.send(GET, "images", &token, None).is(200).body;
    let names = |images: &Value| -> Vec<String> {
        images["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(names(&images).contains(&offered) && !names(&images).contains(&kept));
    let image = images["images"].as_array().unwrap().iter().find(|image| image["name"] == offered).unwrap();
    assert_eq!((&image["version"], &image["disk_bytes"]), (&json!("1"), &json!(65536)));
    assert_eq!(image["profiles"][0]["minimum_disk_bytes"], json!([65536]));
    lab.send(POST, "jobs", &token, deploy(&kept)).refuses(403, &kept);
    let capture =
        |image: &str, new: bool| Some(json!({"operation": "capture", "image": image, "new_image": new}));
    lab.send(POST, "jobs", &token, capture("new", true)).refuses(403, "login");
    let job = lab.send_once(POST, "jobs", &token, deploy(&offered), Some("one")).is(201).body;
    assert_eq!(job, lab.send_once(POST, "jobs", &token, deploy(&offered), Some("one")).is(201).body);
    let id = job["id"].as_u64().unwrap();
    lab.send(POST, &format!("jobs/{id}/claim"), &Machine::unknown().token(&lab), None).is(410);
    let granted = lab.send(POST, &format!("jobs/{id}/claim"), &token, None).is(200).body;
    assert_eq!(granted["profile"], json!({"deploy": {"targets": ["/dev/sda"]}}));
    finish(&lab, id, granted["token"].as_str().unwrap(), "done").is(204);
    // A person may give the computer another name than the profile, or none, by the same rules.
    let profile = json!({"profile": {"deploy": {"computer_name": "pc-{mac}"}}});
    lab.admin(PUT, &format!("images/{offered}/profiles/default"), profile).is(200);
    let images = lab.send(GET, "images", &token, None).is(200).body;
    let image = images["images"].as_array().unwrap().iter().find(|image| image["name"] == offered).unwrap();
    assert_eq!(image["profiles"][0]["computer_name"], "pc-{mac}");
    let named = |name: &str| {
        let wish = json!({"operation": "deploy", "image": offered, "computer_name": name});
        lab.send(POST, "jobs", &token, Some(wish))
    };
    named("pc_1").refuses(400, "is no name for a computer");
    for (name, deploy) in [("pc-07", json!({"computer_name": "pc-07"})), ("", json!({}))] {
        let id = named(name).is(201).body["id"].as_u64().unwrap();
        let granted = lab.send(POST, &format!("jobs/{id}/claim"), &token, None).is(200).body;
        let profile = if deploy == json!({}) { deploy } else { json!({"deploy": deploy}) };
        assert_eq!(granted["profile"], profile, "{name:?}");
        finish(&lab, id, granted["token"].as_str().unwrap(), "done").is(204);
    }
    // Operators also capture, and see what is not offered to everyone.
    let operator = lab.user("operator");
    let login = json!({"user": operator, "password": PASSWORD});
    let person =
        lab.send(POST, "login", &token, Some(login)).is(200).body["token"].as_str().unwrap().to_owned();
    assert!(names(&lab.send(GET, "images", &person, None).is(200).body).contains(&kept));
    let fresh = name("fresh");
    lab.send(POST, "jobs", &person, capture(&fresh, false)).is(404);
    lab.send(POST, "jobs", &person, capture(&kept, true)).refuses(409, &kept);
    lab.send(POST, "jobs", &person, capture("../x", true)).is(400);
    let job = lab.send(POST, "jobs", &person, capture(&fresh, true)).is(201).body;
    let record = lab.get(&format!("jobs/{}", job["id"]));
    assert_eq!((&record["by"], &record["image"]), (&json!(operator), &json!(fresh)));
    assert!(record["machine"].as_str().unwrap().contains(&machine.mac), "{record}");
    lab.settings(json!({"open_menu": false}));
}

#[test]
fn passwords_are_guessed_a_few_times_only() {
    let lab = Lab::new();
    let user = lab.user("operator");
    let login =
        |password: &str| lab.send(POST, "admin/login", "", Some(json!({"user": user, "password": password})));
    for _ in 0..5 {
        login("wrong horse").refuses(401, "password");
    }
    let answer = login(PASSWORD);
    assert!(answer.retry_after.is_some_and(|seconds| seconds > 0), "{answer:?}");
    answer.refuses(429, "wait");
    let nobody = json!({"user": name("nobody"), "password": PASSWORD});
    lab.send(POST, "admin/login", "", Some(nobody)).refuses(401, "password");
    lab.admin(PUT, &format!("users/{}", name("short")), json!({"role": "reader", "password": "short"}))
        .refuses(400, "8");
    lab.admin(PUT, &format!("users/{}", name("none")), json!({"role": "reader"})).refuses(400, "password");
}

#[test]
fn there_is_always_an_administrator_and_a_change_ends_what_a_user_was_logged_in_with() {
    let lab = Lab::new();
    let operator = lab.user("operator");
    let token = lab.log_in(&operator, PASSWORD);
    lab.send(GET, "admin/machines", &token, None).is(200);
    lab.admin(PUT, &format!("users/{operator}"), json!({"role": "reader"})).is(200);
    lab.send(GET, "admin/machines", &token, None).is(401);
    lab.admin(DELETE, &format!("users/{operator}"), Value::Null).is(204);
    lab.send(POST, "admin/login", "", Some(json!({"user": operator, "password": PASSWORD}))).is(401);
    let shown = lab.get("users").to_string();
    assert!(!shown.contains("argon") && !shown.contains("password"), "{shown}");
    if lab.is_ours() {
        lab.admin(DELETE, "users/root", Value::Null).refuses(409, "last administrator");
        lab.admin(PUT, "users/root", json!({"role": "reader"})).refuses(409, "last administrator");
    }
    let trail = lab.get("audit");
    let what = |text: &str| {
        trail.as_array().unwrap().iter().any(|line| line["what"].as_str().unwrap().contains(text))
    };
    assert!(what(&format!("user {operator}: deleted")), "{trail:#}");
    lab.admin(PUT, "settings", json!({"silence_seconds": 1})).refuses(400, "silence_seconds");
    lab.admin(PUT, "settings", json!({"colour": "grey"})).refuses(400, "colour");
    lab.admin(POST, "machines", json!({"name": name("pc")})).refuses(400, "macs");
    let machine = lab.machine();
    lab.admin(POST, "machines", json!({"name": name("pc"), "macs": [machine.mac]}))
        .refuses(409, &machine.name);
    let (renamed, card) = (name("pc"), mac());
    let change = json!({"name": renamed, "macs": [machine.mac, card]});
    lab.admin(PATCH, &format!("machines/{}", machine.name), change).is(200);
    assert_eq!(Machine { name: String::new(), mac: card }.session(&lab)["machine"]["name"], renamed);
}

#[test]
fn a_machine_that_boots_from_the_network_starts_what_it_is_to_do() {
    let lab = Lab::new();
    let script = |mac: &str| {
        lab.request(GET, &format!("/boot/machine.ipxe?mac={mac}"), "").send().unwrap().text().unwrap()
    };
    let (machine, image) = (lab.machine(), lab.image());
    lab.settings(json!({"menu_without_job": false}));
    let text = script(&machine.mac);
    assert!(
        text.starts_with("#!ipxe\n") && text.contains("set decision disk") && !text.contains("kernel"),
        "{text}"
    );
    let network = json!({"kernel": "own/vmlinuz", "arguments": "console=ttyS0"});
    lab.admin(PUT, &format!("images/{image}/profiles/serial"), json!({"profile": {"network_boot": network}}))
        .is(201);
    let job = lab.act(&machine, "deploy", &format!("{image}/serial"));
    let text = script(&machine.mac.to_uppercase().replace(':', "-"));
    let host = lab.url.split("://").nth(1).unwrap();
    for part in ["own/vmlinuz", "remint.mode=run", "console=ttyS0", "remint.server=${server}", host] {
        assert!(text.contains(part), "{part}: {text}");
    }
    finish(&lab, job, &machine.claim(&lab, job), "failed").is(204);
    assert!(script(&machine.mac).contains("failed"), "after a failure it starts from its own disk");
    lab.settings(json!({"menu_without_job": true}));
    assert!(script("52:54:00:00:00:99").contains("remint.mode=menu"));
    lab.settings(json!({"menu_without_job": false}));
    for wrong in ["", "x", "52:54:00:00:00:99%0ashell"] {
        let answer = lab.request(GET, &format!("/boot/machine.ipxe?mac={wrong}"), "").send().unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
    }
}

#[test]
fn the_description_has_the_paths_of_the_server_and_no_others() {
    use std::collections::BTreeSet;
    let source = |file: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server").join(file);
        std::fs::read_to_string(path).unwrap()
    };
    let mut served = BTreeSet::new();
    for (file, base, of) in [
        ("routes.rs", "/api/v1", "let jobs ="),
        ("routes.rs", "/store", "let store ="),
        ("routes.rs", "", "    Router::new()\n        .route(\"/healthz\""),
        ("administration/mod.rs", "/api/v1/admin", "Router::new()"),
    ] {
        let text = source(file);
        let (_, behind) = text.split_once(of).unwrap();
        let block = if base.is_empty() { format!(".route(\"/healthz\"{behind}") } else { behind.to_owned() };
        let block = block.split(".nest(").next().unwrap().split("let jobs").next().unwrap();
        for route in block.split(".route(").skip(1) {
            let path = route.split('"').nth(1).unwrap().replace("{*", "{");
            let methods = ["get", "post", "put", "patch", "delete"];
            let known = methods.iter().filter(|method| route.contains(&format!("{method}(")));
            served.extend(known.map(|method| format!("{method} {base}{path}")));
        }
    }
    let paths = contract_peer::openapi::description()["paths"].as_object().unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in paths {
        described.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    assert!(served.len() > 40, "{served:?}");
    assert_eq!(served, described);
}
