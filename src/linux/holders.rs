//! Who uses a disk now: mounts, swap spaces, mappings, arrays, loop devices, and what stands on those.
//!
//! Devices are matched by number, because names lie: the root file system is often mounted from a
//! `/dev/root` that does not exist. Mounts in other mount namespaces cannot be seen; opening the disk
//! exclusively is what finds those.

use super::sysfs::{BlockDevice, Kernel, device_number, entry_names, unescape};
use crate::machine::Holder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Mount points that a running system was started from; the later ones are those of live media.
const BOOT_PLACES: [&str; 11] = [
    "/",
    "/boot",
    "/boot/efi",
    "/efi",
    "/cdrom",
    "/run/live/medium",
    "/run/live/persistence",
    "/lib/live/mount/medium",
    "/run/initramfs/live",
    "/run/initramfs/isoscan",
    "/run/archiso/bootmnt",
];

/// Who uses a disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// In the order: the disk, its partitions, what stands on them.
    pub(super) holders: Vec<Holder>,
    /// True where this system was started from it.
    pub(super) boot_medium: bool,
}

/// Everything that uses devices on a machine, read once.
pub(super) struct Users {
    devices: BTreeMap<String, BlockDevice>,
    mounts: Vec<Mount>,
    /// Kernel name or path, and the device or file as it was named.
    swaps: Vec<(String, String)>,
    loops: Vec<Loop>,
    /// Kernel names of the members of mounted btrfs file systems, with the UUID.
    btrfs: Vec<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    number: String,
    source: String,
    path: String,
}

struct Loop {
    name: String,
    /// As the kernel writes it.
    backing: String,
    /// Kernel name of the device it stands on, where it is one.
    device: Option<String>,
}

impl Users {
    /// Reads who uses what.
    pub(super) fn read(kernel: &Kernel) -> Self {
        let names = kernel.names_by_number();
        let whole = kernel.block_devices().unwrap_or_default();
        let loops = whole.iter().filter_map(|device| {
            let backing = device.attribute("loop/backing_file")?;
            let on = kernel.name_of(&backing, &names);
            Some(Loop { name: device.name.clone(), device: on, backing })
        });
        let swaps = kernel.text("/proc/swaps").unwrap_or_default();
        Self {
            loops: loops.collect(),
            mounts: mounts(&kernel.text("/proc/self/mountinfo").unwrap_or_default())
                .map(|mount| on_a_device(kernel, &names, mount))
                .collect(),
            swaps: swap_files(&swaps)
                .map(|path| (kernel.name_of(&path, &names).unwrap_or_else(|| path.clone()), path))
                .collect(),
            btrfs: btrfs_members(kernel),
            devices: whole
                .iter()
                .flat_map(|device| std::iter::once(device.clone()).chain(device.parts()))
                .map(|device| (device.name.clone(), device))
                .collect(),
        }
    }

    /// Who uses a disk and its partitions.
    pub(super) fn of_device(&self, disk: &BlockDevice) -> Use {
        let mut found = Use::default();
        let mut seen = BTreeSet::new();
        self.add(&disk.name, &mut found, &mut seen);
        for part in disk.parts() {
            self.add(&part.name, &mut found, &mut seen);
        }
        found
    }

    /// Who uses a plain file.
    pub(super) fn of_file(&self, path: &Path) -> Use {
        let mut found = Use::default();
        let mut seen = BTreeSet::new();
        let name = path.to_string_lossy();
        for other in self.loops.iter().filter(|other| same_file(&other.backing, path)) {
            self.add_mapping(&name, &other.name, &mut found, &mut seen);
        }
        for (_, swap) in self.swaps.iter().filter(|(_, swap)| same_file(swap, path)) {
            found.holders.push(Holder::Swap { device: swap.clone() });
        }
        // A FUSE file system on a file has no device; its source is the file.
        for mount in self.mounts.iter().filter(|mount| is_anonymous(&mount.number)) {
            if mount.source.starts_with('/') && same_file(&mount.source, path) {
                found.holders.push(Holder::Mount { device: name.to_string(), path: mount.path.clone() });
            }
        }
        found
    }

    fn add(&self, name: &str, found: &mut Use, seen: &mut BTreeSet<String>) {
        let Some(device) = self.devices.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        let number = device.attribute("dev").unwrap_or_default();
        for mount in self.mounts.iter().filter(|mount| mount.number == number) {
            found.boot_medium |= BOOT_PLACES.contains(&mount.path.as_str());
            found.holders.push(Holder::Mount { device: device.node(), path: mount.path.clone() });
        }
        if self.swaps.iter().any(|(swap, _)| swap == name) {
            found.holders.push(Holder::Swap { device: device.node() });
        }
        let mounted =
            |holder: &Holder| matches!(holder, Holder::Mount { device: at, .. } if *at == device.node());
        if let Some((_, uuid)) = self.btrfs.iter().find(|(member, _)| member == name)
            && !found.holders.iter().any(mounted)
        {
            let name = format!("the mounted btrfs {uuid}");
            found.holders.push(Holder::Mapping { device: device.node(), name });
        }
        let loops = self.loops.iter().filter(|other| other.device.as_deref() == Some(name));
        for above in device.holders().into_iter().chain(loops.map(|other| other.name.clone())) {
            self.add_mapping(&device.node(), &above, found, seen);
        }
    }

