//! File systems of several devices on disks of different tables, captured and deployed by the program.

use super::lab::{self, MIB, Place, remint_ends, text};
use super::set::Set;
use std::path::{Path, PathBuf};

/// A set on disks of its own, captured into a store.
pub struct Lab {
    pub set: Set,
    pub disks: Vec<PathBuf>,
    /// Where the device is on each disk.
    pub places: Vec<Place>,
}

impl Lab {
    /// On the first disk a GPT, on the second one an MBR with another partition in front, on the others nothing.
    pub fn new(set: Set) -> Self {
        let (mut disks, mut places) = (Vec::new(), Vec::new());
        for (number, path) in set.paths.iter().enumerate() {
            let disk = set.folder.path().join(format!("disk-{number}"));
            let sectors = set.bytes / 512;
            let script = match number {
                0 => format!("label: gpt\nsize={sectors}, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
                1 => format!("label: dos\nsize=2048, type=83\nsize={sectors}, type=83"),
                _ => {
                    std::fs::copy(path, &disk).unwrap();
                    places.push(Place { number: 0, start: 0, length: set.bytes });
                    disks.push(disk);
                    continue;
                }
            };
            let place = *lab::partitioned_disk(&disk, set.bytes + 8 * MIB, 512, &script).last().unwrap();
            lab::put(&disk, place.start, path);
            places.push(place);
            disks.push(disk);
        }
        Self { set, disks, places }
    }

    /// From now on, nothing of what was captured can be found by the kernel or a tool.
    pub fn lose_the_source(&self) {
        for file in self.disks.iter().chain(&self.set.paths) {
            let bytes = std::fs::metadata(file).unwrap().len();
            std::fs::File::create(file).unwrap().set_len(bytes).unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.set.folder.path().join(name)
    }

    /// Names of the volumes.
    pub fn names(&self) -> Vec<&'static str> {
        ["d0-p1", "d1-p2", "d2-disk", "d3-disk"].into_iter().take(self.disks.len()).collect()
    }

    pub fn at<'a>(&self, disks: &'a [PathBuf]) -> Vec<(&'a Path, u64, u64)> {
        disks
            .iter()
            .zip(&self.places)
            .map(|(disk, place)| (disk.as_path(), place.start, place.length))
            .collect()
    }

    pub fn capture(&self, code: i32, more: &[&str]) -> String {
        let disks: Vec<&Path> = self.disks.iter().map(PathBuf::as_path).collect();
        self.capture_some(code, &disks, more)
    }

    pub fn capture_some(&self, code: i32, disks: &[&Path], more: &[&str]) -> String {
        let store = self.path("store");
        let mut arguments = vec!["capture", "lab", "--to", text(&store)];
        disks.iter().for_each(|disk| arguments.extend(["--disk", text(disk)]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }

    /// Disks of noise, each larger by `more_bytes` than those of the set.
    pub fn targets(&self, more_bytes: u64) -> Vec<PathBuf> {
        let target = |(number, disk): (usize, &PathBuf)| {
            let target = self.path(&format!("target-{number}"));
            lab::noisy_disk(&target, std::fs::metadata(disk).unwrap().len() + more_bytes);
            target
        };
        self.disks.iter().enumerate().map(target).collect()
    }

    pub fn deploy(&self, code: i32, targets: &[PathBuf], more: &[&str]) -> String {
        self.put("deploy", code, targets, &[&["--yes"], more].concat())
    }

    /// What a deploy would do, without its line breaks.
    pub fn plan(&self, targets: &[PathBuf], more: &[&str]) -> String {
        self.put("plan", 0, targets, more).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn put(&self, command: &str, code: i32, targets: &[PathBuf], more: &[&str]) -> String {
        let named: Vec<String> = targets
            .iter()
            .enumerate()
            .map(|(number, target)| format!("d{number}={}", text(target)))
            .collect();
        let store = self.path("store");
        let mut arguments = vec![command, "lab", "--from", text(&store)];
        named.iter().for_each(|target| arguments.extend(["--disk", target]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }
}
