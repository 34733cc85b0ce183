//! What an archive holds: tar, perhaps in gzip or zstd, told apart by its first bytes.
//!
//! An archive comes from somebody else. Invariants: every path that is told is relative and has no `..`; none lies below
//! something that the archive itself made and that is no folder; a hard link is one to a file of the archive that came before;
//! nothing but files, folders and links is told; nothing is allocated by a number that the archive claims; what is read of it,
//! unpacked, has a bound, and somebody who asks to stop is heard meanwhile.

use crate::plan::{Amount, HardNames};
use crate::progress::Monitor;
use crate::schema::{MOST_PARTS, is_unfinished};
use crate::units::u64_from;
use flate2::read::MultiGzDecoder;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use tar::{EntryType, Header, PaxExtensions};

/// The longest path, and what a header that says more than fits into 512 bytes may hold.
const MOST_PATH_BYTES: usize = 4096;
const MOST_HEADER_BYTES: u64 = 1 << 20;
/// So much memory is taken for all paths, with so much for each beside its own bytes.
const MOST_NAMES_BYTES: usize = 256 << 20;
const NAME_COST_BYTES: usize = 96;
const MOST_ENTRIES: u64 = 10_000_000;
const GZIP: [u8; 2] = [0x1F, 0x8B];
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// What is no tar, by its first bytes.
const OTHERS: [(&[u8], &str); 4] =
    [(b"\xFD7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"PK\x03\x04", "zip"), (b"7z\xBC\xAF", "7z")];

/// Why an archive is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be read, or is damaged.
    #[error("reading the archive")]
    Io(#[from] io::Error),
    /// It holds what is not unpacked.
    #[error("{0}")]
    Refused(String),
}

/// One thing in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path: relative, without `.` and `..`, never empty.
    pub path: PathBuf,
    /// What it is.
    pub what: What,
    /// Its mode, without the bits that say what it is.
    pub mode: u32,
    /// Number of its user.
    pub user: u32,
    /// Number of its group.
    pub group: u32,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
}

/// What can be in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A file of so many bytes.
    File {
        /// Its size.
        bytes: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Link {
        /// What it says.
        to: PathBuf,
    },
    /// Another name of a file that came before.
    Same {
        /// The path of that file, as it was told.
        as_file: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

/// Reads an archive once, without unpacking it.
///
/// # Errors
/// Everything that would keep it from being unpacked; also where it, or what its files are said to hold, is more than
/// `most_bytes`.
pub fn measure(
    archive: impl Read,
    most_bytes: u64,
    monitor: &dyn Monitor,
) -> Result<(Amount, HardNames), ArchiveError> {
    let (mut amount, mut names) = (Amount::default(), HardNames::default());
    walk(archive, most_bytes, monitor, |entry, _: &mut dyn Read| {
        names.note(&entry.path, matches!(entry.what, What::Link { .. }));
        match entry.what {
            What::File { bytes } => {
                amount.files = amount.files.saturating_add(1);
                amount.bytes = amount.bytes.saturating_add(bytes);
                amount.largest_bytes = amount.largest_bytes.max(bytes);
                if amount.bytes > most_bytes {
                    return Err(ArchiveError::Refused(TOO_MUCH.to_owned()));
                }
            }
            What::Same { bytes, .. } => {
                amount.others = amount.others.saturating_add(1);
                amount.linked_bytes = amount.linked_bytes.saturating_add(bytes);
            }
            _ => amount.others = amount.others.saturating_add(1),
        }
        Ok(())
    })?;
    Ok((amount, names))
}

/// Tells of everything in an archive, in its order, with what a file holds. What is left of that is passed over. At most
/// `most_bytes` are unpacked.
///
/// # Errors
/// Where the archive is damaged or holds what is not unpacked or more, where the monitor asks to stop, and those of `each`.
pub fn walk<E: From<ArchiveError>>(
    archive: impl Read,
    most_bytes: u64,
    monitor: &dyn Monitor,
    each: impl FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let ended = Cell::new(None);
    let bounded = Bounded { inner: unpacked(archive)?, left: most_bytes, monitor, ended: &ended };
    let walked = walk_through(bounded, each);
    match ended.get() {
        // What the reader of tar makes of it is not the reason.
        Some(why) if walked.is_err() => Err(ArchiveError::Refused(why.to_owned()).into()),
        _ => walked,
    }
}

fn walk_through<E: From<ArchiveError>>(
    unpacked: impl Read,
    mut each: impl FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut known = Known::default();
    let mut long = Long::default();
    let mut archive = tar::Archive::new(unpacked);
    let entries = archive.entries().map_err(ArchiveError::Io)?.raw(true);
    for (entry, count) in entries.zip(1u64..) {
        let mut entry = entry.map_err(ArchiveError::Io)?;
        if count > MOST_ENTRIES {
            return Err(ArchiveError::Refused(format!("it holds more than {MOST_ENTRIES} entries")).into());
        }
        let header = entry.header().clone();
        if long.takes(&header, &mut entry)? {
            continue;
        }
        let Some(read) = known.judge(&header, std::mem::take(&mut long))? else { continue };
        let bytes = match read.what {
            What::File { bytes } => bytes,
            _ => 0,
        };
        let mut content = Counted { inner: &mut entry, bytes: 0 };
        each(&read, &mut content)?;
        io::copy(&mut content, &mut io::sink()).map_err(ArchiveError::Io)?;
        if content.bytes != bytes {
            let fact = format!("{} ends early in it", shown(&read.path));
            return Err(ArchiveError::Refused(fact).into());
        }
    }
    Ok(())
}

/// What is read of an archive that is not compressed, or any more.
fn unpacked<'a, R: Read + 'a>(mut archive: R) -> Result<Box<dyn Read + 'a>, ArchiveError> {
    let mut first = Vec::new();
    archive.by_ref().take(8).read_to_end(&mut first)?;
    let whole: Chain<Cursor<Vec<u8>>, R> = Cursor::new(first.clone()).chain(archive);
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| first.starts_with(magic)) {
        let fact = format!("{name} is not unpacked; pack it as tar, with gzip or zstd or as it is");
        return Err(ArchiveError::Refused(fact));
    }
    Ok(if first.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(BufReader::new(whole)))
    } else if first.starts_with(&ZSTD) {
        Box::new(zstd::Decoder::new(whole)?)
    } else {
        Box::new(whole)
    })
}

