//! What a state looks like. Plain characters only: a serial line may have no others, and no colours.

use super::form::Form;
use super::state::{DiskPurpose, DiskView, ImagePurpose, Screen, ServerState, State};
use super::wish::Wish;
use super::work::Work;
use crate::progress::Phase;
use crate::protocol::{ImageChoice, Operation, ProfileChoice};
use crate::units::format_size;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use std::time::Duration;

/// The smallest terminal that everything fits on.
const LEAST: (u16, u16) = (60, 16);

/// Shows a state.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("Remint needs a terminal of {} columns and {} lines", LEAST.0, LEAST.1);
        return frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
    }
    let parts = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(1),
        Constraint::Length(2),
        Constraint::Length(1),
    ]);
    let [head, body, notice, keys] = parts.areas(area);
    frame.render_widget(Paragraph::new(header(state, head.width)), head);
    let inner = Rect { x: body.x.saturating_add(1), width: body.width.saturating_sub(2), ..body };
    draw_body(state, frame, inner);
    if let Some(text) = &state.notice {
        let shown = Paragraph::new(format!(" ! {text}")).wrap(Wrap { trim: false });
        frame.render_widget(shown, notice);
    }
    let keys_line =
        Line::styled(padded(&keys_of(state), keys.width), Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Paragraph::new(keys_line), keys);
}

fn padded(text: &str, width: u16) -> String {
    format!("{text:<0$}", usize::from(width))
}

fn header(state: &State, width: u16) -> Vec<Line<'static>> {
    let name = state.name.as_deref().unwrap_or("not registered");
    let first = format!(" Remint {}   {name}   {}", env!("CARGO_PKG_VERSION"), state.machine);
    let server = match &state.server {
        ServerState::Asked => " server: asking it ...".to_owned(),
        ServerState::Reached { url } => format!(" server: {url}"),
        ServerState::Lost { fact } => format!(" no server: {fact}"),
    };
    let server = match &state.user {
        Some(user) => format!("{server}   user: {user}"),
        None => server,
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    vec![Line::styled(first, bold), Line::raw(server), Line::raw("-".repeat(usize::from(width)))]
}

fn draw_body(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let text = |lines: Vec<Line<'static>>| Paragraph::new(lines);
    match &state.screen {
        Screen::Start { selected } => {
            let rows =
                state.entries().into_iter().map(|entry| format!("{}  {}", entry.key(), entry.meaning()));
            list(frame, area, ["What is to be done?", ""], rows.collect(), *selected);
        }
        Screen::Images { purpose, selected } => draw_images(state, *purpose, *selected, frame, area),
        Screen::Profiles { image, selected } => {
            let found = state.images.iter().find(|candidate| candidate.name == *image);
            let profiles = found.map(|image| image.profiles.as_slice()).unwrap_or_default();
            let row = |profile: &ProfileChoice| {
                let smallest = smallest_text(&profile.minimum_disk_bytes);
                format!("{:<20}  {smallest:>9}  {}", profile.name, profile.description)
            };
            let heads = [&format!("Profiles of {image}"), "  NAME                  SMALLEST  FOR"];
            list(frame, area, heads, profiles.iter().map(row).collect(), *selected);
        }
        Screen::Keymaps { typed, selected } => {
            let title = format!("Which layout does the keyboard of the screen have? {typed}");
            list(frame, area, [&title, ""], state.keymaps.clone(), *selected);
        }
        Screen::Disks { purpose, selected, marked } => {
            draw_disks(state, purpose, *selected, marked, frame, area);
        }
        Screen::Form(form) => frame.render_widget(text(form_lines(form)), area),
        Screen::Waiting { what } => {
            let dots = ".".repeat(usize::try_from(state.now.as_secs() % 4).unwrap_or_default());
            frame.render_widget(text(vec![Line::raw(""), Line::raw(format!("{what} {dots}"))]), area);
        }
        Screen::Name { wish, given, typed, touched } => {
            let is_open = given.is_err() && !touched;
            frame.render_widget(text(name_lines(wish, typed, is_open)), area);
        }
        Screen::Plan { wish, lines, scroll } => {
            scrolled(frame, area, &plan_title(wish), lines, *scroll);
        }
        Screen::Confirm { wish, typed } => frame.render_widget(text(confirm_lines(wish, typed)), area),
        Screen::Working(work) => draw_work(state, work, frame, area),
        Screen::Result { lines } => {
            let lines: Vec<Line<'_>> = lines.iter().map(|line| Line::raw(line.as_str())).collect();
            frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
        }
        Screen::Text { title, lines, scroll } => scrolled(frame, area, title, lines, *scroll),
    }
}

