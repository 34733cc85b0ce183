//! The entries of the menu.

use super::state::{MenuEnd, ServerState, State};

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Deploy an image.
    Deploy,
    /// Capture this machine.
    Capture,
    /// Look at images.
    Images,
    /// Look at disks.
    Disks,
    /// Register this machine.
    Register,
    /// Log in.
    Login,
    /// Ask the server again.
    Again,
    /// Choose the keyboard layout.
    Keyboard,
    /// Read the log.
    Log,
    /// End the menu.
    End(MenuEnd),
}

impl Entry {
    /// Its key.
    #[must_use]
    pub const fn key(self) -> char {
        match self {
            Self::Deploy => 'd',
            Self::Capture => 'c',
            Self::Images => 'i',
            Self::Disks => 'k',
            Self::Register => 'g',
            Self::Login => 'l',
            Self::Again => 'a',
            Self::Keyboard => 'y',
            Self::Log => 'o',
            Self::End(MenuEnd::Network) => 'n',
            Self::End(MenuEnd::Shell) => 's',
            Self::End(MenuEnd::Local) => 'h',
            Self::End(MenuEnd::Reboot) => 'r',
            Self::End(MenuEnd::Poweroff) => 'p',
            Self::End(MenuEnd::Leave) => 'q',
        }
    }

    /// What it does.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Deploy => "deploy an image onto this machine",
            Self::Capture => "capture this machine into an image",
            Self::Images => "images and their profiles",
            Self::Disks => "disks of this machine",
            Self::Register => "register this machine",
            Self::Login => "log in",
            Self::Again => "ask the server again",
            Self::Keyboard => "keyboard layout of the screen",
            Self::Log => "log",
            Self::End(MenuEnd::Network) => "network: the cards, an address by hand",
            Self::End(MenuEnd::Shell) => "shell",
            Self::End(MenuEnd::Local) => "restart from the local disk",
            Self::End(MenuEnd::Reboot) => "restart",
            Self::End(MenuEnd::Poweroff) => "power off",
            Self::End(MenuEnd::Leave) => "leave the menu",
        }
    }
}

impl State {
    /// The entries that make sense now.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let reached = matches!(self.server, ServerState::Reached { .. });
        let offered = self.on_demand;
        let mut entries = Vec::new();
        let mut add = |holds: bool, entry| {
            if holds {
                entries.push(entry);
            }
        };
        add(reached && offered.deploy, Entry::Deploy);
        add(reached && offered.capture, Entry::Capture);
        add(reached && (offered.deploy || offered.capture), Entry::Images);
        add(true, Entry::Disks);
        add(reached && offered.register && self.name.is_none(), Entry::Register);
        add(reached && offered.after_login && self.user.is_none(), Entry::Login);
        add(true, Entry::Again);
        add(self.is_boot_environment && !self.keymaps.is_empty(), Entry::Keyboard);
        add(self.is_boot_environment, Entry::Log);
        let ends = [MenuEnd::Network, MenuEnd::Shell, MenuEnd::Local, MenuEnd::Reboot, MenuEnd::Poweroff];
        for end in ends {
            add(self.is_boot_environment, Entry::End(end));
        }
        add(!self.is_boot_environment, Entry::End(MenuEnd::Leave));
        entries
    }
}
