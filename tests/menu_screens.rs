//! Every screen of the console menu, as it looks on 80 columns and 25 lines without colours, and the walks that lead
//! to it: keys and answers in, screens and commands out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use remint::menu::{
    ChosenDisk, Command, DiskView, Event, Fulfilling, Key, MenuEnd, Reached, Screen, ServerState, State,
    Wish, draw,
};
use remint::progress::{self, Phase};
use remint::protocol::{ImageChoice, Inventory, OnDemand, Operation, ProfileChoice};
use std::time::Duration;

/// What a person would see.
fn screen_of(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let plain = buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset);
    assert!(plain, "a screen has to be understood without colours");
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

fn happens(state: &mut State, attempt: u64, what: Fulfilling) -> Vec<Command> {
    state.update(Event::Fulfilling { attempt, what })
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
                minimum_disk_bytes: version.map(|_| 250_718_732_800).into_iter().collect(),
                computer_name: None,
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
    let keymaps =
        ["be-latin1", "de", "de-latin1", "de-latin1-nodeadkeys", "fr", "us"].map(str::to_owned).to_vec();
    let mut state = State::new("Dell OptiPlex 7010, UEFI".to_owned(), true, keymaps);
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
        DiskView { size_bytes: 128_035_676_160, ..disk("/dev/sdb", None) },
    ]));
    state
}

fn wish(operation: Operation) -> Wish {
    Wish {
        operation,
        image: "lab".to_owned(),
        profile: Some("default".to_owned()),
        new_image: false,
        computer_name: None,
        disks: vec![ChosenDisk { path: "/dev/nvme0n1".to_owned(), stable_name: "serial:nvme0n1".to_owned() }],
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
    assert!(press(&mut state, &[Key::Enter]).is_empty());
    assert!(shown(&state).contains("Which name does this computer get"), "{}", shown(&state));
    let commands = press(&mut state, &[Key::Enter]);
    let [Command::Begin { attempt: 1, wish: begun }] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(*begun, wish(Operation::Deploy));
    happens(&mut state, 1, Fulfilling::WaitsFor("job 7 waits: 2 machines come first".to_owned()));
    insta::assert_snapshot!("deploy_waits", shown(&state));

    let plan: String = (1..=40).map(|line| format!("line {line} of the plan\n")).collect();
    happens(&mut state, 1, Fulfilling::Planned(plan));
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
    assert!(matches!(commands.as_slice(), [Command::Answer { attempt: 1, yes: true }]), "{commands:?}");
    assert!(matches!(state.screen, Screen::Working(_)));
}

#[test]
fn escape_changes_nothing_wherever_it_is_pressed_before_the_work() {
    for steps in 0..7 {
        let mut state = begun();
        let mut commands = Vec::new();
        for step in 0..steps {
            match step {
                0 => drop(press(&mut state, &[Key::Char('d')])),
                1..=4 => drop(press(&mut state, &[Key::Enter])),
                5 => {
                    happens(&mut state, 1, Fulfilling::Planned("the plan".to_owned()));
                }
                _ => drop(press(&mut state, &[Key::Enter])),
            }
        }
        for _ in 0..8 {
            commands.extend(press(&mut state, &[Key::Escape]));
        }
        assert!(matches!(state.screen, Screen::Start { .. }), "{steps}: {:?}", state.screen);
        assert!(
            !commands
                .iter()
                .any(|command| matches!(command, Command::Begin { .. } | Command::Answer { yes: true, .. }))
        );
    }
}

#[test]
fn work_shows_how_far_it_is_and_is_stopped_only_when_that_was_meant() {
    let mut state = begun();
    state.update(Event::Tick(Duration::from_secs(100)));
    press(&mut state, &[Key::Char('d'), Key::Enter, Key::Enter, Key::Enter, Key::Enter]);
    happens(&mut state, 1, Fulfilling::Planned("x".to_owned()));
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
        happens(&mut state, 1, Fulfilling::Progress(event));
    }
    state.update(Event::Tick(Duration::from_secs(110)));
    insta::assert_snapshot!("working", shown(&state));
    assert!(press(&mut state, &[Key::Escape, Key::Char('y')]).is_empty());
    assert!(press(&mut state, &[Key::Char('c'), Key::Char('n')]).is_empty());
    press(&mut state, &[Key::Char('c')]);
    insta::assert_snapshot!("working_asks", shown(&state));
    assert!(matches!(press(&mut state, &[Key::Char('y')]).as_slice(), [Command::Cancel { attempt: 1 }]));
    let message = "stopped at the machine\nthe target has no table".to_owned();
    happens(&mut state, 1, Fulfilling::Ended { good: false, message });
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
    let [Command::Begin { attempt: 1, wish }] = commands.as_slice() else { panic!("{commands:?}") };
    assert!(wish.new_image && wish.image == "classroom-7" && wish.disks_text() == "/dev/sda");
    happens(&mut state, 1, Fulfilling::Planned("everything is only read".to_owned()));
    insta::assert_snapshot!("capture_plan", shown(&state));
    assert!(matches!(
        press(&mut state, &[Key::Enter]).as_slice(),
        [Command::Answer { attempt: 1, yes: true }]
    ));
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
    insta::assert_snapshot!("register", shown(&state));
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
    press(&mut state, &[Key::Up, Key::Up, Key::Enter]);
    insta::assert_snapshot!("profiles", shown(&state));
    press(&mut state, &[Key::Escape, Key::Escape]);
    assert!(matches!(press(&mut state, &[Key::Char('o')]).as_slice(), [Command::LoadLog]));
    state.update(Event::Log((1..=60).map(|line| format!("remint: line {line}\n")).collect()));
    insta::assert_snapshot!("log", shown(&state));
}

