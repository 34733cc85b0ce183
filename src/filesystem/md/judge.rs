//! Whether a member can be believed, and what is used of one that is a mirror.

use super::superblock::{self, Role, Superblock};
use super::{HISTORY, bitmap};
use crate::blockio::{ReadAt, Window};
use crate::filesystem::inside::{self, Inside};
use crate::filesystem::judgement::{Judged, Judgement, settle};
use crate::filesystem::{Error, Reading, nested_table, read_content};
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{ByteRange, RangeSet, u64_from};

pub(super) const ASSEMBLE: &str =
    "assemble the array (mdadm --assemble --scan) and capture it as a disk (--disk /dev/md0)";
const TOGETHER: &str = "name the disks of all its members (--disk), or assemble the array (mdadm --assemble --scan) and capture \
                        it as a disk (--disk /dev/md0)";
const ON_ALL: &str = "whose data lie on all its members together";
const SPARE: &str = "a spare of the ";
const WHOLE: &str = "let the running array become whole (mdadm --wait) and stop it";

/// A member, as far as it can be judged without its array.
pub(super) enum Checked<'a> {
    /// What of it is data of the array, and what else of it is used.
    Sound { data: Window<&'a dyn ReadAt>, around: RangeSet },
    /// All that can be said.
    Settled(Judgement),
}

/// What a member is without the others.
pub(super) fn alone(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Judged, Error> {
    match check(volume, superblock) {
        Ok(Checked::Sound { .. }) if superblock.lies_on_all() => {
            settle(Err::<Judgement, Error>(refused(superblock, ON_ALL, TOGETHER)))
        }
        Ok(Checked::Sound { .. }) if superblock.level != 1 => {
            settle(Err::<Judgement, Error>(refused(superblock, "of a level that is not read", ASSEMBLE)))
        }
        Ok(Checked::Sound { data, around }) => {
            let inside = inside::look(&data)?;
            let used = inside.judged.map.clone();
            Ok(told(superblock, &inside, used, &around))
        }
        Ok(Checked::Settled(judgement)) => settle(Ok(judgement)),
        Err(error) => settle(Err::<Judgement, Error>(error)),
    }
}

/// What is to be said of a sound member when the array was looked into. `used` are bytes of its data.
pub(super) fn told(
    superblock: &Superblock,
    inside: &Inside,
    used: Option<RangeSet>,
    around: &RangeSet,
) -> Judged {
    let Inside { what, judged } = inside;
    let (state, mut findings) = (judged.state, judged.findings.clone());
    let missing = match superblock.active < superblock.disks {
        true => format!("; it was last written with {} of them", superblock.active),
        false => String::new(),
    };
    let (number, array) = (superblock.number, superblock.array());
    findings.insert(0, format!("member {number} of the {array}{missing}; the array holds {what}"));
    if state != State::Clean {
        let torn = if superblock.level == 1 { "mirror" } else { "array" };
        findings.push(format!(
            "whatever that asks for, do it on the assembled array (mdadm --assemble --scan, then /dev/md0), never on a member, \
             or the {torn} falls apart; {HISTORY}"
        ));
    }
    let start = superblock.data.start();
    let map = used.map(|used| {
        let moved = |range: ByteRange| ByteRange::at(start.saturating_add(range.start()), range.length());
        used.iter().filter_map(moved).collect::<RangeSet>().union(around)
    });
    Judged { state, findings, map }
}

/// Why a member is not read.
pub(super) fn refused(superblock: &Superblock, why: &str, way_out: &str) -> Error {
    let array = superblock.array();
    Error::unsupported(format!(
        "a member of the {array} {why}; {way_out}, or capture every member with --when-dirty raw; {HISTORY}"
    ))
}

/// True for what is said of a sound member when nothing is known of the others yet.
#[must_use]
pub fn asks_for_all(finding: &str) -> bool {
    finding.contains(ON_ALL) && finding.contains(TOGETHER)
}

/// True for a member that holds nothing, as far as its description tells.
#[must_use]
pub fn is_spare(found: &FileSystem) -> bool {
    found.kind == FileSystemKind::MdMember && found.findings.iter().any(|fact| fact.starts_with(SPARE))
}

/// Judges a member as far as its own bytes tell. The error is why it is not read.
pub(super) fn check<'a>(volume: &'a dyn ReadAt, superblock: &Superblock) -> Result<Checked<'a>, Error> {
    let refused = |why: &str, way_out: &str| Err(refused(superblock, why, way_out));
    let array = superblock.array();
    if let Some(obstacle) = superblock.obstacle {
        return refused(&format!("that {obstacle}"), WHOLE);
    }
    let around = around(volume, superblock)?;
    match superblock.role {
        Role::Spare => {
            if let Some(what) = on_a_spare(volume, superblock)? {
                let why = format!("that is a spare, or was not rebuilt yet, and {what} is on it");
                return refused(&why, "if it is to stay in the array, leave it out with --only");
            }
            let fact = format!("{SPARE}{array}: nothing but its superblock is captured");
            return Ok(Checked::Settled(Judgement::Clean { map: around, hints: vec![fact] }));
        }
        Role::Faulty => return refused("that failed", "leave it out with --only"),
        Role::Journal => return refused("that holds its journal", ASSEMBLE),
        Role::Active => {}
    }
    // Nothing has to be equal where there is nothing twice.
    if !superblock.in_sync && !matches!(superblock.level, -1 | 0) {
        let fact = format!(
            "a member of the {array} that was written to when it stopped, or that is not equal to the others yet; assemble \
             the array (mdadm --assemble --scan), {WHOLE} (mdadm --stop), or capture every member with --when-dirty raw; {HISTORY}"
        );
        return Ok(Checked::Settled(Judgement::Dirty { fact }));
    }
    let data = Window::new(volume, superblock.data).map_err(|_| {
        let fact = format!("{} of data do not lie on the volume", superblock.data);
        Error::corrupt(superblock::STRUCTURE, superblock.at, fact)
    })?;
    if superblock.data.start() > 0
        && let Some(what) = recognised(volume)?
    {
        let start = superblock.data.start();
        let why = format!("whose data begin at byte {start} only, and {what} begins with the volume");
        let alive =
            "if the array is alive, remove that signature alone (wipefs lists it, wipefs -o removes one)";
        return refused(&why, alive);
    }
    Ok(Checked::Sound { data, around })
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
