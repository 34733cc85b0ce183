//! Members of Linux MD arrays: what their superblocks say, and of mirrors also what is used of a member.
//!
//! Invariants:
//!
//! - One member alone is read only where it holds all data of its array and says that they are whole: RAID 1, active, not
//!   being written to, rebuilt or reshaped, without bad blocks. Everything else is refused by name.
//! - A member keeps its superblock, bitmap and list of bad blocks to the byte; the rest of its map is that of what the
//!   array holds.
//! - Wherever another version of the superblock could stand is used too: an old one on the target would be believed.
//! - Where there are two superblocks, none is believed.
//! - A superblock is not believed against what else is there: a file system beside the array, or on a spare, may be what is
//!   alive, and the superblock what an earlier use left standing.
//!
//! ```text
//! version 1.2   0        4 KiB                                  data
//!               |        | superblock | bad blocks | bitmap |   | array ...                  |
//! version 1.0   | array ...                            | bitmap, bad blocks | superblock |   |
//! ```

mod bitmap;
mod superblock;
mod version_0;
mod version_1;

pub use superblock::{Role, Superblock};

use super::inside::{self, Inside};
use super::judgement::{Judged, Judgement, settle};
use super::{Error, Reading, nested_table, read_content};
use crate::blockio::{ReadAt, Window};
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{ByteRange, RangeSet, u64_from};

/// The way out where an array is history.
const HISTORY: &str = "if the array is history, remove its superblock with mdadm --zero-superblock";

/// The superblock of a member that can be believed: there is one, and its checksum is right.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn member(volume: &dyn ReadAt) -> Result<Option<Superblock>, Error> {
    let mut found = superblock::find(volume)?;
    match (found.pop(), found.is_empty()) {
        (Some(Ok(superblock)), true) => Ok(Some(superblock)),
        _ => Ok(None),
    }
}

/// The version and place of every superblock on a volume, damaged ones included.
pub(super) fn superblocks(volume: &dyn ReadAt) -> Result<Vec<Result<Superblock, Error>>, Error> {
    superblock::find(volume)
}

/// Reads a member; `None` where there is no superblock.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    let mut found = superblock::find(volume)?;
    let superblock = match (found.pop(), found.is_empty()) {
        (None, _) => return Ok(None),
        (Some(superblock), true) => superblock,
        (Some(superblock), false) => {
            found.push(superblock);
            Err(ambiguous(&found))
        }
    };
    let (judged, named) = match superblock {
        Ok(superblock) => (judge(volume, &superblock)?, (superblock.array_uuid, superblock.name)),
        Err(error) => (settle(Err::<Judgement, Error>(error))?, (None, None)),
    };
    let Judged { state, findings, map } = judged;
    let size_bytes = volume.size_bytes();
    let file_system = FileSystem {
        kind: FileSystemKind::MdMember,
        uuid: named.0,
        label: named.1,
        block_size_bytes: 512,
        size_bytes,
        used_bytes: map.as_ref().map(RangeSet::total_bytes),
        minimum_bytes: size_bytes,
        state,
        findings,
    };
    Ok(Some(Reading { file_system, used: map }))
}

