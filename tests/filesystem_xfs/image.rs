//! XFS images in memory-backed files: made, filled, mounted, crashed and listed by XFS's own tools.

use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::{Reading, read};
use remint::schema::State;
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;

pub struct FileDisk(pub File, pub u64);

impl FileDisk {
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Self(file, size)
    }
}

impl ReadAt for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.1
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// Remembers what was read.
pub struct Recorder<'a>(pub &'a dyn ReadAt, pub Mutex<Vec<ByteRange>>);

impl ReadAt for Recorder<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.1.lock().unwrap().push(ByteRange::at(offset, buffer.len() as u64).unwrap());
        self.0.read_at(offset, buffer)
    }
}

/// The file without its zeros, in memory.
pub fn memory_copy(path: &Path) -> MemoryDisk {
    let file = FileDisk::open(path);
    let disk = MemoryDisk::new(file.size_bytes());
    for offset in (0..file.size_bytes()).step_by(65536) {
        let bytes = read_vec(&file, offset, (file.size_bytes() - offset).min(65536) as usize).unwrap();
        if bytes.iter().any(|byte| *byte != 0) {
            disk.write_at(offset, &bytes).unwrap();
        }
    }
    disk
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

pub struct Image {
    pub dir: TempDir,
    pub path: PathBuf,
}

impl Image {
    pub fn empty(size_bytes: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("remint-xfs-").tempdir_in("/dev/shm").unwrap();
        let path = dir.path().join("volume");
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        Self { dir, path }
    }

    /// `options` are those of mkfs.xfs, with `DIR` for the directory of the image.
    pub fn new(size_bytes: u64, options: &str) -> Self {
        let image = Self::empty(size_bytes);
        let options = options.replace("DIR", image.dir.path().to_str().unwrap());
        let arguments: Vec<&str> = ["--unsupported", "-q", "-f"]
            .into_iter()
            .chain(options.split_whitespace())
            .chain([image.path()])
            .collect();
        run("mkfs.xfs", &arguments);
        image
    }

    /// A fragmented file system of many small files, half of which are gone, without mounting it: kernels no
    /// longer mount version 4.
    pub fn fragmented(options: &str, files: usize) -> Self {
        let image = Self::empty(320 * MIB);
        let (source, prototype) = (image.dir.path().join("source"), image.dir.path().join("prototype"));
        fs::write(&source, "x").unwrap();
        let mut text = String::from("-\n0 0\nd--755 0 0\n");
        for number in 0..files {
            text += &format!("f{number} ---644 0 0 {}\n", source.display());
        }
        fs::write(&prototype, text + "$\n").unwrap();
        let options = format!("--unsupported -q -p {} {options} {}", prototype.display(), image.path());
        run("mkfs.xfs", &options.split_whitespace().collect::<Vec<_>>());
        let listing = run("xfs_db", &["-r", "-c", "ls /", image.path()]);
        let inodes = listing.lines().filter(|line| line.contains("regular"));
        let mut commands = String::new();
        for line in inodes.step_by(2) {
            let inode = line.split_whitespace().nth(1).unwrap();
            commands += &format!("inode {inode}\nwrite core.mode 0\n");
        }
        let script = image.dir.path().join("commands");
        fs::write(&script, commands).unwrap();
        let status = Command::new("xfs_db")
            .args(["-x", image.path()])
            .stdin(File::open(&script).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        run("xfs_repair", &[image.path()]);
        image
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub fn reading(&self) -> Reading {
        read(&FileDisk::open(&self.path)).unwrap().expect("XFS is recognised")
    }

    pub fn state(&self) -> State {
        self.reading().file_system.state
    }

    pub fn mount(&self) -> Mount {
        let at = self.dir.path().join("mounted");
        fs::create_dir_all(&at).unwrap();
        run("mount", &["-t", "xfs", "-o", "loop,nouuid", self.path(), at.to_str().unwrap()]);
        Mount { at, mounted: true }
    }

    /// What xfs_logprint thinks of the log.
    pub fn logprint_says_clean(&self) -> bool {
        let text = run("xfs_logprint", &["-t", self.path()]);
        assert!(text.contains("<CLEAN>") != text.contains("<DIRTY>"), "{text}");
        text.contains("<CLEAN>")
    }

    /// What xfs_db thinks is free, without the blocks that it adds from the free lists.
    pub fn free_by_xfs_db(&self) -> RangeSet {
        let field = |name: &str| -> u64 {
            let text = run("xfs_db", &["-r", "-c", "sb 0", "-c", &format!("p {name}"), self.path()]);
            text.split('=').nth(1).unwrap().trim().parse().unwrap()
        };
        let (block_size, agblocks, agcount) = (field("blocksize"), field("agblocks"), field("agcount"));
        let place = |group: u64, block: u64, count: u64| {
            ByteRange::at((group * agblocks + block) * block_size, count * block_size).unwrap()
        };
        let listing = run("xfs_db", &["-r", "-c", "freesp -d", self.path()]);
        let rows = listing.lines().skip(1).map(|line| {
            line.split_whitespace().map(str::parse::<u64>).collect::<Result<Vec<_>, _>>().unwrap_or_default()
        });
        let mut free: RangeSet =
            rows.take_while(|row| row.len() == 3).map(|row| place(row[0], row[1], row[2])).collect();
        let commands: Vec<String> = (0..agcount)
            .flat_map(|n| {
                [format!("agf {n}"), "p flfirst fllast flcount".into(), format!("agfl {n}"), "p bno".into()]
            })
            .collect();
        let arguments: Vec<&str> =
            ["-r"].into_iter().chain(commands.iter().flat_map(|c| ["-c", c])).chain([self.path()]).collect();
        let lists = run("xfs_db", &arguments);
        for (group, lines) in (0u64..).zip(lists.lines().collect::<Vec<_>>().chunks(4)) {
            let number = |line: &str| line.split('=').nth(1).unwrap().trim().parse::<usize>().unwrap();
            let (first, last, count) = (number(lines[0]), number(lines[1]), number(lines[2]));
            let slots: Vec<&str> = lines[3]
                .split('=')
                .nth(1)
                .unwrap()
                .split_whitespace()
                .map(|s| s.split(':').nth(1).unwrap())
                .collect();
            let in_list: Vec<&str> = slots.iter().copied().cycle().skip(first).take(count).collect();
            assert!(count == 0 || in_list.last() == Some(&slots[last]));
            for block in in_list {
                free.remove(place(group, block.parse().unwrap(), 1));
            }
        }
        free
    }

    /// Clean, and in use is exactly what xfs_db does not call free.
    pub fn assert_map(&self) -> Reading {
        let reading = self.reading();
        assert_eq!(reading.file_system.state, State::Clean, "{:?}", reading.file_system.findings);
        assert_eq!(reading.file_system.findings, Vec::<String>::new());
        let used = reading.used.clone().unwrap();
        assert_eq!(reading.file_system.used_bytes, Some(used.total_bytes()));
        let all = ByteRange::new(0, reading.file_system.size_bytes);
        assert_eq!(used.gaps(all), self.free_by_xfs_db());
        reading
    }
}

pub struct Mount {
    pub at: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Until it works: a program that another test is just starting holds our files open until its `exec`.
    pub fn unmount(mut self) {
        self.mounted = !(0..200).any(|_| {
            let done = Command::new("umount").arg(&self.at).stderr(Stdio::null()).status().unwrap().success();
            if !done {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            done
        });
        assert!(!self.mounted, "unmounting {}", self.at.display());
    }

    /// Stops all writes as a crash does, after the log is on the disk.
    pub fn crash(self) {
        run("xfs_io", &["-x", "-c", "shutdown -f", self.at.to_str().unwrap()]);
        self.unmount();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        }
    }
}

/// Deterministic numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// Files of many sizes, two thirds of which are deleted again.
pub fn fill(at: &Path, random: &mut Random, files: u64) {
    for number in 0..files {
        let path = at.join(format!("directory-{}", number % 7));
        fs::create_dir_all(&path).unwrap();
        let length = random.below(3) * random.below(30_000) + 1;
        fs::write(path.join(number.to_string()), random.bytes(length as usize)).unwrap();
    }
    run("sync", &["-f", at.to_str().unwrap()]);
    for number in (0..files).filter(|number| number % 3 != 0) {
        fs::remove_file(at.join(format!("directory-{}/{number}", number % 7))).unwrap();
    }
}

pub fn contents(at: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}
