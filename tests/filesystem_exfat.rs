//! exFAT: the used map is what its own tools count, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod lab;

use lab::{Loop, MIB, Noise, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::{Reading, read};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file that holds an exFAT, made on noise.
struct Image {
    folder: tempfile::TempDir,
    path: PathBuf,
}

type Files = BTreeMap<String, (u64, String)>;

/// Mounts a volume with the driver in user space, and unmounts it behind `work`.
fn mounted<T>(volume: &Path, work: impl FnOnce(&Path) -> T) -> T {
    let device = Loop::new(volume, 0, fs::metadata(volume).unwrap().len(), false);
    let place = tempfile::tempdir().unwrap();
    run("mount.exfat-fuse", &[&device.0, text(place.path())]);
    let done = work(place.path());
    run("umount", &[text(place.path())]);
    done
}

impl Image {
    fn new(size_bytes: u64, options: &[&str]) -> Self {
        let folder = lab::folder();
        let path = folder.path().join("volume");
        lab::noisy_disk(&path, size_bytes);
        run("mkfs.exfat", &[options, &[text(&path)]].concat());
        Self { folder, path }
    }

    /// Files of all sizes, of which some are gone again and others grew in the gaps.
    fn fill(&self) -> Files {
        mounted(&self.path, |place| {
            lab::real_files(&place.join("files"), 6 * MIB);
            let mut noise = Noise::new(3);
            for number in 0..120 {
                let length = noise.below(30_000) as usize;
                fs::write(place.join(format!("small {number}")), noise.bytes(length)).unwrap();
            }
            for number in (0..120).step_by(3) {
                fs::remove_file(place.join(format!("small {number}"))).unwrap();
            }
            fs::write(place.join("in pieces"), noise.bytes(300_000)).unwrap();
            lab::tree(place)
        })
    }

    fn memory(&self) -> MemoryDisk {
        MemoryDisk::from_bytes(&fs::read(&self.path).unwrap())
    }

    fn reading(&self) -> Reading {
        reading(&self.memory())
    }

    /// A number that `dump.exfat` prints.
    fn number(&self, name: &str) -> u64 {
        let dump = run("dump.exfat", &[text(&self.path)]);
        let line = dump.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(':').next().unwrap().trim().parse().unwrap()
    }
}

fn reading(disk: &dyn ReadAt) -> Reading {
    read(disk).unwrap().unwrap()
}

#[test]
fn the_map_is_what_its_tools_count_and_every_file_comes_back_from_it() {
    for (size, options) in [
        (64 * MIB, &["-c", "4K", "-L", "a label"][..]),
        (40 * MIB, &["-c", "512"]),
        (96 * MIB + 512 * 5, &["-c", "64K", "-L", "eleven char"]),
    ] {
        let image = Image::new(size, options);
        let files = image.fill();
        let Reading { file_system, used } = image.reading();
        assert_eq!(file_system.state, State::Clean, "{:?}", file_system.findings);
        assert_eq!(file_system.findings, Vec::<String>::new());
        let used = used.unwrap();
        let cluster = image.number("Cluster size");
        let (total, free) = (image.number("Total Clusters"), image.number("Free Clusters"));
        let heap = image.number("Cluster Heap Offset") * 512;
        let outside = heap + image.number("Volume Length") * 512 - heap - total * cluster;
        assert_eq!(used.total_bytes(), outside + (total - free) * cluster);
        assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::Exfat, cluster));
        assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (size, size));
        let known = run("blkid", &["-p", "-o", "export", text(&image.path)]);
        assert!(known.contains(&format!("UUID={}\n", file_system.uuid.unwrap())), "{known}");
        assert_eq!(file_system.label.as_deref(), options.get(3).copied());

        let target = image.folder.path().join("target");
        lab::noisy_disk(&target, size);
        let (source, file) =
            (File::open(&image.path).unwrap(), File::options().write(true).open(&target).unwrap());
        for range in used.iter() {
            let mut bytes = vec![0; range.length() as usize];
            source.read_exact_at(&mut bytes, range.start()).unwrap();
            file.write_all_at(&bytes, range.start()).unwrap();
        }
        run("fsck.exfat", &["-n", text(&target)]);
        assert_eq!(mounted(&target, lab::tree), files);
    }
}

/// The checksum of a boot region, put where it belongs.
fn seal(disk: &MemoryDisk, first_sector: u64) {
    let region = read_vec(disk, first_sector * 512, 11 * 512).unwrap();
    let counted = region.iter().enumerate().filter(|(index, _)| ![106, 107, 112].contains(index));
    let sum = counted.fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    disk.write_at((first_sector + 11) * 512, &sum.to_le_bytes().repeat(128)).unwrap();
}

