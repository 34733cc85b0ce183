//! What the program says and how it ends: exit codes, sentences, events, help, confirmation, listings.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::running::Running;
use lab::{Kind, MIB, remint, remint_ends, text};
use remint::progress::{Event, Phase};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-L", "root"] };

/// A disk with one ext4, and a store that holds it as `lab`.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = lab::folder();
        let disk = folder.path().join("disk.img");
        let script = "label: gpt\nsize=24MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root";
        let places = lab::partitioned_disk(&disk, 32 * MIB, 512, script);
        let (files, part) = (folder.path().join("files"), folder.path().join("part.img"));
        fs::create_dir(&files).unwrap();
        fs::create_dir(files.join("deep")).unwrap();
        fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
        fs::write(files.join("content"), lab::Noise::new(2).bytes(3_000_000)).unwrap();
        EXT4.build(&part, places[0].length, &files);
        lab::put(&disk, places[0].start, &part);
        let lab = Self { folder };
        remint_ends(
            0,
            &["capture", "lab", "--to", &lab.store(), "--disk", &lab.disk(), "--comment", "first"],
        );
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn disk(&self) -> String {
        text(&self.path("disk.img")).to_owned()
    }

    fn store(&self) -> String {
        text(&self.path("store")).to_owned()
    }

    /// A disk full of noise.
    fn target(&self, name: &str) -> String {
        lab::noisy_disk(&self.path(name), 40 * MIB);
        text(&self.path(name)).to_owned()
    }

    /// The largest chunk of the store.
    fn chunk(&self) -> PathBuf {
        let chunks = lab::chunk_files(&self.path("store")).into_keys();
        chunks.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
    }
}

#[test]
fn every_exit_code_means_what_it_says() {
    let lab = Lab::new();
    let (store, target) = (lab.store(), lab.target("target.img"));
    let before = lab::hash_of(Path::new(&target));
    let deploy = ["deploy", "lab", "--from", &store, "--disk", &target, "--yes"];

    // 1: failed, and nothing was changed: a chunk is missing.
    let chunk = lab.chunk();
    let frame = fs::read(&chunk).unwrap();
    fs::remove_file(&chunk).unwrap();
    let said = remint_ends(1, &deploy);
    assert!(said.contains("nothing was written") && said.contains("d0-p1"), "{said}");
    assert_eq!(lab::hash_of(Path::new(&target)), before);

    // 3: finished with problems: the image is damaged.
    let said = remint_ends(3, &["verify", "lab", "--from", &store]);
    assert!(said.contains("d0-p1") && said.contains("is damaged: 1 fault"), "{said}");

    // 4: failed after the target was changed: a chunk is there, and its content is not what was captured.
    let mut damaged = frame.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&chunk, &damaged).unwrap();
    let said = remint_ends(4, &deploy);
    assert!(said.contains("left without a partition table") && said.contains("d0-p1"), "{said}");
    assert!(said.contains("remint verify --deep"), "the way out: {said}");
    assert!(lab::bytes(Path::new(&target), 0, MIB).iter().all(|byte| *byte == 0));
    assert!(remint_ends(0, &["inspect", &target]).contains("No partition table"));
    remint_ends(0, &["verify", "lab", "--from", &store]);
    let said = remint_ends(3, &["verify", "lab", "--from", &store, "--deep", "--json"]);
    let report: Value =
        serde_json::from_str(said.split("\n}\n").next().map(|json| format!("{json}\n}}")).unwrap().trim())
            .unwrap();
    assert_eq!(report["faults"][0]["volume"], "d0-p1", "{said}");

    // 0: done.
    fs::write(&chunk, &frame).unwrap();
    remint_ends(0, &deploy);
    assert!(remint_ends(0, &["verify", "lab", "--from", &store, "--deep"]).contains("lab@"));

    // 3 again: a manifest that cannot be read does not hide the others.
    let versions = lab.path("store/images/lab");
    fs::create_dir(versions.join("broken")).unwrap();
    fs::write(versions.join("broken/image.json"), "{").unwrap();
    let said = remint_ends(3, &["images", &store]);
    assert!(said.contains("first") && said.contains("warning") && said.contains("lab@broken"), "{said}");
}

