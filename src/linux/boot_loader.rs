//! A deployed Linux installs its boot loader on its disk: its own `grub-install`, shut in, with that disk and no other.
//!
//! It runs when the table is written and the kernel shows the partitions, because GRUB asks the kernel where they lie. What it
//! needs of other file systems of its system, `/boot` and the EFI system partition, is what `/etc/fstab` names, where that
//! lies on the same disk. A failure is a problem with its reason: nothing else of the deploy depends on it.

use super::cage::{self, Cage, Device, Inner};
use super::mounted::{MountFolder, Mounted, how, roots_of};
use super::program::Watch;
use super::sysfs::{BlockDevice, Kernel};
use super::tree::Tree;
use super::{DiskReader, Error, is_root};
use crate::customize::fstab;
use crate::filesystem;
use crate::plan::BootLoader;
use crate::progress::{Event, Monitor};
use crate::schema::{FileSystemKind, State};
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A slow stick takes a minute.
const LIMIT: Duration = Duration::from_secs(300);
/// What it prints beyond so many lines is not told.
const MOST_LINES: usize = 200;
const PROGRAMS: [&str; 4] =
    ["usr/sbin/grub-install", "usr/sbin/grub2-install", "usr/bin/grub-install", "sbin/grub-install"];
/// Where GRUB looks for itself, and UEFI for it.
const FOLDERS: [&str; 4] = ["/boot", "/boot/efi", "/efi", "/boot/grub"];
const EFI_FOLDERS: [&str; 2] = ["/boot/efi", "/efi"];
/// Where systems keep GRUB's modules: most of them, and openSUSE.
const MODULES: [&str; 3] = ["usr/lib/grub", "usr/share/grub2", "usr/lib/grub2"];

/// Has the system on a target install its boot loader. Returns sentences about what a person has to look after.
pub fn install_boot_loader(loader: &BootLoader, monitor: &dyn Monitor) -> Vec<String> {
    let target = &loader.target;
    let not_installed = |why: String| format!("GRUB is not installed on {target}: {why}");
    let found = match Found::on(loader) {
        Ok(found) => found,
        Err(why) => return vec![not_installed(why)],
    };
    let mut problems = Vec::new();
    for way in &found.ways {
        match found.install(way, monitor) {
            Ok(()) => monitor
                .event(Event::Changed { volume: found.volume.clone(), message: found.sentence(way, "was") }),
            Err(why) => problems.push(not_installed(format!("{why}; the disk may not start"))),
        }
    }
    problems
}

/// What installing it would change: volumes and sentences. Nothing is written.
///
/// # Errors
/// The sentence that installing it would give.
pub fn would_install_boot_loader(loader: &BootLoader) -> Result<Vec<(String, String)>, String> {
    let found =
        Found::on(loader).map_err(|why| format!("GRUB is not installed on {}: {why}", loader.target))?;
    let said = |way| (found.volume.clone(), found.sentence(way, "is"));
    Ok(found.ways.iter().map(said).collect())
}

/// How GRUB is started.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Bios,
    /// From a partition that is mounted there.
    Uefi {
        folder: String,
    },
}

impl Way {
    /// The name that GRUB has for it, which is that of the folder with its modules.
    const fn target(&self) -> &'static str {
        match self {
            Self::Bios => "i386-pc",
            Self::Uefi { .. } => "x86_64-efi",
        }
    }
}

/// A partition of the target, as the kernel shows it.
struct Part {
    number: u32,
    device: Device,
    kind: Option<FileSystemKind>,
    is_clean: bool,
    /// What `/etc/fstab` may call it.
    names: Vec<String>,
}

