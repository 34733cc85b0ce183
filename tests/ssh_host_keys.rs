//! A deployed Linux gets SSH host keys of its own, of the types and sizes that it had, made by its own `ssh-keygen`; what runs
//! for that reaches nothing but its own system, whatever it tries.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Kind, MIB, Mount, Place, remint_ends, run, text};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const BTRFS: Kind = Kind { name: "btrfs", family: "btrfs", make: &[] };
const KEYS: [(&str, &[&str]); 3] = [("rsa", &["-b", "2048"]), ("ecdsa", &["-b", "384"]), ("ed25519", &[])];

/// Copies a program of this machine, with the libraries that it names, into a tree.
fn install(tree: &Path, program: &str) {
    let output = std::process::Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let to = tree.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

/// A disk with a system whose keys are those of everybody.
struct Disk {
    folder: tempfile::TempDir,
    place: Place,
    kind: &'static Kind,
    root: &'static str,
}

impl Disk {
    fn new(kind: &'static Kind, root: &'static str, change: impl FnOnce(&Path)) -> Self {
        let folder = lab::folder();
        let all = folder.path().join("files");
        let tree = all.join(root);
        for name in ["dev", "proc", "sys", "run", "tmp", "etc/ssh", "bin", "usr/bin", "lib64"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        install(&tree, "/usr/bin/ssh-keygen");
        fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(tree.join("etc/hostname"), "pc-07\n").unwrap();
        for (kind, size) in KEYS {
            let key = tree.join(format!("etc/ssh/ssh_host_{kind}_key"));
            let arguments = ["-q", "-t", kind, "-N", "", "-C", "root@golden", "-f", text(&key)];
            run("ssh-keygen", &[arguments.as_slice(), size].concat());
            // As on Fedora.
            fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        }
        change(&tree);
        let (disk, part) = (folder.path().join("disk.img"), folder.path().join("part.img"));
        let place = lab::partitioned_disk(&disk, 172 * MIB, 512, "label: gpt\nsize=170MiB\n")[0];
        fs::File::create(&part).unwrap().set_len(place.length).unwrap();
        match kind.family {
            "btrfs" => run("mkfs.btrfs", &["-q", "-r", text(&all), text(&part)]),
            _ => run("mkfs.ext4", &["-q", "-F", "-d", text(&all), text(&part)]),
        };
        lab::put(&disk, place.start, &part);
        Self { folder, place, kind, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn renew(&self, options: &[&str], code: i32) -> String {
        let (disk, profile) = (self.path("disk.img"), self.path("profile.json"));
        fs::write(&profile, json!({"deploy": {"new_ssh_host_keys": true}}).to_string()).unwrap();
        let arguments = ["customize", text(&disk), "--profile", text(&profile)];
        let said = remint_ends(code, &[arguments.as_slice(), options].concat());
        // Nothing holds the disk any more: it would be a mount, or a process that was left.
        assert_eq!(run("losetup", &["--associated", text(&disk)]), "");
        self.kind.check(&disk, self.place.start, self.place.length);
        said
    }

    fn mount(&self) -> Mount {
        Mount::new(&self.path("disk.img"), self.place.start, self.place.length, self.kind.family, true)
    }

    /// Length, fingerprint and type of each key as `ssh-keygen` shows them, of a private part that fits its public one.
    fn keys(&self) -> Vec<String> {
        let mount = self.mount();
        let shown = |(kind, _): &(&str, &[&str])| {
            let key = mount.path().join(self.root).join(format!("etc/ssh/ssh_host_{kind}_key"));
            let metadata = fs::metadata(&key).unwrap();
            assert_eq!(metadata.mode() & 0o7777, 0o640, "{kind}");
            // It reads no private key that others could.
            let copy = self.path("key");
            fs::copy(&key, &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
            let public = fs::read_to_string(key.with_extension("pub")).unwrap();
            let derived = run("ssh-keygen", &["-y", "-f", text(&copy)]);
            assert_eq!(derived.split_whitespace().nth(1), public.split_whitespace().nth(1), "{kind}");
            run("ssh-keygen", &["-l", "-f", text(&key.with_extension("pub"))]).trim().to_owned()
        };
        KEYS.iter().map(shown).collect()
    }
}

#[test]
fn keys_are_new_ones_each_time_and_of_the_same_types_and_sizes() {
    for (kind, root) in [(&EXT4, ""), (&BTRFS, "@rootfs")] {
        let disk = Disk::new(kind, root, |_| {});
        let (old, hash) = (disk.keys(), lab::hash_of(&disk.path("disk.img")));
        let tried = disk.renew(&["--dry-run"], 0);
        assert_eq!(hash, lab::hash_of(&disk.path("disk.img")), "a dry run changed something");
        assert!(tried.matches("is a new one\n").count() >= 3, "{tried}");
        let mut seen = old.clone();
        for _ in 0..2 {
            let said = disk.renew(&["--yes"], 0);
            let new = disk.keys();
            for ((was, is), bits) in old.iter().zip(&new).zip(["2048 ", "384 ", "256 "]) {
                assert!(is.starts_with(bits) && was.starts_with(bits), "{was} {is}");
                assert!(is.contains("root@pc-07"), "{is}");
                assert!(!seen.contains(is), "{is} again");
                let fingerprint = is.split_whitespace().nth(1).unwrap();
                assert!(said.contains(fingerprint), "{said}");
            }
            seen.extend(new);
        }
    }
}

#[test]
fn a_program_that_tries_everything_reaches_nothing_but_its_own_system() {
    let lingers = "6173";
    let script = format!(
        "#!/bin/sh
        exec >/report 2>&1
        tell() {{ if \"$@\"; then echo \"did: $*\"; else echo \"could not: $*\"; fi; }}
        echo \"number $$\"
        echo \"network $(ls /sys/class/net | tr '\\n' ' ')\"
        echo \"devices $(ls /dev | tr '\\n' ' ')\"
        tell mknod /tmp/disk b 7 0
        tell mount -t tmpfs none /tmp
        tell umount /dev
        tell chroot / true
        tell sh -c 'echo /x >/proc/sys/kernel/core_pattern'
        tell sh -c 'echo 1 >/sys/kernel/uevent_seqnum'
        tell sh -c 'echo b >/proc/sysrq-trigger'
        tell ls /proc/2/root
        tell sh -c 'read word </proc/cmdline'
        tell umount /proc/cmdline
        touch /run/left /tmp/left /etc/changed
        ln -s /etc/passwd /run/remint/ssh_host_rsa_key
        setsid sleep {lingers} &
        exit 0
        "
    );
    let disk = Disk::new(&EXT4, "", |tree| {
        for program in
            ["sh", "ls", "tr", "mknod", "mount", "umount", "touch", "ln", "setsid", "sleep", "true"]
        {
            let path = ["/bin", "/usr/bin"].iter().map(|at| format!("{at}/{program}"));
            install(tree, &path.into_iter().find(|path| Path::new(path).exists()).unwrap());
        }
        install(tree, "/usr/sbin/chroot");
        fs::write(tree.join("usr/bin/ssh-keygen"), &script).unwrap();
        fs::set_permissions(tree.join("usr/bin/ssh-keygen"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    let (old, pattern) = (disk.keys(), fs::read("/proc/sys/kernel/core_pattern").unwrap());
    let said = disk.renew(&["--yes"], 3);
    assert!(said.contains("what ssh-keygen made is no key of type rsa"), "{said}");
    assert_eq!(disk.keys(), old);
    let mount = disk.mount();
    let report = fs::read_to_string(mount.path().join("report")).unwrap();
    assert!(!report.contains("did: "), "{report}");
    assert_eq!(report.matches("could not: ").count(), 10, "{report}");
    assert!(report.contains("number 1\nnetwork lo \ndevices full null random urandom zero \n"), "{report}");
    // Its own system is its own affair; what it had in memory is gone.
    assert!(mount.path().join("etc/changed").exists());
    assert!(!mount.path().join("run/left").exists() && !mount.path().join("tmp/left").exists());
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    let running = run("ps", &["-eo", "args"]);
    assert!(!running.contains(&format!("sleep {lingers}")), "{running}");
}

#[test]
fn where_no_key_can_be_made_the_old_one_goes_only_if_the_system_makes_one_when_it_starts() {
    let foreign = |tree: &Path| {
        let program = tree.join("usr/bin/ssh-keygen");
        let mut bytes = fs::read(&program).unwrap();
        bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
        fs::write(&program, bytes).unwrap();
        // Certified ones are said to fit no more, ones that are no keys stay, and a link leads nowhere else.
        fs::write(tree.join("etc/ssh/ssh_host_rsa_key-cert.pub"), "x").unwrap();
        symlink("/../../outside", tree.join("etc/ssh/ssh_host_dsa_key")).unwrap();
    };
    let disk = Disk::new(&EXT4, "", foreign);
    let old = disk.keys();
    let said = disk.renew(&["--yes"], 3);
    assert!(said.contains("is for another processor (aarch64) than this machine's"), "{said}");
    assert_eq!(said.matches("is that of the image still").count(), 4, "{said}");
    assert_eq!(disk.keys(), old);

    let disk = Disk::new(&EXT4, "", |tree| {
        foreign(tree);
        let unit = tree.join("usr/lib/systemd/system/sshd-keygen@.service");
        fs::create_dir_all(unit.parent().unwrap()).unwrap();
        fs::write(unit, "[Service]\nExecStart=/usr/libexec/openssh/sshd-keygen %i\n").unwrap();
    });
    let said = disk.renew(&["--yes"], 3);
    assert!(said.contains("was removed, and /usr/lib/systemd/system/sshd-keygen@.service makes"), "{said}");
    assert!(said.contains("ssh_host_rsa_key-cert.pub is for the old SSH host key"), "{said}");
    let mount = disk.mount();
    let left: Vec<_> = fs::read_dir(mount.path().join("etc/ssh")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_key_that_cannot_be_replaced_stays_and_everything_else_goes_on() {
    let disk = Disk::new(&EXT4, "", |tree| {
        // Nothing is there, nobody knows it, and another one counts.
        symlink("/gone/key", tree.join("etc/ssh/ssh_host_dsa_key")).unwrap();
        fs::write(tree.join("etc/ssh/ssh_host_key"), "SSH PRIVATE KEY FILE FORMAT 1.1").unwrap();
        fs::write(tree.join("etc/hostname"), b"caf\xe9\n").unwrap();
        let settings = "HostKey /etc/ssh/ssh_host_rsa_key\nHostKey /srv/key\n";
        fs::write(tree.join("etc/ssh/sshd_config"), settings).unwrap();
    });
    let old = disk.keys();
    {
        let mount = Mount::new(&disk.path("disk.img"), disk.place.start, disk.place.length, "ext4", false);
        run("chattr", &["+i", text(&mount.path().join("etc/ssh/ssh_host_rsa_key"))]);
    }
    let said = disk.renew(&["--yes"], 3);
    for key in ["dsa", "rsa"] {
        let stays =
            format!("the SSH host key /etc/ssh/ssh_host_{key}_key is that of the image still, because");
        assert!(said.contains(&stays), "{said}");
    }
    assert!(said.contains("/etc/ssh/ssh_host_key is of a type that is not known here"), "{said}");
    assert!(said.contains("/etc/ssh/sshd_config names the SSH host key /srv/key,"), "{said}");
    let new = disk.keys();
    assert_eq!(new[0], old[0], "the rsa key");
    for number in [1, 2] {
        assert_ne!(new[number], old[number]);
        assert!(new[number].contains("root@localhost"), "{new:?}");
    }
    assert!(!disk.mount().path().join("etc/ssh/ssh_host_dsa_key.pub").exists());
}

#[test]
fn keys_in_the_default_subvolume_are_found_and_a_disk_without_any_is_said() {
    let mut disk = Disk::new(&BTRFS, "tree", |_| {});
    let said = disk.renew(&["--yes"], 3);
    assert!(said.contains("no SSH host keys are new ones, because none of a known type was found"), "{said}");
    {
        let mount = Mount::new(&disk.path("disk.img"), disk.place.start, disk.place.length, "btrfs", false);
        fs::create_dir(mount.path().join(".snapshots")).unwrap();
        let snapshot = mount.path().join(".snapshots/1");
        run("btrfs", &["subvolume", "create", text(&snapshot)]);
        run("cp", &["-a", &format!("{}/.", mount.path().join("tree").display()), text(&snapshot)]);
        run("btrfs", &["subvolume", "set-default", text(&snapshot)]);
    }
    // It is what is mounted from now on.
    disk.root = "";
    let old = disk.keys();
    disk.renew(&["--yes"], 0);
    assert!(disk.keys().iter().all(|key| !old.contains(key)), "{old:?}");
}

#[test]
fn a_request_to_stop_removes_no_key() {
    let naps = "6174";
    let disk = Disk::new(&EXT4, "", |tree| {
        for program in ["sh", "sleep"] {
            install(tree, &format!("/bin/{program}"));
        }
        fs::write(tree.join("usr/bin/ssh-keygen"), format!("#!/bin/sh\nsleep {naps}\n")).unwrap();
        let unit = tree.join("usr/lib/systemd/system/sshd-keygen@.service");
        fs::create_dir_all(unit.parent().unwrap()).unwrap();
        fs::write(unit, "[Service]\nExecStart=/usr/libexec/openssh/sshd-keygen %i\n").unwrap();
    });
    let (old, profile) = (disk.keys(), disk.path("profile.json"));
    fs::write(&profile, json!({"deploy": {"new_ssh_host_keys": true}}).to_string()).unwrap();
    let mut remint = std::process::Command::new(env!("CARGO_BIN_EXE_remint"))
        .args(["customize", text(&disk.path("disk.img")), "--profile", text(&profile), "--yes"])
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while !run("ps", &["-eo", "args"]).contains(&format!("sleep {naps}")) {
        assert!(begun.elapsed().as_secs() < 60, "ssh-keygen was not run");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    run("kill", &["-INT", &remint.id().to_string()]);
    assert!(!remint.wait().unwrap().success());
    assert_eq!(disk.keys(), old);
}