/// Two lines of headings, and rows of which one is selected; the selected one is always seen.
fn list(frame: &mut Frame<'_>, area: Rect, heads: [&str; 2], rows: Vec<String>, selected: usize) {
    let mut lines = heads.map(|head| Line::raw(head.to_owned())).to_vec();
    let room = usize::from(area.height).saturating_sub(lines.len()).max(1);
    let first = selected.saturating_add(1).saturating_sub(room);
    for (number, row) in rows.into_iter().enumerate().skip(first).take(room) {
        lines.push(row_line(row, number == selected, area.width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn row_line(row: String, selected: bool, width: u16) -> Line<'static> {
    if selected {
        let style = Style::new().add_modifier(Modifier::REVERSED);
        return Line::from(vec![Span::raw("> "), Span::styled(padded(&row, width.saturating_sub(2)), style)]);
    }
    Line::raw(format!("  {row}"))
}

fn scrolled(frame: &mut Frame<'_>, area: Rect, title: &str, lines: &[String], scroll: usize) {
    let room = usize::from(area.height).saturating_sub(2).max(1);
    // The last page stays full.
    let first = scroll.min(lines.len().saturating_sub(room));
    let last = first.saturating_add(room).min(lines.len());
    let place = if lines.len() > room {
        format!("   lines {} to {last} of {}", first.saturating_add(1), lines.len())
    } else {
        String::new()
    };
    let mut shown = vec![Line::raw(format!("{title}{place}")), Line::raw("")];
    shown.extend(lines.iter().skip(first).take(room).map(|line| Line::raw(line.clone())));
    frame.render_widget(Paragraph::new(shown), area);
}

fn draw_images(state: &State, purpose: ImagePurpose, selected: usize, frame: &mut Frame<'_>, area: Rect) {
    let [table, detail] = Layout::vertical([Constraint::Min(3), Constraint::Length(5)]).areas(area);
    let title = match purpose {
        ImagePurpose::Deploy => "Which image is to be deployed?",
        ImagePurpose::Capture => "Into which image is this machine captured?",
        ImagePurpose::Look => "Images",
    };
    if state.images.is_empty() {
        let lines = vec![Line::raw(title), Line::raw(""), Line::raw("The server offers no image here.")];
        return frame.render_widget(Paragraph::new(lines), table);
    }
    let row = |image: &ImageChoice| {
        let captured = match &image.version {
            Some(version) => version,
            None if image.schema_only => "schema only",
            None => "never captured",
        };
        let protected = if image.protected { "protected" } else { "" };
        let (used, smallest) =
            (format_size(image.used_bytes), smallest_text(state.smallest(&image.name, None)));
        format!("{:<20}  {captured:<20}  {used:>9}  {smallest:>9}  {protected}", image.name)
    };
    let head = "  NAME                  CAPTURED                   USED   SMALLEST";
    list(frame, table, [title, head], state.images.iter().map(row).collect(), selected);
    if let Some(image) = state.images.get(selected) {
        let profiles: Vec<&str> = image.profiles.iter().map(|profile| profile.name.as_str()).collect();
        let lines = vec![
            Line::raw(""),
            Line::raw(image.description.clone()),
            Line::raw(format!(
                "captured from disks of {}, fits on {}",
                format_size(image.disk_bytes),
                fits_on(state.smallest(&image.name, None))
            )),
            Line::raw(format!("profiles: {}", profiles.join(", "))),
        ];
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), detail);
    }
}

fn draw_disks(
    state: &State,
    purpose: &DiskPurpose,
    selected: usize,
    marked: &[String],
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let [table, detail] = Layout::vertical([Constraint::Min(3), Constraint::Length(4)]).areas(area);
    let title = match purpose {
        DiskPurpose::Look => "Disks of this machine".to_owned(),
        DiskPurpose::Image { operation: Operation::Deploy, image, .. } => {
            let disk = if marked.is_empty() { "disk is" } else { "disks is" };
            format!("Onto which {disk} {image} deployed?")
        }
        DiskPurpose::Image { operation: Operation::Capture, image, .. } => {
            let disk = if marked.is_empty() { "disk is" } else { "disks are" };
            format!("Which {disk} captured into {image}?")
        }
    };
    if state.disks.is_empty() {
        let nothing = "This machine has no disk, or none with a driver.";
        let lines = vec![Line::raw(title), Line::raw(""), Line::raw(nothing)];
        return frame.render_widget(Paragraph::new(lines), table);
    }
    let writes = matches!(purpose, DiskPurpose::Image { operation: Operation::Deploy, .. });
    let row = |disk: &DiskView| {
        let mark = match &disk.refusal {
            Some(_) if writes => "not this one",
            _ if marked.contains(&disk.path) => "chosen",
            _ if state.is_too_small(disk, purpose) => "too small",
            _ => "",
        };
        let size = format_size(disk.size_bytes);
        format!("{:<16}  {size:>10}  {:<7}  {mark:<12}  {}", disk.path, disk.transport, disk.model)
    };
    list(frame, table, [&title, ""], state.disks.iter().map(row).collect(), selected);
    if let Some(disk) = state.disks.get(selected) {
        let mut lines = vec![Line::raw(""), Line::raw(format!("holds: {}", disk.content))];
        if let (true, DiskPurpose::Image { image, profile, .. }) =
            (state.is_too_small(disk, purpose), purpose)
        {
            let needs = fits_on(state.smallest(image, profile.as_deref()));
            lines.push(Line::raw(format!("too small: {image} fits on {needs}")));
        }
        if let Some(refusal) = &disk.refusal {
            lines.push(Line::raw(format!("cannot be written to: {refusal}")));
        }
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), detail);
    }
}

