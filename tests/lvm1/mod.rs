//! Groups of LVM1, the smallest that are valid, made from the documentation of their format: no tool that is still there makes one.
#![allow(dead_code, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

/// Where things stand on every physical volume.
const GROUP: usize = 4096;
const UUIDS: usize = 8192;
const VOLUMES: usize = 45_056;
const TABLE: usize = 65_536;
pub const START: usize = 128 << 10;
const MOST_VOLUMES: usize = 16;

/// A volume: name, its extents in their order (physical volume and extent there), stripes and the bytes of one.
pub struct Volume {
    pub name: &'static str,
    pub extents: Vec<(usize, usize)>,
    pub stripes: usize,
    pub stripe_bytes: usize,
    pub access: u32,
}

pub struct Group {
    pub folder: PathBuf,
    pub extent_bytes: usize,
    /// Extents of each physical volume.
    pub disks: Vec<usize>,
    pub volumes: Vec<Volume>,
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn uuid(disk: usize) -> String {
    format!("PhysicalVolume{disk:018}")
}

impl Group {
    pub fn disk(&self, number: usize) -> PathBuf {
        self.folder.join(format!("pv{number}"))
    }

    /// Where a byte of a volume stands: the physical volume, and the byte there.
    pub fn place(&self, volume: &Volume, byte: usize) -> (usize, usize) {
        let columns = volume.extents.len() / volume.stripes;
        let (stripe, row, within) = match volume.stripes {
            1 => (0, byte, 0),
            stripes => {
                let stripe = byte / volume.stripe_bytes;
                (stripe % stripes, stripe / stripes * volume.stripe_bytes, byte % volume.stripe_bytes)
            }
        };
        let in_column = row + within;
        let (disk, extent) = volume.extents[stripe * columns + in_column / self.extent_bytes];
        (disk, START + extent * self.extent_bytes + in_column % self.extent_bytes)
    }

    /// Writes all physical volumes; `content` are what the volumes hold. What is free is noise.
    pub fn make(&self, content: &[PathBuf]) {
        let mut disks: Vec<Vec<u8>> = self.disks.iter().map(|extents| self.physical(*extents)).collect();
        for (number, disk) in disks.iter_mut().enumerate() {
            self.describe(number, disk);
        }
        for (volume, path) in self.volumes.iter().zip(content) {
            let bytes = fs::read(path).unwrap();
            for (at, part) in (0..).step_by(4096).zip(bytes.chunks(4096)) {
                let (disk, place) = self.place(volume, at);
                disks[disk][place..place + part.len()].copy_from_slice(part);
            }
        }
        for (number, disk) in disks.iter().enumerate() {
            fs::write(self.disk(number), disk).unwrap();
        }
    }

    fn physical(&self, extents: usize) -> Vec<u8> {
        // Ends with less than an extent.
        let mut bytes = vec![0x5A; START + extents * self.extent_bytes + 8192];
        bytes[..START].fill(0);
        bytes
    }

    fn describe(&self, number: usize, disk: &mut [u8]) {
        disk[..4].copy_from_slice(b"HM\x02\0");
        let areas = [
            (0, 1024),
            (GROUP, 4096),
            (UUIDS, VOLUMES - UUIDS),
            (VOLUMES, TABLE - VOLUMES),
            (TABLE, START - TABLE),
        ];
        for (at, (start, length)) in (4..).step_by(8).zip(areas) {
            put(disk, at, start as u32);
            put(disk, at + 4, length as u32);
        }
        disk[44..76].copy_from_slice(uuid(number).as_bytes());
        disk[172..175].copy_from_slice(b"old");
        put(disk, 432, number as u32 + 1);
        put(disk, 444, (disk.len() / 512) as u32);
        put(disk, 448, self.volumes.len() as u32);
        put(disk, 452, (self.extent_bytes / 512) as u32);
        put(disk, 456, self.disks[number] as u32);
        put(disk, 464, (START / 512) as u32);
        disk[GROUP..GROUP + 32].copy_from_slice(b"VolumeGroup000000000000000000001");
        put(disk, GROUP + 140, MOST_VOLUMES as u32);
        put(disk, GROUP + 144, self.volumes.len() as u32);
        put(disk, GROUP + 152, 256);
        put(disk, GROUP + 156, self.disks.len() as u32);
        put(disk, GROUP + 172, (self.extent_bytes / 512) as u32);
        for other in 0..self.disks.len() {
            let at = UUIDS + other * 128;
            disk[at..at + 32].copy_from_slice(uuid(other).as_bytes());
        }
        for (position, volume) in self.volumes.iter().enumerate() {
            let at = VOLUMES + position * 328;
            let name = format!("/dev/old/{}", volume.name);
            disk[at..at + name.len()].copy_from_slice(name.as_bytes());
            disk[at + 128..at + 131].copy_from_slice(b"old");
            put(disk, at + 256, volume.access);
            put(disk, at + 272, position as u32);
            put(disk, at + 288, (volume.extents.len() * self.extent_bytes / 512) as u32);
            put(disk, at + 300, volume.extents.len() as u32);
            put(disk, at + 304, volume.stripes as u32);
            put(disk, at + 308, (volume.stripe_bytes / 512) as u32);
            for (logical, (on, extent)) in volume.extents.iter().enumerate() {
                if *on == number {
                    let entry = (logical as u32) << 16 | (position as u32 + 1);
                    put(disk, TABLE + extent * 4, entry);
                }
            }
        }
    }

    /// What a volume holds on these physical volumes.
    pub fn read(&self, volume: &Volume, disks: &[PathBuf], path: &Path) {
        let disks: Vec<Vec<u8>> = disks.iter().map(|disk| fs::read(disk).unwrap()).collect();
        let size = volume.extents.len() * self.extent_bytes;
        let mut bytes = Vec::with_capacity(size);
        for at in (0..size).step_by(4096) {
            let (disk, place) = self.place(volume, at);
            bytes.extend_from_slice(&disks[disk][place..place + 4096]);
        }
        fs::write(path, bytes).unwrap();
    }
}
