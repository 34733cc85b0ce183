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
mod tests {
    use super::*;
    use crate::progress::{Event, Silent};
    use std::sync::atomic::{AtomicU32, Ordering};
    use tar::Builder;

    fn header(kind: EntryType, bytes: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes);
        header.set_mode(0o4755);
        header.set_uid(1000);
        header.set_gid(100);
        header.set_mtime(1_700_000_000);
        header
    }

    /// A header with a name that a packer would refuse.
    fn named(kind: EntryType, name: &str, link: &str) -> Header {
        let mut header = header(kind, 0);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        header
    }

    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, name, link) in entries {
            builder.append(&named(*kind, name, link), io::empty()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn good() -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
        builder.append(&named(EntryType::Directory, "./", ""), io::empty()).unwrap();
        builder.append_data(&mut header(EntryType::Regular, 5), "a/./file", &b"hello"[..]).unwrap();
        builder.append_data(&mut header(EntryType::Regular, 3), &long, &b"abc"[..]).unwrap();
        builder.append_link(&mut header(EntryType::Symlink, 0), "a/link", "/etc/passwd").unwrap();
        builder.append_link(&mut header(EntryType::Link, 0), "a/same", "a/file").unwrap();
        builder.into_inner().unwrap()
    }

    fn told(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
        let mut all = Vec::new();
        walk(archive, u64::MAX, &Silent, |entry, content: &mut dyn Read| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            all.push((entry.clone(), bytes));
            Ok::<_, ArchiveError>(())
        })?;
        Ok(all)
    }

    #[test]
    fn an_archive_is_told_as_it_was_packed_however_it_is_compressed() {
        let plain = good();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, &plain).unwrap();
        let all = told(&plain).unwrap();
        let paths: Vec<String> = all.iter().map(|(entry, _)| entry.path.display().to_string()).collect();
        assert_eq!((paths[0].as_str(), paths[2].as_str(), paths.len()), ("a/file", "a/link", 4));
        assert_eq!(paths[1].len(), 301);
        let first = &all[0].0;
        assert_eq!((first.mode, first.user, first.group, first.modified), (0o4755, 1000, 100, 1_700_000_000));
        assert_eq!((all[0].1.as_slice(), all[1].1.as_slice()), (&b"hello"[..], &b"abc"[..]));
        assert_eq!(all[2].0.what, What::Link { to: PathBuf::from("/etc/passwd") });
        assert_eq!(all[3].0.what, What::Same { as_file: PathBuf::from("a/file"), bytes: 5 });
        assert_eq!(told(&gzip.finish().unwrap()).unwrap(), all);
        assert_eq!(told(&zstd::encode_all(plain.as_slice(), 3).unwrap()).unwrap(), all);
        let measured = |most_bytes| measure(plain.as_slice(), most_bytes, &Silent);
        let amount = Amount { files: 2, others: 2, bytes: 8, linked_bytes: 5, largest_bytes: 5 };
        assert_eq!(measured(u64_from(plain.len())).unwrap(), (amount, HardNames::default()));
        for most_bytes in [7, 4096] {
            assert!(measured(most_bytes).unwrap_err().to_string().contains("more than the disk"));
        }
    }

    /// Asks to stop when it was asked so often.
    struct Stops(AtomicU32);

    impl Monitor for Stops {
        fn event(&self, _: Event) {}

        fn cancelled(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed) > 1000
        }
    }

    #[test]
    fn an_archive_that_never_ends_is_read_no_further_than_the_disk_is_large_or_somebody_asks() {
        for kind in [EntryType::XGlobalHeader, EntryType::Regular] {
            let mut header = named(kind, "x", "");
            header.set_size(1 << 33);
            header.set_cksum();
            let endless = || header.as_bytes().chain(io::repeat(b'x'));
            let said = measure(endless(), 1 << 20, &Silent).unwrap_err().to_string();
            assert!(said.contains("more than the disk"), "{kind:?}: {said}");
            let said = measure(endless(), u64::MAX, &Stops(AtomicU32::new(0))).unwrap_err().to_string();
            assert!(said.contains("stopped on request"), "{kind:?}: {said}");
        }
        let many = Again { header: named(EntryType::XGlobalHeader, "x", ""), at: 0 };
        assert!(measure(many, 1 << 20, &Silent).unwrap_err().to_string().contains("more than the disk"));
        for kind in [EntryType::Directory, EntryType::Symlink] {
            let mut header = named(kind, "x", "y");
            header.set_size(1 << 33);
            header.set_cksum();
            let said = told(header.as_bytes()).unwrap_err().to_string();
            assert!(said.contains("is no file"), "{kind:?}: {said}");
        }
    }

    /// One header, again and again.
    struct Again {
        header: Header,
        at: usize,
    }

    impl Read for Again {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = &self.header.as_bytes()[self.at..];
            let bytes = buffer.len().min(rest.len());
            buffer[..bytes].copy_from_slice(&rest[..bytes]);
            self.at = (self.at + bytes) % 512;
            Ok(bytes)
        }
    }

    #[test]
    fn what_no_copy_could_keep_is_refused_or_named() {
        let said = |name: &str| {
            let mut builder = Builder::new(Vec::new());
            builder.append_data(&mut header(EntryType::Regular, 0), name, io::empty()).unwrap();
            let bytes = builder.into_inner().unwrap();
            measure(bytes.as_slice(), u64::MAX, &Silent)
        };
        let deep = |count: usize| vec!["x"; count].join("/");
        assert!(said(&deep(MOST_PARTS)).is_ok());
        assert!(said(&deep(MOST_PARTS + 1)).unwrap_err().to_string().contains("folders deep"));
        for name in ["a/.remint-unfinished", ".REMINT-unfinished/b"] {
            assert!(said(name).unwrap_err().to_string().contains("has the name that Remint"), "{name}");
        }
        let (_, names) = said("a/b:c").unwrap();
        assert!(names.on_windows.unwrap().contains("b:c"));
    }

    #[test]
    fn a_name_costs_more_memory_than_its_bytes() {
        let mut known = Known { names_bytes: MOST_NAMES_BYTES - NAME_COST_BYTES, ..Known::default() };
        let said = known.remember(Path::new("a"), Kind::Folder).unwrap_err().to_string();
        assert!(said.contains("of memory"), "{said}");
    }

    #[test]
    fn what_leads_out_of_its_folder_or_is_no_file_is_refused() {
        use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
        for (entries, part) in [
            (vec![(Regular, "../x", "")], "leads out"),
            (vec![(Regular, "a/../../x", "")], "leads out"),
            (vec![(Regular, "/etc/passwd", "")], "leads out"),
            (vec![(Symlink, "a", "/etc"), (Regular, "a/passwd", "")], "is below"),
            (vec![(Symlink, "a", ".."), (Directory, "a/b", "")], "is below"),
            (vec![(Regular, "a", ""), (Regular, "a/b", "")], "is below"),
            (vec![(Directory, "a", ""), (Symlink, "a", "/")], "is below"),
            (vec![(Symlink, "a/./b", "/"), (Regular, "a//b/c", "")], "is below"),
            (vec![(Link, "a", "/etc/passwd")], "leads out"),
            (vec![(Link, "a", "../b")], "leads out"),
            (vec![(Link, "a", "b")], "not in front"),
            (vec![(Symlink, "b", "/etc/passwd"), (Link, "a", "b")], "not in front"),
            (vec![(Symlink, "a", "")], "says nothing"),
            (vec![(Char, "null", "")], "device"),
            (vec![(Block, "sda", "")], "device"),
            (vec![(Fifo, "pipe", "")], "pipe"),
            (vec![(EntryType::GNUSparse, "holes", "")], "--sparse"),
            (vec![(EntryType::new(b'M'), "x", "")], "not known"),
        ] {
            let said = told(&archive(&entries)).unwrap_err().to_string();
            assert!(said.contains(part), "{entries:?}: {said}");
        }
        for (bytes, part) in [(&b"PK\x03\x04...."[..], "zip is not"), (b"\xFD7zXZ\0..", "xz is not")] {
            assert!(told(bytes).unwrap_err().to_string().contains(part), "{part}");
        }
        assert!(told(&[b'x'; 2048]).is_err());
    }

    #[test]
    fn no_name_is_read_that_is_longer_than_a_name() {
        let mut claims = header(EntryType::GNULongName, 1 << 40);
        claims.set_cksum();
        let mut bytes = claims.as_bytes().to_vec();
        bytes.resize(3 << 20, b'a');
        assert!(told(&bytes).unwrap_err().to_string().contains("longer than any name"));
        let mut short = good();
        short.truncate(512 + 512 + 3);
        assert!(told(&short).is_err(), "a file that ends early");
    }

    #[test]
    fn ten_thousand_changed_archives_are_told_or_refused() {
        let plain = good();
        let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for round in 0..10_000 {
            let mut bytes = if round % 4 == 0 { zstd.clone() } else { plain.clone() };
            for _ in 0..=next(3) {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).unwrap();
            }
            // The checksum of a changed header is made good, so that what it says is looked at.
            if round % 4 > 1 {
                let at = next(bytes.len() / 512) * 512;
                let mut header = Header::new_old();
                header.as_mut_bytes().copy_from_slice(&bytes[at..at + 512]);
                header.set_cksum();
                bytes[at..at + 512].copy_from_slice(header.as_bytes());
            }
            if let Ok(all) = told(&bytes) {
                for (entry, _) in all {
                    let sound = |part| matches!(part, Component::Normal(_));
                    assert!(entry.path.components().all(sound), "{:?}", entry.path);
                }
            }
        }
    }
}
