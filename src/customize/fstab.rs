//! `/etc/fstab` after the partitions around a system have changed: fstab(5).
//!
//! A line about a partition that is not there any more would make the start hang for a minute and a half and end in
//! an emergency shell, so it becomes a comment. Everything else stays as it is, to the byte.

use crate::plan::{BootFiles, Names};

/// What stands in front of a line that was put out of use.
const REMARK: &str = "# not on this disk any more (Remint): ";
/// Where an EFI system partition is mounted.
const EFI_FOLDERS: [&str; 2] = ["/boot/efi", "/efi"];
/// Without what is mounted here a system does not start.
const NEEDED_FOLDERS: [&str; 3] = ["/boot", "/usr", "/var"];

/// A new text, and a sentence for each change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The text.
    pub text: String,
    /// The changes.
    pub changes: Vec<String>,
}

/// Lets the lines follow. `efi_uuid` is the UUID of the new EFI system partition, where there is one.
///
/// # Errors
/// A sentence where the system cannot start from its one volume: what it starts from was another one.
pub fn follow(text: &str, files: &BootFiles, efi_uuid: Option<&str>) -> Result<Followed, String> {
    let mut followed = Followed { text: String::with_capacity(text.len()), changes: Vec::new() };
    let mut has_efi = false;
    for line in text.split_inclusive('\n') {
        let mut fields = line.split_whitespace();
        let (Some(device), Some(folder)) = (fields.next(), fields.next()) else {
            followed.text.push_str(line);
            continue;
        };
        let is_fat = fields.next().is_some_and(|kind| matches!(kind, "vfat" | "msdos" | "auto"));
        let is_efi = EFI_FOLDERS.contains(&folder) && is_fat;
        let is_new = efi_uuid.is_some_and(|uuid| device.strip_prefix("UUID=") == Some(uuid));
        has_efi |= is_new;
        match judge(device, folder, files) {
            _ if is_new || device.starts_with('#') => followed.text.push_str(line),
            Verdict::Stays => followed.text.push_str(line),
            Verdict::Root => {
                let uuid = files.uuid.as_deref().ok_or("its file system has no UUID to be named by")?;
                let new = format!("UUID={uuid}");
                followed.text.push_str(&line.replacen(device, &new, 1));
                followed.changes.push(format!("/etc/fstab: {folder} is {new} instead of {device}"));
            }
            Verdict::Gone => match efi_uuid.filter(|_| is_efi && !has_efi) {
                Some(uuid) => {
                    let new = format!("UUID={uuid}");
                    followed.text.push_str(&line.replacen(device, &new, 1));
                    followed.changes.push(format!("/etc/fstab: {folder} is {new} instead of {device}"));
                    has_efi = true;
                }
                None if NEEDED_FOLDERS.contains(&folder) => {
                    return Err(format!(
                        "{folder} is on a partition of its own ({device}), without which the system does not start, and \
                         a standard layout holds one volume; use another layout"
                    ));
                }
                None => {
                    followed.text.push_str(REMARK);
                    followed.text.push_str(line);
                    followed
                        .changes
                        .push(format!("/etc/fstab: {device} ({folder}) is not there any more and left out"));
                }
            },
        }
    }
    if let Some(uuid) = efi_uuid.filter(|_| !has_efi) {
        if !followed.text.is_empty() && !followed.text.ends_with('\n') {
            followed.text.push('\n');
        }
        followed.text.push_str(&format!("UUID={uuid} /boot/efi vfat umask=0077 0 1\n"));
        followed.changes.push(format!("/etc/fstab: /boot/efi is the new EFI system partition, UUID={uuid}"));
    }
    Ok(followed)
}

/// The devices of a table, each with the folder that it is mounted at; comments left out.
pub fn mounts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?, fields.next()?))
    })
}

/// True where a device of a table is what is `known` in the form `UUID=...`, `LABEL=...`, `PARTUUID=...` or `/dev/...`.
#[must_use]
pub fn is_same(device: &str, known: &str) -> bool {
    let Some((tag, value)) = known.split_once('=') else { return device == known };
    let value = Some(value.to_owned());
    match tag {
        "UUID" => names(device, &Names { uuid: value, ..Names::default() }),
        "LABEL" => names(device, &Names { label: value, ..Names::default() }),
        "PARTUUID" => names(device, &Names { partition_uuid: value, ..Names::default() }),
        _ => false,
    }
}

/// True where a device is named that is not on the disk any more.
pub(super) fn is_gone(device: &str, files: &BootFiles) -> bool {
    matches!(judge(device, "", files), Verdict::Gone)
}

enum Verdict {
    Stays,
    /// It is the root, by a name that is not true any more.
    Root,
    Gone,
}

fn judge(device: &str, folder: &str, files: &BootFiles) -> Verdict {
    let root = Names { partition_uuid: files.partition_was.clone(), ..Names::default() };
    let kernel_name = is_kernel_name(device);
    if names(device, &root) || (kernel_name && folder == "/") {
        Verdict::Root
    } else if kernel_name || files.gone.iter().any(|gone| names(device, gone)) {
        Verdict::Gone
    } else {
        Verdict::Stays
    }
}

