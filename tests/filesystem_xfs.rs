//! The XFS reader against file systems made, filled, damaged and judged by XFS's own tools and the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

#[path = "filesystem_xfs/image.rs"]
mod image;

use image::{FileDisk, Image, MIB, Random, Recorder, contents, fill, memory_copy, run};
use remint::blockio::{MemoryDisk, WriteAt, read_vec};
use remint::filesystem::read;
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;

#[test]
fn the_map_of_every_mountable_form_is_that_of_xfs_db() {
    let forms = [
        "-b size=1024 -d agcount=7 -L remint",
        "-b size=2048 -m reflink=0,rmapbt=0 -i sparse=0",
        "-b size=4096 -m reflink=1,rmapbt=1,bigtime=1,inobtcount=1 -i sparse=1,nrext64=1",
        "-b size=4096 -s size=4096 -m finobt=0,reflink=0",
        "-b size=16384",
        "-b size=65536",
        "-b size=4096 -l su=256k",
    ];
    std::thread::scope(|scope| {
        for form in forms {
            scope.spawn(move || {
                let image = Image::new(512 * MIB, form);
                image.assert_map();
                let mount = image.mount();
                fill(&mount.at, &mut Random(7), 900);
                mount.unmount();
                let reading = image.assert_map();
                assert_eq!(reading.file_system.minimum_bytes, reading.file_system.size_bytes);
                assert!(image.logprint_says_clean());
            });
        }
    });
}

#[test]
fn the_map_of_every_version_4_form_is_that_of_xfs_db() {
    for form in [
        "-m crc=0 -b size=512 -d agcount=2",
        "-m crc=0 -b size=4096 -l version=1",
        "-m crc=0 -b size=1024 -s size=1024 -l su=32k",
        "-m crc=0 -b size=65536 -l lazy-count=0",
    ] {
        let image = Image::fragmented(form, 3000);
        let reading = image.assert_map();
        assert!(reading.used.unwrap().iter().count() > 100, "{form}: the free space is in pieces");
    }
}

#[test]
fn identity_is_that_of_the_tools() {
    let image =
        Image::new(512 * MIB, "-m uuid=01234567-89ab-cdef-0123-456789abcdef -L twelve-chars -b size=1024");
    let file_system = image.reading().file_system;
    assert_eq!(file_system.kind, FileSystemKind::Xfs);
    assert_eq!(file_system.uuid.as_deref(), Some("01234567-89ab-cdef-0123-456789abcdef"));
    assert_eq!(file_system.label.as_deref(), Some("twelve-chars"));
    assert_eq!((file_system.block_size_bytes, file_system.size_bytes), (1024, 512 * MIB));

    // The UUID can be changed while the metadata keeps the old one.
    run("xfs_admin", &["-U", "fedcba98-7654-3210-fedc-ba9876543210", image.path()]);
    let reading = image.assert_map();
    assert_eq!(reading.file_system.uuid.as_deref(), Some("fedcba98-7654-3210-fedc-ba9876543210"));
}

#[test]
fn many_groups_and_groups_beyond_16_tib_are_placed_right() {
    let many = Image::new(5 << 30, "-d agcount=300 -l size=10m");
    let mount = many.mount();
    fill(&mount.at, &mut Random(3), 600);
    mount.unmount();
    many.assert_map();

    let huge = Image::new(20 << 40, "-d agsize=512g -l size=64m,agnum=39");
    let mount = huge.mount();
    fill(&mount.at, &mut Random(4), 400);
    mount.unmount();
    let used = huge.assert_map().used.unwrap();
    assert!(used.total_bytes() < 200 * MIB);
    assert!(used.iter().any(|range| range.start() > 17 << 40 && range.length() > 60 * MIB), "the log");
}

#[test]
fn the_free_space_of_the_kernel_is_ours() {
    let image = Image::new(512 * MIB, "-m rmapbt=1,reflink=1");
    let mount = image.mount();
    fill(&mount.at, &mut Random(9), 900);
    mount.unmount();
    let reading = image.reading();
    let mount = image.mount();
    let text = run("xfs_io", &["-r", "-c", "fsmap", mount.at.to_str().unwrap()]);
    mount.unmount();
    let free: RangeSet = text
        .lines()
        .filter(|line| line.contains("free space"))
        .map(|line| {
            let range = line.split(['[', ']']).nth(1).unwrap();
            let (first, last) = range.split_once("..").unwrap();
            let sector = |text: &str| text.trim().parse::<u64>().unwrap();
            ByteRange::new(sector(first) * 512, (sector(last) + 1) * 512)
        })
        .collect();
    assert_eq!(reading.used.unwrap().gaps(ByteRange::new(0, 512 * MIB)), free);
}

