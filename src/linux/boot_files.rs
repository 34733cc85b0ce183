//! Boot files of a Linux that starts with GRUB.
//!
//! No program of the deployed system is run. For UEFI its own signed shim and GRUB are taken, or else those of this
//! machine (the boot image has Debian's). For a BIOS `grub-mkimage` makes a core from the modules of this machine,
//! which fit it, or else from those of the system.

use super::loop_device::LoopDevice;
use super::mounted::Mounted;
use super::tree::Tree;
use super::{Error, program};
use crate::blockio::{Window, WriteAt};
use crate::customize::fat::{self, NewFile};
use crate::customize::{BootCode, CustomizeError, Deployed, Taken, fstab, grub};
use crate::plan::{BootFiles, Loader};
use crate::progress::{Event, Monitor};
use crate::schema::FileSystemKind;
use crate::units::ByteRange;
use std::path::Path;
use std::time::Duration;

/// Where distributions keep the root within their file system: btrfs has it in a subvolume as a rule.
const ROOTS: [&str; 4] = ["", "@/", "@rootfs/", "root/"];
/// GRUB's folders.
const FOLDERS: [&str; 2] = ["boot/grub", "boot/grub2"];
const SIGNED_SHIM: [&str; 2] = ["usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/shimx64.efi.signed.latest"];
const SIGNED_GRUB: &str = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
const KEY_MANAGERS: [&str; 2] = ["usr/lib/shim/mmx64.efi.signed", "usr/lib/shim/mmx64.efi"];
/// GRUB's modules for a BIOS.
const MODULES: &str = "usr/lib/grub/i386-pc";
/// Making a core takes a second.
const LIMIT: Duration = Duration::from_secs(120);

/// What is missing on this machine to make boot files for a BIOS; what the deployed system has is not known yet.
pub(super) fn missing(files: &BootFiles) -> Option<String> {
    if let Loader::Core { .. } = files.loader {
        return program::find("grub-mkimage").is_none().then(|| {
            "starting Linux from a BIOS needs the program grub-mkimage; install the package grub-common (and \
             grub-pc-bin), or deploy from the boot image"
                .to_owned()
        });
    }
    None
}

/// The kernel's name of a file system that it has to mount.
pub(super) const fn kernel_name(kind: FileSystemKind) -> &'static str {
    match kind {
        FileSystemKind::Xfs => "xfs",
        FileSystemKind::Btrfs => "btrfs",
        _ => "ext4",
    }
}

/// GRUB's module for a file system.
const fn module(kind: FileSystemKind) -> &'static str {
    match kind {
        FileSystemKind::Xfs => "xfs",
        FileSystemKind::Btrfs => "btrfs",
        _ => "ext2",
    }
}

/// Puts the boot files of a Linux in place.
pub(super) fn take(
    files: &BootFiles,
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Taken, CustomizeError> {
    let (disk, target, place) = find(files, deployed)?;
    let at = tempfile::Builder::new().prefix("remint-root-").tempdir();
    let at = at.map_err(Error::io("making a directory to mount the system at"))?;
    let device = LoopDevice::attach(&disk.path, place, false, disk.logical_sector_bytes)?;
    let kind = kernel_name(files.file_system);
    let options = if files.file_system == FileSystemKind::Xfs { "nouuid" } else { "" };
    let mounted = Mounted::new(device.path(), at.path(), kind, options)?;
    let taken = System::open(files, at.path(), target, monitor).and_then(|system| system.make_bootable());
    let unmounted = mounted.unmount();
    let taken = taken?;
    unmounted?;
    device.detach()?;
    Ok(taken)
}

/// The disk, the target and the place of the system's volume.
pub(super) fn find<'a>(
    files: &BootFiles,
    deployed: Deployed<'a>,
) -> Result<(&'a crate::machine::MachineDisk, &'a dyn WriteAt, ByteRange), CustomizeError> {
    let mut disks = deployed.plan.disks.iter().zip(deployed.targets);
    disks
        .find(|(disk, _)| disk.target.path == files.target)
        .and_then(|(disk, target)| {
            let volume = disk.volumes.iter().find(|volume| volume.volume == files.volume)?;
            Some((&disk.target, *target, volume.place))
        })
        .ok_or_else(|| CustomizeError::Refused {
            fact: format!("{} is not on {}; please report this", files.volume, files.target),
        })
}

