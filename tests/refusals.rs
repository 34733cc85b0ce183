//! What a deploy refuses, and that nothing is written then; what works without root; that a source is only read.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::running::Running;
use lab::{GIB, Kind, Loop, MIB, remint_ends, text};
use nix::sys::signal::Signal;
use remint::progress::{Event, Phase};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const FAT: Kind = Kind { name: "FAT16", family: "fat", make: &["mkfs.fat", "-F", "16"] };

fn files(folder: &Path) -> PathBuf {
    let files = folder.join("files");
    fs::create_dir_all(files.join("deep")).unwrap();
    fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
    fs::write(files.join("content"), lab::Noise::new(2).bytes(1_000_000)).unwrap();
    files
}

/// A captured disk: an ext4 of 24 MiB, and a FAT of 16 MiB where `fat` says so.
fn captured(folder: &Path, fat: bool) -> (PathBuf, String) {
    let (disk, part) = (folder.join("disk.img"), folder.join("part.img"));
    let mut script = format!("label: gpt\nsize=24MiB, type={LINUX}\n");
    if fat {
        script.push_str(&format!("size=16MiB, type={LINUX}\n"));
    }
    let places = lab::partitioned_disk(&disk, 44 * MIB, 512, &script);
    for (place, kind) in places.iter().zip([&EXT4, &FAT]) {
        kind.build(&part, place.length, &files(folder));
        lab::put(&disk, place.start, &part);
    }
    let store = text(&folder.join("store")).to_owned();
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    (disk, store)
}

/// A captured disk whose ext4 grows on a larger target, and such a target.
fn growing(folder: &Path) -> (String, PathBuf) {
    let (disk, target) = (folder.join("big.img"), folder.join("target.img"));
    let places = lab::partitioned_disk(&disk, 6 * GIB, 512, &format!("label: gpt\ntype={LINUX}"));
    let device = Loop::new(&disk, places[0].start, places[0].length, false);
    lab::run("mkfs.ext4", &["-q", &device.0]);
    drop(device);
    let store = text(&folder.join("store")).to_owned();
    remint_ends(0, &["capture", "big", "--to", &store, "--disk", text(&disk)]);
    fs::File::create(&target).unwrap().set_len(8 * GIB).unwrap();
    lab::overwrite(&target, 0, &lab::Noise::new(3).bytes(1 << 20));
    lab::overwrite(&target, 8 * GIB - MIB, &lab::Noise::new(4).bytes(1 << 20));
    (store, target)
}

#[test]
fn a_target_that_must_not_be_overwritten_is_refused_untouched() {
    let folder = lab::folder();
    let (disk, store) = captured(folder.path(), true);
    let image = |name: &str, size: u64| {
        let path = folder.path().join(name);
        lab::noisy_disk(&path, size);
        path
    };
    let deploy =
        |target: &str| remint_ends(1, &["deploy", "lab", "--from", &store, "--disk", target, "--yes"]);
    let says = |said: &str, parts: &[&str]| {
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
    };

    let small = image("small.img", 40 * MIB);
    let before = lab::hash_of(&small);
    says(&deploy(text(&small)), &[text(&small), "too small", "partition 2", "41943040 bytes", "missing"]);
    assert_eq!(lab::hash_of(&small), before);

    let target = image("target.img", 50 * MIB);
    let before = lab::hash_of(&target);
    // A loop device stands on the file.
    let device = Loop::new(&target, 0, 50 * MIB, false);
    let name = device.0.trim_start_matches("/dev/").to_owned();
    says(&deploy(text(&target)), &[text(&target), "in use", &name, "release"]);
    drop(device);
    // A read-only device.
    let device = Loop::new(&target, 0, 50 * MIB, true);
    says(&deploy(&device.0), &[&device.0, "read-only"]);
    drop(device);
    // Sectors of another size, on which the FAT cannot live.
    let device = Loop::with_sector(&target, 0, 50 * MIB, false, 4096);
    says(&deploy(&device.0), &["partition 2", "512-byte to 4096-byte sectors", "FAT16"]);
    drop(device);
    // The same disk twice, also by another name.
    let link = folder.path().join("link.img");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let twice = ["deploy", "lab", "--from", &store, "--disk", text(&target), "--disk", text(&link), "--yes"];
    says(&remint_ends(1, &twice), &[text(&target), "more than one disk"]);
    // More disks than the image has.
    let more = ["deploy", "lab", "--from", &store, "--disk", text(&target), "--disk", text(&small), "--yes"];
    remint_ends(1, &more);
    assert_eq!(lab::hash_of(&target), before);

    // Mounted: as a device, and as the file behind it, which would also be the disk that was captured.
    let mounted = folder.path().join("mounted.img");
    EXT4.build(&mounted, 50 * MIB, &files(folder.path()));
    let device = Loop::new(&mounted, 0, 50 * MIB, false);
    let place = tempfile::tempdir().unwrap();
    lab::run("mount", &[&device.0, text(place.path())]);
    let before = lab::tree(place.path());
    let (as_device, as_file) = (deploy(&device.0), deploy(text(&mounted)));
    let same = before == lab::tree(place.path());
    lab::run("umount", &[text(place.path())]);
    says(&as_device, &[&device.0, "mounted at", text(place.path())]);
    says(&as_file, &[text(&mounted), "mounted at", text(place.path())]);
    assert!(same, "the mounted file system was changed");
    drop(device);
    EXT4.check(&mounted, 0, 50 * MIB);

    // The captured disk itself is a target like any other.
    remint_ends(0, &["deploy", "lab", "--from", &store, "--disk", text(&disk), "--yes"]);
}

