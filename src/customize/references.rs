//! The names of partitions and volume groups in the text of a system's settings, put right where they have new
//! identifiers.
//!
//! A partition is named by its GUID, or on an MBR by the disk's signature and its number (`1a2b3c4d-01`), in any letter
//! case: `PARTUUID=` in fstab and on the kernel's command line, `/dev/disk/by-partuuid/`, GRUB's `search --part-uuid`,
//! `HD(2,GPT,...)`. A UUID of LVM stands in GRUB's `lvmid/GROUP/VOLUME` and in names of udev, and its case counts. All forms are
//! told from everything else by what stands around them: neither a letter, a digit nor a dash. What stands in a binary, such as a
//! unified kernel image or an initramfs, is not changed.

use crate::filesystem::{self, FatFiles};
use crate::plan::NewName;
use std::borrow::Cow;

/// A file with more is no settings file.
pub const MOST_BYTES: u64 = 4 << 20;
/// So many entries of a folder are looked at.
pub const MOST_ENTRIES: usize = 1024;

/// Where systems name partitions, from the root of a file system: of a system, of its own `/boot`, and of an EFI system
/// partition. A part with `*` stands for every entry with that beginning and ending.
pub const FILES: &[&str] = &[
    "etc/fstab",
    "etc/crypttab",
    "etc/default/grub",
    "etc/default/grub.d/*.cfg",
    "etc/grub.d/40_custom",
    "etc/kernel/cmdline",
    "etc/cmdline.d/*.conf",
    "etc/initramfs-tools/conf.d/*",
    "etc/dracut.conf",
    "etc/dracut.conf.d/*.conf",
    "etc/mdadm.conf",
    "etc/mdadm/mdadm.conf",
    "etc/uswsusp.conf",
    "etc/systemd/system/*.mount",
    "etc/systemd/system/*.swap",
    "etc/default/u-boot",
    "boot/grub/grub.cfg",
    "boot/grub/custom.cfg",
    "boot/grub2/grub.cfg",
    "boot/grub2/custom.cfg",
    "boot/extlinux/extlinux.conf",
    "boot/syslinux/syslinux.cfg",
    "boot/loader/entries/*.conf",
    "boot/cmdline.txt",
    "grub/grub.cfg",
    "grub/custom.cfg",
    "grub2/grub.cfg",
    "grub2/custom.cfg",
    "extlinux/extlinux.conf",
    "syslinux/syslinux.cfg",
    "loader/entries/*.conf",
    "cmdline.txt",
    "EFI/*/grub.cfg",
    "EFI/*/refind.conf",
    "refind_linux.conf",
    "boot/refind_linux.conf",
];

/// The files of a FAT that name partitions by their old names, or may: by our own reader, where no kernel mounts it.
///
/// # Errors
/// Where a folder or file cannot be read.
pub fn named_in_fat(fat: &FatFiles<'_>, names: &[NewName]) -> Result<Vec<String>, filesystem::Error> {
    let mut named = Vec::new();
    for pattern in FILES {
        let mut paths = vec![String::new()];
        for part in pattern.split('/') {
            let mut longer = Vec::new();
            for path in &paths {
                let items = fat.list(path)?.unwrap_or_default();
                let items = items.into_iter().filter(|item| stands_for_any_case(part, &item.name));
                let join = |name: String| if path.is_empty() { name } else { format!("{path}/{name}") };
                longer.extend(items.map(|item| join(item.name)));
            }
            longer.truncate(MOST_ENTRIES);
            paths = longer;
        }
        for path in paths {
            if fat.find(&path)?.is_some_and(|found| !found.is_folder)
                && fat.read(&path, MOST_BYTES)?.is_some_and(|text| rewrite(&text, names).is_some())
            {
                named.push(path);
            }
        }
    }
    Ok(named)
}

/// FAT does not tell small letters from capitals.
fn stands_for_any_case(part: &str, entry: &str) -> bool {
    stands_for(&part.to_lowercase(), &entry.to_lowercase())
}

/// True where an entry of a folder is one that a part of a path stands for.
#[must_use]
pub fn stands_for(part: &str, entry: &str) -> bool {
    match part.split_once('*') {
        Some((before, behind)) => entry
            .strip_prefix(before)
            .is_some_and(|rest| rest.len() >= behind.len() && rest.ends_with(behind)),
        None => part == entry,
    }
}

/// The text with new names for old ones, and how many there were; `None` where there are none.
#[must_use]
pub fn rewrite(text: &[u8], names: &[NewName]) -> Option<(Vec<u8>, usize)> {
    let mut rewritten = Vec::with_capacity(text.len());
    let mut count = 0usize;
    let mut rest = text;
    let mut before = None;
    while let Some((first, behind)) = rest.split_first() {
        let name = if before.is_some_and(belongs_to_a_name) { None } else { name_at(rest, names) };
        match name {
            Some(name) => {
                let (old, after) = rest.split_at_checked(name.old.len()).unwrap_or((rest, &[]));
                rewritten.extend_from_slice(in_case_of(old, name).as_bytes());
                count = count.saturating_add(1);
                before = old.last().copied();
                rest = after;
            }
            None => {
                rewritten.push(*first);
                before = Some(*first);
                rest = behind;
            }
        }
    }
    (count > 0).then_some((rewritten, count))
}

fn name_at<'a>(text: &[u8], names: &'a [NewName]) -> Option<&'a NewName> {
    names.iter().find(|name| {
        let is_old = |here: &[u8]| match has_case(&name.old) || has_case(&name.new) {
            true => here == name.old.as_bytes(),
            false => here.eq_ignore_ascii_case(name.old.as_bytes()),
        };
        let here = text.get(..name.old.len()).is_some_and(is_old);
        here && !name.old.is_empty() && !text.get(name.old.len()).copied().is_some_and(belongs_to_a_name)
    })
}

