//! Running a program of a deployed system within that system, shut in.
//!
//! The program is as trustworthy as the image. Invariants:
//!
//! - It sees the file systems of its system and nothing else: its root is changed, and of what could lead out of it every
//!   capability is gone before its first instruction.
//! - `/dev` has the devices that it is given, `/proc` its own processes, and neither `/proc` nor `/sys` can be written.
//!   What the kernel was started with, which may hold secrets, is hidden. There is no network. `/run` and `/tmp` are its own, and gone afterwards.
//! - What it mounts and what it starts is gone when it ends, at its time limit, and when somebody asks to stop.
//!
//! How much memory it takes is not bounded, and it is trusted with everything in its own system.

use super::confined::{self, Within};
use super::program::{self, Outcome, Watch};
use super::tree::Tree;
use super::{Error, ioctl, mounts};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::chroot;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A folder of the program's own; what it leaves there can be read afterwards.
pub(super) const RESULTS: &str = "/run/remint";
/// Nothing that it leaves there and is looked at is larger.
const MOST_RESULT_BYTES: u64 = 1 << 20;

/// Character devices that every program expects: name and minor number, all of major number 1
/// (`Documentation/admin-guide/devices.txt` of Linux).
const USUAL_DEVICES: [(&str, u64); 5] =
    [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];

/// A block device that a program sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// Its name below `/dev`.
    pub(super) name: String,
    /// Its number, major and minor.
    pub(super) number: (u64, u64),
}

/// A file system that is mounted for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inner {
    /// The name of its device below `/dev`.
    pub(super) device: String,
    /// Where, from the root of the system.
    pub(super) at: String,
    /// What the kernel calls it, and the options.
    pub(super) how: (&'static str, &'static str),
}

/// A system whose root is mounted so that programs of it can be run, with what these see beside it.
#[derive(Debug)]
pub(super) struct Cage<'a> {
    /// The root: a folder, and no link to one.
    pub(super) root: &'a Path,
    /// Block devices.
    pub(super) devices: &'a [Device],
    /// File systems below the root, in their order.
    pub(super) inner: &'a [Inner],
}

impl Cage<'_> {
    /// Runs a program, by its path in the system. Returns how it ended, and what it left in [`RESULTS`].
    ///
    /// # Errors
    /// Where this kernel cannot shut it in, a folder that something is mounted at is not there, or it cannot be started.
    pub(super) fn run(
        &self,
        program: &str,
        arguments: &[&str],
        watch: &Watch<'_>,
    ) -> Result<(Outcome, Results), Error> {
        let mut results = None;
        let path = Path::new("/").join(program);
        let outcome = program::run_by(&path, arguments, &[], watch, |command| {
            let (child, folder) = std::thread::scope(|scope| {
                let entered = scope.spawn(|| self.start(command));
                entered.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended")))
            })?;
            results = Some(folder);
            Ok(child)
        })?;
        let folder = results.ok_or_else(|| Error::refused(format!("/{program} was not started")))?;
        Ok((outcome, Results(folder)))
    }

    /// In a thread that ends with this, because it does not come back: it gets the mounts and the root of the program.
    fn start(&self, mut command: Command) -> io::Result<(Child, File)> {
        let failed = |what: &str, errno: Errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        ioctl::own_namespaces().map_err(|errno| failed("shutting it in needs namespaces", errno))?;
        let nothing = None::<&str>;
        let put = |source: &str, at: &str, kind: &str, flags: MsFlags, options: &str| {
            mount(Some(source), at, Some(kind), flags | MsFlags::MS_NOSUID, Some(options))
                .map_err(|errno| failed(&format!("mounting {at} in the system"), errno))
        };
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(nothing, "/", nothing, private, nothing)
            .map_err(|errno| failed("leaving the mounts", errno))?;
        leave_what_is_outside(self.root);
        // By that the root is a mount of its own, as the program expects of a root.
        mount(Some(self.root), self.root, nothing, MsFlags::MS_BIND, nothing)
            .and_then(|()| chroot(self.root))
            .map_err(|errno| failed("changing the root", errno))?;
        std::env::set_current_dir("/")?;
        let closed = MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        put("tmpfs", "/dev", "tmpfs", MsFlags::MS_NOEXEC, "mode=755,size=1m")?;
        self.make_devices().map_err(|errno| failed("making devices", errno))?;
        put("sysfs", "/sys", "sysfs", closed | MsFlags::MS_RDONLY, "")?;
        put("tmpfs", "/run", "tmpfs", closed, "mode=755,size=16m")?;
        put("tmpfs", "/tmp", "tmpfs", MsFlags::MS_NODEV, "mode=1777,size=64m")?;
        for Inner { device, at, how: (kind, options) } in self.inner {
            let flags = MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
            put(&format!("/dev/{device}"), at, kind, flags, options)?;
        }
        fs::create_dir(RESULTS)?;
        let results = File::open(RESULTS)?;
        ioctl::shut_in(&mut command);
        Ok((command.spawn()?, results))
    }

    fn make_devices(&self) -> nix::Result<()> {
        let all = Mode::from_bits_truncate(0o666);
        for (name, minor) in USUAL_DEVICES {
            mknod(&PathBuf::from(format!("/dev/{name}")), SFlag::S_IFCHR, all, makedev(1, minor))?;
        }
        for Device { name, number: (major, minor) } in self.devices {
            let own = Mode::from_bits_truncate(0o600);
            mknod(&PathBuf::from(format!("/dev/{name}")), SFlag::S_IFBLK, own, makedev(*major, *minor))?;
        }
        Ok(())
    }
}

