//! `$Volume`: label, version and flags.
//!
//! The value of `$VOLUME_INFORMATION`: major version at 0x08, minor version at 0x09, flags at 0x0A.

use super::attribute::{Form, kind, text};
use super::judgement::Judgement;
use super::mft::{Mft, number};
use super::mft_record::Reference;
use crate::filesystem::Error;
use crate::schema::State;
use crate::units::{read_u8, read_u16le};

const STRUCTURE: &str = "NTFS volume information";
const DIRTY: u16 = 0x0001;
/// What is found on a volume that Windows is to check.
pub(super) const MARKED_DIRTY: &str =
    "the volume is marked dirty; run `chkdsk /f` on it in Windows and shut Windows down";
const CHKDSK_UNDERWAY: u16 = 0x4000;
/// Work that Windows does at the next mount; what stands on the disk is true without it. 0x0080 (no short
/// names) is a setting, not work.
const PENDING: [(u16, &str); 6] = [
    (0x0002, "Windows will resize $LogFile at the next mount"),
    (0x0004, "Windows will upgrade the NTFS version at the next mount"),
    (
        0x0008,
        "the volume was changed by Windows NT 4 or by ntfsresize; Windows will check it at the next mount",
    ),
    (0x0010, "Windows is deleting the USN journal and will go on at the next mount"),
    (0x0020, "Windows will repair object identifiers at the next mount"),
    (0x8000, "chkdsk has repaired the volume; Windows will finish that at the next mount"),
];

/// What `$Volume` says.
pub(super) struct VolumeInformation {
    pub(super) label: Option<String>,
    version: (u8, u8),
    flags: u16,
}

/// Reads record 3.
pub(super) fn read(mft: &Mft<'_>) -> Result<VolumeInformation, Error> {
    let base = mft.base(Reference(number::VOLUME))?;
    let label = match base.find(kind::VOLUME_NAME, "", 0)?.map(|attribute| attribute.form) {
        Some(Form::Resident(name)) if !name.is_empty() => Some(text(name)),
        _ => None,
    };
    let Some(Form::Resident(value)) =
        base.find(kind::VOLUME_INFORMATION, "", 0)?.map(|attribute| attribute.form)
    else {
        return Err(base.corrupt("$Volume has no volume information"));
    };
    let short = Error::short(STRUCTURE, base.at);
    Ok(VolumeInformation {
        label,
        version: (read_u8(value, 0x08).map_err(&short)?, read_u8(value, 0x09).map_err(&short)?),
        flags: read_u16le(value, 0x0A).map_err(&short)?,
    })
}

impl VolumeInformation {
    /// Judges version and flags.
    pub(super) fn judge(&self, judgement: &mut Judgement) {
        if !matches!(self.version, (1, 2) | (3, 0 | 1)) {
            let (major, minor) = self.version;
            judgement.worsen(
                State::Unsupported,
                format!(
                    "NTFS version {major}.{minor} is not known, only 1.2, 3.0 and 3.1; capture the volume raw"
                ),
            );
        }
        if self.flags & DIRTY != 0 {
            judgement.worsen(State::Dirty, MARKED_DIRTY);
        }
        if self.flags & CHKDSK_UNDERWAY != 0 {
            judgement.worsen(
                State::Dirty,
                "chkdsk was interrupted; let `chkdsk /f` finish in Windows and shut Windows down",
            );
        }
        for (flag, meaning) in PENDING {
            if self.flags & flag != 0 {
                judgement.note(meaning);
            }
        }
    }
}
