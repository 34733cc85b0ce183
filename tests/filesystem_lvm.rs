//! Physical volumes of LVM2, made by its own tools: what their logical volumes hold is captured and comes back, free
//! extents are not, and where there is doubt everything is.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::{Kind, Loop, MIB, remint_ends, text};
use remint::blockio::{MemoryDisk, WriteAt};
use remint::filesystem;
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::fs;
use std::path::Path;

const LVM: &str = "E6D6D379-F507-44C2-A23C-238F2A3DF928";
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const XFS: Kind = Kind { name: "XFS", family: "xfs", make: &["mkfs.xfs", "-q", "-f"] };

/// LVM's tools on one device, without a device mapper and without a trace on this machine.
struct Tools<'a> {
    device: &'a Loop,
}

impl Tools<'_> {
    fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let config = format!(
            "devices {{ filter = [\"a|^{}$|\", \"r|.*|\"] use_devicesfile = 0 }} backup {{ backup = 0 archive = 0 }}",
            self.device.0
        );
        let own = ["-q", "-y", "--driverloaded", "n", "--config", &config];
        lab::run(tool, &[own.as_slice(), arguments].concat())
    }

    fn create(&self, name: &str, size: &str) {
        self.run("lvcreate", &["-an", "-Zn", "-Wn", "-L", size, "-n", name, "vg-one"]);
    }

    /// The stretches of a logical volume on its physical one, in its own order, as LVM says.
    fn places(&self, name: &str) -> Vec<ByteRange> {
        let number = |text: &str| text.trim().trim_end_matches('B').parse::<u64>().unwrap();
        let options = ["--noheadings", "--units", "b", "-o"];
        let field = |of: &str| {
            let out = self.run("pvs", &[options.as_slice(), &[of, &self.device.0]].concat());
            number(&out)
        };
        let (start, extent) = (field("pe_start"), field("vg_extent_size"));
        let volume = format!("vg-one/{name}");
        let out =
            self.run("lvs", &["--noheadings", "--segments", "-o", "seg_start_pe,seg_pe_ranges", &volume]);
        let mut segments: Vec<(u64, u64, u64)> = out
            .lines()
            .map(|line| {
                let mut words = line.split_whitespace();
                let first = number(words.next().unwrap());
                let range = words.next().unwrap().rsplit(':').next().unwrap();
                let (from, to) = range.split_once('-').unwrap();
                (first, number(from), number(to))
            })
            .collect();
        segments.sort_unstable();
        let place =
            |(_, from, to): (u64, u64, u64)| ByteRange::new(start + from * extent, start + (to + 1) * extent);
        segments.into_iter().map(place).collect()
    }
}

fn length(places: &[ByteRange]) -> u64 {
    places.iter().map(|place| place.length()).sum()
}

/// A file with the content of a logical volume, taken from a disk.
fn take(disk: &Path, at: u64, places: &[ByteRange], into: &Path) {
    let bytes: Vec<u8> =
        places.iter().flat_map(|place| lab::bytes(disk, at + place.start(), place.length())).collect();
    fs::write(into, bytes).unwrap();
}

/// The other way round.
fn put(disk: &Path, at: u64, places: &[ByteRange], from: &Path) {
    let bytes = fs::read(from).unwrap();
    let mut position = 0;
    for place in places {
        let end = position + place.length() as usize;
        lab::overwrite(disk, at + place.start(), &bytes[position..end]);
        position = end;
    }
}

fn read(disk: &Path, at: u64, length: u64) -> filesystem::Reading {
    filesystem::read(&lab::bytes(disk, at, length).as_slice()).unwrap().unwrap()
}

