//! What follows from an event: another state, and commands.

use super::form::{Form, FormKind};
use super::start::Entry;
use super::state::{
    Attempt, Command, DiskPurpose, DiskView, Event, ImagePurpose, Key, Reached, Screen, ServerState, State,
};
use super::wish::{ChosenDisk, Wish};
use crate::http::Secret;
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
            Event::Lost(fact) => {
                if self.is_asking() {
                    self.back();
                    self.notice = Some(format!("the server does not answer: {fact}"));
                }
                self.server = ServerState::Lost { fact };
            }
            Event::Images(images) => self.images = images,
            Event::Disks(disks) => self.disks = disks,
            Event::Log(text) => {
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                let scroll = lines.len().saturating_sub(PAGE);
                self.forward(Screen::Text { title: "Log of this machine".to_owned(), lines, scroll });
            }
            Event::LoggedIn { user, on_demand } => {
                (self.user, self.on_demand) = (Some(user), on_demand);
                if self.is_asking() {
                    self.go_to_start();
                }
                return vec![Command::LoadImages];
            }
            Event::Registered(name) => {
                self.notice = Some(format!("this machine is now registered as {name}"));
                self.name = Some(name);
                self.on_demand.register = false;
                if self.is_asking() {
                    self.go_to_start();
                }
            }
            Event::Refused(fact) => {
                if self.is_asking() {
                    self.back();
                }
                self.notice = Some(fact);
            }
            Event::Keyboard(name) => self.notice = Some(format!("the keyboard layout is {name}")),
            Event::Fulfilling { attempt, what } => return self.fulfilling(attempt, what),
        }
        Vec::new()
    }

    /// True where an answer is waited for that has to do with no wish.
    fn is_asking(&self) -> bool {
        self.awaited.is_none() && matches!(self.screen, Screen::Waiting { .. })
    }

    pub(super) fn go_to_start(&mut self) {
        self.behind.clear();
        self.screen = Screen::default();
    }

    pub(super) fn forward(&mut self, screen: Screen) {
        self.behind.push(std::mem::replace(&mut self.screen, screen));
    }

    pub(super) fn back(&mut self) {
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
            Screen::Keymaps { .. } => self.keymaps_key(key),
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
            Screen::Name { .. } => self.name_key(key),
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
                    let awaited = self.awaited.take();
                    return awaited
                        .map(|Attempt { number: attempt, .. }| Command::Cancel { attempt })
                        .into_iter()
                        .collect();
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
                self.forward(Screen::Disks { purpose: DiskPurpose::Look, selected: 0, marked: Vec::new() });
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
            Entry::Keyboard => {
                self.forward(Screen::Keymaps { typed: String::new(), selected: 0 });
                Vec::new()
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
                        let fact = if image.schema_only {
                            "holds a schema and no data"
                        } else {
                            "was never captured"
                        };
                        self.notice = Some(format!("{} {fact}; choose another one", image.name));
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
        self.forward(Screen::Disks { purpose, selected: 0, marked: Vec::new() });
        vec![Command::LoadDisks]
    }

    fn disks_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Disks { purpose, selected, marked } = &mut self.screen else { return Vec::new() };
        move_by(selected, key, self.disks.len().saturating_sub(1));
        let disk = self.disks.get(*selected);
        match (key, purpose.clone(), disk) {
            (Key::Escape, _, _) => self.back(),
            (Key::Char(' '), DiskPurpose::Image { operation, .. }, Some(disk)) => {
                if let Some(position) = marked.iter().position(|path| *path == disk.path) {
                    marked.remove(position);
                } else if let Some(fact) = refusal(operation, disk) {
                    self.notice = Some(fact);
                } else {
                    marked.push(disk.path.clone());
                }
            }
            (Key::Enter, DiskPurpose::Image { operation, image, profile, new_image }, Some(disk)) => {
                let is_marked = |disk: &&DiskView| marked.contains(&disk.path);
                let several: Vec<&DiskView> = self.disks.iter().filter(is_marked).collect();
                let chosen = if several.is_empty() { vec![disk] } else { several };
                if let Some(fact) = chosen.iter().find_map(|disk| refusal(operation, disk)) {
                    self.notice = Some(fact);
                    return Vec::new();
                }
                let disks = chosen.into_iter().map(ChosenDisk::from).collect();
                let wish = Wish { operation, image, profile, new_image, computer_name: None, disks };
                if operation == Operation::Capture {
                    return self.begin(wish);
                }
                self.ask_name(wish);
            }
            _ => {}
        }
        Vec::new()
    }

    pub(super) fn begin(&mut self, wish: Wish) -> Vec<Command> {
        self.forward(Screen::Waiting { what: "asking the server for the job".to_owned() });
        self.attempts = self.attempts.saturating_add(1);
        let attempt = self.attempts;
        self.awaited = Some(Attempt { number: attempt, wish: wish.clone() });
        vec![Command::Begin { attempt, wish }]
    }

    /// Arrows move the selection, and so do the first letters of a name.
    fn keymaps_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Keymaps { typed, selected } = &mut self.screen else { return Vec::new() };
        let find = |typed: &str| self.keymaps.iter().position(|name| name.starts_with(typed));
        match key {
            Key::Escape => self.back(),
            Key::Enter => {
                let name = self.keymaps.get(*selected).cloned();
                self.back();
                return name.map(Command::LoadKeymap).into_iter().collect();
            }
            Key::Backspace => drop(typed.pop()),
            Key::Char(c) if !c.is_control() => {
                // Letters that begin no name begin another one.
                for text in [format!("{typed}{c}"), c.to_string()] {
                    if let Some(found) = find(&text) {
                        (*typed, *selected) = (text, found);
                        break;
                    }
                }
            }
            _ => {
                typed.clear();
                move_by(selected, key, self.keymaps.len().saturating_sub(1));
            }
        }
        Vec::new()
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
}

/// Why a disk is not chosen: a sentence.
fn refusal(operation: Operation, disk: &DiskView) -> Option<String> {
    let refusal = disk.refusal.as_ref().filter(|_| operation == Operation::Deploy)?;
    Some(format!("{}: {refusal}", disk.path))
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
