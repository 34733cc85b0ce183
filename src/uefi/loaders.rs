//! What starts a system from an EFI system partition, by the names of its files.

/// What a firmware starts from a disk of which it knows nothing else (UEFI 2.10, 3.5.1.1).
pub const FALLBACK: &str = r"\EFI\BOOT\BOOTX64.EFI";

const WINDOWS: &str = r"\EFI\Microsoft\Boot\bootmgfw.efi";
const SYSTEMD: &str = r"\EFI\systemd\systemd-bootx64.efi";
const SHIM: &str = "shimx64.efi";
const GRUB: &str = "grubx64.efi";
const KEY_MANAGER: &str = "mmx64.efi";

/// Something that starts a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// What a person is to see in the firmware's menu.
    pub description: String,
    /// Its path, as it stands there.
    pub path: String,
}

/// The loaders among the files of an EFI system partition, the one to start first in front: Windows' boot manager, the
/// shim of each distribution, its GRUB where it has no shim, systemd-boot, and the fallback path where there is none
/// of these.
#[must_use]
pub fn loaders(files: &[String]) -> Vec<Loader> {
    let loader =
        |description: &str, path: &str| Loader { description: description.to_owned(), path: path.to_owned() };
    let known = |path: &str, description: &str| {
        files.iter().find(|file| is(file, path)).map(|file| loader(description, file))
    };
    let of_vendors = |name: &'static str| {
        files
            .iter()
            .filter_map(move |file| Some((vendor(file, name)?, file)))
            .filter(|(vendor, _)| !is(vendor, "BOOT"))
    };
    let shims: Vec<(&str, &String)> = of_vendors(SHIM).collect();
    let mut found: Vec<Loader> = known(WINDOWS, "Windows Boot Manager").into_iter().collect();
    found.extend(shims.iter().map(|(vendor, file)| loader(vendor, file)));
    let has_shim = |vendor: &str| shims.iter().any(|(other, _)| is(other, vendor));
    let grubs = of_vendors(GRUB).filter(|(vendor, _)| !has_shim(vendor));
    found.extend(grubs.map(|(vendor, file)| loader(vendor, file)));
    found.extend(known(SYSTEMD, "Linux Boot Manager"));
    if found.is_empty() {
        found.extend(known(FALLBACK, "UEFI OS"));
    }
    found
}

/// What is to be copied so that the fallback path starts the system, as pairs of paths, the fallback path itself last;
/// nothing where it is there already, or where there is no loader. Shim looks for GRUB and for its key manager beside
/// itself, and is what Secure Boot lets start.
#[must_use]
pub fn fallback_copies(files: &[String]) -> Vec<(String, String)> {
    let Some(loader) = loaders(files).into_iter().next().filter(|_| !is_there(files, FALLBACK)) else {
        return Vec::new();
    };
    let mut copies = Vec::new();
    if vendor(&loader.path, SHIM).is_some() {
        for name in [GRUB, KEY_MANAGER] {
            let beside = files.iter().find(|file| vendor(file, name) == vendor(&loader.path, SHIM));
            let copy = format!(r"\EFI\BOOT\{name}");
            copies.extend(beside.filter(|_| !is_there(files, &copy)).map(|file| (file.clone(), copy)));
        }
    }
    copies.push((loader.path, FALLBACK.to_owned()));
    copies
}

/// True where a path means one of the files. FAT does not tell small letters from capitals.
pub(super) fn is_there(files: &[String], path: &str) -> bool {
    files.iter().any(|file| is(file, path))
}

/// True for what a loader needs and what starts no system by itself: shim's key manager and its fallback, and updates
/// of the firmware.
pub(super) fn is_helper(path: &str) -> bool {
    const HELPERS: [&str; 5] = ["mmx64.efi", "mokmanager.efi", "fbx64.efi", "fallback.efi", "fwupdx64.efi"];
    let name = path.rsplit('\\').next().unwrap_or_default();
    HELPERS.iter().any(|helper| is(name, helper))
}

/// The folder under `\EFI` that a file of this name is in.
fn vendor<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = file.trim_start_matches('\\').split('\\');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(efi), Some(vendor), Some(last), None) if is(efi, "EFI") && is(last, name) => Some(vendor),
        _ => None,
    }
}

fn is(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> Vec<(String, String)> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        loaders(&files).into_iter().map(|loader| (loader.description, loader.path)).collect()
    }

    fn pair(description: &str, path: &str) -> (String, String) {
        (description.to_owned(), path.to_owned())
    }

    #[test]
    fn every_system_has_one_entry_and_windows_is_first() {
        let both = [
            r"\EFI\BOOT\BOOTX64.EFI",
            r"\EFI\debian\grubx64.efi",
            r"\EFI\debian\shimx64.efi",
            r"\EFI\debian\mmx64.efi",
            r"\EFI\arch\GRUBX64.EFI",
            r"\EFI\systemd\systemd-bootx64.efi",
            r"\efi\microsoft\boot\bootmgfw.efi",
            r"\EFI\Microsoft\Boot\memtest.efi",
        ];
        let expected = [
            pair("Windows Boot Manager", r"\efi\microsoft\boot\bootmgfw.efi"),
            pair("debian", r"\EFI\debian\shimx64.efi"),
            pair("arch", r"\EFI\arch\GRUBX64.EFI"),
            pair("Linux Boot Manager", r"\EFI\systemd\systemd-bootx64.efi"),
        ];
        assert_eq!(found(&both), expected);
    }

    #[test]
    fn the_fallback_path_counts_where_nothing_else_is_there() {
        let alone = [r"\EFI\BOOT\bootx64.efi", r"\EFI\BOOT\grubx64.efi", r"\EFI\BOOT\shimx64.efi"];
        assert_eq!(found(&alone), [pair("UEFI OS", r"\EFI\BOOT\bootx64.efi")]);
        assert_eq!(found(&[r"\grubx64.efi", r"\EFI\a\b\grubx64.efi", ""]), []);
    }

    #[test]
    fn what_secure_boot_lets_start_becomes_the_fallback() {
        let copies = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            let copies = fallback_copies(&files);
            copies.iter().map(|(from, to)| format!("{from} -> {to}")).collect::<Vec<_>>()
        };
        let debian = [r"\EFI\debian\grubx64.efi", r"\EFI\debian\shimx64.efi", r"\EFI\arch\grubx64.efi"];
        let expected = [
            r"\EFI\debian\grubx64.efi -> \EFI\BOOT\grubx64.efi",
            r"\EFI\debian\shimx64.efi -> \EFI\BOOT\BOOTX64.EFI",
        ];
        assert_eq!(copies(&debian), expected);
        let windows = [r"\EFI\Microsoft\Boot\bootmgfw.efi", r"\EFI\BOOT\grubx64.efi", debian[0], debian[1]];
        assert_eq!(copies(&windows), [r"\EFI\Microsoft\Boot\bootmgfw.efi -> \EFI\BOOT\BOOTX64.EFI"]);
        assert_eq!(copies(&[debian[1], r"\EFI\BOOT\grubx64.efi"]), expected[1..]);
        assert!(copies(&[debian[1], r"\efi\boot\bootx64.efi"]).is_empty());
        assert!(copies(&[]).is_empty());
    }
}