#[test]
fn wrong_usage_ends_with_2_before_anything_is_opened() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["capture", "lab"],
        &["capture", "a/b", "--to", "/nowhere"],
        &["capture", "lab", "--to", "/nowhere", "--compress", "20"],
        &["capture", "lab", "--to", "/nowhere", "--workers", "0"],
        &["capture", "lab", "--to", "/nowhere", "--trust", "me"],
        &["plan", "lab", "--from", "/nowhere"],
        &["plan", "lab", "--from", "/nowhere", "--size", "5XB"],
        &["plan", "lab", "--from", "/nowhere", "--size", "5GB", "--disk", "/nowhere"],
        &["plan", "lab@", "--from", "/nowhere", "--size", "5GB"],
        &["deploy", "lab", "--from", "/nowhere", "--yes"],
        &["inspect", "--sector-size", "513"],
        &["verify", "lab", "--from", "http://nowhere/", "--fingerprint", "ab"],
        &["serve", "--data", "/nowhere", "--tls-key", "/nowhere"],
    ] {
        let said = remint_ends(2, arguments);
        assert!(said.contains("error") || said.contains("Usage"), "{said}");
    }
    for arguments in [&["--help"][..], &["--version"], &["help", "deploy"]] {
        remint_ends(0, arguments);
    }
}

#[test]
fn errors_name_the_thing_the_place_and_the_way_out() {
    let lab = Lab::new();
    let (store, disk) = (lab.store(), lab.disk());
    let folder = text(lab.folder.path()).to_owned();
    let (missing, empty) = (format!("{folder}/missing"), format!("{folder}/empty"));
    fs::write(&empty, "\n").unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["inspect", &missing], &[&missing, "No such file"]),
        (&["inspect", &folder], &[&folder, "neither a block device nor a plain file", "/dev/sda"]),
        (&["inspect", &empty, &empty], &[&empty, "truncate"]),
        (&["capture", "lab", "--to", &store, "--disk", &disk, "--disk", &disk], &[&disk, "twice"]),
        (
            &["capture", "lab", "--to", &store, "--disk", &disk, "--only", "d0-p9"],
            &["\"d0-p9\"", "d0-boot", "d0-p1"],
        ),
        (
            &["capture", "lab", "--to", &format!("{disk}/store"), "--disk", &disk],
            &[&disk, "opening the store"],
        ),
        (&["plan", "other", "--from", &store, "--size", "1GB"], &["\"other\"", &store, "lab"]),
        (&["plan", "lab@old", "--from", &store, "--size", "1GB"], &["lab@old"]),
        (&["plan", "lab", "--from", &missing, "--size", "1GB"], &[&missing]),
        (&["plan", "lab", "--from", "ftp://x/", "--size", "1GB"], &["ftp://", "http://"]),
        (&["verify", "lab", "--from", &store, "--token-file", &missing], &[&missing, "token"]),
        (&["verify", "lab", "--from", &store, "--token-file", &empty], &[&empty, "is empty"]),
        (&["images", &store, "delete", "lab@old"], &["lab@old"]),
        (
            &["verify", "lab", "--from", "http://127.0.0.1:9/store", "--retry-for", "0"],
            &["http://127.0.0.1:9/store", "refused"],
        ),
    ];
    for (arguments, wanted) in cases {
        let said = remint_ends(1, arguments);
        assert!(said.starts_with("remint: "), "{said}");
        for part in *wanted {
            assert!(said.contains(part), "{arguments:?} does not say {part}: {said}");
        }
    }
    let said = remint_ends(2, &["images", &store, "delete", "lab"]);
    assert!(said.contains("lab@VERSION") && said.contains("remint images"), "{said}");
}

