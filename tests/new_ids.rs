//! Deploys with new identifiers: every disk has its own, and what names partitions follows.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Kind, MIB, Mount, Place, remint_ends, text};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const XFS: Kind = Kind { name: "XFS", family: "xfs", make: &["mkfs.xfs", "-q", "-f"] };
/// Files of a system that name partitions; `{1}` is the first partition of the disk.
const SYSTEM: [(&str, &str); 8] = [
    ("etc/fstab", "PARTUUID={1} / ext4 ro 0 1\n# PARTUUID={2}\n/dev/disk/by-partuuid/{2}\t/srv xfs ro 0 2\n"),
    ("etc/crypttab", "swap PARTUUID=\"{2}\" /dev/urandom\n"),
    ("etc/initramfs-tools/conf.d/resume", "RESUME=PARTUUID={2}\n"),
    ("etc/dracut.conf.d/resume.conf", "add_device+=\" /dev/disk/by-partuuid/{2} \"\n"),
    ("etc/systemd/system/srv.mount", "[Mount]\nWhat=/dev/disk/by-partuuid/{2}\nWhere=/srv\n"),
    ("etc/settings/grub", "GRUB_CMDLINE_LINUX=\"root=PARTUUID={1^}\"\n"),
    ("boot/grub/grub.cfg", "search --part-uuid --set=root {1}\nlinux /vmlinuz root=PARTUUID={1} ro\n"),
    ("boot/loader/entries/debian.conf", "options root=PARTUUID={1}/PARTNROFF=0\n"),
];
/// Files that name none, or are no settings.
const OTHERS: [(&str, &str); 3] = [
    ("etc/hosts", "PARTUUID={1}\n"),
    ("etc/default/locale", "LANG=C\n"),
    ("etc/kernel/cmdline", "root=PARTUUID={1}0 root=UUID={1}-1\n"),
];

fn with_ids(text: &str, ids: &[String]) -> String {
    let mut text = text.to_owned();
    for (number, id) in (1..).zip(ids) {
        text = text.replace(&format!("{{{number}}}"), id);
        text = text.replace(&format!("{{{number}^}}"), &id.to_uppercase());
    }
    text
}

/// PARTUUIDs of a disk as `blkid`, and so the udev of a Linux, sees them; that of the disk comes first.
fn ids(disk: &Path, places: &[Place]) -> (String, Vec<String>) {
    let table: serde_json::Value =
        serde_json::from_str(&lab::run("sfdisk", &["--json", text(disk)])).unwrap();
    let table = &table["partitiontable"];
    let id = table["id"].as_str().unwrap().to_lowercase();
    let signature = id.trim_start_matches("0x");
    let entries = table["partitions"].as_array().unwrap();
    let partition = |place: &Place| {
        let start = place.start / 512;
        let entry = entries.iter().find(|entry| entry["start"].as_u64() == Some(start)).unwrap();
        match entry["uuid"].as_str() {
            Some(uuid) => uuid.to_lowercase(),
            None => format!("{signature}-{:02x}", place.number),
        }
    };
    (id.clone(), places.iter().map(partition).collect())
}

/// An image of a system on ext4, and of an XFS with a copy of it.
struct Lab {
    folder: tempfile::TempDir,
    store: String,
    disk: PathBuf,
    disk_id: String,
    ids: Vec<String>,
    places: Vec<Place>,
}

