//! Every screen of the console menu, as it looks on 80 columns and 25 lines without colours, and the walks that lead
//! to it: keys and answers in, screens and commands out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use remint::menu::{Command, DiskView, Event, Key, MenuEnd, Reached, Screen, State, Wish, draw};
use remint::progress::{self, Phase};
use remint::protocol::{ImageChoice, OnDemand, Operation, ProfileChoice};
use std::time::Duration;

/// What a person would see.
fn screen_of(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = (0..height).map(|y| {
        let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        row.trim_end().to_owned() + "\n"
    });
    rows.collect()
}

fn shown(state: &State) -> String {
    let text = screen_of(state, 80, 25);
    assert!(text.is_ascii(), "a serial line may show nothing else: {text}");
    text
}

fn press(state: &mut State, keys: &[Key]) -> Vec<Command> {
    keys.iter().flat_map(|key| state.update(Event::Key(*key))).collect()
}

fn type_text(state: &mut State, text: &str) {
    for c in text.chars() {
        assert!(state.update(Event::Key(Key::Char(c))).is_empty());
    }
}

fn image(name: &str, version: Option<&str>, protected: bool, profiles: &[&str]) -> ImageChoice {
    ImageChoice {
        name: name.to_owned(),
        description: format!("What {name} is for"),
        version: version.map(str::to_owned),
        schema_only: false,
        captured: version.map(|_| "2026-11-20T21:15:00Z".to_owned()),
        disk_bytes: 500_107_862_016,
        used_bytes: 21_474_836_480,
        protected,
        profiles: profiles
            .iter()
            .map(|name| ProfileChoice {
                name: (*name).to_owned(),
                description: format!("the profile {name}"),
            })
            .collect(),
    }
}

fn disk(path: &str, refusal: Option<&str>) -> DiskView {
    DiskView {
        path: path.to_owned(),
        stable_name: format!("serial:{}", path.trim_start_matches("/dev/")),
        model: "Samsung SSD 980".to_owned(),
        transport: "nvme".to_owned(),
        size_bytes: 500_107_862_016,
        content: "GPT with 3 volumes: FAT32, NTFS \"Windows\", NTFS".to_owned(),
        refusal: refusal.map(str::to_owned),
    }
}

/// A machine that may do everything.
fn begun() -> State {
    let mut state = State::new("Dell OptiPlex 7010, UEFI".to_owned(), true);
    let on_demand = OnDemand { deploy: true, capture: true, register: true, after_login: true };
    let url = "http://10.0.0.1:8460".to_owned();
    let commands = state.update(Event::Reached(Reached { url, name: None, on_demand }));
    assert!(matches!(commands.as_slice(), [Command::LoadImages]));
    let images = vec![
        image("lab", Some("2026-11-20T211500Z"), true, &["default", "without-data"]),
        image("office", Some("2026-10-01T080000Z"), false, &["default"]),
        image("new", None, false, &["default"]),
    ];
    state.update(Event::Images(images));
    state.update(Event::Disks(vec![
        disk("/dev/nvme0n1", None),
        disk("/dev/sda", Some("this system was started from it")),
    ]));
    state
}

fn wish(operation: Operation) -> Wish {
    Wish {
        operation,
        image: "lab".to_owned(),
        profile: Some("default".to_owned()),
        new_image: false,
        disk: "/dev/nvme0n1".to_owned(),
        stable_disk: "serial:nvme0n1".to_owned(),
    }
}

#[test]
fn a_menu_shows_what_makes_sense_and_a_lost_server_takes_nothing_else_away() {
    let mut state = begun();
    insta::assert_snapshot!("start", shown(&state));
    state.update(Event::Lost("http://10.0.0.1:8460: connection refused".to_owned()));
    insta::assert_snapshot!("start_without_a_server", shown(&state));
    let commands = press(&mut state, &[Key::Char('a')]);
    assert!(matches!(commands.as_slice(), [Command::Connect, Command::LoadDisks]));
    press(&mut state, &[Key::Char('p')]);
    assert_eq!(state.ended, Some(MenuEnd::Poweroff));
}