/// A system whose root file system is mounted.
struct System<'a> {
    files: &'a BootFiles,
    uuid: &'a str,
    tree: Tree,
    /// The root within the file system: empty, or a subvolume with a slash behind it.
    root: &'static str,
    /// GRUB's folder within the root.
    folder: &'static str,
    menu: String,
    target: &'a dyn WriteAt,
    monitor: &'a dyn Monitor,
}

impl<'a> System<'a> {
    fn open(
        files: &'a BootFiles,
        at: &Path,
        target: &'a dyn WriteAt,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, CustomizeError> {
        let volume = &files.volume;
        let tree = Tree::open(at, volume)?;
        let uuid = files.uuid.as_deref().ok_or_else(|| {
            unsupported(format!(
                "the file system of {volume} has no UUID by which GRUB could find it; use another layout"
            ))
        })?;
        let mut found = None;
        for root in ROOTS {
            if found.is_none() && tree.read(&format!("{root}etc/fstab"))?.is_some() {
                found = Some(root);
            }
        }
        let root = found.ok_or_else(|| {
            unsupported(format!(
                "{volume} holds no Linux (it has no /etc/fstab); name the volume with the system with --volume"
            ))
        })?;
        for folder in FOLDERS {
            if let Some(menu) = tree.read_text(&format!("{root}{folder}/grub.cfg"))? {
                return Ok(Self { files, uuid, tree, root, folder, menu, target, monitor });
            }
        }
        Err(unsupported(format!(
            "the Linux of {volume} has no /boot/grub/grub.cfg: its /boot is on a partition of its own, or it starts \
             with something else than GRUB; use another layout"
        )))
    }

    fn make_bootable(&self) -> Result<Taken, CustomizeError> {
        let failed = |fact: String| {
            unsupported(format!("the Linux of {} cannot be started: {fact}", self.files.volume))
        };
        // What can be refused is refused before anything is changed.
        let menu = grub::follow_root(&self.menu, self.files).map_err(failed)?;
        let fstab = format!("{}etc/fstab", self.root);
        let before = self.tree.read_text(&fstab)?.unwrap_or_default();
        let efi_uuid = match self.files.loader {
            Loader::EfiSystem { serial, .. } => Some(fat::uuid(serial)),
            Loader::Core { .. } | Loader::SystemPartition { .. } => None,
        };
        let after = fstab::follow(&before, self.files, efi_uuid.as_deref()).map_err(failed)?;
        let taken = match self.files.loader {
            Loader::EfiSystem { place, .. } => self.fill_efi_system(place)?,
            Loader::Core { place } | Loader::SystemPartition { place } => self.embed(place)?,
        };
        if let Some(menu) = menu {
            self.tree.write(&format!("{}{}/grub.cfg", self.root, self.folder), menu.as_bytes())?;
            self.changed(format!("/{}/grub.cfg names the root by its UUID", self.folder));
        }
        if after.text != before {
            self.tree.write(&fstab, after.text.as_bytes())?;
            after.changes.into_iter().for_each(|change| self.changed(change));
        }
        Ok(taken)
    }

    fn changed(&self, message: String) {
        self.monitor.event(Event::Changed { volume: self.files.volume.clone(), message });
    }

    /// GRUB's folder as GRUB calls it.
    fn grub_folder(&self) -> String {
        format!("/{}{}", self.root, self.folder)
    }

    /// The vendor's name in folders of an EFI system partition: Debian's `debian`.
    fn distribution(&self) -> Result<String, CustomizeError> {
        let text = match self.tree.read_text(&format!("{}etc/os-release", self.root))? {
            Some(text) => Some(text),
            None => self.tree.read_text(&format!("{}usr/lib/os-release", self.root))?,
        };
        let text = text.unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or("linux");
        let id: String =
            id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(32).collect();
        Ok(if id.is_empty() { "linux".to_owned() } else { id })
    }

