//! A stored volume as a disk that can be read at any place.

use super::{ChunkError, ChunkId, Decoder, FetchError, Index, Store, StoreError, fetch_chunk};
use crate::blockio::{ReadAt, past_the_end};
use crate::parallel::lock;
use crate::units::{ByteRange, MIB, RangeSet, u64_from, usize_from};
use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;

/// How much content is kept for the next read, beside the one chunk that was read last.
const KEPT_BYTES: u64 = 16 * MIB;

/// A volume of an image: its used bytes are those of its verified chunks, all others are zeros.
pub struct StoredContent<'a> {
    store: &'a dyn Store,
    index: &'a Index,
    used: &'a RangeSet,
    reader: Mutex<Reader>,
}

/// Why a stored volume could not be read; carried inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
enum ContentError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a chunk is damaged in the store")]
    Chunk(#[from] ChunkError),
}

#[derive(Default)]
struct Reader {
    decoder: Option<Decoder>,
    /// Contents by the place of their chunk in the index, the latest last.
    kept: VecDeque<(usize, Vec<u8>)>,
}

impl<'a> StoredContent<'a> {
    /// The content of the volume whose chunks and used bytes these are.
    pub fn new(store: &'a dyn Store, index: &'a Index, used: &'a RangeSet) -> Self {
        Self { store, index, used, reader: Mutex::default() }
    }

    /// The chunk that holds a byte: its place in the index, its bytes, its name.
    fn chunk_at(&self, byte: u64) -> Option<(usize, ByteRange, ChunkId)> {
        let entries = self.index.entries();
        let position = entries.partition_point(|entry| entry.end_bytes <= byte);
        let entry = entries.get(position)?;
        let before = position.checked_sub(1).and_then(|before| entries.get(before));
        let start = before.map_or(0, |before| before.end_bytes);
        Some((position, ByteRange::new(start, entry.end_bytes), entry.id))
    }

    /// Reads used bytes, which lie in one chunk.
    fn read_used(&self, range: ByteRange, buffer: &mut [u8]) -> io::Result<()> {
        let (position, piece, id) = self.chunk_at(range.start()).ok_or_else(past_the_end)?;
        let mut reader = lock(&self.reader);
        if reader.kept.iter().all(|(kept, _)| *kept != position) {
            let content = reader.fetch(self.store, id, piece.length()).map_err(io::Error::other)?;
            reader.keep(position, content);
        }
        let kept = reader.kept.iter().find(|(kept, _)| *kept == position);
        let from = usize_from(range.start().saturating_sub(piece.start()));
        let part = kept.and_then(|(_, content)| content.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(part.ok_or_else(past_the_end)?);
        Ok(())
    }
}

impl Reader {
    fn fetch(&mut self, store: &dyn Store, id: ChunkId, length: u64) -> Result<Vec<u8>, ContentError> {
        let decoder =
            match &mut self.decoder {
                Some(decoder) => decoder,
                none => none.insert(Decoder::new().map_err(|source| StoreError::Io {
                    doing: "starting decompression".to_owned(),
                    source,
                })?),
            };
        let mut content = Vec::new();
        match fetch_chunk(store, id, length, decoder, &mut content) {
            Ok(_) => Ok(content),
            Err(FetchError::Store(error)) => Err(error.into()),
            Err(FetchError::Chunk(error)) => Err(error.into()),
        }
    }

    fn keep(&mut self, position: usize, content: Vec<u8>) {
        self.kept.push_back((position, content));
        let bytes = |kept: &VecDeque<(usize, Vec<u8>)>| -> u64 {
            kept.iter().fold(0, |sum, (_, content)| sum.saturating_add(u64_from(content.len())))
        };
        while self.kept.len() > 1 && bytes(&self.kept) > KEPT_BYTES {
            self.kept.pop_front();
        }
    }
}

impl ReadAt for StoredContent<'_> {
    fn size_bytes(&self) -> u64 {
        self.index.volume_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = ByteRange::at(offset, u64_from(buffer.len()))
            .filter(|wanted| wanted.end() <= self.size_bytes())
            .ok_or_else(past_the_end)?;
        buffer.fill(0);
        for used in self.used.within(wanted) {
            let mut position = used.start();
            while position < used.end() {
                let (_, piece, _) = self.chunk_at(position).ok_or_else(past_the_end)?;
                let part = ByteRange::new(position, used.end().min(piece.end()));
                let from = usize_from(part.start().saturating_sub(offset));
                let into = from.saturating_add(usize_from(part.length()));
                self.read_used(part, buffer.get_mut(from..into).ok_or_else(past_the_end)?)?;
                position = part.end();
            }
        }
        Ok(())
    }
}
