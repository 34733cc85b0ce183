//! btrfs images in memory-backed files: made, filled and listed by the tools of btrfs, which are the witnesses.

use super::lab::{self, MIB, Mount, Noise, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::{Reading, read};
use remint::linux::DiskReader;
use remint::schema::State;
use remint::units::{ByteRange, RangeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub struct Image {
    pub folder: TempDir,
    pub path: PathBuf,
    pub bytes: u64,
}

/// The first key of an item in a dump, such as `(22052864 METADATA_ITEM 0)`.
fn key(line: &str) -> Option<(&str, &str, &str)> {
    let inner = line.split_once("key (")?.1.split_once(')')?.0;
    let mut words = inner.split(' ');
    Some((words.next()?, words.next()?, words.next()?))
}

impl Image {
    /// `options` are those of mkfs.btrfs.
    pub fn new(bytes: u64, options: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("remint-btrfs-").tempdir_in("/dev/shm").unwrap();
        let path = folder.path().join("volume");
        File::create(&path).unwrap().set_len(bytes).unwrap();
        let options: Vec<&str> = ["-q", "-f"].into_iter().chain(options.split_whitespace()).collect();
        run("mkfs.btrfs", &[options.as_slice(), &[text(&path)]].concat());
        Self { folder, path, bytes }
    }

    pub fn mount(&self) -> Mount {
        Mount::new(&self.path, 0, self.bytes, "btrfs", false)
    }

    pub fn disk(&self) -> DiskReader {
        DiskReader::open(&self.path).unwrap()
    }

    pub fn reading(&self) -> Reading {
        read(&self.disk()).unwrap().expect("btrfs is recognised")
    }

    fn dump(&self, tree: &str) -> String {
        run("btrfs", &["inspect-internal", "dump-tree", "-t", tree, text(&self.path)])
    }

    /// Every place of every chunk: logical address, length, where its copies are.
    pub fn chunks(&self) -> Vec<(u64, u64, Vec<u64>)> {
        let mut chunks: Vec<(u64, u64, Vec<u64>)> = Vec::new();
        let number = |text: &str| text.parse::<u64>().unwrap();
        for line in self.dump("chunk").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (key(line), words.as_slice()) {
                (Some((_, "CHUNK_ITEM", start)), _) => chunks.push((number(start), 0, Vec::new())),
                (None, ["length", length, "owner", ..]) => chunks.last_mut().unwrap().1 = number(length),
                (None, ["stripe", _, "devid", "1", "offset", at]) => {
                    chunks.last_mut().unwrap().2.push(number(at));
                }
                _ => {}
            }
        }
        chunks
    }

    /// What the extent tree has, by the tool of btrfs, in every copy; the superblocks and the first MiB.
    pub fn used_by_the_tool(&self) -> RangeSet {
        let node: u64 = {
            let dump = run("btrfs", &["inspect-internal", "dump-super", text(&self.path)]);
            let line = dump.lines().find(|line| line.starts_with("nodesize")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let chunks = self.chunks();
        let dump = self.dump("extent");
        let items = dump.lines().filter_map(key).filter_map(|(start, kind, offset)| {
            let length = match kind {
                "EXTENT_ITEM" => offset.parse().unwrap(),
                "METADATA_ITEM" => node,
                _ => return None,
            };
            Some((start.parse::<u64>().unwrap(), length))
        });
        let mut used: Vec<ByteRange> = vec![ByteRange::new(0, MIB)];
        for (start, length) in items {
            let chunk = chunks.iter().rfind(|chunk| chunk.0 <= start).unwrap();
            assert!(start + length <= chunk.0 + chunk.1);
            used.extend(chunk.2.iter().map(|at| ByteRange::at(at + start - chunk.0, length).unwrap()));
        }
        let mirrors = [64 << 10, 64 << 20, 256 << 30].map(|at: u64| ByteRange::at(at, 4096).unwrap());
        used.extend(mirrors.iter().filter(|mirror| mirror.end() <= self.bytes));
        used.into_iter().collect()
    }

    /// Clean, without anything to say, and in use is exactly what the extent tree has.
    pub fn assert_map(&self) -> Reading {
        let reading = self.reading();
        assert_eq!(reading.file_system.state, State::Clean, "{:?}", reading.file_system.findings);
        assert_eq!(reading.file_system.findings, Vec::<String>::new());
        let used = reading.used.clone().unwrap();
        assert_eq!(reading.file_system.used_bytes, Some(used.total_bytes()));
        assert_eq!(used, self.used_by_the_tool());
        reading
    }

    /// A copy of what is in use on a volume that was full of noise.
    pub fn on_noise(&self, used: &RangeSet) -> PathBuf {
        let target = self.folder.path().join("restored");
        lab::noisy_disk(&target, self.bytes);
        let source = self.disk();
        for range in used.iter() {
            for at in (range.start()..range.end()).step_by(1 << 20) {
                let length = usize::try_from((range.end() - at).min(1 << 20)).unwrap();
                lab::overwrite(&target, at, &read_vec(&source, at, length).unwrap());
            }
        }
        target
    }

    /// The file without its zeros, in memory.
    pub fn in_memory(&self) -> MemoryDisk {
        let file = self.disk();
        let disk = MemoryDisk::new(file.size_bytes());
        for at in (0..file.size_bytes()).step_by(65536) {
            let bytes = read_vec(&file, at, 65536).unwrap();
            if bytes.iter().any(|byte| *byte != 0) {
                disk.write_at(at, &bytes).unwrap();
            }
        }
        disk
    }
}

/// Files of many sizes in subvolumes, snapshots of them, clones and compressed files, most of them deleted again.
pub fn fill(folder: &Path, seed: u64, files: u64) {
    let mut noise = Noise::new(seed);
    for name in ["one", "two"] {
        run("btrfs", &["subvolume", "create", text(&folder.join(name))]);
    }
    run("btrfs", &["property", "set", text(&folder.join("two")), "compression", "zstd"]);
    let place = |number: u64| folder.join(["", "one", "two"][usize::try_from(number % 3).unwrap()]);
    for number in 0..files {
        let path = place(number).join(format!("file-{number}"));
        let length = usize::try_from(noise.below(3) * noise.below(60_000) + 1).unwrap();
        let content = if number % 2 == 0 { noise.bytes(length) } else { vec![b'x'; length] };
        fs::write(&path, content).unwrap();
        if number % 9 == 0 {
            run("cp", &["--reflink=auto", text(&path), text(&folder.join(format!("clone-{number}")))]);
        }
        if number % 100 == 0 {
            run("sync", &["-f", text(folder)]);
        }
    }
    run("btrfs", &["subvolume", "snapshot", text(&folder.join("one")), text(&folder.join("kept"))]);
    run("btrfs", &["subvolume", "snapshot", "-r", text(&folder.join("two")), text(&folder.join("gone"))]);
    for number in (0..files).filter(|number| number % 4 != 0) {
        fs::remove_file(place(number).join(format!("file-{number}"))).unwrap();
    }
    run("btrfs", &["subvolume", "delete", text(&folder.join("gone"))]);
    run("sync", &["-f", text(folder)]);
}
