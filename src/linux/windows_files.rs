//! Boot files of Windows, from the volume's own `Windows/Boot`, and a new boot configuration (BCD).

use super::as_device::as_device;
use super::boot_files::find;
use super::loop_device::LoopDevice;
use super::ntfs_files::{with_ntfs, with_place};
use super::tree::Tree;
use super::{Error, program};
use crate::blockio::{Window, WriteAt, read_vec};
use crate::customize::boot_configuration::{self, USUAL_LOCALE};
use crate::customize::fat::{self, NewFile};
use crate::customize::{CustomizeError, Deployed, Taken};
use crate::machine::MachineDisk;
use crate::plan::{BootFiles, Loader};
use crate::progress::{Event, Monitor};
use crate::schema::Firmware;
use crate::units::{ByteRange, SectorSize};
use std::ffi::OsStr;
use std::time::Duration;

/// Mounting takes a moment.
const LIMIT: Duration = Duration::from_secs(120);
/// NTFS' boot record: a jump, the name, the description of the volume, and code in up to 16 sectors.
const RECORD_BYTES: usize = 8192;
const JUMP_BYTES: usize = 3;
const CODE_AT: usize = 0x54;
/// Deeper folders are not there.
const MOST_DEPTH: u32 = 4;

/// What is missing on this machine to do something with the files of a Windows: a sentence.
pub(super) fn missing(what: &str) -> Option<String> {
    program::find("ntfs-3g").is_none().then(|| {
        format!(
            "{what} needs the program ntfs-3g; install the package ntfs-3g, or deploy from the boot image"
        )
    })
}

