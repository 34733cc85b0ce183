//! Files come into deployed file systems as they were packed, nothing else changes, and what cannot be copied is refused before
//! anything is written.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::lvm::Lvm;
use lab::running::{Ended, Running};
use lab::{Kind, MIB, Mount, remint_ends, run, text};
use remint::progress::Event;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const XFS: Kind = Kind { name: "XFS", family: "xfs", make: &["mkfs.xfs", "-q", "-f"] };
const BTRFS: Kind = Kind { name: "btrfs", family: "btrfs", make: &["mkfs.btrfs", "-q", "-f", "-M"] };
const NTFS: Kind = Kind { name: "NTFS", family: "ntfs", make: &["mkntfs", "-Q", "-F", "-q"] };
const FAT: Kind = Kind { name: "FAT32", family: "fat", make: &["mkfs.fat", "-F", "32"] };

/// An image of a disk with one volume, and a folder to copy.
struct Lab {
    folder: tempfile::TempDir,
    kind: &'static Kind,
    target_mib: u64,
}

impl Lab {
    fn new(kind: &'static Kind, size_mib: u64) -> Self {
        let lab = Self { folder: lab::folder(), kind, target_mib: size_mib + 18 };
        let files = lab.path("files");
        fs::create_dir_all(files.join("deep")).unwrap();
        fs::create_dir_all(files.join("etc")).unwrap();
        fs::write(files.join("deep/file"), "x").unwrap();
        fs::write(files.join("etc/lab.conf"), "old").unwrap();
        fs::write(files.join("noise-65536"), [7; 65536]).unwrap();
        let part = lab.path("part.img");
        let table = format!("label: dos\nsize={size_mib}MiB, type=83\n");
        let places = lab::partitioned_disk(&lab.path("disk.img"), (size_mib + 2) * MIB, 512, &table);
        kind.build(&part, places[0].length, &files);
        lab::put(&lab.path("disk.img"), places[0].start, &part);
        let (store, disk) = (lab.path("store"), lab.path("disk.img"));
        remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);
        lab::noisy_disk(&lab.path("target.img"), lab.target_mib * MIB);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder with what a folder can have.
    fn tree(&self) -> PathBuf {
        let tree = self.path("tree");
        fs::create_dir_all(tree.join("sub/empty")).unwrap();
        fs::write(tree.join("sub/program"), "#!/bin/sh\n").unwrap();
        fs::write(tree.join("sub/large"), lab::Noise::new(5).bytes(3_000_001)).unwrap();
        fs::write(tree.join(format!("{}.txt", "long".repeat(40))), "").unwrap();
        fs::hard_link(tree.join("sub/large"), tree.join("again")).unwrap();
        symlink("sub/large", tree.join("link")).unwrap();
        symlink("/etc/passwd", tree.join("absolute")).unwrap();
        fs::set_permissions(tree.join("sub/program"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(tree.join("sub"), fs::Permissions::from_mode(0o2711)).unwrap();
        run("chown", &["-h", "1234:567", text(&tree.join("sub/program")), text(&tree.join("link"))]);
        // After this owner the mode has to be set again: chown takes the first bit away.
        fs::set_permissions(tree.join("sub/program"), fs::Permissions::from_mode(0o4750)).unwrap();
        run(
            "touch",
            &["-h", "-d", "2001-02-03 04:05:06 UTC", text(&tree.join("link")), text(&tree.join("sub"))],
        );
        tree
    }

    fn deploy(&self, options: &[&str]) -> Ended {
        self.deploy_with(&[], options)
    }

    fn deploy_with(&self, variables: &[(&str, &str)], options: &[&str]) -> Ended {
        let (store, target) = (self.path("store"), self.path("target.img"));
        let arguments = ["deploy", "lab", "--from", text(&store), "--disk", text(&target), "--yes"];
        Running::start_with(variables, &[arguments.as_slice(), options].concat()).end()
    }

    fn mount(&self) -> Mount {
        let target = self.path("target.img");
        let place = lab::partitions(&target, 512)[0];
        let family = if self.kind.family == "fat" { "vfat" } else { self.kind.family };
        Mount::new(&target, place.start, place.length, family, true)
    }

    fn check(&self) {
        let place = lab::partitions(&self.path("target.img"), 512)[0];
        self.kind.check(&self.path("target.img"), place.start, place.length);
    }

    /// A deploy is refused with this in its sentence, and nothing was written.
    fn refuses(&self, options: &[&str], part: &str) {
        let before = lab::traces(&self.path("target.img"));
        let ended = self.deploy(options);
        let (message, changed) = ended.failure();
        assert!(!changed && message.contains(part), "{options:?}: {message}");
        assert_eq!(ended.code, Some(1));
        assert!(before == lab::traces(&self.path("target.img")), "{options:?}");
    }
}

/// What is below a folder: kind, mode, owner, time and content of each.
fn facts(root: &Path, with_rights: bool) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                open.push(path.clone());
                String::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                lab::hash_of(&path)
            };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            let rights = format!("{:o} {}:{} {} {links}", meta.mode(), meta.uid(), meta.gid(), meta.mtime());
            let said = if with_rights { format!("{rights} {content}") } else { content };
            facts.insert(path.strip_prefix(root).unwrap().display().to_string(), said);
        }
    }
    facts
}