#[test]
fn a_keyboard_layout_is_chosen_where_there_are_some() {
    let mut state = begun();
    press(&mut state, &[Key::Char('y')]);
    press(&mut state, &[Key::Char('d'), Key::Char('e'), Key::Char('-'), Key::Char('l')]);
    insta::assert_snapshot!("keymaps", shown(&state));
    // What begins no name begins another one, and arrows begin anew.
    press(&mut state, &[Key::Char('f'), Key::Up, Key::Up]);
    let commands = press(&mut state, &[Key::Enter]);
    assert!(
        matches!(commands.as_slice(), [Command::LoadKeymap(name)] if name == "de-latin1"),
        "{commands:?}"
    );
    state.update(Event::Keyboard("de-latin1".to_owned()));
    assert!(shown(&state).contains("the keyboard layout is de-latin1"), "{}", shown(&state));
    assert!(matches!(state.screen, Screen::Start { .. }));
    // Elsewhere than in the boot environment the keyboard is nobody's business.
    for state in [
        State::new("x".to_owned(), false, vec!["de".to_owned()]),
        State::new("x".to_owned(), true, Vec::new()),
    ] {
        assert!(!shown(&state).contains("keyboard"), "{}", shown(&state));
    }
}

#[test]
fn what_happens_to_a_wish_that_was_given_up_changes_no_screen() {
    let plan = || Fulfilling::Planned("the plan".to_owned());
    let ended = || Fulfilling::Ended { good: true, message: "done".to_owned() };
    let refuses = |commands: Vec<Command>| {
        assert!(matches!(commands.as_slice(), [Command::Answer { attempt: 1, yes: false }]), "{commands:?}");
    };
    let mut state = begun();
    let to_the_wish = [Key::Char('d'), Key::Enter, Key::Enter, Key::Enter, Key::Enter];
    press(&mut state, &to_the_wish);
    assert!(matches!(press(&mut state, &[Key::Escape]).as_slice(), [Command::Cancel { attempt: 1 }]));
    // Nobody is there to answer its plan, and whoever asks must not wait.
    refuses(happens(&mut state, 1, plan()));
    assert!(matches!(state.screen, Screen::Start { .. }));
    // Another wish waits by now.
    let commands = press(&mut state, &to_the_wish);
    assert!(matches!(commands.as_slice(), [.., Command::Begin { attempt: 2, .. }]), "{commands:?}");
    refuses(happens(&mut state, 1, plan()));
    for what in [ended(), Fulfilling::Failed("x".to_owned()), Fulfilling::WaitsFor("x".to_owned())] {
        assert!(happens(&mut state, 1, what).is_empty());
        assert!(
            matches!(&state.screen, Screen::Waiting { what } if what.contains("asking")),
            "{:?}",
            state.screen
        );
    }
    happens(&mut state, 2, plan());
    assert!(matches!(state.screen, Screen::Plan { .. }));
    press(&mut state, &[Key::Escape]);
    happens(&mut state, 2, ended());
    assert!(matches!(state.screen, Screen::Start { .. }));
}