/// Puts the boot files of a Windows in place.
pub(super) fn take(
    files: &BootFiles,
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Taken, CustomizeError> {
    let (disk, target, place) = find(files, deployed)?;
    let mut found = with_place(disk, place, true, &files.volume, |tree| collect(tree, files))?;
    let count = found.len();
    found.extend(configuration(files, &found)?);
    let doing = || format!("writing Windows' boot files to {}", files.target);
    match files.loader {
        Loader::EfiSystem { place, .. } => {
            let window = Window::new(target, place).map_err(Error::io(doing()))?;
            fat::write(&window, &found).map_err(Error::io(doing()))?;
        }
        Loader::SystemPartition { place: boot } => {
            with_place(disk, boot, false, "the system partition", |tree| put(tree, &found))?;
            copy_boot_record(target, place, boot).map_err(Error::io(doing()))?;
        }
        Loader::Core { .. } => {}
    }
    let message = format!("{count} boot files of Windows are in place, and a new boot configuration");
    monitor.event(Event::Changed { volume: files.volume.clone(), message });
    Ok(Taken::default())
}

/// Refuses a volume that holds no Windows which could be started, by what was captured.
pub(super) fn judge(
    files: &BootFiles,
    captured: &dyn WriteAt,
    sector: SectorSize,
) -> Result<(), CustomizeError> {
    as_device(captured, &files.volume, sector, true, |device| {
        with_ntfs(device, true, &files.volume, |tree| collect(tree, files)).map(|_| ())
    })
}

/// The files that start Windows, by the paths that they get.
fn collect(tree: &Tree, files: &BootFiles) -> Result<Vec<NewFile>, CustomizeError> {
    let mut found = Vec::new();
    let efi = matches!(files.loader, Loader::EfiSystem { .. });
    let boot = if efi { "EFI/Microsoft/Boot" } else { "Boot" };
    add_folder(tree, if efi { "Windows/Boot/EFI" } else { "Windows/Boot/PCAT" }, boot, 0, &mut found)?;
    add_folder(tree, "Windows/Boot/Fonts", &format!("{boot}/Fonts"), 0, &mut found)?;
    add_folder(tree, "Windows/Boot/Resources", &format!("{boot}/Resources"), 0, &mut found)?;
    let lacking = |name: &str| CustomizeError::Unsupported {
        fact: format!(
            "{} holds no {name}, so Windows cannot be started from it; name the volume with Windows with --volume",
            files.volume
        ),
    };
    let (first, copy) = if efi { ("bootmgfw.efi", "EFI/BOOT/BOOTX64.EFI") } else { ("bootmgr", "bootmgr") };
    let named = |name: &str| {
        found.iter().find(|file| file.path == format!("{boot}/{name}")).map(|file| file.bytes.clone())
    };
    let bytes = named(first).ok_or_else(|| lacking(first))?;
    let next = named("bootnxt");
    let program = if efi { "winload.efi" } else { "winload.exe" };
    if tree.spelled(&format!("Windows/System32/{program}"))?.is_none() {
        return Err(lacking(program));
    }
    found.push(NewFile { path: copy.to_owned(), bytes });
    if let (false, Some(bytes)) = (efi, next) {
        found.push(NewFile { path: "BOOTNXT".to_owned(), bytes });
    }
    Ok(found)
}

/// The boot configuration, in a language that the boot files speak.
fn configuration(files: &BootFiles, found: &[NewFile]) -> Result<Option<NewFile>, CustomizeError> {
    let Some(configuration) = &files.configuration else { return Ok(None) };
    let folder = if files.firmware == Firmware::Uefi { "EFI/Microsoft/Boot" } else { "Boot" };
    let locale = locale_of(found, folder);
    let bytes = boot_configuration::new_store(configuration, files.firmware, &locale);
    let bytes = bytes.map_err(|error| CustomizeError::Refused {
        fact: format!("no boot configuration for {} can be made: {error}; please report this", files.volume),
    })?;
    Ok(Some(NewFile { path: format!("{folder}/BCD"), bytes }))
}

/// The usual language where the boot manager speaks it, else the first that it speaks.
fn locale_of(found: &[NewFile], folder: &str) -> String {
    let speaks = |file: &NewFile| {
        let inside = file.path.strip_prefix(folder)?.strip_prefix('/')?;
        let (locale, name) = inside.split_once('/')?;
        let name = name.to_ascii_lowercase();
        (name.starts_with("bootmg") && name.ends_with(".mui")).then(|| locale.to_owned())
    };
    let mut locales: Vec<String> = found.iter().filter_map(speaks).collect();
    locales.sort_unstable();
    let usual = locales.iter().find(|locale| locale.eq_ignore_ascii_case(USUAL_LOCALE));
    usual.or(locales.first()).cloned().unwrap_or_else(|| USUAL_LOCALE.to_owned())
}

fn add_folder(
    tree: &Tree,
    from: &str,
    to: &str,
    depth: u32,
    found: &mut Vec<NewFile>,
) -> Result<(), CustomizeError> {
    for (name, is_folder) in tree.list(from)? {
        let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
        if is_folder && depth < MOST_DEPTH {
            add_folder(tree, &from, &to, depth.saturating_add(1), found)?;
        } else if !is_folder {
            found.extend(tree.read(&from)?.map(|bytes| NewFile { path: to, bytes }));
        }
    }
    Ok(())
}

fn put(tree: &Tree, files: &[NewFile]) -> Result<(), CustomizeError> {
    for file in files {
        if let Some((folder, _)) = file.path.rsplit_once('/') {
            tree.make_folder(folder)?;
        }
        tree.write(&file.path, &file.bytes)?;
    }
    Ok(())
}

/// Gives the system partition the code of Windows' own boot record, which every NTFS that Windows made has: it looks
/// for `bootmgr`. The description of the volume in the first sector stays.
fn copy_boot_record(target: &dyn WriteAt, windows: ByteRange, boot: ByteRange) -> std::io::Result<()> {
    let from = read_vec(&Window::new(target, windows)?, 0, RECORD_BYTES)?;
    let mut to = read_vec(&Window::new(target, boot)?, 0, RECORD_BYTES)?;
    for range in [0..JUMP_BYTES, CODE_AT..RECORD_BYTES] {
        if let (Some(to), Some(from)) = (to.get_mut(range.clone()), from.get(range)) {
            to.copy_from_slice(from);
        }
    }
    target.write_at(boot.start(), &to)?;
    target.flush()
}

/// Makes an empty NTFS.
pub(super) fn make_ntfs(disk: &MachineDisk, place: ByteRange) -> Result<(), CustomizeError> {
    let device = LoopDevice::attach(&disk.path, place, false, disk.logical_sector_bytes)?;
    let sector = disk.logical_sector_bytes;
    let (start, size) = (sector.lba_of(place.start()).to_string(), sector.bytes().to_string());
    // Heads and sectors are those that Windows' setup writes.
    let options = ["-Q", "-F", "-q", "-H", "255", "-S", "63", "-p", &start, "-s", &size];
    let arguments: Vec<&OsStr> = options.iter().map(OsStr::new).chain([device.path().as_os_str()]).collect();
    let outcome = program::run("mkntfs", &arguments, LIMIT)?;
    if outcome.code != Some(0) {
        let (outcome, output) = (outcome.ending, outcome.output);
        return Err(CustomizeError::Failed { program: "mkntfs".to_owned(), outcome, output });
    }
    Ok(device.detach()?)
}
