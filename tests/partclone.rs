//! partclone as a witness of used maps, on clean file systems, where it is right: what it takes for used, we
//! capture too, and what we capture beyond that is little and known.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::{Kind, MIB, text};
use remint::units::{ByteRange, RangeSet};
use std::path::Path;

/// What `partclone.NAME` takes for used: the `+` lines of its domain log, hexadecimal position and size.
fn witness(program: &str, image: &Path) -> RangeSet {
    let domain = image.with_extension("domain");
    let log = image.with_extension("log");
    lab::run(
        program,
        &["-D", "--offset_domain=0", "-s", text(image), "-o", text(&domain), "-L", text(&log), "-q"],
    );
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let used = std::fs::read_to_string(domain).unwrap();
    used.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [position, size, "+"] = words.as_slice() else { return None };
            ByteRange::at(number(position), number(size))
        })
        .collect()
}

fn outside(of: &RangeSet, inside: &RangeSet) -> RangeSet {
    let mut rest = inside.clone();
    of.iter().for_each(|range| rest.remove(range));
    rest
}

#[test]
fn what_partclone_takes_for_used_is_captured_and_little_else() {
    // What we capture beyond partclone's map, in KiB at most: lists of free blocks that XFS keeps, the backup boot
    // sector of NTFS.
    let kinds = [
        ("partclone.extfs", Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F"] }, 0),
        ("partclone.extfs", Kind { name: "ext3", family: "ext4", make: &["mkfs.ext3", "-q", "-F"] }, 0),
        ("partclone.xfs", Kind { name: "xfs", family: "xfs", make: &["mkfs.xfs", "-q", "-f"] }, 256),
        ("partclone.ntfs", Kind { name: "ntfs", family: "ntfs", make: &["mkntfs", "-q", "-F", "-Q"] }, 4),
        ("partclone.fat", Kind { name: "fat32", family: "fat", make: &["mkfs.fat", "-F", "32"] }, 0),
    ];
    let folder = lab::folder();
    let files = folder.path().join("files");
    lab::real_files(&files, 12 * MIB);
    for (program, kind, beyond_kib) in kinds {
        let image = folder.path().join(format!("{}.img", kind.name));
        kind.build(&image, 300 * MIB, &files);
        let reader = remint::linux::DiskReader::open(&image).unwrap();
        let ours = remint::filesystem::read(&reader).unwrap().unwrap().used.unwrap();
        let theirs = witness(program, &image);
        assert!(theirs.total_bytes() > 12 * MIB, "{}: partclone saw nothing", kind.name);
        assert!(
            outside(&ours, &theirs).is_empty(),
            "{}: not captured: {:?}",
            kind.name,
            outside(&ours, &theirs)
        );
        let beyond = outside(&theirs, &ours);
        assert!(beyond.total_bytes() <= beyond_kib << 10, "{}: only captured by us: {beyond:?}", kind.name);
    }
}
