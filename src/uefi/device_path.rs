//! A device path: by what a firmware finds what it starts (UEFI 2.10, chapter 10).

use super::Corrupt;
use crate::units::{Guid, read_array, read_slice, read_u8, read_u16le, read_u32le, read_u64le};
use serde::Serialize;
use std::fmt;

const STRUCTURE: &str = "EFI_DEVICE_PATH_PROTOCOL";
/// Type, subtype and length.
const HEADER_BYTES: usize = 4;
/// Types of nodes (10.3.1).
const MESSAGING: u8 = 3;
const MEDIA: u8 = 4;
const BIOS_BOOT: u8 = 5;
const END: u8 = 0x7F;
/// Subtypes of [`MEDIA`] (10.3.5).
const HARD_DRIVE: u8 = 1;
const FILE_PATH: u8 = 4;
/// Subtypes of [`MESSAGING`] (10.3.4): MAC address, IPv4, IPv6, URI.
const NETWORK: [u8; 4] = [11, 12, 13, 24];
/// Device types of [`BIOS_BOOT`] (10.3.6): embedded network, and what a network card's boot ROM is.
const BIOS_NETWORK: [u16; 2] = [0x06, 0x80];
/// Data of a hard drive node, behind the header.
const HARD_DRIVE_BYTES: usize = 38;

/// The first device path of a list, node for node, and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePath {
    /// The nodes, without the one that ends them.
    pub nodes: Vec<Node>,
    /// The node that ends them, and further paths.
    pub tail: Vec<u8>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Type.
    pub kind: u8,
    /// Subtype.
    pub subtype: u8,
    /// What stands behind the header.
    pub data: Vec<u8>,
}

/// A partition as a hard drive node names it (10.3.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HardDrive {
    /// Number of the partition in its table, from 1.
    pub partition_number: u32,
    /// First sector.
    pub partition_start: u64,
    /// Sectors.
    pub partition_size: u64,
    /// What is the partition's, or its disk's, alone.
    pub id: PartitionId,
}

/// By what a partition is known wherever it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "table", rename_all = "kebab-case")]
pub enum PartitionId {
    /// Of a GPT.
    Gpt {
        /// GUID of the partition.
        guid: Guid,
    },
    /// Of an MBR.
    Mbr {
        /// Signature of the disk.
        signature: u32,
        /// Number of the partition.
        number: u32,
    },
}

impl DevicePath {
    /// The path of a file on a partition.
    #[must_use]
    pub fn of_file(drive: HardDrive, path: &str) -> Self {
        let file = path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let nodes = vec![drive.node(), Node { kind: MEDIA, subtype: FILE_PATH, data: file }];
        Self { nodes, tail: vec![END, 0xFF, 4, 0] }
    }

