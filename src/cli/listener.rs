//! Shows events: a progress bar with rate and time left on a terminal, plain lines elsewhere, or JSON.

use super::arguments::Events;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use remint::agent::ExitCode;
use remint::parallel::lock;
use remint::progress::{Event, Monitor, Phase};
use remint::units::format_size;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often the progress is shown where every line stays: in a log or as JSON.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows events to whoever started the program, and hears their Ctrl-C.
pub struct Listener {
    form: Form,
    quiet: bool,
    cancelled: Arc<AtomicBool>,
    working: Arc<AtomicBool>,
    last_line: Mutex<Option<Instant>>,
}

enum Form {
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Listener {
    /// A listener. Ctrl-C and SIGTERM end the program at once, until there is work that has to end in order.
    pub fn new(events: Events, quiet: bool) -> Result<Self> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let working = Arc::new(AtomicBool::new(false));
        let (flag, in_order) = (Arc::clone(&cancelled), Arc::clone(&working));
        ctrlc::set_handler(move || {
            if !in_order.load(Ordering::Relaxed) {
                stopped(events);
                std::process::exit(ExitCode::Failed.into());
            }
            if !flag.swap(true, Ordering::Relaxed) {
                stopping(events);
            }
        })
        .context("listening for Ctrl-C")?;
        let form = match events {
            Events::Json => Form::Json,
            Events::Text if !quiet && std::io::stderr().is_terminal() => Form::Bar(ProgressBar::hidden()),
            Events::Text => Form::Lines,
        };
        Ok(Self { form, quiet, cancelled, working, last_line: Mutex::new(None) })
    }

    /// Set when somebody asks to stop.
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }

    /// Work begins that Ctrl-C and SIGTERM ask to stop instead of killing it.
    pub fn work_begins(&self) {
        self.working.store(true, Ordering::Relaxed);
    }

    /// Shows the end of the work. The text form prints what was made on standard output itself.
    pub fn finished(&self, message: &str, problems: bool) {
        self.event(Event::Finished { message: message.to_owned(), problems });
    }

    /// Shows why the work failed.
    pub fn failed(&self, error: &anyhow::Error, target_changed: bool) {
        self.event(Event::Failed { message: format!("{error:#}"), target_changed });
    }

    fn bar(&self, bar: &ProgressBar, event: Event) {
        match event {
            Event::PhaseStarted { phase, total_bytes: Some(total) } => {
                bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
                bar.reset();
                bar.set_style(style());
                bar.set_length(total);
                bar.set_message(phase.verb());
            }
            Event::PhaseStarted { phase, total_bytes: None } => bar.set_message(phase.verb()),
            Event::VolumeStarted { phase, volume, content, total_bytes } => {
                if phase == Phase::Verify {
                    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
                    bar.set_style(style());
                    bar.set_length(total_bytes);
                }
                bar.set_message(format!("{} {volume} ({content})", phase.verb()));
            }
            Event::Advanced { done_bytes, .. } => bar.set_position(done_bytes),
            Event::VolumeFinished { .. } => {}
            Event::PhaseFinished { .. } => bar.set_draw_target(ProgressDrawTarget::hidden()),
            other => bar.suspend(|| line(&other)),
        }
    }

    fn lines(&self, event: Event) {
        match event {
            Event::Advanced { phase, volume, done_bytes, total_bytes, transferred_bytes }
                if !self.quiet && self.is_time() =>
            {
                say(&format!(
                    "{} {volume}: {} of {}, {} transferred",
                    phase.verb(),
                    format_size(done_bytes),
                    format_size(total_bytes),
                    format_size(transferred_bytes)
                ));
            }
            other @ (Event::Warning { .. } | Event::Failed { .. }) => line(&other),
            other if !self.quiet => line(&other),
            _ => {}
        }
    }

    fn json(&self, event: &Event) {
        let shown = match event {
            Event::Advanced { done_bytes, total_bytes, .. } => done_bytes >= total_bytes || self.is_time(),
            _ => true,
        };
        if shown && let Ok(text) = serde_json::to_string(event) {
            say(&text);
        }
    }

    fn is_time(&self) -> bool {
        let mut last = lock(&self.last_line);
        let due = last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

impl Monitor for Listener {
    fn event(&self, event: Event) {
        match &self.form {
            Form::Bar(bar) => self.bar(bar, event),
            Form::Lines => self.lines(event),
            Form::Json => self.json(&event),
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Says that the program ends before it began.
fn stopped(events: Events) {
    let message = "stopped, nothing was changed".to_owned();
    match events {
        Events::Text => say(&format!("\nremint: {message}")),
        Events::Json => {
            let event = Event::Failed { message, target_changed: false };
            say(&serde_json::to_string(&event).unwrap_or_default());
        }
    }
}

/// Says that a request to stop was heard: it can take as long as what is being written or asked for.
fn stopping(events: Events) {
    let message = "stopping safely, please wait".to_owned();
    match events {
        Events::Text => say(&format!("\nremint: {message}")),
        Events::Json => {
            let event = Event::Warning { subject: "remint".to_owned(), message };
            say(&serde_json::to_string(&event).unwrap_or_default());
        }
    }
}

fn style() -> ProgressStyle {
    const TEMPLATE: &str = "{msg}\n{bar:30} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// One event as a line for people. What was made is said on standard output.
fn line(event: &Event) {
    if !matches!(event, Event::Finished { .. })
        && let Some(text) = event.line()
    {
        say(&text);
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
