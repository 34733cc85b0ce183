//! A machine that never had a job gets the image for its model when it boots, once, and nothing that it says becomes part of
//! what it starts. At any server, as tests/contract.rs.
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

use contract_peer::{Lab, Machine, finish, mac, name};
use remint::units::Hex;
use reqwest::Method;
use serde_json::{Value, json};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

/// The name that a machine is registered under.
fn name_of(card: &str) -> String {
    format!("machine-{}", card.replace(':', "-"))
}

/// What a boot loader is given.
fn script(lab: &Lab, card: &str, model: &str) -> String {
    let model = Hex(model.as_bytes().to_vec());
    let path = format!("/boot/machine.ipxe?mac={card}&model={model}");
    let answer = lab.request(GET, &path, "").send().unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().unwrap()
}

fn session(lab: &Lab, card: &str, model: &str) -> Value {
    let machine = json!({"macs": [card], "model": model});
    let body = json!({"agent": "0.1.0", "machine": machine, "unattended": true});
    lab.send(POST, "sessions", "", Some(body)).is(200).body
}

/// Lets a machine boot from the network: the script, and the session where that starts Remint unattended. Both have to
/// agree. The job, where it got one.
fn boots(lab: &Lab, card: &str, model: &str) -> Option<Value> {
    let starts = script(lab, card, model).contains("remint.mode=run");
    let job = session(lab, card, model)["job"].clone();
    assert_eq!(starts, !job.is_null(), "{model}: {job}");
    (!job.is_null()).then_some(job)
}

/// An image that was captured, for this kind of match.
fn image_for(lab: &Lab, kind: &str, text: &str) -> String {
    let image = lab.image();
    is_for(lab, &image, kind, text);
    image
}

fn is_for(lab: &Lab, image: &str, kind: &str, text: &str) {
    let body = json!({"model_match": {"kind": kind, "text": text}});
    lab.admin(PUT, &format!("images/{image}/profiles/default"), body).is(200);
}

fn end(lab: &Lab, card: &str, job: u64, outcome: &str) {
    let machine = Machine { name: name_of(card), mac: card.to_owned() };
    finish(lab, job, &machine.claim(lab, job), outcome).is(204);
}

#[test]
fn an_equal_model_comes_before_a_beginning_before_an_end_before_a_part() {
    let lab = Lab::new();
    let (text, part) = (name("Tower"), name("Part"));
    let model = format!("{text} {part} of {text}");
    for (kind, matched) in [
        ("contains", &part),
        ("contains", &format!("{part} of")),
        ("ends", &text),
        ("starts", &text),
        ("equals", &model),
    ] {
        let image = image_for(&lab, kind, &matched.to_uppercase());
        let card = mac();
        let offered = script(&lab, &card, &model);
        assert!(offered.contains(&image) && offered.contains("remint.mode=run"), "{kind}: {offered}");
        let job = boots(&lab, &card, &model).unwrap();
        assert_eq!((&job["image"], &job["operation"]), (&json!(image), &json!("deploy")), "{kind}");
    }
    assert_eq!(boots(&lab, &mac(), &text.chars().rev().collect::<String>()), None);
}

#[test]
fn an_unknown_machine_is_registered_and_deployed_once_and_history_says_why() {
    let lab = Lab::new();
    let model = name("Tower");
    let image = image_for(&lab, "equals", &model);
    let card = mac();
    let introduced = session(&lab, &card, &model);
    assert_eq!(introduced["machine"]["name"], name_of(&card));
    assert_eq!(introduced["on_demand"]["register"], false);
    let job = introduced["job"]["id"].as_u64().unwrap();
    assert_eq!(session(&lab, &card, &model)["job"]["id"], job, "asked again, it is the same job");
    let record = lab.get(&format!("jobs/{job}"));
    assert_eq!((&record["by"], &record["machine"]), (&json!("model match"), &json!(name_of(&card))));
    let machine = lab.get(&format!("machines/{}", name_of(&card)));
    assert_eq!(machine["assigned"], json!(format!("{image}/default")));
    assert_eq!(lab.get(&format!("images/{image}/history"))[0]["by"], "model match");
    let trail = lab.get("audit");
    let says = |what: &str| {
        let line =
            |line: &Value| line["who"] == "model match" && line["what"].as_str().unwrap().contains(what);
        trail.as_array().unwrap().iter().any(line)
    };
    assert!(says(&format!("machine {}: registered", name_of(&card))), "{trail:#}");
    assert!(says(&format!("job {job}: deploy {image}/default")), "{trail:#}");
    end(&lab, &card, job, "done");
    assert_eq!(boots(&lab, &card, &model), None, "it is done");
    assert!(script(&lab, &card, &model).contains("set decision disk"));
}

