use super::*;
use crate::image::Place;
use crate::protocol::SessionId;
use crate::protocol::datagram::fragment_of;

const FRAME: usize = 4000;
const LENGTH: u32 = 8192;

fn id(position: u32) -> ChunkId {
    ChunkId([u8::try_from(position).unwrap(); 32])
}

fn frame(position: u32) -> Vec<u8> {
    vec![u8::try_from(position).unwrap(); FRAME]
}

fn receiving(total: u32, listened: &[u32], window: u64) -> Receiving {
    let place =
        |position| Place { id: id(position), volume: 3, offset: u64::from(position) * 10, length: LENGTH };
    Receiving::new(Sequence::new((0..total).map(place).collect()), listened, window)
}

fn piece(position: u32, number: u16, frame: &[u8]) -> Fragment<'_> {
    Fragment {
        session: SessionId(1),
        position,
        volume: 3,
        offset: u64::from(position) * 10,
        chunk: id(position).0,
        frame_bytes: u32::try_from(frame.len()).unwrap(),
        number,
        bytes: fragment_of(frame, number).unwrap(),
    }
}

fn send(receiving: &mut Receiving, position: u32, numbers: &[u16]) {
    for number in numbers {
        receiving.take(&piece(position, *number, &frame(position)));
    }
}

#[test]
fn a_frame_is_whole_when_its_last_piece_is_there_in_whatever_order_and_however_often() {
    let mut receiving = receiving(3, &[0, 1, 2], 1 << 20);
    let now = Instant::now();
    send(&mut receiving, 0, &[2, 0, 0, 2]);
    assert_eq!(receiving.ask(id(0), now), Asked::Wait);
    send(&mut receiving, 0, &[1]);
    assert_eq!(receiving.ask(id(0), now), Asked::Frame(frame(0)));
    assert_eq!((receiving.position(), receiving.held_bytes), (1, 0));
    assert_eq!(receiving.ask(id(0), now), Asked::Fetch, "it was taken");
    send(&mut receiving, 0, &[0, 1, 2]);
    assert_eq!(receiving.held_bytes, 0, "nobody wants it again");
    assert_eq!(receiving.ask(ChunkId([77; 32]), now), Asked::Fetch, "it is in no stream");
}

#[test]
fn a_forged_piece_is_dropped_and_takes_no_memory() {
    let mut receiving = receiving(5, &[0, 1, 2], 1 << 20);
    let good = frame(1);
    for forged in [
        Fragment { chunk: [9; 32], ..piece(1, 0, &good) },
        Fragment { volume: 4, ..piece(1, 0, &good) },
        Fragment { offset: 11, ..piece(1, 0, &good) },
        Fragment { position: 2, ..piece(1, 0, &good) },
        Fragment { position: u32::MAX, ..piece(1, 0, &good) },
        Fragment { frame_bytes: 80_000_000, ..piece(1, 0, &good) },
    ] {
        assert_eq!(receiving.take(&forged), 0, "{forged:?}");
    }
    assert_eq!((receiving.held_bytes, receiving.partial.len(), receiving.passed), (0, 0, 0));
    assert_eq!(receiving.take(&piece(4, 0, &frame(4))), 0, "this machine does not need it");
    // A piece of a frame of another length, behind one that counted.
    assert_eq!(receiving.take(&piece(1, 0, &good)), 1400);
    assert_eq!(receiving.take(&piece(1, 1, &vec![1; 2900])), 0);
}

#[test]
fn what_arrives_takes_no_more_than_the_window_and_the_first_one_has_room() {
    let mut receiving = receiving(100, &(0..100).collect::<Vec<u32>>(), 10_000);
    for position in 1..100 {
        send(&mut receiving, position, &[0, 1, 2]);
    }
    assert_eq!((receiving.held_bytes, receiving.partial.len()), (8000, 2));
    send(&mut receiving, 0, &[0, 1, 2]);
    assert_eq!(receiving.held_bytes, 12_000, "without it nothing goes on");
    send(&mut receiving, 3, &[0]);
    assert_eq!(receiving.held_bytes, 12_000);
    let now = Instant::now();
    for position in 0..3 {
        assert_eq!(receiving.ask(id(position), now), Asked::Frame(frame(position)));
    }
    assert_eq!((receiving.held_bytes, receiving.position()), (0, 3));
}

