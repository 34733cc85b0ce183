//! Linux swap: recognised and described, and written anew, because its content is worth nothing.
//!
//! ```text
//! 0          1024      1028        1032          1036     1052      1068        page - 10      page
//! | boot bits | version | last_page | nr_badpages | uuid 16 | label 16 | zeros ... | SWAPSPACE2 |
//! ```
//!
//! Source: `union swap_header` in Linux `include/linux/swap.h`; the signatures of a suspended system are
//! those of Linux `kernel/power/swap.c`, uswsusp and TuxOnIce.

use super::error::read_structure;
use super::signature::identity::{text_at, uuid_at};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{Hex, RangeSet, read_u32be, read_u32le, u64_from, usize_from};

const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";
const OLD_SIGNATURE: &[u8; 10] = b"SWAP-SPACE";
/// What stands in place of the signature while the swap space holds a suspended system.
const SUSPENDED: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];
/// TuxOnIce leaves the signature and writes this at byte 0.
const TUX_ON_ICE: [u8; 8] = [0xED, 0xC3, 0x02, 0xE9, 0x98, 0x56, 0xE5, 0x0C];
/// Page sizes of Linux, smallest first.
const PAGE_SIZES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
/// The kernel and mkswap want at least so many pages.
const SMALLEST_PAGES: u64 = 10;
/// The field of the label.
const LABEL_BYTES: usize = 16;

struct Header {
    last_page: u64,
    uuid: Option<String>,
    label: Option<String>,
}

/// Recognises swap space. It is asked last: an old signature may stand in the first bytes of a file system
/// that does not use them, and swap space is not stored.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    for page_bytes in PAGE_SIZES {
        if volume.size_bytes() < u64_from(page_bytes).saturating_mul(SMALLEST_PAGES) {
            break;
        }
        let at = u64_from(page_bytes).saturating_sub(10);
        let signature = read_structure(volume, "swap signature", at, SIGNATURE.len())?;
        let suspended = SUSPENDED.iter().any(|name| signature.starts_with(name));
        if !suspended && signature != SIGNATURE && signature != OLD_SIGNATURE {
            continue;
        }
        let page = read_structure(volume, "swap header", 0, page_bytes)?;
        let suspended = suspended || page.starts_with(&TUX_ON_ICE);
        let header = if signature == OLD_SIGNATURE { None } else { header(&page) };
        if signature == SIGNATURE && header.is_none() {
            continue;
        }
        return Ok(Some(reading(volume.size_bytes(), u64_from(page_bytes), header, suspended)));
    }
    Ok(None)
}

fn reading(volume_bytes: u64, page_bytes: u64, header: Option<Header>, suspended: bool) -> Reading {
    let (pages, uuid, label) = match header {
        Some(header) => (header.last_page.saturating_add(1), header.uuid, header.label),
        None => (volume_bytes.checked_div(page_bytes).unwrap_or(0), None, None),
    };
    let mut findings = Vec::new();
    let size_bytes = pages.saturating_mul(page_bytes);
    let fitting_bytes = size_bytes.min(volume_bytes);
    let state = if suspended {
        findings.push(
            "a hibernated Linux is stored in this swap space: resume it and shut it down, or its unsaved work \
             is lost and its file systems are not clean"
                .to_owned(),
        );
        State::Hibernated
    } else if size_bytes > volume_bytes {
        findings.push(format!(
            "the swap header speaks of {size_bytes} bytes on a volume of {volume_bytes} bytes; write it anew \
             with mkswap"
        ));
        State::Damaged
    } else {
        State::Clean
    };
    Reading {
        file_system: FileSystem {
            kind: FileSystemKind::Swap,
            uuid,
            label,
            block_size_bytes: page_bytes,
            size_bytes: fitting_bytes,
            used_bytes: Some(0),
            minimum_bytes: page_bytes.saturating_mul(SMALLEST_PAGES).min(fitting_bytes),
            state,
            findings,
        },
        used: Some(RangeSet::new()),
    }
}