#[test]
fn a_server_that_is_lost_leaves_nobody_waiting() {
    let lost = || "http://10.0.0.1:8460: connection refused".to_owned();
    let mut state = begun();
    press(&mut state, &[Key::Char('l')]);
    type_text(&mut state, "anna");
    press(&mut state, &[Key::Tab]);
    type_text(&mut state, "hunter22");
    press(&mut state, &[Key::Enter]);
    state.update(Event::Lost(lost()));
    insta::assert_snapshot!("login_without_a_server", shown(&state));
    // A wish goes back to where it was made, and work that lost its server has an end.
    let mut state = begun();
    press(&mut state, &[Key::Char('d'), Key::Enter, Key::Enter, Key::Enter, Key::Enter]);
    state.update(Event::Lost(lost()));
    assert!(matches!(state.screen, Screen::Waiting { .. }), "the wish is told by itself");
    happens(&mut state, 1, Fulfilling::Failed(lost()));
    assert!(matches!(state.screen, Screen::Name { .. }));
    assert!(shown(&state).contains("! http://10.0.0.1:8460: connection refused"), "{}", shown(&state));
    let commands = press(&mut state, &[Key::Enter]);
    assert!(matches!(commands.as_slice(), [Command::Begin { attempt: 2, .. }]), "{commands:?}");
    happens(&mut state, 2, Fulfilling::Planned("x".to_owned()));
    press(&mut state, &[Key::Enter]);
    type_text(&mut state, "/dev/nvme0n1");
    press(&mut state, &[Key::Enter]);
    state.update(Event::Lost(lost()));
    assert!(matches!(state.screen, Screen::Working(_)), "work goes on without a server");
    happens(&mut state, 2, Fulfilling::Failed(lost()));
    assert!(matches!(state.screen, Screen::Result { .. }));
    assert!(matches!(state.server, ServerState::Lost { .. }));
}

#[test]
fn a_disk_that_is_too_small_is_marked_before_it_is_chosen() {
    let mut state = begun();
    press(&mut state, &[Key::Char('d'), Key::Enter, Key::Enter, Key::Down, Key::Down]);
    insta::assert_snapshot!("deploy_too_small", shown(&state));
    // What is only read, and what only a target says, is not marked.
    press(&mut state, &[Key::Escape, Key::Escape, Key::Escape, Key::Char('c'), Key::Down, Key::Enter]);
    assert!(!shown(&state).contains("too small"), "{}", shown(&state));
    for image in &mut state.images {
        image.profiles.iter_mut().for_each(|profile| profile.minimum_disk_bytes.clear());
    }
    press(&mut state, &[Key::Escape, Key::Escape, Key::Char('d'), Key::Enter, Key::Enter]);
    assert!(
        shown(&state).contains("Onto which disk") && !shown(&state).contains("too small"),
        "{}",
        shown(&state)
    );
}