fn same(found: &BTreeMap<String, String>, expected: &BTreeMap<String, String>, what: &str) {
    let differ = |name: &&String| found.get(*name) != expected.get(*name);
    let names: Vec<&String> = found.keys().chain(expected.keys()).filter(differ).collect();
    let told: Vec<_> = names.iter().map(|name| (name, found.get(*name), expected.get(*name))).collect();
    assert!(names.is_empty(), "{what}: {told:#?}");
}

fn changes(ended: &Ended) -> Vec<&str> {
    let changes = ended.events.iter().filter_map(|event| match event {
        Event::Changed { message, .. } => Some(message.as_str()),
        _ => None,
    });
    changes.collect()
}

#[test]
fn a_folder_an_archive_and_a_file_are_copied_with_all_that_linux_keeps() {
    for (kind, size_mib) in [(&EXT4, 48), (&XFS, 320), (&BTRFS, 140)] {
        let lab = Lab::new(kind, size_mib);
        let tree = lab.tree();
        let conf = lab.path("lab.conf");
        fs::write(&conf, "new").unwrap();
        let gzip = lab.path("tree.tar.gz");
        run("tar", &["-czf", text(&gzip), "-C", text(&tree), "."]);
        let zstd = lab.path("tree.tar.zst");
        run("tar", &["--zstd", "--format=pax", "-cf", text(&zstd), "-C", text(&tree), "."]);
        let copy = |path: &Path, to: &str| format!("{}={to}", text(path));
        let copies = [
            copy(&tree, "d0-p1:/opt/lab"),
            copy(&gzip, "1:/opt/gzip/"),
            copy(&zstd, "1:/opt/zstd/"),
            copy(&conf, "d0-p1:/etc/"),
            // The same again is the same.
            copy(&tree, "1:/opt/twice"),
            copy(&tree, "1:/opt/twice/"),
            copy(&gzip, "d0-p1:/srv/lab.tar.gz"),
        ];
        let options: Vec<&str> = copies.iter().flat_map(|copy| ["--copy", copy.as_str()]).collect();
        let ended = lab.deploy(&options);
        assert_eq!(ended.code, Some(0), "{} {:?}", kind.name, ended.events);
        lab.check();
        let mount = lab.mount();
        let expected = facts(&tree, true);
        assert!(expected.len() > 7);
        for place in ["opt/lab", "opt/gzip", "opt/zstd"] {
            same(&facts(&mount.path().join(place), true), &expected, &format!("{} {place}", kind.name));
        }
        // But for when something in a folder was replaced.
        let without_folders = |mut facts: BTreeMap<String, String>| {
            facts.retain(|path, _| !tree.join(path).is_dir());
            facts
        };
        let twice = without_folders(facts(&mount.path().join("opt/twice"), true));
        same(&twice, &without_folders(expected.clone()), kind.name);
        let read = |path: &str| fs::read(mount.path().join(path)).unwrap();
        assert_eq!(read("etc/lab.conf"), b"new");
        assert_eq!(read("srv/lab.tar.gz"), fs::read(&gzip).unwrap());
        let opt = fs::metadata(mount.path().join("opt")).unwrap();
        assert_eq!((opt.mode() & 0o7777, opt.uid()), (0o755, 0));
        assert_eq!(fs::read(mount.path().join("deep/file")).unwrap(), b"x", "what was deployed is there");
        let changes = changes(&ended);
        assert_eq!(changes.len(), 7, "{changes:?}");
        assert!(changes[0].contains("3 files, 2.86 MiB copied to /opt/lab"), "{changes:?}");
    }
}