    fn fill_efi_system(&self, place: ByteRange) -> Result<Taken, CustomizeError> {
        let id = self.distribution()?;
        let (loaders, own) = match Loaders::of(&self.tree, self.root)? {
            Some(loaders) => (loaders, true),
            None => {
                let here = Tree::open(Path::new("/"), "this machine")?;
                let loaders = Loaders::of(&here, "")?.ok_or_else(|| {
                    unsupported(format!(
                        "the Linux of {} has no GRUB for UEFI, and neither has this machine; install the packages \
                         shim-signed and grub-efi-amd64-signed here or in the system, or deploy from the boot image",
                        self.files.volume
                    ))
                })?;
                (loaders, false)
            }
        };
        let menu = grub::first_menu(self.uuid, &self.grub_folder());
        let mut files = Vec::new();
        let mut put = |path: String, bytes: &[u8]| files.push(NewFile { path, bytes: bytes.to_vec() });
        // GRUB's signed programs look for their menu in the folder of the vendor who built them.
        let mut vendors = vec![id.clone(), "debian".to_owned(), "ubuntu".to_owned()];
        vendors.dedup();
        put("EFI/BOOT/BOOTX64.EFI".to_owned(), &loaders.shim);
        put("EFI/BOOT/grubx64.efi".to_owned(), &loaders.grub);
        put("EFI/BOOT/grub.cfg".to_owned(), menu.as_bytes());
        put(format!("EFI/{id}/shimx64.efi"), &loaders.shim);
        put(format!("EFI/{id}/grubx64.efi"), &loaders.grub);
        for vendor in vendors {
            put(format!("EFI/{vendor}/grub.cfg"), menu.as_bytes());
        }
        if let Some(manager) = &loaders.key_manager {
            put("EFI/BOOT/mmx64.efi".to_owned(), manager);
            put(format!("EFI/{id}/mmx64.efi"), manager);
        }
        let doing = || format!("writing boot files into the EFI system partition of {}", self.files.target);
        let window = Window::new(self.target, place).map_err(Error::io(doing()))?;
        fat::write(&window, &files).map_err(Error::io(doing()))?;
        self.tree.make_folder(&format!("{}boot/efi", self.root))?;
        let origin = if own { "the system's own" } else { "those of this machine" };
        self.changed(format!("the EFI system partition has shim and GRUB, {origin}"));
        let mut taken = Taken::default();
        if !own && id != "debian" {
            taken.problems.push(format!(
                "{}: {id} is started by Debian's shim and GRUB, which a firmware with Secure Boot does not let start \
                 another kernel than Debian's; install its own boot loader when it runs",
                self.files.volume
            ));
        }
        Ok(taken)
    }

    fn embed(&self, place: ByteRange) -> Result<Taken, CustomizeError> {
        let modules = self.modules()?;
        let image =
            |name: &str| modules.iter().find(|(file, _)| file == name).map(|(_, bytes)| bytes.as_slice());
        let core = self.make_core(&modules)?;
        let boot = image("boot.img").unwrap_or_default();
        let embedded = grub::embed(boot, core, place).map_err(unsupported)?;
        let doing = || format!("writing GRUB to {place} of {}", self.files.target);
        self.target.write_at(place.start(), &embedded.core).map_err(Error::io(doing()))?;
        self.target.flush().map_err(Error::io(doing()))?;
        let folder = format!("{}{}/i386-pc", self.root, self.folder);
        self.tree.make_folder(&folder)?;
        for (name, bytes) in &modules {
            self.tree.write(&format!("{folder}/{name}"), bytes)?;
        }
        self.tree.write(&format!("{folder}/core.img"), &embedded.core)?;
        self.changed(format!("/{}/i386-pc has GRUB's modules, {} of them", self.folder, modules.len()));
        let boot_code = Some(BootCode { target: self.files.target.clone(), code: embedded.code });
        Ok(Taken { problems: Vec::new(), boot_code })
    }

