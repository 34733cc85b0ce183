//! UUIDs and labels as the systems' own tools print them.

use crate::units::{Hex, read_array, read_slice};

/// A UUID in its usual form; `None` where it is all zeros.
pub(in crate::filesystem) fn uuid_text(uuid: [u8; 16]) -> Option<String> {
    let digits = Hex(uuid.to_vec()).to_string();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    let text = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    (uuid != [0; 16]).then_some(text)
}

/// The UUID that stands at a byte of a structure.
pub(in crate::filesystem) fn uuid_at(bytes: &[u8], at: usize) -> Option<String> {
    uuid_text(read_array(bytes, at).ok()?)
}

/// A serial number of 32 bits as FAT and exFAT show it; `None` where it is zero.
pub(in crate::filesystem) fn serial_text(serial: [u8; 4]) -> Option<String> {
    let [a, b, c, d] = serial;
    (serial != [0; 4]).then(|| format!("{d:02X}{c:02X}-{b:02X}{a:02X}"))
}

/// The serial number that stands at a byte of a structure.
pub(in crate::filesystem) fn serial_at(bytes: &[u8], at: usize) -> Option<String> {
    serial_text(read_array(bytes, at).ok()?)
}

/// The text in a field, up to a zero byte and without the blanks that fill it.
pub(in crate::filesystem) fn text_at(bytes: &[u8], at: usize, length: usize) -> Option<String> {
    let field = read_slice(bytes, at, length).ok()?;
    let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(field);
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The little-endian UTF-16 text in a field, up to a zero.
pub(in crate::filesystem) fn utf16_at(bytes: &[u8], at: usize, length: usize) -> Option<String> {
    let field = read_slice(bytes, at, length).ok()?;
    let units = field.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let text = String::from_utf16_lossy(&units);
    (!text.is_empty()).then_some(text)
}
