//! Archives as people pack them, and as nobody should.

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
