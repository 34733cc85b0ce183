//! GRUB: its core in a stretch of the disk, its first menu on an EFI system partition, and what its menu calls the root.
//!
//! ```text
//! sector 0                 the stretch
//! +---------------------+  +------------------------------+--------------------+
//! | boot.img, 440 bytes |->| diskboot.img: where the rest | the rest of the    |
//! | sector of the core  |  | is: at byte 500              | core               |
//! +---------------------+  +------------------------------+--------------------+
//! ```
//!
//! The three numbers are those of GRUB's own manual and headers (`include/grub/i386/pc/boot.h`).

use super::BOOT_CODE_BYTES;
use super::fstab::{is_gone, is_kernel_name};
use crate::plan::BootFiles;
use crate::units::{ByteRange, u64_from};

const SECTOR_BYTES: u64 = 512;
/// In `boot.img`: the sector of the core.
const KERNEL_SECTOR_AT: usize = 0x5C;
/// In `boot.img`: a jump that trusts the BIOS about the drive, overwritten where it is a hard disk.
const DRIVE_CHECK_AT: usize = 0x66;
const NO_OPERATION: [u8; 2] = [0x90, 0x90];
/// In the core's first sector: the sector of what follows it.
const REST_SECTOR_AT: usize = 500;

/// The code for sector 0 and the core, tied together for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// For sector 0.
    pub code: [u8; BOOT_CODE_BYTES],
    /// For the place.
    pub core: Vec<u8>,
}

/// Ties `boot.img` and a core of `grub-mkimage` together.
///
/// # Errors
/// A sentence where they are not what they should be, or where there is too little room.
pub fn embed(boot_image: &[u8], mut core: Vec<u8>, place: ByteRange) -> Result<Embedded, String> {
    let mut code: [u8; BOOT_CODE_BYTES] = boot_image
        .get(..BOOT_CODE_BYTES)
        .filter(|_| boot_image.len() == 512)
        .and_then(|code| code.try_into().ok())
        .ok_or("GRUB's boot.img is not one sector")?;
    let core_bytes = u64_from(core.len());
    if core_bytes <= SECTOR_BYTES || core_bytes > place.length() {
        return Err(format!("GRUB's core has {core_bytes} bytes, and there is room for {}", place.length()));
    }
    let sector = place.start() / SECTOR_BYTES;
    if let Some(field) = code.get_mut(KERNEL_SECTOR_AT..KERNEL_SECTOR_AT.saturating_add(8)) {
        field.copy_from_slice(&sector.to_le_bytes());
    }
    if let Some(field) = code.get_mut(DRIVE_CHECK_AT..DRIVE_CHECK_AT.saturating_add(2)) {
        field.copy_from_slice(&NO_OPERATION);
    }
    if let Some(field) = core.get_mut(REST_SECTOR_AT..REST_SECTOR_AT.saturating_add(8)) {
        field.copy_from_slice(&sector.saturating_add(1).to_le_bytes());
    }
    Ok(Embedded { code, core })
}

/// The commands by which GRUB finds its folder on the system's volume. `folder` begins with a slash.
#[must_use]
pub fn find_folder(uuid: &str, folder: &str) -> String {
    format!("search.fs_uuid {uuid} root\nset prefix=($root){folder}\n")
}

/// The same as a menu of its own, which goes on with the real one.
#[must_use]
pub fn first_menu(uuid: &str, folder: &str) -> String {
    format!("{}configfile $prefix/grub.cfg\n", find_folder(uuid, folder))
}

/// Lets a menu follow as [`follow_words`] does. Where `wakes_up` is false, because what its initramfs wakes
/// the system up from is gone, every kernel of the menu is told so (`noresume`): otherwise each start waits for half a
/// minute. `None` where nothing changes.
///
/// # Errors
/// A sentence where this GRUB cannot read such a menu.
pub fn follow_menu(menu: &str, files: &BootFiles, wakes_up: bool) -> Result<Option<String>, String> {
    if menu.split_whitespace().any(|word| word == "blscfg") {
        return Err(
            "its menu is made of boot loader specification entries (blscfg), which only its own distribution's GRUB \
             reads; use another layout"
                .to_owned(),
        );
    }
    let uuid = files.uuid.as_deref().ok_or("its file system has no UUID to be named by")?;
    let words = follow_words(menu, files, uuid).unwrap_or_else(|| menu.to_owned());
    let followed = if wakes_up { words } else { words.split_inclusive('\n').map(without_waking).collect() };
    Ok((followed != menu).then_some(followed))
}

/// A line with `noresume`, where it names a kernel and does not say so.
fn without_waking(line: &str) -> String {
    let is_kernel = line.split_whitespace().next().is_some_and(|word| word.starts_with("linux"));
    if !is_kernel || line.split_whitespace().any(|word| word == "noresume") {
        return line.to_owned();
    }
    let text = line.trim_end();
    format!("{text} noresume{}", line.get(text.len()..).unwrap_or_default())
}

/// The text of what a Debian's initramfs is made from about waking up, where that names what is gone; `None` where nothing
/// changes.
#[must_use]
pub fn follow_resume(text: &str, files: &BootFiles) -> Option<String> {
    let line = |line: &str| {
        let device = line.trim_end().strip_prefix("RESUME=").map(|device| device.trim_matches('"'));
        if device.is_some_and(|device| is_gone(device, files)) {
            "RESUME=none\n".to_owned()
        } else {
            line.to_owned()
        }
    };
    let followed: String = text.split_inclusive('\n').map(line).collect();
    (followed != text).then_some(followed)
}