#[test]
fn what_ever_had_a_job_gets_none_by_itself() {
    let lab = Lab::new();
    let model = name("Tower");
    let image = image_for(&lab, "starts", &model);
    // It failed.
    let card = mac();
    let job = boots(&lab, &card, &model).unwrap()["id"].as_u64().unwrap();
    end(&lab, &card, job, "failed");
    assert_eq!(boots(&lab, &card, &model), None, "after a failure it does not loop");
    lab.admin(PUT, &format!("machines/{}/action", name_of(&card)), json!({"action": "reset"})).is(200);
    assert_eq!(boots(&lab, &card, &model), None);
    // It was deleted and comes back.
    lab.admin(DELETE, &format!("machines/{}", name_of(&card)), Value::Null).is(204);
    assert_eq!(boots(&lab, &card, &model), None);
    // It was withdrawn before it began.
    let card = mac();
    let job = boots(&lab, &card, &model).unwrap()["id"].as_u64().unwrap();
    lab.admin(DELETE, &format!("jobs/{job}"), Value::Null).is(200);
    assert_eq!(boots(&lab, &card, &model), None);
    // An administrator's action, on a machine that he added.
    let known = lab.machine();
    let job = lab.act(&known, "deploy", &image);
    finish(&lab, job, &known.claim(&lab, job), "done").is(204);
    assert_eq!(boots(&lab, &known.mac, &model), None);
    // A person's choice at the menu of a machine that nobody registered.
    lab.admin(PUT, &format!("images/{image}"), json!({"on_demand": true})).is(200);
    lab.settings(json!({"open_menu": true}));
    let card = mac();
    let body = json!({"agent": "0.1.0", "machine": {"macs": [card], "model": model}});
    let attended = lab.send(POST, "sessions", "", Some(body)).is(200).body;
    assert_eq!((&attended["job"], &attended["machine"]), (&Value::Null, &Value::Null), "a person chooses");
    let token = attended["token"].as_str().unwrap();
    let wish = json!({"operation": "deploy", "image": image, "disks": ["/dev/sda"]});
    lab.send(POST, "jobs", token, Some(wish)).is(201);
    assert_eq!(boots(&lab, &card, &model), None);
    lab.settings(json!({"open_menu": false}));
}

#[test]
fn a_known_machine_that_never_had_a_job_gets_one_unless_something_else_is_assigned_to_it() {
    let lab = Lab::new();
    let model = name("Tower");
    let image = image_for(&lab, "ends", &model);
    let other = lab.image();
    let assign = |to: &str| {
        let machine = lab.machine();
        let body = json!({"assigned": to});
        lab.admin(Method::PATCH, &format!("machines/{}", machine.name), body).is(200);
        machine
    };
    let plain = lab.machine();
    assert_eq!(boots(&lab, &plain.mac, &model).unwrap()["image"], image);
    assert_eq!(lab.get(&format!("machines/{}", plain.name))["name"], plain.name, "it keeps its name");
    assert!(boots(&lab, &assign(&image).mac, &model).is_some());
    assert_eq!(boots(&lab, &assign(&other).mac, &model), None);
    lab.admin(PUT, &format!("images/{image}/profiles/second"), json!({"description": "another"})).is(201);
    assert_eq!(boots(&lab, &assign(&format!("{image}/second")).mac, &model), None);
    // With another card it is still the one that had a job.
    let uuid = "6c4c4544-0042-3510-8051-b8c04f4e4d32";
    let docked = json!({"model": model, "serial": name("S"), "uuid": uuid});
    let mut body = json!({"agent": "0.1.0", "machine": docked, "unattended": true});
    for (card, has_job) in [(mac(), true), (mac(), false)] {
        body["machine"]["macs"] = json!([card]);
        let answer = lab.send(POST, "sessions", "", Some(body.clone())).is(200).body;
        assert_eq!(answer["job"] != Value::Null, has_job, "{answer}");
        if let (true, Some(job)) = (has_job, answer["job"]["id"].as_u64()) {
            lab.admin(DELETE, &format!("jobs/{job}"), Value::Null).is(200);
            lab.admin(DELETE, &format!("machines/{}", name_of(&card)), Value::Null).is(204);
        }
    }
    // A card of another machine: who this is, people say.
    let owner = lab.machine();
    let with = |cards: Value, serial: &str, uuid: &str| {
        let machine = json!({"macs": cards, "model": model, "serial": serial, "uuid": uuid});
        let body = json!({"agent": "0.1.0", "machine": machine, "unattended": serial != "S-1"});
        lab.send(POST, "sessions", "", Some(body)).is(200).body
    };
    with(json!([owner.mac]), "S-1", "4c4c4544-0042-3510-8051-b8c04f4e4d32");
    let stranger = mac();
    let answer = with(json!([stranger, owner.mac]), "S-2", "5c4c4544-0042-3510-8051-b8c04f4e4d32");
    assert_eq!((&answer["machine"], &answer["job"]), (&Value::Null, &Value::Null));
    assert!(script(&lab, &stranger, &model).contains("set decision disk"));
}

