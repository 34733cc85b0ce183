use super::*;
use crate::image::{ChunkId, Place};
use crate::protocol::{Gap, SessionId};

const CHUNK: u32 = 1 << 20;
const WINDOW: u64 = 4 << 20;

fn second(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn tick() -> Duration {
    Duration::from_millis(100)
}

fn report(position: u32) -> MulticastReport {
    MulticastReport {
        session: SessionId(1),
        total: 40,
        position,
        window_bytes: WINDOW,
        wanted: None,
        missing: Vec::new(),
        leaving: false,
    }
}

fn joining(wanted: &[(u32, u32)]) -> MulticastReport {
    let ranges = wanted.iter().map(|(first, end)| Positions { first: *first, end: *end });
    MulticastReport { wanted: Some(ranges.collect()), ..report(wanted[0].0) }
}

/// A session of an image of 40 chunks, with its machines.
struct Lab {
    state: State,
    now: Instant,
}

impl Lab {
    fn new(machines: u32, wait: Duration) -> Self {
        let now = Instant::now();
        let mut state = State::new(Patience { machines, wait }, now);
        let place =
            |id: u8| Place { id: ChunkId([id; 32]), volume: 0, offset: u64::from(id) << 20, length: CHUNK };
        state.know(Arc::new(Sequence::new((0..40).map(place).collect())));
        Self { state, now }
    }

    /// With so many machines that want everything.
    fn sending(machines: i64) -> Self {
        let mut lab = Self::new(u32::try_from(machines).unwrap(), second(60));
        (0..machines).for_each(|job| assert!(lab.join(job, &[(0, 40)]).member));
        assert_eq!((lab.step(), lab.state.phase()), (Step::Wait, Phase::Sending));
        lab
    }

    fn join(&mut self, job: i64, wanted: &[(u32, u32)]) -> MulticastAnswer {
        self.state.report(job, &format!("pc-{job}"), &joining(wanted), self.now)
    }

    fn say(&mut self, job: i64, position: u32) -> MulticastAnswer {
        self.state.report(job, &format!("pc-{job}"), &report(position), self.now)
    }

    fn leave(&mut self, job: i64, position: u32) -> MulticastAnswer {
        let said = MulticastReport { leaving: true, ..report(position) };
        self.state.report(job, &format!("pc-{job}"), &said, self.now)
    }

    fn step(&mut self) -> Step {
        self.state.step(self.now)
    }

    /// Sends as far as it goes; the positions.
    fn send(&mut self) -> Vec<u32> {
        let mut sent = Vec::new();
        while let Step::Send(position) = self.step() {
            self.state.sent(position, CHUNK.into(), 749);
            sent.push(position);
        }
        sent
    }

    fn left(&self) -> Vec<&str> {
        self.state.summary().1
    }
}

#[test]
fn a_session_begins_when_enough_are_ready_or_the_time_is_up() {
    let mut lab = Lab::new(2, second(60));
    lab.now += second(500);
    assert_eq!((lab.step(), lab.state.phase()), (Step::Wait, Phase::Gathering), "nobody is ready");
    lab.join(1, &[(0, 40)]);
    assert_eq!((lab.step(), lab.state.phase()), (Step::Wait, Phase::Gathering));
    lab.join(2, &[(0, 40)]);
    assert_eq!((lab.step(), lab.state.phase()), (Step::Wait, Phase::Sending));
    assert_eq!(lab.join(3, &[(0, 40)]).message.unwrap(), "the session has begun without this machine");

    let mut lab = Lab::new(30, second(60));
    lab.join(1, &[(0, 40)]);
    for _ in 0..12 {
        assert_eq!(lab.state.phase(), Phase::Gathering);
        lab.now += second(5);
        lab.say(1, 0);
        lab.step();
    }
    assert_eq!(lab.state.phase(), Phase::Sending, "after 60 seconds with one");
}

#[test]
fn a_machine_that_dies_while_others_are_waited_for_is_not_waited_for() {
    let mut lab = Lab::new(2, second(60));
    lab.join(1, &[(0, 40)]);
    lab.now += second(11);
    lab.step();
    lab.join(2, &[(0, 40)]);
    lab.step();
    assert_eq!(lab.state.phase(), Phase::Gathering, "the first one has gone");
    assert_eq!(lab.left(), ["pc-1 was not heard for 10 seconds"]);
    assert!(!lab.say(1, 0).member);
}

#[test]
fn the_sender_is_no_further_ahead_than_the_slowest_can_hold() {
    let mut lab = Lab::sending(2);
    assert_eq!(lab.send(), [0, 1, 2, 3], "4 MiB");
    lab.say(0, 4);
    assert_eq!(lab.send(), [0; 0]);
    lab.say(1, 1);
    assert_eq!(lab.send(), [4]);
    lab.say(1, 4);
    assert_eq!(lab.send(), [5, 6, 7]);
}

#[test]
fn what_nobody_needs_is_not_sent_and_a_chunk_larger_than_the_window_is() {
    let mut lab = Lab::new(2, second(60));
    lab.join(1, &[(2, 4), (30, 31)]);
    lab.join(2, &[(3, 5)]);
    lab.step();
    assert_eq!(lab.send(), [2, 3, 4, 30]);
    assert_eq!(lab.state.next(), 40, "nothing behind it is needed");

    let mut lab = Lab::sending(1);
    let small = |position| MulticastReport { window_bytes: 1000, ..report(position) };
    lab.state.report(0, "pc-0", &small(0), lab.now);
    assert_eq!(lab.send(), [0]);
    lab.state.report(0, "pc-0", &small(1), lab.now);
    assert_eq!(lab.send(), [1]);
}

#[test]
fn a_dead_machine_stops_the_others_for_seconds() {
    let mut lab = Lab::sending(3);
    let begun = lab.now;
    let mut sent = 0;
    while sent < 40 && lab.now - begun < second(60) {
        sent += u32::try_from(lab.send().len()).unwrap();
        (0..2).for_each(|job| assert!(lab.say(job, sent).member));
        lab.now += tick();
    }
    assert_eq!(sent, 40);
    assert!(lab.now - begun < second(12), "{:?}", lab.now - begun);
    assert_eq!(lab.left(), ["pc-2 was not heard for 10 seconds"]);
}

#[test]
fn a_machine_that_is_alive_and_stands_still_is_left_behind() {
    for others in [0, 2] {
        let mut lab = Lab::sending(others + 1);
        let begun = lab.now;
        while lab.left().is_empty() && lab.now - begun < second(60) {
            lab.send();
            lab.say(0, 0);
            (1..=others).for_each(|job| drop(lab.say(job, lab.state.next())));
            lab.now += tick();
        }
        // The others have waited long enough earlier than the one alone has stood still.
        let (at_most, why) = if others == 0 { (21, "did not move") } else { (16, "kept the others waiting") };
        assert!(lab.now - begun < second(at_most), "{:?}", lab.now - begun);
        assert!(lab.left()[0].contains(why) && lab.left().len() == 1, "{:?}", lab.left());
        assert!(lab.say(0, 0).message.unwrap().ends_with("it goes on by itself"));
    }
}

#[test]
fn machines_that_are_all_as_slow_stay_together() {
    let mut lab = Lab::sending(3);
    let mut position = 0;
    while position < 40 {
        lab.send();
        // One chunk in five seconds.
        for _ in 0..50 {
            (0..3).for_each(|job| assert!(lab.say(job, position).member));
            lab.step();
            lab.now += tick();
        }
        position += 1;
    }
    assert_eq!(lab.left(), [""; 0]);
}

#[test]
fn a_slow_machine_may_take_half_of_the_time_and_not_more() {
    for (slower, stays) in [(2, true), (20, false)] {
        let mut lab = Lab::new(3, second(60));
        (0..3).for_each(|job| drop(lab.join(job, &[(0, 40)])));
        lab.step();
        let (mut ticks, mut slow, mut free_at) = (0u32, 0, 0);
        while lab.state.next() < 40 && ticks < 3000 {
            // The network takes a second for a chunk.
            if ticks >= free_at
                && let Step::Send(position) = lab.step()
            {
                lab.state.sent(position, CHUNK.into(), 749);
                free_at = ticks + 10;
            }
            slow = (ticks / (8 * slower)).min(lab.state.next()).max(slow);
            (1..3).for_each(|job| drop(lab.say(job, lab.state.next())));
            lab.say(0, slow);
            ticks += 1;
            lab.now += tick();
        }
        assert_eq!((lab.left().is_empty(), lab.state.next()), (stays, 40), "{slower}: {:?}", lab.left());
    }
}

#[test]
fn what_several_miss_is_sent_again_before_anything_new() {
    let mut lab = Lab::sending(2);
    lab.state.sent(0, CHUNK.into(), 749);
    for (job, first) in [(0, 10), (1, 12)] {
        let gap = Gap { position: 0, first, count: 4 };
        // What was not sent yet cannot be missing.
        let early = Gap { position: 39, first: 0, count: 1 };
        let said = MulticastReport { missing: vec![gap, early], ..report(0) };
        lab.state.report(job, "pc", &said, lab.now);
    }
    lab.now += second(1);
    assert_eq!(lab.step(), Step::Again(0, vec![(10, 6)]));
    assert_eq!(lab.step(), Step::Send(1));
}

/// Half a second in which each of these members loses so many of 749 pieces; what the losses ask for.
fn lose(lab: &mut Lab, losing: &[i64], count: u16, slowest: bool) -> Pressure {
    let position = lab.state.next();
    lab.state.sent(position, CHUNK.into(), 749);
    for job in lab.state.members.keys().copied().collect::<Vec<_>>() {
        let gap = Gap { position, first: 0, count };
        let missing = if losing.contains(&job) { vec![gap] } else { vec![] };
        let said = MulticastReport { missing, ..report(lab.state.next()) };
        lab.state.report(job, &format!("pc-{job}"), &said, lab.now);
    }
    lab.now += losses::COUNTED;
    let pressure = lab.state.pressure(slowest, lab.now).unwrap();
    lab.step();
    pressure
}

#[test]
fn the_pace_falls_where_most_lose_and_bad_cables_are_left_behind() {
    let mut lab = Lab::sending(5);
    assert_eq!(lose(&mut lab, &[], 400, false), Pressure::Low);
    for _ in 0..LOSSY_COUNTS {
        assert_eq!(lose(&mut lab, &[0, 1, 2], 400, false), Pressure::High);
    }
    assert_eq!(lab.left(), [""; 0], "the pace may be it");
    for _ in 0..LOSSY_COUNTS {
        assert_eq!(lab.left(), [""; 0]);
        assert_eq!(lose(&mut lab, &[3, 4], 400, false), Pressure::Fair);
    }
    assert_eq!(lab.left(), ["pc-3", "pc-4"].map(|name| format!("{name} loses too much of what is sent")));
}

#[test]
fn at_the_slowest_pace_who_loses_is_left_behind_however_many_they_are() {
    let mut lab = Lab::sending(4);
    for _ in 0..LOSSY_COUNTS {
        assert_eq!(lab.left(), [""; 0]);
        assert_eq!(lose(&mut lab, &[0, 1, 2], 75, true), Pressure::High);
    }
    assert_eq!(lab.left().len(), 3, "{:?}", lab.left());
    assert_eq!(lose(&mut lab, &[], 0, true), Pressure::Low, "the last one goes on, and faster");
    // One that loses now and then stays.
    let mut lab = Lab::sending(1);
    for _ in 0..15 {
        lose(&mut lab, &[0], 75, true);
        lose(&mut lab, &[], 0, true);
    }
    assert_eq!(lab.left(), [""; 0]);
}

#[test]
fn a_lost_chunk_counts_for_what_was_sent_of_it() {
    let mut lab = Lab::sending(1);
    // A tenth of what it holds, as text is: 75 pieces.
    (0..30).for_each(|position| lab.state.sent(position, u64::from(CHUNK / 10), 75));
    let missing = vec![Gap { position: 7, first: 0, count: u16::MAX }];
    lab.state.report(0, "pc-0", &MulticastReport { missing, ..report(30) }, lab.now);
    assert_eq!(lab.state.members[&0].lost, 75);
    lab.now += losses::COUNTED;
    assert_eq!(lab.state.pressure(false, lab.now), Some(Pressure::Low), "one of thirty");
}

#[test]
fn a_session_ends_when_nobody_listens_any_more() {
    let mut lab = Lab::sending(2);
    lab.send();
    for job in 0..2 {
        lab.state.report(job, "pc", &MulticastReport { leaving: true, ..report(40) }, lab.now);
    }
    assert_eq!((lab.step(), lab.state.phase()), (Step::End, Phase::Over));
    assert!(!lab.say(0, 40).member);
}

#[test]
fn what_a_machine_says_is_not_believed_when_it_cannot_be() {
    let mut lab = Lab::new(9, second(60));
    for wrong in [vec![(0, 0)], vec![(5, 6), (3, 4)], vec![(5, 9), (8, 12)]] {
        assert!(!lab.join(1, &wrong).member, "{wrong:?}");
    }
    let many: Vec<(u32, u32)> = (0..2000).map(|number| (2 * number, 2 * number + 1)).collect();
    assert!(!lab.join(1, &many).member);
    let other = MulticastReport { total: 41, ..joining(&[(0, 40)]) };
    let answer = lab.state.report(2, "pc-2", &other, lab.now);
    assert!(answer.message.unwrap().contains("counts 41 chunks where there are 40"));
    assert!(!lab.say(3, 0).member, "it never said what it wants");
}

#[test]
fn who_leaves_before_a_session_begins_is_no_part_of_it() {
    let longest = second(1800);
    let mut lab = Lab::new(2, second(60));
    lab.state.offer(1, lab.now);
    lab.join(1, &[(0, 40)]);
    lab.now += second(1000);
    assert!(!lab.leave(1, 0).member);
    assert_eq!(lab.state.summary().0, 0);
    assert!(!lab.state.holds(1, lab.now) && !lab.state.is_heard());
    lab.now += second(1000);
    assert_eq!((lab.step(), lab.state.phase()), (Step::Wait, Phase::Gathering));
    assert!(!lab.state.is_stale(lab.now, longest), "it was left a moment ago");
    lab.now += second(800);
    assert!(lab.state.is_stale(lab.now, longest));
    // Until then others may come, and the first of them starts the clock.
    lab.join(2, &[(0, 40)]);
    assert_eq!((lab.step(), lab.state.phase()), (Step::Wait, Phase::Gathering));
    lab.join(3, &[(0, 40)]);
    assert_eq!((lab.step(), lab.state.phase()), (Step::Wait, Phase::Sending));
}

#[test]
fn whoever_goes_on_over_http_takes_its_own_place() {
    let mut lab = Lab::new(4, second(60));
    (0..6).for_each(|job| lab.state.offer(job, lab.now));
    let held = |lab: &Lab| (0..6).filter(|job| lab.state.holds(*job, lab.now)).collect::<Vec<i64>>();
    assert!(!lab.join(5, &[(3, 3)]).member, "what it wants is nonsense");
    assert_eq!(held(&lab), [0, 1, 2, 3, 4]);
    (0..4).for_each(|job| drop(lab.join(job, &[(0, 40)])));
    lab.step();
    assert_eq!(held(&lab), [0, 1, 2, 3], "it begins without the fifth");
    assert!(!lab.join(4, &[(0, 40)]).member);
    lab.leave(0, 5);
    lab.leave(1, 40);
    assert_eq!(held(&lab), [1, 2, 3], "who has all may still write");
    lab.state.end();
    assert_eq!(held(&lab), [1], "the others did not get all");
}

#[test]
fn a_session_has_room_for_as_many_as_are_ready_or_may_be_soon() {
    let mut lab = Lab::new(2, second(60));
    lab.state.offer(1, lab.now);
    assert!(!lab.state.is_full(lab.now));
    lab.state.offer(2, lab.now);
    assert!(lab.state.is_full(lab.now));
    lab.leave(1, 0);
    assert!(!lab.state.is_full(lab.now));
    lab.state.offer(3, lab.now);
    lab.now += seats::READY_WITHIN;
    assert!(!lab.state.is_full(lab.now) && !lab.state.holds(2, lab.now), "nobody knows what they do");
    assert!(lab.join(2, &[(0, 40)]).member, "it is welcome all the same");
    assert!(lab.state.holds(2, lab.now));
}
