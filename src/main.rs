//! The `remint` program: reads the command line, shows what happens, and turns outcomes into exit codes. Started by
//! the kernel as `/init`, it is the whole system of the boot image.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match remint::init::role() {
        Some(role) => role.play(),
        None => cli::main(),
    }
}
