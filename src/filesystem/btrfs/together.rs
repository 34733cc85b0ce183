//! Devices that are looked at together: which of them make up a file system that is whole, and what is used of each.
//!
//! Every device of a file system gets a map, or none does: where one is missing, there twice or left behind, all of them are
//! refused by name.

use super::devices::{DevItem, Device, Devices};
use super::superblock::Superblock;
use super::tree::{self, Trees};
use super::usage::Usage;
use super::{judge_trees, kind_of, read_chunks, reading_of};
use crate::blockio::ReadAt;
use crate::filesystem::judgement::{Judged, Judgement, settle};
use crate::filesystem::signature::identity::uuid_text;
use crate::filesystem::{Error, Reading};
use crate::schema::{FileSystemKind, State};
use crate::units::u64_from;
use std::collections::BTreeMap;

/// What every refusal ends with.
const RAW: &str = "or capture every one of its devices with --when-dirty raw";
const REPLACING: &str =
    "the replacement of a device was not finished; let btrfs replace finish, or cancel it, and capture again";
const DIRTY: &str = "its log tree is to be replayed: the file system is mounted or was not unmounted; unmount it, or mount \
                     it with all of its devices and unmount it once: a log on several devices is not replayed beside them";

/// A volume that may be a device of a btrfs of several.
#[derive(Clone, Copy)]
pub struct BtrfsSource<'a> {
    /// What it is called in sentences.
    pub name: &'a str,
    /// Its bytes.
    pub volume: &'a dyn ReadAt,
    /// True where it is wanted. The others are looked at to be named.
    pub is_chosen: bool,
}

/// A device whose superblock can be read.
struct Member<'a> {
    /// That of its source.
    position: usize,
    source: BtrfsSource<'a>,
    superblock: Superblock,
}

impl Member<'_> {
    fn name(&self) -> String {
        format!("{} (device {})", self.source.name, self.superblock.devid)
    }

    const fn device(&self) -> Device<'_> {
        Device { name: self.source.name, volume: self.source.volume, superblock: &self.superblock }
    }

    /// True where the file system counts this as one of its devices.
    fn is_of(&self, items: &[DevItem]) -> bool {
        items.iter().any(|item| (item.devid, item.uuid) == (self.superblock.devid, self.superblock.dev_uuid))
    }
}

/// Reads the devices of btrfs file systems of several. For each source, in their order, what was found; `None` where it is no
/// such device, or nobody wants it.
#[must_use]
pub fn read_btrfs_devices(sources: &[BtrfsSource<'_>]) -> Vec<Option<Reading>> {
    let mut of_system: BTreeMap<[u8; 16], Vec<Member<'_>>> = BTreeMap::new();
    for (position, source) in sources.iter().enumerate() {
        // What cannot be read has been said.
        let superblock = Superblock::read(source.volume).ok();
        if let Some(superblock) = superblock.filter(|found| kind_of(found) == FileSystemKind::BtrfsSet) {
            let fsid = superblock.fsid;
            of_system.entry(fsid).or_default().push(Member { position, source: *source, superblock });
        }
    }
    let mut readings: Vec<Option<Reading>> = sources.iter().map(|_| None).collect();
    for members in of_system.into_values() {
        let (chosen, left_out): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| member.source.is_chosen);
        for (position, reading) in judge(&chosen, &left_out) {
            if let Some(place) = readings.get_mut(position) {
                *place = Some(reading);
            }
        }
    }
    readings
}

/// Judges the devices of one file system; the reading of each, with its position.
fn judge(chosen: &[Member<'_>], left_out: &[Member<'_>]) -> Vec<(usize, Reading)> {
    let generation = chosen.iter().map(|member| member.superblock.generation).max().unwrap_or_default();
    let (current, behind): (Vec<&Member<'_>>, Vec<&Member<'_>>) =
        chosen.iter().partition(|member| member.superblock.generation == generation);
    let Some(first) = current.first() else { return Vec::new() };
    let devices = Devices::new(current.iter().map(|member| member.device()).collect());
    let read = open(chosen, left_out, &devices, &first.superblock);
    // Where the file system cannot tell, a device that is behind is taken for one of its own.
    let (behind, strangers): (Vec<&Member<'_>>, Vec<&Member<'_>>) = match &read {
        Ok((_, items)) => behind.into_iter().partition(|member| member.is_of(items)),
        Err(_) => (behind, Vec::new()),
    };
    let judgement = read.and_then(|(trees, items)| judge_whole(&trees, &items, &behind, left_out));
    let Judged { state, findings, map } = settle(judgement).unwrap_or_else(unreadable);
    let mut readings = Vec::new();
    for member in current.iter().chain(&behind) {
        let device = devices.position(member.superblock.devid);
        let used = map.as_ref().zip(device).and_then(|(usage, device)| usage.used.get(device)).cloned();
        readings.push((member.position, reading_of(&member.superblock, state, findings.clone(), used, None)));
    }
    for member in strangers {
        let fact = format!(
            "its superblock is older than that of {}, and it is no device of that file system any more: leave it out with \
             --only, or remove what is left of it with wipefs",
            devices.names()
        );
        let reading = reading_of(&member.superblock, State::Unsupported, vec![fact], None, None);
        readings.push((member.position, reading));
    }
    readings
}

