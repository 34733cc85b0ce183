//! The block devices that the kernel shows under /sys.
//!
//! Devices are known by their kernel name (`sda2`, `cciss!c0d0`); a `!` there is a `/` under /dev. All paths
//! hang below one root, so that tests can build a machine in a directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A machine as its kernel shows it.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    root: PathBuf,
}

impl Kernel {
    /// The machine that this program runs on.
    pub(super) fn this() -> Self {
        Self::at("/")
    }

    /// The machine whose /sys, /proc, /dev and /run are below `root`.
    pub(super) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where an absolute path of the machine is found.
    pub(super) fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// A text file without the white space around it; `None` where it is missing or empty. Bytes that are
    /// not valid text are replaced.
    pub(super) fn text(&self, absolute: &str) -> Option<String> {
        text(&self.path(absolute))
    }

    /// The devices in /sys/block, in the order of their names with numbers counted (`sda`, `sdb`, `sdaa`).
    pub(super) fn block_devices(&self) -> std::io::Result<Vec<BlockDevice>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path("/sys/block"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_by_cached_key(|name| natural_order(name));
        Ok(names.into_iter().map(|name| self.block_device(&name)).collect())
    }

    fn block_device(&self, name: &str) -> BlockDevice {
        BlockDevice { name: name.to_owned(), directory: self.path("/sys/block").join(name) }
    }

    /// The kernel name of every disk and partition by its device number (`8:2`).
    pub(super) fn names_by_number(&self) -> BTreeMap<String, String> {
        let devices = self.block_devices().unwrap_or_default();
        let parts = devices.iter().flat_map(|device| std::iter::once(device.clone()).chain(device.parts()));
        parts.filter_map(|part| Some((part.attribute("dev")?, part.name))).collect()
    }

    /// The kernel name of the device at a path of the machine, also where the path is a link to it.
    pub(super) fn name_of(&self, path: &str, names: &BTreeMap<String, String>) -> Option<String> {
        let real = fs::canonicalize(self.path(path)).ok();
        if let Some(metadata) = real.as_ref().and_then(|real| fs::metadata(real).ok())
            && metadata.file_type().is_block_device()
        {
            return names.get(&device_number(metadata.rdev())).cloned();
        }
        let root = fs::canonicalize(&self.root).ok()?;
        let below_dev = match &real {
            Some(real) => real.strip_prefix(&root).ok()?.strip_prefix("dev").ok()?.to_str()?,
            None => path.strip_prefix("/dev/")?,
        };
        let name = below_dev.replace('/', "!");
        names.values().any(|known| *known == name).then_some(name)
    }
}

/// A device in /sys: a whole disk or a partition.
#[derive(Debug, Clone)]
pub(super) struct BlockDevice {
    /// Kernel name.
    pub(super) name: String,
    /// Its directory in /sys.
    pub(super) directory: PathBuf,
}

impl BlockDevice {
    /// Its path under /dev.
    pub(super) fn node(&self) -> String {
        node(&self.name)
    }

    /// The text of one of its attributes; `None` where it is missing or empty.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        text(&self.directory.join(name))
    }

    /// A numeric attribute.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.attribute(name)?.parse().ok()
    }

    /// Size in bytes. In sysfs it is in units of 512 bytes, whatever the sector size.
    pub(super) fn size_bytes(&self) -> u64 {
        self.number("size").unwrap_or(0).saturating_mul(512)
    }

    /// Its partitions.
    pub(super) fn parts(&self) -> Vec<Self> {
        let mut parts: Vec<Self> = entry_names(&self.directory)
            .into_iter()
            .filter(|name| name.starts_with(&self.name))
            .map(|name| Self { directory: self.directory.join(&name), name })
            .filter(|part| part.directory.join("partition").exists())
            .collect();
        parts.sort_by_cached_key(|part| natural_order(&part.name));
        parts
    }

    /// Names of the devices that stand directly on it: device mappings and arrays.
    pub(super) fn holders(&self) -> Vec<String> {
        entry_names(&self.directory.join("holders"))
    }
}

/// The names in a directory, ascending; none where it cannot be read.
pub(super) fn entry_names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Path under /dev of a kernel name.
pub(super) fn node(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// A device number as sysfs and mountinfo write it.
pub(super) fn device_number(number: u64) -> String {
    format!("{}:{}", nix::sys::stat::major(number), nix::sys::stat::minor(number))
}

fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Sorts `sda` before `sdb` before `sdaa`, and `nvme2n1` before `nvme10n1`: letters, length, text.
fn natural_order(name: &str) -> (String, usize, String) {
    let letters = name.chars().take_while(|c| !c.is_ascii_digit()).take(2).collect();
    (letters, name.len(), name.to_owned())
}

/// Undoes the octal escapes of /proc/self/mountinfo and /proc/swaps (`\040` is a space).
pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let octal = behind.first_chunk::<3>().filter(|_| first == b'\\');
        let code = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_that_people_expect() {
        let mut names = ["sdaa", "nvme10n1", "sdb", "nvme2n1", "sda"];
        names.sort_by_cached_key(|name| natural_order(name));
        assert_eq!(names, ["nvme2n1", "nvme10n1", "sda", "sdb", "sdaa"]);
    }

    #[test]
    fn octal_escapes_become_characters() {
        assert_eq!(unescape(r"/mnt/my\040disk\134\011x"), "/mnt/my disk\\\tx");
        assert_eq!(unescape(r"/a\04"), r"/a\04");
        assert_eq!(unescape(r"/a\999\"), r"/a\999\");
        assert_eq!(unescape(r"/\303\244"), "/ä");
    }
}
