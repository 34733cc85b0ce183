//! Answer files of Windows: the content of an element is replaced, and every other character stays.

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// A byte for each character of ASCII, whatever the others are: UTF-8, and the code pages of Windows.
    Bytes,
    Utf16 {
        big: bool,
    },
}

/// A text whose bytes come back as they were, where nothing was changed.
pub(super) struct Text {
    encoding: Encoding,
    /// Of an encoding of bytes each character is one byte.
    pub(super) characters: String,
}

impl Text {
    /// # Errors
    /// Where it is no text: a clause.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let encoding = match bytes {
            [0xFF, 0xFE, ..] | [b'<', 0, ..] => Encoding::Utf16 { big: false },
            [0xFE, 0xFF, ..] | [0, b'<', ..] => Encoding::Utf16 { big: true },
            _ => Encoding::Bytes,
        };
        let characters = match encoding {
            Encoding::Bytes => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Encoding::Utf16 { big } => {
                let (units, rest) = bytes.as_chunks::<2>();
                let unit =
                    |unit: &[u8; 2]| if big { u16::from_be_bytes(*unit) } else { u16::from_le_bytes(*unit) };
                let units: Vec<u16> = units.iter().map(unit).collect();
                let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
                text.ok_or("it is no text in UTF-16")?
            }
        };
        Ok(Self { encoding, characters })
    }

    /// The bytes of a text that had ASCII put in.
    pub(super) fn encode(&self, characters: &str) -> Vec<u8> {
        match self.encoding {
            Encoding::Bytes => characters.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
            Encoding::Utf16 { big } => {
                let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
                characters.encode_utf16().flat_map(bytes).collect()
            }
        }
    }
}

/// Replaces the content of every element of this name, whatever its prefix; `None` where there is none. Nothing in the value
/// is a tag, and all of it is ASCII: see [`escape`].
///
/// # Errors
/// Where the text is not well formed, or such an element holds others: a clause.
pub(super) fn replace(text: &str, element: &str, value: &str) -> Result<Option<String>, String> {
    let (mut done, mut rest, mut found) = (String::new(), text, false);
    while let Some((before, tag)) = cut(rest, "<") {
        done.push_str(before);
        let skipped = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("</", ">"), ("<!", ">")];
        if let Some((_, end)) = skipped.iter().find(|(begin, _)| tag.starts_with(begin)) {
            let (inside, behind) = cut(tag, end).ok_or_else(|| open(tag))?;
            let (end, behind) = behind.split_at_checked(end.len()).unwrap_or((behind, ""));
            done.push_str(inside);
            done.push_str(end);
            rest = behind;
            continue;
        }
        let (inside, behind) =
            tag.split_at_checked(end_of(tag).ok_or_else(|| open(tag))?).unwrap_or((tag, ""));
        let name = inside.trim_start_matches('<');
        let name = name.split([' ', '\t', '\r', '\n', '/', '>']).next().unwrap_or_default();
        if name.rsplit(':').next() != Some(element) {
            done.push_str(inside);
            rest = behind;
            continue;
        }
        found = true;
        if let Some(start) = inside.strip_suffix("/>") {
            done.push_str(&format!("{}>{value}</{name}>", start.trim_end()));
            rest = behind;
        } else {
            let (content, end) = cut(behind, &format!("</{name}")).ok_or_else(|| open(tag))?;
            if holds_elements(content) {
                return Err(format!("the element {element} holds other elements, which would be lost"));
            }
            done.push_str(inside);
            done.push_str(value);
            rest = end;
        }
    }
    done.push_str(rest);
    Ok(found.then_some(done))
}

/// Text as the content of an element, in characters that every encoding has (XML 1.0, 2.4 and 4.1).
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Of a carriage return a reader would make the end of a line.
            ' '..='~' | '\t' | '\n' => escaped.push(character),
            other => escaped.push_str(&format!("&#x{:X};", u32::from(other))),
        }
    }
    escaped
}

/// True where something begins as the tag of an element does. Comments and such begin otherwise.
fn holds_elements(content: &str) -> bool {
    content.split('<').skip(1).any(|rest| !rest.starts_with(['!', '?']))
}

/// The text in front of something, and the text from there on.
fn cut<'a>(text: &'a str, what: &str) -> Option<(&'a str, &'a str)> {
    text.split_at_checked(text.find(what)?)
}

/// Where a tag ends, behind its `>`; one in quotes does not count.
fn end_of(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, character) in tag.char_indices() {
        match (quote, character) {
            (None, '>') => return Some(at.saturating_add(1)),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            _ => {}
        }
    }
    None
}

fn open(tag: &str) -> String {
    let begin: String = tag.chars().take(20).collect();
    format!("it is no well-formed XML: \"{}\" is not closed", begin.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_elements_is_replaced_and_nothing_else() {
        let text = "<?xml version=\"1.0\"?>\r\n<!-- <ComputerName>no</ComputerName> -->\r\n<a x='>'><wcm:ComputerName \
                    y=\"/>\">old</wcm:ComputerName>\r\n<ComputerName />\t<ComputerNames>k</ComputerNames><![CDATA[<ComputerName>]]></a>";
        let expected =
            text.replace(">old<", ">PC-1<").replace("<ComputerName />", "<ComputerName>PC-1</ComputerName>");
        assert_eq!(replace(text, "ComputerName", "PC-1").unwrap().unwrap(), expected);
        assert_eq!(replace(&expected, "ComputerName", "PC-1").unwrap().unwrap(), expected);
        assert_eq!(replace("<a/>", "ComputerName", "x"), Ok(None));
        for wrong in ["<a", "<ComputerName>x", "<!-- <a>", "<a x=\">", "<ComputerName"] {
            assert!(replace(wrong, "ComputerName", "x").is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_encoding_comes_back_as_it_was() {
        let text = "\u{feff}<a>Gr\u{f6}\u{df}e \u{20ac}</a>\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in
            [text.as_bytes().to_vec(), little.clone(), big, little[2..].to_vec(), b"<a>\xF6</a>".to_vec()]
        {
            let text = Text::decode(&bytes).unwrap();
            assert_eq!(text.encode(&text.characters), bytes);
            let changed = replace(&text.characters, "a", "x").unwrap().unwrap();
            assert!(changed.contains("<a>x</a>"));
        }
        assert!(Text::decode(&[0xFF, 0xFE, 0]).is_err());
        assert!(Text::decode(&[0xFF, 0xFE, 0, 0xD8]).is_err());
    }
}
