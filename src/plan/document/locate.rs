//! Where in a JSON text a value stands. The text has been read by a parser before, so it is well-formed.

/// One step from a value to one inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of this key.
    Key(&'static str),
    /// The element of this position.
    Index(usize),
}

/// Line and column, both from 1, of the value that a path leads to; of the last one on the way that is there.
pub(super) fn locate(text: &str, path: &[Step]) -> (usize, usize) {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
    let mut found = 0;
    scanner.skip_space();
    for step in path {
        if scanner.enter(*step).is_none() {
            break;
        }
        found = scanner.at;
    }
    let before = text.as_bytes().get(..found).unwrap_or_default();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    let column = text.get(line_start..found).map_or(0, |line| line.chars().count());
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    (lines.saturating_add(1), column.saturating_add(1))
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn advance(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.advance();
        }
    }

    /// Goes from the start of a value to the start of one inside it.
    fn enter(&mut self, step: Step) -> Option<()> {
        let (open, close) = match step {
            Step::Key(_) => (b'{', b'}'),
            Step::Index(_) => (b'[', b']'),
        };
        if self.peek()? != open {
            return None;
        }
        self.advance();
        let mut index = 0usize;
        loop {
            self.skip_space();
            if self.peek()? == close {
                return None;
            }
            let here = match step {
                Step::Key(wanted) => {
                    let key = self.string()?;
                    self.skip_space();
                    self.advance();
                    self.skip_space();
                    key == wanted.as_bytes()
                }
                Step::Index(wanted) => index == wanted,
            };
            if here {
                return Some(());
            }
            self.skip_value()?;
            self.skip_space();
            if self.peek()? == b',' {
                self.advance();
            }
            index = index.saturating_add(1);
        }
    }

    /// The bytes of a string as they stand there; goes behind it.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.advance();
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at = self.at.saturating_add(2),
                _ => self.advance(),
            }
        }
        let string = self.bytes.get(start..self.at)?;
        self.advance();
        Some(string)
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth = depth.saturating_add(1);
                    self.advance();
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.advance();
                }
                _ if depth > 0 => self.advance(),
                _ => {
                    while !matches!(self.peek(), None | Some(b',' | b'}' | b']')) {
                        self.advance();
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Index, Key};

    #[test]
    fn values_are_found_by_line_and_column() {
        let text = "{\n  \"a\\\"\": [1, {\"b\": \"]\"}],\n  \"disks\": [\n    {\"x\": \"ü\", \"y\": 5},\n    7\n  ]\n}";
        assert_eq!(locate(text, &[]), (1, 1));
        assert_eq!(locate(text, &[Key("disks")]), (3, 12));
        assert_eq!(locate(text, &[Key("disks"), Index(0), Key("y")]), (4, 21));
        assert_eq!(locate(text, &[Key("disks"), Index(1)]), (5, 5));
        // What is not there: the place of what would hold it.
        assert_eq!(locate(text, &[Key("disks"), Index(9)]), (3, 12));
        assert_eq!(locate(text, &[Key("nothing"), Index(9)]), (1, 1));
        for end in 0..text.len() {
            if let Some(cut) = text.get(..end) {
                locate(cut, &[Key("disks"), Index(0), Key("y")]);
            }
        }
    }
}
