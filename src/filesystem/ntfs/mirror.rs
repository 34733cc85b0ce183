//! `$MFTMirr`: a copy of the first records of the master file table.

use super::attribute::kind;
use super::judgement::Judgement;
use super::mft::{Mft, number};
use super::mft_record::{Record, STRUCTURE};
use crate::filesystem::Error;
use crate::schema::State;
use crate::units::usize_from;

/// Every NTFS mirrors these; with clusters larger than four records there may be more.
const MIRRORED: u64 = 4;

/// Compares the first records with their copies. Where the volume is not clean anyway, a difference is what
/// the log repairs; on a clean volume nothing repairs it.
pub(super) fn judge(mft: &Mft<'_>, judgement: &mut Judgement) -> Result<(), Error> {
    let mirror = mft.system_stream(number::MFT_MIRROR, kind::DATA, "")?;
    if mirror.runs().first().and_then(|run| run.lcn) != Some(mft.boot.mftmirr_lcn) {
        return Err(Error::corrupt(
            STRUCTURE,
            mirror.position(0),
            "$MFTMirr is not where the boot sector says",
        ));
    }
    let state = if judgement.state == State::Clean { State::Damaged } else { judgement.state };
    for number in 0..MIRRORED {
        let offset = number.saturating_mul(mft.boot.record_bytes);
        let at = mirror.position(offset);
        let bytes = mirror.read(mft.volume, STRUCTURE, offset, usize_from(mft.boot.record_bytes))?;
        let copy = match Record::parse(number, at, bytes) {
            Ok(copy) => copy,
            Err(error) => {
                judgement.worsen(state, format!("the copy in $MFTMirr: {error}"));
                continue;
            }
        };
        if copy.comparable() != mft.record(number)?.comparable() {
            judgement.worsen(
                state,
                format!(
                    "record {number} of $MFT differs from its copy in $MFTMirr; run `chkdsk /f` in Windows"
                ),
            );
        }
    }
    Ok(())
}