    /// GRUB's modules and images for a BIOS.
    fn modules(&self) -> Result<Vec<(String, Vec<u8>)>, CustomizeError> {
        let here = Tree::open(Path::new("/"), "this machine")?;
        let places = [
            (&here, MODULES.to_owned()),
            (&self.tree, format!("{}{MODULES}", self.root)),
            (&self.tree, format!("{}{}/i386-pc", self.root, self.folder)),
        ];
        for (tree, folder) in places {
            let mut modules = Vec::new();
            for (name, is_folder) in tree.list(&folder)? {
                let wanted =
                    [".mod", ".lst", ".img"].iter().any(|end| name.ends_with(end)) && name != "core.img";
                if wanted && !is_folder {
                    modules.extend(tree.read(&format!("{folder}/{name}"))?.map(|bytes| (name, bytes)));
                }
            }
            let has = |name: &str| modules.iter().any(|(file, _)| file == name);
            if has("boot.img") && has("kernel.img") && has("moddep.lst") {
                return Ok(modules);
            }
        }
        Err(unsupported(format!(
            "the Linux of {} has no GRUB for a BIOS, and neither has this machine; install the package grub-pc-bin here \
             or in the system, or deploy from the boot image",
            self.files.volume
        )))
    }

    fn make_core(&self, modules: &[(String, Vec<u8>)]) -> Result<Vec<u8>, CustomizeError> {
        let work = tempfile::Builder::new().prefix("remint-grub-").tempdir();
        let work = work.map_err(Error::io("making a directory for GRUB"))?;
        let path = |name: &str| work.path().join(name);
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(path(name), bytes).map_err(Error::io(format!("writing {}", path(name).display())))
        };
        for (name, bytes) in modules {
            write(name, bytes)?;
        }
        write("first.cfg", grub::find_folder(self.uuid, &self.grub_folder()).as_bytes())?;
        let option = |name: &str, value: &std::ffi::OsStr| {
            let mut option = std::ffi::OsString::from(name);
            option.push(value);
            option
        };
        let arguments = [
            "--format=i386-pc".into(),
            option("--directory=", work.path().as_os_str()),
            option("--prefix=", self.grub_folder().as_ref()),
            option("--config=", path("first.cfg").as_os_str()),
            option("--output=", path("core.img").as_os_str()),
            "biosdisk".into(),
            "part_msdos".into(),
            "part_gpt".into(),
            "search_fs_uuid".into(),
            module(self.files.file_system).into(),
        ];
        let outcome = program::run("grub-mkimage", &arguments, LIMIT)?;
        if outcome.code != Some(0) {
            return Err(CustomizeError::Failed {
                program: "grub-mkimage".to_owned(),
                outcome: outcome.ending,
                output: outcome.output,
            });
        }
        let core = std::fs::read(path("core.img"));
        Ok(core.map_err(Error::io("reading the core that grub-mkimage made"))?)
    }
}

/// What an EFI system partition needs.
struct Loaders {
    shim: Vec<u8>,
    grub: Vec<u8>,
    key_manager: Option<Vec<u8>>,
}

impl Loaders {
    /// The signed ones of a system; `None` where it does not have them.
    fn of(tree: &Tree, root: &str) -> Result<Option<Self>, Error> {
        let first = |paths: &[&str]| {
            paths
                .iter()
                .map(|path| tree.read(&format!("{root}{path}")))
                .find_map(Result::transpose)
                .transpose()
        };
        let (shim, grub) = (first(&SIGNED_SHIM)?, first(&[SIGNED_GRUB])?);
        let key_manager = first(&KEY_MANAGERS)?;
        Ok(shim.zip(grub).map(|(shim, grub)| Self { shim, grub, key_manager }))
    }
}

fn unsupported(fact: String) -> CustomizeError {
    CustomizeError::Unsupported { fact }
}