#[test]
fn a_deploy_leads_from_the_image_to_the_typed_name_of_the_disk() {
    let mut state = begun();
    press(&mut state, &[Key::Char('d')]);
    insta::assert_snapshot!("deploy_images", shown(&state));
    press(&mut state, &[Key::Enter]);
    insta::assert_snapshot!("deploy_profiles", shown(&state));
    press(&mut state, &[Key::Enter]);
    insta::assert_snapshot!("deploy_disks", shown(&state));
    let commands = press(&mut state, &[Key::Enter]);
    let [Command::LoadDisks, Command::Begin(begun)] = [Command::LoadDisks, commands[0].clone()] else {
        panic!("{commands:?}")
    };
    assert_eq!(begun, wish(Operation::Deploy));
    state.update(Event::WaitsFor("job 7 waits: 2 machines come first".to_owned()));
    insta::assert_snapshot!("deploy_waits", shown(&state));

    let plan: String = (1..=40).map(|line| format!("line {line} of the plan\n")).collect();
    state.update(Event::Planned { wish: begun, text: plan });
    insta::assert_snapshot!("deploy_plan", shown(&state));
    press(&mut state, &[Key::PageDown, Key::PageDown, Key::PageDown]);
    assert!(shown(&state).contains("line 40 of the plan"), "{}", shown(&state));
    assert!(press(&mut state, &[Key::Enter]).is_empty());
    type_text(&mut state, "/dev/sda");
    insta::assert_snapshot!("deploy_confirm", shown(&state));
    // Another disk's name, or none, begins nothing.
    assert!(press(&mut state, &[Key::Enter]).is_empty());
    assert!(shown(&state).contains("that is not /dev/nvme0n1"), "{}", shown(&state));
    assert!(press(&mut state, &[Key::Enter]).is_empty());
    type_text(&mut state, "/dev/nvme0n1");
    let commands = press(&mut state, &[Key::Enter]);
    assert!(matches!(commands.as_slice(), [Command::Answer(true)]), "{commands:?}");
    assert!(matches!(state.screen, Screen::Working(_)));
}

#[test]
fn escape_changes_nothing_wherever_it_is_pressed_before_the_work() {
    for steps in 0..6 {
        let mut state = begun();
        let mut commands = Vec::new();
        for step in 0..steps {
            match step {
                0 => drop(press(&mut state, &[Key::Char('d')])),
                1..=3 => drop(press(&mut state, &[Key::Enter])),
                4 => {
                    let text = "the plan".to_owned();
                    state.update(Event::Planned { wish: wish(Operation::Deploy), text });
                }
                _ => drop(press(&mut state, &[Key::Enter])),
            }
        }
        for _ in 0..8 {
            commands.extend(press(&mut state, &[Key::Escape]));
        }
        assert!(matches!(state.screen, Screen::Start { .. }), "{steps}: {:?}", state.screen);
        assert!(!commands.iter().any(|command| matches!(command, Command::Begin(_) | Command::Answer(true))));
    }
}

#[test]
fn work_shows_how_far_it_is_and_is_stopped_only_when_that_was_meant() {
    let mut state = begun();
    state.update(Event::Tick(Duration::from_secs(100)));
    press(&mut state, &[Key::Char('d'), Key::Enter, Key::Enter, Key::Enter]);
    state.update(Event::Planned { wish: wish(Operation::Deploy), text: "x".to_owned() });
    press(&mut state, &[Key::Enter]);
    type_text(&mut state, "/dev/nvme0n1");
    press(&mut state, &[Key::Enter]);
    let total_bytes = 20 << 30;
    for event in [
        progress::Event::PhaseStarted { phase: Phase::Write, total_bytes: Some(total_bytes) },
        progress::Event::VolumeStarted {
            phase: Phase::Write,
            volume: "d0-p3".to_owned(),
            content: "NTFS \"Windows\"".to_owned(),
            total_bytes,
        },
        progress::Event::Warning { subject: "d0-p3".to_owned(), message: "something to know".to_owned() },
        progress::Event::Advanced {
            phase: Phase::Write,
            volume: "d0-p3".to_owned(),
            done_bytes: 5 << 30,
            total_bytes,
            transferred_bytes: 2 << 30,
        },
    ] {
        state.update(Event::Progress(event));
    }
    state.update(Event::Tick(Duration::from_secs(110)));
    insta::assert_snapshot!("working", shown(&state));
    assert!(press(&mut state, &[Key::Escape, Key::Char('y')]).is_empty());
    assert!(press(&mut state, &[Key::Char('c'), Key::Char('n')]).is_empty());
    press(&mut state, &[Key::Char('c')]);
    insta::assert_snapshot!("working_asks", shown(&state));
    assert!(matches!(press(&mut state, &[Key::Char('y')]).as_slice(), [Command::Cancel]));
    state.update(Event::Ended {
        good: false,
        message: "stopped at the machine\nthe target has no table".to_owned(),
    });
    insta::assert_snapshot!("result", shown(&state));
    press(&mut state, &[Key::Enter]);
    assert!(matches!(state.screen, Screen::Start { .. }));
}

