//! The kernel's command line as words, taken apart as the kernel takes it apart.
//!
//! Words are parted by white space outside double quotes. Quotes may stand around a whole word or around a
//! value; they are not part of either (`next_arg` in the kernel's lib/cmdline.c).

/// One word: `name` or `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What stands before the first `=`.
    pub name: String,
    /// What stands behind it.
    pub value: Option<String>,
}

/// The words of a command line. Any text has some; a quote that is not closed reaches to the end.
#[must_use]
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(char::is_whitespace);
        if rest.is_empty() {
            return words;
        }
        let (word, behind) = next_word(rest);
        rest = behind;
        let unquoted = strip_quotes(word);
        words.push(match unquoted.split_once('=') {
            Some((name, value)) => {
                let value = if unquoted.len() == word.len() { strip_quotes(value) } else { value };
                Word { name: name.to_owned(), value: Some(value.to_owned()) }
            }
            None => Word { name: unquoted.to_owned(), value: None },
        });
    }
}

fn next_word(text: &str) -> (&str, &str) {
    let mut in_quotes = false;
    let end = text.find(|c: char| {
        if c == '"' {
            in_quotes = !in_quotes;
        }
        c.is_whitespace() && !in_quotes
    });
    text.split_at(end.unwrap_or(text.len()))
}

fn strip_quotes(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, Option<String>)> {
        words(text).into_iter().map(|word| (word.name, word.value)).collect()
    }

    fn pair(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn quotes_are_taken_as_the_kernel_takes_them() {
        assert_eq!(
            pairs("quiet a=1  b=\"two words\" \"c=three words\" d= e=x\"y z\"w\n"),
            [
                pair("quiet", None),
                pair("a", Some("1")),
                pair("b", Some("two words")),
                pair("c", Some("three words")),
                pair("d", Some("")),
                pair("e", Some("x\"y z\"w")),
            ]
        );
        assert_eq!(pairs("a=\"open to the end "), [pair("a", Some("open to the end "))]);
        assert_eq!(pairs("a=b=c"), [pair("a", Some("b=c"))]);
        assert_eq!(pairs("  \n"), []);
        assert_eq!(pairs("\""), [pair("", None)]);
    }
}