/// The system that installs, and what it needs.
struct Found {
    target: String,
    volume: String,
    program: &'static str,
    /// The device of its root, how that is mounted, and the root in it.
    root: (Device, FileSystemKind, &'static str),
    inner: Vec<Inner>,
    devices: Vec<Device>,
    ways: Vec<Way>,
}

impl Found {
    fn on(loader: &BootLoader) -> Result<Self, String> {
        if !is_root() {
            return Err("this needs root, because file systems are mounted for it; run as root".to_owned());
        }
        let (disk, parts) = shown(loader)?;
        let mut reasons = Vec::new();
        let mut systems = Vec::new();
        for (number, volume) in &loader.written {
            let Some(part) = parts.iter().find(|part| part.number == *number) else { continue };
            let Some(kind) = part.kind.filter(|kind| is_of_linux(*kind)) else { continue };
            if !part.is_clean {
                reasons.push(format!("the {kind} of {volume} is not clean"));
                continue;
            }
            for root in roots_of(kind) {
                match look(part, kind, root, volume) {
                    Ok(Some((program, fstab, has))) => {
                        systems.push((part, kind, *root, volume, program, fstab, has));
                    }
                    Ok(None) => {}
                    Err(why) => reasons.push(format!("{volume}: {why}")),
                }
            }
        }
        let names: Vec<&str> = systems.iter().map(|system| system.3.as_str()).collect();
        let several = format!(
            "there are several systems ({}), and nobody said which starts; run grub-install in the right one",
            names.join(", ")
        );
        let mut systems = systems.into_iter();
        let (Some((part, kind, root, volume, program, fstab, has)), None) = (systems.next(), systems.next())
        else {
            let none = "no partition that was deployed holds a Linux with grub-install (one on a logical volume is not \
                        looked for)";
            let why =
                if names.len() > 1 { several } else { [&[none.to_owned()], &*reasons].concat().join("; ") };
            return Err(why);
        };
        let inner = inner(&fstab, &parts)?;
        let ways = ways(loader, &parts, &inner, &has)?;
        let devices = std::iter::once(disk).chain(parts.iter().map(|part| part.device.clone())).collect();
        let root = (part.device.clone(), kind, root);
        let (target, volume) = (loader.target.clone(), volume.clone());
        Ok(Self { target, volume, program, root, inner, devices, ways })
    }

    fn sentence(&self, way: &Way, verb: &str) -> String {
        let by = match way {
            Way::Bios => format!("for a BIOS on {}", self.target),
            Way::Uefi { folder } => format!("for UEFI in {folder}"),
        };
        format!("GRUB {verb} installed {by} by the system's own /{}", self.program)
    }

    /// Runs it. A clause where it failed.
    fn install(&self, way: &Way, monitor: &dyn Monitor) -> Result<(), String> {
        let (device, kind, root) = &self.root;
        let (name, options) = how(*kind).ok_or("its file system is not mounted here")?;
        let said = |error: Error| error.with_causes();
        let folder = MountFolder::new("loader").map_err(said)?;
        let node = format!("/dev/{}", device.name);
        let mounted = Mounted::with_programs(Path::new(&node), folder.path(), name, options).map_err(said)?;
        let ran = self.run(way, &folder.path().join(root), monitor);
        let unmounted = mounted.unmount();
        ran?;
        unmounted.map_err(said)
    }

