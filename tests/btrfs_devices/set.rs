//! btrfs file systems of several devices in plain files: made, filled and listed by the tools of btrfs and the kernel, which
//! are the witnesses.

use super::lab::{self, Loop, MIB, Noise, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::{BtrfsSource, Reading, read_btrfs_devices};
use remint::linux::DiskReader;
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What goes to one device before the next one follows.
const TURN: u64 = 64 << 10;
pub const NAMES: [&str; 4] = ["d0-p1", "d1-p1", "d2-p1", "d3-p1"];

pub struct Set {
    pub folder: TempDir,
    pub paths: Vec<PathBuf>,
    /// Of the first one.
    pub bytes: u64,
}

/// A chunk: where it begins, its length, its profile, and for each stripe the device and where it begins there.
struct Chunk {
    start: u64,
    length: u64,
    profile: String,
    stripes: Vec<(usize, u64)>,
}

impl Chunk {
    /// Every place that has to stay with a sector, by the definition of the profile: the device and the byte on it.
    fn places(&self, at: u64) -> Vec<(usize, u64)> {
        let count = self.stripes.len() as u64;
        let (turn, within) = ((at - self.start) / TURN, (at - self.start) % TURN);
        let (row, holders): (u64, Vec<u64>) = match self.profile.as_str() {
            "RAID0" => (turn / count, vec![turn % count]),
            "RAID10" => {
                let pair = turn % (count / 2) * 2;
                (turn / (count / 2), vec![pair, pair + 1])
            }
            "RAID5" => (turn / (count - 1), (0..count).collect()),
            "RAID6" => (turn / (count - 2), (0..count).collect()),
            _ => (turn, (0..count).collect()),
        };
        let place = |holder: u64| {
            let (device, start) = self.stripes[holder as usize];
            (device, start + row * TURN + within)
        };
        holders.into_iter().map(place).collect()
    }
}

/// The first key of an item in a dump, such as `(22052864 METADATA_ITEM 0)`.
fn key(line: &str) -> Option<(&str, &str, &str)> {
    let inner = line.split_once("key (")?.1.split_once(')')?.0;
    let mut words = inner.split(' ');
    Some((words.next()?, words.next()?, words.next()?))
}

impl Set {
    /// `options` are those of mkfs.btrfs.
    pub fn new(count: usize, bytes: u64, options: &str) -> Self {
        let folder = lab::folder();
        Self::in_folder(folder, &vec![bytes; count], options)
    }

    /// On devices of these sizes.
    pub fn of_sizes(sizes: &[u64], options: &str) -> Self {
        Self::in_folder(lab::folder(), sizes, options)
    }

    fn in_folder(folder: TempDir, sizes: &[u64], options: &str) -> Self {
        let paths: Vec<PathBuf> =
            (0..sizes.len()).map(|number| folder.path().join(format!("device-{number}"))).collect();
        for (path, bytes) in paths.iter().zip(sizes) {
            File::create(path).unwrap().set_len(*bytes).unwrap();
        }
        let options = ["-q", "-f"].into_iter().chain(options.split_whitespace());
        run("mkfs.btrfs", &options.chain(paths.iter().map(|path| text(path))).collect::<Vec<_>>());
        Self { folder, paths, bytes: sizes[0] }
    }

    /// The same, filled.
    pub fn filled(count: usize, bytes: u64, options: &str) -> Self {
        let set = Self::new(count, bytes, options);
        set.mounted("rw", |at| fill(at, 7, 300));
        set
    }

    pub fn mounted<T>(&self, options: &str, act: impl FnOnce(&Path) -> T) -> T {
        let places: Vec<(&Path, u64, u64)> =
            self.paths.iter().map(|path| (path.as_path(), 0, length(path))).collect();
        mounted(&places, options, act)
    }

    pub fn disks(&self) -> Vec<DiskReader> {
        open(&self.paths)
    }

    pub fn readings(&self) -> Vec<Reading> {
        read_all(&self.disks())
    }

    fn dump(&self, tree: &str) -> String {
        let paths: Vec<&str> = self.paths.iter().map(|path| text(path)).collect();
        run("btrfs", &[&["inspect-internal", "dump-tree", "-t", tree], paths.as_slice()].concat())
    }

    fn chunks(&self) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let number = |text: &str| text.parse::<u64>().unwrap();
        for line in self.dump("chunk").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (key(line), words.as_slice()) {
                (Some((_, "CHUNK_ITEM", start)), _) => {
                    let (start, profile) = (number(start), String::new());
                    chunks.push(Chunk { start, length: 0, profile, stripes: Vec::new() });
                }
                (None, ["length", length, "owner", _, "stripe_len", _, "type", kind]) => {
                    let chunk = chunks.last_mut().unwrap();
                    chunk.length = number(length);
                    let profile = kind.split('|').find(|word| word.starts_with("RAID") || *word == "DUP");
                    chunk.profile = profile.unwrap_or("single").to_owned();
                }
                (None, ["stripe", _, "devid", device, "offset", at]) => {
                    let device = number(device) as usize - 1;
                    chunks.last_mut().unwrap().stripes.push((device, number(at)));
                }
                _ => {}
            }
        }
        chunks
    }

    /// Where a logical address stands: the devices and the bytes on them.
    pub fn places_of(&self, at: u64) -> Vec<(usize, u64)> {
        self.chunks().iter().rfind(|chunk| chunk.start <= at).unwrap().places(at)
    }

    /// Logical address of the first leaf of a tree, by the number of that.
    pub fn leaf_of(&self, tree: &str) -> u64 {
        let dump = self.dump(tree);
        let line = dump.lines().find(|line| line.starts_with("leaf ")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// True where some chunks do not have a stripe of every device.
    pub fn has_narrow_chunks(&self) -> bool {
        self.chunks().iter().any(|chunk| chunk.stripes.len() < self.paths.len())
    }

    /// The profiles of the chunks.
    pub fn profiles(&self) -> Vec<String> {
        self.chunks().into_iter().map(|chunk| chunk.profile).collect()
    }

    /// What the extent tree has, by the tool of btrfs, at every place; the superblocks and the first MiB. Of each device.
    fn used_by_the_tool(&self) -> Vec<RangeSet> {
        let field = |name: &str| -> u64 {
            let dump = run("btrfs", &["inspect-internal", "dump-super", text(&self.paths[0])]);
            let line = dump.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let (node, sector) = (field("nodesize"), field("sectorsize"));
        let chunks = self.chunks();
        let dump = self.dump("extent");
        let mut used: Vec<Vec<ByteRange>> = self.paths.iter().map(|_| vec![ByteRange::new(0, MIB)]).collect();
        for (start, kind, offset) in dump.lines().filter_map(key) {
            let (start, length): (u64, u64) = match kind {
                "EXTENT_ITEM" => (start.parse().unwrap(), offset.parse().unwrap()),
                "METADATA_ITEM" => (start.parse().unwrap(), node),
                _ => continue,
            };
            let chunk = chunks.iter().rfind(|chunk| chunk.start <= start).unwrap();
            assert!(start + length <= chunk.start + chunk.length);
            for at in (start..start + length).step_by(sector as usize) {
                for (device, place) in chunk.places(at) {
                    used[device].push(ByteRange::at(place, sector).unwrap());
                }
            }
        }
        let mirrors = [64 << 10, 64 << 20, 256 << 30].map(|at: u64| ByteRange::at(at, 4096).unwrap());
        let with_mirrors = |(used, path): (Vec<ByteRange>, &PathBuf)| {
            let bytes = length(path);
            used.into_iter().chain(mirrors.into_iter().filter(|place| place.end() <= bytes)).collect()
        };
        used.into_iter().zip(&self.paths).map(with_mirrors).collect()
    }

    /// Clean, and in use is exactly what the extent tree has.
    pub fn assert_map(&self, what: &str) -> Vec<Reading> {
        let readings = self.readings();
        for ((reading, expected), path) in readings.iter().zip(self.used_by_the_tool()).zip(&self.paths) {
            let found = &reading.file_system;
            assert_eq!(found.state, State::Clean, "{what}: {:?}", found.findings);
            assert_eq!(found.kind, FileSystemKind::BtrfsSet);
            assert_eq!(found.findings.len(), 1, "{what}: {:?}", found.findings);
            assert_eq!((found.size_bytes, found.minimum_bytes), (length(path), length(path)));
            let used = reading.used.as_ref().unwrap();
            assert_eq!(found.used_bytes, Some(used.total_bytes()));
            assert!(*used == expected, "{what}");
        }
        readings
    }

    /// The files without their zeros, in memory.
    pub fn in_memory(&self) -> Vec<MemoryDisk> {
        let copied = |file: &DiskReader| {
            let disk = MemoryDisk::new(file.size_bytes());
            for at in (0..file.size_bytes()).step_by(65536) {
                let bytes = read_vec(file, at, 65536).unwrap();
                if bytes.iter().any(|byte| *byte != 0) {
                    disk.write_at(at, &bytes).unwrap();
                }
            }
            disk
        };
        self.disks().iter().map(copied).collect()
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn open(paths: &[PathBuf]) -> Vec<DiskReader> {
    paths.iter().map(|path| DiskReader::open(path).unwrap()).collect()
}

/// Reads devices in files together, all of them wanted.
pub fn read_files(paths: &[PathBuf]) -> Vec<Reading> {
    read_all(&open(paths))
}

/// Reads devices together, all of them wanted.
pub fn read_all<D: ReadAt>(disks: &[D]) -> Vec<Reading> {
    let readings = read_some(disks, disks.len());
    readings.into_iter().map(|reading| reading.expect("a device is recognised")).collect()
}

/// The same, of which so many were recognised as devices of several.
pub fn read_some<D: ReadAt>(disks: &[D], devices: usize) -> Vec<Option<Reading>> {
    let sources: Vec<BtrfsSource<'_>> = (0..)
        .zip(disks.iter().zip(NAMES))
        .map(|(number, (volume, name))| BtrfsSource {
            name,
            volume,
            is_chosen: true,
            is_device: number < devices,
        })
        .collect();
    read_btrfs_devices(&sources)
}

/// Changes a superblock, and puts its checksum right.
pub fn change_super(disk: &MemoryDisk, change: impl FnOnce(&mut [u8])) {
    change_node(disk, 64 << 10, 4096, change);
}

/// Changes so many bytes, and puts the checksum right that they begin with.
pub fn change_node(disk: &MemoryDisk, at: u64, bytes: usize, change: impl FnOnce(&mut [u8])) {
    let mut node = read_vec(disk, at, bytes).unwrap();
    change(&mut node);
    seal(&mut node);
    disk.write_at(at, &node).unwrap();
}

/// Mounts a file system whose devices lie at these places: file, start, length. Of those nothing is known to the kernel
/// afterwards, however `act` ends.
pub fn mounted<T>(places: &[(&Path, u64, u64)], options: &str, act: impl FnOnce(&Path) -> T) -> T {
    let devices: Vec<Loop> =
        places.iter().map(|(file, start, length)| Loop::new(file, *start, *length, false)).collect();
    let nodes: Vec<&str> = devices.iter().map(|device| device.0.as_str()).collect();
    run("btrfs", &[&["device", "scan"], nodes.as_slice()].concat());
    let at = tempfile::tempdir().unwrap();
    run("mount", &["-t", "btrfs", "-o", options, nodes[0], text(at.path())]);
    let _unmounted = Unmount { at: at.path(), nodes: &nodes };
    act(at.path())
}

/// Unmounts when it is dropped.
struct Unmount<'a> {
    at: &'a Path,
    nodes: &'a [&'a str],
}

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        // A program that another test starts holds this one's files open for a moment.
        for _ in 0..100 {
            if Command::new("umount").arg(self.at).output().is_ok_and(|done| done.status.success()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = Command::new("btrfs").args(["device", "scan", "--forget"]).args(self.nodes).output();
    }
}

fn forget(nodes: &[&str]) {
    lab::run_allowing("btrfs", &[&["device", "scan", "--forget"], nodes].concat(), &[0, 1]);
}

/// Has the tool of btrfs check a file system whose devices lie at these places.
pub fn check(places: &[(&Path, u64, u64)]) {
    let devices: Vec<Loop> =
        places.iter().map(|(file, start, length)| Loop::new(file, *start, *length, false)).collect();
    let nodes: Vec<&str> = devices.iter().map(|device| device.0.as_str()).collect();
    run("btrfs", &["check", "--readonly", "--check-data-csum", nodes[0]]);
    forget(&nodes);
}

/// Files of many sizes in a subvolume and outside of it, three of four deleted again.
pub fn fill(folder: &Path, seed: u64, files: u64) {
    let mut noise = Noise::new(seed);
    run("btrfs", &["subvolume", "create", text(&folder.join("one"))]);
    let place = |number: u64| folder.join(["", "one"][(number % 2) as usize]).join(format!("file-{number}"));
    for number in 0..files {
        let length = (noise.below(3) * noise.below(200_000) + 1) as usize;
        fs::write(place(number), noise.bytes(length)).unwrap();
        if number % 100 == 0 {
            run("sync", &["-f", text(folder)]);
        }
    }
    fs::write(folder.join("large"), noise.bytes(7_000_001)).unwrap();
    run("sync", &["-f", text(folder)]);
    (0..files).filter(|number| number % 4 != 0).for_each(|number| fs::remove_file(place(number)).unwrap());
    run("sync", &["-f", text(folder)]);
}

/// A field of a superblock.
pub fn super_field(path: &Path, name: &str) -> u64 {
    let dump = run("btrfs", &["inspect-internal", "dump-super", text(path)]);
    let fields: BTreeMap<&str, &str> =
        dump.lines().filter_map(|line| line.split_once(char::is_whitespace)).collect();
    fields[name].split_whitespace().next().unwrap().parse().unwrap()
}

/// Puts the checksum of a superblock or a node right.
pub fn seal(bytes: &mut [u8]) {
    let sum = !remint::units::checksum::crc32c(!0, &bytes[32..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
}