/// The smallest disk of an image in a column: `-` where only a target says it.
fn smallest_text(smallest: &[u64]) -> String {
    match smallest {
        [] => "-".to_owned(),
        [one] => format_size(*one),
        several => format!("{} disks", several.len()),
    }
}

/// On which disks an image fits, as the end of a sentence.
fn fits_on(smallest: &[u64]) -> String {
    let sizes: Vec<String> =
        smallest.iter().map(|bytes| format!("{} ({bytes} bytes)", format_size(*bytes))).collect();
    match sizes.as_slice() {
        [] => "what its plan says".to_owned(),
        [one] => format!("a disk of {one} or more"),
        several => format!("disks of {} or more", several.join(" and ")),
    }
}

fn form_lines(form: &Form) -> Vec<Line<'static>> {
    let mut lines = vec![Line::raw(form.kind.title()), Line::raw("")];
    for (number, (name, value)) in form.kind.fields().iter().zip(&form.values).enumerate() {
        let shown =
            if form.kind.is_secret(number) { "*".repeat(value.chars().count()) } else { value.clone() };
        let (mark, cursor) = if number == form.focus { (">", "_") } else { (" ", "") };
        lines.push(Line::raw(format!("{mark} {name:<20} {shown}{cursor}")));
    }
    lines
}

fn name_lines(wish: &Wish, typed: &str, is_open: bool) -> Vec<Line<'static>> {
    let nothing = if is_open { "After Backspace" } else { "With nothing here" };
    [
        format!("Which name does this computer get with {}?", wish.image),
        String::new(),
        format!("> {typed}_"),
        String::new(),
        "Letters, digits and hyphens.".to_owned(),
        format!("{nothing} it keeps the name that is in the image."),
    ]
    .map(Line::raw)
    .to_vec()
}

fn plan_title(wish: &Wish) -> String {
    match wish.operation {
        Operation::Deploy => format!("What deploying {} onto {} would do:", wish.image, wish.disks_text()),
        Operation::Capture => format!("What capturing {} into {} would do:", wish.disks_text(), wish.image),
    }
}

fn confirm_lines(wish: &Wish, typed: &str) -> Vec<Line<'static>> {
    let names = if wish.disks.len() == 1 { "the name of the disk" } else { "the names of the disks" };
    [
        format!("Everything on {} is overwritten with {}.", wish.disks_text(), wish.image),
        String::new(),
        format!("To go on, type {names}: {}", wish.confirmation()),
        String::new(),
        format!("> {typed}_"),
    ]
    .map(Line::raw)
    .to_vec()
}