    /// Reads a list of paths.
    ///
    /// # Errors
    /// Where a node is shorter than its header or longer than what is there, or where no node ends the path.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let corrupt = |fact: String| Corrupt { structure: STRUCTURE, fact };
        let (mut nodes, mut rest) = (Vec::new(), bytes);
        loop {
            let (Ok(kind), Ok(subtype), Ok(length)) =
                (read_u8(rest, 0), read_u8(rest, 1), read_u16le(rest, 2))
            else {
                let node = nodes.len();
                return Err(corrupt(format!("no node ends the path; node {node} has {} bytes", rest.len())));
            };
            let data = usize::from(length).checked_sub(HEADER_BYTES);
            let data = data.and_then(|data| read_slice(rest, HEADER_BYTES, data).ok()).ok_or_else(|| {
                let (node, left) = (nodes.len(), rest.len());
                corrupt(format!("node {node} says that it has {length} bytes, of the {left} that are left"))
            })?;
            if kind == END {
                return Ok(Self { nodes, tail: rest.to_vec() });
            }
            nodes.push(Node { kind, subtype, data: data.to_vec() });
            rest = rest.get(usize::from(length)..).unwrap_or_default();
        }
    }

    /// The bytes; those that were read, where nothing was changed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for node in &self.nodes {
            bytes.extend([node.kind, node.subtype]);
            // A node that was read has a length of two bytes, and so has one that is made here.
            let length = u16::try_from(node.data.len().saturating_add(HEADER_BYTES)).unwrap_or(u16::MAX);
            bytes.extend(length.to_le_bytes());
            bytes.extend(&node.data);
        }
        bytes.extend(&self.tail);
        bytes
    }

    /// The partition that the path leads to.
    #[must_use]
    pub fn hard_drive(&self) -> Option<HardDrive> {
        self.nodes.iter().find_map(HardDrive::of)
    }

    /// The file that the path leads to: `\EFI\debian\shimx64.efi`. Several nodes are one path.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        let parts: Vec<String> = self.nodes.iter().filter_map(Node::file).collect();
        if parts.is_empty() {
            return None;
        }
        let parts = parts.iter().map(|part| part.trim_matches('\\')).filter(|part| !part.is_empty());
        Some(parts.fold(String::new(), |path, part| format!("{path}\\{part}")))
    }

    /// True for what is started from the network.
    #[must_use]
    pub fn is_network(&self) -> bool {
        self.nodes.iter().any(|node| match node.kind {
            MESSAGING => NETWORK.contains(&node.subtype),
            BIOS_BOOT => read_u16le(&node.data, 0).is_ok_and(|device| BIOS_NETWORK.contains(&device)),
            _ => false,
        })
    }

    /// The same file on another partition. What stood before the partition goes: it says which port and which
    /// controller, and a firmware that is told only the partition looks at all of them (3.1.2).
    #[must_use]
    pub fn moved_to(&self, drive: HardDrive) -> Self {
        let behind = self.nodes.iter().skip_while(|node| HardDrive::of(node).is_none()).skip(1);
        Self { nodes: [drive.node()].into_iter().chain(behind.cloned()).collect(), tail: self.tail.clone() }
    }
}

impl Node {
    fn file(&self) -> Option<String> {
        let is_file = (self.kind, self.subtype) == (MEDIA, FILE_PATH);
        let units = self.data.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let name = || char::decode_utf16(units.take_while(|unit| *unit != 0));
        is_file.then(|| name().map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    }
}

impl HardDrive {
    fn of(node: &Node) -> Option<Self> {
        let data = node.data.as_slice();
        if (node.kind, node.subtype) != (MEDIA, HARD_DRIVE) || data.len() != HARD_DRIVE_BYTES {
            return None;
        }
        let partition_number = read_u32le(data, 0).ok()?;
        let id = match (read_u8(data, 36).ok()?, read_u8(data, 37).ok()?) {
            (2, 2) => PartitionId::Gpt { guid: Guid::from_disk_bytes(read_array(data, 20).ok()?) },
            (1, 1) => PartitionId::Mbr { signature: read_u32le(data, 20).ok()?, number: partition_number },
            _ => return None,
        };
        let (partition_start, partition_size) = (read_u64le(data, 4).ok()?, read_u64le(data, 12).ok()?);
        Some(Self { partition_number, partition_start, partition_size, id })
    }

