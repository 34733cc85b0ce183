//! `remint run`: one job, from the question whether there is one to its end, without a person.
//!
//! session ─► claim, or a place in the queue ─► the work, told to the server as it goes ─► log ─► finish
//!
//! Invariants: nothing is asked of anybody; every wait has an end, but those that somebody chose (`wait`, and the queue).
//! Whatever keeps a claimed job from being done, the server hears of it as the job's last event.

use super::capture::capture;
use super::choices;
use super::deploy::prepare_deploy;
use super::file_copy::Artefacts;
use super::images::StoreSettings;
use super::job_end::{Done, End};
use super::machine_log::MachineLog;
use super::multicast::Invitation;
use super::outcome::ExitCode;
use super::reporter::Reporter;
use super::{CaptureRequest, DeployRequest, ImageReference, reading_workers};
use crate::client::{Claimed, Client, Error, JobLink};
use crate::http::{Access, Blanker, Secret};
use crate::progress::{Event, Monitor};
use crate::protocol::{Inventory, Job, JobSummary, OnDemand, Operation, Place};
use crate::schema::MachineEnd;
use anyhow::{Context, Result, anyhow, bail};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// However seldom a server wants to be asked, a place in its queue is asked for so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(100);

/// Where a job is asked for, and by whom.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The server's URL.
    pub server: String,
    /// How it is reached, with the boot token where it wants one.
    pub access: Access,
    /// The machine.
    pub inventory: Inventory,
    /// Without a job: asks again after so long. `None`: once.
    pub wait: Option<Duration>,
    /// The log of this machine, where it keeps one: it is sent in front of the job's, and behind that of a job that
    /// failed, what the kernel complained about.
    pub log: Option<PathBuf>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutcome {
    /// For a script.
    pub code: ExitCode,
    /// For a person, where something was made or there was nothing to do.
    pub message: Option<String>,
    /// What the machine is to do now, where somebody said so.
    pub next: Option<NextStep>,
}

/// What a machine does when there is no more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// It ends.
    End(MachineEnd),
    /// A person may choose.
    Menu,
}

impl NextStep {
    /// Every one of them.
    pub const ALL: [Self; 5] = [
        Self::End(MachineEnd::Reboot),
        Self::End(MachineEnd::Poweroff),
        Self::End(MachineEnd::Local),
        Self::End(MachineEnd::Shell),
        Self::Menu,
    ];

    /// Its name in the completion file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::End(MachineEnd::Reboot) => "reboot",
            Self::End(MachineEnd::Poweroff) => "poweroff",
            Self::End(MachineEnd::Local) => "local",
            Self::End(MachineEnd::Shell) => "shell",
            Self::Menu => "menu",
        }
    }
}

/// Asks for the job of this machine and does it.
///
/// # Errors
/// Where the server cannot be asked, or does not give a job that it has. A job that was given and failed is an outcome:
/// its last event was shown and sent.
pub fn run(request: &RunRequest, console: &dyn Monitor) -> Result<RunOutcome> {
    let client = Client::connect(&request.server, &request.access, request.inventory.clone())?;
    let mut client = client.unattended();
    loop {
        let session = client.session()?;
        let name = session
            .machine
            .map_or("a machine that the server does not know".to_owned(), |machine| machine.name);
        if let Some(summary) = session.job {
            note(console, format!("{name}: job {}, {} {}", summary.id, summary.operation, summary.image));
            if let Some(claimed) = claim(&mut client, &summary, console)? {
                return carry_out(&client, &summary, claimed, request, console, &|_, _| true);
            }
        }
        let message = format!("{name}: no job waits");
        match request.wait {
            None => {
                let next = Some(without_a_job(session.on_demand));
                return Ok(RunOutcome { code: ExitCode::Done, message: Some(message), next });
            }
            Some(pause) => {
                note(console, format!("{message}; asking again in {} s", pause.as_secs()));
                wait(pause, console)?;
            }
        }
    }
}

/// Whether a person agrees to a plan; the second argument says whether the job is to stop meanwhile.
pub type Agrees<'a> = &'a dyn Fn(&str, &dyn Fn() -> bool) -> bool;

