//! What must not be read by who reads a log: the token, and passwords in URLs.

use std::fmt;

const BLANK: &str = "***";

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, for who has to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BLANK)
    }
}

/// Blanks out secrets wherever they stand in a text.
#[derive(Debug, Clone, Default)]
pub struct Blanker {
    secrets: Vec<Secret>,
}

impl Blanker {
    /// One that knows some secrets. Passwords in URLs are known by their place.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<Secret> =
            secrets.into_iter().filter(|secret| !secret.reveal().is_empty()).collect();
        // A secret that holds another goes first, or its end would stay.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        Self { secrets }
    }

    /// The text without its secrets.
    #[must_use]
    pub fn blank(&self, text: &str) -> String {
        let text = blank_passwords(text);
        let text = self.secrets.iter().fold(text, |text, secret| text.replace(secret.reveal(), BLANK));
        // What was cut off inside a secret is not known by its text.
        blank_parameter(&text, "remint.token=")
    }
}

/// Blanks what stands behind a parameter's name, up to the next space or quote.
fn blank_parameter(text: &str, name: &str) -> String {
    let mut parts = text.split(name);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (quote, value) = match part.strip_prefix('"') {
            Some(value) => ("\"", value),
            None => ("", part),
        };
        let ends = |c: char| if quote.is_empty() { c.is_whitespace() || c == '"' } else { c == '"' };
        let (_, rest) = value.split_at(value.find(ends).unwrap_or(value.len()));
        let hidden = if value.len() == rest.len() { "" } else { BLANK };
        shown.push_str(&format!("{name}{quote}{hidden}{rest}"));
    }
    shown
}

/// Blanks `user:password@` behind every `://`.
fn blank_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'');
        let (authority, path) = behind.split_at(behind.find(ends).unwrap_or(behind.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                shown.push_str(BLANK);
                shown.push('@');
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = path;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blanked_wherever_they_stand() {
        let blanker = Blanker::new([Secret::new("abc"), Secret::new("abcdef"), Secret::new("")]);
        assert_eq!(
            blanker.blank("remint.token=abcdef \"remint.token=abc\" Bearer abcdef!"),
            "remint.token=*** \"remint.token=***\" Bearer ***!"
        );
        assert_eq!(
            blanker.blank("get http://me:pw@host:80/x@y and https://host/a@b ://q@r"),
            "get http://***@host:80/x@y and https://host/a@b ://***@r"
        );
        assert_eq!(format!("{:?}", Secret::new("abc")), "***");
    }

    #[test]
    fn a_token_that_was_cut_off_is_known_by_its_place() {
        let blanker = Blanker::new([Secret::new("abcdef")]);
        for (text, shown) in [
            ("quiet remint.token=abc", "quiet remint.token=***"),
            ("remint.token=ab ip=dhcp remint.token=", "remint.token=*** ip=dhcp remint.token="),
            ("remint.token=\"a b\" ip=dhcp", "remint.token=\"***\" ip=dhcp"),
            ("give a token with remint.token= or a file", "give a token with remint.token= or a file"),
        ] {
            assert_eq!(blanker.blank(text), shown);
        }
    }
}