/// What could not be read is not known to be sound.
fn unreadable(error: Error) -> Judged<Usage> {
    Judged { state: State::Damaged, findings: vec![format!("{error} failed")], map: None }
}

/// Reads the chunk tree, and which devices there have to be.
fn open<'a>(
    chosen: &[Member<'_>],
    left_out: &[Member<'_>],
    devices: &'a Devices<'a>,
    superblock: &'a Superblock,
) -> Result<(Trees<'a>, Vec<DevItem>), Error> {
    for member in chosen {
        member.superblock.check_features()?;
        // `BTRFS_DEV_REPLACE_DEVID`
        if member.superblock.devid == 0 {
            return Err(Error::unsupported(REPLACING));
        }
        refuse_twins(member, chosen)?;
    }
    refuse_a_split(devices)?;
    read_chunks(devices, superblock).map_err(|error| {
        let is_whole = devices.count() >= superblock.num_devices;
        if is_whole { error } else { missing(devices, superblock, None, left_out) }
    })
}

/// Refuses a device that is there twice.
fn refuse_twins(member: &Member<'_>, chosen: &[Member<'_>]) -> Result<(), Error> {
    let is_twin = |other: &&Member<'_>| {
        other.superblock.devid == member.superblock.devid && other.position > member.position
    };
    let Some(twin) = chosen.iter().find(is_twin) else { return Ok(()) };
    let fact = if twin.superblock.generation == member.superblock.generation {
        "one is a copy of the other".to_owned()
    } else {
        format!("at the generations {} and {}", member.superblock.generation, twin.superblock.generation)
    };
    Err(Error::unsupported(format!(
        "{} and {} are both its device {}, {fact}: leave one of them out with --only, {RAW}",
        member.source.name, twin.source.name, member.superblock.devid
    )))
}

/// Refuses devices that say different things of one commit: each of them was mounted without the other.
fn refuse_a_split(devices: &Devices<'_>) -> Result<(), Error> {
    let all = devices.as_slice();
    let Some(first) = all.first() else { return Ok(()) };
    if all.iter().all(|device| device.superblock.shared == first.superblock.shared) {
        return Ok(());
    }
    Err(Error::unsupported(tree::SPLIT))
}

/// Judges a file system whose chunk tree could be read.
fn judge_whole(
    trees: &Trees<'_>,
    items: &[DevItem],
    behind: &[&Member<'_>],
    left_out: &[Member<'_>],
) -> Result<Judgement<Usage>, Error> {
    let (devices, superblock) = (trees.devices, trees.superblock);
    if let Some(member) = behind.first() {
        return Err(Error::unsupported(format!(
            "{} is at generation {}, {} at {}: the file system was changed without it; mount it with all of its devices, run btrfs \
             scrub and unmount it, {RAW}",
            member.name(),
            member.superblock.generation,
            devices.names(),
            superblock.generation
        )));
    }
    if let Some(seed) = items.iter().find(|item| item.fsid != superblock.node_uuid()) {
        return Err(Error::unsupported(format!(
            "it is built on a seed, its device {}, which is of another file system ({}): remove that from it with btrfs device remove, \
             or capture every device of both with --when-dirty raw",
            seed.devid,
            uuid_text(seed.fsid).unwrap_or_default()
        )));
    }
    let is_here = |item: &&DevItem| {
        devices
            .as_slice()
            .iter()
            .any(|device| (device.superblock.devid, device.superblock.dev_uuid) == (item.devid, item.uuid))
    };
    if let Some(item) = items.iter().find(|item| !is_here(item)) {
        return Err(missing(devices, superblock, Some(item), left_out));
    }
    if let Some(devid) = trees.chunks.elsewhere() {
        return Err(Error::unsupported(format!(
            "{}: finish the removal of that device, {RAW}",
            tree::elsewhere(devid)
        )));
    }
    if u64_from(items.len()) != superblock.num_devices || devices.count() != superblock.num_devices {
        return Err(trees.corrupt(format!(
            "it has {} devices, its chunk tree {}, and here are {}",
            superblock.num_devices,
            items.len(),
            devices.names()
        )));
    }
    if superblock.log_root != 0 {
        return Ok(Judgement::Dirty { fact: DIRTY.to_owned() });
    }
    Ok(match judge_trees(trees)? {
        Judgement::Clean { map, mut hints } => {
            hints.insert(0, format!("its devices are {}: deploy all of them together", devices.names()));
            Judgement::Clean { map, hints }
        }
        dirty @ Judgement::Dirty { .. } => dirty,
    })
}

/// Says which device is not here, as far as that is known.
fn missing(
    devices: &Devices<'_>,
    superblock: &Superblock,
    item: Option<&DevItem>,
    left_out: &[Member<'_>],
) -> Error {
    let which = item.map_or_else(
        || "not all of them are".to_owned(),
        |item| format!("device {} (UUID {}) is not", item.devid, uuid_text(item.uuid).unwrap_or_default()),
    );
    let others: Vec<String> = left_out.iter().map(Member::name).collect();
    let way_out = if others.is_empty() {
        "name the disks of the others too; what is lost for good is removed with btrfs device remove missing"
            .to_owned()
    } else {
        format!("--only leaves out {}: name all of them", others.join(" and "))
    };
    Error::unsupported(format!(
        "it has {} devices, and {which} here: here are {}; {way_out}, {RAW}",
        superblock.num_devices,
        devices.names()
    ))
}