#[test]
fn what_windows_and_fat_do_not_keep_is_said() {
    for (kind, size_mib, below) in [(&NTFS, 48, ""), (&FAT, 64, "content/")] {
        if kind.family == "fat" && !fs::read_to_string("/proc/filesystems").unwrap().contains("vfat") {
            let lab = Lab::new(kind, size_mib);
            lab.refuses(&["--copy", "/etc/passwd=1:/content/"], "this kernel cannot mount FAT32");
            continue;
        }
        let lab = Lab::new(kind, size_mib);
        let tree = lab.tree();
        // A folder that is there is the same folder with capitals.
        let copies = [format!("{}=1:/{below}ETC/lab", text(&tree))];
        let ended = lab.deploy(&["--copy", &copies[0]]);
        assert_eq!(ended.code, Some(3), "{} {:?}", kind.name, ended.events);
        assert!(changes(&ended)[0].contains("does not keep whose they are"), "{:?}", changes(&ended));
        let Some(Event::Finished { message, .. }) = ended.events.last() else { panic!() };
        assert!(message.contains("2 symbolic links of"), "{message}");
        lab.check();
        let mount = lab.mount();
        let mut expected = facts(&tree, false);
        expected.remove("link");
        expected.remove("absolute");
        same(&facts(&mount.path().join(format!("{below}etc/lab")), false), &expected, kind.name);
        let names = fs::read_dir(mount.path().join(below)).unwrap().map(|entry| entry.unwrap().file_name());
        let etc = names.filter(|name| name.to_string_lossy().eq_ignore_ascii_case("etc"));
        assert_eq!(etc.collect::<Vec<_>>(), ["etc"]);
    }
}

#[test]
fn a_name_that_windows_cannot_open_is_refused_before_anything_is_written() {
    let lab = Lab::new(&NTFS, 48);
    let tree = lab.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("12:30.log"), "x").unwrap();
    let tar = lab.path("tree.tar");
    run("tar", &["-cf", text(&tar), "-C", text(&tree), "."]);
    let part = "cannot be copied into d0-p1: \"12:30.log\" has a character that Windows takes in no name";
    lab.refuses(&["--copy", &format!("{}=1:/", text(&tree))], part);
    lab.refuses(&["--copy", &format!("{}=1:/", text(&tar))], part);
    lab.refuses(&["--copy", &format!("{}=1:/etc/aux.txt", text(&tar))], "is the name of a device");
}

