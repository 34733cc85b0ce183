//! The `remint` program: reads the command line, shows what happens, and turns outcomes into exit codes. Started by
//! the kernel as `/init`, it is the whole system of the boot image.

mod cli;

use std::process::ExitCode;

/// musl's own allocator asks the kernel anew for every piece as large as a chunk, which costs a third of a deploy.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match remint::init::role() {
        Some(role) => role.play(),
        None => cli::main(),
    }
}