    fn node(self) -> Node {
        let mut data = Vec::with_capacity(HARD_DRIVE_BYTES);
        data.extend(self.partition_number.to_le_bytes());
        data.extend(self.partition_start.to_le_bytes());
        data.extend(self.partition_size.to_le_bytes());
        match self.id {
            PartitionId::Gpt { guid } => {
                data.extend(guid.to_disk_bytes());
                data.extend([2, 2]);
            }
            PartitionId::Mbr { signature, .. } => {
                data.extend(signature.to_le_bytes());
                data.extend([0; 12]);
                data.extend([1, 1]);
            }
        }
        Node { kind: MEDIA, subtype: HARD_DRIVE, data }
    }
}

impl fmt::Display for HardDrive {
    /// As firmwares print it: `HD(1,GPT,0F9E9BBF-...,0x800,0x20000)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, start, size) = (self.partition_number, self.partition_start, self.partition_size);
        match self.id {
            PartitionId::Gpt { guid } => write!(f, "HD({number},GPT,{guid},{start:#x},{size:#x})"),
            PartitionId::Mbr { signature, .. } => {
                write!(f, "HD({number},MBR,{signature:#010x},{start:#x},{size:#x})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Debian 12's installer wrote for a partition of 512 MiB at sector 2048, as `efibootmgr -v` would print it:
    /// `HD(1,GPT,52454d49-4e54-4445-4d4f-000000000001,0x800,0x100000)/File(\EFI\debian\shimx64.efi)`.
    fn debian() -> Vec<u8> {
        let mut bytes = vec![4, 1, 42, 0, 1, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0];
        bytes.extend([0x49, 0x4D, 0x45, 0x52, 0x54, 0x4E, 0x45, 0x44, 0x4D, 0x4F, 0, 0, 0, 0, 0, 1, 2, 2]);
        let file: Vec<u8> =
            r"\EFI\debian\shimx64.efi".encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        bytes.extend([4, 4, 52, 0]);
        bytes.extend(file);
        bytes.extend([0x7F, 0xFF, 4, 0]);
        bytes
    }

    #[test]
    fn what_an_installer_wrote_is_understood_and_made_the_same() {
        let path = DevicePath::decode(&debian()).unwrap();
        let drive = HardDrive {
            partition_number: 1,
            partition_start: 0x800,
            partition_size: 0x10_0000,
            id: PartitionId::Gpt { guid: "52454D49-4E54-4445-4D4F-000000000001".parse().unwrap() },
        };
        assert_eq!(path.hard_drive(), Some(drive));
        assert_eq!(path.file().as_deref(), Some(r"\EFI\debian\shimx64.efi"));
        assert!(!path.is_network());
        assert_eq!(path.encode(), debian());
        assert_eq!(DevicePath::of_file(drive, r"\EFI\debian\shimx64.efi").encode(), debian());
        assert_eq!(drive.to_string(), "HD(1,GPT,52454D49-4E54-4445-4D4F-000000000001,0x800,0x100000)");
    }

    #[test]
    fn a_partition_of_an_mbr_is_known_by_the_signature_of_its_disk() {
        let drive = HardDrive {
            partition_number: 2,
            partition_start: 63,
            partition_size: 7,
            id: PartitionId::Mbr { signature: 0x1A2B_3C4D, number: 2 },
        };
        let path = DevicePath::decode(&DevicePath::of_file(drive, r"\a").encode()).unwrap();
        assert_eq!(path.hard_drive(), Some(drive));
        assert_eq!(drive.to_string(), "HD(2,MBR,0x1a2b3c4d,0x3f,0x7)");
    }

    #[test]
    fn a_path_that_moves_forgets_the_port_and_keeps_all_that_is_behind_the_partition() {
        // PciRoot(0x0)/Pci(0x1f,0x2)/Sata(0,65535,0) in front, an unknown node and a second path behind.
        let front = [2, 1, 12, 0, 0xD0, 0x41, 3, 0x0A, 0, 0, 0, 0, 1, 1, 6, 0, 2, 0x1F];
        let behind = [9, 9, 5, 0, 0xAA, 0x7F, 0xFF, 4, 0, 1, 2, 3];
        let mut bytes = front.to_vec();
        bytes.extend(&debian()[..94]);
        bytes.extend(behind);
        let path = DevicePath::decode(&bytes).unwrap();
        assert_eq!(path.encode(), bytes);
        let mut drive = path.hard_drive().unwrap();
        drive.partition_start = 4096;
        let moved = path.moved_to(drive).encode();
        assert_eq!(moved[..8], debian()[..8]);
        assert_eq!(moved[8..16], 4096u64.to_le_bytes());
        assert_eq!(moved[16..], [&debian()[16..94], &behind].concat());
    }

    #[test]
    fn any_byte_may_be_another_and_the_path_may_end_anywhere() {
        let bytes = debian();
        for length in 0..bytes.len() {
            assert!(DevicePath::decode(&bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 4, 0x7F, 0xFF, bytes[at] ^ 0x80] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(path) = DevicePath::decode(&changed) {
                    assert_eq!(path.encode(), changed);
                    let _ = (path.hard_drive(), path.file(), path.is_network());
                }
            }
        }
    }
}
