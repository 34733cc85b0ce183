//! What holds a btrfs beside the devices of one on several, and is none of them to the eye: a copy from before the others were
//! added, what it was made into when the others were gone, or a device that cannot be used.

use super::devices::{Device, Devices};
use super::probe;
use super::superblock::Superblock;
use super::together::BtrfsSource;

/// One of them.
pub(super) struct Other<'a> {
    name: &'a str,
    is_chosen: bool,
    /// `None` where it is not intact.
    superblock: Option<Superblock>,
}

impl<'a> Other<'a> {
    /// Looks for a superblock; `None` where there is none.
    pub(super) fn find(source: &BtrfsSource<'a>) -> Option<Self> {
        let is_there = probe(source.volume).is_ok_and(|kind| kind.is_some());
        let superblock = || Superblock::read_first(source.volume).ok();
        is_there.then(|| Self { name: source.name, is_chosen: source.is_chosen, superblock: superblock() })
    }
}

/// Those that have to do with one file system.
pub(super) struct Others<'a> {
    /// With the superblocks of that file system.
    own: Vec<(&'a Other<'a>, &'a Superblock)>,
    /// Those whose superblock is not intact, which may be of it.
    unknown: Vec<&'a Other<'a>>,
}

impl<'a> Others<'a> {
    pub(super) fn of(fsid: [u8; 16], others: &'a [Other<'a>]) -> Self {
        let own = others.iter().filter_map(|other| Some((other, other.superblock.as_ref()?)));
        let own = own.filter(|(_, superblock)| superblock.fsid == fsid).collect();
        Self { own, unknown: others.iter().filter(|other| other.superblock.is_none()).collect() }
    }

    /// One that is wanted and has the number and the UUID of a device.
    pub(super) fn twin(&self, device: &Superblock) -> Option<(&'a str, &'a Superblock)> {
        let mut chosen = self.own.iter().filter(|(other, _)| other.is_chosen);
        chosen
            .find(|(_, superblock)| is_twin(superblock, device))
            .map(|(other, superblock)| (other.name, *superblock))
    }

    /// What is newer than these devices, and the only device of the file system. A copy of one of them tells nothing of the others.
    pub(super) fn converted(&self, devices: &Devices<'_>) -> Option<&'a str> {
        let is_after = |superblock: &Superblock, device: &Device<'_>| {
            superblock.generation > device.superblock.generation && !is_twin(superblock, device.superblock)
        };
        let is_converted = |superblock: &Superblock| {
            superblock.num_devices == 1
                && devices.as_slice().iter().all(|device| is_after(superblock, device))
        };
        self.own.iter().find(|(_, superblock)| is_converted(superblock)).map(|(other, _)| other.name)
    }

    /// A clause about one that is a device of this file system, or may be, and cannot be used.
    pub(super) fn unusable(&self, of: &Superblock) -> Option<String> {
        let is_device = |superblock: &Superblock| superblock.num_devices == of.num_devices;
        if let Some((other, superblock)) = self.own.iter().find(|(_, superblock)| is_device(superblock)) {
            let (name, devid) = (other.name, superblock.devid);
            return Some(format!(
                "{name} is its device {devid} and cannot be used, for the reason that is said of it"
            ));
        }
        let unknown = self.unknown.first()?;
        Some(format!("{} may be that device: it has a superblock of btrfs that is not intact", unknown.name))
    }
}

fn is_twin(one: &Superblock, other: &Superblock) -> bool {
    (one.devid, one.dev_uuid) == (other.devid, other.dev_uuid)
}