fn draw_work(state: &State, work: &Work, frame: &mut Frame<'_>, area: Rect) {
    let Wish { operation, image, .. } = &work.wish;
    let disk = work.wish.disks_text();
    let title = match operation {
        Operation::Deploy => format!("Deploying {image} onto {disk}"),
        Operation::Capture => format!("Capturing {disk} into {image}"),
    };
    let mut lines = vec![Line::raw(title), Line::raw("")];
    let phase = work.phase.map_or("beginning", Phase::verb);
    lines.push(Line::raw(format!("{phase} {}", work.volume)));
    lines.push(Line::raw(bar(work.percent(), area.width)));
    lines.push(Line::raw(figures(state, work)));
    lines.push(Line::raw(""));
    if work.cancelled {
        lines.push(Line::raw("Stopping safely, please wait."));
    } else if work.asks_to_cancel {
        let cost = match operation {
            Operation::Deploy if work.wish.disks.len() > 1 => "The disks are left without a partition table.",
            Operation::Deploy => "The disk is left without a partition table.",
            Operation::Capture => "What was captured so far is used by the next capture.",
        };
        lines.push(Line::raw(format!("Stop? {cost} y stops, any other key goes on.")));
    }
    let room = usize::from(area.height).saturating_sub(lines.len());
    let first = work.messages.len().saturating_sub(room);
    lines.extend(work.messages.iter().skip(first).map(|message| Line::raw(message.clone())));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn bar(percent: Option<u64>, width: u16) -> String {
    let Some(percent) = percent else { return String::new() };
    let room = usize::from(width).saturating_sub(8).min(60);
    let full = usize::try_from(percent).unwrap_or_default().saturating_mul(room) / 100;
    format!("[{}{}] {percent:>3}%", "#".repeat(full), ".".repeat(room.saturating_sub(full)))
}

fn figures(state: &State, work: &Work) -> String {
    let total = work.total_bytes.map_or(String::new(), |total| format!(" of {}", format_size(total)));
    let mut text = format!("{}{total}", format_size(work.done_bytes));
    if let Some(rate) = work.rate(state.now) {
        text.push_str(&format!(", {}/s", format_size(rate)));
    }
    if let Some(left) = work.left(state.now) {
        text.push_str(&format!(", {} left", clock(left)));
    }
    text.push_str(&format!("   {} since the beginning", clock(state.now.saturating_sub(work.began))));
    text
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn keys_of(state: &State) -> String {
    let text = match &state.screen {
        Screen::Start { .. } => "Up Down Enter, or the letter",
        Screen::Images { purpose: ImagePurpose::Capture, .. } => {
            "Up Down  Enter this image  n a new image  Esc back"
        }
        Screen::Images { .. } => "Up Down  Enter this image  Esc back",
        Screen::Profiles { .. }
            if matches!(state.behind.last(), Some(Screen::Images { purpose: ImagePurpose::Look, .. })) =>
        {
            "Up Down  Esc back"
        }
        Screen::Profiles { .. } => "Up Down  Enter this profile  Esc back",
        Screen::Disks { purpose: DiskPurpose::Look, .. } => "Up Down  Esc back",
        Screen::Disks { marked, .. } if !marked.is_empty() => {
            "Up Down  Space one more or less  Enter the chosen disks  Esc back"
        }
        Screen::Disks { .. } if state.disks.len() > 1 => {
            "Up Down  Enter this disk  Space chooses several  Esc back"
        }
        Screen::Disks { .. } => "Up Down  Enter this disk  Esc back",
        Screen::Keymaps { .. } => "Up Down or the first letters  Enter this layout  Esc back",
        Screen::Form(form) if form.kind.fields().len() > 1 => "Tab next  Enter goes on  Esc back",
        Screen::Form(_) => "Enter goes on  Esc back",
        Screen::Waiting { .. } => "Esc gives up",
        Screen::Plan { .. } => "Up Down PgUp PgDn  Enter goes on  Esc changes nothing",
        Screen::Name { .. } => "Enter goes on  Esc back",
        Screen::Confirm { .. } => "Enter begins  Esc back",
        Screen::Working(_) => "c stops",
        Screen::Result { .. } => "Enter goes to the menu",
        Screen::Text { .. } => "Up Down PgUp PgDn  Esc back",
    };
    format!(" {text}")
}