impl Lab {
    fn new(table: &str) -> Self {
        let folder = lab::folder();
        let (disk, part, files) =
            (folder.path().join("disk.img"), folder.path().join("part.img"), folder.path().join("files"));
        let places = lab::partitioned_disk(&disk, 370 * MIB, 512, table);
        let (disk_id, ids) = ids(&disk, &places);
        for (name, content) in SYSTEM.iter().chain(&OTHERS) {
            let path = files.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, with_ids(content, &ids)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        fs::create_dir_all(files.join("deep")).unwrap();
        fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
        // Links: one inside the system, from its root; and one that leads out of a mounted system.
        symlink("/etc/settings/grub", files.join("etc/default/grub")).unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, format!("PARTUUID={}\n", ids[0])).unwrap();
        fs::create_dir_all(files.join("boot/extlinux")).unwrap();
        symlink(
            format!("../../../../../../../../..{}", text(&outside)),
            files.join("boot/extlinux/extlinux.conf"),
        )
        .unwrap();
        for (place, kind) in places.iter().zip([&EXT4, &XFS]) {
            kind.build(&part, place.length, &files);
            lab::put(&disk, place.start, &part);
        }
        let store = text(&folder.path().join("store")).to_owned();
        remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
        Self { folder, store, disk, disk_id, ids, places }
    }

    fn outside(&self) -> String {
        fs::read_to_string(self.folder.path().join("outside")).unwrap()
    }

    fn target(&self, name: &str) -> PathBuf {
        let target = self.folder.path().join(name);
        lab::noisy_disk(&target, 380 * MIB);
        target
    }

    /// Everything of a deployed file system names the new partitions, and nothing else is changed.
    fn judge(&self, kind: &Kind, index: usize, target: &Path, place: Place, new: &[String]) {
        kind.check(target, place.start, place.length);
        let (mut was, mut is) = (
            kind.files(&self.disk, self.places[index].start, self.places[index].length),
            kind.files(target, place.start, place.length),
        );
        let old =
            Mount::new(&self.disk, self.places[index].start, self.places[index].length, kind.family, true);
        let now = Mount::new(target, place.start, place.length, kind.family, true);
        for (name, content) in SYSTEM {
            let (before, after) = (old.path().join(name), now.path().join(name));
            assert_eq!(fs::read_to_string(&after).unwrap(), with_ids(content, new), "{name}");
            let facts = |path: &Path| {
                let meta = fs::metadata(path).unwrap();
                (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec(), meta.ino())
            };
            assert_eq!(facts(&before), facts(&after), "{name}");
            was.remove(name);
            is.remove(name);
        }
        for (name, content) in OTHERS {
            assert_eq!(fs::read_to_string(now.path().join(name)).unwrap(), with_ids(content, &self.ids));
        }
        assert_eq!(was, is);
    }
}

/// What is deployed twice differs, and both differ from what was captured.
fn copies_have_identifiers_of_their_own(table: &str) {
    let lab = Lab::new(table);
    let targets = [lab.target("one.img"), lab.target("two.img")];
    let disks = targets.each_ref().map(|target| format!("d0={}", text(target)));
    let arguments = ["deploy", "lab", "--from", &lab.store, "--disk", &disks[0], "--disk", &disks[1]];
    let same = remint_ends(0, &[["plan"].as_slice(), &arguments[1..]].concat());
    let same = same.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(same.contains("--new-ids gives each its own"), "{same}");
    let said = remint_ends(0, &[arguments.as_slice(), &["--new-ids", "--yes", "--events", "json"]].concat());
    assert_eq!(said.matches("\"event\":\"changed\"").count(), 2 * 2 * SYSTEM.len(), "{said}");
    assert!(said.contains("/etc/fstab"), "{said}");
    let mut seen: BTreeSet<String> = lab.ids.iter().chain([&lab.disk_id]).cloned().collect();
    for target in &targets {
        let places = lab::partitions(target, 512);
        let (disk_id, ids) = ids(target, &places);
        for id in ids.iter().chain([&disk_id]) {
            assert!(seen.insert(id.clone()), "{id}");
        }
        for (index, kind) in [&EXT4, &XFS].into_iter().enumerate() {
            lab.judge(kind, index, target, places[index], &ids);
        }
    }
    assert_eq!(lab.outside(), format!("PARTUUID={}\n", lab.ids[0]), "a link led out of the system");
}

#[test]
fn copies_of_a_gpt_have_identifiers_of_their_own() {
    let linux = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
    copies_have_identifiers_of_their_own(&format!(
        "label: gpt\nsize=32MiB, type={linux}\nsize=320MiB, type={linux}\n"
    ));
}

