//! Files and folders of this machine that are copied onto others.

use anyhow::{Context, Result, bail};
use remint::linux::Artefact;
use remint::schema::CopyKind;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tar::{Builder, EntryType, Header};

/// Names of what is unpacked.
const ARCHIVES: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"];

/// `PATH=VOLUME:/TO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyArgument {
    pub path: PathBuf,
    pub volume: String,
    pub to: String,
}

impl FromStr for CopyArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path may have the sign in it, a volume does not.
        let split = text.match_indices('=').find_map(|(at, _)| {
            let (path, rest) = text.split_at_checked(at)?;
            let (volume, to) = rest.strip_prefix('=')?.split_once(":/")?;
            (!path.is_empty() && !volume.is_empty() && !volume.contains('=')).then_some((path, volume, to))
        });
        let Some((path, volume, to)) = split else {
            return Err("write PATH=VOLUME:/TO, as in lab.conf=d0-p2:/etc/lab.conf".to_owned());
        };
        Ok(Self { path: path.into(), volume: volume.to_owned(), to: format!("/{to}") })
    }
}

/// Opens what is to be copied. `unpacks` says whether an archive is one.
pub fn open(path: &Path, unpacks: bool) -> Result<(Artefact, CopyKind)> {
    let name = path.display().to_string();
    let (file, is_folder) = read(path)?;
    let is_archive = is_folder || (unpacks && ARCHIVES.iter().any(|ending| name.ends_with(ending)));
    let kind = if is_archive { CopyKind::Archive } else { CopyKind::File };
    Ok((Artefact::of(file, name)?, kind))
}

/// Opens a file; a folder, for which it says true, is packed first, into a file that has no name.
pub fn read(path: &Path) -> Result<(File, bool)> {
    let doing = || format!("reading {}", path.display());
    if fs::metadata(path).with_context(doing)?.is_dir() {
        return Ok((pack(path)?, true));
    }
    Ok((File::open(path).with_context(doing)?, false))
}

/// Packs a folder: the same folder gives the same bytes again.
fn pack(folder: &Path) -> Result<File> {
    let file = tempfile::tempfile().context("making a file to pack into")?;
    let mut packing = Packing { builder: Builder::new(file), packed: BTreeMap::new() };
    let mut open = vec![(folder.to_owned(), PathBuf::new())];
    while let Some((path, name)) = open.pop() {
        let doing = || format!("packing {}", path.display());
        let mut entries =
            fs::read_dir(&path).with_context(doing)?.collect::<io::Result<Vec<_>>>().with_context(doing)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            packing.add(&path, &name).with_context(|| format!("packing {}", path.display()))?;
            if entry.file_type().with_context(doing)?.is_dir() {
                open.push((path, name));
            }
        }
    }
    packing.builder.into_inner().context("packing")
}

struct Packing {
    builder: Builder<File>,
    /// Names of files that have several, by their numbers.
    packed: BTreeMap<(u64, u64), PathBuf>,
}

impl Packing {
    fn add(&mut self, path: &Path, name: &Path) -> Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = metadata.file_type();
        let identity = (metadata.dev(), metadata.ino());
        if kind.is_dir() {
            self.builder.append_data(&mut header(&metadata, EntryType::Directory, 0), name, io::empty())?;
        } else if kind.is_symlink() {
            let mut header = header(&metadata, EntryType::Symlink, 0);
            self.builder.append_link(&mut header, name, fs::read_link(path)?)?;
        } else if let (true, Some(first)) = (kind.is_file(), self.packed.get(&identity)) {
            self.builder.append_link(&mut header(&metadata, EntryType::Link, 0), name, first)?;
        } else if kind.is_file() {
            let file = File::open(path)?;
            let bytes = file.metadata()?.len();
            self.builder.append_data(
                &mut header(&metadata, EntryType::Regular, bytes),
                name,
                file.take(bytes),
            )?;
            if metadata.nlink() > 1 {
                self.packed.insert(identity, name.to_owned());
            }
        } else {
            bail!("it is neither file, folder nor link");
        }
        Ok(())
    }
}

fn header(metadata: &Metadata, kind: EntryType, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_a_path_a_volume_and_a_place() {
        let parsed = |text: &str| {
            let CopyArgument { path, volume, to } = text.parse().unwrap();
            (path.display().to_string(), volume, to)
        };
        let is = |path: &str, volume: &str, to: &str| (path.to_owned(), volume.to_owned(), to.to_owned());
        assert_eq!(parsed("a.conf=d0-p2:/etc/a.conf"), is("a.conf", "d0-p2", "/etc/a.conf"));
        assert_eq!(parsed("./a=b/c=vg/root:/x=y:/z"), is("./a=b/c", "vg/root", "/x=y:/z"));
        assert_eq!(parsed("a=2:/"), is("a", "2", "/"));
        for text in ["a", "a=2", "a=2:x", "=2:/x", "a=:/x"] {
            assert!(text.parse::<CopyArgument>().is_err(), "{text}");
        }
    }
}
