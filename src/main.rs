//! The `remint` program: reads the command line, shows what happens, and turns outcomes into exit codes.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