#[test]
fn copies_of_an_mbr_have_signatures_of_their_own() {
    copies_have_identifiers_of_their_own(
        "label: dos\nlabel-id: 0x1a2b3c4d\nsize=32MiB, type=83\ntype=5\nsize=320MiB, type=83\n",
    );
}

#[test]
fn what_nobody_can_look_into_is_told_and_what_cannot_be_is_refused() {
    let folder = lab::folder();
    let (disk, part) = (folder.path().join("disk.img"), folder.path().join("part.img"));
    let places = lab::partitioned_disk(
        &disk,
        20 * MIB,
        512,
        "label: gpt\nsize=16MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    );
    fs::File::create(&part).unwrap().set_len(places[0].length).unwrap();
    lab::run("mkfs.exfat", &[text(&part)]);
    lab::put(&disk, places[0].start, &part);
    let store = text(&folder.path().join("store")).to_owned();
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 20 * MIB);
    let arguments = ["deploy", "lab", "--from", &store, "--disk", text(&target), "--new-ids", "--yes"];
    let said = remint_ends(3, &arguments);
    assert!(said.contains("d0-p1 (exFAT) was not looked into"), "{said}");
    assert_ne!(ids(&disk, &places), ids(&target, &places));
    let script = [arguments.as_slice(), &["--layout", "script"]].concat();
    assert!(remint_ends(1, &script).contains("the script gives the disk its identifiers"));
}

#[test]
fn on_a_btrfs_the_systems_in_subvolumes_follow_and_snapshots_stay() {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    let (disk, part, target) = (path("disk.img"), path("part.img"), path("target.img"));
    let places = lab::partitioned_disk(&disk, 204 * MIB, 512, "label: gpt\nsize=200MiB\n");
    let was = ids(&disk, &places).1.remove(0);
    fs::File::create(&part).unwrap().set_len(places[0].length).unwrap();
    lab::run("mkfs.btrfs", &["-q", text(&part)]);
    let fstab = |id: &str| format!("PARTUUID={id} / btrfs subvol=@rootfs 0 0\n");
    let roots = ["@rootfs", "@/.snapshots/1/snapshot", "data"];
    {
        let mount = Mount::new(&part, 0, places[0].length, "btrfs", false);
        let at = |name: &str| mount.path().join(name);
        let btrfs = |words: &[&str]| lab::run("btrfs", &[&["-q", "subvolume"], words].concat());
        btrfs(&["create", text(&at("@rootfs"))]);
        btrfs(&["create", text(&at("@"))]);
        fs::create_dir_all(at("@/.snapshots/1")).unwrap();
        btrfs(&["create", text(&at("@/.snapshots/1/snapshot"))]);
        for root in roots {
            fs::create_dir_all(at(root).join("etc")).unwrap();
            fs::write(at(root).join("etc/fstab"), fstab(&was)).unwrap();
        }
        btrfs(&["snapshot", "-r", text(&at("@rootfs")), text(&at("before"))]);
        // Neither a link nor a folder is a subvolume.
        symlink("/etc", at("elsewhere")).unwrap();
    }
    lab::put(&disk, places[0].start, &part);
    let store = text(&path("store")).to_owned();
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    lab::noisy_disk(&target, 204 * MIB);
    let arguments = ["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes", "--new-ids"];
    remint_ends(0, &arguments);
    let places = lab::partitions(&target, 512);
    let is = ids(&target, &places).1.remove(0);
    assert_ne!(is, was);
    let seen = Mount::new(&target, places[0].start, places[0].length, "btrfs", true);
    for (root, id) in [(roots[0], &is), (roots[1], &is), (roots[2], &was), ("before", &was)] {
        let name = seen.path().join(root).join("etc/fstab");
        assert_eq!(fs::read_to_string(name).unwrap(), fstab(id), "{root}");
    }
}