#[test]
fn what_is_in_use_is_enough_to_restore_every_file_onto_noise() {
    for form in ["-b size=1024 -m rmapbt=1", "-b size=4096"] {
        let image = Image::new(512 * MIB, form);
        let mount = image.mount();
        fill(&mount.at, &mut Random(21), 900);
        let expected = contents(&mount.at);
        mount.unmount();
        let used = image.reading().used.unwrap();
        let target = Image::empty(512 * MIB);
        let (source, file) =
            (FileDisk::open(&image.path), File::options().write(true).open(&target.path).unwrap());
        let noise = Random(5).bytes(1 << 20);
        (0..512).for_each(|piece| file.write_all_at(&noise, piece * MIB).unwrap());
        for range in used.iter() {
            let bytes = read_vec(&source, range.start(), range.length() as usize).unwrap();
            file.write_all_at(&bytes, range.start()).unwrap();
        }
        run("xfs_repair", &["-n", target.path()]);
        let mount = target.mount();
        let found = contents(&mount.at);
        mount.unmount();
        let strip = |files: BTreeMap<PathBuf, Vec<u8>>, image: &Image| -> BTreeMap<PathBuf, Vec<u8>> {
            let at = image.dir.path().to_owned();
            files
                .into_iter()
                .map(|(path, bytes)| (path.strip_prefix(&at).unwrap().to_owned(), bytes))
                .collect()
        };
        assert!(strip(found, &target) == strip(expected, &image), "{form}");
    }
}

#[test]
fn a_log_that_would_be_replayed_is_dirty_until_it_is() {
    for form in ["-b size=4096", "-b size=1024 -l su=64k", "-b size=4096 -s size=4096"] {
        let image = Image::new(512 * MIB, form);
        let mount = image.mount();
        fs::write(mount.at.join("kept"), vec![1; 100_000]).unwrap();
        File::open(mount.at.join("kept")).unwrap().sync_all().unwrap();
        // While it is mounted the image is what a snapshot would be.
        let snapshot = image.reading();
        assert_eq!(snapshot.file_system.state, State::Dirty, "{form}");
        // A frozen file system, the state of most snapshots, keeps work in its log on purpose.
        run("xfs_freeze", &["-f", mount.at.to_str().unwrap()]);
        let frozen = image.state();
        run("xfs_freeze", &["-u", mount.at.to_str().unwrap()]);
        assert_eq!(frozen, State::Dirty, "{form}");
        mount.crash();
        let reading = image.reading();
        assert_eq!(reading.file_system.state, State::Dirty, "{form}");
        assert!(!image.logprint_says_clean());
        assert_eq!((reading.used, reading.file_system.used_bytes), (None, None));
        let finding = &reading.file_system.findings[0];
        assert!(finding.contains("unmount it once") && finding.contains("--when-dirty raw"), "{finding}");
        image.mount().unmount();
        image.assert_map();
    }
}

#[test]
fn a_log_without_records_is_clean_only_if_it_is_all_zeros() {
    let image = Image::new(512 * MIB, "-l size=10m -b size=4096");
    let mount = image.mount();
    fill(&mount.at, &mut Random(2), 100);
    mount.crash();
    let text = run("xfs_db", &["-r", "-c", "sb 0", "-c", "p logstart agblklog agblocks", image.path()]);
    let fields: Vec<u64> =
        text.lines().map(|line| line.split('=').nth(1).unwrap().trim().parse().unwrap()).collect();
    let (group, block) = (fields[0] >> fields[1], fields[0] & ((1 << fields[1]) - 1));
    let log = (group * fields[2] + block) * 4096;

    let disk = memory_copy(&image.path);
    let state = |disk: &MemoryDisk| read(disk).unwrap().unwrap().file_system.state;
    assert_eq!(state(&disk), State::Dirty);
    disk.write_zeros(ByteRange::at(log, 512).unwrap()).unwrap();
    assert_eq!(state(&disk), State::Damaged, "the start of the log is lost");
    disk.write_zeros(ByteRange::at(log, 10 * MIB).unwrap()).unwrap();
    assert_ne!(state(&disk), State::Dirty, "there is nothing to replay");

    // What xfs_repair leaves where it threw the log away.
    run("xfs_repair", &["-L", image.path()]);
    image.assert_map();

    let disk = memory_copy(&image.path);
    disk.write_at(log + 304, &[0xAB; 16]).unwrap();
    assert_eq!(state(&disk), State::Damaged, "the log is that of another file system");
}

