//! What the menu knows, what can happen to it, and what it can want.

use super::{Form, Wish, Work};
use crate::http::Secret;
use crate::progress;
use crate::protocol::{ImageChoice, Inventory, OnDemand, Operation};
use std::time::Duration;

/// Everything that is known.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The server.
    pub server: ServerState,
    /// The machine's name, where the server knows it.
    pub name: Option<String>,
    /// What the machine is: vendor and model, firmware, cards. For the reader.
    pub machine: String,
    /// The same for a program: names are made of it.
    pub inventory: Inventory,
    /// What a person may do here.
    pub on_demand: OnDemand,
    /// Who logged in.
    pub user: Option<String>,
    /// The images that may be chosen.
    pub images: Vec<ImageChoice>,
    /// The disks of this machine.
    pub disks: Vec<DiskView>,
    /// True where the boot environment carries out what [`MenuEnd`] says.
    pub is_boot_environment: bool,
    /// The keyboard layouts that can be loaded here.
    pub keymaps: Vec<String>,
    /// What is shown.
    pub screen: Screen,
    /// What Escape goes back to.
    pub(super) behind: Vec<Screen>,
    /// A sentence at the bottom, until the next key.
    pub notice: Option<String>,
    /// Since the menu began.
    pub now: Duration,
    /// How it ended.
    pub ended: Option<MenuEnd>,
    /// How many wishes there were.
    pub(super) attempts: u64,
    /// The wish that is being fulfilled. What happens to another one, which a person gave up, does not count.
    pub(super) awaited: Option<Attempt>,
}

/// A wish that is being fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Its number, from 1.
    pub number: u64,
    /// What is wished.
    pub wish: Wish,
}

impl State {
    /// A menu that begins: nothing is known but the machine, and the keyboard layouts that it can load.
    #[must_use]
    pub fn new(machine: String, is_boot_environment: bool, keymaps: Vec<String>) -> Self {
        Self { machine, is_boot_environment, keymaps, ..Self::default() }
    }
}

/// How it stands with the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServerState {
    /// It was not asked yet.
    #[default]
    Asked,
    /// It answered.
    Reached {
        /// Its URL.
        url: String,
    },
    /// It does not answer.
    Lost {
        /// Why: a sentence.
        fact: String,
    },
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskView {
    /// How it is opened, and what a person types to confirm.
    pub path: String,
    /// What means the same disk at every start.
    pub stable_name: String,
    /// Model.
    pub model: String,
    /// How it is attached.
    pub transport: String,
    /// Size.
    pub size_bytes: u64,
    /// What is on it, in a few words.
    pub content: String,
    /// Why nothing can be written to it: in use, read-only, the boot medium.
    pub refusal: Option<String>,
}

/// What is shown.
#[derive(Debug, Clone)]
pub enum Screen {
    /// The entries of the menu.
    Start {
        /// The selected one.
        selected: usize,
    },
    /// The images.
    Images {
        /// What for.
        purpose: ImagePurpose,
        /// The selected one.
        selected: usize,
    },
    /// The profiles of an image.
    Profiles {
        /// Name of the image.
        image: String,
        /// The selected one.
        selected: usize,
    },
    /// The disks.
    Disks {
        /// What for.
        purpose: DiskPurpose,
        /// The selected one.
        selected: usize,
        /// Paths of those that are chosen together.
        marked: Vec<String>,
    },
    /// The keyboard layouts.
    Keymaps {
        /// The first letters that were typed.
        typed: String,
        /// The selected one.
        selected: usize,
    },
    /// Something to be typed.
    Form(Form),
    /// The name of the computer is asked for.
    Name {
        /// What was wished.
        wish: Wish,
        /// What means that the name is as the profile has it: the name that it makes, or nothing; or why it makes none of
        /// this machine.
        given: Result<String, String>,
        /// What was typed.
        typed: String,
        /// True where something was typed or erased: only then nothing is a wish for the name of the image.
        touched: bool,
    },
    /// Something is waited for.
    Waiting {
        /// What: a sentence.
        what: String,
    },
    /// The plan of a deploy, or what a capture will read.
    Plan {
        /// What was wished.
        wish: Wish,
        /// The plan.
        lines: Vec<String>,
        /// The first line that is shown.
        scroll: usize,
    },
    /// The name of the disk is to be typed.
    Confirm {
        /// What was wished.
        wish: Wish,
        /// What was typed.
        typed: String,
    },
    /// The work goes on.
    Working(Box<Work>),
    /// How it ended.
    Result {
        /// The lines.
        lines: Vec<String>,
    },
    /// A text to read.
    Text {
        /// What it is.
        title: String,
        /// The lines.
        lines: Vec<String>,
        /// The first line that is shown.
        scroll: usize,
    },
}

