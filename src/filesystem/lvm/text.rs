//! The text format of LVM2: sections, numbers, strings and lists (LVM2 `libdm/libdm-config.c`).
//!
//! ```text
//! vg0 {
//!     seqno = 3                    # a comment
//!     status = ["READ", "WRITE"]
//!     logical_volumes { root { ... } }
//! }
//! ```

use std::collections::BTreeMap;

/// Sections are nested four deep in metadata.
const MOST_DEEP: usize = 8;
/// Entries and elements of lists: more than the largest group has.
const MOST_ENTRIES: usize = 1 << 18;

/// A value or a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Number(i64),
    Text(String),
    List(Vec<Node>),
    Section(Section),
}

/// Entries by their names.
pub(super) type Section = BTreeMap<String, Node>;

/// Parses a whole text; `None` where it does not keep to the format.
pub(super) fn parse(text: &str) -> Option<Section> {
    let mut parser = Parser { bytes: text.as_bytes(), at: 0, entries: 0 };
    let section = parser.section(0)?;
    parser.skip();
    (parser.at == parser.bytes.len()).then_some(section)
}

/// The number of a name.
pub(super) fn number(section: &Section, name: &str) -> Option<u64> {
    match section.get(name)? {
        Node::Number(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// The text of a name.
pub(super) fn text<'a>(section: &'a Section, name: &str) -> Option<&'a str> {
    match section.get(name)? {
        Node::Text(text) => Some(text),
        _ => None,
    }
}

/// The section of a name.
pub(super) fn section<'a>(section: &'a Section, name: &str) -> Option<&'a Section> {
    match section.get(name)? {
        Node::Section(inner) => Some(inner),
        _ => None,
    }
}

/// The list of a name; one value without brackets is a list of one.
pub(super) fn list<'a>(section: &'a Section, name: &str) -> Option<&'a [Node]> {
    match section.get(name)? {
        Node::List(list) => Some(list),
        Node::Section(_) => None,
        value => Some(std::slice::from_ref(value)),
    }
}

/// The words of a name; none where it is not there.
pub(super) fn words(section: &Section, name: &str) -> Option<Vec<String>> {
    let word = |node: &Node| if let Node::Text(text) = node { Some(text.clone()) } else { None };
    if section.contains_key(name) {
        list(section, name)?.iter().map(word).collect()
    } else {
        Some(Vec::new())
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    entries: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn advance(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// Goes behind white space and comments.
    fn skip(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'#' {
                while self.peek().is_some_and(|byte| byte != b'\n') {
                    self.advance();
                }
            } else if byte.is_ascii_whitespace() {
                self.advance();
            } else {
                return;
            }
        }
    }

    /// Entries up to a closing brace or the end.
    fn section(&mut self, depth: usize) -> Option<Section> {
        let mut section = Section::new();
        loop {
            self.skip();
            match self.peek() {
                None | Some(b'}') => return Some(section),
                Some(_) => {}
            }
            if depth > MOST_DEEP {
                return None;
            }
            self.count()?;
            let name = self.name()?;
            self.skip();
            let node = match self.peek()? {
                b'{' => {
                    self.advance();
                    let inner = self.section(depth.saturating_add(1))?;
                    self.expect(b'}')?;
                    Node::Section(inner)
                }
                b'=' => {
                    self.advance();
                    self.skip();
                    self.value()?
                }
                _ => return None,
            };
            // What is there twice has no one meaning.
            if section.insert(name, node).is_some() {
                return None;
            }
        }
    }

    /// Counts what takes memory.
    fn count(&mut self) -> Option<()> {
        self.entries = self.entries.saturating_add(1);
        (self.entries <= MOST_ENTRIES).then_some(())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip();
        (self.peek()? == byte).then(|| self.advance())
    }

    fn name(&mut self) -> Option<String> {
        if self.peek()? == b'"' {
            return self.string();
        }
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte)) {
            self.advance();
        }
        let name = std::str::from_utf8(self.bytes.get(start..self.at)?).ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn value(&mut self) -> Option<Node> {
        if self.peek()? != b'[' {
            return self.single();
        }
        self.advance();
        let mut list = Vec::new();
        loop {
            self.skip();
            match self.peek()? {
                b']' => {
                    self.advance();
                    return Some(Node::List(list));
                }
                b',' => self.advance(),
                _ => {
                    self.count()?;
                    list.push(self.single()?);
                }
            }
        }
    }

    fn single(&mut self) -> Option<Node> {
        if self.peek()? == b'"' {
            return self.string().map(Node::Text);
        }
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit() || byte == b'-') {
            self.advance();
        }
        std::str::from_utf8(self.bytes.get(start..self.at)?).ok()?.parse().ok().map(Node::Number)
    }

    fn string(&mut self) -> Option<String> {
        self.advance();
        let mut bytes = Vec::new();
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.advance();
                    bytes.push(self.peek()?);
                }
                byte => bytes.push(byte),
            }
            self.advance();
        }
        self.advance();
        String::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "vg-0 {\nid = \"a\\\"b\" # comment }\nseqno = 3\nstatus = [\"READ\", \"WRITE\"]\nempty = []\n\
                        inner { stripes = [\n\"pv0\", 0\n] }\n}\n# Generated\nversion = 1\n";

    #[test]
    fn sections_numbers_texts_and_lists_are_read() {
        let root = parse(TEXT).unwrap();
        let group = section(&root, "vg-0").unwrap();
        assert_eq!((text(group, "id"), number(group, "seqno")), (Some("a\"b"), Some(3)));
        assert_eq!(list(group, "empty"), Some(&[][..]));
        let stripes = list(section(group, "inner").unwrap(), "stripes").unwrap();
        assert_eq!(stripes, [Node::Text("pv0".into()), Node::Number(0)]);
        assert_eq!(number(&root, "version"), Some(1));
    }

    #[test]
    fn what_does_not_keep_to_the_format_is_nothing() {
        for wrong in [
            "a",
            "a =",
            "a = [1",
            "a = \"x",
            "a { b = 1",
            "a = 1 }",
            "a = x",
            "= 1",
            "a = 1 a = 2",
            "a = 1-2",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse(&"a {".repeat(100_000)), None);
        assert_eq!(parse(&format!("a = [{}]", "1,".repeat(MOST_ENTRIES))), None);
        for end in 0..TEXT.len() {
            if let Some(cut) = TEXT.get(..end) {
                parse(cut);
            }
        }
    }
}
