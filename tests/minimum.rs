//! The smallest size that is recorded of a file system is one that its tool reaches, however it is filled: shrunk to
//! exactly that, its checker is content and every file is the same.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{MIB, Mount, Noise, run, text};
use remint::blockio::ReadAt;
use remint::filesystem;
use remint::linux::DiskReader;
use remint::schema::State;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a file system is filled.
type Filling = (&'static str, fn(&Path, u64));

const FILLINGS: [Filling; 8] = [
    ("nothing", |_, _| {}),
    ("many small files", |folder, bytes| {
        let mut noise = Noise::new(1);
        for number in 0..bytes / MIB * 20 {
            let length = usize::try_from(noise.below(9000)).unwrap();
            if fs::write(in_folders(folder, number), noise.bytes(length)).is_err() {
                break;
            }
        }
    }),
    ("huge files", |folder, bytes| {
        for number in 0..3 {
            write_noise(&folder.join(format!("huge-{number}")), bytes / 5);
        }
    }),
    ("fragmented files", |folder, bytes| {
        fragment(folder, bytes, 4096);
    }),
    ("nearly full", |folder, bytes| {
        fill_up(folder, bytes / 40);
    }),
    ("full and fragmented", |folder, bytes| {
        fragment(folder, bytes / 2, 8192);
        fill_up(folder, bytes / 25);
    }),
    ("metadata", |folder, bytes| {
        for number in 0..bytes / MIB * 40 {
            let place = in_folders(folder, number);
            if number % 3 == 0 { drop(fs::create_dir(place)) } else { drop(File::create(place)) }
        }
    }),
    ("a scattered file", scatter),
];

/// A place in one of a few hundred folders.
fn in_folders(folder: &Path, number: u64) -> std::path::PathBuf {
    let inner = folder.join(format!("folder-{}", number % 200));
    let _ = fs::create_dir(&inner);
    inner.join(format!("file-{number}"))
}

fn write_noise(path: &Path, length: u64) {
    let mut file = File::create(path).unwrap();
    let mut noise = Noise::new(length);
    for _ in 0..length / 65536 {
        if file.write_all(&noise.bytes(65536)).is_err() {
            break;
        }
    }
}

/// Files written in turns, a piece of each, and every third of them deleted; then one that takes the holes.
fn fragment(folder: &Path, bytes: u64, piece: usize) {
    let count = 60u64;
    let files: Vec<File> =
        (0..count).map(|number| File::create(folder.join(format!("turn-{number}"))).unwrap()).collect();
    let mut noise = Noise::new(bytes);
    let turns = bytes / 2 / count / u64::try_from(piece).unwrap();
    for turn in 0..turns {
        for file in &files {
            let content = noise.bytes(piece);
            if file.write_all_at(&content, turn * u64::try_from(piece).unwrap()).is_err() {
                return;
            }
        }
        if turn % 8 == 0 {
            run("sync", &["-f", text(folder)]);
        }
    }
    drop(files);
    for number in (0..count).step_by(3) {
        fs::remove_file(folder.join(format!("turn-{number}"))).unwrap();
    }
    run("sync", &["-f", text(folder)]);
    write_noise(&folder.join("in the holes"), bytes / 8);
}

/// One file in as many pieces as it has blocks: it lies in the holes that deleted files left, and all else was full.
fn scatter(folder: &Path, bytes: u64) {
    let (small, full) = (folder.join("small"), folder.join("full"));
    fs::create_dir(&small).unwrap();
    fs::create_dir(&full).unwrap();
    let content = Noise::new(9).bytes(4000);
    let take = |number: &u64| fs::write(small.join(number.to_string()), &content).is_ok();
    let taken = (0..bytes / 16384).take_while(take).count();
    run("sync", &["-f", text(folder)]);
    fill_up(&full, 64 << 10);
    run("sync", &["-f", text(folder)]);
    for number in (0..taken).step_by(2) {
        let _ = fs::remove_file(small.join(number.to_string()));
    }
    run("sync", &["-f", text(folder)]);
    write_noise(&folder.join("scattered"), u64::try_from(taken).unwrap() / 2 * 4000);
    run("sync", &["-f", text(folder)]);
    fs::remove_dir_all(&full).unwrap();
}

/// Files until so many bytes are left.
fn fill_up(folder: &Path, left: u64) {
    let mut noise = Noise::new(left);
    for number in 0.. {
        let free = run("df", &["--output=avail", "--block-size=1", text(folder)]);
        let free: u64 = free.lines().last().unwrap().trim().parse().unwrap();
        if free <= left {
            return;
        }
        let length = (free - left).min(MIB + noise.below(3 * MIB));
        write_noise(&folder.join(format!("full-{number}")), length.next_multiple_of(65536));
    }
}

/// Has the MFT grow where there are only holes left for it.
fn fragment_mft(folder: &Path, bytes: u64) {
    let full = folder.join("full");
    fs::create_dir(&full).unwrap();
    let content = Noise::new(9).bytes(16384);
    let take = |number: &u64| fs::write(full.join(number.to_string()), &content).is_ok();
    let taken = (0..bytes / 16384).take_while(take).count();
    for number in (0..taken).filter(|number| number % 16 > 1) {
        let _ = fs::remove_file(full.join(number.to_string()));
    }
    for number in 0..bytes / 4096 {
        let _ = fs::write(in_folders(folder, number), [7; 300]);
    }
}

struct Form {
    name: &'static str,
    family: &'static str,
    make: &'static [&'static str],
    mib: u64,
    /// How much it is filled as if it were this large.
    filled_mib: u64,
}

