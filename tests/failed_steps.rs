//! A step of a deploy that fails is a problem that names it: the disk has its table, what could be done is done, and every system
//! names partitions that are there.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Kind, MIB, Mount, Place, remint_ends, run, text};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const NTFS: Kind = Kind { name: "NTFS", family: "ntfs", make: &["mkntfs", "-q", "-F", "-Q"] };
const BTRFS: Kind = Kind { name: "btrfs", family: "btrfs", make: &["mkfs.btrfs", "-q", "-m", "single"] };
const FAT: Kind = Kind { name: "FAT32", family: "fat", make: &["mkfs.fat", "-F", "32"] };
const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const GPT: &str = "label: gpt\nsize=32MiB, type=L\nsize=32MiB, type=L\nsize=120MiB, type=L\n";
const DISK_BYTES: u64 = 188 * MIB;

/// A root on ext4, a `/boot` on ext4, and another file system.
struct Lab {
    folder: tempfile::TempDir,
    places: Vec<Place>,
    ids: Vec<String>,
}

fn one_line(output: &str) -> String {
    output.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// PARTUUIDs of a disk, as `sfdisk` sees them.
fn ids(disk: &Path) -> Vec<String> {
    let table: serde_json::Value = serde_json::from_str(&run("sfdisk", &["--json", text(disk)])).unwrap();
    let entries = table["partitiontable"]["partitions"].as_array().unwrap();
    entries.iter().map(|entry| entry["uuid"].as_str().unwrap().to_lowercase()).collect()
}

/// Fills a volume to its last block.
fn fill(folder: &Path) {
    let mut file = fs::File::create(folder.join("filler")).unwrap();
    for size in [1 << 20, 4096] {
        while std::io::Write::write_all(&mut file, &vec![5; size]).and_then(|()| file.sync_all()).is_ok() {}
    }
}

impl Lab {
    fn new(third: &Kind) -> Self {
        let folder = lab::folder();
        let disk = folder.path().join("disk.img");
        let places = lab::partitioned_disk(&disk, DISK_BYTES, 512, GPT);
        let lab = Self { ids: ids(&disk), folder, places };
        let named = |number: usize| format!("PARTUUID={}", lab.ids[number]);
        let fstab = format!("{} / ext4 ro 0 1\n{} /boot ext4 ro 0 2\n", named(0), named(1));
        let menu = format!("search --part-uuid {}\nlinux /vmlinuz root={} ro\n", lab.ids[1], named(0));
        lab.build(
            0,
            &EXT4,
            &[("etc/fstab", &fstab), ("etc/hostname", "golden\n"), ("etc/hosts", "127.0.0.1 golden\n")],
        );
        lab.build(1, &EXT4, &[("grub/grub.cfg", &menu)]);
        lab.build(2, third, &[("etc/fstab", &fstab)]);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn build(&self, position: usize, kind: &Kind, files: &[(&str, &str)]) {
        let (tree, part) = (self.path(&format!("files{position}")), self.path("part"));
        for (file, content) in files.iter().chain(&[("deep/file", "x")]) {
            fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
            fs::write(tree.join(file), content).unwrap();
        }
        fs::write(tree.join("noise-65536"), [7; 65536]).unwrap();
        kind.build(&part, self.places[position].length, &tree);
        if kind.family == "fat" {
            // What is built is in a folder of its own there.
            run("mcopy", &["-s", "-Q", "-i", text(&part), text(&tree.join("etc")), "::/"]);
        }
        lab::put(&self.path("disk.img"), self.places[position].start, &part);
    }

    fn mount(&self, disk: &str, position: usize, kind: &Kind) -> Mount {
        let disk = self.path(disk);
        let place = lab::partitions(&disk, 512)[position];
        Mount::new(&disk, place.start, place.length, kind.family, disk.ends_with("target.img"))
    }

    /// Damages a volume of the captured disk with `debugfs`.
    fn debug(&self, position: usize, command: &str) {
        let (disk, part, place) = (self.path("disk.img"), self.path("part"), self.places[position]);
        fs::write(&part, lab::bytes(&disk, place.start, place.length)).unwrap();
        run("debugfs", &["-w", "-R", command, text(&part)]);
        lab::put(&disk, place.start, &part);
    }

    /// Captures the disk and deploys it to another one, which ends with this code. Returns what was said, in one line.
    fn deploy(&self, code: i32, options: &[&str]) -> String {
        let (ended, said) = self.deploy_either_way(options);
        assert_eq!(ended, code, "{said}");
        said
    }

    /// The same, where this machine decides how it ends. Returns the code, too.
    fn deploy_either_way(&self, options: &[&str]) -> (i32, String) {
        let target = self.path("target.img");
        self.deploy_to(&["--disk", text(&target)], options)
    }

    fn deploy_to(&self, targets: &[&str], options: &[&str]) -> (i32, String) {
        let (disk, target, store) = (self.path("disk.img"), self.path("target.img"), self.path("store"));
        remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);
        lab::noisy_disk(&target, DISK_BYTES);
        let words = ["deploy", "lab", "--from", text(&store), "--yes", "--layout", "original"];
        let output = lab::remint(&[words.as_slice(), targets, options].concat());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let code = output.status.code().unwrap();
        assert!(code == 0 || code == 3, "{said}");
        run("sgdisk", &["--verify", text(&target)]);
        (code, one_line(&said))
    }

    /// Every file of the deployed systems names partitions of the target. Returns whether they have the captured identifiers.
    fn is_as_captured(&self, third: &Kind, files: &[(usize, &str)]) -> bool {
        let is = ids(&self.path("target.img"));
        for (position, file) in files {
            let kind = if *position == 2 { third } else { &EXT4 };
            let mount = self.mount("target.img", *position, kind);
            let content = fs::read_to_string(mount.path().join(file)).unwrap();
            let named: BTreeSet<&str> = content
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .filter(|word| word.len() == 36)
                .collect();
            assert_eq!(named, BTreeSet::from([is[0].as_str(), is[1].as_str()]), "{file} of {position}");
        }
        is == self.ids
    }
}

const ROOT: (usize, &str) = (0, "etc/fstab");
const BOOT: (usize, &str) = (1, "grub/grub.cfg");
const OTHER: (usize, &str) = (2, "etc/fstab");

#[test]
fn new_identifiers_are_given_where_everything_follows_on_full_volumes_too() {
    let lab = Lab::new(&EXT4);
    // Neither a folder nor a link that leads out of the system is a file that names partitions.
    {
        let mount = lab.mount("disk.img", 1, &EXT4);
        fs::create_dir_all(mount.path().join("etc/fstab")).unwrap();
        fs::create_dir_all(mount.path().join("loader/entries/a.conf")).unwrap();
        symlink(lab.path("disk.img"), mount.path().join("cmdline.txt")).unwrap();
        symlink("/cmdline.txt", mount.path().join("refind_linux.conf")).unwrap();
    }
    (0..3).for_each(|position| fill(lab.mount("disk.img", position, &EXT4).path()));
    lab.deploy(0, &["--new-ids"]);
    assert!(!lab.is_as_captured(&EXT4, &[ROOT, BOOT, OTHER]));
}

/// Where a hole is in a file, the file has no blocks: they are what a full volume does not have.
#[test]
fn a_file_that_finds_no_room_is_as_it_was_and_all_keep_the_captured_identifiers() {
    const HOLE_BYTES: u64 = 256 << 10;
    let lab = Lab::new(&EXT4);
    let fstab = fs::read_to_string(lab.path("files2/etc/fstab")).unwrap();
    {
        let mount = lab.mount("disk.img", 2, &EXT4);
        let file = fs::OpenOptions::new().write(true).open(mount.path().join("etc/fstab")).unwrap();
        file.write_all_at(fstab.as_bytes(), HOLE_BYTES).unwrap();
        file.sync_all().unwrap();
        fill(mount.path());
    }
    let said = lab.deploy(3, &["--new-ids"]);
    let failed = "making the names of partitions follow (d0-p3) failed: changing /etc/fstab: No space left";
    assert!(said.contains(failed), "{said}");
    assert!(lab.is_as_captured(&EXT4, &[ROOT, BOOT, OTHER]), "{said}");
    let mount = lab.mount("target.img", 2, &EXT4);
    let is = fs::read(mount.path().join("etc/fstab")).unwrap();
    let hole = vec![0; usize::try_from(HOLE_BYTES).unwrap() - fstab.len()];
    assert!(is == [fstab.as_bytes(), &hole, fstab.as_bytes()].concat(), "another content");
    drop(mount);
    EXT4.check(&lab.path("target.img"), lab.places[2].start, lab.places[2].length);
}

/// What a btrfs writes goes to another place, for which a full one may have room or not.
#[test]
fn on_a_full_btrfs_too_either_all_names_follow_or_none() {
    let lab = Lab::new(&BTRFS);
    fill(lab.mount("disk.img", 2, &BTRFS).path());
    let (code, said) = lab.deploy_either_way(&["--new-ids"]);
    let has_failed =
        said.contains("making the names of partitions follow (d0-p3) failed: changing /etc/fstab");
    assert_eq!(code, if has_failed { 3 } else { 0 }, "{said}");
    assert_eq!(lab.is_as_captured(&BTRFS, &[ROOT, BOOT, OTHER]), has_failed, "{said}");
    BTRFS.check(&lab.path("target.img"), lab.places[2].start, lab.places[2].length);
}

#[test]
fn where_one_volume_cannot_follow_all_keep_the_captured_identifiers() {
    let lab = Lab::new(&EXT4);
    // The inode of a file that is named: the kernel refuses it when it is opened.
    lab.debug(1, "clri /grub/grub.cfg");
    let said = lab.deploy(3, &["--new-ids", "--computer-name", "pc-07"]);
    assert!(
        said.contains("making the names of partitions follow (d0-p2) failed: reading /grub/grub.cfg"),
        "{said}"
    );
    assert!(
        said.contains("keeps the identifiers that it was captured with, because what names them in d0-p2"),
        "{said}"
    );
    assert!(lab.is_as_captured(&EXT4, &[ROOT, OTHER]));
    let root = lab.mount("target.img", 0, &EXT4);
    assert_eq!(fs::read_to_string(root.path().join("etc/hostname")).unwrap(), "pc-07\n", "the other steps");
    drop(root);
    let place = lab.places[0];
    EXT4.check(&lab.path("target.img"), place.start, place.length);
}

#[test]
fn a_file_that_is_too_large_to_be_looked_into_keeps_the_captured_identifiers() {
    let lab = Lab::new(&EXT4);
    {
        let mount = lab.mount("disk.img", 2, &EXT4);
        fs::File::create(mount.path().join("etc/crypttab")).unwrap().set_len(5 << 20).unwrap();
    }
    let said = lab.deploy(3, &["--new-ids"]);
    assert!(said.contains("/etc/crypttab has 5242880 bytes and was not looked into"), "{said}");
    assert!(lab.is_as_captured(&EXT4, &[ROOT, BOOT, OTHER]), "{said}");
}

/// The names in the deployed files of `target` are those of its own table, and of no other copy.
#[test]
fn of_two_copies_none_becomes_the_twin_of_the_other() {
    let lab = Lab::new(&EXT4);
    lab.debug(1, "clri /grub/grub.cfg");
    let other = lab.path("other.img");
    lab::noisy_disk(&other, DISK_BYTES);
    let (first, second) = (format!("d0={}", text(&lab.path("target.img"))), format!("d0={}", text(&other)));
    let (code, said) = lab.deploy_to(&["--disk", &first, "--disk", &second], &["--new-ids"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("d0-p2 does not follow to the new identifiers of partitions"), "{said}");
    for path in [&lab.path("target.img"), &other] {
        let named = format!("{}: making the names of partitions follow (d0-p2) failed", text(path));
        assert!(said.contains(&named), "{said}");
        let place = lab.places[0];
        let mount = Mount::new(path, place.start, place.length, EXT4.family, true);
        let fstab = fs::read_to_string(mount.path().join("etc/fstab")).unwrap();
        assert!(ids(path).iter().take(2).all(|id| fstab.contains(id.as_str())), "{fstab}");
    }
    let all: BTreeSet<String> =
        [ids(&lab.path("target.img")), ids(&other), lab.ids.clone()].into_iter().flatten().collect();
    assert_eq!(all.len(), 9);
}

/// Where the kernel mounts FAT, names in it follow.
#[test]
fn names_in_a_fat_that_no_kernel_mounts_are_found_and_keep_the_captured_identifiers() {
    let lab = Lab::new(&FAT);
    let (code, said) = lab.deploy_either_way(&["--new-ids"]);
    // Only now: the deploy loads the module where there is one.
    let has_fat = fs::read_to_string("/proc/filesystems").unwrap().contains("vfat");
    assert_eq!(code, if has_fat { 0 } else { 3 }, "{said}");
    assert_eq!(said.contains("d0-p3: /etc/fstab names partitions as they were captured"), !has_fat, "{said}");
    assert_eq!(lab.is_as_captured(&FAT, &[ROOT, BOOT]), !has_fat, "{said}");
}

#[test]
fn of_several_files_in_one_volume_all_follow_or_none() {
    let lab = Lab::new(&EXT4);
    let fstab = fs::read_to_string(lab.path("files0/etc/fstab")).unwrap();
    {
        let mount = lab.mount("disk.img", 0, &EXT4);
        fs::write(mount.path().join("etc/crypttab"), &fstab).unwrap();
        // What cannot be written, though it can be read.
        run("chattr", &["+i", text(&mount.path().join("etc/crypttab"))]);
    }
    let said = lab.deploy(3, &["--new-ids"]);
    assert!(said.contains("making the names of partitions follow (d0-p1) failed: "), "{said}");
    assert!(lab.is_as_captured(&EXT4, &[ROOT, (0, "etc/crypttab"), BOOT, OTHER]));
}

#[test]
fn a_name_that_finds_no_room_is_a_problem_and_the_other_system_gets_its_own() {
    let lab = Lab::new(&NTFS);
    let answers = "Windows/Panther/unattend.xml";
    let mut text = "<unattend><TimeZone>UTC</TimeZone>".to_owned();
    text.push_str(&format!("<!--{}--></unattend>", "x".repeat(8192 - text.len() - 18)));
    assert_eq!(text.len(), 8192);
    {
        let mount = lab.mount("disk.img", 2, &NTFS);
        fs::create_dir_all(mount.path().join("Windows/Panther")).unwrap();
        fs::write(mount.path().join(answers), &text).unwrap();
        fs::create_dir_all(mount.path().join("Windows/System32/config")).unwrap();
        fs::write(mount.path().join(SYSTEM), lab::windows::hive()).unwrap();
        fill(mount.path());
    }
    let said =
        lab.deploy(3, &["--computer-name", "a-longer-name", "--answer", "TimeZone=W. Europe Standard Time"]);
    assert!(said.contains(&format!("d0-p3: /{answers} is not changed")), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    let read = |position, kind, file: &str| {
        fs::read_to_string(lab.mount("target.img", position, kind).path().join(file)).unwrap()
    };
    assert!(read(2, &NTFS, answers) == text, "the file of a Windows is torn");
    assert_eq!(read(0, &EXT4, "etc/hostname"), "a-longer-name\n");
    NTFS.check(&lab.path("target.img"), lab.places[2].start, lab.places[2].length);
}

#[test]
fn a_copy_that_finds_no_inode_is_a_problem_and_leaves_no_half() {
    let lab = Lab::new(&EXT4);
    {
        let mount = lab.mount("disk.img", 1, &EXT4);
        let mut count = 0;
        while fs::write(mount.path().join(format!("empty-{count}")), "").is_ok() {
            count += 1;
        }
    }
    fs::write(lab.path("tool"), "a tool").unwrap();
    let copy = format!("{}=d0-p2:/tool", text(&lab.path("tool")));
    let other = format!("{}=d0-p3:/tool", text(&lab.path("tool")));
    let said = lab.deploy(3, &["--copy", &copy, "--copy", &other]);
    assert!(said.contains("/tool to /tool (d0-p2) failed: copying /tool to d0-p2: No space left"), "{said}");
    let names = |position| {
        let mount = lab.mount("target.img", position, &EXT4);
        let list: Vec<String> = fs::read_dir(mount.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        list.into_iter().filter(|name| name.contains("tool") || name.starts_with('.')).collect::<Vec<_>>()
    };
    assert_eq!(names(1), [""; 0]);
    assert_eq!(names(2), ["tool"], "the other copy");
}

#[test]
fn a_script_whose_volume_cannot_be_mounted_is_a_problem_or_fails_the_deploy_where_it_is_fatal() {
    let lab = Lab::new(&EXT4);
    // Without its root nobody mounts it.
    lab.debug(1, "clri <2>");
    let script = lab.path("script.sh");
    fs::write(&script, format!("touch {}", text(&lab.path("ran")))).unwrap();
    let words = ["--script-before-copy", text(&script), "--script-volume", "d0-p2"];
    let said = lab.deploy(3, &words);
    assert!(said.contains("(d0-p2) failed: mounting the ext4"), "{said}");
    assert!(!lab.path("ran").exists());
    let target = lab.path("target.img");
    let fatal = [words.as_slice(), &["--scripts-fatal"]].concat();
    let store = lab.path("store");
    let deploy = ["deploy", "lab", "--from", text(&store), "--disk", text(&target), "--yes"];
    let said = remint_ends(4, &[deploy.as_slice(), &fatal].concat());
    assert!(one_line(&said).contains("left without a partition table"), "{said}");
    assert!(!lab.path("ran").exists());
}
