//! One boot entry, and the order of all.

use super::{Corrupt, DevicePath, HardDrive};
use crate::units::{read_slice, read_u16le, read_u32le, u64_from};

const STRUCTURE: &str = "EFI_LOAD_OPTION";
/// `LOAD_OPTION_ACTIVE`: the firmware tries it by itself.
const ACTIVE: u32 = 1;
/// `LOAD_OPTION_CATEGORY`, and its value for programs of the firmware, which are no part of the order (3.1.3).
const CATEGORY: u32 = 0x1F00;
const CATEGORY_APP: u32 = 0x0100;
/// Attributes and length of the paths.
const HEADER_BYTES: usize = 6;

/// A boot entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    /// Bits that say when and how it is started.
    pub attributes: u32,
    /// What a person sees in the firmware's menu, as it stands there, without the zero behind it.
    pub description: Vec<u16>,
    /// What is started.
    pub path: DevicePath,
    /// What is told to it.
    pub optional_data: Vec<u8>,
}

impl LoadOption {
    /// An active entry that starts a file of a partition.
    #[must_use]
    pub fn of_file(description: &str, drive: HardDrive, file: &str) -> Self {
        Self {
            attributes: ACTIVE,
            description: description.encode_utf16().collect(),
            path: DevicePath::of_file(drive, file),
            optional_data: Vec::new(),
        }
    }

    /// Reads the content of a variable `Boot####`.
    ///
    /// # Errors
    /// Where it contradicts the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let corrupt = |fact: String| Corrupt { structure: STRUCTURE, fact };
        let (Ok(attributes), Ok(length)) = (read_u32le(bytes, 0), read_u16le(bytes, 4)) else {
            return Err(corrupt(format!("{} bytes are too few for one", bytes.len())));
        };
        let text = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let units = text.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let description: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        let behind = description.len().saturating_add(1).saturating_mul(2).saturating_add(HEADER_BYTES);
        let length = usize::from(length);
        let paths =
            read_slice(bytes, behind, length).map_err(|error| corrupt(format!("its paths: {error}")))?;
        let optional = bytes.get(behind.saturating_add(length)..).unwrap_or_default();
        let (path, optional_data) = (DevicePath::decode(paths)?, optional.to_vec());
        Ok(Self { attributes, description, path, optional_data })
    }

    /// The content of the variable.
    ///
    /// # Errors
    /// Where its paths have more bytes than their length can say.
    pub fn encode(&self) -> Result<Vec<u8>, Corrupt> {
        let paths = self.path.encode();
        let length = u16::try_from(paths.len()).map_err(|_| Corrupt {
            structure: STRUCTURE,
            fact: format!("{} bytes of paths, of which it can say {}", u64_from(paths.len()), u16::MAX),
        })?;
        let mut bytes = self.attributes.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.description.iter().chain([&0]).flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(paths);
        bytes.extend(&self.optional_data);
        Ok(bytes)
    }

    /// True where the firmware tries it by itself.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.attributes & ACTIVE != 0
    }

    /// True for a program of the firmware, such as its settings.
    #[must_use]
    pub const fn is_program(&self) -> bool {
        self.attributes & CATEGORY == CATEGORY_APP
    }

    /// What a person sees, without what would disturb a terminal.
    #[must_use]
    pub fn name(&self) -> String {
        let characters = char::decode_utf16(self.description.iter().copied());
        let printable = |c: char| if c.is_control() { '?' } else { c };
        characters.map(|c| c.map_or(char::REPLACEMENT_CHARACTER, printable)).collect()
    }
}

/// Reads `BootOrder`, or a variable of one number such as `BootCurrent`. A last odd byte is nothing.
#[must_use]
pub fn decode_order(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|number| u16::from_le_bytes(*number)).collect()
}

/// The content of `BootOrder`.
#[must_use]
pub fn encode_order(order: &[u16]) -> Vec<u8> {
    order.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uefi::PartitionId;

    fn windows() -> LoadOption {
        let drive = HardDrive {
            partition_number: 2,
            partition_start: 0xE_1800,
            partition_size: 0x3_1800,
            id: PartitionId::Gpt { guid: "E3C7A1A5-0000-4000-8000-000000000002".parse().unwrap() },
        };
        let mut option =
            LoadOption::of_file("Windows Boot Manager", drive, r"\EFI\Microsoft\Boot\bootmgfw.efi");
        option.optional_data = b"WINDOWS\0\x01\0\0\0\x88\0\0\0\x78\0\0\0".to_vec();
        option
    }

    #[test]
    fn an_entry_is_written_as_it_was_read() {
        let bytes = windows().encode().unwrap();
        assert_eq!(bytes[..6], [1, 0, 0, 0, 116, 0]);
        assert_eq!(bytes[6..10], [b'W', 0, b'i', 0]);
        let read = LoadOption::decode(&bytes).unwrap();
        assert_eq!(read, windows());
        assert_eq!(
            (read.name().as_str(), read.is_active(), read.is_program()),
            ("Windows Boot Manager", true, false)
        );
        assert_eq!(decode_order(&encode_order(&[3, 0x1A2B, 0])), [3, 0x1A2B, 0]);
        assert_eq!(decode_order(&[1, 0, 7]), [1]);
    }

    #[test]
    fn any_byte_may_be_another_and_the_entry_may_end_anywhere() {
        let bytes = windows().encode().unwrap();
        let paths_end = bytes.len() - windows().optional_data.len();
        for length in 0..paths_end {
            assert!(LoadOption::decode(&bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(option) = LoadOption::decode(&changed) {
                    assert_eq!(option.encode().unwrap(), changed, "byte {at} is {value}");
                    let _ = option.name();
                }
            }
        }
    }

    #[test]
    fn an_entry_that_cannot_say_its_length_is_refused() {
        let mut option = windows();
        option.path.tail = vec![0; 70_000];
        let said = option.encode().unwrap_err().to_string();
        assert_eq!(said, "EFI_LOAD_OPTION: 70112 bytes of paths, of which it can say 65535");
    }
}
