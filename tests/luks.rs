//! What lies in an encrypted volume that a key opens decides which of its blocks are captured; the volume stays encrypted, comes back with its
//! headers to the byte, and says what it is with or without a key. `cryptsetup` encrypts what is captured and decrypts what was deployed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod lab;

use lab::lvm::Lvm;
use lab::{Kind, MIB, Mount, Noise, Place, remint_ends, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::filesystem;
use remint::filesystem::luks::{self, Key, Limits, Unlocked};
use remint::schema::{FileSystem, FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use sha2::Digest;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const PASSPHRASE: &str = "correct horse";
/// What cryptsetup takes for its headers of a volume that it encrypts in place.
const HEADERS: u64 = 8 * MIB;
const EXT4: Kind =
    Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096", "-L", "root"] };
const QUICK: &str = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const LIMITS: Limits = Limits { memory_bytes: 64 * MIB };

struct Lab {
    folder: tempfile::TempDir,
    store: String,
    key: String,
}

impl Lab {
    fn new() -> Self {
        let folder = lab::folder();
        let path = |name: &str| text(&folder.path().join(name)).to_owned();
        let (store, key) = (path("store"), path("key"));
        fs::write(&key, PASSPHRASE).unwrap();
        Self { folder, store, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A key of this content.
    fn key(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        text(&self.path(name)).to_owned()
    }

    /// An ext4 with files, on noise.
    fn files(&self, name: &str, size_bytes: u64) -> PathBuf {
        let (folder, file) = (self.path("files"), self.path(name));
        if !folder.exists() {
            lab::real_files(&folder, 6 * MIB);
        }
        EXT4.build(&file, size_bytes, &folder);
        file
    }

    /// Encrypts the content of a file; the volume is larger by what its headers take, and more.
    fn encrypt(&self, plain: &Path, name: &str, options: &str) -> PathBuf {
        let volume = self.path(name);
        fs::copy(plain, &volume).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&volume).unwrap();
        file.set_len(fs::metadata(plain).unwrap().len() + 2 * HEADERS).unwrap();
        let reduce = format!("--reduce-device-size={}M", 2 * HEADERS / MIB);
        let own = ["reencrypt", "--encrypt", "-q", "--type", "luks2", "--force-offline-reencrypt", &reduce];
        run("cryptsetup", &[&own[..], &words(options), &["--key-file", &self.key, text(&volume)]].concat());
        volume
    }

    /// The content of an encrypted volume, as cryptsetup decrypts it.
    fn decrypt(&self, volume: &Path) -> PathBuf {
        let (plain, header) = (self.path("decrypted"), self.path("decrypted-header"));
        let _ = fs::remove_file(&header);
        fs::copy(volume, &plain).unwrap();
        if run("cryptsetup", &["luksDump", text(volume)]).contains("Version:       \t1") {
            run("cryptsetup", &["convert", "-q", "--type", "luks2", text(&plain)]);
        }
        let own = ["reencrypt", "--decrypt", "-q", "--force-offline-reencrypt", "--header", text(&header)];
        run("cryptsetup", &[&own[..], &["--key-file", &self.key, text(&plain)]].concat());
        plain
    }

    /// A disk with a partition that holds the volume, and room behind it.
    fn disk(&self, name: &str, volume: &Path) -> (PathBuf, Place) {
        let (path, length) = (self.path(name), fs::metadata(volume).unwrap().len());
        let script = format!("label: gpt\nsize={}KiB, type={LINUX}\n", length / 1024);
        let places = lab::partitioned_disk(&path, length + 4 * MIB, 512, &script);
        lab::put(&path, places[0].start, volume);
        (path, places[0])
    }

    fn capture(&self, code: i32, disk: &Path, keys: &[&str], more: &[&str]) -> String {
        let mut arguments = vec!["capture", "lab", "--to", &self.store, "--disk", text(disk)];
        keys.iter().for_each(|key| arguments.extend(["--luks-key", key]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }

    /// Deploys onto noise of this size.
    fn deploy(&self, size_bytes: u64) -> PathBuf {
        let target = self.path("target");
        lab::noisy_disk(&target, size_bytes);
        remint_ends(0, &["deploy", "lab", "--from", &self.store, "--disk", text(&target), "--yes"]);
        target
    }

    /// Cuts a partition out of a disk.
    fn cut(&self, disk: &Path, place: Place) -> PathBuf {
        let file = self.path("cut");
        fs::write(&file, lab::bytes(disk, place.start, place.length)).unwrap();
        file
    }

    fn opens(&self, volume: &Path) {
        run("cryptsetup", &["open", "--test-passphrase", "--key-file", &self.key, text(volume)]);
    }
}

fn files(volume: &Path) -> BTreeMap<String, (u64, String)> {
    EXT4.files(volume, 0, fs::metadata(volume).unwrap().len())
}

fn memory(file: &Path) -> MemoryDisk {
    let bytes = fs::read(file).unwrap();
    let disk = MemoryDisk::new(bytes.len() as u64);
    disk.write_at(0, &bytes).unwrap();
    disk
}

fn key(bytes: &[u8]) -> Key {
    Key::new("key", bytes.to_vec().into()).unwrap()
}

fn read(volume: &dyn ReadAt) -> FileSystem {
    filesystem::read(volume).unwrap().unwrap().file_system
}

fn unlock(volume: &dyn ReadAt, passphrase: &str) -> Unlocked {
    luks::unlock(volume, &[key(passphrase.as_bytes())], LIMITS, &|| false).unwrap()
}

/// What was found out about a volume with its key.
fn opened(volume: &dyn ReadAt) -> (FileSystem, Option<RangeSet>) {
    match unlock(volume, PASSPHRASE) {
        Unlocked::Open { reading, .. } => (reading.file_system, reading.used),
        other => panic!("{other:?}"),
    }
}

/// What keeps a volume closed.
fn closed(volume: &dyn ReadAt) -> String {
    match unlock(volume, PASSPHRASE) {
        Unlocked::Closed(reading) => {
            assert_eq!((reading.file_system.state, reading.used), (State::Encrypted, None));
            reading.file_system.findings.join("; ")
        }
        other => panic!("{other:?}"),
    }
}

/// Ciphers, sectors, hashes and ways to derive keys; true where the volume becomes a LUKS1.
const FORMS: [(&str, bool); 5] = [
    ("--pbkdf argon2id --pbkdf-memory 8192 --pbkdf-force-iterations 4 --sector-size 4096", false),
    ("--pbkdf argon2i --pbkdf-memory 4096 --pbkdf-force-iterations 5 --key-size 256", false),
    ("--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --hash sha512 --sector-size 512", true),
    (
        "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --hash sha1 --cipher aes-cbc-essiv:sha256 --key-size 256 --sector-size 512",
        true,
    ),
    (
        "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --cipher aes-xts-plain --key-size 256 --sector-size 2048",
        false,
    ),
];

/// Options as a person types them.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn the_map_of_an_opened_volume_is_that_of_what_it_holds() {
    let lab = Lab::new();
    let plain = lab.files("plain", 40 * MIB);
    let within = filesystem::read(&memory(&plain)).unwrap().unwrap().used.unwrap();
    for (options, is_first) in FORMS {
        let path = lab.encrypt(&plain, "volume", options);
        if is_first {
            run("cryptsetup", &["convert", "-q", "--type", "luks1", text(&path)]);
        }
        let volume = memory(&path);
        let (found, used) = opened(&volume);
        let said = found.findings.join("; ");
        assert_eq!(found.state, State::Clean, "{said}");
        assert_eq!(found.kind == FileSystemKind::Luks1, is_first);
        assert!(
            said.contains("opened with its keyslot 0") && said.contains("it holds ext4 \"root\""),
            "{said}"
        );
        let moved = |range: ByteRange| ByteRange::new(range.start() + HEADERS, range.end() + HEADERS);
        let mut expected: RangeSet = within.iter().map(moved).collect();
        expected.insert(ByteRange::new(0, HEADERS));
        assert_eq!(used, Some(expected), "{options:?}");
        // What is behind the last whole sector is used.
        let mut longer = fs::read(&path).unwrap();
        let end = longer.len() as u64;
        longer.extend([7; 512 + 100]);
        let (_, used) = opened(&longer.as_slice());
        let whole = if found.block_size_bytes == 512 { 512 } else { 0 };
        assert!(used.unwrap().contains(ByteRange::new(end + whole, end + 612)), "{options:?}");
        let wrong = unlock(&volume, "correct house");
        assert!(matches!(&wrong, Unlocked::Closed(_)), "{wrong:?}");
        assert!(!format!("{wrong:?}").contains("house"));
    }
}

#[test]
fn files_come_back_in_a_volume_that_stayed_encrypted() {
    for (options, is_first) in [FORMS[0], FORMS[3]] {
        let lab = Lab::new();
        let plain = lab.files("plain", 100 * MIB);
        let volume = lab.encrypt(&plain, "volume", options);
        if is_first {
            run("cryptsetup", &["convert", "-q", "--type", "luks1", text(&volume)]);
        }
        let (disk, place) = lab.disk("disk", &volume);
        let said = remint_ends(0, &["inspect", text(&disk), "--luks-key", &lab.key]);
        assert!(said.contains("it holds ext4 \"root\"") && !said.contains(PASSPHRASE), "{said}");
        let before = lab::traces(&disk);
        let said = lab.capture(0, &disk, &[&lab.key], &[]);
        assert_eq!(lab::traces(&disk), before);
        assert!(!said.contains(PASSPHRASE), "{said}");
        let stored = lab::stored_bytes(Path::new(&lab.store));
        assert!(stored < 50 * MIB, "{stored} bytes are stored of a volume of {}", place.length);

        let target = lab.deploy(400 * MIB);
        let there = lab::partitions(&target, 512)[0];
        assert_eq!(there.length, place.length, "an encrypted volume keeps its size");
        let restored = lab.cut(&target, there);
        let (_, used) = opened(&memory(&volume));
        let used = used.unwrap();
        assert!(used.contains(ByteRange::new(0, HEADERS)) && used.total_bytes() > HEADERS + 6 * MIB);
        for range in used.iter() {
            let of = |file: &Path| lab::bytes(file, range.start(), range.length());
            assert!(of(&restored) == of(&volume), "{range} is not what was captured");
        }
        let dump = |file: &Path| run("cryptsetup", &["luksDump", text(file)]).replace(text(file), "");
        assert_eq!(dump(&restored), dump(&volume));
        lab.opens(&restored);
        let decrypted = lab.decrypt(&restored);
        EXT4.check(&decrypted, 0, 100 * MIB);
        assert_eq!(files(&decrypted), files(&plain));
        // What was captured can be captured again, and is what is stored already.
        let again = lab.capture(0, &target, &[&lab.key], &[]);
        assert!(again.contains("captured lab@"), "{again}");
        let grown = lab::stored_bytes(Path::new(&lab.store)) - stored;
        assert!(grown < MIB, "{grown} bytes more are stored");
    }
}

#[test]
fn without_the_right_key_nothing_is_stored() {
    let lab = Lab::new();
    let volume = lab.encrypt(&lab.files("plain", 40 * MIB), "volume", QUICK);
    let (disk, _) = lab.disk("disk", &volume);
    let nothing = || {
        assert_eq!(if Path::new(&lab.store).exists() { lab::published(Path::new(&lab.store)) } else { 0 }, 0);
    };
    let said = lab.capture(1, &disk, &[], &[]);
    assert!(said.contains("d0-p1 (LUKS2, 56.0 MiB) is encrypted") && said.contains("--luks-key"), "{said}");
    let wrong = lab.key("wrong", b"incorrect horse");
    let said = lab.capture(1, &disk, &[&wrong], &[]);
    assert!(
        said.contains("no key that was named opens it") && said.contains("opened no encrypted volume: "),
        "{said}"
    );
    assert!(!said.contains("incorrect"), "{said}");
    nothing();
    for (content, part) in [(b"".as_slice(), "is empty"), (&[b'x'; (8 << 20) + 1], "longer than 8 MiB")] {
        let said = lab.capture(1, &disk, &[&lab.key("odd", content)], &[]);
        assert!(said.contains(part), "{said}");
    }
    let said = lab.capture(1, &disk, &["/no/such/key"], &[]);
    assert!(
        said.contains("the LUKS key /no/such/key, a file of this machine: ") && said.contains("No such file"),
        "{said}"
    );
    nothing();
    // An editor ended the line.
    let edited = lab.key("edited", format!("{PASSPHRASE}\n").as_bytes());
    let said = lab.capture(0, &disk, &[&wrong, &edited], &[]);
    assert!(said.contains("edited opens d0-p1 without the newline at its end alone"), "{said}");
    assert!(said.contains("nothing was opened with ") && said.contains("wrong"), "{said}");
    // A key of another machine beside the right one is no problem.
    remint_ends(0, &["inspect", text(&disk), "--luks-key", &wrong, "--luks-key", &lab.key]);
    remint_ends(3, &["inspect", text(&disk), "--luks-key", &wrong]);
    // Raw as ever.
    lab.capture(0, &disk, &[], &["--when-dirty", "raw"]);
    lab.opens(&lab.cut(&lab.deploy(120 * MIB), lab::partitions(&lab.path("target"), 512)[0]));
}

#[test]
fn a_volume_group_in_an_encrypted_volume_is_looked_into() {
    let lab = Lab::new();
    let plain = lab.path("group");
    lab::noisy_disk(&plain, 120 * MIB);
    let whole = Place { number: 0, start: 0, length: 120 * MIB };
    let root = lab.files("root", 60 * MIB);
    let group = |file: &Path| Lvm::new(&[(file, whole)]);
    {
        let lvm = group(&plain);
        lvm.run("pvcreate", &["-ff", lvm.device(0)]);
        lvm.run("vgcreate", &["-s", "4m", "vg", lvm.device(0)]);
        lvm.create("vg", "root", &["-L", "60m"]);
        lvm.create("vg", "swap", &["-L", "16m"]);
        lvm.put("vg/root", &root);
        let swap = lab.path("swap");
        lab::noisy_disk(&swap, 16 * MIB);
        run("mkswap", &[text(&swap)]);
        lvm.put("vg/swap", &swap);
    }
    let volume = lab.encrypt(&plain, "volume", QUICK);
    let (found, used) = opened(&memory(&volume));
    let said = found.findings.join("; ");
    assert!(said.contains("it holds the volume group vg (root: ext4 \"root\", swap: swap"), "{said}");
    assert!(used.unwrap().total_bytes() < 60 * MIB, "free extents, swap and free blocks are not read");
    let (disk, place) = lab.disk("disk", &volume);
    lab.capture(0, &disk, &[&lab.key], &[]);
    let restored = lab.cut(&lab.deploy(200 * MIB), place);
    lab.opens(&restored);
    let decrypted = lab.decrypt(&restored);
    let lvm = group(&decrypted);
    assert_eq!(lvm.report("lvs", "lv_name,lv_size"), ["root 62914560B", "swap 16777216B"]);
    let back = lab.path("back");
    lvm.take("vg/root", &back);
    EXT4.check(&back, 0, 60 * MIB);
    assert_eq!(files(&back), files(&root));
}

#[test]
fn an_encrypted_logical_volume_is_opened_too() {
    let lab = Lab::new();
    let plain = lab.files("plain", 40 * MIB);
    let volume = lab.encrypt(&plain, "volume", QUICK);
    let disk = lab.path("disk");
    let script = format!("label: gpt\nsize=80MiB, type={LINUX}\n");
    let place = lab::partitioned_disk(&disk, 84 * MIB, 512, &script)[0];
    {
        let lvm = Lvm::new(&[(&disk, place)]);
        lvm.run("pvcreate", &["-ff", lvm.device(0)]);
        lvm.run("vgcreate", &["-s", "4m", "vg", lvm.device(0)]);
        lvm.create("vg", "secret", &["-L", "56m"]);
        lvm.put("vg/secret", &volume);
    }
    let said = remint_ends(0, &["inspect", text(&disk), "--luks-key", &lab.key]);
    assert!(said.contains("it holds ext4 \"root\""), "{said}");
    lab.capture(1, &disk, &[], &[]);
    lab.capture(0, &disk, &[&lab.key], &[]);
    let target = lab.deploy(200 * MIB);
    let lvm = Lvm::new(&[(&target, lab::partitions(&target, 512)[0])]);
    let back = lab.path("back");
    lvm.take("vg/secret", &back);
    lab.opens(&back);
    assert_eq!(files(&lab.decrypt(&back)), files(&plain));
}

#[test]
fn what_is_not_at_rest_inside_is_refused_with_a_way_out() {
    let lab = Lab::new();
    let plain = lab.files("plain", 40 * MIB);
    // The file system is in use: its journal has to be replayed.
    let busy = lab.path("busy");
    {
        let mount = Mount::new(&plain, 0, 40 * MIB, "ext4", false);
        fs::write(mount.path().join("late"), [7; 5000]).unwrap();
        run("sync", &["-f", text(mount.path())]);
        fs::copy(&plain, &busy).unwrap();
    }
    let swap = lab.path("swap");
    fs::File::create(&swap).unwrap().set_len(16 * MIB).unwrap();
    run("mkswap", &[text(&swap)]);
    lab::overwrite(&swap, 4086, b"S1SUSPEND\0");
    for (plain, state) in [(&busy, "dirty"), (&swap, "hibernated")] {
        let (disk, _) = lab.disk("disk", &lab.encrypt(plain, "volume", QUICK));
        let said = lab.capture(1, &disk, &[&lab.key], &[]);
        assert!(said.contains("d0-p1 (LUKS2, ") && said.contains(&format!(" is {state}")), "{said}");
        assert!(said.contains("do it on the opened volume (cryptsetup open, then /dev/mapper)"), "{said}");
    }
}

#[test]
fn a_volume_says_what_opens_it_and_what_is_wrong_with_it() {
    let lab = Lab::new();
    let path = lab.path("volume");
    fs::File::create(&path).unwrap().set_len(20 * MIB).unwrap();
    let volume = text(&path);
    let own = words("luksFormat -q --type luks2 --label lab --offset 32768");
    let other = lab.key("other", b"battery staple");
    let named = ["--subsystem", "room 5", volume, &lab.key];
    run("cryptsetup", &[&own[..], &words(QUICK), &named].concat());
    let argon2 = "--pbkdf argon2id --pbkdf-memory 32768 --pbkdf-force-iterations 4 --pbkdf-parallel 2";
    let own = ["luksAddKey", "-q", "--key-file", &lab.key];
    run("cryptsetup", &[&own[..], &words(argon2), &[volume, &other]].concat());
    let token = lab.key("token", br#"{"type":"clevis","keyslots":["1"]}"#);
    run("cryptsetup", &["token", "import", "--json-file", &token, volume]);
    run("cryptsetup", &["config", "--priority", "prefer", "--key-slot", "0", volume]);
    let found = read(&memory(&path));
    assert_eq!(
        (found.kind, found.state, found.label.as_deref()),
        (FileSystemKind::Luks2, State::Encrypted, Some("lab"))
    );
    assert_eq!(found.uuid.unwrap(), run("cryptsetup", &["luksUUID", volume]).trim());
    let said = found.findings.join("; ");
    for part in [
        "aes-xts-plain64 with a key of 512 bits",
        "4.00 MiB of data from byte 16777216",
        "keyslot 0: pbkdf2-sha256 with 1000 iterations",
        "keyslot 1: argon2id with 4 passes over 32.0 MiB in 2 threads",
        "token clevis",
        "subsystem room 5",
        "--luks-key",
        "--when-dirty raw",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // A keyslot that asks for more than there is, is not tried.
    let keys = [key(b"battery staple")];
    let little = Limits { memory_bytes: 16 * MIB };
    let Unlocked::Closed(reading) = luks::unlock(&memory(&path), &keys, little, &|| false).unwrap() else {
        panic!()
    };
    let said = reading.file_system.findings.join("; ");
    assert!(
        said.contains("keyslot 1 asks for argon2id") && said.contains("16.0 MiB on this machine"),
        "{said}"
    );
    assert!(matches!(luks::unlock(&memory(&path), &keys, LIMITS, &|| false).unwrap(), Unlocked::Open { .. }));
    assert!(matches!(luks::unlock(&memory(&path), &keys, LIMITS, &|| true).unwrap(), Unlocked::Stopped));

    let whole = fs::read(&path).unwrap();
    let second = 0x4000usize;
    for (at, part) in [
        (5000, "its first header is damaged (its checksum is wrong)"),
        (second + 5000, "its second header is damaged"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let found = read(&bytes.as_slice());
        let said = found.findings.join("; ");
        assert!(said.contains(part) && said.contains("cryptsetup repair mends it"), "{said}");
        let (opened, _) = opened(&bytes.as_slice());
        assert!(opened.findings.join("; ").contains(part));
    }
    // Neither is whole.
    let mut bytes = whole.clone();
    bytes[5000] ^= 1;
    bytes[second + 5000] ^= 1;
    let said = closed(&bytes.as_slice());
    assert!(said.contains("both of its headers are damaged") && said.contains("luksHeaderRestore"), "{said}");
    // The first one is gone: the volume may be something else by now.
    let mut bytes = whole.clone();
    bytes[..512].fill(0);
    let said = closed(&bytes.as_slice());
    assert!(said.contains("its first header is gone") && said.contains("cryptsetup repair"), "{said}");
    assert!(said.contains("--when-dirty raw") && !said.contains("--luks-key"), "{said}");
    // A text of very many parts is not parsed.
    let mut bytes = whole.clone();
    let parts = ",".repeat(11_000);
    for at in [0, second] {
        bytes[at + 4096..at + 4096 + parts.len()].copy_from_slice(parts.as_bytes());
        seal(&mut bytes[at..at + second]);
    }
    let said = closed(&bytes.as_slice());
    assert!(said.contains("has more parts than that of any header"), "{said}");
    // One is older than the other.
    let mut bytes = whole;
    run("cryptsetup", &["config", "--label", "newer", volume]);
    bytes[second..2 * second].copy_from_slice(&fs::read(&path).unwrap()[second..2 * second]);
    let found = read(&bytes.as_slice());
    assert_eq!(found.label.as_deref(), Some("newer"));
    assert!(found.findings.join("; ").contains("its first header is older than its second one"), "{found:?}");
}

#[test]
fn a_volume_that_is_being_encrypted_anew_is_refused_by_name() {
    let lab = Lab::new();
    let volume = lab.encrypt(&lab.files("plain", 40 * MIB), "volume", QUICK);
    let own = ["reencrypt", "-q", "--init-only", "--force-offline-reencrypt", "--key-file", &lab.key];
    run("cryptsetup", &[&own[..], &words(QUICK), &[text(&volume)]].concat());
    let said = closed(&memory(&volume));
    assert!(
        said.contains("being encrypted anew") && said.contains("cryptsetup reencrypt --resume-only"),
        "{said}"
    );
    assert!(!said.contains("--luks-key"), "{said}");
}

#[test]
fn a_header_whose_data_are_on_another_device_says_so() {
    let lab = Lab::new();
    let (data, header) = (lab.path("data"), lab.path("header"));
    fs::File::create(&data).unwrap().set_len(20 * MIB).unwrap();
    for version in ["luks1", "luks2"] {
        let _ = fs::remove_file(&header);
        fs::File::create(&header).unwrap().set_len(20 * MIB).unwrap();
        let own = ["luksFormat", "-q", "--type", version, "--header", text(&header)];
        run("cryptsetup", &[&own[..], &words(QUICK), &[text(&data), &lab.key]].concat());
        let said = closed(&memory(&header));
        assert!(said.contains("its header is a detached one") && said.contains("/dev/mapper"), "{said}");
        assert!(!said.contains("--luks-key"), "{said}");
    }
}

/// Makes the checksum of a header of LUKS2 right.
fn seal(header: &mut [u8]) {
    header[448..512].fill(0);
    let sum = sha2::Sha256::digest(&*header);
    header[448..480].copy_from_slice(&sum);
}

/// Ten thousand changes of the headers are read, and the key is tried on four hundred of them: no panic, nothing that hangs, and a map only
/// where the key of the volume was found.
#[test]
fn a_damaged_header_does_no_harm() {
    let lab = Lab::new();
    let plain = lab.path("plain");
    fs::File::create(&plain).unwrap().set_len(MIB).unwrap();
    run("mkfs.ext2", &["-q", "-F", text(&plain)]);
    let second = lab.encrypt(&plain, "second", QUICK);
    let first = lab.path("first");
    fs::copy(&second, &first).unwrap();
    run("cryptsetup", &["convert", "-q", "--type", "luks1", text(&first)]);
    let mut noise = Noise::new(2026);
    for (path, header_bytes) in [(&first, 592), (&second, 6000)] {
        let whole = fs::read(path).unwrap();
        let expected = opened(&whole.as_slice());
        let (mut open, mut shut) = (0, 0);
        let mut bytes = whole.clone();
        for round in 0..5_000 {
            for _ in 0..=noise.below(3) {
                // Digits stay digits every other time, or most of JSON is none any more.
                let at = noise.below(header_bytes) as usize;
                let digit = bytes[at].is_ascii_digit() && noise.below(2) == 0;
                bytes[at] = if digit { b'0' + noise.below(10) as u8 } else { noise.below(256) as u8 };
            }
            if header_bytes > 592 {
                // Both headers are changed in the same way, and their checksums are right.
                let head = bytes[4096..0x4000].to_vec();
                bytes[0x4000 + 4096..0x8000].copy_from_slice(&head);
                for at in [0, 0x4000] {
                    seal(&mut bytes[at..at + 0x4000]);
                }
            }
            let _ = filesystem::read(&bytes.as_slice()).unwrap();
            if round % 25 == 0 {
                match unlock(&bytes.as_slice(), PASSPHRASE) {
                    Unlocked::Open { reading, .. } => {
                        assert!(reading.used.is_none_or(|used| used.end() <= whole.len() as u64));
                        open += 1;
                    }
                    _ => shut += 1,
                }
            }
            bytes[..0x8000].copy_from_slice(&whole[..0x8000]);
        }
        assert!(open > 5 && shut > 5, "{open} opened, {shut} did not");
        assert_eq!(opened(&bytes.as_slice()), expected);
    }
}