#[test]
fn logical_volumes_are_captured_by_their_file_systems_and_come_back() {
    let folder = lab::folder();
    let path = |name: &str| folder.path().join(name);
    let disk = path("disk.img");
    let script = format!("label: gpt\nsize=8MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\ntype={LVM}\n");
    let place = lab::partitioned_disk(&disk, 700 * MIB, 512, &script)[1];
    lab::noisy_disk(&path("noise.img"), place.length);
    lab::overwrite(&disk, place.start, &lab::bytes(&path("noise.img"), 0, place.length));
    lab::overwrite(&disk, place.start, &vec![0; 1 << 20]);

    // A volume of two stretches, one with a dash in its name, one that nobody understands, and much free space.
    let device = Loop::new(&disk, place.start, place.length, false);
    let tools = Tools { device: &device };
    tools.run("pvcreate", &["--metadatacopies", "2", &device.0]);
    tools.run("vgcreate", &["vg-one", &device.0]);
    tools.create("root", "64M");
    tools.create("home-data", "304M");
    tools.create("unknown", "12M");
    tools.run("lvextend", &["-L", "+32M", "vg-one/root"]);
    let names = ["root", "home-data", "unknown"];
    let places: Vec<Vec<ByteRange>> = names.iter().map(|name| tools.places(name)).collect();
    assert_eq!(places[0].len(), 2, "root is in two stretches");
    drop(device);

    let files = path("files");
    lab::real_files(&files, 4 << 20);
    for (kind, of) in [(&EXT4, &places[0]), (&XFS, &places[1])] {
        kind.build(&path("part.img"), length(of), &files);
        put(&disk, place.start, of, &path("part.img"));
    }

    let reading = read(&disk, place.start, place.length);
    let (found, used) = (&reading.file_system, reading.used.unwrap());
    assert_eq!((found.kind, found.state), (FileSystemKind::LvmPhysicalVolume, State::Clean));
    assert_eq!((found.label.as_deref(), found.findings.as_slice()), (Some("vg-one"), &[][..]));
    let all: RangeSet = places.iter().flatten().copied().collect();
    let data = ByteRange::new(all.ranges()[0].start(), all.end());
    assert!(places[2].iter().all(|place| used.contains(*place)), "what nobody understands is used");
    assert!(used.within(data).all(|range| all.contains(range)), "free extents are not used");
    assert!(used.contains(ByteRange::new(0, data.start())), "label and metadata");
    assert!(used.total_bytes() < 150 * MIB, "{} bytes are used", used.total_bytes());

    let (store, target) = (text(&path("store")).to_owned(), path("target.img"));
    remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
    remint_ends(0, &["verify", "lab", "--from", &store, "--deep"]);
    lab::noisy_disk(&target, 720 * MIB);
    remint_ends(0, &["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"]);
    let now = lab::partitions(&target, 512)[1];
    assert_eq!(now.length, place.length);
    let device = Loop::new(&target, now.start, now.length, true);
    let tools = Tools { device: &device };
    let said = tools.run("vgs", &["--noheadings", "-o", "vg_name,lv_count"]);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["vg-one", "3"]);
    assert_eq!(names.map(|name| tools.places(name)).to_vec(), places);
    tools.run("pvck", &[&device.0]);
    drop(device);
    for (kind, of) in [(&EXT4, &places[0]), (&XFS, &places[1])] {
        take(&disk, place.start, of, &path("before.img"));
        take(&target, now.start, of, &path("after.img"));
        kind.check(&path("after.img"), 0, length(of));
        assert_eq!(
            kind.files(&path("after.img"), 0, length(of)),
            kind.files(&path("before.img"), 0, length(of))
        );
    }
    for of in &places[2] {
        assert!(
            lab::bytes(&target, now.start + of.start(), of.length())
                == lab::bytes(&disk, place.start + of.start(), of.length())
        );
    }
}

/// A physical volume with small metadata areas, in which one ext4 stands.
fn small(disk: &Path) -> (u64, Vec<ByteRange>) {
    let size = 40 * MIB;
    fs::File::create(disk).unwrap().set_len(size).unwrap();
    let device = Loop::new(disk, 0, size, false);
    let tools = Tools { device: &device };
    tools.run("pvcreate", &["--metadatasize", "32k", "--dataalignment", "4k", &device.0]);
    tools.run("vgcreate", &["-s", "1M", "vg-one", &device.0]);
    tools.create("root", "16M");
    for letter in ["a", "b", "c"] {
        tools.run("vgchange", &["--addtag", &letter.repeat(1000), "vg-one"]);
    }
    let mut went_around = false;
    // Every change writes the metadata once more, until they go around the end of their area.
    for turn in 0..10 {
        let (from, to) = if turn % 2 == 0 { ("root", "other") } else { ("other", "root") };
        tools.run("lvrename", &["vg-one", from, to]);
        let places = tools.places(to);
        assert_eq!(length(&places), 16 * MIB);
        // The first text begins behind the head of its area; later it is the rest of one that goes around.
        went_around |= lab::bytes(disk, 4096 + 512, 8) != b"vg-one {";
        let reading = read(disk, 0, size);
        let used = reading.used.unwrap_or_else(|| panic!("no map after change {turn}"));
        assert!(places.iter().all(|place| used.contains(*place)), "nothing is known of its content");
        assert!(used.total_bytes() < 30 * MIB);
    }
    assert!(went_around, "the metadata never reached the end of their area");
    let places = tools.places("root");
    drop(device);
    (size, places)
}