#[test]
fn owner_and_mode_are_those_that_are_wished_for() {
    let lab = Lab::new(&EXT4, 48);
    let copy = format!("{}=1:/opt/lab", text(&lab.tree()));
    let ended = lab.deploy(&["--copy", &copy, "--copy-owner", "1000:100", "--copy-mode", "0640"]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    let mount = lab.mount();
    let is = |path: &str| {
        let meta = fs::symlink_metadata(mount.path().join("opt/lab").join(path)).unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    assert_eq!((is("sub/program"), is("sub")), ((0o640, 1000, 100), (0o750, 1000, 100)));
    assert_eq!((is("link").1, is("link").2), (1000, 100));
    drop(mount);
    let ended = lab.deploy(&["--copy", "/etc/passwd=1:/etc/lab.conf"]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.events);
    let mount = lab.mount();
    let meta = fs::metadata(mount.path().join("etc/lab.conf")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o644, 0, 0));
}

#[test]
fn what_cannot_be_copied_is_refused_before_anything_is_written() {
    let lab = Lab::new(&EXT4, 48);
    let (conf, large) = (lab.path("lab.conf"), lab.path("large"));
    fs::write(&conf, "new").unwrap();
    fs::write(&large, vec![7; 90 << 20]).unwrap();
    let copy = |path: &Path, to: &str| format!("{}={to}", text(path));
    lab.refuses(&["--copy", &copy(&large, "1:/large")], "d0-p1 will have");
    lab.refuses(&["--copy", &copy(&large, "1:/large"), "--no-expand"], "needs 90.0 MiB");
    lab.refuses(&["--copy", &copy(&conf, "2:/etc/")], "which is not deployed; write one of");
    lab.refuses(&["--copy", &copy(&conf, "vg/root:/etc/")], "which is not deployed");
    lab.refuses(&["--copy", &copy(&conf, "d0-boot:/etc/")], "no files can be copied into d0-boot");
    lab.refuses(&["--copy", &copy(&conf, "1:/../x")], "without ..");
    lab.refuses(&["--copy", &copy(&lab.path("nothing"), "1:/etc/")], "reading");
    let tar = lab.path("hostile.tar");
    for (make, part) in [
        ("tar -cPf $t --transform 's,^,../,' lab.conf", "leads out"),
        ("tar -cPf $t $PWD/lab.conf", "leads out"),
        ("mkfifo pipe; tar -cf $t pipe", "is a pipe"),
        ("tar -cf $t -C /dev null", "is a device"),
        (
            "ln -sf /etc out; mkdir -p d/out; cp lab.conf d/out/passwd; tar -cf $t out -C d out/passwd",
            "is below",
        ),
        ("tar -cf $t lab.conf; truncate -s 700 $t", "reading"),
        ("xz -kc lab.conf > $t", "xz is not unpacked"),
        ("truncate -s 20G holes; tar -cf - holes --sparse | cat > $t; rm holes", "--sparse"),
        ("truncate -s 3G zeros; tar -cf - zeros | zstd -q > $t; rm zeros", "more than the disk"),
    ] {
        let script = format!("cd {}; t={}; {make}", text(lab.folder.path()), text(&tar));
        run("sh", &["-ec", &script]);
        lab.refuses(&["--copy", &copy(&tar, "1:/opt/")], part);
    }
    let ended = remint_ends(
        0,
        &[
            "plan",
            "lab",
            "--from",
            text(&lab.path("store")),
            "--size",
            "100MiB",
            "--copy",
            &copy(&conf, "1:/etc/lab.conf"),
        ],
    );
    let ended = ended.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ended.contains("lab.conf: 1 file, 3 B to /etc/lab.conf of d0-p1 (ext4,"), "{ended}");
}

#[test]
fn a_volume_that_was_captured_raw_takes_no_files() {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    lab::disk_of_noise(&path("disk.img"), 4 * MIB);
    let (store, disk) = (path("store"), path("disk.img"));
    remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);
    let arguments = ["plan", "lab", "--from", text(&store), "--size", "1GiB", "--copy", "/etc/passwd=1:/x"];
    assert!(remint_ends(1, &arguments).contains("into d0-p1: it was captured raw"));
}

#[test]
fn a_script_before_the_copies_has_its_volume_and_leaves_nothing_behind() {
    for (kind, size_mib) in [(&EXT4, 48), (&NTFS, 48)] {
        let lab = Lab::new(kind, size_mib);
        let (conf, script) = (lab.path("lab.conf"), lab.path("script.sh"));
        fs::write(&conf, "copied").unwrap();
        // It works in the volume, and goes on with another mount there when its shell has ended.
        let text_of_script = format!(
            "set -eu\necho \"$REMINT_PHASE $REMINT_MOUNT\" >{0}/trace\ncat $REMINT_MOUNT/etc/lab.conf\n\
             mkdir $REMINT_MOUNT/made\necho scripted >$REMINT_MOUNT/made/scripted\necho scripted >$REMINT_MOUNT/made/conf\n\
             mkdir $REMINT_MOUNT/mnt\nmount -t tmpfs none $REMINT_MOUNT/mnt\ncd $REMINT_MOUNT/made\n\
             setsid sleep 300 >/dev/null 2>&1 & echo $! >{0}/pid\nsleep 0.2\n",
            text(lab.folder.path())
        );
        fs::write(&script, text_of_script).unwrap();
        let copy = format!("{}=1:/made/conf", text(&conf));
        let options = ["--script-before-copy", text(&script), "--script-volume", "d0-p1", "--copy", &copy];
        let ended = lab.deploy(&options);
        assert_eq!(ended.code, Some(0), "{} {:?}", kind.name, ended.events);
        let trace = fs::read_to_string(lab.path("trace")).unwrap();
        let mounted = trace.trim().strip_prefix("before-file-copy ").unwrap().to_owned();
        assert!(!Path::new(&mounted).exists(), "{mounted}");
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&mounted));
        let pid = fs::read_to_string(lab.path("pid")).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        lab.check();
        let mount = lab.mount();
        let read = |path: &str| fs::read_to_string(mount.path().join(path)).unwrap();
        assert_eq!((read("made/scripted").as_str(), read("made/conf").as_str()), ("scripted\n", "copied"));
        drop(mount);
        // Where it fails and must not, the target is left without a table.
        fs::write(&script, "echo no; exit 9").unwrap();
        let ended = lab.deploy(&[options.as_slice(), &["--scripts-fatal"]].concat());
        assert_eq!(ended.code, Some(4));
        let (message, changed) = ended.failure();
        assert!(changed && message.contains("script.sh ended with exit code 9 (no)"), "{message}");
        assert!(remint_ends(0, &["inspect", text(&lab.path("target.img"))]).contains("No partition table"));
        let ended = lab.deploy(&options);
        assert_eq!(ended.code, Some(3), "{:?}", ended.events.last());
    }
}

