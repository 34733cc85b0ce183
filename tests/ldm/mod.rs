//! Groups of dynamic disks that `tests/ldm/mkldm` makes, and what ldmtool says of them.
#![allow(dead_code, missing_docs)]

use crate::lab::{self, MIB, run, text};
use remint::units::ByteRange;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub const GUID: &str = "06495a84-fbfd-11e1-8cf9-52540061f5db";
const SECTOR: u64 = 512;

/// A disk, its first sector from the start of the public region, and sectors.
pub type Extent<'a> = (&'a str, u64, u64);

/// A group that is being described.
pub struct Group {
    pub folder: tempfile::TempDir,
    pub json: Value,
}

impl Group {
    /// Disks of noise, named Disk1 and so on, each with its table: "mbr" or "gpt".
    pub fn new(tables: &[&str], size_bytes: u64) -> Self {
        let folder = lab::folder();
        let disks: Vec<Value> = (1..)
            .zip(tables)
            .map(|(number, table)| {
                let path = folder.path().join(format!("disk{number}"));
                lab::noisy_disk(&path, size_bytes);
                let guid = format!("06495a{number:02}-fbfd-11e1-8cf9-52540061f5db");
                json!({"name": format!("Disk{number}"), "path": path, "guid": guid, "table": table})
            })
            .collect();
        let json = json!({"name": "Lab-Dg0", "guid": GUID, "disks": disks, "volumes": []});
        Self { folder, json }
    }

    /// Adds a volume whose content stands in a file, with the extents of each copy.
    pub fn volume(&mut self, name: &str, form: &str, copies: &[&[Extent<'_>]], content: Option<&Path>) {
        let sectors: u64 = copies[0].iter().map(|extent| extent.2).sum();
        let volume =
            json!({"name": name, "form": form, "sectors": sectors, "copies": copies, "content": content});
        self.json["volumes"].as_array_mut().unwrap().push(volume);
    }

    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.json[key] = value.into();
    }

    /// Writes the disks.
    pub fn make(&self) {
        let file = self.folder.path().join("group.json");
        fs::write(&file, self.json.to_string()).unwrap();
        run(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ldm/mkldm"), &[text(&file)]);
    }

    pub fn disk(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("disk{number}"))
    }
}

/// What ldmtool says of the group on some disks, read by nobody else.
pub struct Shown {
    disks: Vec<PathBuf>,
}

impl Shown {
    pub fn new(disks: &[&Path]) -> Self {
        Self { disks: disks.iter().map(|disk| (*disk).to_owned()).collect() }
    }

    fn show(&self, what: &[&str]) -> Value {
        let mut arguments = Vec::new();
        self.disks.iter().for_each(|disk| arguments.extend(["-d", text(disk)]));
        arguments.extend(["show"]);
        arguments.extend(what);
        serde_json::from_str(&run("ldmtool", &arguments)).unwrap()
    }

    pub fn group(&self) -> Value {
        self.show(&["diskgroup", GUID])
    }

    pub fn disk(&self, name: &str) -> Value {
        self.show(&["disk", GUID, name])
    }

    pub fn volume(&self, name: &str) -> Value {
        self.show(&["volume", GUID, name])
    }

    /// Everything but paths and where public and private regions are.
    pub fn all(&self) -> Vec<Value> {
        let group = self.group();
        let names = |key: &str| {
            group[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let mut all = vec![group.clone()];
        for name in names("volumes") {
            let volume = self.volume(&name);
            for part in volume["partitions"].as_array().unwrap() {
                all.push(self.show(&["partition", GUID, part.as_str().unwrap()]));
            }
            all.push(volume);
        }
        for name in names("disks") {
            let mut disk = self.disk(&name);
            let disk = disk.as_object_mut().unwrap();
            disk.remove("device");
            disk.remove("metadata-start");
            all.push(Value::Object(disk.clone()));
        }
        all
    }

    /// The extents of a volume: the disk, and the bytes on it.
    pub fn extents(&self, volume: &str) -> Vec<(PathBuf, ByteRange)> {
        let parts = self.volume(volume)["partitions"].as_array().unwrap().clone();
        let extent = |name: &Value| {
            let part = self.show(&["partition", GUID, name.as_str().unwrap()]);
            let disk = self.disk(part["disk"].as_str().unwrap());
            let start = disk["data-start"].as_u64().unwrap() + part["start"].as_u64().unwrap();
            let length = part["size"].as_u64().unwrap() * SECTOR;
            (PathBuf::from(disk["device"].as_str().unwrap()), ByteRange::at(start * SECTOR, length).unwrap())
        };
        parts.iter().map(extent).collect()
    }

    /// What a volume holds; of a mirror what each copy does.
    pub fn content(&self, name: &str) -> Vec<Vec<u8>> {
        let volume = self.volume(name);
        let mut parts: Vec<Vec<u8>> = self
            .extents(name)
            .iter()
            .map(|(disk, place)| lab::bytes(disk, place.start(), place.length()))
            .collect();
        match volume["type"].as_str().unwrap() {
            "mirrored" => parts,
            "striped" => {
                let stripe = (volume["chunk-size"].as_u64().unwrap() * SECTOR) as usize;
                let mut whole = Vec::new();
                while parts.iter().all(|part| part.len() >= stripe) {
                    parts.iter_mut().for_each(|part| whole.extend(part.drain(..stripe)));
                }
                vec![whole]
            }
            _ => vec![parts.concat()],
        }
    }

    /// The private region of a disk, its headers left out where `headless`.
    pub fn private(&self, name: &str) -> Vec<u8> {
        let disk = self.disk(name);
        let number = |key: &str| disk[key].as_u64().unwrap() * SECTOR;
        let path = PathBuf::from(disk["device"].as_str().unwrap());
        lab::bytes(&path, number("metadata-start"), number("metadata-size"))
    }
}

/// The sum that seals a header or a table of contents.
pub fn checksum(sector: &[u8]) -> u32 {
    let field = &sector[8..12];
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(sector) - sum(field)
}

/// The usual group: four forms over an MBR and a GPT disk, with free space around them, and what each volume is filled with.
pub fn mixed(content: impl Fn(&str, u64) -> Option<PathBuf>) -> Group {
    let mut group = Group::new(&["mbr", "gpt"], 120 * MIB);
    let mib = 2048;
    let volumes: [(&str, &str, &[&[Extent<'_>]]); 5] = [
        ("Simple", "simple", &[&[("Disk1", 65, 20 * mib)]]),
        ("Spanned", "spanned", &[&[("Disk2", 94, 12 * mib), ("Disk1", 24 * mib, 10 * mib)]]),
        ("Striped", "striped", &[&[("Disk1", 40 * mib, 16 * mib), ("Disk2", 20 * mib, 16 * mib)]]),
        ("Mirror", "mirrored", &[&[("Disk1", 60 * mib, 22 * mib)], &[("Disk2", 40 * mib, 22 * mib)]]),
        ("Other", "simple", &[&[("Disk2", 70 * mib, 24 * mib)]]),
    ];
    for (name, form, copies) in volumes {
        let bytes = copies[0].iter().map(|extent| extent.2 * SECTOR).sum();
        group.volume(name, form, copies, content(name, bytes).as_deref());
    }
    group
}