/// Lets `root=` follow in the command line of a kernel, wherever it stands, where it names the partition by what is not true
/// any more, and puts `noresume` in the place of a `resume=` of what is gone. `None` where nothing changes.
#[must_use]
pub fn follow_words(text: &str, files: &BootFiles, uuid: &str) -> Option<String> {
    let mut followed = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\t', '\n', '"', '\'']) {
        let (bare, end) = word
            .strip_suffix([' ', '\t', '\n', '"', '\''])
            .map_or((word, ""), |bare| (bare, word.get(bare.len()..).unwrap_or_default()));
        let stale = bare.strip_prefix("root=").is_some_and(|device| {
            let id =
                device.strip_prefix("PARTUUID=").or_else(|| device.strip_prefix("/dev/disk/by-partuuid/"));
            let was = files.partition_was.as_deref();
            is_kernel_name(device) || id.zip(was).is_some_and(|(id, was)| id.eq_ignore_ascii_case(was))
        });
        if stale {
            followed.push_str(&format!("root=UUID={uuid}{end}"));
        } else if bare.strip_prefix("resume=").is_some_and(|device| is_gone(device, files)) {
            followed.push_str(&format!("noresume{end}"));
        } else {
            followed.push_str(word);
        }
    }
    (followed != text).then_some(followed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::{Loader, Names, System};
    use crate::schema::{FileSystemKind, Firmware};

    pub fn files() -> BootFiles {
        let uuid = |uuid: &str| Names { uuid: Some(uuid.to_owned()), ..Names::default() };
        BootFiles {
            target: "/dev/sda".to_owned(),
            volume: "d0-p1".to_owned(),
            system: System::Linux,
            firmware: Firmware::Bios,
            file_system: FileSystemKind::Ext4,
            uuid: Some("root-uuid".to_owned()),
            loader: Loader::Core { place: ByteRange::new(512, 1 << 20) },
            partition_was: Some("52454d31-01".to_owned()),
            gone: vec![uuid("swap-uuid"), uuid("52AB-0001")],
            configuration: None,
        }
    }

    #[test]
    fn the_parts_of_a_core_find_each_other() {
        let place = ByteRange::new(34 * 512, 64 * 512);
        let embedded = embed(&[0xEB; 512], vec![0xCC; 9 * 512 + 7], place).unwrap();
        assert_eq!(embedded.code[0x5C..0x64], 34u64.to_le_bytes());
        assert_eq!(embedded.code[0x66..0x69], [0x90, 0x90, 0xEB]);
        assert_eq!(embedded.core[500..509], [&35u64.to_le_bytes()[..], &[0xCC]].concat());
        assert_eq!(embedded.core.len(), 9 * 512 + 7);
        for (boot, core) in [(511, 1024), (512, 512), (512, 30 * 512 + 1)] {
            assert!(embed(&vec![0; boot], vec![0; core], place).is_err(), "{boot} {core}");
        }
    }

    #[test]
    fn the_root_is_named_by_its_uuid_where_its_name_is_not_true_any_more() {
        let follow = |menu: &str| follow_menu(menu, &files(), true).unwrap();
        let new = Some("linux /vmlinuz root=UUID=root-uuid ro\n".to_owned());
        for name in ["/dev/sda1", "PARTUUID=52454D31-01", "/dev/disk/by-partuuid/52454d31-01"] {
            assert_eq!(follow(&format!("linux /vmlinuz root={name} ro\n")), new, "{name}");
        }
        for same in
            ["root=UUID=abc ro", "set root='hd0,msdos1'\n", "root=/dev/mapper/a-b1", "root=PARTUUID=other"]
        {
            assert_eq!(follow(same), None, "{same}");
        }
        assert!(follow_menu("insmod blscfg\nblscfg\n", &files(), true).is_err());
    }

    #[test]
    fn nobody_waits_for_what_the_system_would_be_woken_up_from() {
        let menu = "\tlinux /vmlinuz root=UUID=root-uuid resume=UUID=swap-uuid quiet\n\tinitrd /initrd\n";
        let new = menu.replace("resume=UUID=swap-uuid", "noresume");
        assert_eq!(follow_menu(menu, &files(), true).unwrap(), Some(new.clone()));
        assert_eq!(follow_menu(&new, &files(), false).unwrap(), None);
        let bare = menu.replace(" resume=UUID=swap-uuid", "");
        let told = bare.replace("quiet\n", "quiet noresume\n");
        assert_eq!(follow_menu(&bare, &files(), false).unwrap(), Some(told));
        let other = menu.replace("swap-uuid", "another-disk");
        assert_eq!(follow_menu(&other, &files(), true).unwrap(), None);
        let resume = |text: &str| follow_resume(text, &files());
        assert_eq!(resume("# x\nRESUME=/dev/sda2\n").as_deref(), Some("# x\nRESUME=none\n"));
        assert_eq!(resume("RESUME=\"UUID=SWAP-uuid\"").as_deref(), Some("RESUME=none\n"));
        for same in ["RESUME=none\n", "RESUME=auto", "RESUME=UUID=another-disk\n", "#RESUME=/dev/sda2\n", ""]
        {
            assert_eq!(resume(same), None, "{same}");
        }
    }
}
