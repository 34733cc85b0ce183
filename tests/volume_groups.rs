//! Volume groups of LVM are captured volume by volume and come back on larger and smaller disks, with their names and
//! UUIDs, as LVM's own tools see them; what cannot be read is refused by name.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::lvm::Lvm;
use lab::{Kind, MIB, Place, remint_ends, text};
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = "etc/lvm/devices/system.devices";
const LVM: &str = "E6D6D379-F507-44C2-A23C-238F2A3DF928";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const XFS: Kind = Kind { name: "XFS", family: "xfs", make: &["mkfs.xfs", "-q", "-f"] };

const FSTAB: &str = "etc/fstab";
const GRUB: &str = "boot/grub/grub.cfg";

/// Names by the device mapper and by udev, and a partition.
fn fstab(partition: &str, (group, volume): &(String, String)) -> String {
    let id = format!("{group}{volume}").replace('-', "");
    format!(
        "/dev/mapper/vg--sys-root / ext4 defaults 0 1\n/dev/vg.data/home-data /home xfs defaults 0 2\n\
         PARTUUID={partition} /srv ext4 defaults 0 2\n/dev/disk/by-id/dm-uuid-LVM-{id} /mnt ext4 noauto 0 0\n"
    )
}

fn grub((group, volume): &(String, String)) -> String {
    format!("set root='lvmid/{group}/{volume}'\nlinux /vmlinuz root=/dev/mapper/vg--sys-root ro\n")
}

/// What udev calls the first partition of a disk.
fn part_uuid(disk: &Path) -> String {
    lab::run("sfdisk", &["--part-uuid", text(disk), "1"]).trim().to_lowercase()
}

/// What the tools say of groups and volumes that has to be the same afterwards.
const SAME: [(&str, &str); 3] = [
    ("vgs", "vg_name,vg_uuid,vg_extent_size,pv_count,lv_count,vg_tags"),
    ("pvs", "pv_uuid,vg_name"),
    ("lvs", "lv_name,lv_uuid,vg_name,lv_tags,lv_permissions"),
];

/// Two disks: a table with a partition of each group, and a disk without a table that belongs to the second group.
struct Source {
    folder: tempfile::TempDir,
    disks: [PathBuf; 2],
}

fn whole(disk: &Path) -> Place {
    Place { number: 0, start: 0, length: fs::metadata(disk).unwrap().len() }
}

/// The physical volumes of the two disks.
fn members(one: &Path, other: &Path) -> Lvm {
    let parts = lab::partitions(one, 512);
    Lvm::new(&[(one, parts[1]), (one, parts[2]), (other, whole(other))])
}