#[test]
fn a_capture_goes_into_an_image_that_may_be_overwritten_or_into_a_new_one() {
    let mut state = begun();
    press(&mut state, &[Key::Char('c')]);
    insta::assert_snapshot!("capture_images", shown(&state));
    assert!(press(&mut state, &[Key::Enter]).is_empty());
    assert!(shown(&state).contains("lab is protected"), "{}", shown(&state));
    press(&mut state, &[Key::Char('n')]);
    type_text(&mut state, "classroom-7");
    insta::assert_snapshot!("capture_new", shown(&state));
    press(&mut state, &[Key::Enter]);
    // The disk that this system was started from can be read.
    let commands = press(&mut state, &[Key::Down, Key::Enter]);
    let [Command::Begin(wish)] = commands.as_slice() else { panic!("{commands:?}") };
    assert!(wish.new_image && wish.image == "classroom-7" && wish.disk == "/dev/sda");
    state.update(Event::Planned { wish: wish.clone(), text: "everything is only read".to_owned() });
    insta::assert_snapshot!("capture_plan", shown(&state));
    assert!(matches!(press(&mut state, &[Key::Enter]).as_slice(), [Command::Answer(true)]));
}

#[test]
fn what_a_person_types_to_log_in_is_not_shown_and_not_kept() {
    let mut state = begun();
    press(&mut state, &[Key::Char('l')]);
    type_text(&mut state, "anna");
    press(&mut state, &[Key::Tab]);
    type_text(&mut state, "hunter22");
    insta::assert_snapshot!("login", shown(&state));
    assert!(!format!("{state:?}").contains("hunter22"));
    let commands = press(&mut state, &[Key::Enter]);
    let [Command::Login { user, password }] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!((user.as_str(), password.reveal()), ("anna", "hunter22"));
    state.update(Event::Refused("wrong name or password".to_owned()));
    assert!(shown(&state).contains("wrong name or password") && !shown(&state).contains("***"));
    press(&mut state, &[Key::Escape, Key::Char('g')]);
    type_text(&mut state, "pc-17");
    let commands = press(&mut state, &[Key::Enter]);
    assert!(matches!(commands.as_slice(), [Command::Register(name)] if name == "pc-17"));
    state.update(Event::Registered("pc-17".to_owned()));
    insta::assert_snapshot!("registered", shown(&state));
}

#[test]
fn disks_images_and_the_log_can_be_looked_at() {
    let mut state = begun();
    press(&mut state, &[Key::Char('k'), Key::Down]);
    insta::assert_snapshot!("disks", shown(&state));
    press(&mut state, &[Key::Escape, Key::Char('i'), Key::Down, Key::Down]);
    insta::assert_snapshot!("images", shown(&state));
    press(&mut state, &[Key::Escape]);
    assert!(matches!(press(&mut state, &[Key::Char('o')]).as_slice(), [Command::LoadLog]));
    state.update(Event::Log((1..=60).map(|line| format!("remint: line {line}\n")).collect()));
    insta::assert_snapshot!("log", shown(&state));
}

#[test]
fn every_size_of_a_terminal_shows_something_and_nothing_panics() {
    let mut state = begun();
    press(&mut state, &[Key::Char('d')]);
    for (width, height) in [(1, 1), (20, 5), (59, 25), (80, 15), (60, 16), (80, 24), (132, 50), (300, 100)] {
        let text = screen_of(&state, width, height);
        assert!(width < 20 || text.contains("Remint"), "{width}x{height}: {text}");
    }
}