fn ambiguous(found: &[Result<Superblock, Error>]) -> Error {
    let name = |superblock: &Result<Superblock, Error>| match superblock {
        Ok(superblock) => format!("of the {}", superblock.array()),
        Err(_) => "that is damaged".to_owned(),
    };
    let names: Vec<String> = found.iter().map(name).collect();
    Error::unsupported(format!(
        "there are several MD superblocks, one {}, so at least one is left over from an earlier use; find out which array is \
         alive (mdadm --examine) and remove the other superblock, or capture the volume with --when-dirty raw",
        names.join(", one ")
    ))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Judged, Error> {
    let array = superblock.array();
    let refused = |why: &str, way_out: &str| {
        let fact = format!(
            "a member of the {array} {why}; {way_out}, or capture every member with --when-dirty raw; {HISTORY}"
        );
        settle(Err::<Judgement, Error>(Error::unsupported(fact)))
    };
    let assemble = "assemble the array (mdadm --assemble --scan) and capture it as a disk (--disk /dev/md0)";
    let whole = "let the running array become whole (mdadm --wait) and stop it";
    if let Some(obstacle) = superblock.obstacle {
        return refused(&format!("that {obstacle}"), whole);
    }
    let around = match around(volume, superblock) {
        Ok(around) => around,
        Err(error) => return settle(Err::<Judgement, Error>(error)),
    };
    match superblock.role {
        Role::Spare => {
            if let Some(what) = on_a_spare(volume, superblock)? {
                let why = format!("that is a spare, or was not rebuilt yet, and {what} is on it");
                return refused(&why, "if it is to stay in the array, leave it out with --only");
            }
            let fact = format!("a spare of the {array}: nothing but its superblock is captured");
            return settle(Ok(Judgement::Clean { map: around, hints: vec![fact] }));
        }
        Role::Faulty => return refused("that failed", "leave it out with --only"),
        Role::Journal => return refused("that holds its journal", assemble),
        Role::Active => {}
    }
    if superblock.level != 1 {
        return refused("whose data lie on all its members together", assemble);
    }
    if !superblock.in_sync {
        let fact = format!(
            "a member of the {array} that was written to when it stopped, or that is not equal to the others yet; assemble \
             the array (mdadm --assemble --scan), {whole} (mdadm --stop), or capture every member with --when-dirty raw; {HISTORY}"
        );
        return settle(Ok(Judgement::Dirty { fact }));
    }
    let window = Window::new(volume, superblock.data).map_err(|_| {
        Error::corrupt(
            superblock::STRUCTURE,
            superblock.at,
            format!("{} of data do not lie on the volume", superblock.data),
        )
    })?;
    if superblock.data.start() > 0
        && let Some(what) = recognised(volume)?
    {
        let why = format!(
            "whose data begin at byte {} only, and {what} begins with the volume",
            superblock.data.start()
        );
        let alive =
            "if the array is alive, remove that signature alone (wipefs lists it, wipefs -o removes one)";
        return refused(&why, alive);
    }
    let Inside { what, judged } = inside::look(&window)?;
    let Judged { state, mut findings, map } = judged;
    let missing = match superblock.active < superblock.disks {
        true => format!("; it was last written with {} of them", superblock.active),
        false => String::new(),
    };
    findings
        .insert(0, format!("member {} of the {array}{missing}; the array holds {what}", superblock.number));
    if state != State::Clean {
        findings.push(format!(
            "whatever that asks for, do it on the assembled array (mdadm --assemble --scan, then /dev/md0), never on a member, \
             or the mirror falls apart; {HISTORY}"
        ));
    }
    let start = superblock.data.start();
    let map = map.map(|map| {
        let moved = |range: ByteRange| ByteRange::at(start.saturating_add(range.start()), range.length());
        map.iter().filter_map(moved).collect::<RangeSet>().union(&around)
    });
    Ok(Judged { state, findings, map })
}

/// What a spare holds that none should, as one that was made anew for another use, or was never rebuilt.
fn on_a_spare(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Option<String>, Error> {
    match (recognised(volume)?, Window::new(volume, superblock.data)) {
        (None, Ok(data)) => recognised(&data),
        (what, _) => Ok(what),
    }
}

/// What is recognised at the start of a volume, superblocks of arrays apart.
fn recognised(volume: &dyn ReadAt) -> Result<Option<String>, Error> {
    if let Some(Reading { file_system, .. }) = read_content(volume)? {
        return Ok(Some(file_system.kind.to_string()));
    }
    Ok(nested_table(volume)?.map(|table| format!("a partition table ({table})")))
}

/// What stands outside of the data, and wherever a superblock could stand.
fn around(volume: &dyn ReadAt, superblock: &Superblock) -> Result<RangeSet, Error> {
    let size_bytes = volume.size_bytes();
    let own = ByteRange::at(superblock.at, u64_from(superblock::BYTES));
    let mut used: RangeSet =
        superblock::places(size_bytes).into_iter().map(|(_, place)| place).chain(own).collect();
    superblock.places.iter().for_each(|place| used.insert(place.intersection(ByteRange::new(0, size_bytes))));
    if let Some(at) = superblock.bitmap_at {
        used.insert(bitmap::range(volume, at)?);
    }
    Ok(used)
}
