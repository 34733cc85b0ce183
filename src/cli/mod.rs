//! The command line: arguments in, text or JSON out.

#[cfg(feature = "server")]
mod admin;
mod arguments;
mod artefact;
mod commands;
mod customize;
mod layout;
mod listener;
#[cfg(test)]
mod profile_tests;

use arguments::Arguments;
use clap::Parser;
use remint::agent::{self, ExitCode};
use std::io::Write;

/// Runs the program.
pub fn main() -> std::process::ExitCode {
    // A reader that goes away (`remint inspect | head`) ends the output, not the program with a panic.
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
            return u8::from(code).into();
        }
    };
    let listener = match listener::Listener::new(arguments.events, arguments.quiet) {
        Ok(listener) => listener,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "remint: {error:#}");
            return u8::from(ExitCode::Failed).into();
        }
    };
    let code = match commands::run(arguments.command, &listener) {
        Ok(code) => code,
        Err(error) => {
            let code = match error.downcast_ref::<commands::Usage>() {
                Some(_) => ExitCode::Usage,
                None => agent::exit_code(&error),
            };
            listener.failed(&error, code == ExitCode::TargetChanged);
            code
        }
    };
    u8::from(code).into()
}

/// Prints to standard output; where nobody reads it any more, that is fine.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