    fn add_mapping(&self, below: &str, above: &str, found: &mut Use, seen: &mut BTreeSet<String>) {
        let mut name = above.to_owned();
        if let Some(device) = self.devices.get(above) {
            let multipath = device.attribute("dm/uuid").is_some_and(|uuid| uuid.starts_with("mpath-"));
            match device.attribute("dm/name") {
                Some(mapping) if multipath => name = format!("{above} (multipath {mapping})"),
                Some(mapping) => name = format!("{above} ({mapping})"),
                None => {}
            }
            if let Some(level) = device.attribute("md/level") {
                name = format!("the {level} array {0} (mdadm --stop {0} ends it)", device.node());
            }
        }
        found.holders.push(Holder::Mapping { device: below.to_owned(), name });
        self.add(above, found, seen);
        for part in self.devices.get(above).map(BlockDevice::parts).unwrap_or_default() {
            self.add(&part.name, found, seen);
        }
    }
}

/// Lines of /proc/self/mountinfo (proc_pid_mountinfo(5)); lines of another form are left out.
fn mounts(text: &str) -> impl Iterator<Item = Mount> {
    text.lines().filter_map(|line| {
        let (before, behind) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        let number = fields.next()?.to_owned();
        let path = unescape(fields.nth(1)?);
        let source = unescape(behind.split(' ').nth(1)?);
        Some(Mount { number, source, path })
    })
}

fn is_anonymous(number: &str) -> bool {
    number.starts_with("0:")
}

/// btrfs and some others mount under an anonymous number: then the source says which device it is.
fn on_a_device(kernel: &Kernel, names: &BTreeMap<String, String>, mount: Mount) -> Mount {
    if !is_anonymous(&mount.number) || !mount.source.starts_with("/dev/") {
        return mount;
    }
    let name = kernel.name_of(&mount.source, names);
    let number = name.and_then(|name| Some(names.iter().find(|(_, known)| **known == name)?.0.clone()));
    Mount { number: number.unwrap_or_else(|| mount.number.clone()), ..mount }
}

/// The first column of /proc/swaps, behind its heading.
fn swap_files(text: &str) -> impl Iterator<Item = String> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape)
}

/// The kernel lists every device of a mounted btrfs, of which mountinfo shows one.
fn btrfs_members(kernel: &Kernel) -> Vec<(String, String)> {
    let all = kernel.path("/sys/fs/btrfs");
    let members = entry_names(&all).into_iter().flat_map(|uuid| {
        entry_names(&all.join(&uuid).join("devices")).into_iter().map(move |device| (device, uuid.clone()))
    });
    members.collect()
}

/// True where both paths lead to the same file, also by different links.
fn same_file(one: &str, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => Path::new(one) == other,
    }
}

/// Who holds a lock on a file, as `NAME (process 123)`, as far as this process may know.
pub(super) fn lock_owner(device: u64, inode: u64) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let process = lock_process(&locks, &device_number(device), inode)?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("{} (process {process})", name.trim()))
}

/// The process in a line of /proc/locks such as `1: FLOCK  ADVISORY  WRITE 708 08:01:2359475 0 EOF`, where
/// the device number is hexadecimal.
fn lock_process(locks: &str, device: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut fields =
            line.split_whitespace().skip_while(|field| !matches!(*field, "READ" | "WRITE")).skip(1);
        let process = fields.next()?.parse().ok()?;
        let mut file = fields.next()?.splitn(3, ':');
        let major = u64::from_str_radix(file.next()?, 16).ok()?;
        let minor = u64::from_str_radix(file.next()?, 16).ok()?;
        let found: u64 = file.next()?.parse().ok()?;
        (format!("{major}:{minor}") == device && found == inode).then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes_and_optional_fields() {
        let text = "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:2 - ext3 /dev/root rw\n\
                    37 35 8:1 / /x rw - vfat /dev/my\\040disk rw\n\
                    a line of another kind\n";
        let found: Vec<Mount> = mounts(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].number.as_str(), found[0].path.as_str()), ("98:0", "/mnt/a b"));
        assert_eq!(found[0].source, "/dev/root");
        assert_eq!((found[1].number.as_str(), found[1].source.as_str()), ("8:1", "/dev/my disk"));
    }

    #[test]
    fn the_owner_of_a_lock_is_found_by_device_and_inode() {
        let locks =
            "1: FLOCK  ADVISORY  WRITE 708 fe:00:2359475 0 EOF\n1: -> POSIX ADVISORY READ 9 08:0b:7 0 EOF\n";
        assert_eq!(lock_process(locks, "254:0", 2_359_475), Some(708));
        assert_eq!(lock_process(locks, "8:11", 7), Some(9));
        assert_eq!(lock_process(locks, "8:1", 7), None);
    }

    #[test]
    fn the_heading_of_swaps_is_not_a_swap() {
        let text =
            "Filename Type Size Used Priority\n/dev/sda3 partition 1 0 -2\n/swap\\040file file 1 0 -3\n";
        assert_eq!(swap_files(text).collect::<Vec<_>>(), ["/dev/sda3", "/swap file"]);
        assert_eq!(swap_files("").count(), 0);
    }
}
