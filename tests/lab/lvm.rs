//! LVM's own tools on loop devices, without a device mapper and without a trace on this machine: they make volume groups,
//! and say where logical volumes lie.

use super::{Loop, Place, bytes, overwrite, run, text};
use std::fs;
use std::path::{Path, PathBuf};

/// A stretch of a file.
type Stretch = (PathBuf, u64, u64);

/// Physical volumes: places in files, each shown as a loop device.
pub struct Lvm {
    files: Vec<(PathBuf, u64)>,
    devices: Vec<Loop>,
}

impl Lvm {
    pub fn new(places: &[(&Path, Place)]) -> Self {
        let files = places.iter().map(|(file, place)| (file.to_path_buf(), place.start)).collect();
        let device = |(file, place): &(&Path, Place)| Loop::new(file, place.start, place.length, false);
        Self { files, devices: places.iter().map(device).collect() }
    }

    pub fn device(&self, position: usize) -> &str {
        &self.devices[position].0
    }

    pub fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let accepted: Vec<String> =
            self.devices.iter().map(|device| format!("\"a|^{}$|\"", device.0)).collect();
        let config = format!(
            "devices {{ filter = [{}, \"r|.*|\"] use_devicesfile = 0 }} backup {{ backup = 0 archive = 0 }}",
            accepted.join(", ")
        );
        let own = ["-q", "-y", "--driverloaded", "n", "--config", &config];
        run(tool, &[own.as_slice(), arguments].concat())
    }

    /// Makes a volume; `arguments` are its size and whatever else.
    pub fn create(&self, group: &str, name: &str, arguments: &[&str]) {
        self.run("lvcreate", &[&["-an", "-Zn", "-Wn"], arguments, &["-n", name, group]].concat());
    }

    /// Names, UUIDs, sizes and tags of groups, physical and logical volumes, as LVM's tools say.
    pub fn report(&self, tool: &str, fields: &str) -> Vec<String> {
        let out = self.run(tool, &["--noheadings", "--units", "b", "-o", fields]);
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines: Vec<String> = out.lines().map(line).filter(|line| !line.is_empty()).collect();
        lines.sort();
        lines
    }

    /// Where a volume lies, in its own order: worked out from what the tools say.
    pub fn places(&self, volume: &str) -> Vec<Stretch> {
        let number = |text: &str| text.trim().trim_end_matches('B').parse::<u64>().unwrap();
        let fields = "seg_start_pe,stripes,stripe_size,seg_pe_ranges";
        let out = self.run("lvs", &["--noheadings", "--units", "b", "--segments", "-o", fields, volume]);
        let mut segments: Vec<(u64, Vec<Stretch>)> = Vec::new();
        for line in out.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let (first, _) = (number(words.next().unwrap()), words.next());
            let stripe = number(words.next().unwrap());
            let columns: Vec<Stretch> = words.map(|range| self.range(range)).collect();
            let each = columns[0].2;
            let step = if columns.len() == 1 { each } else { stripe };
            let mut stretches = Vec::new();
            for row in (0..each).step_by(step as usize) {
                stretches.extend(columns.iter().map(|(file, start, _)| (file.clone(), start + row, step)));
            }
            segments.push((first, stretches));
        }
        segments.sort();
        segments.into_iter().flat_map(|(_, stretches)| stretches).collect()
    }

    /// `/dev/loop3:5-7` as a stretch of a file.
    fn range(&self, range: &str) -> Stretch {
        let number = |text: &str| text.trim().trim_end_matches('B').parse::<u64>().unwrap();
        let (device, extents) = range.rsplit_once(':').unwrap();
        let (from, to) = extents.split_once('-').unwrap();
        let options = ["--noheadings", "--units", "b", "-o"];
        let field = |of: &str| number(&self.run("pvs", &[options.as_slice(), &[of, device]].concat()));
        let (start, extent) = (field("pe_start"), field("vg_extent_size"));
        let position = self.devices.iter().position(|known| known.0 == device).unwrap();
        let (file, offset) = &self.files[position];
        let first = offset + start + number(from) * extent;
        (file.clone(), first, (number(to) + 1 - number(from)) * extent)
    }

    /// A file with the content of a volume.
    pub fn take(&self, volume: &str, into: &Path) -> u64 {
        let places = self.places(volume);
        let content: Vec<u8> =
            places.iter().flat_map(|(file, start, length)| bytes(file, *start, *length)).collect();
        fs::write(into, &content).unwrap();
        content.len() as u64
    }

    /// The other way round; the file may be shorter.
    pub fn put(&self, volume: &str, from: &Path) {
        let content = fs::read(from).unwrap();
        let mut rest = content.as_slice();
        for (file, start, length) in self.places(volume) {
            let (part, behind) = rest.split_at((length as usize).min(rest.len()));
            overwrite(&file, start, part);
            rest = behind;
        }
        assert!(rest.is_empty(), "{} does not fit into {volume}", text(from));
    }

    pub fn size(&self, volume: &str) -> u64 {
        self.places(volume).iter().map(|(_, _, length)| length).sum()
    }
}