/// Unmounts, for this thread, what is mounted outside of a folder and holds nothing of it: otherwise a file system that somebody
/// unmounts meanwhile would go on being mounted here.
fn leave_what_is_outside(root: &Path) {
    for point in mounts::points_of_this_thread().iter().rev().map(Path::new) {
        if !root.starts_with(point) && !point.starts_with(root) {
            let _ = umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
    }
}

/// What a program left in its folder.
pub(super) struct Results(File);

impl Results {
    /// A plain file of at most 1 MiB; `None` where there is none.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = confined::open(&self.0, name, Within::Folder, flags, Mode::empty()).ok()?;
        let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
        let mut bytes = Vec::new();
        file.take(MOST_RESULT_BYTES).read_to_end(&mut bytes).ok()?;
        (metadata.len() <= MOST_RESULT_BYTES).then_some(bytes)
    }
}

/// The first of these programs that a system has and that this machine can run.
///
/// # Errors
/// A clause: why none can be.
pub(super) fn find<'a>(tree: &Tree, paths: &[&'a str]) -> Result<&'a str, String> {
    for path in paths {
        let found = tree.read(path).map_err(|error| error.to_string())?;
        if let Some(bytes) = found {
            return runs_here(&bytes, std::env::consts::ARCH)
                .map(|()| *path)
                .map_err(|why| format!("its /{path} {why}"));
        }
    }
    Err(format!("it has no /{}", paths.first().copied().unwrap_or_default()))
}

/// Refuses the bytes of a program that is for another processor (ELF, `e_machine` of `elf.h`), or no program.
fn runs_here(bytes: &[u8], processor: &str) -> Result<(), String> {
    const MACHINES: [(u16, &str); 5] =
        [(3, "x86"), (62, "x86_64"), (40, "arm"), (183, "aarch64"), (243, "riscv64")];
    if bytes.starts_with(b"#!") {
        return Ok(());
    }
    let machine = bytes.get(18..20).filter(|_| bytes.starts_with(b"\x7fELF"));
    let Some([low, high]) = machine.map(<[u8; 2]>::try_from).and_then(Result::ok) else {
        return Err("is no program".to_owned());
    };
    let machine = match bytes.get(5) {
        Some(2) => u16::from_be_bytes([low, high]),
        _ => u16::from_le_bytes([low, high]),
    };
    let name = MACHINES.iter().find(|(number, _)| *number == machine).map(|(_, name)| *name);
    match name {
        Some(name) if name == processor || (name, processor) == ("x86", "x86_64") => Ok(()),
        _ => Err(format!(
            "is for another processor ({}) than this machine's ({processor})",
            name.map_or_else(|| format!("number {machine}"), str::to_owned)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_for_other_processors_and_what_is_no_program_are_named() {
        let elf = |order: u8, machine: [u8; 2]| {
            let mut bytes = b"\x7fELF\x02".to_vec();
            bytes.push(order);
            bytes.resize(18, 0);
            bytes.extend(machine);
            bytes
        };
        assert_eq!(runs_here(&elf(1, [62, 0]), "x86_64"), Ok(()));
        assert_eq!(runs_here(&elf(1, [3, 0]), "x86_64"), Ok(()));
        assert_eq!(runs_here(b"#!/bin/sh", "x86_64"), Ok(()));
        let said = |bytes: &[u8]| runs_here(bytes, "x86_64").unwrap_err();
        assert!(said(&elf(1, [183, 0])).contains("another processor (aarch64) than this machine's (x86_64)"));
        assert!(said(&elf(2, [0, 21])).contains("number 21"));
        for text in [b"".as_slice(), b"\x7fELF", b"text"] {
            assert_eq!(said(text), "is no program");
        }
    }
}
