//! Whatever is read of a group is written the same again, and lies in its frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::protocol::SessionId;
use remint::protocol::datagram::{Datagram, FRAGMENT_BYTES, Fragment, MAX_DATAGRAM, Status};
use remint_fuzz::{Seed, Seeds};
use std::sync::LazyLock;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    let seed = |datagram: Datagram<'_>| {
        let mut bytes = Vec::new();
        datagram.write(&mut bytes);
        Seed::of_fields(bytes, 1)
    };
    let piece = |frame_bytes: u32, number: u16, bytes: &[u8]| {
        let (session, chunk) = (SessionId(7), [5; 32]);
        let fragment = Fragment { session, position: 3, volume: 1, offset: 1 << 20, chunk, frame_bytes, number, bytes };
        seed(Datagram::Fragment(fragment))
    };
    let status = Status { session: SessionId(7), position: 3, total: 9, sending: true, image: "lab@1" };
    Seeds::of(vec![
        piece(5, 0, &[1; 5]),
        piece(1_000_000, 2, &[1; FRAGMENT_BYTES]),
        piece(2801, 2, &[1]),
        seed(Datagram::Status(status)),
    ])
});

fuzz_target!(|input: &[u8]| {
    if let Some((file, options)) = SEEDS.volume(input) {
        let bytes = if options & 1 == 1 { file.to_vec(1 << 20) } else { input[2..].to_vec() };
        let Some(read) = Datagram::read(&bytes) else { return };
        let mut again = Vec::new();
        read.write(&mut again);
        assert!(again == bytes && bytes.len() <= MAX_DATAGRAM);
        if let Datagram::Fragment(fragment) = read {
            let end = usize::from(fragment.number) * FRAGMENT_BYTES + fragment.bytes.len();
            assert!(!fragment.bytes.is_empty() && end <= fragment.frame_bytes as usize);
        }
    }
});