#[test]
fn every_line_of_json_is_an_event_and_every_phase_is_told() {
    let lab = Lab::new();
    let (store, disk, target) = (lab.store(), lab.disk(), lab.target("target.img"));
    let started = |arguments: &[&str]| {
        let ended = Running::start(arguments).end();
        assert_eq!(ended.code, Some(0), "{:?}", ended.events);
        assert!(matches!(ended.events.last(), Some(Event::Finished { problems: false, .. })));
        let phase = |event: &Event| match event {
            Event::PhaseStarted { phase, .. } => Some(*phase),
            _ => None,
        };
        let finished = |phase| ended.events.contains(&Event::PhaseFinished { phase });
        let phases: Vec<Phase> = ended.events.iter().filter_map(phase).collect();
        assert!(phases.iter().all(|phase| finished(*phase)), "{:?}", ended.events);
        phases
    };
    assert_eq!(
        started(&["capture", "json", "--to", &store, "--disk", &disk]),
        [Phase::Inspect, Phase::Capture]
    );
    assert_eq!(
        started(&["deploy", "json", "--from", &store, "--disk", &target, "--yes"]),
        [Phase::Preflight, Phase::Clear, Phase::Write, Phase::Commit]
    );
    let ended = Running::start(&["verify", "json", "--from", &store, "--deep"]).end();
    assert_eq!((ended.code, ended.events.is_empty()), (Some(0), false));
    let done = |event: &Event| matches!(event, Event::Advanced { done_bytes, total_bytes, .. } if done_bytes == total_bytes);
    assert!(ended.events.iter().any(done), "the end of the progress is told: {:?}", ended.events);
    let ended = Running::start(&["deploy", "none", "--from", &store, "--disk", &target, "--yes"]).end();
    assert!(ended.failure().0.contains("none") && !ended.failure().1);
}

#[test]
fn every_help_text_has_an_example_that_is_accepted() {
    let overview = remint_ends(0, &["--help"]);
    assert!(overview.contains("Exit codes: 0 done"), "{overview}");
    for verb in ["inspect", "capture", "plan", "deploy", "verify", "images", "serve"] {
        assert!(overview.contains(&format!("  {verb} ")), "{overview}");
        let help = remint_ends(0, &[verb, "--help"]);
        let joined = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, behind) =
            joined.split_once(&format!("Example: remint {verb}")).unwrap_or_else(|| panic!("{help}"));
        let (example, _) = behind.split_once(" Usage:").unwrap();
        // An unknown option behind it is the first thing that is wrong with the example.
        let mut arguments: Vec<&str> = std::iter::once(verb).chain(example.split_whitespace()).collect();
        arguments.push("--nonsense");
        let said = remint_ends(2, &arguments);
        assert!(said.contains("unexpected argument '--nonsense'"), "{said}");
    }
}

/// Runs `remint deploy` on a pseudo-terminal and types `answer`.
fn typed(arguments: &str, answer: &str) -> (Option<i32>, String) {
    let command = format!("'{}' {arguments}", env!("CARGO_BIN_EXE_remint"));
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_deploy_asks_whoever_is_there_and_never_assumes() {
    let lab = Lab::new();
    let (store, target) = (lab.store(), lab.target("target.img"));
    let before = lab::hash_of(Path::new(&target));
    let output = Command::new(env!("CARGO_BIN_EXE_remint"))
        .args(["deploy", "lab", "--from", &store, "--disk", &target])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.contains("--yes")), (Some(2), true), "{said}");
    let arguments = format!("deploy lab --from {store} --disk {target}");
    for wrong in ["y\n", "yes\n", "\n", "/dev/sda\n"] {
        let (code, said) = typed(&arguments, wrong);
        assert!(code == Some(1) && said.contains("not confirmed, nothing was written"), "{said}");
        assert!(said.contains("d0-p1") || said.contains("partition 1"), "the plan is shown: {said}");
        assert!(said.contains(&format!("Type {target} to go on")), "{said}");
    }
    assert_eq!(lab::hash_of(Path::new(&target)), before);
    let (code, said) = typed(&arguments, &format!("{target}\n"));
    assert!(code == Some(0) && said.contains("deployed lab@"), "{said}");
    let there = lab::partitions(Path::new(&target), 512);
    EXT4.check(Path::new(&target), there[0].start, there[0].length);
}

