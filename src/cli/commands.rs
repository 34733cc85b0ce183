//! The verbs: what the arguments say becomes a request to the agent, and its outcome becomes text.

use super::arguments::{Capture, Command, Deploy, Images, ImagesAction, Inspect, Menu, Plan, Run, Verify};
use super::listener::Listener;
use super::print;
use anyhow::{Context, Result, bail};
use remint::agent::{
    self, CaptureRequest, DeployRequest, DiskSettings, ExitCode, PlanTarget, PreparedDeploy, RunRequest,
    TargetRequest, reading_workers,
};
use remint::image::{CollectOptions, ImageVersion, Store};
use remint::linux;
use remint::menu::{self, MenuRequest};
use remint::plan::{DiskPlan, Stays};
use remint::progress::{Event, Monitor, Phase};
use remint::protocol::Inventory;
use remint::units::format_size;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// A failure that is the caller's: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

impl Usage {
    /// What the caller is to do otherwise.
    pub fn new(fact: &str) -> Self {
        Self(fact.to_owned())
    }
}

/// Carries out a command.
pub fn run(command: Command, listener: &Listener) -> Result<ExitCode> {
    match command {
        Command::Inspect(arguments) => inspect(&arguments),
        Command::Capture(arguments) => capture(&arguments, listener),
        Command::Plan(arguments) => plan(&arguments, listener),
        Command::Deploy(arguments) => deploy(&arguments, listener),
        Command::Customize(arguments) => super::customize::customize(&arguments, listener),
        Command::Run(arguments) => run_job(&arguments, listener),
        Command::Menu(arguments) => menu(&arguments, listener),
        Command::Verify(arguments) => verify(&arguments, listener),
        Command::Images(arguments) => images(&arguments, listener),
        #[cfg(feature = "server")]
        Command::Serve(arguments) => serve(arguments, listener),
        #[cfg(feature = "server")]
        Command::Admin(arguments) => super::admin::run(*arguments, listener),
    }
}

/// Reads a bearer token: the first line of a file.
pub fn read_token(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("reading the token file {}", file.display()))?;
    let token = text.lines().next().unwrap_or_default().trim().to_owned();
    if token.is_empty() {
        bail!("the token file {} is empty", file.display());
    }
    Ok(token)
}

fn inspect(arguments: &Inspect) -> Result<ExitCode> {
    // What is only looked at is shown as far as it can be read.
    let inspected = agent::inspect(
        &arguments.disks,
        DiskSettings { sector_size: arguments.disk.sector_size, ..DiskSettings::default() },
        &arguments.luks_keys,
    )?;
    if arguments.json {
        print(&json(&agent::inspection_json(&inspected))?);
    } else if inspected.disks.is_empty() {
        print("no disk was found\n");
    } else {
        print(&agent::inspection_text(&inspected));
    }
    for problem in &inspected.problems {
        eprintln!("remint: {problem}");
    }
    Ok(if inspected.problems.is_empty() { ExitCode::Done } else { ExitCode::Problems })
}

fn capture(arguments: &Capture, listener: &Listener) -> Result<ExitCode> {
    let store = arguments.store.settings(&arguments.to, listener.stop())?;
    let mut request = CaptureRequest::new(arguments.image.clone(), store, &arguments.choices())?;
    request.disk_settings.sector_size = arguments.disk.sector_size;
    request.allow_in_use = arguments.allow_in_use;
    request.spill = arguments.spill.clone();
    request.workers = arguments.workers.unwrap_or(request.workers);
    listener.work_begins();
    let outcome = agent::capture(&request, listener)?;
    Ok(made(&outcome.sentence(&arguments.to), &outcome.problems(), listener))
}

/// Says what was made, and what needs attention.
fn made(sentence: &str, problems: &[String], listener: &Listener) -> ExitCode {
    let message = std::iter::once(sentence).chain(problems.iter().map(String::as_str));
    let message = message.collect::<Vec<_>>().join("\n");
    listener.finished(&message, !problems.is_empty());
    print(&format!("{message}\n"));
    if problems.is_empty() { ExitCode::Done } else { ExitCode::Problems }
}

