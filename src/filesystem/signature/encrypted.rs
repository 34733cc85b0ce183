//! Volumes that cryptsetup encrypts: what their headers say.

use super::Found;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::luks::{self, Header};
use crate::schema::State;

/// The LUKS header at the start of the volume.
pub(super) fn luks(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    Ok(luks::header(volume)?.as_ref().map(found))
}

/// The second LUKS2 header, where the first is damaged.
pub(super) fn luks2_backup(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    Ok(luks::backup(volume)?.as_ref().map(found))
}

fn found(header: &Header) -> Found {
    let mut found = Found::container(header.kind).named(header.uuid.clone(), header.label.clone());
    found.state = State::Encrypted;
    found.findings = luks::findings(header);
    found
}