const fn form(name: &'static str, family: &'static str, mib: u64, make: &'static [&'static str]) -> Form {
    Form { name, family, make, mib, filled_mib: mib }
}

/// Fills a file system, shrinks it to its minimum, and looks at it.
fn shrinks_to_its_minimum(form: &Form, (filling, fill): Filling) -> Result<(), String> {
    let folder = lab::folder();
    let image = folder.path().join("volume");
    let bytes = form.mib * MIB;
    File::create(&image).unwrap().set_len(bytes).unwrap();
    run(form.make[0], &[&form.make[1..], &[text(&image)]].concat());
    let mount = Mount::new(&image, 0, bytes, form.family, false);
    fill(mount.path(), form.filled_mib * MIB);
    run("sync", &["-f", text(mount.path())]);
    let files = lab::tree(mount.path());
    drop(mount);
    let found = filesystem::read(&DiskReader::open(&image).unwrap()).unwrap().unwrap().file_system;
    let what = format!("{}, {filling}", form.name);
    assert_eq!(found.state, State::Clean, "{what}: {:?}", found.findings);
    let (used, minimum) = (found.used_bytes.unwrap(), found.minimum_bytes);
    println!("{what}: {} MiB used, {} MiB at least", used / MIB, minimum / MIB);
    assert!(minimum <= bytes, "{what}");
    if minimum < bytes {
        shrink(form, &image, minimum).map_err(|said| format!("{what}, {used} used, to {minimum}: {said}"))?;
        File::options().write(true).open(&image).unwrap().set_len(minimum).unwrap();
        assert!(DiskReader::open(&image).unwrap().size_bytes() == minimum);
    }
    let mount = Mount::new(&image, 0, minimum, form.family, true);
    if lab::tree(mount.path()) == files { Ok(()) } else { Err(format!("{what}: files differ")) }
}

fn shrink(form: &Form, image: &Path, minimum: u64) -> Result<(), String> {
    let try_to = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let code = output.status.code();
        if code == Some(0) { Ok(()) } else { Err(format!("{program} {arguments:?} {code:?} {said}")) }
    };
    if form.family == "btrfs" {
        let mount = Mount::new(image, 0, fs::metadata(image).unwrap().len(), "btrfs", false);
        try_to("btrfs", &["filesystem", "resize", &minimum.to_string(), text(mount.path())])?;
        drop(mount);
        return try_to("btrfs", &["check", "--readonly", text(image)]);
    }
    if form.family == "ntfs" {
        let size = minimum.to_string();
        try_to("ntfsresize", &["-f", "-f", "--no-progress-bar", "--size", &size, text(image)])?;
        return try_to("ntfsresize", &["--info", "-f", "-f", "--no-progress-bar", text(image)]);
    }
    run("e2fsck", &["-f", "-p", text(image)]);
    try_to("resize2fs", &[text(image), &format!("{}s", minimum / 512)])?;
    try_to("e2fsck", &["-f", "-n", text(image)])
}

