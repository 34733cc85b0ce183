//! A btrfs on several devices is captured and comes back as one, and no device of it is captured or changed by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, missing_docs)]

#[path = "btrfs_devices/disks.rs"]
mod disks;
mod lab;
#[path = "btrfs_devices/set.rs"]
mod set;

use disks::Lab;
use lab::lvm::Lvm;
use lab::{MIB, Noise, remint_ends, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::Reading;
use remint::schema::State;
use remint::units::ByteRange;
use set::{Set, change_super, mounted, read_all, read_some};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// How many devices, and options of mkfs.btrfs: every profile, with free space in both of its forms and nodes of several sizes.
const FORMS: [(usize, &str); 11] = [
    (2, "-d single -m single -L pool"),
    (2, "-d raid0 -m raid0 -n 4096"),
    (3, "-d raid0 -m raid1 -R ^free-space-tree"),
    (2, "-d raid1 -m raid1 -R free-space-tree"),
    (2, "--mixed -d raid1 -m raid1"),
    (2, "-d dup -m dup"),
    (3, "-d raid1c3 -m raid1c3 --csum sha256"),
    (4, "-d raid10 -m raid1c4 -n 65536"),
    (4, "-d raid10 -m raid10 -R ^free-space-tree"),
    (3, "-d raid5 -m raid5"),
    (4, "-d raid6 -m raid6 -R ^free-space-tree"),
];

#[test]
fn the_map_of_every_profile_is_that_of_the_tool() {
    for (count, form) in FORMS {
        let set = Set::new(count, 256 * MIB, form);
        set.assert_map(form);
        set.mounted("rw", |at| set::fill(at, 7, 300));
        let readings = set.assert_map(form);
        let pieces: usize =
            readings.iter().map(|reading| reading.used.as_ref().unwrap().iter().count()).sum();
        assert!(pieces > 20, "{form}: what is in use is in pieces");
        // For every profile that is asked for there is a chunk.
        let profiles = set.profiles();
        for wanted in form.split_whitespace().filter(|word| word.starts_with("raid") || *word == "dup") {
            assert!(profiles.contains(&wanted.to_uppercase()), "{form}: {profiles:?}");
        }
    }
}

#[test]
fn devices_of_several_sizes_have_chunks_of_their_own_number() {
    for form in ["-d raid1 -m raid1", "-d raid0 -m raid1"] {
        let set = Set::of_sizes(&[200 * MIB, 300 * MIB, 400 * MIB], form);
        set.mounted("rw", |at| set::fill(at, 7, 300));
        set.assert_map(form);
        assert!(set.has_narrow_chunks());
    }
}

#[test]
fn every_profile_comes_back_with_every_file_and_its_copies_and_parities() {
    // With the devices that may be missing afterwards, by turns.
    let forms: [(usize, &str, &[&[usize]]); 6] = [
        (2, "-d single -m raid1 -L pool", &[]),
        (2, "-d raid0 -m raid0 -R ^free-space-tree", &[]),
        (3, "-d raid1c3 -m raid1c3", &[&[0, 1], &[2]]),
        (4, "-d raid10 -m raid10", &[&[0], &[3]]),
        (3, "-d raid5 -m raid5", &[&[0], &[1], &[2]]),
        (4, "-d raid6 -m raid6", &[&[0, 1], &[1, 3], &[2]]),
    ];
    for (count, form, losses) in forms {
        let lab = Lab::new(Set::filled(count, 200 * MIB, form));
        let files = lab.set.mounted("ro", lab::tree);
        assert!(files.len() > 50);
        let (names, disks) = (lab.names(), lab.disks.iter().map(|disk| text(disk)).collect::<Vec<_>>());
        let said = remint_ends(0, &[&["inspect"], disks.as_slice()].concat());
        let all: Vec<String> =
            (1..).zip(&names).map(|(devid, name)| format!("{name} (device {devid})")).collect();
        assert!(said.contains(&format!("its devices are {}", all.join(" and "))), "{said}");
        assert!(!said.contains("same UUID") && !said.contains("unsupported"), "{said}");
        lab.capture(0, &[]);
        let stored = lab::stored_bytes(&lab.path("store"));
        assert!(stored < 120 * MIB, "{form}: {stored}");
        lab.lose_the_source();
        let targets = lab.targets(40 * MIB);
        let said = lab.plan(&targets, &[]);
        assert!(
            said.contains("because it is one of several devices of a btrfs, which keep their size"),
            "{said}"
        );
        lab.deploy(0, &targets, &[]);
        for (target, place) in targets.iter().zip(&lab.places).filter(|(_, place)| place.number > 0) {
            let found = lab::partitions(target, 512);
            assert_eq!(found.last().unwrap().length, place.length);
        }
        let places = lab.at(&targets);
        set::check(&places);
        assert!(mounted(&places, "ro", lab::tree) == files, "{form}");
        // Copies and parities are right as well.
        for lost in losses {
            let rest: Vec<_> =
                (0..count).filter(|number| !lost.contains(number)).map(|number| places[number]).collect();
            assert!(mounted(&rest, "ro,degraded", lab::tree) == files, "{form}: without {lost:?}");
        }
    }
}

#[test]
fn what_is_not_whole_is_refused_by_name_and_can_be_captured_raw() {
    let lab = Lab::new(Set::filled(3, 200 * MIB, "-d raid1 -m raid1c3"));
    let [first, second, third] = [0, 1, 2].map(|number| lab.disks[number].as_path());
    let said = lab.capture_some(1, &[first, third], &[]);
    let words = "it has 3 devices, and device 2 (UUID ";
    assert!(said.contains(words) && said.contains("d0-p1 (device 1) and d1-disk (device 3)"), "{said}");
    assert!(said.contains("name the disks of the others too"), "{said}");
    let said = lab.capture(1, &["--only", "d0-p1", "--only", "d2-disk"]);
    assert!(said.contains("--only leaves out d1-p2 (device 2): name all of them"), "{said}");
    lab.capture_some(0, &[third], &["--when-dirty", "raw"]);
    // A copy of a device beside it; with either of them all is well.
    let twin = lab.path("twin");
    std::fs::copy(third, &twin).unwrap();
    let four = [first, second, third, twin.as_path()];
    let said = lab.capture_some(1, &four, &[]);
    assert!(said.contains("d2-disk and d3-disk are both its device 3, one is a copy of the other"), "{said}");
    for one in ["d2-disk", "d3-disk"] {
        lab.capture_some(0, &four, &["--only", "d0-p1", "--only", "d1-p2", "--only", one]);
    }
    // Nobody replays a log on several devices.
    let logs: Vec<PathBuf> = (0..3).map(|number| lab.path(&format!("log-{number}"))).collect();
    let readings = lab.set.mounted("rw", |at| {
        // Whoever syncs every file system of this machine makes a commit of a log.
        for round in 0..20 {
            run("sync", &["-f", text(at)]);
            std::fs::write(at.join("kept"), vec![round; 100_000]).unwrap();
            std::fs::File::open(at.join("kept")).unwrap().sync_all().unwrap();
            for (path, log) in lab.set.paths.iter().zip(&logs) {
                std::fs::copy(path, log).unwrap();
            }
            let readings = set::read_files(&logs);
            if readings.iter().all(|reading| reading.file_system.state == State::Dirty) {
                return readings;
            }
        }
        panic!("there is never a log")
    });
    lab.disks.iter().zip(&lab.places).zip(&logs).for_each(|((disk, place), log)| {
        lab::put(disk, place.start, log);
    });
    for reading in readings {
        let found = reading.file_system;
        assert_eq!((found.state, reading.used), (State::Dirty, None));
        assert!(found.findings[0].contains("mount it with all of its devices"), "{:?}", found.findings);
    }
    let before: Vec<String> = lab.disks.iter().map(|disk| lab::hash_of(disk)).collect();
    let said = lab.capture(1, &["--when-dirty", "replay"]);
    assert!(said.contains("is dirty") && said.contains("is not replayed beside them"), "{said}");
    assert_eq!(before, lab.disks.iter().map(|disk| lab::hash_of(disk)).collect::<Vec<_>>());
}

#[test]
fn devices_that_went_separate_ways_are_refused_by_name() {
    let refused = |readings: &[Reading], words: &[&str]| {
        for reading in readings {
            let (found, used) = (&reading.file_system, &reading.used);
            assert_eq!((found.state, used), (State::Unsupported, &None), "{:?}", found.findings);
            words
                .iter()
                .for_each(|word| assert!(found.findings[0].contains(word), "{word}: {:?}", found.findings));
        }
    };
    let set = Set::filled(3, 300 * MIB, "-d raid1 -m raid1");
    let [old, kept] = ["old", "kept"].map(|name| set.folder.path().join(name));
    std::fs::copy(&set.paths[1], &old).unwrap();
    set.mounted("rw", |at| std::fs::write(at.join("more"), "more").unwrap());
    std::fs::copy(&set.paths[1], &kept).unwrap();
    std::fs::copy(&old, &set.paths[1]).unwrap();
    let generation = set::super_field(&set.paths[0], "generation");
    let words = format!("d1-p1 (device 2) is at generation {}", set::super_field(&old, "generation"));
    refused(&set.readings(), &[&words, &format!("d2-p1 (device 3) at {generation}"), "btrfs scrub"]);

    // What was removed since is none of its devices.
    std::fs::copy(&kept, &set.paths[1]).unwrap();
    set.mounted("rw", |at| {
        let shown = run("btrfs", &["filesystem", "show", text(at)]);
        let node = |line: &str| {
            Some(line.split_whitespace().last()?.to_owned()).filter(|_| line.contains("devid    2"))
        };
        run("btrfs", &["device", "remove", &shown.lines().find_map(node).unwrap(), text(at)]);
    });
    std::fs::copy(&kept, &set.paths[1]).unwrap();
    let readings = set.readings();
    refused(&readings[1..2], &["it is no device of that file system any more"]);
    for reading in [&readings[0], &readings[2]] {
        assert_eq!(reading.file_system.state, State::Clean, "{:?}", reading.file_system.findings);
        assert!(
            reading.file_system.findings[0].contains("its devices are d0-p1 (device 1) and d2-p1 (device 3)")
        );
    }

    // Each of two was mounted without the other, as often.
    let set = Set::new(2, 300 * MIB, "-d raid1 -m raid1");
    for path in &set.paths {
        let place = [(path.as_path(), 0, set.bytes)];
        mounted(&place, "rw,degraded", |at| std::fs::write(at.join("own"), text(path)).unwrap());
    }
    let generations: Vec<u64> = set.paths.iter().map(|path| set::super_field(path, "generation")).collect();
    assert_eq!(generations[0], generations[1]);
    refused(&set.readings(), &["at the same generation", "mounted without the others"]);
}

/// What is said of each of the devices, the same of all: they are in this state and have no map.
fn told(readings: &[Option<Reading>], state: State) -> String {
    let found: Vec<_> = readings.iter().flatten().collect();
    for reading in &found {
        assert_eq!((reading.file_system.state, &reading.used), (state, &None), "{:?}", reading.file_system);
        assert_eq!(reading.file_system.findings, found[0].file_system.findings);
    }
    found[0].file_system.findings.join(" ")
}

// Where fields of `struct btrfs_super_block` begin (`include/uapi/linux/btrfs_tree.h`); the last one is `devid` of its `dev_item`.
const GENERATION: usize = 0x48;
const LOG_ROOT: usize = 0x60;
const NUM_DEVICES: usize = 0x88;
const DEVID: usize = 0xC9;

#[test]
fn what_a_power_cut_or_a_replacement_leaves_is_called_by_its_name() {
    let set = Set::filled(2, 200 * MIB, "-d raid0 -m raid0");
    // A sync of a file has reached one device.
    let disks = set.in_memory();
    change_super(&disks[1], |bytes| bytes[LOG_ROOT + 2] = 1);
    let said = told(&read_some(&disks, 2), State::Dirty);
    assert!(said.contains("mount it with all of its devices"), "{said}");
    // A commit has reached one device.
    for behind in 0..2 {
        let disks = set.in_memory();
        change_super(&disks[behind], |bytes| bytes[GENERATION] -= 1);
        let said = told(&read_some(&disks, 2), State::Unsupported);
        assert!(said.contains(&format!("d{behind}-p1 (device {}) is at generation", behind + 1)), "{said}");
        assert!(!said.contains("remove missing"), "{said}");
    }
    // What is not here is told by its number, and not to be given up.
    let mut disks = set.in_memory();
    let chunk_root = set.places_of(set::super_field(&set.paths[0], "chunk_root"));
    for missing in [2, 1] {
        let said = told(&read_some(&disks[..1], 1), State::Unsupported);
        assert!(said.contains(&format!("device {missing} (UUID ")), "{said}");
        // Nobody should give it up where the file system could not say whether it is one of its own.
        let is_known = chunk_root.iter().all(|(device, _)| device + 1 != missing);
        assert_eq!(said.contains("remove missing"), is_known, "{said}");
        disks.reverse();
    }
    // It is here, and damaged, or something else has its signature there too.
    let said = told(&read_some(&disks, 1), State::Unsupported);
    assert!(said.contains("d1-p1 is its device 2 and cannot be used"), "{said}");
    let byte = read_vec(&disks[1], (64 << 10) + 500, 1).unwrap();
    disks[1].write_at((64 << 10) + 500, &[byte[0] ^ 1]).unwrap();
    for devices in [1, 2] {
        let said = told(&read_some(&disks, devices), State::Unsupported);
        assert!(said.contains("d1-p1 may be that device") && !said.contains("remove missing"), "{said}");
    }

    let disks = set.in_memory();
    change_super(&disks[1], |bytes| bytes[DEVID] = 0);
    let replacing = told(&read_some(&disks, 2), State::Unsupported);
    assert!(replacing.contains("the replacement of a device was not finished"), "{replacing}");
    // The last statistics of a device become the state of a replacement: started, suspended, and finished.
    let (leaf, node) = (set.leaf_of("4"), set::super_field(&set.paths[0], "nodesize") as usize);
    for (status, state) in [(1, State::Unsupported), (4, State::Unsupported), (2, State::Clean)] {
        let disks = set.in_memory();
        let [(device, at)] = set.places_of(leaf)[..] else { panic!("one copy") };
        set::change_node(&disks[device], at, node, |bytes| {
            // The second item: type and offset of its key, then where its data begin, from the end of the header.
            let item = 0x65 + 25;
            assert_eq!((bytes[item], bytes[item + 8], bytes[item + 9]), (0, 249, 2));
            bytes[item + 8..item + 10].copy_from_slice(&[250, 0]);
            let data = u32::from_le_bytes(bytes[item + 17..item + 21].try_into().unwrap()) as usize;
            bytes[0x65 + data + 32] = status;
        });
        let readings = read_some(&disks, 2);
        if state == State::Unsupported {
            assert_eq!(told(&readings, state), replacing);
        } else {
            assert!(readings.iter().flatten().all(|found| found.file_system.state == state));
        }
    }
}

#[test]
fn a_btrfs_on_one_device_that_was_one_of_the_set_is_seen() {
    let set = Set::filled(2, 200 * MIB, "-d raid1 -m raid1");
    // A copy from before the second one was added.
    let mut disks = set.in_memory();
    let single = |change: &dyn Fn(&mut [u8])| {
        let single = set.in_memory().remove(0);
        change_super(&single, |bytes| {
            bytes[NUM_DEVICES] = 1;
            change(bytes);
        });
        single
    };
    disks.push(single(&|bytes| bytes[GENERATION] -= 1));
    let said = told(&read_some(&disks, 2), State::Unsupported);
    assert!(said.contains("d0-p1 and d2-p1 are both its device 1, at the generations"), "{said}");
    // The first one went on alone, and the second one comes back.
    let disks = [set.in_memory().remove(1), single(&|bytes| bytes[GENERATION] += 1)];
    let readings = read_some(&disks, 1);
    assert!(readings[1].is_none());
    let said = told(&readings, State::Unsupported);
    assert!(said.contains("it went on without d0-p1 (device 2), on d1-p1 alone, which is newer"), "{said}");
    assert!(!said.contains("remove missing"), "{said}");

    // Both file systems would be found by the UUID.
    let paths: Vec<PathBuf> = (0..3).map(|number| set.folder.path().join(format!("twin-{number}"))).collect();
    std::fs::copy(&set.paths[0], &paths[0]).unwrap();
    std::fs::copy(&set.paths[1], &paths[1]).unwrap();
    std::fs::copy(&set.paths[0], &paths[2]).unwrap();
    let sealed = single(&|_| {});
    let file = std::fs::File::options().write(true).open(&paths[2]).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &read_vec(&sealed, 64 << 10, 4096).unwrap(), 64 << 10)
        .unwrap();
    let said = remint_ends(0, &["inspect", text(&paths[0]), text(&paths[1]), text(&paths[2])]);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("d0-disk and d2-disk are both its device 1, one is a copy of the other"), "{said}");
    assert!(said.contains("The file systems d2-disk and d0-disk and d1-disk have the same UUID"), "{said}");
}

