//! Random numbers from the kernel.

use super::Error;
use std::fs::File;
use std::io::Read;

/// Draws 128 bits. `/dev/random` gives none before the kernel has gathered enough, which takes it about a second at
/// the start of a machine.
///
/// # Errors
/// Where the kernel gives none.
pub fn random_bits() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    File::open("/dev/random")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(Error::io("reading random numbers from /dev/random"))?;
    Ok(bytes)
}