fn plan(arguments: &Plan, listener: &Listener) -> Result<ExitCode> {
    let store = arguments.store.settings(&arguments.from, listener.stop())?;
    let image = arguments.image.clone();
    let mut request = arguments.layout.request(image, store, &arguments.disks, arguments.disk.sector_size)?;
    let sizes = arguments.sizes.iter();
    request
        .targets
        .extend(sizes.map(|bytes| TargetRequest { receives: None, disk: PlanTarget::Size(*bytes) }));
    if let Some(file) = &arguments.export {
        return export(&request, file);
    }
    let prepared = agent::prepare_deploy(&request, listener)?;
    print(&if arguments.json { json(&prepared.plan)? } else { prepared.explain() });
    Ok(ExitCode::Done)
}

/// Writes a schema into a new file: one that a person may have edited is not overwritten.
fn export(request: &DeployRequest, file: &Path) -> Result<ExitCode> {
    let text = json(&agent::export_schema(request)?)?;
    if file == Path::new("-") {
        print(&text);
        return Ok(ExitCode::Done);
    }
    let doing = || format!("writing the schema {}", file.display());
    match std::fs::OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut new) => new.write_all(text.as_bytes()).with_context(doing)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; remove it, or choose another name", file.display())
        }
        Err(error) => return Err(error).with_context(doing),
    }
    print(&format!("wrote {0}; edit it, and give it to --schema {0}\n", file.display()));
    Ok(ExitCode::Done)
}

fn deploy(arguments: &Deploy, listener: &Listener) -> Result<ExitCode> {
    let store = arguments.store.settings(&arguments.from, listener.stop())?;
    let image = arguments.image.clone();
    let request = arguments.layout.request(image, store, &arguments.disks, arguments.disk.sector_size)?;
    let prepared = agent::prepare_deploy(&request, listener)?;
    if !arguments.yes {
        prepared.refuse_unwritable()?;
        confirm(&prepared)?;
    }
    let workers = arguments.workers.unwrap_or_else(|| reading_workers(&arguments.from));
    listener.work_begins();
    let problems = prepared.carry_out(workers, None, listener)?;
    Ok(made(&prepared.sentence(), &problems, listener))
}

fn run_job(arguments: &Run, listener: &Listener) -> Result<ExitCode> {
    let request = RunRequest {
        server: arguments.server.clone(),
        access: arguments.store.access(listener.stop())?,
        inventory: arguments.inventory.as_deref().map_or_else(|| Ok(linux::inventory()), read_inventory)?,
        wait: arguments.wait.map(|seconds| Duration::from_secs(seconds.into())),
        log: arguments.log.clone(),
    };
    listener.work_begins();
    let outcome = agent::run(&request, listener)?;
    if let Some(message) = &outcome.message {
        print(&format!("{message}\n"));
    }
    if let (Some(file), Some(next)) = (&arguments.completion, outcome.next) {
        std::fs::write(file, format!("{}\n", next.name()))
            .with_context(|| format!("writing what is to be done now into {}", file.display()))?;
    }
    Ok(outcome.code)
}

fn menu(arguments: &Menu, listener: &Listener) -> Result<ExitCode> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Usage::new("the menu needs a terminal; a script uses \"remint run\"").into());
    }
    let end = menu::run(&MenuRequest {
        server: arguments.server.clone(),
        access: arguments.store.access(listener.stop())?,
        inventory: arguments.inventory.as_deref().map_or_else(|| Ok(linux::inventory()), read_inventory)?,
        disks: arguments.disks.clone(),
        is_boot_environment: arguments.completion.is_some(),
        log: arguments.log.clone(),
    })?;
    if let (Some(file), Some(name)) = (&arguments.completion, end.name()) {
        std::fs::write(file, format!("{name}\n"))
            .with_context(|| format!("writing what is to be done now into {}", file.display()))?;
    }
    Ok(ExitCode::Done)
}

