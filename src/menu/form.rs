//! Something to be typed: fields with a line each.

use super::state::Key;

/// The longest that a person types into a field.
const MOST_CHARACTERS: usize = 128;

/// Fields that are typed into.
#[derive(Clone)]
pub struct Form {
    /// What for.
    pub kind: FormKind,
    /// What was typed, for each field.
    pub values: Vec<String>,
    /// The field that is typed into.
    pub focus: usize,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What was typed may be a password.
        f.debug_struct("Form").field("kind", &self.kind).field("focus", &self.focus).finish_non_exhaustive()
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormKind {
    /// Name and password.
    Login,
    /// The name of this machine.
    Register,
    /// The name of an image to be made.
    NewImage,
}

impl FormKind {
    /// What stands above it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Login => "Log in",
            Self::Register => "Register this machine",
            Self::NewImage => "Capture into a new image",
        }
    }

    /// The names of its fields.
    #[must_use]
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Login => &["User", "Password"],
            Self::Register => &["Name of the machine"],
            Self::NewImage => &["Name of the image"],
        }
    }

    /// True for a field that is not shown.
    #[must_use]
    pub fn is_secret(self, field: usize) -> bool {
        self == Self::Login && field == 1
    }
}

impl Form {
    /// An empty one.
    #[must_use]
    pub fn new(kind: FormKind) -> Self {
        Self { kind, values: vec![String::new(); kind.fields().len()], focus: 0 }
    }

    /// A value, without blanks at its ends.
    #[must_use]
    pub fn value(&self, field: usize) -> &str {
        self.values.get(field).map_or("", |value| value.trim())
    }

    /// Takes a key. True where everything is typed.
    pub(super) fn take(&mut self, key: Key) -> bool {
        let last = self.values.len().saturating_sub(1);
        match key {
            Key::Enter if self.focus >= last => {
                return self.values.iter().all(|value| !value.trim().is_empty());
            }
            Key::Enter | Key::Tab | Key::Down => {
                self.focus = if self.focus >= last { 0 } else { self.focus + 1 }
            }
            Key::Up => self.focus = self.focus.checked_sub(1).unwrap_or(last),
            Key::Backspace => {
                if let Some(value) = self.values.get_mut(self.focus) {
                    value.pop();
                }
            }
            Key::Char(c) if !c.is_control() => {
                if let Some(value) = self.values.get_mut(self.focus)
                    && value.chars().count() < MOST_CHARACTERS
                {
                    value.push(c);
                }
            }
            _ => {}
        }
        false
    }
}