#[test]
fn what_is_disabled_never_captured_or_switched_off_is_given_to_nobody() {
    let lab = Lab::new();
    let model = name("Tower");
    let empty = name("image");
    lab.admin(PUT, &format!("images/{empty}"), json!({})).is(201);
    is_for(&lab, &empty, "equals", &model);
    let card = mac();
    assert_eq!(boots(&lab, &card, &model), None, "never captured");
    let store = lab.open_store(&lab.admin);
    store_fixture::schema(&*store, &format!("{empty}@0").parse().unwrap());
    assert_eq!(boots(&lab, &card, &model), None, "a schema without data");
    lab.store_image(&empty, &lab.admin);
    lab.admin(PUT, &format!("images/{empty}"), json!({"enabled": false})).is(200);
    assert_eq!(boots(&lab, &card, &model), None, "disabled");
    lab.admin(PUT, &format!("images/{empty}"), json!({"enabled": true})).is(200);
    lab.settings(json!({"model_match": false}));
    assert_eq!(boots(&lab, &card, &model), None, "switched off");
    assert_eq!(session(&lab, &card, &model)["machine"], Value::Null, "and nothing is registered");
    lab.settings(json!({"model_match": true}));
    assert!(boots(&lab, &card, &model).is_some());
}

#[test]
fn nothing_that_a_machine_says_becomes_part_of_its_script_and_its_name_is_free() {
    let lab = Lab::new();
    let model = name("Tower");
    image_for(&lab, "starts", &model);
    for more in ["\nshell", " || shell", "${net0/mac}", "\" ; shell", "\u{0}", "ä"] {
        let said = format!("{model}{more}");
        let given = script(&lab, &mac(), &said);
        assert!(given.contains("remint.mode=run"), "{given}");
        assert!(!given.contains(&model) && !given.contains("shell") && !given.contains("net0"), "{given}");
    }
    let wrong = lab.request(GET, &format!("/boot/machine.ipxe?mac={}&model=4g", mac()), "").send().unwrap();
    assert_eq!(wrong.status(), 400);
    let long = format!("{model}{}", "x".repeat(300));
    assert!(!script(&lab, &mac(), &long).contains("remint.mode=run"));
    assert_eq!(session(&lab, &mac(), &long)["job"], Value::Null);
    // What a machine said in its session counts more than its boot loader: it is not sent again for what it does not get.
    let card = mac();
    assert!(script(&lab, &card, &model).contains("remint.mode=run"));
    assert_eq!(session(&lab, &card, "something else")["job"], Value::Null);
    assert!(!script(&lab, &card, &model).contains("remint.mode=run"));
    let taken = mac();
    let body = json!({"name": name_of(&taken), "macs": [mac()]});
    lab.admin(POST, "machines", body).is(201);
    assert_eq!(session(&lab, &taken, &model)["machine"]["name"], format!("{}-2", name_of(&taken)));
}