fn read_inventory(file: &Path) -> Result<Inventory> {
    let doing = || format!("reading the inventory {}", file.display());
    let text = std::fs::read(file).with_context(doing)?;
    serde_json::from_slice(&text).with_context(doing)
}

/// Shows the plan and has the person type the name of every disk that will be overwritten.
fn confirm(prepared: &PreparedDeploy) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        let fact = "nobody is there to confirm that the disk may be overwritten; in a script, pass --yes";
        return Err(Usage::new(fact).into());
    }
    print(&prepared.explain());
    for disk in &prepared.plan.disks {
        ask_for(&disk.target.path, &overwritten(disk))?;
    }
    Ok(())
}

/// Has the person type the name of a disk of which something is lost: what, as a sentence.
pub fn ask_for(path: &str, what: &str) -> Result<()> {
    print(&format!("\n{what}. Type {path} to go on: "));
    std::io::stdout().flush().context("asking for confirmation")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("reading the confirmation")?;
    if answer.trim() != path {
        bail!("not confirmed, nothing was written");
    }
    Ok(())
}

/// What a person is about to lose, as a sentence.
fn overwritten(disk: &DiskPlan) -> String {
    let path = &disk.target.path;
    let list = |numbers: Vec<u32>| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match &disk.stays {
        Stays::Nothing => format!("Everything on {path} will be overwritten"),
        Stays::Partitions { numbers, .. } => {
            format!("Everything on {path} but partition {} will be overwritten", list(numbers.clone()))
        }
        Stays::Table { extents, .. } => {
            let numbers: Vec<u32> = disk.volumes.iter().filter_map(|volume| volume.partition).collect();
            let partitions = match numbers.as_slice() {
                [] => None,
                numbers => Some(format!("partition {}", list(numbers.to_vec()))),
            };
            // Their names are in the plan that was shown.
            let logical =
                (!extents.is_empty()).then(|| "the logical volumes that are named above".to_owned());
            let what: Vec<String> = partitions.into_iter().chain(logical).collect();
            if what.is_empty() {
                return format!("Nothing of {path}, which belongs to a volume group, will be overwritten");
            }
            format!("Of {path}, {} will be overwritten", what.join(" and "))
        }
    }
}

fn verify(arguments: &Verify, listener: &Listener) -> Result<ExitCode> {
    let store = agent::open_store(&arguments.store.settings(&arguments.from, listener.stop())?, false)?;
    let workers = arguments.workers.unwrap_or_else(|| reading_workers(&arguments.from));
    listener.work_begins();
    let (version, report) =
        agent::verify(store.as_ref(), &arguments.image, arguments.deep, workers, listener)?;
    let mut text = String::new();
    for fault in &report.faults {
        let range = fault.range.map(|range| format!(", {range}")).unwrap_or_default();
        text.push_str(&format!("{}{range}: {}\n", fault.volume, fault.message));
    }
    let depth = if arguments.deep {
        "every chunk read and hashed"
    } else {
        "every chunk is there; --deep reads them"
    };
    let verdict = match report.faults.len() {
        0 if report.schema_only => {
            format!(
                "{version} is a schema without data: its manifest is good, and there is nothing to deploy"
            )
        }
        0 => format!("{version} is good: {} chunks, {depth}", report.chunks),
        count => format!("{version} is damaged: {count} faults in {} chunks", report.chunks),
    };
    text.push_str(&format!("{verdict}\n"));
    listener.finished(&verdict, !report.faults.is_empty());
    print(&if arguments.json { json(&report)? } else { text });
    Ok(if report.faults.is_empty() { ExitCode::Done } else { ExitCode::Problems })
}