impl Source {
    fn new() -> Self {
        let folder = lab::folder();
        let path = |name: &str| folder.path().join(name);
        let disks = [path("one.img"), path("other.img")];
        let script = format!("label: gpt\nsize=8MiB, type={LINUX}\nsize=300MiB, type={LVM}\ntype={LVM}\n");
        for (disk, size) in disks.iter().zip([700 * MIB, 200 * MIB]) {
            lab::noisy_disk(disk, size);
        }
        let sized = path("sized.img");
        lab::partitioned_disk(&sized, 700 * MIB, 512, &script);
        for (start, length) in [(0, MIB), (699 * MIB, MIB)] {
            lab::overwrite(&disks[0], start, &lab::bytes(&sized, start, length));
        }
        for part in lab::partitions(&disks[0], 512) {
            lab::overwrite(&disks[0], part.start, &vec![0; MIB as usize]);
        }
        lab::overwrite(&disks[1], 0, &vec![0; MIB as usize]);
        let lvm = members(&disks[0], &disks[1]);
        for position in 0..3 {
            lvm.run("pvcreate", &[lvm.device(position)]);
        }
        lvm.run("vgcreate", &["--addtag", "site=north", "vg-sys", lvm.device(0)]);
        lvm.run("vgcreate", &["-s", "1M", "vg.data", lvm.device(1), lvm.device(2)]);
        lvm.create("vg-sys", "root", &["-L", "96M"]);
        lvm.create("vg-sys", "swap_1", &["-L", "16M"]);
        lvm.run("lvextend", &["-L", "+128M", "vg-sys/root"]);
        lvm.create("vg.data", "home-data", &["-L", "300M", "--addtag", "keep"]);
        lvm.create("vg.data", "striped", &["-i", "2", "-I", "64k", "-L", "64M"]);
        let files = path("files");
        lab::real_files(&files, 6 << 20);
        // A list of devices that names the disk of this system.
        fs::create_dir_all(files.join("etc/lvm/devices")).unwrap();
        fs::write(files.join(LIST), "VERSION=1.1.1\nIDTYPE=sys_serial IDNAME=old DEVNAME=/dev/sda3 PVID=x\n")
            .unwrap();
        // A system that names its volumes and a partition.
        let named = |tool: &str, field: &str, of: &str| {
            lvm.run(tool, &["--noheadings", "-o", field, of]).trim().to_owned()
        };
        let ids = (named("vgs", "vg_uuid", "vg-sys"), named("lvs", "lv_uuid", "vg-sys/root"));
        fs::create_dir_all(files.join("boot/grub")).unwrap();
        fs::write(files.join(FSTAB), fstab(&part_uuid(&disks[0]), &ids)).unwrap();
        fs::write(files.join(GRUB), grub(&ids)).unwrap();
        let part = path("part.img");
        for (kind, volume) in
            [(&EXT4, "vg-sys/root"), (&XFS, "vg.data/home-data"), (&EXT4, "vg.data/striped")]
        {
            kind.build(&part, lvm.size(volume), &files);
            lvm.put(volume, &part);
        }
        fs::File::create(&part).unwrap().set_len(16 * MIB).unwrap();
        lab::run(
            "mkswap",
            &["-q", "-L", "swapping", "-U", "11111111-2222-4333-8444-555555555555", text(&part)],
        );
        lvm.put("vg-sys/swap_1", &part);
        drop(lvm);
        Self { folder, disks }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> String {
        text(&self.path("store")).to_owned()
    }

    fn capture(&self) -> String {
        let (one, other) = (text(&self.disks[0]), text(&self.disks[1]));
        remint_ends(0, &["capture", "lab", "--to", &self.store(), "--disk", one, "--disk", other])
    }

    fn deploy(&self, sizes: [u64; 2], options: &[&str]) -> [PathBuf; 2] {
        let targets = [self.path("target-one.img"), self.path("target-other.img")];
        for (target, size) in targets.iter().zip(sizes) {
            lab::noisy_disk(target, size);
        }
        let (one, other) = (format!("d0={}", text(&targets[0])), format!("d1={}", text(&targets[1])));
        let store = self.store();
        let own = ["deploy", "lab", "--from", &store, "--disk", &one, "--disk", &other, "--yes"];
        remint_ends(0, &[own.as_slice(), options].concat());
        targets
    }

    /// Names, UUIDs, files and checkers of everything on two targets.
    fn compare(&self, targets: &[PathBuf; 2]) -> Lvm {
        let (here, there) = (members(&self.disks[0], &self.disks[1]), members(&targets[0], &targets[1]));
        for (tool, fields) in SAME {
            assert_eq!(there.report(tool, fields), here.report(tool, fields), "{tool}");
        }
        there.run("vgck", &[]);
        let (before, after) = (self.path("before.img"), self.path("after.img"));
        for (kind, volume) in
            [(&EXT4, "vg-sys/root"), (&XFS, "vg.data/home-data"), (&EXT4, "vg.data/striped")]
        {
            let (old, new) = (here.take(volume, &before), there.take(volume, &after));
            kind.check(&after, 0, new);
            let mut expected = kind.files(&before, 0, old);
            // LVM would use no other disk than the one that is named there.
            let list = expected.remove(LIST).unwrap();
            assert_eq!(expected.insert(format!("{LIST}.captured"), list), None);
            assert_eq!(kind.files(&after, 0, new), expected, "{volume}");
        }
        there.take("vg-sys/swap_1", &after);
        let found = lab::run("blkid", &["-p", "-o", "export", text(&after)]);
        assert!(found.contains("UUID=11111111-2222-4333-8444-555555555555"), "{found}");
        assert!(found.contains("LABEL=swapping") && found.contains("TYPE=swap"), "{found}");
        there
    }
}

fn usage(image: &Path) -> u64 {
    let found = lab::run("dumpe2fs", &["-h", text(image)]);
    let field = |name: &str| {
        let line = found.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    field("Block count:") * field("Block size:")
}

#[test]
fn two_groups_on_two_disks_come_back_as_they_were_and_on_larger_and_smaller_disks() {
    let source = Source::new();
    let said = source.capture();
    assert!(said.contains("g0-l1") && said.contains("g1-l2"), "{said}");
    let store = source.store();
    remint_ends(0, &["verify", "lab", "--from", &store, "--deep"]);
    let shown = remint_ends(0, &["images", &store, "show", "lab"]);
    for expected in ["Volume group 0: vg-sys", "home-data", "striped", "swapping"] {
        assert!(shown.contains(expected), "{shown}");
    }

    // The same places on disks of the same size.
    let targets = source.deploy([700 * MIB, 200 * MIB], &["--layout", "original"]);
    let there = source.compare(&targets);
    let here = members(&source.disks[0], &source.disks[1]);
    for volume in ["vg-sys/root", "vg-sys/swap_1", "vg.data/home-data", "vg.data/striped"] {
        let extents =
            |places: Vec<(PathBuf, u64, u64)>| places.into_iter().map(|p| (p.1, p.2)).collect::<Vec<_>>();
        assert_eq!(extents(there.places(volume)), extents(here.places(volume)), "{volume}");
    }
    assert_eq!(there.report("lvs", "lv_name,stripes,lv_size"), here.report("lvs", "lv_name,stripes,lv_size"));
    drop((here, there));

    // Larger, with shares for all.
    let share = ["--layout", "custom", "--partition", "g0-l1=share", "--partition", "g1-l1=share"];
    let targets = source.deploy([1000 * MIB, 300 * MIB], &share);
    let there = source.compare(&targets);
    let after = source.path("after.img");
    let size = there.take("vg-sys/root", &after);
    assert!(size > 224 * MIB && usage(&after) == size, "{size} bytes, {} used", usage(&after));
    assert!(there.size("vg.data/home-data") > 300 * MIB);
    assert_eq!(there.size("vg-sys/swap_1"), 16 * MIB, "swap keeps its size");
    drop(there);

    // Smaller: ext4 shrinks, XFS cannot, and what was free is given up.
    let smaller = ["--layout", "custom", "--partition", "g0-l1=60MiB", "--partition", "g1-l2=share"];
    let targets = source.deploy([460 * MIB, 240 * MIB], &smaller);
    let there = source.compare(&targets);
    let size = there.take("vg-sys/root", &after);
    assert_eq!((size, usage(&after)), (60 * MIB, 60 * MIB));
}

#[test]
fn a_group_that_is_not_whole_is_refused_by_name_and_captured_whole_when_asked() {
    let source = Source::new();
    let (one, other) = (text(&source.disks[0]).to_owned(), text(&source.disks[1]).to_owned());
    let store = source.store();
    let said = remint_ends(1, &["capture", "half", "--to", &store, "--disk", &other]);
    for expected in ["d0-disk", "vg.data", "name all of its disks", "--when-dirty raw"] {
        assert!(said.contains(expected), "{said}");
    }
    remint_ends(0, &["capture", "half", "--to", &store, "--disk", &other, "--when-dirty", "raw"]);
    let shown = remint_ends(0, &["images", &store, "show", "half"]);
    assert!(shown.contains("LVM physical volume (raw)"), "{shown}");
    // The group that is whole can be captured without the other one.
    remint_ends(0, &["capture", "sys", "--to", &store, "--disk", &one, "--only", "g0-l1"]);
    let shown = remint_ends(0, &["images", &store, "show", "sys"]);
    assert!(shown.contains("left out") && shown.contains("vg-sys"), "{shown}");

    let inspected = remint_ends(0, &["inspect", &one, &other]);
    assert!(inspected.contains("Volume group 1: vg.data"), "{inspected}");
    // Its copy is there twice.
    let copy = source.path("copy.img");
    fs::copy(&source.disks[1], &copy).unwrap();
    let said = remint_ends(
        1,
        &["capture", "twice", "--to", &store, "--disk", &one, "--disk", &other, "--disk", text(&copy)],
    );
    assert!(said.contains("is there twice"), "{said}");
}

#[test]
fn a_copy_with_new_identifiers_has_new_uuids_everywhere_and_its_files_follow() {
    let source = Source::new();
    source.capture();
    let targets = source.deploy([720 * MIB, 210 * MIB], &["--new-ids"]);
    let (here, there) = (members(&source.disks[0], &source.disks[1]), members(&targets[0], &targets[1]));
    for (tool, uuids, names) in [
        ("vgs", "vg_uuid", "vg_name,vg_extent_size,pv_count,lv_count,vg_tags"),
        ("pvs", "pv_uuid", "vg_name"),
        ("lvs", "lv_uuid", "lv_name,vg_name,lv_tags,lv_permissions"),
    ] {
        assert_eq!(there.report(tool, names), here.report(tool, names), "{tool}");
        let (old, new) = (here.report(tool, uuids), there.report(tool, uuids));
        assert_eq!(old.len(), new.len());
        assert!(old.iter().all(|uuid| !new.contains(uuid)), "{tool}: {old:?} {new:?}");
    }
    there.run("vgck", &[]);
    let field = |lvm: &Lvm, tool: &str, field: &str, of: &str| {
        lvm.run(tool, &["--noheadings", "-o", field, of]).trim().to_owned()
    };
    let ids = (field(&there, "vgs", "vg_uuid", "vg-sys"), field(&there, "lvs", "lv_uuid", "vg-sys/root"));
    let after = source.path("after.img");
    let size = there.take("vg-sys/root", &after);
    EXT4.check(&after, 0, size);
    let mount = lab::Mount::new(&after, 0, size, "ext4", true);
    let read = |name: &str| fs::read_to_string(mount.path().join(name)).unwrap();
    assert_ne!(part_uuid(&targets[0]), part_uuid(&source.disks[0]));
    assert_eq!(read(FSTAB), fstab(&part_uuid(&targets[0]), &ids));
    assert_eq!(read(GRUB), grub(&ids));
    drop((here, there));
    // Both are in one machine, and LVM takes none for the other.
    let one = lab::partitions(&source.disks[0], 512);
    let two = lab::partitions(&targets[0], 512);
    let both = Lvm::new(&[(&source.disks[0], one[1]), (&targets[0], two[1])]);
    assert_eq!(both.report("pvs", "pv_uuid,vg_name").len(), 2);
}

#[test]
fn a_logical_volume_that_is_left_out_is_not_in_its_group() {
    let source = Source::new();
    source.capture();
    let targets = source.deploy([700 * MIB, 200 * MIB], &["--without", "g1-l2,g0-l2"]);
    let there = members(&targets[0], &targets[1]);
    assert_eq!(there.report("lvs", "vg_name,lv_name"), ["vg-sys root", "vg.data home-data"]);
    there.run("vgck", &[]);
    let after = source.path("after.img");
    let size = there.take("vg.data/home-data", &after);
    XFS.check(&after, 0, size);
}
