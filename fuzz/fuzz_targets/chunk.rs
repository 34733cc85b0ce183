//! No frame makes the decoders panic, grow beyond what is expected, or let wrong content pass.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::image::{ChunkId, Decoder, Encoder, check_frame};
use remint::schema::Compression;
use remint_fuzz::{Seed, Seeds};
use std::sync::LazyLock;

/// Contents and their frames.
static FRAMES: LazyLock<(Vec<Vec<u8>>, Seeds)> = LazyLock::new(|| {
    let mut contents = Vec::new();
    let mut frames = Vec::new();
    for length in [1usize, 100, 5000, 300_000] {
        for period in [1, 7, 251] {
            for compression in
                [Compression::None, Compression::Fast, Compression::Level(3), Compression::Level(19)]
            {
                let content: Vec<u8> = (0..length).map(|at| (at % period * at / 1000) as u8).collect();
                let mut frame = Vec::new();
                Encoder::new(compression).unwrap().encode(&content, &mut frame).unwrap();
                contents.push(content);
                frames.push(Seed::of_fields(frame, 4));
            }
        }
    }
    (contents, Seeds::of(frames))
});

fuzz_target!(|input: &[u8]| {
    let (contents, seeds) = &*FRAMES;
    let Some((frame, expected)) = seeds.volume(input) else { return };
    let content = &contents[usize::from(input[0]) % contents.len()];
    let frame = if expected & 1 == 1 { frame.to_vec(1 << 20) } else { input[2..].to_vec() };
    let id = ChunkId::of(content);
    let mut out = Vec::new();
    let mut decoder = Decoder::new().unwrap();
    match decoder.decode(id, &frame, content.len() as u64, &mut out) {
        Ok(()) => assert!(out == *content),
        Err(_) => assert!(out.is_empty()),
    }
    // A stream may take a frame that does not say its length; what passes is the content all the same.
    assert!(check_frame(id, &*frame).is_err() || check_frame(id, &*frame).unwrap() == content.len() as u64);
    let longer = u64::from(expected) << 8;
    assert!(decoder.decode(ChunkId::of(b"content that no input has"), &frame, longer, &mut out).is_err());
    assert!(out.is_empty() && out.capacity() <= 1 << 20);
});
