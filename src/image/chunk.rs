//! A chunk: one zstd frame (RFC 8878), named by the SHA-256 of its content.
//!
//! Invariants: a frame that is encoded here says its content's size; content that is decoded here has exactly
//! the expected length and hash, or nobody sees it. Nothing is allocated by what a frame claims.

use super::{ChunkId, MAX_CHUNK_BYTES};
use crate::schema::Compression;
use crate::units::{Hex, u64_from, usize_from};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::str::FromStr;
use zstd::zstd_safe;

/// The zstd level of [`Compression::Fast`].
const FAST_LEVEL: i32 = -5;
/// The largest block of a frame (RFC 8878, 3.1.1.2.4).
pub(super) const BLOCK_BYTES: usize = 128 << 10;

/// Why a frame is not the chunk it should be.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The frame cannot be decoded to the expected content.
    #[error("chunk {id}: {fact}")]
    Corrupt {
        /// The chunk.
        id: ChunkId,
        /// The contradiction.
        fact: String,
    },
    /// zstd itself failed, for want of memory.
    #[error("chunk {id}: {fact}")]
    Io {
        /// The chunk.
        id: ChunkId,
        /// What zstd says.
        fact: String,
    },
}

/// Text that is not a chunk's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a chunk; its name is 64 digits of 0-9 and a-f")]
pub struct ParseChunkIdError(String);

impl ChunkId {
    /// The name of a content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
}

impl FromStr for ChunkId {
    type Err = ParseChunkIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseChunkIdError(text.chars().take(80).collect());
        if text.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error());
        }
        let Hex(bytes) = text.parse().map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

