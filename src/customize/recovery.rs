//! Where a Windows has its recovery environment: `ReAgent.xml`, which names a partition by its disk and where it begins.
//!
//! On a GPT the disk is the attribute `guid`, on an MBR the attribute `id`, its signature in decimal digits, beside a `guid` of
//! zeros. Where the place does not fit, Windows shows the environment as switched off, and does not find it when it is needed.

use super::markup::Text;
use crate::plan::{MovedPartition, WindowsName};
use std::ops::Range;

/// The file, from the root of a volume with Windows.
pub const RECOVERY: &str = "Windows/System32/Recovery/ReAgent.xml";
/// The end of the names of elements that name a partition: `WinreLocation`, `ImageLocation`, `PBRImageLocation`, ...
const LOCATION: &str = "Location";

/// What the file becomes: how many places were changed, and its bytes where some were.
///
/// # Errors
/// Why not: a clause.
pub fn follow(bytes: &[u8], moved: &[MovedPartition]) -> Result<(usize, Option<Vec<u8>>), String> {
    let text = Text::decode(bytes)?;
    let mut characters = text.characters.clone();
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    let mut count = 0usize;
    for (start, tag) in tags(&text.characters) {
        let attributes = attributes(tag);
        let found = |name: &str| attributes.iter().find(|(attribute, _)| *attribute == name);
        let value =
            |name: &str| found(name).and_then(|(_, place)| tag.get(place.clone())).unwrap_or_default();
        let Some(moved) = moved.iter().find(|moved| is_named(moved.was, &value)) else { continue };
        count = count.saturating_add(1);
        for (name, new) in named(moved.is) {
            let Some((_, place)) = found(name) else { continue };
            let place = start.saturating_add(place.start)..start.saturating_add(place.end);
            changes.push((place, new));
        }
    }
    // From the last to the first, so that the places of those that are left stay.
    changes.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    for (place, new) in changes {
        characters.replace_range(place, &new);
    }
    Ok((count, (count > 0).then(|| text.encode(&characters))))
}

/// The tags of elements that name a partition, with where they begin.
fn tags(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let begins = text.match_indices('<').map(|(start, _)| start);
    begins.filter_map(|start| {
        let rest = text.get(start..)?;
        let tag = rest.get(..rest.find('>')?)?;
        // One that is not closed before another begins is none.
        if tag.trim_start_matches('<').contains('<') {
            return None;
        }
        let name = tag.trim_start_matches('<').split_whitespace().next()?;
        name.ends_with(LOCATION).then_some((start, tag))
    })
}

/// The attributes of a tag: names, and where their values stand.
fn attributes(tag: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let mut from = 0usize;
    while let Some((name, place)) = tag.get(from..).and_then(|rest| attribute(rest, from)) {
        from = place.end.saturating_add(1);
        found.push((name, place));
    }
    found
}

/// The first attribute of what is left of a tag, which begins at `from` of it.
fn attribute(rest: &str, from: usize) -> Option<(&str, Range<usize>)> {
    let equals = rest.find('=')?;
    let name = rest.get(..equals)?.trim_end().rsplit(char::is_whitespace).next()?;
    let behind = rest.get(equals.saturating_add(1)..)?;
    let opening = behind.find(['"', '\''])?;
    let quote = behind.get(opening..)?.chars().next()?;
    let value = behind.get(opening.saturating_add(1)..)?;
    let length = value.find(quote)?;
    let start = from.saturating_add(equals).saturating_add(opening).saturating_add(2);
    Some((name, start..start.saturating_add(length)))
}

/// True where the attributes are the name of a partition.
fn is_named<'a>(name: WindowsName, value: &impl Fn(&str) -> &'a str) -> bool {
    named(name).into_iter().all(|(attribute, expected)| value(attribute).eq_ignore_ascii_case(&expected))
}