const fn belongs_to_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// A new name in capitals where the old one was, unless they mean something in it.
fn in_case_of<'a>(old: &[u8], name: &'a NewName) -> Cow<'a, str> {
    let capitals = old.iter().any(u8::is_ascii_uppercase) && !old.iter().any(u8::is_ascii_lowercase);
    let is_exact = has_case(&name.old) || has_case(&name.new);
    if capitals && !is_exact { name.new.to_ascii_uppercase().into() } else { name.new.as_str().into() }
}

/// True for a UUID of LVM, in which a capital is another letter. Identifiers of partitions have none in a [`NewName`].
fn has_case(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_of_lvm_is_found_as_grub_and_udev_write_it_and_its_case_counts() {
        let name = |old: &str, new: &str| NewName { of: "g0".into(), old: old.into(), new: new.into() };
        let names = [
            name("kQ2ZeJ-abcd-EFGH-ijkl-MNOP-qrst-uvwxyz", "New000-0000-0000-0000-0000-0000-00000g"),
            name("Lv2ZeJ-abcd-EFGH-ijkl-MNOP-qrst-uvwxyz", "New000-0000-0000-0000-0000-0000-00000v"),
        ];
        let text = "set root='lvmid/kQ2ZeJ-abcd-EFGH-ijkl-MNOP-qrst-uvwxyz/Lv2ZeJ-abcd-EFGH-ijkl-MNOP-qrst-uvwxyz'\n\
                    KQ2ZEJ-ABCD-EFGH-IJKL-MNOP-QRST-UVWXYZ\n";
        let (new, count) = rewrite(text.as_bytes(), &names).unwrap();
        let expected = "set root='lvmid/New000-0000-0000-0000-0000-0000-00000g/New000-0000-0000-0000-0000-0000-00000v'\n\
                        KQ2ZEJ-ABCD-EFGH-IJKL-MNOP-QRST-UVWXYZ\n";
        assert_eq!((String::from_utf8(new).unwrap().as_str(), count), (expected, 2));
    }

    fn names() -> Vec<NewName> {
        [
            ("3f1b8a52-0c6d-4e1f-9a77-112233445566", "00000000-1111-4222-8333-444444444444"),
            ("1a2b3c4d-01", "deadbeef-01"),
            ("1a2b3c4d-05", "deadbeef-05"),
        ]
        .map(|(old, new)| NewName { of: String::new(), old: old.to_owned(), new: new.to_owned() })
        .to_vec()
    }

    fn changed(text: &str) -> Option<(String, usize)> {
        rewrite(text.as_bytes(), &names()).map(|(text, count)| (String::from_utf8(text).unwrap(), count))
    }

    #[test]
    fn every_form_of_a_name_is_followed() {
        for (old, new) in [
            (
                "PARTUUID=3f1b8a52-0c6d-4e1f-9a77-112233445566 / ext4 ro 0 1\n",
                "PARTUUID=00000000-1111-4222-8333-444444444444 / ext4 ro 0 1\n",
            ),
            (
                "PARTUUID=\"3F1B8A52-0C6D-4E1F-9A77-112233445566\"",
                "PARTUUID=\"00000000-1111-4222-8333-444444444444\"",
            ),
            ("/dev/disk/by-partuuid/1a2b3c4d-05\t/srv", "/dev/disk/by-partuuid/deadbeef-05\t/srv"),
            ("root=PARTUUID=1A2B3C4D-01 ro", "root=PARTUUID=DEADBEEF-01 ro"),
            ("root=PARTUUID=1a2b3c4d-01/PARTNROFF=1", "root=PARTUUID=deadbeef-01/PARTNROFF=1"),
            (
                "HD(2,GPT,3f1b8a52-0c6d-4e1f-9a77-112233445566,0x800,0x1000)",
                "HD(2,GPT,00000000-1111-4222-8333-444444444444,0x800,0x1000)",
            ),
        ] {
            assert_eq!(changed(old), Some((new.to_owned(), 1)), "{old}");
            // What was put right is right.
            assert_eq!(changed(new), None);
        }
        let two = "1a2b3c4d-01 1a2b3c4d-05\n\u{fffd} 1a2b3c4d-02";
        assert_eq!(changed(two), Some(("deadbeef-01 deadbeef-05\n\u{fffd} 1a2b3c4d-02".to_owned(), 2)));
    }

    #[test]
    fn what_only_begins_or_ends_like_a_name_is_left() {
        for text in [
            "",
            "x1a2b3c4d-01",
            "-1a2b3c4d-01",
            "1a2b3c4d-012",
            "1a2b3c4d-01-",
            "1a2b3c4d-0122-4333-8444-555555555555",
            "3f1b8a52-0c6d-4e1f-9a77-1122334455667",
            "3f1b8a52-0c6d-4e1f-9a77-11223344556",
            "UUID=1a2b-3c4d",
        ] {
            assert_eq!(changed(text), None, "{text}");
        }
        assert_eq!(rewrite(b"1a2b3c4d-01", &[]), None);
        let nameless = [NewName { of: String::new(), old: String::new(), new: "x".to_owned() }];
        assert_eq!(rewrite(b"text", &nameless), None);
    }

    #[test]
    fn a_part_of_a_path_stands_for_entries() {
        assert!(
            stands_for("*.conf", "debian.conf") && stands_for("*", "any") && stands_for("fstab", "fstab")
        );
        assert!(!stands_for("*.conf", "conf") && !stands_for("a*a", "a") && !stands_for("fstab", "fstab~"));
    }
}
