//! A Linux that starts with GRUB, as it lies in a mounted file system: what it has, and whether it can be started.

use super::Error;
use super::mounted::BTRFS_ROOTS;
use super::tree::Tree;
use crate::customize::{CustomizeError, fat, fstab, grub};
use crate::plan::{BootFiles, Loader};
use std::path::Path;

/// GRUB's folders.
const FOLDERS: [&str; 2] = ["boot/grub", "boot/grub2"];
const SIGNED_SHIM: [&str; 2] = ["usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/shimx64.efi.signed.latest"];
const SIGNED_GRUB: &str = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
const KEY_MANAGERS: [&str; 2] = ["usr/lib/shim/mmx64.efi.signed", "usr/lib/shim/mmx64.efi"];
/// GRUB's modules for a BIOS.
const MODULES: &str = "usr/lib/grub/i386-pc";

/// A system whose root file system is mounted.
pub(super) struct System<'a> {
    pub(super) files: &'a BootFiles,
    pub(super) uuid: &'a str,
    pub(super) tree: Tree,
    /// The root within the file system: empty, or a subvolume with a slash behind it.
    pub(super) root: &'static str,
    /// GRUB's folder within the root.
    pub(super) folder: &'static str,
    menu: String,
}

/// A file that has to change, so that a system starts from its new place.
pub(super) struct Change {
    /// Its path.
    pub(super) path: String,
    /// Its new text.
    pub(super) text: String,
    /// What is changed: sentences.
    pub(super) said: Vec<String>,
}

/// What has to change in a system, and what nobody here can change.
pub(super) struct Changes {
    /// The files.
    pub(super) files: Vec<Change>,
    /// Sentences about what a person has to look after.
    pub(super) problems: Vec<String>,
}

/// What of the command line of a kernel stands outside of GRUB's menu.
const COMMAND_LINES: [&str; 2] = ["etc/default/grub", "etc/kernel/cmdline"];
/// What Debian's initramfs wakes the system up from.
const RESUME: &str = "etc/initramfs-tools/conf.d/resume";