#[test]
fn metadata_that_go_around_their_area_are_read_and_flipped_bytes_do_no_harm() {
    let folder = lab::folder();
    let (disk, part) = (folder.path().join("disk.img"), folder.path().join("part.img"));
    let (size, places) = small(&disk);
    let files = folder.path().join("files");
    fs::create_dir_all(files.join("deep")).unwrap();
    fs::write(files.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
    EXT4.build(&part, length(&places), &files);
    put(&disk, 0, &places, &part);
    let bytes = lab::bytes(&disk, 0, size);
    let sound = filesystem::read(&bytes.as_slice()).unwrap().unwrap();
    assert!(sound.used.as_ref().unwrap().total_bytes() < 8 * MIB, "captured by its file system");

    // A changed byte of label or metadata is seen, or has no meaning.
    let memory = MemoryDisk::from_bytes(&bytes);
    let start = places[0].start() as usize;
    for at in (0..start).step_by(13) {
        memory.write_at(at as u64, &[bytes[at] ^ if at % 2 == 0 { 0x01 } else { 0x80 }]).unwrap();
        let reading = filesystem::read(&memory).unwrap();
        let map = reading.as_ref().and_then(|reading| reading.used.as_ref());
        assert!(map.is_none() || map == sound.used.as_ref(), "byte {at}");
        memory.write_at(at as u64, &[bytes[at]]).unwrap();
    }
}

#[test]
fn a_file_system_that_is_not_clean_and_a_group_of_two_disks_are_captured_whole() {
    let folder = lab::folder();
    let (disk, part) = (folder.path().join("disk.img"), folder.path().join("part.img"));
    let (size, places) = small(&disk);
    fs::File::create(&part).unwrap().set_len(length(&places)).unwrap();
    lab::run("mkfs.ext4", &["-q", "-F", "-b", "4096", text(&part)]);
    lab::run("debugfs", &["-w", "-R", "ssv state 0", text(&part)]);
    put(&disk, 0, &places, &part);
    let reading = read(&disk, 0, size);
    assert_eq!(reading.file_system.state, State::Clean, "every block is certain");
    assert!(
        reading.file_system.findings[0].contains("vg-one/root is captured whole"),
        "{:?}",
        reading.file_system
    );
    assert!(places.iter().all(|place| reading.used.as_ref().unwrap().contains(*place)));

    let second = folder.path().join("second.img");
    fs::File::create(&second).unwrap().set_len(40 * MIB).unwrap();
    let (one, other) = (Loop::new(&disk, 0, size, false), Loop::new(&second, 0, 40 * MIB, false));
    let config = format!(
        "devices {{ filter = [\"a|^{}$|\", \"a|^{}$|\", \"r|.*|\"] use_devicesfile = 0 }} backup {{ backup = 0 archive = 0 }}",
        one.0, other.0
    );
    let own = ["-q", "-y", "--driverloaded", "n", "--config", config.as_str()];
    lab::run("pvcreate", &[own.as_slice(), &[&other.0]].concat());
    lab::run("vgextend", &[own.as_slice(), &["vg-one", &other.0]].concat());
    drop((one, other));
    for disk in [&disk, &second] {
        let reading = read(disk, 0, 40 * MIB);
        assert_eq!((reading.file_system.kind, reading.used), (FileSystemKind::LvmPhysicalVolume, None));
    }
}