#[test]
fn several_disks_are_chosen_together_and_all_their_names_are_typed() {
    let mut state = begun();
    press(&mut state, &[Key::Char('d'), Key::Enter, Key::Enter, Key::Char(' '), Key::Down, Key::Char(' ')]);
    assert!(shown(&state).contains("! /dev/sda: this system was started from it"), "{}", shown(&state));
    press(&mut state, &[Key::Down, Key::Char(' '), Key::Up, Key::Up]);
    insta::assert_snapshot!("deploy_several_disks", shown(&state));
    // What is marked counts, wherever the selection stands.
    let commands = press(&mut state, &[Key::Down, Key::Enter, Key::Enter]);
    let [.., Command::Begin { wish, .. }] = commands.as_slice() else { panic!("{commands:?}") };
    let chosen: Vec<&str> = wish.disks.iter().map(|disk| disk.stable_name.as_str()).collect();
    assert_eq!(chosen, ["serial:nvme0n1", "serial:sdb"]);
    happens(&mut state, 1, Fulfilling::Planned("both".to_owned()));
    press(&mut state, &[Key::Enter]);
    insta::assert_snapshot!("confirm_several_disks", shown(&state));
    for wrong in ["/dev/nvme0n1", "/dev/sdb /dev/nvme0n1", "/dev/nvme0n1/dev/sdb"] {
        type_text(&mut state, wrong);
        assert!(press(&mut state, &[Key::Enter]).is_empty());
        assert!(matches!(state.screen, Screen::Confirm { .. }), "{wrong}");
    }
    type_text(&mut state, "/dev/nvme0n1  /dev/sdb");
    let commands = press(&mut state, &[Key::Enter]);
    assert!(matches!(commands.as_slice(), [Command::Answer { attempt: 1, yes: true }]), "{commands:?}");
    assert!(shown(&state).contains("Deploying lab onto /dev/nvme0n1 and /dev/sdb"), "{}", shown(&state));
    // Marked twice is not marked; without a mark the selected one is meant.
    let mut state = begun();
    let keys =
        [Key::Char('d'), Key::Enter, Key::Enter, Key::Char(' '), Key::Char(' '), Key::Enter, Key::Enter];
    let commands = press(&mut state, &keys);
    let [.., Command::Begin { wish, .. }] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(wish.disks_text(), "/dev/nvme0n1");
}

#[test]
fn the_name_of_the_computer_is_the_profiles_one_of_a_person_or_the_images() {
    // From the disks to the wish, with what the profile says and what a person does.
    let asked = |template: Option<&str>| {
        let mut state = begun();
        state.inventory = Inventory { serial: Some("VMware-56 4d 12".to_owned()), ..Inventory::default() };
        for image in &mut state.images {
            image.profiles[0].computer_name = template.map(str::to_owned);
        }
        assert!(press(&mut state, &[Key::Char('d'), Key::Enter, Key::Enter, Key::Enter]).len() == 2);
        state
    };
    let wished = |state: &mut State| {
        let commands = press(state, &[Key::Enter]);
        let [Command::Begin { wish, .. }] = commands.as_slice() else { panic!("{commands:?}") };
        wish.computer_name.clone()
    };
    let erase = |state: &mut State| drop(press(state, &[Key::Backspace; 40]));

    let mut state = asked(Some("R5-{serial:4}"));
    insta::assert_snapshot!("deploy_name", shown(&state));
    assert_eq!(wished(&mut state.clone()), None, "what the profile says is the profile's");
    erase(&mut state);
    assert_eq!(wished(&mut state.clone()).as_deref(), Some(""));
    type_text(&mut state, "pc 7");
    assert!(press(&mut state, &[Key::Enter]).is_empty());
    insta::assert_snapshot!("deploy_name_refused", shown(&state));
    erase(&mut state);
    type_text(&mut state, " pc-{serial:2} ");
    assert_eq!(wished(&mut state).as_deref(), Some("pc-12"));

    // A profile that makes no name leaves the image's, and one that cannot says why.
    let mut state = asked(None);
    assert_eq!(wished(&mut state.clone()), None);
    type_text(&mut state, "pc-07");
    assert_eq!(wished(&mut state).as_deref(), Some("pc-07"));
    for template in ["pc-{asset}", "{name}"] {
        let mut state = asked(Some(template));
        assert!(shown(&state).contains("! this machine"), "{}", shown(&state));
        // Enter alone would leave the image's name in silence, where the profile wishes for another.
        assert!(press(&mut state, &[Key::Enter]).is_empty());
        assert!(matches!(state.screen, Screen::Name { .. }));
        assert!(shown(&state).contains("! this machine"), "{}", shown(&state));
        assert!(shown(&state).contains("After Backspace it keeps the name"), "{}", shown(&state));
        let mut erased = state.clone();
        press(&mut erased, &[Key::Backspace]);
        assert!(shown(&erased).contains("With nothing here it keeps the name"), "{}", shown(&erased));
        assert_eq!(wished(&mut erased).as_deref(), Some(""));
        state.name = Some("pc-17".to_owned());
        press(&mut state, &[Key::Escape, Key::Enter]);
        if template == "{name}" {
            assert_eq!(wished(&mut state), None, "the profile makes one now");
        } else {
            assert!(press(&mut state, &[Key::Enter]).is_empty());
        }
    }
}