/// Does one job that a person at this machine wished for. What would be overwritten is shown to `agrees` first.
///
/// # Errors
/// Where the server does not give it, or it is not there any more. One that was not claimed is taken back.
pub fn attend(
    client: &mut Client,
    summary: &JobSummary,
    request: &RunRequest,
    console: &dyn Monitor,
    agrees: Agrees<'_>,
) -> Result<RunOutcome> {
    let claimed = claim(client, summary, console);
    if claimed.is_err() {
        // What a person gave up must not be done by whoever starts this machine next.
        if let Err(error) = client.withdraw(summary.id) {
            note(console, format!("job {} could not be taken back: {error}", summary.id));
        }
    }
    match claimed? {
        Some(claimed) => carry_out(client, summary, claimed, request, console, agrees),
        None => bail!("job {} is not there any more; nothing was changed", summary.id),
    }
}

/// A machine that has nothing to do is what it was before, or somebody's choice.
fn without_a_job(on_demand: OnDemand) -> NextStep {
    let OnDemand { deploy, capture, register, after_login: _ } = on_demand;
    if deploy || capture || register { NextStep::Menu } else { NextStep::End(MachineEnd::Local) }
}

fn note(console: &dyn Monitor, message: String) {
    console.event(Event::Note { message });
}

/// Waits, unless somebody at the machine does not want to.
fn wait(pause: Duration, console: &dyn Monitor) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < pause {
        if console.cancelled() {
            bail!("stopped at the machine, nothing was changed");
        }
        std::thread::sleep(TICK.min(pause.saturating_sub(begun.elapsed())));
    }
    Ok(())
}

