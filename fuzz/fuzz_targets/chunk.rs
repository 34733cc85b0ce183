//! No frame makes the decoders panic, grow beyond what is expected, or let wrong content pass.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::{ChunkId, Decoder, check_frame};

fuzz_target!(|input: (u16, &[u8])| {
    let (expected, frame) = input;
    let id = ChunkId::of(b"content that no input has");
    let mut out = Vec::new();
    let decoded = Decoder::new().unwrap().decode(id, frame, expected.into(), &mut out);
    assert!(decoded.is_err() && out.is_empty());
    assert!(check_frame(id, frame).is_err());
});
