//! The menu on a terminal: keys in, screens out, until a person ends it.

use super::state::{Event, Key, MenuEnd, State};
use super::worker::Worker;
use super::{MenuRequest, draw};
use crate::linux::keymaps;
use anyhow::{Context, Result};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::io::{self, Stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often what moves by itself is shown anew. A serial line of 9600 baud has a second for a whole screen.
const TICK: Duration = Duration::from_millis(500);
/// What a terminal has that does not say: a serial line.
const SERIAL: (u16, u16) = (80, 25);

/// Shows the menu until a person ends it.
///
/// # Errors
/// Where there is no terminal.
pub fn run(request: &MenuRequest) -> Result<MenuEnd> {
    let mut screen = TerminalScreen::open()?;
    let (events, happened) = channel();
    listen_to_keys(events.clone());
    let worker = Worker::start(request, events);
    let keymaps = if request.is_boot_environment { keymaps::names() } else { Vec::new() };
    let mut state = State::new(request.machine_text(), request.is_boot_environment, keymaps);
    state.inventory.clone_from(&request.inventory);
    State::first_commands().into_iter().for_each(|command| worker.carry_out(command));
    let began = Instant::now();
    loop {
        screen.show(&state)?;
        for command in next(&mut state, &happened, began) {
            worker.carry_out(command);
        }
        if let Some(end) = state.ended {
            return Ok(end);
        }
    }
}

/// Takes what happened, all of it: progress comes faster than a slow line can show it.
fn next(state: &mut State, happened: &Receiver<Event>, began: Instant) -> Vec<super::Command> {
    let first = match happened.recv_timeout(TICK) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        // The thread that reads keys ends with its terminal: nobody is there any more.
        Err(RecvTimeoutError::Disconnected) => {
            state.ended = Some(MenuEnd::Leave);
            None
        }
    };
    let mut commands = state.update(Event::Tick(began.elapsed()));
    for event in first.into_iter().chain(happened.try_iter()) {
        commands.extend(state.update(event));
    }
    commands
}

fn listen_to_keys(events: Sender<Event>) {
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            // What has another size is drawn anew by itself.
            let event::Event::Key(pressed) = event else { continue };
            for key in keys_of(pressed) {
                if events.send(Event::Key(key)).is_err() {
                    return;
                }
            }
        }
    });
}

/// Escape and the key behind it are one key with Alt where they come together, as they do over a slow line.
fn keys_of(event: KeyEvent) -> impl Iterator<Item = Key> {
    let is_pressed = event.kind != KeyEventKind::Release;
    let escape = (is_pressed && event.modifiers.contains(KeyModifiers::ALT)).then_some(Key::Escape);
    escape.into_iter().chain(key_of(event))
}

fn key_of(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        // What people press to get away.
        KeyCode::Char('c') if control => Key::Escape,
        KeyCode::Char('h') if control => Key::Backspace,
        KeyCode::Char('m' | 'j') if control => Key::Enter,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace | KeyCode::Delete => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::Up | KeyCode::BackTab => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        _ => return None,
    })
}

/// The terminal as a screen; what was there before is put back when it is dropped.
struct TerminalScreen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl TerminalScreen {
    fn open() -> Result<Self> {
        enable_raw_mode().context("the menu needs a terminal to read keys from")?;
        let mut out = io::stdout();
        execute!(out, EnterAlternateScreen).context("the menu needs a terminal to be shown on")?;
        let known = size().ok().filter(|(width, height)| *width > 0 && *height > 0);
        let viewport = match known {
            Some(_) => Viewport::Fullscreen,
            None => Viewport::Fixed(Rect::new(0, 0, SERIAL.0, SERIAL.1)),
        };
        let terminal = Terminal::with_options(CrosstermBackend::new(out), TerminalOptions { viewport });
        Ok(Self { terminal: terminal.context("preparing the terminal")? })
    }

    fn show(&mut self, state: &State) -> Result<()> {
        self.terminal.draw(|frame| draw(state, frame)).context("showing the menu")?;
        Ok(())
    }
}

impl Drop for TerminalScreen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen);
        let _ = disable_raw_mode();
        let _ = self.terminal.show_cursor();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_that_comes_together_with_the_next_key_is_not_lost() {
        let keys = |code, modifiers| keys_of(KeyEvent::new(code, modifiers)).collect::<Vec<_>>();
        assert_eq!(keys(KeyCode::Char('k'), KeyModifiers::ALT), [Key::Escape, Key::Char('k')]);
        assert_eq!(keys(KeyCode::Char('k'), KeyModifiers::NONE), [Key::Char('k')]);
        assert_eq!(keys(KeyCode::Char('c'), KeyModifiers::CONTROL), [Key::Escape]);
        assert!(keys(KeyCode::Char('x'), KeyModifiers::CONTROL).is_empty());
    }
}
