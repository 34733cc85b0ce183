//! A terminal that does not show what is typed.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, Stdin};

/// As long as it lives, the terminal of standard input shows nothing of what is typed.
#[derive(Debug)]
pub struct WithoutEcho {
    terminal: Stdin,
    before: Termios,
}

/// Stops showing what is typed at standard input.
///
/// # Errors
/// Where that is no terminal.
pub fn without_echo() -> io::Result<WithoutEcho> {
    let terminal = io::stdin();
    let before = tcgetattr(&terminal)?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &quiet)?;
    Ok(WithoutEcho { terminal, before })
}

impl Drop for WithoutEcho {
    fn drop(&mut self) {
        // There is nobody to tell where the terminal is gone.
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}