/// The attributes that name a partition.
fn named(name: WindowsName) -> [(&'static str, String); 3] {
    let (id, start_bytes, guid) = match name {
        WindowsName::Gpt { disk, start_bytes, .. } => (0, start_bytes, disk.to_string()),
        WindowsName::Mbr { signature, start_bytes } => {
            (signature, start_bytes, "00000000-0000-0000-0000-000000000000".to_owned())
        }
    };
    let guid = format!("{{{}}}", guid.to_ascii_lowercase());
    [("id", id.to_string()), ("offset", start_bytes.to_string()), ("guid", guid)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Guid;

    const DISK: &str = "6d5c9aaa-fea9-471e-bfa8-5160d1d8c3fa";

    fn file(winre: &str) -> String {
        format!(
            "<?xml version='1.0' encoding='utf-8'?>\r\n\r\n<WindowsRE version=\"2.0\">\r\n  <WinreBCD id=\"{{f8d1de0b-0ced-11e6-abf9-db7ac698ead8}}\"/>\r\n  <WinreLocation path=\"\\Recovery\\WindowsRE\" {winre}/>\r\n  <ImageLocation path=\"\" id=\"0\" offset=\"0\" guid=\"{{00000000-0000-0000-0000-000000000000}}\"/>\r\n  <InstallState state=\"1\"/>\r\n</WindowsRE>\r\n"
        )
    }

    fn gpt(disk: &str, start_bytes: u64) -> WindowsName {
        let disk: Guid = disk.parse().unwrap();
        WindowsName::Gpt { disk, partition: disk, start_bytes }
    }

    fn moved(was: WindowsName, is: WindowsName) -> Vec<MovedPartition> {
        vec![MovedPartition { of: "d0-p4".to_owned(), was, is }]
    }

    #[test]
    fn a_place_is_named_as_it_is_now_and_every_other_character_stays() {
        let was = file(&format!("id=\"0\" offset=\"1048576\" guid=\"{{{DISK}}}\""));
        let other = "1bbe1186-b3bb-4a08-af22-264b3379d8cd";
        let moves = moved(gpt(DISK, 1 << 20), gpt(other, 58_465_452_032));
        let expected = file(&format!("id=\"0\" offset=\"58465452032\" guid=\"{{{other}}}\""));
        let (count, bytes) = follow(was.as_bytes(), &moves).unwrap();
        assert_eq!((count, String::from_utf8(bytes.unwrap()).unwrap()), (1, expected.clone()));
        // Again, and of another partition or disk, nothing changes.
        assert_eq!(follow(expected.as_bytes(), &moves).unwrap(), (0, None));
        for name in [gpt(DISK, 2 << 20), gpt(other, 1 << 20)] {
            assert_eq!(follow(was.as_bytes(), &moved(name, gpt(other, 0))).unwrap(), (0, None));
        }
    }

    #[test]
    fn on_an_mbr_the_disk_is_its_signature() {
        let zeros = "guid=\"{00000000-0000-0000-0000-000000000000}\"";
        let was = file(&format!("id='4238117423' offset = \"1048576\" {zeros}"));
        let name = |signature, start_bytes| WindowsName::Mbr { signature, start_bytes };
        let (count, bytes) =
            follow(was.as_bytes(), &moved(name(4_238_117_423, 1 << 20), name(7, 5 << 20))).unwrap();
        let expected = file(&format!("id='7' offset = \"5242880\" {zeros}"));
        assert_eq!((count, String::from_utf8(bytes.unwrap()).unwrap()), (1, expected));
    }

    #[test]
    fn what_is_no_such_file_is_left() {
        let moves = moved(gpt(DISK, 1 << 20), gpt(DISK, 2 << 20));
        for text in [
            "",
            "<",
            "<WinreLocation",
            "<WinreLocation offset=>",
            "<WinreLocation id=\"0\" offset=\"1048576",
            "<ä Location=\"ö\">",
            "<ALocation <BLocation>",
        ] {
            assert_eq!(follow(text.as_bytes(), &moves).unwrap(), (0, None), "{text}");
        }
        assert!(follow(&[0xFF, 0xFE, 0x41], &moves).is_err());
    }
}
