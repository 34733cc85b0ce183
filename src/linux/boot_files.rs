//! Boot files of a Linux that starts with GRUB.
//!
//! No program of the deployed system is run. For UEFI its own signed shim and GRUB are taken, or else those of this
//! machine (the boot image has Debian's). For a BIOS `grub-mkimage` makes a core from the modules of this machine,
//! which fit it, or else from those of the system.

use super::as_device::as_device;
use super::boot_system::{Change, Changes, System, unsupported};
use super::loop_device::LoopDevice;
use super::mounted::{MountFolder, Mounted};
use super::{Error, program};
use crate::blockio::{Window, WriteAt};
use crate::customize::fat::{self, NewFile};
use crate::customize::{BootCode, CustomizeError, Deployed, Taken, grub};
use crate::plan::{BootFiles, Loader};
use crate::progress::{Event, Monitor};
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, SectorSize};
use std::path::Path;
use std::time::Duration;

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
    let device = LoopDevice::attach(&disk.path, place, false, disk.logical_sector_bytes)?;
    let taken =
        with_system(device.path(), files, false, |system| Work { system, target, monitor }.make_bootable())?;
    device.detach()?;
    Ok(taken)
}

/// Refuses a Linux that cannot be started from its new place, by what was captured.
pub(super) fn judge(
    files: &BootFiles,
    captured: &dyn WriteAt,
    sector: SectorSize,
) -> Result<(), CustomizeError> {
    as_device(captured, &files.volume, sector, true, |device| with_system(device, files, true, System::judge))
}

/// Mounts the file system with a system for a moment.
fn with_system<'a, T>(
    device: &Path,
    files: &'a BootFiles,
    read_only: bool,
    work: impl FnOnce(&System<'a>) -> Result<T, CustomizeError>,
) -> Result<T, CustomizeError> {
    let at = MountFolder::new("root")?;
    let kind = kernel_name(files.file_system);
    let options = if files.file_system == FileSystemKind::Xfs { "nouuid" } else { "" };
    let mount = if read_only { Mounted::read_only } else { Mounted::new };
    let mounted = mount(device, at.path(), kind, options)?;
    let done = System::open(files, at.path()).and_then(|system| work(&system));
    mounted.unmount()?;
    done
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

/// A system that is made bootable.
struct Work<'a> {
    system: &'a System<'a>,
    target: &'a dyn WriteAt,
    monitor: &'a dyn Monitor,
}

impl Work<'_> {
    fn make_bootable(&self) -> Result<Taken, CustomizeError> {
        let system = self.system;
        let Changes { files, problems } = system.changes()?;
        let mut taken = match system.files.loader {
            Loader::EfiSystem { place, .. } => self.fill_efi_system(place)?,
            Loader::Core { place } | Loader::SystemPartition { place } => self.embed(place)?,
        };
        for Change { path, text, said } in files {
            system.tree.write(&path, text.as_bytes())?;
            said.into_iter().for_each(|change| self.changed(change));
        }
        taken.problems.extend(problems);
        Ok(taken)
    }

    fn changed(&self, message: String) {
        self.monitor.event(Event::Changed { volume: self.system.files.volume.clone(), message });
    }

    fn fill_efi_system(&self, place: ByteRange) -> Result<Taken, CustomizeError> {
        let system = self.system;
        let id = system.distribution()?;
        let (loaders, own) = system.loaders()?;
        let menu = grub::first_menu(system.uuid, &system.grub_folder());
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
        let doing = || format!("writing boot files into the EFI system partition of {}", system.files.target);
        let window = Window::new(self.target, place).map_err(Error::io(doing()))?;
        fat::write(&window, &files).map_err(Error::io(doing()))?;
        system.tree.make_folder(&format!("{}boot/efi", system.root))?;
        let origin = if own { "the system's own" } else { "those of this machine" };
        self.changed(format!("the EFI system partition has shim and GRUB, {origin}"));
        let mut taken = Taken::default();
        if !own && id != "debian" {
            taken.problems.push(format!(
                "{}: {id} is started by Debian's shim and GRUB, which a firmware with Secure Boot does not let start \
                 another kernel than Debian's; install its own boot loader when it runs",
                system.files.volume
            ));
        }
        Ok(taken)
    }

    fn embed(&self, place: ByteRange) -> Result<Taken, CustomizeError> {
        let system = self.system;
        let modules = system.modules()?;
        let image =
            |name: &str| modules.iter().find(|(file, _)| file == name).map(|(_, bytes)| bytes.as_slice());
        let core = self.make_core(&modules)?;
        let boot = image("boot.img").unwrap_or_default();
        let embedded = grub::embed(boot, core, place).map_err(unsupported)?;
        let doing = || format!("writing GRUB to {place} of {}", system.files.target);
        self.target.write_at(place.start(), &embedded.core).map_err(Error::io(doing()))?;
        self.target.flush().map_err(Error::io(doing()))?;
        let folder = format!("{}{}/i386-pc", system.root, system.folder);
        system.tree.make_folder(&folder)?;
        for (name, bytes) in &modules {
            system.tree.write(&format!("{folder}/{name}"), bytes)?;
        }
        system.tree.write(&format!("{folder}/core.img"), &embedded.core)?;
        self.changed(format!("/{}/i386-pc has GRUB's modules, {} of them", system.folder, modules.len()));
        let boot_code = Some(BootCode { target: system.files.target.clone(), code: embedded.code });
        Ok(Taken { boot_code, ..Taken::default() })
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
        write("first.cfg", grub::find_folder(self.system.uuid, &self.system.grub_folder()).as_bytes())?;
        let option = |name: &str, value: &std::ffi::OsStr| {
            let mut option = std::ffi::OsString::from(name);
            option.push(value);
            option
        };
        let arguments = [
            "--format=i386-pc".into(),
            option("--directory=", work.path().as_os_str()),
            option("--prefix=", self.system.grub_folder().as_ref()),
            option("--config=", path("first.cfg").as_os_str()),
            option("--output=", path("core.img").as_os_str()),
            "biosdisk".into(),
            "part_msdos".into(),
            "part_gpt".into(),
            "search_fs_uuid".into(),
            module(self.system.files.file_system).into(),
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