#[test]
fn what_is_missing_is_asked_for_and_given_up_after_a_while() {
    let mut receiving = receiving(10, &(0..10).collect::<Vec<u32>>(), 1 << 20);
    let begin = Instant::now();
    send(&mut receiving, 0, &[0, 1, 2]);
    send(&mut receiving, 1, &[1]);
    assert_eq!(receiving.gaps(begin), [], "the one that is being sent misses nothing yet");
    send(&mut receiving, 3, &[0]);
    let expected = [
        Gap { position: 1, first: 0, count: 1 },
        Gap { position: 1, first: 2, count: 1 },
        Gap { position: 2, first: 0, count: u16::MAX },
    ];
    assert_eq!(receiving.gaps(begin), expected);
    assert_eq!(receiving.gaps(begin + ASK_AGAIN / 2), [], "it is on its way");
    send(&mut receiving, 1, &[0]);
    assert_eq!(receiving.gaps(begin + ASK_AGAIN), expected[1..]);
    send(&mut receiving, 1, &[2]);
    assert_eq!(receiving.ask(id(1), begin + GIVE_UP), Asked::Frame(frame(1)));
    assert_eq!(receiving.ask(id(2), begin + GIVE_UP / 2), Asked::Wait);
    assert_eq!(receiving.ask(id(2), begin + GIVE_UP), Asked::Fetch);
    assert_eq!(receiving.ask(id(3), begin + GIVE_UP), Asked::Wait, "it is being sent");
    // At the end the sender says that there is no more.
    receiving.sender_at(10);
    let gaps = receiving.gaps(begin + GIVE_UP);
    assert_eq!((gaps[0], gaps.len()), (Gap { position: 3, first: 1, count: 2 }, 7));
    receiving.sender_at(u32::MAX);
    assert_eq!(receiving.passed, 10);
}

#[test]
fn what_is_not_listened_for_does_not_hold_up_the_sender() {
    let mut some = receiving(10, &[2, 3, 7], 1 << 20);
    assert_eq!(some.position(), 2);
    assert_eq!(some.wanted(), [Positions { first: 2, end: 4 }, Positions { first: 7, end: 8 }]);
    let now = Instant::now();
    for position in [2, 3] {
        send(&mut some, position, &[0, 1, 2]);
        assert_eq!(some.ask(id(position), now), Asked::Frame(frame(position)));
    }
    assert_eq!(some.position(), 7);
    send(&mut some, 7, &[0, 1, 2]);
    assert_eq!(some.ask(id(7), now), Asked::Frame(frame(7)));
    assert!(some.is_done());
    let none = receiving(10, &[], 1 << 20);
    assert!(none.is_done() && none.wanted().is_empty());
}

#[test]
fn very_many_ranges_and_gaps_fit_one_report() {
    let place = |position: u32| {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&position.to_be_bytes());
        Place { id: ChunkId(name), volume: 0, offset: 0, length: LENGTH }
    };
    // Every second position, and now and then a longer gap.
    let listened: Vec<u32> = (0..20_000).filter(|p| p % 2 == 0 && p % 1000 < 900).collect();
    let sequence = Sequence::new((0..20_000).map(place).collect());
    let mut receiving = Receiving::new(sequence, &listened, 1 << 20);
    let ranges = receiving.wanted();
    assert!((2..=MAX_RUNS).contains(&ranges.len()), "{}", ranges.len());
    assert!(listened.iter().all(|p| ranges.iter().any(|range| range.first <= *p && *p < range.end)));
    assert!(ranges.is_sorted_by(|a, b| a.end < b.first));
    receiving.sender_at(20_000);
    let begin = Instant::now();
    let gaps = receiving.gaps(begin);
    assert!(gaps.len() <= MAX_RUNS);
    let more = receiving.gaps(begin);
    assert!(
        !more.is_empty() && more[0].position > gaps[gaps.len() - 1].position,
        "the next report has the next ones"
    );
}