#[test]
fn a_device_that_a_script_leaves_open_is_a_problem_and_everything_is_done() {
    let lab = Lab::new(&EXT4, 48);
    let script = lab.path("script.sh");
    // Who has only the device open does not use the file system, and is not killed for it.
    let text_of_script = format!(
        "set -eu\necho scripted >$REMINT_MOUNT/scripted\n\
         setsid sleep 300 <$(findmnt -no SOURCE $REMINT_MOUNT) >/dev/null 2>&1 & echo $! >{}/pid\nsleep 0.2\n",
        text(lab.folder.path())
    );
    fs::write(&script, text_of_script).unwrap();
    let copy = format!("{}=1:/copied", text(&lab.path("files/etc/lab.conf")));
    let options = ["--script-before-copy", text(&script), "--script-volume", "d0-p1", "--copy", &copy];
    let ended = lab.deploy(&options);
    let pid = fs::read_to_string(lab.path("pid")).unwrap();
    run("kill", &[pid.trim()]);
    let said = format!("{:?}", ended.events);
    assert_eq!(ended.code, Some(3), "{said}");
    assert!(said.contains("d0-p1: everything is done and on the disk, but /dev/loop"), "{said}");
    assert!(!said.contains("failed"), "{said}");
    lab.check();
    let mount = lab.mount();
    let read = |path: &str| fs::read_to_string(mount.path().join(path)).unwrap();
    assert_eq!((read("scripted").as_str(), read("copied").as_str()), ("scripted\n", "old"));
}

/// A small file system that is unmounted when it is dropped.
struct Memory(PathBuf);

impl Memory {
    fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=64m", "none", text(&path)]);
        Self(path)
    }

    fn is_mounted(&self) -> bool {
        fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!(" {} ", text(&self.0)))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", text(&self.0)]).status();
    }
}

