//! Drivers for what is there, and for what comes later.

use super::{say, say_step};
use crate::agent;
use crate::linux;
use crate::linux::drivers::{self, DeviceEvents};
use crate::schema::Destination;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is used without a device of its own that would ask for it.
const WITHOUT_DEVICE: [&str; 4] = ["loop", "fuse", "dm_mod", "md_mod"];
/// Devices are all there when none was announced for so long.
const QUIET: Duration = Duration::from_millis(300);
/// How long devices may keep being announced before the work begins all the same.
const LONGEST_SETTLING: Duration = Duration::from_secs(20);
/// How long a disk is waited for that a job needs.
const DISK_WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// Loads the drivers of all devices, and goes on doing so for devices that come later, until the process ends.
pub(super) fn load() {
    let events = DeviceEvents::listen();
    // Listening first: what comes while the drivers load is not missed.
    let mut known = BTreeSet::new();
    load_new(drivers::device_names(), &mut known);
    if let Err(error) = drivers::load(&WITHOUT_DEVICE) {
        say(&format!("warning: {error}"));
    }
    let events = match events {
        Ok(events) => events,
        Err(error) => {
            say(&format!("warning: devices that are plugged in later get no driver: {error}"));
            return;
        }
    };
    let busy = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&busy);
    std::thread::spawn(move || follow(&events, known, |busy| seen.store(busy, Ordering::Relaxed)));
    wait(LONGEST_SETTLING, || !busy.load(Ordering::Relaxed) && !drivers::usb_disks_are_starting());
    say_step(&format!("drivers loaded, {}", disks_in_words(disk_count())));
}

/// Loads the drivers of devices that come, until the process is ended. What came while nobody listened gets its
/// drivers first.
pub(super) fn watch() -> u8 {
    // Nobody reads what this process says.
    let Ok(events) = DeviceEvents::listen() else { return 1 };
    let mut known = BTreeSet::new();
    load_new(drivers::device_names(), &mut known);
    follow(&events, known, |_| {})
}

/// Goes on for ever. `busy` hears whether devices are being announced.
fn follow(events: &DeviceEvents, mut known: BTreeSet<String>, busy: impl Fn(bool)) -> ! {
    loop {
        let first = events.next(QUIET);
        busy(first.is_some());
        let Some(first) = first else { continue };
        let mut names = BTreeSet::new();
        // An announcement that was lost gives no name: everything is looked at again.
        let mut lost = first.action.is_empty();
        names.extend(first.modalias);
        while let Some(event) = events.next(Duration::ZERO) {
            lost |= event.action.is_empty();
            names.extend(event.modalias);
        }
        if lost {
            names.extend(drivers::device_names());
        }
        load_new(names, &mut known);
    }
}

fn load_new(names: BTreeSet<String>, known: &mut BTreeSet<String>) {
    let new: Vec<String> = names.into_iter().filter(|name| known.insert(name.clone())).collect();
    let names: Vec<&str> = new.iter().map(String::as_str).collect();
    if let Err(error) = drivers::load(&names) {
        say(&format!("warning: loading drivers: {error}"));
    }
}

/// Waits for the disks that a job names, or for any where it needs one and names none.
pub(super) fn wait_for_disks(named: &[Destination], any: bool) {
    for device in named {
        if !agent::is_there(device) {
            say_step(&format!("waiting for {device}"));
            if !wait(DISK_WAIT, || agent::is_there(device)) {
                say(&format!("warning: {device} did not appear within {} seconds", DISK_WAIT.as_secs()));
            }
        }
    }
    if any && named.is_empty() && disk_count() == 0 {
        say_step("waiting for a disk");
        wait(DISK_WAIT, || disk_count() > 0);
    }
}

/// Disks that an image could be captured from or deployed to.
fn disk_count() -> usize {
    linux::disks().map_or(0, |disks| disks.len())
}

fn disks_in_words(count: usize) -> String {
    match count {
        0 => "no disk".to_owned(),
        1 => "1 disk".to_owned(),
        more => format!("{more} disks"),
    }
}

fn wait(limit: Duration, done: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while !done() {
        if begin.elapsed() >= limit {
            return false;
        }
        sleep(PAUSE);
    }
    true
}