/// A state for every kind of screen there is.
fn every_screen() -> Vec<State> {
    let with = |keys: &[Key]| {
        let mut state = begun();
        press(&mut state, keys);
        state
    };
    let deploy = [Key::Char('d'), Key::Enter, Key::Enter, Key::Enter, Key::Enter];
    let (name, waiting) = (with(&deploy[..4]), with(&deploy));
    let mut plan = waiting.clone();
    happens(&mut plan, 1, Fulfilling::Planned((1..100).map(|line| format!("line {line}\n")).collect()));
    let mut confirm = plan.clone();
    press(&mut confirm, &[Key::Enter]);
    let mut working = confirm.clone();
    type_text(&mut working, "/dev/nvme0n1");
    press(&mut working, &[Key::Enter]);
    let message = "a sentence that is long and goes on and on ".repeat(9);
    let warning = progress::Event::Warning { subject: "d0-p1".to_owned(), message: message.clone() };
    happens(&mut working, 1, Fulfilling::Progress(warning));
    let mut result = working.clone();
    happens(&mut result, 1, Fulfilling::Ended { good: false, message });
    let mut log = begun();
    log.update(Event::Log("a line of the log\n".repeat(90)));
    let states = vec![
        begun(),
        with(&[Key::Char('i')]),
        with(&[Key::Char('i'), Key::Enter]),
        with(&[Key::Char('k')]),
        with(&[Key::Char('y')]),
        with(&[Key::Char('l')]),
        name,
        waiting,
        plan,
        confirm,
        working,
        result,
        log,
    ];
    let kinds: Vec<_> = states.iter().map(|state| std::mem::discriminant(&state.screen)).collect();
    assert!((1..kinds.len()).all(|n| !kinds[..n].contains(&kinds[n])), "each kind once");
    states
}

#[test]
fn every_screen_has_its_keys_on_80_by_25_and_no_size_of_a_terminal_panics() {
    let sizes = [(1, 1), (20, 5), (59, 25), (80, 15), (60, 16), (80, 24), (132, 50), (300, 100)];
    for mut state in every_screen() {
        let text = shown(&state);
        let keys = text.lines().last().unwrap();
        assert!(["Esc", "Enter", "c stops"].iter().any(|key| keys.contains(key)), "{text}");
        state.update(Event::Lost("http://10.0.0.1:8460: connection refused".to_owned()));
        for (width, height) in sizes {
            let text = screen_of(&state, width, height);
            assert!(width < 20 || text.contains("Remint"), "{width}x{height}: {text}");
            assert!((width, height) < (60, 16) || height < 16 || text.contains("no server"), "{text}");
        }
    }
}
