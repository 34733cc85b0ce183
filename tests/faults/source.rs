//! The disks that are captured, made once by the tools that make real ones.
//!
//! They are small, as every fault is a whole capture or deploy, but have one of everything that is written
//! differently: used and free blocks, a chunk that occurs twice, used blocks of zeros, swap, boot code, a
//! chain of extended boot records, file systems that fill a disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

pub const MIB: usize = 1 << 20;

/// Bytes that look like nothing and do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length.div_ceil(8)).flatten().take(length).collect()
}

/// GPT: FAT12, ext4, swap, one MiB of noise twice, one MiB of zeros; noise in front of the first partition.
pub fn gpt() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        let table = "label: gpt\nlabel-id: 6f2b1c3a-5a0e-4a6e-9d3c-0d5f1e7a9b21\n\
                     start=2048, size=2048, type=U, name=\"EFI\"\n\
                     start=4096, size=6144, type=L, name=\"root\"\n\
                     start=10240, size=2048, type=S\nstart=12288, size=4096, type=L\nstart=16384, size=2048, type=L\n";
        let mut disk = partitioned(10 * MIB, table);
        disk[34 * 512..MIB].copy_from_slice(&noise(MIB - 34 * 512, 1));
        put(&mut disk, MIB, &fat(MIB));
        put(&mut disk, 2 * MIB, &ext("ext4", 3 * MIB, 600));
        put(&mut disk, 5 * MIB, &swap(MIB));
        put(&mut disk, 6 * MIB, &noise(MIB, 2));
        put(&mut disk, 7 * MIB, &noise(MIB, 2));
        disk
    })
}

/// MBR: FAT12 and, in an extended partition, ext2; boot code and noise in front of the first partition.
pub fn mbr() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        let table = "label: dos\nlabel-id: 0x1badb002\nstart=2048, size=2048, type=6, bootable\n\
                     start=4096, size=8192, type=5\nstart=6144, size=4096, type=83\n";
        let mut disk = partitioned(6 * MIB, table);
        put(&mut disk, 0, &noise(440, 3));
        disk[512..MIB].copy_from_slice(&noise(MIB - 512, 4));
        put(&mut disk, MIB, &fat(MIB));
        put(&mut disk, 3 * MIB, &ext("ext2", 2 * MIB, 300));
        disk
    })
}

/// No table: ext2 fills the disk.
pub fn whole_ext2() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| ext("ext2", 3 * MIB, 500))
}

/// GPT: ext2 alone, whose last files lie behind what was deleted again.
pub fn ends_with_data() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        let mut disk = partitioned(8 * MIB, "label: gpt\nstart=2048, size=12288, type=L\n");
        let volume = from_file(6 * MIB, |path| {
            let tree = Path::new(path).with_extension("tree");
            fs::create_dir(&tree).unwrap();
            // Groups of 1 MiB: a file system of one group cannot become smaller.
            let form = ["-b", "1024", "-g", "1024", "-N", "64", "-O", "^resize_inode"];
            run("mke2fs", &[&["-q", "-F", "-t", "ext2"], form.as_slice(), &[path]].concat());
            // debugfs takes the first free blocks, in the order of its commands.
            let mut script = String::new();
            for (name, kilobytes) in [("first", 200), ("ballast", 4300), ("last", 500), ("end", 100)] {
                let file = tree.join(name);
                fs::write(&file, noise(kilobytes * 1024, 20 + kilobytes as u64)).unwrap();
                script += &format!("write {} {name}\n", file.display());
            }
            script += "rm ballast\n";
            let commands = tree.join("commands");
            fs::write(&commands, script).unwrap();
            run("debugfs", &["-w", "-f", commands.to_str().unwrap(), path]);
        });
        put(&mut disk, MIB, &volume);
        disk
    })
}

/// No table: NTFS fills the disk.
pub fn whole_ntfs() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        from_file(3 * MIB, |path| {
            run(
                "mkntfs",
                &["-q", "-F", "-Q", "-s", "512", "-c", "4096", "-p", "0", "-H", "0", "-S", "0", path],
            );
        })
    })
}

/// No table: swap fills the disk.
pub fn whole_swap() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| swap(4 * MIB))
}

fn fat(length: usize) -> Vec<u8> {
    from_file(length, |path| {
        run("mkfs.fat", &["-i", "1badcafe", path]);
        for name in ["one", "two", "three"] {
            let file = format!("{path}.{name}");
            fs::write(&file, noise(90_000, 5)).unwrap();
            run("mcopy", &["-i", path, &file, &format!("::{name}")]);
        }
        run("mdel", &["-i", path, "::two"]);
    })
}

/// An ext file system with `kilobytes` of files in it.
pub fn ext(kind: &str, length: usize, kilobytes: usize) -> Vec<u8> {
    from_file(length, |path| {
        let tree = Path::new(path).with_extension("tree");
        fs::create_dir(&tree).unwrap();
        for number in 0..5 {
            fs::write(tree.join(format!("file{number}")), noise(kilobytes * 1024 / 5, 10 + number)).unwrap();
        }
        let tree = tree.to_str().unwrap();
        run("mke2fs", &["-q", "-F", "-t", kind, "-b", "1024", "-d", tree, path]);
        run("debugfs", &["-w", "-R", "rm file2", path]);
    })
}

pub fn swap(length: usize) -> Vec<u8> {
    from_file(length, |path| {
        run("mkswap", &["-L", "spare", "-U", "9e1c5d8a-52c3-4b44-8a43-2a38f1a6b6d0", path]);
    })
}

pub fn partitioned(length: usize, script: &str) -> Vec<u8> {
    from_file(length, |path| {
        let file = format!("{path}.script");
        fs::write(&file, script).unwrap();
        let input = Stdio::from(fs::File::open(file).unwrap());
        let mut sfdisk = Command::new("sfdisk");
        sfdisk.args(["--quiet", "--no-reread", "--no-tell-kernel", path]).stdin(input);
        finish("sfdisk", sfdisk);
    })
}

pub fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The bytes of a file of this length that `make` has worked on.
fn from_file(length: usize, make: impl FnOnce(&str)) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    fs::write(&path, vec![0; length]).unwrap();
    make(path.to_str().unwrap());
    fs::read(&path).unwrap()
}

pub fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    finish(program, command);
}

fn finish(program: &str, mut command: Command) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).env("LC_ALL", "C").env("MTOOLS_SKIP_CHECK", "1");
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