impl Default for Screen {
    fn default() -> Self {
        Self::Start { selected: 0 }
    }
}

/// What an image is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePurpose {
    /// To be deployed.
    Deploy,
    /// To be captured anew.
    Capture,
    /// To be looked at.
    Look,
}

/// What a disk is chosen for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskPurpose {
    /// To be looked at.
    Look,
    /// For an image.
    Image {
        /// What is done.
        operation: Operation,
        /// Name of the image.
        image: String,
        /// Name of the profile, where one was chosen.
        profile: Option<String>,
        /// True where the image is made.
        new_image: bool,
    },
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace or Delete.
    Backspace,
    /// The next field.
    Tab,
    /// One up.
    Up,
    /// One down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
}

/// What the server says of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The server.
    pub url: String,
    /// The machine's name, where it is registered.
    pub name: Option<String>,
    /// What may be done here.
    pub on_demand: OnDemand,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A key was pressed.
    Key(Key),
    /// Time passed: how long the menu has been there.
    Tick(Duration),
    /// The server answered.
    Reached(Reached),
    /// The server does not answer.
    Lost(String),
    /// The images.
    Images(Vec<ImageChoice>),
    /// The disks.
    Disks(Vec<DiskView>),
    /// The log of this machine.
    Log(String),
    /// Somebody logged in.
    LoggedIn {
        /// Who.
        user: String,
        /// What may be done now.
        on_demand: OnDemand,
    },
    /// The machine is registered under this name.
    Registered(String),
    /// What was asked for was refused or failed.
    Refused(String),
    /// A keyboard layout was loaded.
    Keyboard(String),
    /// Something of a wish.
    Fulfilling {
        /// The number of the wish.
        attempt: u64,
        /// What.
        what: Fulfilling,
    },
}

/// What happens while a wish is fulfilled.
#[derive(Debug, Clone)]
pub enum Fulfilling {
    /// It waits: for a place in the queue, for the plan.
    WaitsFor(String),
    /// Its plan, to be agreed to.
    Planned(String),
    /// The work goes on.
    Progress(progress::Event),
    /// The work has ended.
    Ended {
        /// True where it was done without a problem.
        good: bool,
        /// What became of it.
        message: String,
    },
    /// It was refused, or came to no end.
    Failed(String),
}

/// What the menu wants to be done.
#[derive(Debug, Clone)]
pub enum Command {
    /// Ask the server who this machine is to it.
    Connect,
    /// Ask for the images.
    LoadImages,
    /// Look at the disks.
    LoadDisks,
    /// Read the log of this machine.
    LoadLog,
    /// Register the machine.
    Register(String),
    /// Log in.
    Login {
        /// Name.
        user: String,
        /// Password.
        password: Secret,
    },
    /// Load a keyboard layout.
    LoadKeymap(String),
    /// Begin with a wish: its job, its plan.
    Begin {
        /// Its number.
        attempt: u64,
        /// What is wished.
        wish: Wish,
    },
    /// The answer to the plan of a wish.
    Answer {
        /// Its number.
        attempt: u64,
        /// True: it is agreed to.
        yes: bool,
    },
    /// Stop what is done for a wish.
    Cancel {
        /// Its number.
        attempt: u64,
    },
}

/// How the menu ended: what the machine does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MenuEnd {
    /// It restarts.
    Reboot,
    /// It is switched off.
    Poweroff,
    /// It restarts from its own disk.
    Local,
    /// A person gets a shell.
    Shell,
    /// The network is set by hand.
    Network,
    /// Nothing: the program ends.
    Leave,
}

impl MenuEnd {
    /// Its name in the completion file; `None` where nothing follows.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Reboot => Some("reboot"),
            Self::Poweroff => Some("poweroff"),
            Self::Local => Some("local"),
            Self::Shell => Some("shell"),
            Self::Network => Some("network"),
            Self::Leave => None,
        }
    }
}