fn all(forms: &[Form], fillings: &[Filling]) {
    let tried = forms.iter().flat_map(|form| fillings.iter().map(move |filling| (form, *filling)));
    let failed: Vec<String> =
        tried.filter_map(|(form, filling)| shrinks_to_its_minimum(form, filling).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn ext_reaches_its_minimum_however_it_is_filled() {
    let make = &["mkfs.ext4", "-q", "-F", "-m", "0"];
    let groups_of_8_mib = &["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "1024"];
    all(&[form("ext4, 1 KiB blocks", "ext4", 200, groups_of_8_mib)], &FILLINGS);
    let large = Form { filled_mib: 100, ..form("ext4", "ext4", 700, make) };
    all(&[large], &[FILLINGS[1], FILLINGS[2], FILLINGS[7]]);
}

#[test]
fn ext_of_every_form_reaches_its_minimum() {
    let forms = [
        form("ext4, 2 KiB blocks", "ext4", 400, &["mkfs.ext4", "-q", "-F", "-b", "2048"]),
        form(
            "ext4, no flex_bg",
            "ext4",
            120,
            &["mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^flex_bg,^resize_inode"],
        ),
        form(
            "ext4, meta_bg",
            "ext4",
            120,
            &["mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "meta_bg,^resize_inode"],
        ),
        form("ext4, few inodes", "ext4", 1000, &["mkfs.ext4", "-q", "-F", "-i", "65536", "-J", "size=4"]),
        form("ext3", "ext4", 200, &["mkfs.ext3", "-q", "-F", "-b", "1024"]),
        form("ext2", "ext4", 200, &["mkfs.ext2", "-q", "-F", "-b", "1024"]),
    ];
    let forms = forms.map(|form| Form { filled_mib: 60, ..form });
    all(&forms, &[FILLINGS[1], FILLINGS[3]]);
}

#[test]
fn btrfs_reaches_its_minimum_however_it_is_filled() {
    let make = &["mkfs.btrfs", "-q", "-f"];
    all(&[Form { filled_mib: 200, ..form("btrfs", "btrfs", 1000, make) }], &FILLINGS[1..4]);
    let mixed = &["mkfs.btrfs", "-q", "-f", "--mixed", "-n", "4096"];
    let single = &["mkfs.btrfs", "-q", "-f", "-m", "single", "-R", "^free-space-tree"];
    let forms = [form("btrfs, mixed", "btrfs", 600, mixed), form("btrfs, single", "btrfs", 1500, single)];
    all(&forms.map(|form| Form { filled_mib: 300, ..form }), &[FILLINGS[6]]);
}

#[test]
fn ntfs_reaches_its_minimum_however_it_is_filled() {
    all(&[form("NTFS", "ntfs", 60, &["mkntfs", "-q", "-Q", "-F"])], &FILLINGS);
    all(&[form("NTFS", "ntfs", 60, &["mkntfs", "-q", "-Q", "-F"])], &[("a fragmented MFT", fragment_mft)]);
}

#[test]
fn ntfs_of_other_clusters_reaches_its_minimum() {
    let forms = [
        form("NTFS, 512-byte clusters", "ntfs", 40, &["mkntfs", "-q", "-Q", "-F", "-c", "512"]),
        form("NTFS, 64 KiB clusters", "ntfs", 60, &["mkntfs", "-q", "-Q", "-F", "-c", "65536"]),
    ];
    all(&forms, &[FILLINGS[1], FILLINGS[3]]);
}
