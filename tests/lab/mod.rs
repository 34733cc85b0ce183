//! What the tests on real disks share: disk files with real tables and file systems, the program, and the
//! native checkers. Everything is a plain file; loop devices and mounts are released when they are dropped.
#![allow(dead_code, missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

pub mod json_schema;
pub mod lvm;
pub mod running;
pub mod windows;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// A folder for one test, in memory where there is room.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("remint-test-").tempdir_in(base()).unwrap()
}

/// A file of zeros, in memory where there is a place for that.
pub fn file(size_bytes: u64) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().prefix("remint-test-").tempfile_in(base()).unwrap();
    file.as_file().set_len(size_bytes).unwrap();
    file
}

fn base() -> PathBuf {
    if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() }
}

/// Runs a program that has to succeed; returns its standard output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    run_allowing(program, arguments, &[0])
}

/// Runs a program that has to end with one of these codes.
pub fn run_allowing(program: &str, arguments: &[&str], codes: &[i32]) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let code = output.status.code().unwrap_or(-1);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = format!("{program} {arguments:?}").chars().take(500).collect::<String>();
    assert!(codes.contains(&code), "{said} ended with {code}\n{text}\n{errors}");
    text
}

/// Runs `remint`.
pub fn remint(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_remint")).args(arguments).env("LC_ALL", "C").output().unwrap()
}

/// Runs `remint`, which has to end with `code`; returns standard output and standard error together.
pub fn remint_ends(code: i32, arguments: &[&str]) -> String {
    let output = remint(arguments);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "remint {arguments:?}\n{text}");
    text
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Reproducible noise: nothing in it looks like a file system, and no block of it is zero.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            part.copy_from_slice(&self.0.to_le_bytes()[..part.len()]);
        }
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap()) % limit
    }
}

/// A disk file of noise. Of large disks only a part of every MiB is noise, so that they fit in memory.
pub fn noisy_disk(path: &Path, size_bytes: u64) {
    let file = File::create(path).unwrap();
    file.set_len(size_bytes).unwrap();
    let mut noise = Noise::new(size_bytes);
    let part = if size_bytes <= 3 * GIB { MIB } else { 64 << 10 };
    let mut buffer = vec![0; part as usize];
    for start in (0..size_bytes).step_by(MIB as usize) {
        noise.fill(&mut buffer);
        let length = part.min(size_bytes - start) as usize;
        file.write_all_at(&buffer[..length], start).unwrap();
    }
    let end = noise.bytes(MIB as usize);
    file.write_all_at(&end, size_bytes - MIB).unwrap();
}

/// Copies real files of this machine, up to `limit_bytes`, into `folder`, with odd names and sizes added.
pub fn real_files(folder: &Path, limit_bytes: u64) {
    fs::create_dir_all(folder.join("deep/er/still")).unwrap();
    let mut left = limit_bytes;
    for source in ["/etc", "/usr/share/doc", "/usr/bin", "/usr/lib/x86_64-linux-gnu"] {
        let mut entries: Vec<_> = walk(Path::new(source), 2000);
        entries.sort();
        for (number, path) in entries.iter().enumerate() {
            let Ok(meta) = fs::symlink_metadata(path) else { continue };
            if !meta.is_file() || meta.len() > left / 4 || meta.len() == 0 {
                continue;
            }
            let Ok(content) = fs::read(path) else { continue };
            left = left.saturating_sub(meta.len());
            let name: String = path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect();
            let place = if number % 3 == 0 { folder.join("deep/er/still") } else { folder.to_path_buf() };
            fs::write(place.join(format!("{number}-{name}")), content).unwrap();
        }
    }
    let mut noise = Noise::new(limit_bytes);
    for size in [0usize, 1, 511, 4095, 4096, 4097, 65536, 1_048_577] {
        fs::write(folder.join(format!("noise-{size}")), noise.bytes(size)).unwrap();
    }
    // Used blocks that are all zero have to come back as zeros, not as what stood there before.
    fs::write(folder.join("zeros"), vec![0; 3_000_000]).unwrap();
}

fn walk(folder: &Path, limit: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
            if found.len() >= limit {
                return found;
            }
        }
    }
    found
}

/// Path to length and hash of every file below a folder.
pub fn tree(folder: &Path) -> BTreeMap<String, (u64, String)> {
    use sha2::Digest;
    let mut files = BTreeMap::new();
    for path in walk(folder, usize::MAX) {
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        let content = fs::read(&path).unwrap();
        let hash: String = sha2::Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        files.insert(name, (content.len() as u64, hash));
    }
    files
}

/// SHA-256 of a whole file, holes included.
pub fn hash_of(path: &Path) -> String {
    run("sha256sum", &[text(path)]).split_whitespace().next().unwrap().to_owned()
}