#[test]
fn the_log_is_judged_like_the_tools_do_wherever_its_head_is() {
    // The options, and how many files a round writes at least.
    let forms = [
        ("-l size=6m -b size=4096", 120),
        ("-l size=6m,su=32k -b size=1024", 20),
        ("-l size=18m,su=256k -b size=4096", 10),
        ("-l size=6m -b size=4096 -s size=4096", 60),
    ];
    std::thread::scope(|scope| {
        for (seed, (form, least)) in (77u64..).zip(forms) {
            scope.spawn(move || {
                let image = Image::new(512 * MIB, form);
                let mut random = Random(seed);
                let mut wraps = 0;
                let mut cycle = 0;
                for round in 0..24 {
                    let mount = image.mount();
                    let files = least + random.below(least);
                    for file in 0..files {
                        let path = mount.at.join(format!("{file:0200}"));
                        fs::write(&path, random.bytes(10)).unwrap();
                        File::open(&path).unwrap().sync_all().unwrap();
                        if random.below(3) > 0 {
                            fs::remove_file(&path).unwrap();
                        }
                    }
                    let crash = random.below(3) == 0;
                    if crash {
                        mount.crash();
                    } else {
                        mount.unmount();
                    }
                    assert_eq!(image.logprint_says_clean(), !crash, "{form}, round {round}");
                    if crash {
                        assert_eq!(image.state(), State::Dirty, "{form}, round {round}");
                        image.mount().unmount();
                    }
                    image.assert_map();
                    let text = run("xfs_logprint", &["-d", image.path()]);
                    let now = highest_cycle(&text);
                    wraps += u32::from(now > cycle && cycle > 0);
                    cycle = now;
                }
                assert!(wraps > 1, "{form}: the log went round {wraps} times");
            });
        }
    });
}

/// From lines like `8 HEADER Cycle 2 tail 1:000123 len 3584 ops 5`.
fn highest_cycle(dump: &str) -> u64 {
    let words =
        dump.lines().filter_map(|line| line.split("Cycle ").nth(1)?.split_whitespace().next()?.parse().ok());
    words.max().unwrap_or(0)
}

#[test]
fn forms_that_this_volume_alone_does_not_hold_are_unsupported() {
    for (options, word) in [("-l logdev=DIR/other,size=64m", "log"), ("-r rtdev=DIR/other", "realtime")] {
        let image = Image::empty(512 * MIB);
        let other = image.dir.path().join("other");
        File::create(&other).unwrap().set_len(100 * MIB).unwrap();
        let options = options.replace("DIR", image.dir.path().to_str().unwrap());
        let arguments: Vec<&str> =
            ["-q"].into_iter().chain(options.split_whitespace()).chain([image.path()]).collect();
        run("mkfs.xfs", &arguments);
        let reading = image.reading();
        assert_eq!(reading.file_system.state, State::Unsupported);
        assert!(reading.file_system.findings[0].contains(word), "{:?}", reading.file_system.findings);
        assert!(reading.file_system.uuid.is_some() && reading.used.is_none());
    }
}

#[test]
fn flags_in_the_superblock_are_heeded() {
    let image = Image::new(512 * MIB, "-b size=4096");
    let with = |command: &str| {
        let copy = image.dir.path().join("copy");
        run("cp", &["--sparse=always", image.path(), copy.to_str().unwrap()]);
        run("xfs_db", &["-x", "-c", "sb 0", "-c", command, copy.to_str().unwrap()]);
        let file_system = read(&FileDisk::open(&copy)).unwrap().unwrap().file_system;
        (file_system.state, file_system.findings.concat())
    };
    let (state, finding) = with("write -d features_incompat 0x1b");
    assert!(state == State::Damaged && finding.contains("needsrepair"), "{state}: {finding}");
    let (state, finding) = with("write -d features_incompat 0x10b");
    assert!(state == State::Unsupported && finding.contains("0x100"), "{state}: {finding}");
    let (state, finding) = with("write -d features_ro_compat 0x8000000f");
    assert!(state == State::Unsupported && finding.contains("ro_compat"), "{state}: {finding}");
    let (state, finding) = with("write -d inprogress 1");
    assert!(state == State::Damaged && finding.contains("sb_inprogress"), "{state}: {finding}");
    let (state, finding) = with("write -d agblocks 999");
    assert!(state == State::Damaged && finding.contains("999"), "{state}: {finding}");
}