/// Makes frames; keeps its memory from one to the next.
pub struct Encoder {
    /// `None` where content is only stored.
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Encoder {
    /// An encoder of one compression.
    pub fn new(compression: Compression) -> io::Result<Self> {
        let level = match compression {
            Compression::None => return Ok(Self { compressor: None }),
            Compression::Fast => FAST_LEVEL,
            Compression::Level(level) => level.clamp(1, 19).into(),
        };
        Ok(Self { compressor: Some(zstd::bulk::Compressor::new(level)?) })
    }

    /// Replaces `out` by the frame of `content`, which has at most [`MAX_CHUNK_BYTES`].
    pub fn encode(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if u64_from(content.len()) > MAX_CHUNK_BYTES {
            return Err(io::Error::other("content of a chunk beyond 128 MiB"));
        }
        out.clear();
        let Some(compressor) = &mut self.compressor else {
            store_frame(content, out);
            return Ok(());
        };
        out.reserve(zstd_safe::compress_bound(content.len()));
        compressor.compress_to_buffer(content, out).map(drop)
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("stores_only", &self.compressor.is_none()).finish()
    }
}

/// A frame of raw blocks, and of run-length blocks where a block repeats one byte:
///
/// ```text
/// 28 b5 2f fd | 80: content size in 4 bytes | 38: window of 128 KiB | content size, u32
/// block header: 3 bytes, bit 0 last, bits 1-2 type (0 raw, 1 run), bits 3-23 size | content or byte
/// ```
fn store_frame(content: &[u8], out: &mut Vec<u8>) {
    out.reserve(content.len().saturating_add(content.len() / 16384).saturating_add(32));
    out.extend_from_slice(&frame_header(u64_from(content.len())));
    let mut blocks = content.chunks(BLOCK_BYTES).peekable();
    if blocks.peek().is_none() {
        out.extend_from_slice(&[1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let last = blocks.peek().is_none();
        match repeated_byte(block) {
            Some(byte) => run_block(block.len(), byte, last, out),
            None => {
                out.extend_from_slice(&block_header(block.len(), 0, last));
                out.extend_from_slice(block);
            }
        }
    }
}

/// The first bytes of a frame whose content has at most [`MAX_CHUNK_BYTES`].
pub(super) fn frame_header(content_bytes: u64) -> [u8; 10] {
    let [a, b, c, d] = u32::try_from(content_bytes).unwrap_or(u32::MAX).to_le_bytes();
    [0x28, 0xB5, 0x2F, 0xFD, 0x80, 0x38, a, b, c, d]
}

/// A block that repeats one byte `length` times, at most [`BLOCK_BYTES`].
pub(super) fn run_block(length: usize, byte: u8, last: bool, out: &mut Vec<u8>) {
    let [first, second, third] = block_header(length, 1, last);
    out.extend_from_slice(&[first, second, third, byte]);
}

fn block_header(length: usize, kind: u32, last: bool) -> [u8; 3] {
    let header = u32::try_from(length).unwrap_or(u32::MAX) << 3 | kind << 1 | u32::from(last);
    let [first, second, third, _] = header.to_le_bytes();
    [first, second, third]
}

/// The byte that all of a block is made of.
fn repeated_byte(block: &[u8]) -> Option<u8> {
    let (first, rest) = block.split_first()?;
    (rest.iter().all(|byte| byte == first)).then_some(*first)
}

/// Reads frames; keeps its memory from one to the next.
pub struct Decoder {
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Decoder {
    /// A decoder.
    pub fn new() -> io::Result<Self> {
        Ok(Self { decompressor: zstd::bulk::Decompressor::new()? })
    }

    /// Replaces `out` by the content of `frame`. Refuses a frame that does not hold exactly `expected_bytes`,
    /// or not the content that `id` names; `out` is empty then.
    pub fn decode(
        &mut self,
        id: ChunkId,
        frame: &[u8],
        expected_bytes: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), ChunkError> {
        out.clear();
        let decoded = self.decompress(frame, expected_bytes, out).and_then(|()| {
            if ChunkId::of(out) == id { Ok(()) } else { Err("its content has another hash".to_owned()) }
        });
        decoded.map_err(|fact| {
            out.clear();
            ChunkError::Corrupt { id, fact }
        })
    }

    fn decompress(&mut self, frame: &[u8], expected_bytes: u64, out: &mut Vec<u8>) -> Result<(), String> {
        if expected_bytes > MAX_CHUNK_BYTES {
            return Err(format!("{expected_bytes} bytes are expected, beyond the limit of a chunk"));
        }
        let frame_bytes = zstd_safe::find_frame_compressed_size(frame)
            .map_err(|code| format!("not a zstd frame: {}", zstd_safe::get_error_name(code)))?;
        if frame_bytes != frame.len() {
            return Err(format!("{} bytes stand behind its frame", frame.len().saturating_sub(frame_bytes)));
        }
        if let Ok(Some(claimed)) = zstd_safe::get_frame_content_size(frame)
            && claimed != expected_bytes
        {
            return Err(format!("its frame holds {claimed} bytes where {expected_bytes} are expected"));
        }
        out.reserve(usize_from(expected_bytes));
        self.decompressor.decompress_to_buffer(frame, out).map_err(|error| error.to_string())?;
        if u64_from(out.len()) != expected_bytes {
            return Err(format!("its frame holds {} bytes where {expected_bytes} are expected", out.len()));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// Reads one frame from a stream and checks its content against `id`, without keeping the content; the length
/// of the content, which is at least 1 and at most [`MAX_CHUNK_BYTES`]. What cannot be read is an `io::Error`
/// of the stream or a corrupt frame; zstd does not tell them apart.
pub fn check_frame(id: ChunkId, frame: impl Read) -> Result<u64, ChunkError> {
    let corrupt = |fact: String| ChunkError::Corrupt { id, fact };
    let failed = |error: io::Error| ChunkError::Io { id, fact: error.to_string() };
    let reader = io::BufReader::with_capacity(BLOCK_BYTES, frame);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(reader).map_err(failed)?.single_frame();
    decoder.window_log_max(27).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut content_bytes = 0u64;
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        let length = decoder.read(&mut buffer).map_err(|error| corrupt(error.to_string()))?;
        let Some(part) = buffer.get(..length).filter(|part| !part.is_empty()) else { break };
        content_bytes = content_bytes.saturating_add(u64_from(length));
        if content_bytes > MAX_CHUNK_BYTES {
            return Err(corrupt(format!("its frame holds more than {MAX_CHUNK_BYTES} bytes")));
        }
        hash.update(part);
    }
    let mut rest = decoder.finish();
    if rest.read(&mut [0]).map_err(failed)? != 0 {
        return Err(corrupt("bytes stand behind its frame".to_owned()));
    }
    if content_bytes == 0 {
        return Err(corrupt("its frame is empty".to_owned()));
    }
    if ChunkId(hash.finalize().into()) != id {
        return Err(corrupt("its content has another hash".to_owned()));
    }
    Ok(content_bytes)
}