#[test]
fn a_seed_and_what_grows_on_it_are_refused_by_name() {
    let seed = Set::filled(1, 200 * MIB, "-m single");
    run("btrfstune", &["-f", "-S", "1", text(&seed.paths[0])]);
    let sprout = seed.folder.path().join("sprout");
    std::fs::File::create(&sprout).unwrap().set_len(200 * MIB).unwrap();
    let device = lab::Loop::new(&sprout, 0, 200 * MIB, false);
    seed.mounted("ro", |at| {
        run("btrfs", &["device", "add", "-f", &device.0, text(at)]);
        run("mount", &["-o", "remount,rw", text(at)]);
        std::fs::write(at.join("grown"), "grown").unwrap();
    });
    drop(device);
    let disks = [remint::linux::DiskReader::open(&sprout).unwrap()];
    let found = &read_all(&disks)[0].file_system;
    assert_eq!(found.state, State::Unsupported);
    assert!(found.findings[0].contains("it is built on a seed, its device 1"), "{:?}", found.findings);
}

#[test]
fn nothing_is_changed_in_one_on_the_way_and_what_would_be_is_refused() {
    let lab = Lab::new(Set::filled(3, 200 * MIB, "-d raid1 -m raid1 -L pool"));
    let files = lab.set.mounted("ro", lab::tree);
    lab.capture(0, &[]);
    lab.lose_the_source();
    let targets = lab.targets(MIB);
    let before: Vec<String> = targets.iter().map(|target| lab::hash_of(target)).collect();
    let hello = lab.path("hello");
    std::fs::write(&hello, b"hello").unwrap();
    let copy = format!("{}=d0-p1:/hello", text(&hello));
    let said = lab.deploy(1, &targets, &["--copy", &copy]);
    assert!(said.contains("btrfs on several devices is not written to"), "{said}");
    let said = lab.deploy(1, &targets, &["--layout", "custom", "--partition", "d0-p1=100%"]);
    assert!(said.contains("which keep their size"), "{said}");
    let said = lab.deploy(1, &targets, &["--layout", "standard", "--volume", "d0-p1"]);
    assert!(said.contains("d0-p1"), "{said}");
    assert_eq!(before, targets.iter().map(|target| lab::hash_of(target)).collect::<Vec<_>>());

    let renamed = ["--new-ids", "--computer-name", "other"];
    let said = lab.plan(&targets, &renamed);
    let words = "Nothing is changed in the btrfs \"pool\" on d0-p1 and d1-p2 and d2-disk";
    assert!(said.contains(words), "{said}");
    let said_of_the_plan = said;
    let said = lab.deploy(3, &targets, &renamed);
    assert!(said.contains("d2-disk (btrfs on several devices) was not looked into"), "{said}");
    let places = lab.at(&targets);
    set::check(&places);
    assert!(mounted(&places, "ro", lab::tree) == files);

    let words = "Do not mount the btrfs \"pool\" on d0-p1 and d1-p2 and d2-disk while the captured disks";
    assert!(said_of_the_plan.contains(words), "{said_of_the_plan}");

    // An older one of the same number may still be in the machine.
    let before: Vec<String> = targets.iter().map(|target| lab::hash_of(target)).collect();
    for without in ["d2", "d0-p1"] {
        let two = if without == "d2" { &targets[..2] } else { &targets[..] };
        let said = lab.deploy(1, two, &["--without", without]);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.contains("which are not deployed") && said.contains("all of its devices, or none"),
            "{said}"
        );
    }
    assert_eq!(before, targets.iter().map(|target| lab::hash_of(target)).collect::<Vec<_>>());
}