#[test]
fn an_image_lands_on_sectors_of_another_size_where_its_content_can() {
    let folder = lab::folder();
    let (_, store) = captured(folder.path(), false);
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 50 * MIB);
    let device = Loop::with_sector(&target, 0, 50 * MIB, false, 4096);
    remint_ends(0, &["deploy", "lab", "--from", &store, "--disk", &device.0, "--yes"]);
    drop(device);
    let place = lab::partitions(&target, 4096)[0];
    EXT4.check(&target, place.start, place.length);
}

#[test]
fn a_missing_tool_is_noticed_before_anything_is_written() {
    let folder = lab::folder();
    let (store, target) = growing(folder.path());
    let before = lab::traces(&target);
    // A mount namespace of its own, in which the tool is an empty file that cannot be started.
    let nothing = folder.path().join("nothing");
    fs::write(&nothing, "").unwrap();
    let tool = ["/usr/sbin/resize2fs", "/sbin/resize2fs"].into_iter().find(|path| Path::new(path).exists());
    let script = format!(
        "mount --bind {} $(readlink -f {}) && exec {} deploy big --from {store} --disk {} --yes",
        text(&nothing),
        tool.unwrap(),
        env!("CARGO_BIN_EXE_remint"),
        text(&target)
    );
    let output = Command::new("unshare").args(["--mount", "bash", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["nothing was written", "d0-p1", "resize2fs", "e2fsprogs", "--no-expand"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(lab::traces(&target) == before, "the target was written to");
}

/// Runs a copy of `remint` as nobody; returns its code and what it said.
fn as_nobody(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let program = folder.join("remint");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_remint"), &program).unwrap();
    }
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", text(&program)])
        .args(arguments)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[test]
fn whoever_is_not_root_can_do_everything_but_grow() {
    let folder = lab::folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let (disk, _) = captured(folder.path(), true);
    let nobody = |code: i32, arguments: &[&str]| {
        let (ended, said) = as_nobody(folder.path(), arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        said
    };
    // A file that nobody but root could write: the kernel would refuse to open it for writing.
    fs::set_permissions(&disk, Permissions::from_mode(0o444)).unwrap();
    let store = text(&folder.path().join("theirs")).to_owned();
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 44 * MIB);
    let deploy = ["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"];
    assert!(nobody(0, &["inspect", text(&disk)]).contains("ext4"));
    nobody(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    nobody(0, &["verify", "lab", "--from", &store, "--deep"]);
    nobody(0, &["plan", "lab", "--from", &store, "--disk", text(&target)]);
    let said = nobody(1, &deploy);
    assert!(said.contains("read-only") && said.contains(text(&target)), "{said}");
    fs::set_permissions(&target, Permissions::from_mode(0o666)).unwrap();
    nobody(0, &deploy);
    for (place, kind) in lab::partitions(&target, 512).iter().zip([&EXT4, &FAT]) {
        kind.check(&target, place.start, place.length);
        assert_eq!(
            kind.files(&target, place.start, place.length),
            kind.files(&disk, place.start, place.length)
        );
    }

    let (store, target) = growing(folder.path());
    fs::set_permissions(&target, Permissions::from_mode(0o666)).unwrap();
    let before = lab::traces(&target);
    let deploy = ["deploy", "big", "--from", &store, "--disk", text(&target), "--yes"];
    let said = nobody(1, &deploy);
    for part in ["nothing was written", "d0-p1", "needs root", "--no-expand"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(lab::traces(&target) == before, "the target was written to");
    nobody(0, &[deploy.as_slice(), &["--no-expand"]].concat());
}

#[test]
fn the_source_is_opened_for_reading_only() {
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    lab::disk_of_noise(&disk, 64 * MIB);
    let before = lab::hash_of(&disk);
    let store = text(&folder.path().join("store")).to_owned();
    let slow = ["--compress", "19", "--workers", "1"];
    let arguments = ["capture", "lab", "--to", &store, "--disk", text(&disk)];
    let mut running = Running::start(&[arguments.as_slice(), &slow].concat());
    running.wait_for(|event| matches!(event, Event::Advanced { phase: Phase::Capture, .. }));
    let process = PathBuf::from(format!("/proc/{}", running.id()));
    let mut opened = 0;
    for entry in fs::read_dir(process.join("fd")).unwrap().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|path| path == disk) {
            let info = fs::read_to_string(process.join("fdinfo").join(entry.file_name())).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            assert_eq!(u32::from_str_radix(flags, 8).unwrap() & 3, 0, "read-only is 0: {info}");
            opened += 1;
        }
    }
    assert!(opened > 0, "the source is not open");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, None);
    // A device that the kernel protects.
    let device = Loop::new(&disk, 0, 66 * MIB, true);
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", &device.0, "--compress", "none"]);
    drop(device);
    assert_eq!(lab::hash_of(&disk), before);
}
