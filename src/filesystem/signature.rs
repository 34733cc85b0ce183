//! Contents that are recognised by their signature and captured raw.

use super::{Error, Reading};
use crate::blockio::ReadAt;

/// Recognises what no reader knows; `None` where nothing is recognised.
pub(super) fn read(_volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    Ok(None)
}