fn images(arguments: &Images, listener: &Listener) -> Result<ExitCode> {
    let store = agent::open_store(&arguments.store.settings(&arguments.location, listener.stop())?, false)?;
    let store = store.as_ref();
    match &arguments.action {
        None => list(store, None, arguments.json, listener),
        Some(ImagesAction::List { image }) => list(store, image.as_ref(), arguments.json, listener),
        Some(ImagesAction::Show { image }) => {
            let manifest = agent::load_manifest(store, &agent::resolve(store, image)?)?;
            print(&if arguments.json { json(&manifest)? } else { agent::manifest_text(&manifest) });
            Ok(ExitCode::Done)
        }
        Some(ImagesAction::Delete { image }) => {
            let Some((image, version)) = ImagesAction::named_version(image.clone()) else {
                let fact = format!(
                    "name the version to delete, as {}@VERSION; list them with `remint images`",
                    image.image
                );
                return Err(Usage(fact).into());
            };
            let version = ImageVersion { image, version };
            store.delete_version(&version)?;
            print(&format!(
                "deleted {version}; `remint images {} collect` frees its space\n",
                store.location()
            ));
            Ok(ExitCode::Done)
        }
        Some(ImagesAction::Collect { dry_run }) => collect(store, *dry_run, arguments.json, listener),
    }
}

fn collect(store: &dyn Store, dry_run: bool, as_json: bool, listener: &Listener) -> Result<ExitCode> {
    listener.event(Event::PhaseStarted { phase: Phase::Collect, total_bytes: None });
    let report = store.collect(&CollectOptions { dry_run, ..CollectOptions::default() })?;
    listener.event(Event::PhaseFinished { phase: Phase::Collect });
    let text = format!(
        "{} {} chunks, {}; {} are in use or too young",
        if dry_run { "would delete" } else { "deleted" },
        report.deleted_chunks,
        format_size(report.deleted_bytes),
        report.kept_chunks
    );
    listener.finished(&text, false);
    print(&if as_json { json(&report)? } else { format!("{text}\n") });
    Ok(ExitCode::Done)
}

fn list(
    store: &dyn Store,
    image: Option<&remint::image::ImageName>,
    as_json: bool,
    listener: &Listener,
) -> Result<ExitCode> {
    let mut unreadable = Vec::new();
    let images = agent::list_images(store, image, &mut unreadable)?;
    for message in &unreadable {
        let subject = store.location();
        listener.event(Event::Warning { subject, message: message.clone() });
    }
    print(&if as_json { json(&images)? } else { agent::listing_text(&images) });
    Ok(if unreadable.is_empty() { ExitCode::Done } else { ExitCode::Problems })
}

#[cfg(feature = "server")]
fn serve(arguments: super::arguments::Serve, listener: &Listener) -> Result<ExitCode> {
    use remint::server::{ServeOptions, TlsChoice, TlsFiles};
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut options = ServeOptions::new(arguments.data, arguments.listen);
    options.boot = arguments.boot;
    options.token = arguments.token_file.as_deref().map(read_token).transpose()?;
    options.open_store = arguments.open_store;
    options.boot_token = arguments.boot_token_file.as_deref().map(read_token).transpose()?;
    let given = arguments.tls_cert.zip(arguments.tls_key);
    options.tls = given
        .map(|(certificate, key)| TlsChoice::Given(TlsFiles { certificate, key }))
        .or(arguments.tls_generate.then_some(TlsChoice::Own));
    listener.work_begins();
    let server = remint::server::start(&options)?;
    print(&format!("serving {} at {}\n", options.data.display(), server.store_url()));
    if let Some(boot) = &options.boot {
        print(&format!("serving {} at {}\n", boot.display(), server.boot_url()));
    }
    if let Some(fingerprint) = server.fingerprint() {
        print(&format!("the fingerprint of its certificate is {fingerprint}\n"));
    }
    let stop = server.stopper();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !listener.cancelled() && !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
            }
            stop();
        });
        let result = server.wait();
        ended.store(true, Ordering::Relaxed);
        result
    })?;
    Ok(ExitCode::Done)
}

/// JSON for people and programs.
pub fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map(|text| format!("{text}\n")).context("writing JSON")
}