#[test]
fn a_device_may_be_a_logical_volume() {
    let set = Set::filled(2, 200 * MIB, "-d single -m raid1");
    let files = set.mounted("ro", lab::tree);
    let path = |name: &str| set.folder.path().join(name);
    let script = "label: gpt\ntype=E6D6D379-F507-44C2-A23C-238F2A3DF928";
    let place = lab::partitioned_disk(&path("group"), 230 * MIB, 512, script)[0];
    let group = |disk: &Path| Lvm::new(&[(disk, place)]);
    {
        let lvm = group(&path("group"));
        lvm.run("pvcreate", &[lvm.device(0)]);
        lvm.run("vgcreate", &["vg", lvm.device(0)]);
        lvm.create("vg", "one", &["-L", "200m"]);
        lvm.put("vg/one", &set.paths[0]);
    }
    let (store, disk, other) = (path("store"), path("group"), &set.paths[1]);
    let capture = ["capture", "lab", "--to", text(&store), "--disk", text(&disk)];
    let said = remint_ends(1, &capture);
    assert!(said.contains("g0-l1") && said.contains("not here: here are g0-l1 (device 1)"), "{said}");
    remint_ends(0, &[capture.as_slice(), &["--disk", text(other)]].concat());
    let said = remint_ends(0, &["inspect", text(&disk), text(other)]);
    assert!(said.contains("its devices are g0-l1 (device 1) and d1-disk (device 2)"), "{said}");
    let targets = [path("new-group"), path("new-other")];
    lab::noisy_disk(&targets[0], 230 * MIB);
    lab::noisy_disk(&targets[1], 200 * MIB);
    std::fs::remove_file(other).unwrap();
    let named = [format!("d0={}", text(&targets[0])), format!("d1={}", text(&targets[1]))];
    let deploy = ["deploy", "lab", "--from", text(&store), "--yes", "--disk", &named[0], "--disk", &named[1]];
    remint_ends(0, &deploy);
    let volume = path("volume");
    assert_eq!(group(&targets[0]).take("vg/one", &volume), 200 * MIB);
    let places = [(volume.as_path(), 0, 200 * MIB), (targets[1].as_path(), 0, 200 * MIB)];
    set::check(&places);
    assert!(mounted(&places, "ro", lab::tree) == files);
}

