//! `\hiberfil.sys`: does a sleeping Windows still hold a part of the volume in its memory image?
//!
//! A volume of a system that was shut down with Fast Startup is not marked dirty; only the first bytes of
//! the hibernation file tell.

use super::attribute::{COMPRESSED, ENCRYPTED, kind};
use super::index;
use super::judgement::Judgement;
use super::mft::Mft;
use crate::filesystem::Error;
use crate::schema::State;
use crate::units::usize_from;

const STRUCTURE: &str = "hiberfil.sys";
const WAY_OUT: &str =
    "start Windows and shut it down with Shift held, or run `powercfg /h off` there and shut it down";

/// Judges whether Windows is hibernated.
pub(super) fn judge(mft: &Mft<'_>, judgement: &mut Judgement) -> Result<(), Error> {
    let Some(reference) = index::find_in_root(mft, STRUCTURE)? else { return Ok(()) };
    let base = mft.base(reference)?;
    let Some(data) = mft.stream(&base, kind::DATA, "")? else { return Ok(()) };
    if data.data_bytes == 0 {
        return Ok(());
    }
    if data.flags & (COMPRESSED | ENCRYPTED) != 0 {
        judgement.worsen(
            State::Dirty,
            format!("hiberfil.sys is compressed or encrypted, so whether Windows is hibernated cannot be told; {WAY_OUT}"),
        );
        return Ok(());
    }
    let length = usize_from(data.data_bytes.min(4));
    let signature = data.read(mft.volume, STRUCTURE, 0, length)?;
    match signature.to_ascii_lowercase().as_slice() {
        b"hibr" => judgement.worsen(
            State::Hibernated,
            format!(
                "Windows is hibernated or was shut down with Fast Startup, and holds changes that are not on \
                 the disk; {WAY_OUT}"
            ),
        ),
        b"rstr" => judgement.worsen(
            State::Hibernated,
            format!("Windows began to resume from hibernation and did not finish; {WAY_OUT}"),
        ),
        b"horm" => judgement.worsen(
            State::Hibernated,
            "Windows resumes from the same hibernation file again and again (HORM), so it always holds changes \
             that are not on the disk; turn HORM off and shut it down",
        ),
        b"wake" => {}
        zeros if zeros.iter().all(|byte| *byte == 0) => {}
        other => judgement.note(format!(
            "hiberfil.sys starts with {:?}, which is no known mark of hibernation; if Windows is hibernated, {WAY_OUT}",
            String::from_utf8_lossy(other)
        )),
    }
    Ok(())
}
