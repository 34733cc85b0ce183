//! Devices that are looked at together: which of them make up a file system that is whole, and what is used of each.
//!
//! Every device of a file system gets a map, or none does: where one is missing, there twice or left behind, all of them are
//! refused by name. What else holds a btrfs is no device, and is looked at to tell what became of one.

use super::chunk::Chunks;
use super::device::REPLACING;
use super::devices::{DevItem, Device, Devices};
use super::others::{Other, Others};
use super::superblock::Superblock;
use super::tree::{self, Trees};
use super::usage::Usage;
use super::{judge_trees, kind_of, read_chunks, reading_of};
use crate::blockio::ReadAt;
use crate::filesystem::judgement::{Judged, Judgement, settle};
use crate::filesystem::signature::identity::uuid_text;
use crate::filesystem::{Error, Reading};
use crate::schema::{FileSystemKind, State};
use crate::units::{RangeSet, u64_from};
use std::collections::BTreeMap;

/// What every refusal ends with.
const RAW: &str = "or capture every one of its devices with --when-dirty raw";
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
    /// True where it was recognised as a device of several and as nothing else. Others are never read as one: they are looked at
    /// for a superblock that tells what became of a device.
    pub is_device: bool,
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
        self.device().named()
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
    let mut others: Vec<Other<'_>> = Vec::new();
    for (position, source) in sources.iter().enumerate() {
        // What cannot be read has been said.
        let superblock = Superblock::read(source.volume).ok().filter(|_| source.is_device);
        match superblock.filter(|found| kind_of(found) == FileSystemKind::BtrfsSet) {
            Some(superblock) => {
                let members = of_system.entry(superblock.fsid).or_default();
                members.push(Member { position, source: *source, superblock });
            }
            None => others.extend(Other::find(source)),
        }
    }
    let mut readings: Vec<Option<Reading>> = sources.iter().map(|_| None).collect();
    for (fsid, members) in of_system {
        let (chosen, left_out): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| member.source.is_chosen);
        let away = Away { left_out: &left_out, others: Others::of(fsid, &others) };
        for (position, reading) in judge(&chosen, &away) {
            if let Some(place) = readings.get_mut(position) {
                *place = Some(reading);
            }
        }
    }
    readings
}

/// What is not read together with the devices that are wanted.
struct Away<'a> {
    /// Devices of the same file system that nobody wants.
    left_out: &'a [Member<'a>],
    others: Others<'a>,
}