/// True where `device` is one of the names of a partition.
fn names(device: &str, of: &Names) -> bool {
    // Another distribution's UUID of the same disk is never a prefix of it, so the whole value counts.
    let kinds = [
        ("UUID=", "/dev/disk/by-uuid/", &of.uuid),
        ("LABEL=", "/dev/disk/by-label/", &of.label),
        ("PARTUUID=", "/dev/disk/by-partuuid/", &of.partition_uuid),
        ("PARTLABEL=", "/dev/disk/by-partlabel/", &of.partition_label),
    ];
    kinds.into_iter().any(|(tag, path, name)| {
        let value = device.strip_prefix(tag).or_else(|| device.strip_prefix(path));
        value
            .zip(name.as_deref())
            .is_some_and(|(value, name)| value.trim_matches('"').eq_ignore_ascii_case(name))
    })
}

/// True for the kernel's name of a partition, which depends on what else is in the machine: `/dev/sda2`.
pub(super) fn is_kernel_name(device: &str) -> bool {
    let Some(name) = device.strip_prefix("/dev/") else { return false };
    let numbered = |rest: &str| {
        rest.ends_with(|c: char| c.is_ascii_digit()) && rest.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let lettered = ["sd", "hd", "vd", "xvd"].iter().find_map(|kind| name.strip_prefix(kind));
    let parted = ["nvme", "mmcblk"].iter().find_map(|kind| name.strip_prefix(kind));
    lettered.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()) && numbered(rest))
        || parted.is_some_and(|rest| rest.contains('p') && numbered(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customize::grub::tests::files;

    const BEFORE: &str = "# a comment with UUID=swap-uuid in it\n\
        UUID=root-uuid / ext4 errors=remount-ro 0 1\n\
        UUID=SWAP-uuid none swap sw 0 0\n\
        UUID=52AB-0001\t/boot/efi\tvfat umask=0077 0 1\n\
        UUID=other-disk /srv ext4 nofail 0 2\n\
        /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n\
        tmpfs /tmp tmpfs defaults 0 0";

    #[test]
    fn what_is_gone_becomes_a_comment_and_the_new_partition_is_mounted() {
        let uefi = follow(BEFORE, &files(), Some("1234-ABCD")).unwrap();
        let expected = BEFORE
            .replace("UUID=SWAP-uuid none", &format!("{REMARK}UUID=SWAP-uuid none"))
            .replace("UUID=52AB-0001\t", "UUID=1234-ABCD\t");
        assert_eq!(uefi.text, expected);
        assert_eq!(uefi.changes.len(), 2, "{:?}", uefi.changes);
        let again = follow(&uefi.text, &files(), Some("1234-ABCD")).unwrap();
        assert_eq!(again, Followed { text: expected, changes: vec![] });
        let added = follow("UUID=root-uuid / ext4 defaults 0 1", &files(), Some("1234-ABCD")).unwrap().text;
        assert!(added.ends_with(" 0 1\nUUID=1234-ABCD /boot/efi vfat umask=0077 0 1\n"), "{added}");

        let bios = follow(BEFORE, &files(), None).unwrap();
        assert!(bios.text.contains(&format!("{REMARK}UUID=52AB-0001\t/boot/efi")), "{}", bios.text);
        assert_eq!(
            follow(&bios.text, &files(), None).unwrap(),
            Followed { text: bios.text, changes: vec![] }
        );
    }

    #[test]
    fn a_root_by_a_name_that_is_not_true_any_more_gets_its_uuid() {
        for device in
            ["/dev/sda1", "/dev/nvme0n1p2", "PARTUUID=52454D31-01", "/dev/disk/by-partuuid/52454d31-01"]
        {
            let text = format!("{device} / ext4 defaults 0 1\n");
            assert_eq!(
                follow(&text, &files(), None).unwrap().text,
                "UUID=root-uuid / ext4 defaults 0 1\n",
                "{device}"
            );
        }
        let text = "/dev/mapper/vg-root / ext4 defaults 0 1\n/dev/vg/data /srv xfs defaults 0 0\n";
        assert_eq!(follow(text, &files(), None).unwrap().text, text);
    }

    #[test]
    fn a_boot_partition_of_its_own_is_refused() {
        for text in ["UUID=swap-uuid /boot ext4 defaults 0 2\n", "/dev/sda3 /usr ext4 defaults 0 2\n"] {
            assert!(follow(text, &files(), None).unwrap_err().contains("use another layout"));
        }
    }

    #[test]
    fn kernel_names_are_told_from_others() {
        for name in ["/dev/sda1", "/dev/vdb12", "/dev/xvda3", "/dev/nvme0n1p1", "/dev/mmcblk0p2"] {
            assert!(is_kernel_name(name), "{name}");
        }
        for name in [
            "/dev/sr0",
            "/dev/sda",
            "/dev/nvme0n1",
            "/dev/mapper/a1",
            "/dev/md0",
            "sda1",
            "/dev/disk/by-id/x1",
        ] {
            assert!(!is_kernel_name(name), "{name}");
        }
    }
}
