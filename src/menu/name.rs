//! The name of the computer, which a person is asked for before a deploy begins.
//!
//! It stands there already where the profile makes one for this machine, by the rules of every other name. Kept as it stands, it is
//! the profile's; taken away, the system keeps the one that its image has. Where the profile wishes for a name and none can be
//! made of this machine, nothing is begun before a person typed one, or pressed Backspace for the image's.

use super::state::{Command, Key, Screen, State};
use super::wish::Wish;
use crate::agent::ComputerName;
use crate::protocol::Inventory;

/// The most characters that are typed: a template is longer than a name.
const MOST_TYPED: usize = 128;

impl State {
    /// Asks for the name that a deploy gives.
    pub(super) fn ask_name(&mut self, wish: Wish) {
        let profile = self.profile(&wish.image, wish.profile.as_deref());
        let template = profile.and_then(|profile| profile.computer_name.clone());
        let given = template.map_or_else(|| Ok(String::new()), |template| self.named(&template));
        let typed = given.clone().unwrap_or_default();
        self.forward(Screen::Name { wish, given: given.clone(), typed, touched: false });
        self.notice = given.err();
    }

    /// The name that a template makes for this machine.
    fn named(&self, template: &str) -> Result<String, String> {
        let machine = Some(self.inventory.clone());
        let name = ComputerName { machine, registered: self.name.clone(), ..ComputerName::new(template) };
        name.resolve(Inventory::default).map_err(|error| error.to_string())
    }

    pub(super) fn name_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Name { wish, given, typed, touched } = &mut self.screen else { return Vec::new() };
        match key {
            Key::Escape => self.back(),
            Key::Backspace => {
                typed.pop();
                *touched = true;
            }
            Key::Char(c) if !c.is_control() && typed.chars().count() < MOST_TYPED => {
                typed.push(c);
                *touched = true;
            }
            Key::Enter => {
                let (wish, given, typed) = (wish.clone(), given.clone(), typed.trim().to_owned());
                let computer_name = if given.as_ref() == Ok(&typed) {
                    None
                } else if let (Err(fact), true, false) = (&given, typed.is_empty(), *touched) {
                    self.notice = Some(fact.clone());
                    return Vec::new();
                } else if typed.is_empty() {
                    Some(typed)
                } else {
                    match self.named(&typed) {
                        Ok(name) => Some(name),
                        Err(fact) => {
                            self.notice = Some(fact);
                            return Vec::new();
                        }
                    }
                };
                return self.begin(Wish { computer_name, ..wish });
            }
            _ => {}
        }
        Vec::new()
    }
}