impl<'a> System<'a> {
    /// Finds the system below a folder.
    ///
    /// # Errors
    /// Where there is none that this code can start.
    pub(super) fn open(files: &'a BootFiles, at: &Path) -> Result<Self, CustomizeError> {
        let volume = &files.volume;
        let tree = Tree::open(at, volume)?;
        let uuid = files.uuid.as_deref().ok_or_else(|| {
            unsupported(format!(
                "the file system of {volume} has no UUID by which GRUB could find it; use another layout"
            ))
        })?;
        let mut found = None;
        for root in BTRFS_ROOTS {
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
                return Ok(Self { files, uuid, tree, root, folder, menu });
            }
        }
        Err(unsupported(format!(
            "the Linux of {volume} has no /boot/grub/grub.cfg: its /boot is on a partition of its own, or it starts \
             with something else than GRUB; use another layout"
        )))
    }

    /// What has to change in it.
    ///
    /// # Errors
    /// Where it cannot be started from its new place, whatever is changed.
    pub(super) fn changes(&self) -> Result<Changes, CustomizeError> {
        let failed = |fact: String| {
            unsupported(format!("the Linux of {} cannot be started: {fact}", self.files.volume))
        };
        let (mut changes, mut problems, root) = (Vec::new(), Vec::new(), self.root);
        let resume = self.read_if_text(RESUME, &mut problems)?;
        let new_resume = grub::follow_resume(&resume, self.files);
        // Taken again, the file does not say any more what the initramfs still looks for, and the menu does.
        let wakes_up = new_resume.is_none();
        if let Some(text) = grub::follow_menu(&self.menu, self.files, wakes_up).map_err(failed)? {
            let path = format!("{root}{}/grub.cfg", self.folder);
            let said = vec![format!("/{}/grub.cfg names the partitions that are there", self.folder)];
            changes.push(Change { path, text, said });
        }
        if let Some(text) = new_resume {
            let said = vec![format!("/{RESUME}: what the system was woken up from is not there any more")];
            changes.push(Change { path: format!("{root}{RESUME}"), text, said });
        }
        for name in COMMAND_LINES {
            let before = self.read_if_text(name, &mut problems)?;
            if let Some(text) = grub::follow_words(&before, self.files, self.uuid) {
                let said = vec![format!("/{name} names the partitions that are there")];
                changes.push(Change { path: format!("{root}{name}"), text, said });
            }
        }
        let path = format!("{root}etc/fstab");
        let before = self.tree.read_text(&path)?.unwrap_or_default();
        let efi_uuid = match self.files.loader {
            Loader::EfiSystem { serial, .. } => Some(fat::uuid(serial)),
            Loader::Core { .. } | Loader::SystemPartition { .. } => None,
        };
        let after = fstab::follow(&before, self.files, efi_uuid.as_deref()).map_err(failed)?;
        if after.text != before {
            changes.push(Change { path, text: after.text, said: after.changes });
        }
        Ok(Changes { files: changes, problems })
    }

    /// A text that the system starts without; empty where there is none, with a problem where it is something else.
    fn read_if_text(&self, name: &str, problems: &mut Vec<String>) -> Result<String, Error> {
        match self.tree.read_text(&format!("{}{name}", self.root)) {
            Err(Error::Refused { fact }) => {
                problems
                    .push(format!("{fact} and stays as it is; see that it names no partition that is gone"));
                Ok(String::new())
            }
            read => Ok(read?.unwrap_or_default()),
        }
    }

    /// Everything that can be refused, before anything is written.
    pub(super) fn judge(&self) -> Result<(), CustomizeError> {
        self.changes()?;
        match self.files.loader {
            Loader::EfiSystem { .. } => self.loaders().map(|_| ()),
            Loader::Core { .. } | Loader::SystemPartition { .. } => self.modules().map(|_| ()),
        }
    }

    /// GRUB's folder as GRUB calls it.
    pub(super) fn grub_folder(&self) -> String {
        format!("/{}{}", self.root, self.folder)
    }

    /// The vendor's name in folders of an EFI system partition: Debian's `debian`.
    pub(super) fn distribution(&self) -> Result<String, CustomizeError> {
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

    /// Signed loaders for UEFI, and whether they are the system's own.
    pub(super) fn loaders(&self) -> Result<(Loaders, bool), CustomizeError> {
        if let Some(loaders) = Loaders::of(&self.tree, self.root)? {
            return Ok((loaders, true));
        }
        let here = Tree::open(Path::new("/"), "this machine")?;
        let loaders = Loaders::of(&here, "")?.ok_or_else(|| {
            unsupported(format!(
                "the Linux of {} has no GRUB for UEFI, and neither has this machine; install the packages \
                 shim-signed and grub-efi-amd64-signed here or in the system, or deploy from the boot image",
                self.files.volume
            ))
        })?;
        Ok((loaders, false))
    }

    /// GRUB's modules and images for a BIOS.
    pub(super) fn modules(&self) -> Result<Vec<(String, Vec<u8>)>, CustomizeError> {
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
}

/// What an EFI system partition needs.
pub(super) struct Loaders {
    pub(super) shim: Vec<u8>,
    pub(super) grub: Vec<u8>,
    pub(super) key_manager: Option<Vec<u8>>,
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

pub(super) fn unsupported(fact: String) -> CustomizeError {
    CustomizeError::Unsupported { fact }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::schema::{FileSystemKind, Firmware};
    use crate::units::ByteRange;
    use std::fs;

    #[test]
    fn a_setting_that_is_no_text_stays_and_is_said() {
        let files = BootFiles {
            target: "/dev/sda".to_owned(),
            volume: "d0-p1".to_owned(),
            system: plan::System::Linux,
            firmware: Firmware::Bios,
            file_system: FileSystemKind::Ext4,
            uuid: Some("root-uuid".to_owned()),
            loader: Loader::Core { place: ByteRange::new(512, 1 << 20) },
            partition_was: None,
            gone: Vec::new(),
            configuration: None,
        };
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("etc/fstab", b"/dev/sda1 / ext4 defaults 0 1\n");
        put("boot/grub/grub.cfg", b"linux /vmlinuz root=UUID=root-uuid\n");
        let odd = ["etc/default/grub", "etc/kernel/cmdline", "etc/initramfs-tools/conf.d/resume"];
        odd.iter().for_each(|path| put(path, b"# caf\xe9 root=/dev/sda1\n"));
        let changes = System::open(&files, root.path()).unwrap().changes().unwrap();
        let changed: Vec<&str> = changes.files.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(changed, ["etc/fstab"]);
        for path in odd {
            let said = format!("/{path} of d0-p1 is no text in UTF-8 and stays as it is");
            assert!(changes.problems.iter().any(|problem| problem.contains(&said)), "{:?}", changes.problems);
        }
    }
}
