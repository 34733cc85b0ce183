//! The database of a dynamic disk of Windows at the end of the disk that it was deployed to.

use super::CustomizeError;
use crate::blockio::WriteAt;
use crate::filesystem::ldm;

/// Moves the database of an MBR disk to its end, where it is not there already. True where it was moved.
///
/// # Errors
/// Where the disk cannot be read or written, or is not that of a group.
pub fn follow(disk: &dyn WriteAt) -> Result<bool, CustomizeError> {
    let doing = || "moving the database of the dynamic disk".to_owned();
    let pieces = ldm::moved_to_the_end(disk).map_err(|error| match error {
        crate::filesystem::Error::Io { source, .. } => CustomizeError::Io { doing: doing(), source },
        error => CustomizeError::Refused { fact: error.to_string() },
    })?;
    for piece in &pieces {
        let written = disk.write_at(piece.at, &piece.bytes).and_then(|()| disk.flush());
        written.map_err(|source| CustomizeError::Io { doing: doing(), source })?;
    }
    Ok(!pieces.is_empty())
}