#[test]
fn a_script_that_unmounts_its_volume_or_mounts_over_it_harms_nobody() {
    for kind in [&EXT4, &NTFS] {
        let lab = Lab::new(kind, 48);
        // Of its own: who uses the file system with the temporary folders is not to be killed.
        let temporary = Memory::new(lab.path("temporary"));
        let (shared, inner) = (Memory::new(lab.path("shared")), lab.path("shared/inner"));
        run("mount", &["--make-shared", text(&shared.0)]);
        let inner = Memory::new(inner);
        let mut bystander = Command::new("sleep").arg("300").current_dir(&temporary.0).spawn().unwrap();
        let script = lab.path("script.sh");
        for told in [
            "umount $REMINT_MOUNT".to_owned(),
            "mount -t tmpfs none $REMINT_MOUNT; mkdir $REMINT_MOUNT/x".to_owned(),
            format!(
                "cd $REMINT_MOUNT; mount -t tmpfs none deep; for i in 1 2 3; do mount --bind {} $REMINT_MOUNT; done",
                text(&shared.0)
            ),
            format!("mount --rbind {} $REMINT_MOUNT/deep", text(&shared.0)),
            format!("mkdir own; mount --rbind {} own", text(&shared.0)),
        ] {
            fs::write(&script, format!("set -eu\n{told}\n")).unwrap();
            let options = ["--script-before-copy", text(&script), "--script-volume", "d0-p1"];
            fs::write(inner.0.join("file"), "x").unwrap();
            let ended = lab.deploy_with(&[("TMPDIR", text(&temporary.0))], &options);
            assert_eq!(ended.code, Some(0), "{} {told}: {:?}", kind.name, ended.events.last());
            assert!(bystander.try_wait().unwrap().is_none(), "{} {told}", kind.name);
            assert!(inner.is_mounted() && inner.0.join("file").exists(), "{} {told}", kind.name);
            let left = fs::read_dir(&temporary.0).unwrap().map(|entry| entry.unwrap().path());
            assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{} {told}", kind.name);
            lab.check();
            assert_eq!(fs::read(lab.mount().path().join("deep/file")).unwrap(), b"x", "{told}");
        }
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}

#[test]
fn a_logical_volume_takes_files_by_its_name() {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    let (disk, target, store, part) = (path("disk.img"), path("target.img"), path("store"), path("part.img"));
    let script = "label: gpt\ntype=E6D6D379-F507-44C2-A23C-238F2A3DF928\n";
    let place = lab::partitioned_disk(&disk, 80 * MIB, 512, script)[0];
    {
        let lvm = Lvm::new(&[(&disk, place)]);
        lvm.run("pvcreate", &[lvm.device(0)]);
        lvm.run("vgcreate", &["vg", lvm.device(0)]);
        lvm.create("vg", "root", &["-L", "48M"]);
        let files = path("files");
        fs::create_dir_all(files.join("deep")).unwrap();
        fs::write(files.join("noise-65536"), [7; 65536]).unwrap();
        EXT4.build(&part, lvm.size("vg/root"), &files);
        lvm.put("vg/root", &part);
    }
    remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);
    lab::noisy_disk(&target, 96 * MIB);
    let (copy, arguments) = ("/etc/passwd=vg/root:/opt/lab/passwd", ["--disk", text(&target), "--yes"]);
    let arguments =
        [["deploy", "lab", "--from", text(&store), "--copy", copy].as_slice(), &arguments].concat();
    remint_ends(0, &arguments);
    let lvm = Lvm::new(&[(&target, lab::partitions(&target, 512)[0])]);
    let length = lvm.take("vg/root", &part);
    EXT4.check(&part, 0, length);
    let mount = Mount::new(&part, 0, length, "ext4", true);
    assert_eq!(fs::read(mount.path().join("opt/lab/passwd")).unwrap(), fs::read("/etc/passwd").unwrap());
}

#[test]
fn a_disk_that_is_deployed_gets_the_files_of_a_profile() {
    let lab = Lab::new(&EXT4, 48);
    let (tree, target, profile) = (lab.tree(), lab.path("target.img"), lab.path("profile.json"));
    assert_eq!(lab.deploy(&[]).code, Some(0));
    // What a folder is called by is what it is packed to.
    let packed = lab.path("packed.tar");
    run("tar", &["-cf", text(&packed), "-C", text(&tree), "."]);
    let id = lab::hash_of(&packed);
    let script = "test ! -e $REMINT_MOUNT/opt && touch $REMINT_MOUNT/scripted";
    let choices = serde_json::json!({"deploy": {
        "copies": [{"artefact": id, "kind": "archive", "volume": "1", "to": "/opt"}],
        "scripts": [{"when": "before-file-copy", "volume": "1", "text": script, "fatal": true}],
    }});
    fs::write(&profile, choices.to_string()).unwrap();
    let arguments = ["customize", text(&target), "--profile", text(&profile)];
    let before = lab::traces(&target);
    assert!(remint_ends(1, &[arguments.as_slice(), &["--yes"]].concat()).contains("is not here"));
    let artefact = [arguments.as_slice(), &["--artefact", text(&packed)]].concat();
    let said = remint_ends(0, &[artefact.as_slice(), &["--dry-run"]].concat());
    assert!(said.contains("3 files, 2.86 MiB copied to /opt") && said.contains("nothing was"), "{said}");
    assert!(before == lab::traces(&target));
    remint_ends(0, &[artefact.as_slice(), &["--yes"]].concat());
    lab.check();
    let mount = lab.mount();
    same(&facts(&mount.path().join("opt"), true), &facts(&tree, true), "customized");
    assert!(mount.path().join("scripted").exists());
}