#[test]
fn contradictions_are_damage_with_their_numbers() {
    let image = Image::new(512 * MIB, "-b size=4096");
    let with = |commands: &[&str]| {
        let copy = image.dir.path().join("copy");
        run("cp", &["--sparse=always", image.path(), copy.to_str().unwrap()]);
        let arguments: Vec<&str> = ["-x"]
            .into_iter()
            .chain(commands.iter().flat_map(|c| ["-c", c]))
            .chain([copy.to_str().unwrap()])
            .collect();
        run("xfs_db", &arguments);
        let file_system = read(&FileDisk::open(&copy)).unwrap().unwrap().file_system;
        (file_system.state, file_system.findings.concat())
    };
    let (state, finding) = with(&["agf 1", "write -d freeblks 1234567"]);
    assert!(state == State::Damaged && finding.contains("counts 1234567 free blocks"), "{state}: {finding}");
    let (state, finding) = with(&["agf 2", "write -d length 5"]);
    assert!(state == State::Damaged && finding.contains("5 blocks"), "{state}: {finding}");
    let (state, finding) = with(&["agf 0", "addr bnoroot", "write -d recs[1].startblock 1"]);
    assert!(state == State::Damaged && finding.contains("from 1 in one"), "{state}: {finding}");
    let (state, finding) = with(&["agf 0", "addr bnoroot", "write -d numrecs 60000"]);
    assert!(state == State::Damaged && finding.contains("60000"), "{state}: {finding}");
    let (state, finding) = with(&["agf 0", "addr bnoroot", "write -c owner 3"]);
    assert!(state == State::Damaged && finding.contains("checksum"), "{state}: {finding}");
    let (state, finding) = with(&["sb 1", "write -d agblocks 77"]);
    assert!(state == State::Clean && finding.contains("1 of the 4 superblock copies"), "{state}: {finding}");

    let short = FileDisk(File::open(&image.path).unwrap(), 512 * MIB - 4096);
    let reading = read(&short).unwrap().unwrap();
    assert_eq!(reading.file_system.state, State::Damaged);
    assert!(reading.file_system.findings[0].contains("volume"), "{:?}", reading.file_system.findings);
}

/// Not only without panic: a reading that is called clean has the map that it had before.
#[test]
fn a_flipped_byte_is_noticed_or_changes_nothing() {
    for (form, files) in [("-b size=1024 -d agcount=3", 1500), ("-m crc=0 -b size=512 -d agcount=2", 3000)] {
        let image = Image::fragmented(form, files);
        let disk = memory_copy(&image.path);
        let recorder = Recorder(&disk, Mutex::default());
        let before = read(&recorder).unwrap().unwrap();
        assert_eq!(before.file_system.state, State::Clean);
        let reads = recorder.1.into_inner().unwrap();
        let mut random = Random(0x5EED);
        let mut noticed = 0;
        for _ in 0..3000 {
            let place = reads[random.below(reads.len() as u64) as usize];
            let at = place.start() + random.below(place.length());
            let byte = read_vec(&disk, at, 1).unwrap();
            disk.write_at(at, &[byte[0] ^ (1 + random.below(255)) as u8]).unwrap();
            if let Some(after) = read(&disk).unwrap() {
                if after.file_system.state == State::Clean {
                    assert_eq!(after.used, before.used, "{form}: flipped byte {at}");
                } else {
                    noticed += 1;
                    assert!(after.used.is_none());
                    assert!(!after.file_system.findings.is_empty());
                }
            }
            disk.write_at(at, &byte).unwrap();
        }
        assert!(noticed > 500, "{form}: {noticed} flips were noticed");
    }
}

#[test]
fn other_volumes_are_not_xfs() {
    assert!(read(&MemoryDisk::new(0)).unwrap().is_none());
    assert!(read(&MemoryDisk::from_bytes(b"XF")).unwrap().is_none());
    assert!(read(&MemoryDisk::new(MIB)).unwrap().is_none());
    let cut = read(&MemoryDisk::from_bytes(b"XFSB")).unwrap().unwrap();
    assert_eq!((cut.file_system.kind, cut.file_system.state), (FileSystemKind::Xfs, State::Damaged));
}