/// Asks until the job is granted; `None` where it is not there any more.
fn claim(client: &mut Client, job: &JobSummary, console: &dyn Monitor) -> Result<Option<Claimed>> {
    let mut told = None;
    loop {
        match client.claim(job.id) {
            Ok(Claimed::Queued(place)) => {
                if told != Some(place.ahead) {
                    note(console, queued(job, place));
                }
                told = Some(place.ahead);
                let pause = Duration::from_secs(place.ask_again_seconds.into());
                wait(pause.clamp(Duration::from_secs(1), LONGEST_PAUSE), console)?;
            }
            Ok(claimed) => return Ok(Some(claimed)),
            Err(error @ (Error::Gone { .. } | Error::Unknown { .. })) => {
                note(console, error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn queued(job: &JobSummary, place: Place) -> String {
    let ahead = match place.ahead {
        1 => "1 machine comes".to_owned(),
        count => format!("{count} machines come"),
    };
    format!("job {} waits: {ahead} first", job.id)
}

/// Does a job that this machine has, and tells the server how it ended.
fn carry_out(
    client: &Client,
    summary: &JobSummary,
    claimed: Claimed,
    request: &RunRequest,
    console: &dyn Monitor,
    agrees: Agrees<'_>,
) -> Result<RunOutcome> {
    let (token, job) = match claimed {
        Claimed::Granted(job) => (Secret::new(&job.token), Ok(job)),
        Claimed::NotUnderstood { token, fact } => (token, Err(fact)),
        Claimed::Queued(_) => bail!("job {} was not granted", summary.id),
    };
    let completion = job.as_ref().map(|job| job.profile.completion).unwrap_or_default();
    let link = client.job(summary.id, token.clone())?;
    let token_of_job = token.clone();
    let secrets = [Some(&token), client.token(), request.access.token.as_ref()];
    let blanker = Blanker::new(secrets.into_iter().flatten().cloned());
    let stop = Arc::new(AtomicBool::new(false));
    let reporter = Reporter::new(console, Arc::clone(&stop), blanker);
    let machine = MachineLog::begin(request.log.as_deref());
    reporter.add_to_log(machine.before());
    let access = Access { token: Some(token), stop, ..request.access.clone() };
    let who = Who {
        server: &request.server,
        inventory: &request.inventory,
        registered: client.registered().map(str::to_owned),
    };
    let end = std::thread::scope(|scope| {
        let sending = scope.spawn(|| reporter.keep_sending(&link));
        let ask = || client.job(summary.id, token_of_job.clone());
        let end = End::of(guarded(|| work(summary, job, who, access, &ask, &reporter, agrees)), &reporter);
        reporter.end(end.event());
        let _ = sending.join();
        end
    });
    if !end.is_good() {
        reporter.add_to_log(&machine.complaints());
    }
    Ok(end.tell(completion, &link, &reporter, console))
}

/// A defect in the work is a failure of the job, not the end of who reports it.
fn guarded(work: impl FnOnce() -> Result<Done>) -> Result<Done> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result
        .unwrap_or_else(|_| Err(anyhow!("the agent panicked; this is a defect of remint, please report it")))
}

/// Whose job it is, and at which server.
struct Who<'a> {
    server: &'a str,
    inventory: &'a Inventory,
    /// What the server calls the machine.
    registered: Option<String>,
}

fn work(
    summary: &JobSummary,
    job: Result<Box<Job>, String>,
    who: Who<'_>,
    access: Access,
    link: &dyn Fn() -> Result<JobLink, Error>,
    reporter: &Reporter<'_>,
    agrees: Agrees<'_>,
) -> Result<Done> {
    let job = job.map_err(|fact| anyhow!("{fact}; nothing was changed"))?;
    if job.id != summary.id || job.operation != summary.operation {
        bail!("job {} is not the one that was offered; nothing was changed", job.id);
    }
    let patience = access.retry_for;
    let store = StoreSettings { location: store_url(who.server, &job.store)?, access };
    let image = job.image.parse().with_context(|| format!("the image \"{}\" of the job", job.image))?;
    match job.operation {
        Operation::Capture => {
            let request = CaptureRequest::new(image, store, &job.profile.capture)?;
            let outcome = capture(&request, reporter)?;
            let (message, version) =
                (outcome.sentence(&request.store.location), outcome.version.version.to_string());
            Ok(Done { message, version, problems: outcome.problems() })
        }
        Operation::Deploy => {
            let version = job.version.as_deref().map(str::parse).transpose();
            let version = version.with_context(|| format!("the version of the image of job {}", job.id))?;
            let mut request =
                DeployRequest::new(ImageReference { image, version }, store, &job.profile.deploy)?;
            choices::target_the_only_disk(&mut request, &job.profile.deploy)?;
            request.artefacts = Artefacts::fetch(&job, &link()?, patience, reporter)?;
            if let Some(name) = &mut request.computer_name {
                (name.machine, name.registered) = (Some(who.inventory.clone()), who.registered);
            }
            let prepared = prepare_deploy(&request, reporter)?;
            prepared.refuse_unwritable()?;
            reporter.event(Event::Note { message: prepared.explain() });
            if !agrees(&prepared.explain(), &|| reporter.cancelled()) {
                reporter.stop_here();
                bail!("nobody agreed to the plan; nothing was changed");
            }
            let wished = job.profile.deploy.multicast.is_some();
            if wished && job.multicast.is_none() {
                let message =
                    "multicast: this server sends nothing to groups; the image is fetched".to_owned();
                reporter.event(Event::Note { message });
            }
            let stop = Arc::clone(&request.store.access.stop);
            let invitation =
                job.multicast.map(|offer| Ok::<_, Error>(Invitation { offer, link: link()?, stop }));
            let workers = reading_workers(&request.store.location);
            let problems = prepared.carry_out(workers, invitation.transpose()?, reporter)?;
            Ok(Done { message: prepared.sentence(), version: prepared.plan.version.clone(), problems })
        }
    }
}

/// The store of a job: a path of the server, or a URL. Nothing else: what a server names is no path of this machine.
fn store_url(server: &str, store: &str) -> Result<String> {
    if store.starts_with('/') {
        return Ok(format!("{}{store}", server.trim_end_matches('/')));
    }
    match store.split_once("://") {
        Some(("http" | "https", _)) => Ok(store.to_owned()),
        _ => bail!("the job's store \"{store}\" is neither a path of the server nor a URL of http or https"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_the_servers_or_a_url_and_never_a_path_here() {
        assert_eq!(store_url("http://s:1/", "/store").unwrap(), "http://s:1/store");
        assert_eq!(store_url("http://s:1", "https://t/store").unwrap(), "https://t/store");
        for wrong in ["store", "file:///etc", "../x", ""] {
            assert!(store_url("http://s:1", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_job_a_machine_is_its_own_or_somebodys_choice() {
        assert_eq!(without_a_job(OnDemand { after_login: true, ..OnDemand::default() }).name(), "local");
        assert_eq!(without_a_job(OnDemand { register: true, ..OnDemand::default() }).name(), "menu");
    }

    #[test]
    fn what_panics_is_a_failure_with_a_sentence() {
        let result = guarded(|| panic!("x"));
        assert!(result.err().unwrap().to_string().contains("defect"));
    }
}