#[test]
fn a_bad_copy_is_said_and_none_that_is_good_is_damage() {
    let set = Set::filled(2, 200 * MIB, "-d single -m raid1");
    let before = set.readings();
    let disks = set.in_memory();
    let root = set::super_field(&set.paths[0], "root");
    let places = set.places_of(root);
    assert_eq!(places.len(), 2);
    for (index, (device, at)) in places.into_iter().enumerate() {
        let byte = read_vec(&disks[device], at + 500, 1).unwrap();
        disks[device].write_at(at + 500, &[byte[0] ^ 1]).unwrap();
        for (reading, before) in read_all(&disks).iter().zip(&before) {
            let found = &reading.file_system;
            if index == 0 {
                assert_eq!((found.state, &reading.used), (State::Clean, &before.used));
                assert!(found.findings[1].contains("btrfs scrub"), "{:?}", found.findings);
            } else {
                assert_eq!((found.state, &reading.used), (State::Damaged, &None));
                assert!(found.findings[0].contains("(of d"), "{:?}", found.findings);
            }
        }
    }
}

/// Not only without panic: what is called clean with a checksum that was not put right has the map that it had before. In every second
/// round it is put right, so that what is behind it is met.
#[test]
fn ten_thousand_changes_are_noticed_or_change_nothing() {
    for (count, form) in
        [(2, "-d raid0 -m raid1 -n 4096"), (3, "-d raid5 -m raid5 -R ^free-space-tree -n 4096")]
    {
        const ROUNDS: u32 = 5000;
        let set = Set::filled(count, 128 * MIB, form);
        let disks = set.in_memory();
        let recorders: Vec<Recorder<'_>> =
            disks.iter().map(|disk| Recorder(disk, Mutex::default())).collect();
        let before = read_all(&recorders);
        assert!(before.iter().all(|reading| reading.file_system.state == State::Clean), "{before:?}");
        let mut reads: Vec<(usize, ByteRange)> = Vec::new();
        for (device, recorder) in recorders.into_iter().enumerate() {
            reads.extend(recorder.1.into_inner().unwrap().into_iter().map(|place| (device, place)));
        }
        reads.retain(|(_, place)| place.length() == 4096);
        let mut noise = Noise::new(0x5EED);
        let (mut noticed, mut sealed_and_clean) = (0, 0);
        for round in 0..ROUNDS {
            let (device, place) = reads[noise.below(reads.len() as u64) as usize];
            let old = read_vec(&disks[device], place.start(), place.length() as usize).unwrap();
            let mut new = old.clone();
            let span = if noise.below(2) == 0 { 200 } else { old.len() };
            let at = noise.below(span as u64) as usize;
            new[at] ^= (1 + noise.below(255)) as u8;
            let is_sealed = round % 2 == 0;
            if is_sealed {
                set::seal(&mut new);
            }
            disks[device].write_at(place.start(), &new).unwrap();
            let after: Vec<Reading> = read_some(&disks, count).into_iter().flatten().collect();
            let is_clean =
                after.len() == count && after.iter().all(|found| found.file_system.state == State::Clean);
            for found in after.iter().filter(|found| found.file_system.state != State::Clean) {
                assert!(found.used.is_none() && !found.file_system.findings.is_empty());
            }
            if !is_clean {
                noticed += 1;
            } else if is_sealed {
                sealed_and_clean += 1;
            } else {
                let same = after.iter().zip(&before).all(|(after, before)| after.used == before.used);
                assert!(same, "{form}: byte {at} of {place} of device {device}");
            }
            disks[device].write_at(place.start(), &old).unwrap();
        }
        assert!(noticed > ROUNDS / 5, "{form}: {noticed} changes were noticed");
        assert!(sealed_and_clean > 0, "{form}: some bytes mean nothing to the map");
    }
}

/// Remembers what was read.
struct Recorder<'a>(&'a MemoryDisk, Mutex<Vec<ByteRange>>);

impl ReadAt for Recorder<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.1.lock().unwrap().push(ByteRange::at(offset, buffer.len() as u64).unwrap());
        self.0.read_at(offset, buffer)
    }
}
