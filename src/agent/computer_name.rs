//! The name of a computer, made of a template and what is known of the machine.

use crate::customize::naming::MOST_WINDOWS_CHARACTERS;
use crate::plan::{DeployPlan, Step};
use crate::protocol::Inventory;
use crate::schema::FileSystemKind;
use anyhow::{Result, bail};

/// RFC 1123, 2.1: a label of a name has at most 63 characters.
const MOST_CHARACTERS: usize = 63;

/// A name that is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputerName {
    /// The name, or a template of it.
    pub template: String,
    /// Of which machine; this one where nothing is said.
    pub machine: Option<Inventory>,
    /// What the server calls it.
    pub registered: Option<String>,
}

impl ComputerName {
    /// A name from this template.
    #[must_use]
    pub fn new(template: &str) -> Self {
        Self { template: template.to_owned(), machine: None, registered: None }
    }

    /// Refuses a template of which no machine could get a name.
    pub(super) fn check(&self) -> Result<()> {
        let any = || Some("x1".to_owned());
        let (serial, asset_tag, macs) = (any(), any(), vec!["x1".to_owned()]);
        let machine = Inventory { serial, asset_tag, macs, ..Inventory::default() };
        Self { machine: Some(machine), registered: any(), ..self.clone() }
            .resolve(Inventory::default)
            .map(drop)
    }

    /// The name. `{serial}`, `{asset}`, `{mac}` and `{name}` stand for what the machine says, and `{serial:6}` for the last six
    /// characters of it. Characters that no name has are left out of them. `this` is asked where no machine is said.
    ///
    /// # Errors
    /// Where the machine lacks what the name is made of, and where what comes of it is no name.
    pub fn resolve(&self, this: impl FnOnce() -> Inventory) -> Result<String> {
        let machine = self.machine.clone().unwrap_or_else(this);
        let (mut name, mut rest) = (String::new(), self.template.as_str());
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((inside, behind)) = behind.split_once('}') else {
                bail!("the computer name \"{}\" has a {{ without its }}", self.template);
            };
            name.push_str(before);
            name.push_str(&self.value(inside, &machine)?);
            rest = behind;
        }
        name.push_str(rest);
        if let Some(fact) = fault(&name) {
            let made_of =
                if name == self.template { String::new() } else { format!(" (from \"{}\")", self.template) };
            bail!("\"{name}\"{made_of} is no name for a computer: {fact}");
        }
        Ok(name)
    }

    fn value(&self, inside: &str, machine: &Inventory) -> Result<String> {
        let (what, length) = match inside.split_once(':') {
            Some((what, length)) => (what, Some(length)),
            None => (inside, None),
        };
        let (value, lacks) = match what {
            "serial" => (machine.serial.as_ref(), "has no serial number"),
            "asset" => (machine.asset_tag.as_ref(), "has no asset number"),
            "mac" => (machine.macs.first(), "has no network card"),
            "name" => (self.registered.as_ref(), "is not registered at a server"),
            _ => bail!(
                "{{{inside}}} is not known in a computer name; {{serial}}, {{asset}}, {{mac}} and {{name}} are"
            ),
        };
        let kept = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let value: Vec<char> = value.map(|value| value.chars().filter(kept).collect()).unwrap_or_default();
        if value.is_empty() {
            bail!("this machine {lacks}, which the computer name \"{}\" is made of", self.template);
        }
        let Some(length) = length else { return Ok(value.into_iter().collect()) };
        let Ok(length) = length.parse::<usize>() else {
            bail!("{{{inside}}} in a computer name: behind the colon stands a number of characters");
        };
        Ok(value.iter().skip(value.len().saturating_sub(length)).collect())
    }
}

/// What keeps a text from being a name (RFC 952 and 1123), and what Windows wants of one.
fn fault(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || name.len() > MOST_CHARACTERS {
        return Some(format!("it has {} characters, and 1 to {MOST_CHARACTERS} are allowed", name.len()));
    }
    if let Some(c) = name.chars().find(|c| !allowed(*c)) {
        return Some(format!(
            "'{}' is none of the letters, digits and hyphens that it may have",
            c.escape_debug()
        ));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Some("it begins or ends with a hyphen".to_owned());
    }
    name.chars().all(|c| c.is_ascii_digit()).then(|| "it has digits only".to_owned())
}

/// Refuses what Windows would not take, before anything is written.
pub(super) fn check_for_windows(plan: &DeployPlan) -> Result<()> {
    for step in &plan.steps {
        if let Step::Settings { settings, volumes } = step
            && let Some(name) = &settings.name
            && name.len() > MOST_WINDOWS_CHARACTERS
            && let Some(volume) = volumes.iter().find(|volume| volume.file_system == FileSystemKind::Ntfs)
        {
            bail!(
                "the computer name {name} has {} characters, and Windows, which may be on {}, takes at most \
                 {MOST_WINDOWS_CHARACTERS}; a template such as {{serial:8}} is shorter",
                name.len(),
                volume.volume
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(template: &str) -> Result<String, String> {
        let machine = Inventory {
            macs: vec!["52:54:00:ab:cd:ef".to_owned()],
            serial: Some("VMware-56 4d/12 34".to_owned()),
            ..Inventory::default()
        };
        let name = ComputerName { registered: Some("pc-07".to_owned()), ..ComputerName::new(template) };
        name.resolve(|| machine).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_made_of_what_the_machine_is() {
        assert_eq!(resolve("lab").unwrap(), "lab");
        assert_eq!(resolve("{name}").unwrap(), "pc-07");
        assert_eq!(resolve("PC-{mac}").unwrap(), "PC-525400abcdef");
        assert_eq!(resolve("R5-{serial:6}x").unwrap(), "R5-4d1234x");
        assert_eq!(resolve("{mac:99}").unwrap(), "525400abcdef");
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        for (template, part) in [
            ("", "0 characters"),
            ("pc 1", "' ' is none"),
            ("-pc", "hyphen"),
            ("1234", "digits only"),
            ("{asset}", "no asset number"),
            ("{colour}", "not known"),
            ("{serial", "without its }"),
            ("{serial:x}", "number of characters"),
        ] {
            let error = resolve(template).unwrap_err();
            assert!(error.contains(part), "{template}: {error}");
        }
        assert!(resolve(&"x".repeat(64)).is_err());
        let lonely = ComputerName::new("{name}").resolve(Inventory::default).unwrap_err();
        assert!(lonely.to_string().contains("not registered"));
    }
}
