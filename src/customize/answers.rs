//! Answer files of a deployed Windows: what their elements hold, and the name of the computer.

use super::markup::{Text, escape, replace};
use crate::plan::Settings;

/// Where Windows' setup looks for its answers.
pub(super) const ANSWERS: [&str; 4] = [
    "Windows/Panther/unattend.xml",
    "Windows/Panther/Unattend/unattend.xml",
    "Windows/System32/Sysprep/unattend.xml",
    "Windows/System32/Sysprep/Panther/unattend.xml",
];
/// The answers of a Windows XP. Its keys and values are others than those of the elements above, so it gets the name alone.
pub(super) const OLD_ANSWERS: &str = "Sysprep/sysprep.inf";
const NAME: &str = "ComputerName";

/// An answer file that was filled in.
pub(super) struct Filled {
    /// Its content.
    pub(super) bytes: Vec<u8>,
    /// Clauses about what it says now.
    pub(super) said: Vec<String>,
    /// The elements that it has, of those that there are answers for.
    pub(super) elements: Vec<String>,
    /// Clauses about what it could not be told.
    pub(super) problems: Vec<String>,
}

/// Puts answers into a file, and the name last.
///
/// # Errors
/// Where it is no text: a clause.
pub(super) fn fill(bytes: &[u8], settings: &Settings) -> Result<Filled, String> {
    let text = Text::decode(bytes)?;
    let (mut characters, mut set) = (text.characters.clone(), Vec::new());
    let mut filled =
        Filled { bytes: Vec::new(), said: Vec::new(), elements: Vec::new(), problems: Vec::new() };
    for answer in &settings.answers {
        match replace(&characters, &answer.element, &escape(&answer.value)) {
            Ok(None) => continue,
            Ok(Some(new)) if new == characters => {}
            Ok(Some(new)) => {
                characters = new;
                set.push(answer.element.as_str());
            }
            Err(why) => filled.problems.push(format!("{} was not set ({why})", answer.element)),
        }
        filled.elements.push(answer.element.clone());
    }
    if !set.is_empty() {
        filled.said.push(format!("what was answered is set ({})", set.join(", ")));
    }
    if let Some(name) = &settings.name {
        match replace(&characters, NAME, name) {
            Ok(Some(new)) if new != characters => {
                characters = new;
                filled.said.push(format!("the system is called {name}"));
            }
            Ok(_) => {}
            Err(why) => filled.problems.push(format!("the name was not set ({why})")),
        }
    }
    filled.bytes = text.encode(&characters);
    Ok(filled)
}

/// Puts a name into `ComputerName=` in the section `[UserData]`; `None` where it is not there.
///
/// # Errors
/// Where it is no text: a clause.
pub(super) fn fill_old(bytes: &[u8], name: &str) -> Result<Option<Vec<u8>>, String> {
    let text = Text::decode(bytes)?;
    let (mut new, mut is_user_data, mut found) = (String::new(), false, false);
    for line in text.characters.split_inclusive('\n') {
        let bare = line.trim();
        if bare.starts_with('[') {
            is_user_data = bare.eq_ignore_ascii_case("[UserData]");
        }
        let key = line.split_once('=').map(|(key, _)| key);
        match key.filter(|key| is_user_data && key.trim().eq_ignore_ascii_case(NAME)) {
            Some(key) => {
                let end = line.get(line.trim_end_matches(['\r', '\n']).len()..).unwrap_or_default();
                new.push_str(&format!("{key}={name}{end}"));
                found = true;
            }
            None => new.push_str(line),
        }
    }
    Ok(found.then(|| text.encode(&new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Answer;

    fn settings(name: Option<&str>, answers: &[(&str, &str)]) -> Settings {
        let answer = |(element, value): &(&str, &str)| Answer {
            element: (*element).to_owned(),
            value: (*value).to_owned(),
            priority: 0,
        };
        Settings {
            name: name.map(str::to_owned),
            answers: answers.iter().map(answer).collect(),
            ..Settings::default()
        }
    }

    #[test]
    fn elements_that_are_there_are_answered_with_the_name_last() {
        let text =
            "<u><ComputerName>*</ComputerName>\r\n<TimeZone/><Org>old</Org><Pass><Value>x</Value></Pass></u>";
        let settings = settings(
            Some("PC-07"),
            &[
                ("ComputerName", "NO"),
                ("TimeZone", "\u{dc} <&>\""),
                ("Absent", "x"),
                ("Pass", "x"),
                ("Org", "old"),
            ],
        );
        let filled = fill(text.as_bytes(), &settings).unwrap();
        let expected = "<u><ComputerName>PC-07</ComputerName>\r\n<TimeZone>&#xDC; &lt;&amp;&gt;&quot;</TimeZone><Org>old</Org><Pass><Value>x</Value></Pass></u>";
        assert_eq!(String::from_utf8(filled.bytes.clone()).unwrap(), expected);
        assert_eq!(filled.elements, ["ComputerName", "TimeZone", "Pass", "Org"]);
        assert!(filled.problems[0].contains("Pass was not set (the element Pass holds other elements"));
        assert_eq!((filled.problems.len(), filled.said.len()), (1, 2), "{:?}", filled.said);
        assert_eq!(fill(&filled.bytes, &settings).unwrap().bytes, filled.bytes);
        assert!(fill(b"\xFF\xFE\0", &settings).is_err());
    }
}
