//! What an element of Windows' answer file is to hold ("sysprep tags").

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Nobody writes more into an element.
const MOST_VALUE_BYTES: usize = 64 << 10;

/// An element that is there, and what it holds from now on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Its name, without a prefix.
    pub element: String,
    /// Its content as plain text. It may be a password.
    pub value: String,
    /// Where several answers are for one element, the last one counts: they stand in the order of these numbers, and
    /// among equal ones in the order in which they are said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
}

impl fmt::Debug for Answer {
    /// Without the value, which may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("element", &self.element).finish_non_exhaustive()
    }
}

// The form that serde asks for.
fn is_zero(value: &i32) -> bool {
    *value == 0
}

/// Text that is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// No element, or nothing behind it. The text is not repeated, because it may be a password.
    #[error("this is no answer for an answer file; write ELEMENT=VALUE, such as TimeZone=UTC")]
    Pair,
    /// No name of an element.
    #[error(
        "\"{}\" is no name of an element of an answer file: a letter, and then letters, digits, hyphens, dots and \
         underscores", .0.escape_debug()
    )]
    Element(String),
    /// What no XML can hold.
    #[error(
        "the value for {0} holds a character that XML does not know, or more than {MOST_VALUE_BYTES} bytes"
    )]
    Value(String),
}

impl Answer {
    /// What keeps it from being put into an answer file (XML 1.0, 2.2 and 2.3; of names only the part that Windows uses).
    #[must_use]
    pub fn fault(&self) -> Option<AnswerFault> {
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let in_text = |c: char| match c {
            '\t' | '\r' | '\n' => true,
            '\u{FFFE}' | '\u{FFFF}' => false,
            other => !other.is_control(),
        };
        if !self.element.starts_with(|c: char| c.is_ascii_alphabetic()) || !self.element.chars().all(in_name)
        {
            return Some(AnswerFault::Element(self.element.clone()));
        }
        let is_text = self.value.chars().all(in_text) && self.value.len() <= MOST_VALUE_BYTES;
        (!is_text).then(|| AnswerFault::Value(self.element.clone()))
    }
}

impl FromStr for Answer {
    type Err = AnswerFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (element, value) = text.split_once('=').ok_or(AnswerFault::Pair)?;
        let answer = Self { element: element.to_owned(), value: value.to_owned(), priority: 0 };
        match answer.fault() {
            Some(fault) => Err(fault),
            None => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_element_and_text_that_xml_can_hold() {
        let answer: Answer = "TimeZone=a=b <&> \u{fc}".parse().unwrap();
        assert_eq!((answer.element.as_str(), answer.value.as_str()), ("TimeZone", "a=b <&> \u{fc}"));
        assert_eq!("Empty=".parse::<Answer>().unwrap().value, "");
        for text in ["TimeZone", "=x", "a b=x", "a:b=x", "1a=x", "<a=x", "a=\u{1}", "a=\u{FFFF}"] {
            assert!(text.parse::<Answer>().is_err(), "{text}");
        }
        assert!(format!("a={}", "x".repeat(MOST_VALUE_BYTES + 1)).parse::<Answer>().is_err());
        let kept = serde_json::to_string(&answer).unwrap();
        assert!(!kept.contains("priority"), "{kept}");
        assert!(serde_json::from_str::<Answer>(r#"{"element":"a","value":"b","order":1}"#).is_err());
    }
}