#[test]
fn states_and_forms_are_told_apart() {
    let image = Image::new(20 * MIB, &["-c", "4K"]);
    let with = |changes: &[(u64, &[u8])], sealed: bool| {
        let disk = image.memory();
        changes.iter().for_each(|(at, bytes)| disk.write_at(*at, bytes).unwrap());
        if sealed {
            seal(&disk, 0);
        }
        let Reading { file_system, used } = reading(&disk);
        assert_eq!(used.is_some(), file_system.state == State::Clean);
        (file_system.state, file_system.findings.concat())
    };
    let (fat, heap) = (image.number("FAT Offset") * 512, image.number("Cluster Heap Offset") * 512);
    let root = heap + (image.number("Root Cluster") - 2) * 4096;
    for (changes, sealed, expected, word) in [
        (&[][..], true, State::Clean, ""),
        (&[(106, &[2][..])], false, State::Dirty, "was not unmounted"),
        (&[(106, &[4])], false, State::Dirty, "errors of the disk"),
        (&[(110, &[2])], true, State::Unsupported, "TexFAT"),
        (&[(105, &[2])], true, State::Unsupported, "revision 2.00"),
        (&[(1000, &[1])], false, State::Damaged, "checksum"),
        (&[(92, &[0xFF; 4])], true, State::Damaged, "4294967295 clusters"),
        (&[(96, &[0xFF; 4])], true, State::Damaged, "no entry of the allocation bitmap"),
        (&[(12 * 512 + 7, &[1])], false, State::Clean, "backup of its boot region is damaged"),
        (&[(heap, &[0])], false, State::Damaged, "are free or bad"),
        (&[(root + 32, &[0x01])], false, State::Damaged, "no entry of the allocation bitmap"),
        (&[(root + 64, &[0x01])], false, State::Damaged, "no entry of the up-case table"),
        (&[(root + 32 + 24, &[1, 0])], false, State::Damaged, "too few"),
        (&[(root + 64 + 24, &[0xFF; 8])], false, State::Damaged, "cannot have"),
        // The chain of the up-case table, which has two clusters, ends in a free one.
        (&[(fat + 4 * 3, &[0; 4])], false, State::Damaged, "ends at 0x0"),
    ] {
        let (state, finding) = with(changes, sealed);
        assert_eq!(state, expected, "{changes:?}: {finding}");
        assert!(finding.contains(word), "{finding}");
        assert!(state != State::Dirty || finding.contains("--when-dirty raw"), "{finding}");
    }
    let bytes = fs::read(&image.path).unwrap();
    let cut = reading(&MemoryDisk::from_bytes(&bytes[..(19 * MIB) as usize])).file_system;
    assert!(cut.state == State::Damaged && cut.findings[0].contains("the volume only"), "{:?}", cut.findings);
}

#[test]
fn a_bitmap_in_pieces_is_read_along_its_chain_and_bad_clusters_are_not() {
    let image = Image::new(20 * MIB, &["-c", "512"]);
    let disk = image.memory();
    let before = reading(&disk).used.unwrap();
    let (fat, heap) = (image.number("FAT Offset") * 512, image.number("Cluster Heap Offset") * 512);
    let place = |cluster: u64| ByteRange::at(heap + (cluster - 2) * 512, 512).unwrap();
    let set = |cluster: u64, at: u64| {
        let (byte, bit) = ((cluster - 2) / 8, (cluster - 2) % 8);
        // The bitmap begins in cluster 2; its second cluster may have moved.
        let at = if byte < 512 { heap + byte } else { at + byte - 512 };
        let old = read_vec(&disk, at, 1).unwrap()[0];
        disk.write_at(at, &[old | 1 << bit]).unwrap();
    };
    // The second cluster of the bitmap goes far away, and leaves noise where it was.
    let far = 20_000u64;
    let entry = read_vec(&disk, fat + 3 * 4, 4).unwrap();
    let second = read_vec(&disk, place(3).start(), 512).unwrap();
    disk.write_at(fat + 2 * 4, &(far as u32).to_le_bytes()).unwrap();
    disk.write_at(fat + far * 4, &entry).unwrap();
    disk.write_at(place(far).start(), &second).unwrap();
    disk.write_at(place(3).start(), &[0xA5; 512]).unwrap();
    // Their bits are in the third and further ones, which did not move.
    set(far, place(3).start());
    let bad = 300u64;
    set(bad, 0);
    let bits = |used: &RangeSet| used.total_bytes() / 512;
    let with_bad = reading(&disk);
    assert_eq!(with_bad.file_system.state, State::Clean, "{:?}", with_bad.file_system.findings);
    let used = with_bad.used.unwrap();
    assert!(used.contains(place(far)) && used.contains(place(bad)));
    assert_eq!(bits(&used), bits(&before) + 2);
    disk.write_at(fat + bad * 4, &0xFFFF_FFF7u32.to_le_bytes()).unwrap();
    let used = reading(&disk).used.unwrap();
    assert!(!used.contains(place(bad)));
    assert_eq!(bits(&used), bits(&before) + 1);
}

/// Bytes where the boot region, the table, the bitmap and the root directory stand: nothing panics or hangs, and
/// the map lies in the volume.
#[test]
fn random_damage_is_survived() {
    let image = Image::new(20 * MIB, &["-c", "4K", "-L", "label"]);
    image.fill();
    let disk = image.memory();
    let (fat, heap) = (image.number("FAT Offset") * 512, image.number("Cluster Heap Offset") * 512);
    let places = [(0, 512), (fat, 4096), (heap, 8 * 4096)];
    let mut random = Noise::new(9);
    let mut damaged = 0;
    for round in 0..10_000 {
        let (start, length) = places[round % places.len()];
        let at = start + random.below(length);
        let old = read_vec(&disk, at, 1).unwrap();
        disk.write_at(at, &random.bytes(1)).unwrap();
        if round % 2 == 0 {
            seal(&disk, 0);
        }
        if let Some(Reading { file_system, used }) = read(&disk).unwrap() {
            damaged += u32::from(file_system.state == State::Damaged);
            assert!(file_system.size_bytes <= disk.size_bytes());
            assert!(used.is_none_or(|used| used.end() <= file_system.size_bytes));
        }
        disk.write_at(at, &old).unwrap();
        seal(&disk, 0);
    }
    assert!(damaged > 500, "{damaged} were seen");
}
