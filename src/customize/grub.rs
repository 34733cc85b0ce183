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
use super::fstab::is_kernel_name;
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

/// Lets `root=` in a menu follow, where it names the partition by what is not true any more. `None` where nothing
/// changes.
///
/// # Errors
/// A sentence where this GRUB cannot read such a menu.
pub fn follow_root(menu: &str, files: &BootFiles) -> Result<Option<String>, String> {
    if menu.split_whitespace().any(|word| word == "blscfg") {
        return Err(
            "its menu is made of boot loader specification entries (blscfg), which only its own distribution's GRUB \
             reads; use another layout"
                .to_owned(),
        );
    }
    let uuid = files.uuid.as_deref().ok_or("its file system has no UUID to be named by")?;
    let mut followed = String::with_capacity(menu.len());
    for word in menu.split_inclusive([' ', '\t', '\n', '"', '\'']) {
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
        } else {
            followed.push_str(word);
        }
    }
    Ok((followed != menu).then_some(followed))
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
        let follow = |menu: &str| follow_root(menu, &files()).unwrap();
        let new = Some("linux /vmlinuz root=UUID=root-uuid ro\n".to_owned());
        for name in ["/dev/sda1", "PARTUUID=52454D31-01", "/dev/disk/by-partuuid/52454d31-01"] {
            assert_eq!(follow(&format!("linux /vmlinuz root={name} ro\n")), new, "{name}");
        }
        for same in
            ["root=UUID=abc ro", "set root='hd0,msdos1'\n", "root=/dev/mapper/a-b1", "root=PARTUUID=other"]
        {
            assert_eq!(follow(same), None, "{same}");
        }
        assert!(follow_root("insmod blscfg\nblscfg\n", &files()).is_err());
    }
}
