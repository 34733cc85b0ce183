//! Sizes as people read and write them.

use super::{GIB, KIB, MIB, TIB};

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a size; write bytes or a number with K, M, G, T (of 1024) or KB, MB, GB, TB (of 1000)"
)]
pub struct ParseSizeError(String);

/// A size in bytes as text with three significant digits, in units of 1024: `1.50 GiB`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        TIB.. => (TIB, "TiB"),
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        KIB.. => (KIB, "KiB"),
        _ => return format!("{bytes} B"),
    };
    let hundredths = u128::from(bytes).saturating_mul(100) / u128::from(unit);
    let (whole, fraction) = (hundredths / 100, hundredths % 100);
    match whole {
        0..10 => format!("{whole}.{fraction:02} {name}"),
        10..100 => format!("{whole}.{} {name}", fraction / 10),
        _ => format!("{whole} {name}"),
    }
}

/// Reads `123`, `64K`, `20G`, `20GiB` (units of 1024) or `20GB` (units of 1000), in bytes; decimals as in
/// `1.5T` are allowed.
pub fn parse_size(text: &str) -> Result<u64, ParseSizeError> {
    let error = || ParseSizeError(text.to_owned());
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at_checked(split).ok_or_else(error)?;
    let unit_bytes: u128 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => KIB.into(),
        "m" | "mib" => MIB.into(),
        "g" | "gib" => GIB.into(),
        "t" | "tib" => TIB.into(),
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(error()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return Err(error());
    }
    let whole: u128 = whole.parse::<u64>().map_err(|_| error())?.into();
    let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| error())?);
    let parts: u128 =
        if fraction.is_empty() { 0 } else { fraction.parse::<u64>().map_err(|_| error())?.into() };
    let bytes = whole.saturating_mul(unit_bytes).saturating_add(parts.saturating_mul(unit_bytes) / scale);
    u64::try_from(bytes).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64K", 65536),
            ("1.5G", 3 << 29),
            ("20GB", 20_000_000_000),
            (" 2 MiB ", 2 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "1.", ".5G", "-1", "1X", "1.5.5", "99999999999T", "1 é"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.50 KiB"),
            (500 * MIB, "500 MiB"),
            (20 * GIB + GIB / 2, "20.5 GiB"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(format_size(u64::MAX), "16777215 TiB");
    }
}