/// Judges the devices of one file system; the reading of each, with its position.
fn judge(chosen: &[Member<'_>], away: &Away<'_>) -> Vec<(usize, Reading)> {
    let generation = chosen.iter().map(|member| member.superblock.generation).max().unwrap_or_default();
    let (current, behind): (Vec<&Member<'_>>, Vec<&Member<'_>>) =
        chosen.iter().partition(|member| member.superblock.generation == generation);
    let Some(first) = current.first() else { return Vec::new() };
    let devices = Devices::new(current.iter().map(|member| member.device()).collect());
    let read = open(chosen, &behind, away, &devices, &first.superblock);
    // Where the file system cannot tell, a device that is behind is taken for one of its own.
    let (behind, strangers): (Vec<&Member<'_>>, Vec<&Member<'_>>) = match &read {
        Ok((_, items)) => behind.into_iter().partition(|member| member.is_of(items)),
        Err(_) => (behind, Vec::new()),
    };
    let judgement = read.and_then(|(trees, items)| judge_whole(&trees, &items, &behind, away));
    let Judged { state, findings, map } = settle(judgement).unwrap_or_else(unreadable);
    let mut maps: Vec<Option<RangeSet>> =
        map.map(|usage| usage.used.into_iter().map(Some).collect()).unwrap_or_default();
    let mut readings = Vec::new();
    for member in current.iter().chain(&behind) {
        let device = devices.position(member.superblock.devid);
        let used = device.and_then(|device| maps.get_mut(device)?.take());
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
    behind: &[&Member<'_>],
    away: &Away<'_>,
    devices: &'a Devices<'a>,
    superblock: &'a Superblock,
) -> Result<(Trees<'a>, Vec<DevItem>), Error> {
    for member in chosen {
        member.superblock.check_features()?;
        // `BTRFS_DEV_REPLACE_DEVID`
        if member.superblock.devid == 0 {
            return Err(Error::unsupported(REPLACING));
        }
        refuse_twins(member, chosen, &away.others)?;
    }
    if let Some(newer) = away.others.converted(devices) {
        return Err(Error::unsupported(format!(
            "it went on without {}, on {newer} alone, which is newer: what is here is no device of it any more; leave it out with \
             --only, or remove what is left of it with wipefs",
            devices.names()
        )));
    }
    refuse_a_split(devices)?;
    read_chunks(devices, superblock).map_err(|error| match (error, behind.first()) {
        (error @ Error::Io { .. }, _) => error,
        (error, _) if devices.count() >= superblock.num_devices => error,
        (_, Some(member)) => is_behind(member, devices, superblock),
        (_, None) => missing(devices, superblock, None, away),
    })
}

/// Refuses a device that is there twice.
fn refuse_twins(member: &Member<'_>, chosen: &[Member<'_>], others: &Others<'_>) -> Result<(), Error> {
    let is_twin = |other: &&Member<'_>| {
        other.superblock.devid == member.superblock.devid && other.position > member.position
    };
    let twin = chosen.iter().find(is_twin).map(|twin| (twin.source.name, &twin.superblock));
    let Some((name, twin)) = twin.or_else(|| others.twin(&member.superblock)) else { return Ok(()) };
    let fact = if twin.generation == member.superblock.generation {
        "one is a copy of the other".to_owned()
    } else {
        format!("at the generations {} and {}", member.superblock.generation, twin.generation)
    };
    Err(Error::unsupported(format!(
        "{} and {name} are both its device {}, {fact}: leave one of them out with --only, {RAW}",
        member.source.name, member.superblock.devid
    )))
}

/// What is said of a device that the others are newer than.
fn is_behind(member: &Member<'_>, devices: &Devices<'_>, superblock: &Superblock) -> Error {
    Error::unsupported(format!(
        "{} is at generation {}, {} at {}: the last changes of the file system did not reach it; mount it with all of its \
         devices, run btrfs scrub and unmount it, {RAW}",
        member.name(),
        member.superblock.generation,
        devices.names(),
        superblock.generation
    ))
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
    away: &Away<'_>,
) -> Result<Judgement<Usage>, Error> {
    let (devices, superblock) = (trees.devices, trees.superblock);
    if let Some(member) = behind.first() {
        return Err(is_behind(member, devices, superblock));
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
        return Err(missing(devices, superblock, Some(item), away));
    }
    if let Some((devid, _)) = trees.chunks.elsewhere() {
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
    // A sync that a power cut ended has reached some of them only.
    if devices.as_slice().iter().any(|device| device.superblock.log_root != 0) {
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

/// Says which device is not here, as far as that is known: that of an item of the chunk tree, or where that cannot be read, of
/// the chunks that hold it.
fn missing(devices: &Devices<'_>, superblock: &Superblock, item: Option<&DevItem>, away: &Away<'_>) -> Error {
    let of_chunks = || Chunks::of_superblock(superblock, devices).ok()?.elsewhere();
    let which = match item.map(|item| (item.devid, item.uuid)).or_else(of_chunks) {
        Some((devid, uuid)) => {
            format!("device {devid} (UUID {}) is not", uuid_text(uuid).unwrap_or_default())
        }
        None => "not all of them are".to_owned(),
    };
    let left_out: Vec<String> = away.left_out.iter().map(Member::name).collect();
    let way_out = if !left_out.is_empty() {
        format!("--only leaves out {}: name all of them", left_out.join(" and "))
    } else if let Some(unusable) = away.others.unusable(superblock) {
        format!("{unusable}: mend that first")
    } else if item.is_some() {
        "name the disks of the others too; what is lost for good is removed with btrfs device remove missing"
            .to_owned()
    } else {
        "name the disks of the others too".to_owned()
    };
    Error::unsupported(format!(
        "it has {} devices, and {which} here: here are {}; {way_out}, {RAW}",
        superblock.num_devices,
        devices.names()
    ))
}