const TOO_MUCH: &str = "unpacked, it is more than the disk holds";
const STOPPED: &str = "stopped on request";

/// What comes out of an archive, no more than so much, and no longer than somebody wants it.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    monitor: &'a dyn Monitor,
    /// Why it ended before its end.
    ended: &'a Cell<Option<&'static str>>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = |why: &'static str| {
            self.ended.set(Some(why));
            Err(io::Error::other(why))
        };
        if self.monitor.cancelled() {
            return end(STOPPED);
        }
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(u64_from(read)) {
            Some(left) => self.left = left,
            None => return end(TOO_MUCH),
        }
        Ok(read)
    }
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes = self.bytes.saturating_add(u64_from(read));
        Ok(read)
    }
}

/// What headers in front of an entry say of it: those of GNU (`L`, `K`) and of POSIX.1-2001 (`x`).
#[derive(Debug, Default)]
struct Long {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    user: Option<u32>,
    group: Option<u32>,
    modified: Option<i64>,
    bytes: Option<u64>,
}

impl Long {
    /// Takes such a header; false where it is an entry.
    fn takes(&mut self, header: &Header, content: &mut impl Read) -> Result<bool, ArchiveError> {
        let kind = header.entry_type();
        let is_long = kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions();
        // What holds for the whole archive are remarks.
        if kind.is_pax_global_extensions() || !is_long {
            return Ok(!is_long && kind.is_pax_global_extensions());
        }
        let mut bytes = Vec::new();
        content.take(MOST_HEADER_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64_from(bytes.len()) > MOST_HEADER_BYTES {
            return Err(ArchiveError::Refused("a name in it is longer than any name can be".to_owned()));
        }
        if kind.is_pax_local_extensions() {
            return self.read_pax(&bytes).map(|()| true);
        }
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        *(if kind.is_gnu_longname() { &mut self.path } else { &mut self.link }) = Some(bytes);
        Ok(true)
    }

    fn read_pax(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        for extension in PaxExtensions::new(bytes) {
            let extension = extension?;
            let value = extension.value_bytes();
            let text = extension.value().unwrap_or_default();
            match extension.key().unwrap_or_default() {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "uid" => self.user = text.parse().ok(),
                "gid" => self.group = text.parse().ok(),
                // Parts of a second are left away.
                "mtime" => self.modified = text.split('.').next().and_then(|text| text.parse().ok()),
                "size" => self.bytes = text.parse().ok(),
                key if key.starts_with("GNU.sparse") => return Err(sparse()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn sparse() -> ArchiveError {
    ArchiveError::Refused("it holds files with holes; pack it without --sparse".to_owned())
}

/// What came before.
#[derive(Default)]
struct Known {
    paths: BTreeMap<PathBuf, Kind>,
    names_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File { bytes: u64 },
    Folder,
    Link,
}

impl Known {
    /// Judges an entry; `None` for the folder that all of it is unpacked in.
    fn judge(&mut self, header: &Header, long: Long) -> Result<Option<Entry>, ArchiveError> {
        let named = long.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let Some(path) = inside(&named)? else { return Ok(None) };
        let linked = || {
            let link = long.link.clone().or_else(|| header.link_name_bytes().map(Cow::into_owned));
            link.filter(|link| !link.is_empty() && link.len() < MOST_PATH_BYTES && !link.contains(&0))
                .ok_or_else(|| refused(&path, "is a link that says nothing"))
        };
        let bytes = header.entry_size()?;
        if long.bytes.is_some_and(|said| said != bytes) {
            let fact = "is larger than its header can say; pack it with --format=gnu";
            return Err(refused(&path, fact));
        }
        let (what, kind) = match header.entry_type() {
            // Before there were folders in tar, a name with a slash at its end was one.
            EntryType::Regular | EntryType::Continuous if named.ends_with(b"/") => {
                (What::Folder, Kind::Folder)
            }
            EntryType::Regular | EntryType::Continuous => (What::File { bytes }, Kind::File { bytes }),
            EntryType::Directory => (What::Folder, Kind::Folder),
            EntryType::Symlink => {
                (What::Link { to: PathBuf::from(OsString::from_vec(linked()?)) }, Kind::Link)
            }
            EntryType::Link => {
                let as_file = inside(&linked()?)?.unwrap_or_default();
                let Some(Kind::File { bytes }) = self.paths.get(&as_file).filter(|_| as_file != path) else {
                    return Err(refused(&path, "is to be the same as a file that is not in front of it"));
                };
                (What::Same { as_file, bytes: *bytes }, Kind::File { bytes: *bytes })
            }
            EntryType::Char | EntryType::Block => return Err(refused(&path, "is a device")),
            EntryType::Fifo => return Err(refused(&path, "is a pipe")),
            EntryType::GNUSparse => return Err(sparse()),
            _ => return Err(refused(&path, "is of a kind that is not known")),
        };
        if bytes != 0 && !matches!(what, What::File { .. }) {
            return Err(refused(&path, "says that it holds something, and is no file"));
        }
        self.remember(&path, kind)?;
        let number = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let modified = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
        Ok(Some(Entry {
            what,
            mode: header.mode().unwrap_or(0o644) & 0o7777,
            user: long.user.unwrap_or_else(|| number(header.uid().ok())),
            group: long.group.unwrap_or_else(|| number(header.gid().ok())),
            modified: long.modified.unwrap_or(modified),
            path,
        }))
    }

    /// Notes a path with the folders that it is in, which have to be folders.
    fn remember(&mut self, path: &Path, kind: Kind) -> Result<(), ArchiveError> {
        for (ancestor, depth) in path.ancestors().zip(0u32..) {
            if ancestor.as_os_str().is_empty() {
                break;
            }
            let kind = if depth == 0 { kind } else { Kind::Folder };
            match self.paths.get(ancestor) {
                // The folders above were noted with it.
                Some(Kind::Folder) if kind == Kind::Folder => break,
                Some(known) if *known == Kind::Folder || kind == Kind::Folder => {
                    return Err(refused(path, "is below, or in place of, something else in it"));
                }
                known => {
                    let is_new = known.is_none();
                    if is_new {
                        let cost = ancestor.as_os_str().len().saturating_add(NAME_COST_BYTES);
                        self.names_bytes = self.names_bytes.saturating_add(cost);
                    }
                    self.paths.insert(ancestor.to_owned(), kind);
                }
            }
        }
        if self.names_bytes > MOST_NAMES_BYTES {
            let fact = format!("the names in it take more than {MOST_NAMES_BYTES} bytes of memory");
            return Err(ArchiveError::Refused(fact));
        }
        Ok(())
    }
}

/// A path in an archive; `None` where it is the archive's own folder.
fn inside(bytes: &[u8]) -> Result<Option<PathBuf>, ArchiveError> {
    let given = Path::new(std::ffi::OsStr::from_bytes(bytes));
    if bytes.len() >= MOST_PATH_BYTES || bytes.contains(&0) {
        return Err(ArchiveError::Refused("a name in it is no name".to_owned()));
    }
    let (mut path, mut parts) = (PathBuf::new(), 0usize);
    for component in given.components() {
        match component {
            Component::Normal(part) if is_unfinished(part.as_bytes()) => {
                return Err(refused(given, "has the name that Remint gives to files while it copies them"));
            }
            Component::Normal(_) if parts >= MOST_PARTS => {
                let start: PathBuf = path.components().take(3).collect();
                let fact = format!("holds something more than {MOST_PARTS} folders deep");
                return Err(refused(&start, &fact));
            }
            Component::Normal(part) => {
                path.push(part);
                parts = parts.saturating_add(1);
            }
            Component::CurDir => {}
            _ => return Err(refused(given, "leads out of the folder that it is unpacked in")),
        }
    }
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

fn refused(path: &Path, fact: &str) -> ArchiveError {
    ArchiveError::Refused(format!("{} {fact}", shown(path)))
}

fn shown(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().escape_debug())
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