    fn run(&self, way: &Way, root: &Path, monitor: &dyn Monitor) -> Result<(), String> {
        let mut arguments = vec![format!("--target={}", way.target())];
        match way {
            Way::Bios => arguments.push(self.target.clone()),
            // The entries of the firmware follow by themselves, and the disk may be for another machine.
            Way::Uefi { folder } => {
                arguments.extend([format!("--efi-directory={folder}"), "--no-nvram".to_owned()]);
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (told, last) = (RefCell::new(0usize), RefCell::new(String::new()));
        let each_line = |line: &str| {
            last.replace(line.to_owned());
            let count = told.replace_with(|count| count.saturating_add(1));
            if count < MOST_LINES {
                let script = format!("grub-install of {}", self.volume);
                monitor.event(Event::Script { script, message: line.to_owned() });
            }
        };
        let cancelled = || monitor.cancelled();
        let watch = Watch {
            limit: LIMIT,
            each_line: Some(&each_line),
            cancelled: Some(&cancelled),
            kills_leftovers: true,
        };
        let cage = Cage { root, devices: &self.devices, inner: &self.inner };
        let ran = cage.run(self.program, &arguments, &watch);
        let (outcome, _) = ran.map_err(|error| error.with_causes())?;
        if outcome.code == Some(0) {
            return Ok(());
        }
        Err(format!("its /{} {} ({})", self.program, outcome.ending, last.into_inner()))
    }
}

const fn is_of_linux(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, Xfs};
    matches!(kind, Ext2 | Ext3 | Ext4 | Xfs | Btrfs)
}

/// The target and its partitions, where the kernel shows all of them where the plan has them.
fn shown(loader: &BootLoader) -> Result<(Device, Vec<Part>), String> {
    let not_shown = |what: &str| {
        format!(
            "the kernel does not show {what} of {}, and grub-install needs to see it; deploy from the boot image, or run \
             grub-install when the system runs",
            loader.target
        )
    };
    let kernel = Kernel::this();
    let path = fs::canonicalize(&loader.target).map_err(|_| not_shown("the disk"))?;
    let disks = kernel.block_devices().map_err(|error| format!("listing disks: {error}"))?;
    let disk = disks.into_iter().find(|disk| Path::new(&disk.node()) == path);
    let disk = disk.ok_or_else(|| not_shown("partitions"))?;
    let device = device(&disk).ok_or_else(|| not_shown("the number"))?;
    let seen = disk.parts();
    let mut parts = Vec::new();
    for (number, place) in &loader.partitions {
        let same = |part: &&BlockDevice| {
            let start = part.number("start").and_then(|start| start.checked_mul(512));
            part.number("partition") == Some(u64::from(*number))
                && (start, part.size_bytes()) == (Some(place.start()), place.length())
        };
        let found = seen.iter().find(same).ok_or_else(|| not_shown(&format!("partition {number}")))?;
        let mut part = Part {
            number: *number,
            device: self::device(found).ok_or_else(|| not_shown("the number"))?,
            kind: None,
            is_clean: false,
            names: vec![found.node()],
        };
        if let Some(found) = file_system(&found.node()) {
            let named =
                |tag: &str, value: &Option<String>| value.iter().map(|v| format!("{tag}={v}")).collect();
            let more: [Vec<String>; 2] = [named("UUID", &found.uuid), named("LABEL", &found.label)];
            part.names.extend(more.concat());
            (part.kind, part.is_clean) = (Some(found.kind), found.state == State::Clean);
        }
        parts.push(part);
    }
    for (part, (_, id)) in parts.iter_mut().zip(&loader.partition_ids) {
        part.names.extend(id.iter().map(|id| format!("PARTUUID={id}")));
    }
    Ok((device, parts))
}

fn device(shown: &BlockDevice) -> Option<Device> {
    let number = shown.attribute("dev")?;
    let (major, minor) = number.split_once(':')?;
    Some(Device { name: shown.name.clone(), number: (major.parse().ok()?, minor.parse().ok()?) })
}

fn file_system(node: &str) -> Option<crate::schema::FileSystem> {
    let reader = DiskReader::open(node).ok()?;
    filesystem::read(&reader).ok()?.map(|reading| reading.file_system)
}

/// A program, the text of `/etc/fstab`, and the folders of modules that a system has; `None` where there is no system. A
/// clause where there is one that cannot install GRUB.
type Looked = (&'static str, String, Vec<String>);

fn look(part: &Part, kind: FileSystemKind, root: &str, volume: &str) -> Result<Option<Looked>, String> {
    let said = |error: Error| error.with_causes();
    let Some((name, options)) = how(kind) else { return Ok(None) };
    let folder = MountFolder::new("loader").map_err(said)?;
    let node = format!("/dev/{}", part.device.name);
    let mounted = Mounted::read_only(Path::new(&node), folder.path(), name, options).map_err(said)?;
    let path = folder.path().join(root);
    // A link would lead out of the file system.
    let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
    let looked = if is_folder { look_below(&path, volume) } else { Ok(None) };
    mounted.unmount().map_err(said)?;
    looked
}

fn look_below(root: &Path, volume: &str) -> Result<Option<Looked>, String> {
    let said = |error: Error| error.to_string();
    let tree = Tree::open(root, volume).map_err(said)?;
    let Some(fstab) = tree.read_text("etc/fstab").map_err(said)? else { return Ok(None) };
    let program = cage::find(&tree, &PROGRAMS)?;
    let mut has = Vec::new();
    for folder in MODULES {
        let folders = tree.list(folder).map_err(said)?.into_iter().filter(|(_, is_folder)| *is_folder);
        has.extend(folders.map(|(name, _)| name));
    }
    Ok(Some((program, fstab, has)))
}

/// What has to be mounted below the root, by the lines of `/etc/fstab`.
fn inner(text: &str, parts: &[Part]) -> Result<Vec<Inner>, String> {
    let mut inner = Vec::new();
    let of_grub = |folder: &str| FOLDERS.contains(&folder) || folder.starts_with("/boot/");
    for (name, folder) in fstab::mounts(text).filter(|(_, folder)| of_grub(folder)) {
        let found = parts.iter().find(|part| part.names.iter().any(|known| fstab::is_same(name, known)));
        // GRUB would look for itself in the path that it has here, which is another one in the whole of a btrfs.
        if found.is_some_and(|part| part.kind == Some(FileSystemKind::Btrfs)) {
            return Err(format!(
                "its {folder} ({name} in /etc/fstab) is a btrfs, whose subvolumes GRUB would be installed for in the wrong way from \
                 here; run grub-install when the system runs"
            ));
        }
        if !FOLDERS.contains(&folder) {
            continue;
        }
        let Some(part) = found else {
            // Without its EFI system partition a system can still be started by a BIOS.
            if EFI_FOLDERS.contains(&folder) {
                continue;
            }
            return Err(format!("its {folder} ({name} in /etc/fstab) is on no partition of this disk"));
        };
        let how = part.kind.and_then(how);
        let how = how.ok_or_else(|| format!("its {folder} ({name}) holds nothing that is mounted here"))?;
        if !part.is_clean {
            return Err(format!("the file system of its {folder} ({name}) is not clean"));
        }
        inner.push(Inner { device: part.device.name.clone(), at: folder.to_owned(), how });
    }
    inner.sort_by_key(|inner| inner.at.len());
    Ok(inner)
}

/// For which firmwares GRUB can be installed: where the table has a place, and the system the modules.
fn ways(loader: &BootLoader, parts: &[Part], inner: &[Inner], has: &[String]) -> Result<Vec<Way>, String> {
    let efi = loader.efi_system.and_then(|number| parts.iter().find(|part| part.number == number));
    let mounted = efi.and_then(|part| inner.iter().find(|inner| inner.device == part.device.name));
    let mut ways = Vec::new();
    if loader.bios {
        ways.push(Way::Bios);
    }
    ways.extend(mounted.map(|inner| Way::Uefi { folder: inner.at.clone() }));
    let places = ways.len();
    ways.retain(|way| has.iter().any(|folder| folder == way.target()));
    match (ways.is_empty(), places) {
        (false, _) => Ok(ways),
        (true, 0) => Err(
            "the table has no place for it: for a BIOS an MBR or a BIOS boot partition is needed, for UEFI an EFI system \
             partition that /etc/fstab names"
                .to_owned(),
        ),
        (true, _) => Err(format!(
            "the system has no GRUB for what starts from this table, but {}; install grub-pc-bin or grub-efi-amd64-bin, or \
             what its distribution calls them, before it is captured",
            if has.is_empty() { "none at all".to_owned() } else { has.join(", ") }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteRange;

    fn part(number: u32, kind: FileSystemKind, names: &[&str]) -> Part {
        Part {
            number,
            device: Device { name: format!("vda{number}"), number: (254, number.into()) },
            kind: Some(kind),
            is_clean: true,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn loader(bios: bool, efi_system: Option<u32>) -> BootLoader {
        BootLoader {
            target: "/dev/vda".to_owned(),
            why: None,
            bios,
            efi_system,
            partitions: vec![(1, ByteRange::new(0, 512))],
            partition_ids: Vec::new(),
            written: Vec::new(),
        }
    }

    #[test]
    fn what_grub_needs_is_mounted_where_fstab_says() {
        let parts = [
            part(1, FileSystemKind::Fat32, &["/dev/vda1", "UUID=52AB-0001"]),
            part(2, FileSystemKind::Ext4, &["/dev/vda2", "UUID=boot", "PARTUUID=1a-02"]),
            part(3, FileSystemKind::Ext4, &["/dev/vda3", "UUID=root"]),
        ];
        let text = "UUID=root / ext4 defaults 0 1\n# UUID=x /boot ext4 defaults 0 2\n\
                    UUID=52ab-0001 /boot/efi vfat umask=0077 0 1\n/dev/disk/by-partuuid/1A-02 /boot ext4 x 0 2\n\
                    UUID=gone /srv ext4 defaults 0 2\n";
        let found = inner(text, &parts).unwrap();
        let at = |inner: &Inner| format!("{} {}", inner.device, inner.at);
        assert_eq!(found.iter().map(at).collect::<Vec<_>>(), ["vda2 /boot", "vda1 /boot/efi"]);
        let modules = ["i386-pc".to_owned(), "x86_64-efi".to_owned()];
        let both = ways(&loader(true, Some(1)), &parts, &found, &modules).unwrap();
        assert_eq!(both, [Way::Bios, Way::Uefi { folder: "/boot/efi".to_owned() }]);
        let one = ways(&loader(true, Some(1)), &parts, &found, &modules[..1]).unwrap();
        assert_eq!(one, [Way::Bios]);
        let said = ways(&loader(false, Some(1)), &parts, &found, &modules[..1]).unwrap_err();
        assert!(said.contains("but i386-pc"), "{said}");
        let said = ways(&loader(false, None), &parts, &found, &modules).unwrap_err();
        assert!(said.contains("no place for it"), "{said}");
        let said = inner("UUID=elsewhere /boot ext4 x 0 2", &parts).unwrap_err();
        assert!(said.contains("its /boot (UUID=elsewhere in /etc/fstab) is on no partition"), "{said}");
        assert_eq!(inner("UUID=elsewhere /boot/efi vfat x 0 2", &parts).unwrap(), []);
    }

    #[test]
    fn what_is_unclean_and_what_is_in_a_subvolume_is_not_mounted_for_it() {
        let mut parts = [
            part(1, FileSystemKind::Fat32, &["UUID=52AB-0001"]),
            part(2, FileSystemKind::Btrfs, &["UUID=pool"]),
        ];
        for folder in ["/boot", "/boot/grub", "/boot/grub2/i386-pc"] {
            let text = format!("UUID=pool / btrfs subvol=@ 0 0\nUUID=pool {folder} btrfs subvol=@x 0 0\n");
            let said = inner(&text, &parts).unwrap_err();
            assert!(said.contains(&format!("its {folder} (UUID=pool in /etc/fstab) is a btrfs")), "{said}");
        }
        let text = "UUID=pool / btrfs subvol=@ 0 0\nUUID=pool /home btrfs subvol=@home 0 0\n\
                    UUID=other /boot/x ext4 x 0 0\nUUID=52AB-0001 /efi vfat x 0 0\n";
        assert_eq!(inner(text, &parts).unwrap().len(), 1);
        parts[0].is_clean = false;
        let said = inner(text, &parts).unwrap_err();
        assert!(said.contains("its /efi (UUID=52AB-0001) is not clean"), "{said}");
    }

    #[test]
    fn modules_are_found_where_each_distribution_keeps_them() {
        for folder in MODULES {
            let root = tempfile::tempdir().unwrap();
            for path in ["etc", "usr/sbin", &format!("{folder}/i386-pc")] {
                fs::create_dir_all(root.path().join(path)).unwrap();
            }
            fs::write(root.path().join("etc/fstab"), "").unwrap();
            fs::write(root.path().join("usr/sbin/grub2-install"), "#!/bin/sh").unwrap();
            let looked = look_below(root.path(), "a test").unwrap();
            let expected = ("usr/sbin/grub2-install", String::new(), vec!["i386-pc".to_owned()]);
            assert_eq!(looked, Some(expected), "{folder}");
        }
    }
}
