//! How a job ended: for the server, for the console, and for whoever started it.

use super::outcome::{ExitCode, exit_code};
use super::reporter::{Reporter, Stopped};
use super::unattended::{NextStep, RunOutcome};
use crate::client::JobLink;
use crate::progress::{Event, Monitor};
use crate::protocol::{Finish, Outcome};
use crate::schema::Completion;
use anyhow::{Result, anyhow};
use std::time::Duration;

/// How long the log, and how long the end of a job are tried to be sent.
const LOG_PATIENCE: Duration = Duration::from_secs(30);
const FINISH_PATIENCE: Duration = Duration::from_secs(120);

/// What was made.
pub(super) struct Done {
    pub(super) message: String,
    pub(super) version: String,
    pub(super) problems: Vec<String>,
}

/// The end of a job.
pub(super) struct End {
    code: ExitCode,
    finish: Finish,
}

impl End {
    /// What came of the work.
    pub(super) fn of(result: Result<Done>, reporter: &Reporter<'_>) -> Self {
        let error = match result {
            Ok(Done { message, version, problems }) => {
                let good = problems.is_empty();
                let code = if good { ExitCode::Done } else { ExitCode::Problems };
                let outcome = if good { Outcome::Done } else { Outcome::Problems };
                let version = Some(version);
                let finish =
                    Finish { outcome, message, target_changed: reporter.changed_target(), version, problems };
                return Self { code, finish };
            }
            Err(error) => error,
        };
        let code = match exit_code(&error) {
            // What panicked did not say how far it came.
            ExitCode::Failed if reporter.changed_target() => ExitCode::TargetChanged,
            code => code,
        };
        let (outcome, message) = match reporter.stopped() {
            Some(stopped @ Stopped::Gone(_)) => {
                (Outcome::Failed, format!("{}: {error:#}", stopped.sentence()))
            }
            Some(stopped) => (Outcome::Cancelled, format!("{}: {error:#}", stopped.sentence())),
            None => (Outcome::Failed, format!("{error:#}")),
        };
        let target_changed = code == ExitCode::TargetChanged;
        Self {
            code,
            finish: Finish { outcome, message, target_changed, version: None, problems: Vec::new() },
        }
    }

    /// The job's last event.
    pub(super) fn event(&self) -> Event {
        let Finish { message, problems, target_changed, .. } = self.finish.clone();
        match self.code {
            ExitCode::Done | ExitCode::Problems => {
                let message = [vec![message], problems.clone()].concat().join("\n");
                Event::Finished { message, problems: !problems.is_empty() }
            }
            _ => Event::Failed { message, target_changed },
        }
    }

    /// True where everything was done as it was meant.
    pub(super) fn is_good(&self) -> bool {
        self.code == ExitCode::Done
    }

    /// Sends log and end, as far as there is somebody to send them to.
    pub(super) fn tell(
        self,
        completion: Completion,
        link: &JobLink,
        reporter: &Reporter<'_>,
        console: &dyn Monitor,
    ) -> RunOutcome {
        let Self { mut code, finish } = self;
        let warn = |message: String| console.event(Event::Warning { subject: "server".to_owned(), message });
        if !matches!(reporter.stopped(), Some(Stopped::Gone(_))) {
            if let Err(error) = link.log(&reporter.log_text(), LOG_PATIENCE) {
                warn(format!("{:#}", anyhow!(error)));
            }
            if let Err(error) = link.finish(&finish, FINISH_PATIENCE) {
                warn(format!("{:#}; the server does not know how the job ended", anyhow!(error)));
                if code == ExitCode::Done {
                    code = ExitCode::Problems;
                }
            }
        }
        let made = matches!(finish.outcome, Outcome::Done | Outcome::Problems);
        let message = made.then(|| [vec![finish.message], finish.problems].concat().join("\n"));
        let next = if code == ExitCode::Done { completion.success } else { completion.failure };
        RunOutcome { code, message, next: next.map(NextStep::End) }
    }
}
