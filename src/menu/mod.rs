//! The console menu: what a person at a machine may do, on any terminal of 80 columns and 25 lines, with or without
//! colours, over a serial line too.
//!
//! [`State`] is all that is known. [`State::update`] takes an [`Event`] (a key, an answer, progress) and says which
//! [`Command`]s follow. [`draw`] shows a state. None of these touches anything, so whole walks are played in a test.
//! [`run`] has the terminal, and carries out commands on threads of their own: a server that is slow or lost never
//! keeps a key from being answered.
//!
//! Invariants:
//!
//! - Nothing is written to a disk before the plan was shown and the names of all its disks were typed.
//! - What happens to a wish that a person gave up changes no screen, and its plan is answered with no.
//! - Every screen says which keys it takes. Escape goes back, and never starts anything.

mod disks;
mod draw;
mod fit;
mod form;
mod fulfil;
mod name;
mod run;
mod start;
mod state;
mod update;
mod wish;
mod work;
mod worker;

pub use draw::draw;
pub use form::{Form, FormKind};
pub use run::run;
pub use start::Entry;
pub use state::{
    Command, DiskPurpose, DiskView, Event, Fulfilling, ImagePurpose, Key, MenuEnd, Reached, Screen,
    ServerState, State,
};
pub use wish::{ChosenDisk, Wish};
pub use work::Work;

use crate::http::Access;
use crate::protocol::Inventory;
use crate::schema::{Destination, Firmware};
use std::path::PathBuf;

/// Where the menu is, and whom it asks.
#[derive(Debug, Clone)]
pub struct MenuRequest {
    /// The server's URL; without one this machine can still be looked at.
    pub server: Option<String>,
    /// How it is reached.
    pub access: Access,
    /// The machine.
    pub inventory: Inventory,
    /// The disks that are shown; all of this machine where none is named.
    pub disks: Vec<Destination>,
    /// True where the boot environment carries out what [`MenuEnd`] says.
    pub is_boot_environment: bool,
    /// The log of this machine, where there is one.
    pub log: Option<PathBuf>,
}

impl MenuRequest {
    /// The machine in a few words.
    #[must_use]
    pub fn machine_text(&self) -> String {
        let Inventory { vendor, model, firmware, .. } = &self.inventory;
        let words: Vec<&str> = [vendor, model].into_iter().flatten().map(String::as_str).collect();
        let machine = if words.is_empty() { "this machine".to_owned() } else { words.join(" ") };
        match firmware {
            Some(firmware @ (Firmware::Bios | Firmware::Uefi)) => format!("{machine}, {firmware}"),
            None => machine,
        }
    }
}