/// The header of version 1 in either byte order.
fn header(page: &[u8]) -> Option<Header> {
    let last_page = match (read_u32le(page, 1024).ok()?, read_u32be(page, 1024).ok()?) {
        (1, _) => read_u32le(page, 1028).ok()?,
        (_, 1) => read_u32be(page, 1028).ok()?,
        _ => return None,
    };
    (last_page != 0).then(|| Header {
        last_page: last_page.into(),
        uuid: uuid_at(page, 1036),
        label: text_at(page, 1052, LABEL_BYTES).map(|label| fitting(&label).to_owned()),
    })
}

/// As much of a label as its field holds: what replaces bytes that are not text is longer than they are.
fn fitting(label: &str) -> &str {
    let length = (0..=LABEL_BYTES).rev().find(|length| label.is_char_boundary(*length)).unwrap_or(0);
    label.get(..length).unwrap_or(label).trim_end()
}

/// The first page of a new swap space: the bytes that `mkswap` writes for a volume of `size_bytes`.
///
/// # Errors
/// [`Error::Unsupported`] where the page size is none of Linux, the volume holds less than ten pages, the
/// UUID is none or the label is longer than 16 bytes.
pub fn swap_header(
    page_bytes: u64,
    size_bytes: u64,
    uuid: Option<&str>,
    label: Option<&str>,
) -> Result<Vec<u8>, Error> {
    let refuse = |fact: String| Err(Error::unsupported(fact));
    if !PAGE_SIZES.contains(&usize_from(page_bytes)) {
        return refuse(format!("swap space with pages of {page_bytes} bytes; Linux has 4096 to 65536"));
    }
    // The page count has 32 bits: mkswap leaves the rest of a larger volume unused.
    let pages = size_bytes.checked_div(page_bytes).unwrap_or(0).min(u32::MAX.into());
    if pages < SMALLEST_PAGES {
        let least = page_bytes.saturating_mul(SMALLEST_PAGES);
        return refuse(format!("swap space of {size_bytes} bytes; it needs {least} or more"));
    }
    let uuid = match uuid.map(|text| (text, text.replace('-', "").parse::<Hex>())) {
        None => vec![0; 16],
        Some((_, Ok(Hex(bytes)))) if bytes.len() == 16 => bytes,
        Some((text, _)) => return refuse(format!("\"{text}\" is not a UUID for swap space")),
    };
    let label = label.unwrap_or_default();
    if label.len() > LABEL_BYTES {
        return refuse(format!("the swap label \"{label}\" is longer than {LABEL_BYTES} bytes"));
    }
    let last_page = u32::try_from(pages.saturating_sub(1)).unwrap_or(u32::MAX);
    let mut page = vec![0; usize_from(page_bytes)];
    let signature_at = page.len().saturating_sub(SIGNATURE.len());
    let fields: [(usize, &[u8]); 5] = [
        (1024, &1u32.to_le_bytes()),
        (1028, &last_page.to_le_bytes()),
        (1036, &uuid),
        (1052, label.as_bytes()),
        (signature_at, SIGNATURE),
    ];
    for (at, bytes) in fields {
        for (target, source) in page.iter_mut().skip(at).zip(bytes) {
            *target = *source;
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Swap space of ten pages whose header says something else.
    fn changed(at: usize, bytes: &[u8]) -> Reading {
        let mut volume = swap_header(4096, 40960, None, Some("label")).unwrap();
        volume.resize(40960, 0);
        volume[at..at + bytes.len()].copy_from_slice(bytes);
        read(&volume.as_slice()).unwrap().unwrap()
    }

    #[test]
    fn the_smallest_size_is_never_above_the_size() {
        assert_eq!(changed(1028, &[4]).file_system.minimum_bytes, 5 * 4096);
        assert_eq!(changed(1028, &[9]).file_system.minimum_bytes, 40960);
        assert_eq!(changed(1028, &[200]).file_system.minimum_bytes, 40960);
    }

    #[test]
    fn a_label_that_is_not_text_can_be_written_again() {
        let label = changed(1052, &[0xFF; 16]).file_system.label.unwrap();
        assert_eq!(label, "\u{FFFD}".repeat(5));
        assert!(swap_header(4096, 40960, None, Some(&label)).is_ok());
        assert_eq!(changed(1052, b"sixteen letters!").file_system.label.unwrap(), "sixteen letters!");
    }
}
