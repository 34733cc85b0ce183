//! Carries out what the menu wants, on threads of their own: one speaks to the server, one looks at this machine.

use super::MenuRequest;
use super::disks;
use super::state::{Command, Event, Fulfilling, Reached};
use super::wish::Wish;
use crate::agent::{self, DiskSettings, ExitCode, RunRequest};
use crate::client::{Client, Error};
use crate::http::Access;
use crate::linux::keymaps;
use crate::progress::{self, Monitor};
use crate::protocol::{OnDemandRequest, Operation, Session};
use crate::units::with_causes;
use anyhow::{Result, anyhow, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// For how long a server that does not answer is asked again: a person waits for it. Data of a job have their own time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the end of a job is looked for while a person reads its plan.
const LOOK: Duration = Duration::from_millis(200);

/// The threads.
pub(super) struct Worker {
    server: Sender<Command>,
    here: Sender<Command>,
    answers: Sender<(u64, bool)>,
    cancelled: Arc<AtomicU64>,
}

impl Worker {
    /// Starts them; what they find comes as events.
    pub(super) fn start(request: &MenuRequest, events: Sender<Event>) -> Self {
        let (server, for_server) = channel();
        let (here, for_here) = channel();
        let (answers, answered) = channel();
        let cancelled = Arc::new(AtomicU64::new(0));
        let desk = Desk {
            request: request.clone(),
            events: events.clone(),
            answered,
            cancelled: Arc::clone(&cancelled),
            client: None,
        };
        std::thread::spawn(move || desk.serve(&for_server));
        let request = request.clone();
        std::thread::spawn(move || look_here(&for_here, &request, &events));
        Self { server, here, answers, cancelled }
    }

    /// Has a command carried out; its result comes as an event.
    pub(super) fn carry_out(&self, command: Command) {
        // A thread that is gone answers nothing; the keys still work.
        let _ = match command {
            Command::Answer { attempt, yes } => self.answers.send((attempt, yes)).is_ok(),
            Command::Cancel { attempt } => {
                self.cancelled.fetch_max(attempt, Ordering::Relaxed);
                self.answers.send((attempt, false)).is_ok()
            }
            Command::LoadDisks | Command::LoadLog | Command::LoadKeymap(_) => self.here.send(command).is_ok(),
            command => self.server.send(command).is_ok(),
        };
    }
}

/// Looks at disks and the log and loads keyboard layouts, however long a sick disk takes.
fn look_here(commands: &Receiver<Command>, request: &MenuRequest, events: &Sender<Event>) {
    while let Ok(command) = commands.recv() {
        let event = match command {
            Command::LoadDisks => agent::inspect(&request.disks, DiskSettings::default(), &[])
                .map(|found| Event::Disks(disks::views(&found)))
                .unwrap_or_else(|error| Event::Refused(format!("{error:#}"))),
            Command::LoadLog => request
                .log
                .as_deref()
                .ok_or_else(|| anyhow!("this program keeps no log"))
                .and_then(|log| agent::end_of_log(log).map_err(|error| anyhow!("{}: {error}", log.display())))
                .map_or_else(|error| Event::Refused(format!("{error:#}")), Event::Log),
            Command::LoadKeymap(name) => match keymaps::load(&name) {
                Ok(()) => Event::Keyboard(name),
                Err(fact) => Event::Refused(fact),
            },
            _ => continue,
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// The thread that speaks to the server.
struct Desk {
    request: MenuRequest,
    events: Sender<Event>,
    answered: Receiver<(u64, bool)>,
    /// The last wish that was given up.
    cancelled: Arc<AtomicU64>,
    client: Option<Client>,
}

impl Desk {
    fn serve(mut self, commands: &Receiver<Command>) {
        while let Ok(command) = commands.recv() {
            let attempt = if let Command::Begin { attempt, .. } = &command { Some(*attempt) } else { None };
            let events =
                self.carry_out(command).map_or_else(|error| failed(&error, attempt), |event| vec![event]);
            for event in events {
                if self.events.send(event).is_err() {
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<Event> {
        Ok(match command {
            Command::Connect => {
                self.client = None;
                let session = self.connect()?;
                let url = self.request.server.clone().unwrap_or_default();
                let name = session.machine.map(|machine| machine.name);
                Event::Reached(Reached { url, name, on_demand: session.on_demand })
            }
            Command::LoadImages => Event::Images(self.client()?.images()?.images),
            Command::Register(name) => Event::Registered(self.client()?.register(&name)?.name),
            Command::Login { user, password } => {
                let on_demand = self.client()?.login(&user, &password)?.on_demand;
                Event::LoggedIn { user, on_demand }
            }
            Command::Begin { attempt, wish } => self.fulfil(attempt, &wish)?,
            Command::Answer { .. }
            | Command::Cancel { .. }
            | Command::LoadDisks
            | Command::LoadLog
            | Command::LoadKeymap(_) => bail!("that is not for the server; please report this"),
        })
    }

    fn connect(&mut self) -> Result<Session> {
        let Some(server) = self.request.server.as_deref() else {
            bail!(
                "no server is known; name one with --server, or with remint.server= on the kernel's command line"
            );
        };
        let access = &self.request.access;
        let access = Access { retry_for: access.retry_for.min(PATIENCE), ..access.clone() };
        let mut client = Client::connect(server, &access, self.request.inventory.clone())?;
        let session = client.session()?;
        self.client = Some(client);
        Ok(session)
    }

    fn client(&mut self) -> Result<&mut Client> {
        if self.client.is_none() {
            self.connect()?;
        }
        self.client.as_mut().ok_or_else(|| anyhow!("the server was not reached"))
    }

    /// From a wish to its end.
    fn fulfil(&mut self, attempt: u64, wish: &Wish) -> Result<Event> {
        let console =
            AtTheMenu { attempt, events: self.events.clone(), cancelled: Arc::clone(&self.cancelled) };
        let stopped = || console.cancelled();
        if stopped() {
            bail!("nothing was begun");
        }
        // A capture is agreed to before there is a job: it only reads, and its job may end what stood there before.
        if wish.operation == Operation::Capture && !self.agrees(attempt, &disks::describe(wish)?, &stopped) {
            bail!("nothing was captured");
        }
        let asked = OnDemandRequest {
            operation: wish.operation,
            image: wish.image.clone(),
            profile: wish.profile.clone(),
            new_image: wish.new_image,
            computer_name: wish.computer_name.clone(),
            disks: wish.disks.iter().map(|disk| disk.stable_name.clone()).collect(),
        };
        let job = self.client()?.wish(&asked)?;
        let run = RunRequest {
            server: self.request.server.clone().unwrap_or_default(),
            access: self.request.access.clone(),
            inventory: self.request.inventory.clone(),
            wait: None,
            log: self.request.log.clone(),
        };
        let Some(mut client) = self.client.take() else { bail!("the server was not reached") };
        let agrees = |plan: &str, stopped: &dyn Fn() -> bool| self.agrees(attempt, plan, stopped);
        let outcome = agent::attend(&mut client, &job, &run, &console, &agrees);
        self.client = Some(client);
        let outcome = outcome?;
        let message = outcome.message.unwrap_or_default();
        let what = Fulfilling::Ended { good: outcome.code == ExitCode::Done, message };
        Ok(Event::Fulfilling { attempt, what })
    }

    /// Shows a plan and waits for the answer of the person, for as long as nobody stops the job.
    fn agrees(&self, attempt: u64, plan: &str, stopped: &dyn Fn() -> bool) -> bool {
        let event = Event::Fulfilling { attempt, what: Fulfilling::Planned(plan.to_owned()) };
        if self.events.send(event).is_err() {
            return false;
        }
        loop {
            match self.answered.recv_timeout(LOOK) {
                Ok((answered, yes)) if answered == attempt => return yes,
                // To the plan of a wish that was given up.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if !stopped() => {}
                Err(_) => return false,
            }
        }
    }
}

/// What becomes of a command that failed. A wish that cannot be fulfilled is told as such: somebody waits for it.
fn failed(error: &anyhow::Error, attempt: Option<u64>) -> Vec<Event> {
    let lost = error.downcast_ref::<Error>().filter(|error| error.may_pass()).map(|error| with_causes(error));
    let fact = lost.clone().unwrap_or_else(|| format!("{error:#}"));
    let told = attempt.map(|attempt| Event::Fulfilling { attempt, what: Fulfilling::Failed(fact.clone()) });
    let other = match (lost, attempt) {
        (Some(fact), _) => Some(Event::Lost(fact)),
        (None, None) => Some(Event::Refused(fact)),
        (None, Some(_)) => None,
    };
    told.into_iter().chain(other).collect()
}

/// Who listens to the work.
struct AtTheMenu {
    attempt: u64,
    events: Sender<Event>,
    cancelled: Arc<AtomicU64>,
}

impl Monitor for AtTheMenu {
    fn event(&self, event: progress::Event) {
        let what = match event {
            progress::Event::Note { message } => Fulfilling::WaitsFor(message),
            other => Fulfilling::Progress(other),
        };
        // Without a menu the work still goes on to its end.
        let _ = self.events.send(Event::Fulfilling { attempt: self.attempt, what });
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) >= self.attempt
    }
}