#[test]
fn a_plan_writes_nothing_and_can_be_read_by_scripts() {
    let lab = Lab::new();
    let (store, target) = (lab.store(), lab.target("target.img"));
    let (before, files) = (lab::hash_of(Path::new(&target)), lab::tree(&lab.path("store")));
    for layout in ["original", "dynamic"] {
        let plan = ["plan", "lab", "--from", &store, "--disk", &target, "--layout", layout];
        let said = remint_ends(0, &plan);
        assert!(said.contains(&target) && said.contains("ext4"), "{said}");
        let output = remint(&[plan.as_slice(), &["--json"]].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&json["image"], &json["disks"][0]["target"]["path"]),
            (&"lab".into(), &target.as_str().into())
        );
        assert_eq!(json["disks"][0]["volumes"][1]["volume"], "d0-p1", "{json}");
    }
    let said = remint_ends(0, &["plan", "lab", "--from", &store, "--size", "500GB"]);
    assert!(said.contains("a disk of "), "{said}");
    let small = remint_ends(1, &["plan", "lab", "--from", &store, "--size", "20MB"]);
    assert!(small.contains("too small") && small.contains("partition 1"), "{small}");
    assert_eq!(lab::hash_of(Path::new(&target)), before);
    assert_eq!(lab::tree(&lab.path("store")), files);
}

#[test]
fn images_are_listed_shown_deleted_and_collected() {
    let lab = Lab::new();
    let store = lab.store();
    let json = |arguments: &[&str]| -> Value {
        let output = remint(&[&["images", &store, "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(0));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let listed = json(&[]);
    assert_eq!((&listed[0]["image"], &listed[0]["comment"]), (&"lab".into(), &"first".into()));
    assert_eq!(listed[0]["disk_bytes"], 32 * MIB);
    assert_eq!(json(&["list", "lab"]), listed);
    let said = remint_ends(0, &["images", &store]);
    assert!(said.starts_with("IMAGE") && said.contains("32.0 MiB") && said.contains("first"), "{said}");
    let said = remint_ends(0, &["images", &store, "show", "lab"]);
    assert!(said.contains("root") && said.contains("ext4") && said.contains("first"), "{said}");
    let version = listed[0]["version"].as_str().unwrap();
    let manifest = json(&["show", &format!("lab@{version}")]);
    assert_eq!(
        manifest["disks"][0]["volumes"][1]["file_system"]["label"]
            .as_str()
            .or(manifest["disks"][0]["volumes"][1]["content"]["label"].as_str()),
        Some("root"),
        "{manifest}"
    );

    // What was stored a moment ago may belong to a capture that runs: only old chunks are collected.
    let said = remint_ends(0, &["images", &store, "delete", &format!("lab@{version}")]);
    assert!(said.contains("collect"), "{said}");
    assert_eq!(remint_ends(0, &["images", &store]), "no images\n");
    let chunks = lab::chunk_files(&lab.path("store"));
    let report = json(&["collect"]);
    assert_eq!((&report["deleted_chunks"], &report["kept_chunks"]), (&0.into(), &chunks.len().into()));
    for chunk in chunks.keys() {
        lab::run("touch", &["-d", "2 days ago", text(chunk)]);
    }
    let report = json(&["collect", "--dry-run"]);
    assert_eq!(report["deleted_chunks"], chunks.len());
    assert_eq!(lab::chunk_files(&lab.path("store")).len(), chunks.len());
    let said = remint_ends(0, &["images", &store, "collect"]);
    assert!(said.starts_with(&format!("deleted {} chunks", chunks.len())), "{said}");
    assert!(lab::chunk_files(&lab.path("store")).is_empty());
}

/// Two users share a folder that both may write to: chunks of the first cannot be marked by the second.
#[test]
fn a_capture_into_a_folder_shared_with_another_user_stores_what_it_may_not_mark() {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let lab = Lab::new();
    // Where the program was built, another user may not even look.
    let program = lab.path("remint");
    fs::copy(env!("CARGO_BIN_EXE_remint"), &program).unwrap();
    lab::run("chmod", &["--recursive", "u=rwX,go=rX", text(lab.folder.path())]);
    lab::run("find", &[&lab.store(), "-type", "d", "-exec", "chmod", "777", "{}", "+"]);
    let owned = |path: &PathBuf| fs::metadata(path).unwrap().uid();
    let output = Command::new(&program)
        .args(["capture", "lab", "--to", &lab.store(), "--disk", &lab.disk()])
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lab::chunk_files(&lab.path("store")).keys().all(|path| owned(path) == NOBODY));
    remint_ends(0, &["verify", "lab", "--from", &lab.store(), "--deep"]);
}