/// A loop device over a part of a file, detached when dropped.
pub struct Loop(pub String);

impl Loop {
    pub fn new(file: &Path, start: u64, length: u64, read_only: bool) -> Self {
        Self::with_sector(file, start, length, read_only, 512)
    }

    pub fn with_sector(file: &Path, start: u64, length: u64, read_only: bool, sector: u32) -> Self {
        let (offset, size) = (format!("--offset={start}"), format!("--sizelimit={length}"));
        let sector = format!("--sector-size={sector}");
        let mut arguments = vec!["--find", "--show", offset.as_str(), size.as_str(), sector.as_str()];
        if read_only {
            arguments.push("--read-only");
        }
        arguments.push(text(file));
        // Another test may take the free device in between.
        for _ in 0..50 {
            let output = Command::new("losetup").args(&arguments).output().unwrap();
            if output.status.success() {
                return Self(String::from_utf8(output.stdout).unwrap().trim().to_owned());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("no loop device for {}", file.display());
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let backing = format!("/sys/block/{}/loop/backing_file", self.0.trim_start_matches("/dev/"));
        let ours = fs::read(&backing).ok();
        let _ = Command::new("losetup").args(["--detach", &self.0]).output();
        // Whoever looks at the device meanwhile, such as another test, delays the end of it.
        for _ in 0..200 {
            if ours.is_none() || fs::read(&backing).ok() != ours {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A mounted file system, unmounted when dropped.
pub struct Mount {
    pub folder: tempfile::TempDir,
    _device: Loop,
}

impl Mount {
    /// Mounts a part of a file; `kind` is `ext4`, `xfs`, `btrfs` or `ntfs`.
    pub fn new(file: &Path, start: u64, length: u64, kind: &str, read_only: bool) -> Self {
        let device = Loop::new(file, start, length, read_only && kind != "xfs");
        let folder = tempfile::tempdir().unwrap();
        let mode = if read_only { "ro" } else { "rw" };
        if kind == "ntfs" {
            run("ntfs-3g", &["-o", mode, &device.0, text(folder.path())]);
        } else {
            let options = if kind == "xfs" { format!("{mode},nouuid") } else { mode.to_owned() };
            run("mount", &["-t", kind, "-o", &options, &device.0, text(folder.path())]);
        }
        Self { folder, _device: device }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A program that another test starts holds this one's files open for a moment.
        for _ in 0..100 {
            let done = Command::new("umount").arg(self.folder.path()).output();
            if done.is_ok_and(|done| done.status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// A disk with a GPT and one partition of noise from 1 MiB on: content that no compression makes smaller.
pub fn disk_of_noise(path: &Path, partition_bytes: u64) {
    let script = "label: gpt\nstart=2048, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4";
    partitioned_disk(path, partition_bytes + 2 * MIB, 512, script);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let mut noise = Noise::new(partition_bytes);
    let mut buffer = vec![0; MIB as usize];
    for start in (MIB..=partition_bytes).step_by(MIB as usize) {
        noise.fill(&mut buffer);
        file.write_all_at(&buffer, start).unwrap();
    }
}

/// A part of a file.
pub fn bytes(file: &Path, start: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    File::open(file).unwrap().read_exact_at(&mut bytes, start).unwrap();
    bytes
}

/// Overwrites a part of a file.
pub fn overwrite(file: &Path, start: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(file).unwrap().write_all_at(bytes, start).unwrap();
}

/// What says whether a file was written to, without reading all of it.
pub fn traces(file: &Path) -> (i64, i64, u64, Vec<u8>, Vec<u8>) {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(file).unwrap();
    let length = meta.len().min(MIB);
    let (head, tail) = (bytes(file, 0, length), bytes(file, meta.len() - length, length));
    (meta.mtime(), meta.mtime_nsec(), meta.blocks(), head, tail)
}

/// The files of chunks in a store, with what changes where one is replaced.
pub fn chunk_files(store: &Path) -> BTreeMap<PathBuf, u64> {
    use std::os::unix::fs::MetadataExt;
    let files = walk(&store.join("chunks"), usize::MAX).into_iter();
    files.map(|path| (path.clone(), fs::metadata(&path).unwrap().ino())).collect()
}

/// How many bytes the chunks of a store take, bytes.
pub fn stored_bytes(store: &Path) -> u64 {
    chunk_files(store).keys().map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// How many versions of images are published in a store.
pub fn published(store: &Path) -> usize {
    let files = walk(&store.join("images"), usize::MAX);
    files.iter().filter(|path| path.ends_with("image.json")).count()
}

/// One file system to put on a disk.
pub struct Kind {
    /// For messages.
    pub name: &'static str,
    /// What mounts and checks it: ext4, xfs, btrfs, ntfs, fat.
    pub family: &'static str,
    /// How it is made; the device or file is appended.
    pub make: &'static [&'static str],
}

impl Kind {
    /// Makes the file system in a file of its own and fills it with files, some of which are deleted again.
    pub fn build(&self, file: &Path, size_bytes: u64, files: &Path) {
        let _ = fs::remove_file(file);
        // Stale garbage: free blocks are not zero before they are free.
        if size_bytes <= 300 * MIB {
            noisy_disk(file, size_bytes);
        } else {
            File::create(file).unwrap().set_len(size_bytes).unwrap();
        }
        let mut arguments = self.make[1..].to_vec();
        arguments.push(text(file));
        run(self.make[0], &arguments);
        self.fill(file, size_bytes, files);
    }

    fn fill(&self, file: &Path, size_bytes: u64, files: &Path) {
        if self.family == "fat" {
            run("mcopy", &["-s", "-Q", "-i", text(file), text(files), "::/content"]);
            run("mdel", &["-i", text(file), "::/content/noise-65536"]);
            return;
        }
        let mount = Mount::new(file, 0, size_bytes, self.family, false);
        run("cp", &["-a", &format!("{}/.", text(files)), text(mount.path())]);
        run("cp", &["-a", &format!("{}/deep", text(files)), &format!("{}/again", text(mount.path()))]);
        run("sync", &["-f", text(mount.path())]);
        run("rm", &["-rf", &format!("{}/again", text(mount.path()))]);
        fs::remove_file(mount.path().join("noise-65536")).unwrap();
    }

    /// Runs the file system's own checker on a part of a disk.
    pub fn check(&self, disk: &Path, start: u64, length: u64) {
        let device = Loop::new(disk, start, length, false);
        match self.family {
            "ext4" => run("e2fsck", &["-f", "-n", &device.0]),
            "xfs" => run("xfs_repair", &["-n", &device.0]),
            "btrfs" => run("btrfs", &["check", "--readonly", "--check-data-csum", &device.0]),
            "ntfs" => run("ntfsfix", &["-n", &device.0]),
            "fat" => run("fsck.fat", &["-n", &device.0]),
            other => panic!("{other}"),
        };
    }

    /// Every file below the root of a part of a disk.
    pub fn files(&self, disk: &Path, start: u64, length: u64) -> BTreeMap<String, (u64, String)> {
        if self.family == "fat" {
            let folder = folder();
            let image = format!("{}@@{start}", text(disk));
            run("mcopy", &["-s", "-n", "-Q", "-i", &image, "::/*", text(folder.path())]);
            return tree(folder.path());
        }
        let mount = Mount::new(disk, start, length, self.family, true);
        tree(mount.path())
    }
}

/// Copies a file into a disk at an offset, without its holes becoming data.
pub fn put(disk: &Path, at: u64, part: &Path) {
    let mut source = File::open(part).unwrap();
    let target = fs::OpenOptions::new().write(true).open(disk).unwrap();
    let mut buffer = vec![0; MIB as usize];
    let mut position = 0;
    source.seek(SeekFrom::Start(0)).unwrap();
    loop {
        let read = source.read(&mut buffer).unwrap();
        if read == 0 {
            return;
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            target.write_all_at(&buffer[..read], at + position).unwrap();
        }
        position += read as u64;
    }
}

/// A partition of a disk under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub number: u32,
    pub start: u64,
    pub length: u64,
}

/// The partitions of a disk, as `sfdisk` sees them.
pub fn partitions(disk: &Path, sector: u64) -> Vec<Place> {
    let device = Loop::with_sector(disk, 0, fs::metadata(disk).unwrap().len(), true, sector as u32);
    let json = run("sfdisk", &["--json", &device.0]);
    let table: serde_json::Value = serde_json::from_str(&json).unwrap();
    let entries = table["partitiontable"]["partitions"].as_array().cloned().unwrap_or_default();
    let number = |node: &str| node.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    let is_container = |entry: &serde_json::Value| matches!(entry["type"].as_str(), Some("5" | "f" | "85"));
    entries
        .iter()
        .filter(|entry| !is_container(entry))
        .map(|entry| Place {
            number: number(entry["node"].as_str().unwrap()),
            start: entry["start"].as_u64().unwrap() * sector,
            length: entry["size"].as_u64().unwrap() * sector,
        })
        .collect()
}

/// Makes a disk file and has `sfdisk` write a table into it.
pub fn partitioned_disk(path: &Path, size_bytes: u64, sector: u64, script: &str) -> Vec<Place> {
    File::create(path).unwrap().set_len(size_bytes).unwrap();
    let device = Loop::with_sector(path, 0, size_bytes, false, sector as u32);
    let mut child = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel", &device.0])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "sfdisk {script}");
    drop(device);
    partitions(path, sector)
}
