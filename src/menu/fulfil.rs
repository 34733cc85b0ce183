//! From a wish to its end: what happens meanwhile, and what the keys of the plan, the confirmation and the work do.

use super::state::{Attempt, Command, Fulfilling, Key, Screen, State};
use super::wish::Wish;
use super::work::Work;
use crate::protocol::Operation;

/// The most characters of names of disks that are typed.
const MOST_TYPED: usize = 1024;

impl State {
    /// Takes what happens to a wish. What happens to one that was given up changes nothing.
    pub(super) fn fulfilling(&mut self, attempt: u64, what: Fulfilling) -> Vec<Command> {
        let Some(Attempt { wish, .. }) = self.awaited.clone().filter(|awaited| awaited.number == attempt)
        else {
            // Whoever asks must not wait for a person who went away.
            let is_asked = matches!(what, Fulfilling::Planned(_));
            return is_asked.then_some(Command::Answer { attempt, yes: false }).into_iter().collect();
        };
        match (what, &mut self.screen) {
            (Fulfilling::WaitsFor(what), Screen::Waiting { what: shown }) => *shown = what,
            (Fulfilling::WaitsFor(what), Screen::Working(work)) => work.say(what),
            (Fulfilling::Progress(event), Screen::Working(work)) => work.take(event, self.now),
            (Fulfilling::WaitsFor(_) | Fulfilling::Progress(_), _) => {}
            (Fulfilling::Planned(text), _) => {
                let lines = text.lines().map(str::to_owned).collect();
                self.screen = Screen::Plan { wish, lines, scroll: 0 };
            }
            (Fulfilling::Failed(fact), Screen::Waiting { .. }) => {
                self.awaited = None;
                self.back();
                self.notice = Some(fact);
            }
            (Fulfilling::Failed(fact), _) => self.ended(false, &fact),
            (Fulfilling::Ended { good, message }, _) => self.ended(good, &message),
        }
        Vec::new()
    }

    fn ended(&mut self, good: bool, message: &str) {
        self.awaited = None;
        let verdict = if good { "Done." } else { "Not done, or not without problems." };
        let mut lines = vec![verdict.to_owned(), String::new()];
        lines.extend(message.lines().map(str::to_owned));
        self.behind.clear();
        self.screen = Screen::Result { lines };
    }

    pub(super) fn plan_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Plan { wish, .. } = &self.screen else { return Vec::new() };
        match (key, wish.operation) {
            (Key::Escape, _) => {
                self.go_to_start();
                self.notice = Some("nothing was changed".to_owned());
                let awaited = self.awaited.take();
                awaited.map(|awaited| awaited.answer(false)).into_iter().collect()
            }
            (Key::Enter, Operation::Deploy) => {
                let wish = wish.clone();
                self.forward(Screen::Confirm { wish, typed: String::new() });
                Vec::new()
            }
            // A capture only reads.
            (Key::Enter, Operation::Capture) => {
                let wish = wish.clone();
                self.begin_work(wish)
            }
            _ => Vec::new(),
        }
    }

    fn begin_work(&mut self, wish: Wish) -> Vec<Command> {
        self.behind.clear();
        self.screen = Screen::Working(Box::new(Work::new(wish, self.now)));
        self.awaited.as_ref().map(|awaited| awaited.answer(true)).into_iter().collect()
    }

    pub(super) fn confirm_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Confirm { wish, typed } = &mut self.screen else { return Vec::new() };
        match key {
            Key::Escape => self.back(),
            Key::Backspace => drop(typed.pop()),
            Key::Char(c) if !c.is_control() && typed.len() < MOST_TYPED => typed.push(c),
            Key::Enter if wish.is_confirmed_by(typed) => {
                let wish = wish.clone();
                return self.begin_work(wish);
            }
            Key::Enter => {
                let fact = format!("that is not {}; nothing was changed", wish.confirmation());
                typed.clear();
                self.notice = Some(fact);
            }
            _ => {}
        }
        Vec::new()
    }

    pub(super) fn working_key(&mut self, key: Key) -> Vec<Command> {
        let Screen::Working(work) = &mut self.screen else { return Vec::new() };
        match key {
            Key::Char('c' | 'C') if !work.cancelled => work.asks_to_cancel = true,
            Key::Char('y' | 'Y') if work.asks_to_cancel => {
                work.asks_to_cancel = false;
                work.cancelled = true;
                let attempt = self.awaited.as_ref().map(|awaited| awaited.number);
                return attempt.map(|attempt| Command::Cancel { attempt }).into_iter().collect();
            }
            _ => work.asks_to_cancel = false,
        }
        Vec::new()
    }
}

impl Attempt {
    fn answer(&self, yes: bool) -> Command {
        Command::Answer { attempt: self.number, yes }
    }
}
