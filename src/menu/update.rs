//! What follows from an event: another state, and commands.

use super::form::{Form, FormKind};
use super::start::Entry;
use super::state::{
    Command, DiskPurpose, Event, ImagePurpose, Key, Reached, Screen, ServerState, State, Wish,
};
use super::work::Work;
use crate::http::Secret;
use crate::progress;
use crate::protocol::Operation;

/// Lines that a page key moves by.
const PAGE: usize = 15;

impl State {
    /// The commands of a menu that begins.
    #[must_use]
    pub fn first_commands() -> Vec<Command> {
        vec![Command::Connect, Command::LoadDisks]
    }

    /// Takes an event.
    pub fn update(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::Key(key) => return self.key(key),
            Event::Tick(now) => self.now = now,
            Event::Reached(Reached { url, name, on_demand }) => {
                self.server = ServerState::Reached { url };
                (self.name, self.on_demand) = (name, on_demand);
                // A new session is the machine's alone.
                self.user = None;
                if on_demand.deploy || on_demand.capture {
                    return vec![Command::LoadImages];
                }
            }
            Event::Lost(fact) => self.server = ServerState::Lost { fact },
            Event::Images(images) => self.images = images,
            Event::Disks(disks) => self.disks = disks,
            Event::Log(text) => {
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                let scroll = lines.len().saturating_sub(PAGE);
                self.forward(Screen::Text { title: "Log of this machine".to_owned(), lines, scroll });
            }
            Event::LoggedIn { user, on_demand } => {
                (self.user, self.on_demand) = (Some(user), on_demand);
                self.go_to_start();
                return vec![Command::LoadImages];
            }
            Event::Registered(name) => {
                self.notice = Some(format!("this machine is now registered as {name}"));
                self.name = Some(name);
                self.on_demand.register = false;
                self.go_to_start();
            }
            Event::Refused(fact) => {
                if matches!(self.screen, Screen::Waiting { .. }) {
                    self.back();
                }
                self.notice = Some(fact);
            }
            Event::WaitsFor(what) => match &mut self.screen {
                Screen::Waiting { what: shown } => *shown = what,
                Screen::Working(work) => work.say(what),
                _ => {}
            },
            Event::Planned { wish, text } => {
                let lines = text.lines().map(str::to_owned).collect();
                self.screen = Screen::Plan { wish, lines, scroll: 0 };
            }
            Event::Progress(event) => self.progress(event),
            Event::Ended { good, message } => self.ended(good, &message),
        }
        Vec::new()
    }

    fn progress(&mut self, event: progress::Event) {
        if let Screen::Working(work) = &mut self.screen {
            work.take(event, self.now);
        }
    }

    fn ended(&mut self, good: bool, message: &str) {
        let is_awaited = matches!(
            self.screen,
            Screen::Waiting { .. } | Screen::Plan { .. } | Screen::Confirm { .. } | Screen::Working(_)
        );
        if !is_awaited {
            return;
        }
        let verdict = if good { "Done." } else { "Not done, or not without problems." };
        let mut lines = vec![verdict.to_owned(), String::new()];
        lines.extend(message.lines().map(str::to_owned));
        self.behind.clear();
        self.screen = Screen::Result { lines };
    }

    fn go_to_start(&mut self) {
        self.behind.clear();
        self.screen = Screen::default();
    }

    fn forward(&mut self, screen: Screen) {
        self.behind.push(std::mem::replace(&mut self.screen, screen));
    }

    fn back(&mut self) {
        self.screen = self.behind.pop().unwrap_or_default();
    }

    fn key(&mut self, key: Key) -> Vec<Command> {
        self.notice = None;
        match &mut self.screen {
            Screen::Start { .. } => self.start_key(key),
            Screen::Images { purpose, selected } => {
                let (purpose, selected) = (*purpose, *selected);
                self.images_key(key, purpose, selected)
            }
            Screen::Profiles { .. } => self.profiles_key(key),
            Screen::Disks { .. } => self.disks_key(key),
            Screen::Form(form) => {
                if key == Key::Escape {
                    self.back();
                    return Vec::new();
                }
                if form.take(key) { self.typed() } else { Vec::new() }
            }
            Screen::Plan { lines, scroll, .. } => {
                let last = lines.len().saturating_sub(1);
                move_by(scroll, key, last);
                self.plan_key(key)
            }
            Screen::Confirm { .. } => self.confirm_key(key),
            Screen::Working(_) => self.working_key(key),
            Screen::Text { lines, scroll, .. } => {
                let last = lines.len().saturating_sub(1);
                move_by(scroll, key, last);
                if matches!(key, Key::Escape | Key::Enter) {
                    self.back();
                }
                Vec::new()
            }
            Screen::Waiting { .. } => {
                if key == Key::Escape {
                    self.go_to_start();
                    return vec![Command::Cancel];
                }
                Vec::new()
            }
            Screen::Result { .. } => {
                if matches!(key, Key::Escape | Key::Enter) {
                    self.go_to_start();
                    return vec![Command::LoadImages, Command::LoadDisks];
                }
                Vec::new()
            }
        }
    }

    fn start_key(&mut self, key: Key) -> Vec<Command> {
        let entries = self.entries();
        let Screen::Start { selected } = &mut self.screen else { return Vec::new() };
        move_by(selected, key, entries.len().saturating_sub(1));
        let chosen = match key {
            Key::Enter => entries.get(*selected),
            Key::Char(c) => entries.iter().find(|entry| entry.key() == c.to_ascii_lowercase()),
            _ => None,
        };
        let Some(entry) = chosen.copied() else { return Vec::new() };
        match entry {
            Entry::Deploy => self.choose_image(ImagePurpose::Deploy),
            Entry::Capture => self.choose_image(ImagePurpose::Capture),
            Entry::Images => self.choose_image(ImagePurpose::Look),
            Entry::Disks => {
                self.forward(Screen::Disks { purpose: DiskPurpose::Look, selected: 0 });
                vec![Command::LoadDisks]
            }
            Entry::Register => {
                self.forward(Screen::Form(Form::new(FormKind::Register)));
                Vec::new()
            }
            Entry::Login => {
                self.forward(Screen::Form(Form::new(FormKind::Login)));
                Vec::new()
            }
            Entry::Again => {
                self.server = ServerState::Asked;
                Self::first_commands()
            }
            Entry::Log => vec![Command::LoadLog],
            Entry::End(end) => {
                self.ended = Some(end);
                Vec::new()
            }
        }
    }

    fn choose_image(&mut self, purpose: ImagePurpose) -> Vec<Command> {
        self.forward(Screen::Images { purpose, selected: 0 });
        vec![Command::LoadImages]
    }

    fn images_key(&mut self, key: Key, purpose: ImagePurpose, selected: usize) -> Vec<Command> {
        if let Screen::Images { selected, .. } = &mut self.screen {
            move_by(selected, key, self.images.len().saturating_sub(1));
        }
        match key {
            Key::Escape => self.back(),
            Key::Char('n' | 'N') if purpose == ImagePurpose::Capture => {
                self.forward(Screen::Form(Form::new(FormKind::NewImage)));
            }
            Key::Enter => {
                let Some(image) = self.images.get(selected).cloned() else { return Vec::new() };
                match purpose {
                    ImagePurpose::Look => {
                        self.forward(Screen::Profiles { image: image.name, selected: 0 });
                    }
                    ImagePurpose::Deploy if image.version.is_none() => {
                        self.notice = Some(format!("{} was never captured; choose another one", image.name));
                    }
                    ImagePurpose::Capture if image.protected => {
                        self.notice = Some(format!(
                            "{} is protected; take its protection away at the server, or choose another one",
                            image.name
                        ));
                    }
                    ImagePurpose::Deploy if image.profiles.len() > 1 => {
                        self.forward(Screen::Profiles { image: image.name, selected: 0 });
                    }
                    ImagePurpose::Deploy => {
                        return self.choose_disk(Operation::Deploy, image.name, None, false);
                    }
                    ImagePurpose::Capture => {
                        return self.choose_disk(Operation::Capture, image.name, None, false);
                    }
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn profiles_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Profiles { image, selected } = &mut self.screen else { return Vec::new() };
        let found = self.images.iter().find(|candidate| candidate.name == *image);
        let profiles = found.map(|image| image.profiles.clone()).unwrap_or_default();
        move_by(selected, key, profiles.len().saturating_sub(1));
        let (image, chosen) = (image.clone(), profiles.get(*selected).map(|profile| profile.name.clone()));
        let for_deploy =
            matches!(self.behind.last(), Some(Screen::Images { purpose: ImagePurpose::Deploy, .. }));
        match key {
            Key::Escape => self.back(),
            Key::Enter if for_deploy => return self.choose_disk(Operation::Deploy, image, chosen, false),
            _ => {}
        }
        Vec::new()
    }

    fn choose_disk(
        &mut self,
        operation: Operation,
        image: String,
        profile: Option<String>,
        new_image: bool,
    ) -> Vec<Command> {
        let purpose = DiskPurpose::Image { operation, image, profile, new_image };
        self.forward(Screen::Disks { purpose, selected: 0 });
        vec![Command::LoadDisks]
    }

    fn disks_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Disks { purpose, selected } = &mut self.screen else { return Vec::new() };
        move_by(selected, key, self.disks.len().saturating_sub(1));
        let (purpose, disk) = (purpose.clone(), self.disks.get(*selected).cloned());
        match (key, purpose, disk) {
            (Key::Escape, _, _) => {
                self.back();
                Vec::new()
            }
            (Key::Enter, DiskPurpose::Image { operation, image, profile, new_image }, Some(disk)) => {
                if let (Operation::Deploy, Some(refusal)) = (operation, &disk.refusal) {
                    self.notice = Some(format!("{}: {refusal}", disk.path));
                    return Vec::new();
                }
                let (disk, stable_disk) = (disk.path, disk.stable_name);
                let wish = Wish { operation, image, profile, new_image, disk, stable_disk };
                self.forward(Screen::Waiting { what: "asking the server for the job".to_owned() });
                vec![Command::Begin(wish)]
            }
            _ => Vec::new(),
        }
    }

    fn typed(&mut self) -> Vec<Command> {
        let Screen::Form(form) = &self.screen else { return Vec::new() };
        match form.kind {
            FormKind::NewImage => {
                let name = form.value(0).to_owned();
                self.choose_disk(Operation::Capture, name, None, true)
            }
            FormKind::Register => {
                let name = form.value(0).to_owned();
                self.forward(Screen::Waiting { what: format!("registering this machine as {name}") });
                vec![Command::Register(name)]
            }
            FormKind::Login => {
                let (user, password) = (form.value(0).to_owned(), Secret::new(form.value(1)));
                // What was typed is not kept.
                self.screen = Screen::Form(Form::new(FormKind::Login));
                self.forward(Screen::Waiting { what: format!("logging in as {user}") });
                vec![Command::Login { user, password }]
            }
        }
    }

    fn plan_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Plan { wish, .. } = &self.screen else { return Vec::new() };
        match (key, wish.operation) {
            (Key::Escape, _) => {
                self.go_to_start();
                self.notice = Some("nothing was changed".to_owned());
                vec![Command::Answer(false)]
            }
            (Key::Enter, Operation::Deploy) => {
                let wish = wish.clone();
                self.forward(Screen::Confirm { wish, typed: String::new() });
                Vec::new()
            }
            // A capture only reads.
            (Key::Enter, Operation::Capture) => {
                let wish = wish.clone();
                self.begin_work(wish)
            }
            _ => Vec::new(),
        }
    }

    fn begin_work(&mut self, wish: Wish) -> Vec<Command> {
        self.behind.clear();
        self.screen = Screen::Working(Box::new(Work::new(wish, self.now)));
        vec![Command::Answer(true)]
    }

    fn confirm_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Confirm { wish, typed } = &mut self.screen else { return Vec::new() };
        match key {
            Key::Escape => self.back(),
            Key::Backspace => drop(typed.pop()),
            Key::Char(c) if !c.is_control() && typed.len() < 128 => typed.push(c),
            Key::Enter if *typed == wish.disk => {
                let wish = wish.clone();
                return self.begin_work(wish);
            }
            Key::Enter => {
                let fact = format!("that is not {}; nothing was changed", wish.disk);
                typed.clear();
                self.notice = Some(fact);
            }
            _ => {}
        }
        Vec::new()
    }

    fn working_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Working(work) = &mut self.screen else { return Vec::new() };
        match key {
            Key::Char('c' | 'C') if !work.cancelled => work.asks_to_cancel = true,
            Key::Char('y' | 'Y') if work.asks_to_cancel => {
                work.asks_to_cancel = false;
                work.cancelled = true;
                return vec![Command::Cancel];
            }
            _ => work.asks_to_cancel = false,
        }
        Vec::new()
    }
}

/// Moves a selection, or what is shown of a text.
fn move_by(position: &mut usize, key: Key, last: usize) {
    let moved = match key {
        Key::Up => position.saturating_sub(1),
        Key::Down => position.saturating_add(1),
        Key::PageUp => position.saturating_sub(PAGE),
        Key::PageDown => position.saturating_add(PAGE),
        _ => *position,
    };
    *position = moved.min(last);
}
