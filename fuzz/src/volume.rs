//! A seed with changes, read without copying it.

use remint::blockio::{ReadAt, past_the_end};
use remint::units::{ByteRange, RangeSet};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// No structure of any format is larger; whoever asks for more believed a number on the disk.
const MAX_READ: usize = 64 << 20;

/// A changed seed.
pub struct Volume<'s> {
    seed: &'s [u8],
    size_bytes: u64,
    patches: Vec<(u64, Vec<u8>)>,
    spoiled: Vec<Range<u64>>,
    repair: fn(u64, &mut [u8]),
    has_failed: AtomicBool,
    read_bytes: AtomicU64,
}

impl<'s> Volume<'s> {
    /// An unchanged volume.
    pub fn new(seed: &'s [u8]) -> Self {
        Self {
            seed,
            size_bytes: seed.len() as u64,
            patches: Vec::new(),
            spoiled: Vec::new(),
            repair: |_, _| (),
            has_failed: AtomicBool::new(false),
            read_bytes: AtomicU64::new(0),
        }
    }

    /// From now on these bytes stand there.
    pub fn patch(&mut self, at: u64, bytes: Vec<u8>) {
        self.patches.push((at, bytes));
    }

    /// The volume ends there; behind the seed are zeros.
    pub fn resize(&mut self, size_bytes: u64) {
        self.size_bytes = size_bytes;
    }

    /// Its size after the changes so far.
    pub fn size_bytes_now(&self) -> u64 {
        self.size_bytes
    }

    /// Reading there fails.
    pub fn spoil(&mut self, at: u64, length: u64) {
        self.spoiled.push(at..at.saturating_add(length));
    }

    /// What is read passes through `repair` with its position, so that checksums agree with changed bytes.
    pub fn repair_with(&mut self, repair: fn(u64, &mut [u8])) {
        self.repair = repair;
    }

    /// True where a read has failed because it was made to.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// True where reading fails somewhere.
    pub fn is_spoiled(&self) -> bool {
        !self.spoiled.is_empty()
    }

    /// Bytes as they stand now, as far as the seed reaches.
    pub fn peek(&self, at: u64, length: u64) -> Vec<u8> {
        let end = at.saturating_add(length).min(self.seed.len() as u64);
        let mut bytes = vec![0; end.saturating_sub(at) as usize];
        self.fill(at, &mut bytes);
        bytes
    }

    /// All bytes, of a volume that is not longer than `limit`.
    pub fn to_vec(&self, limit: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.size_bytes.min(limit) as usize];
        self.fill(0, &mut bytes);
        bytes
    }

    fn fill(&self, at: u64, buffer: &mut [u8]) {
        let end = at + buffer.len() as u64;
        let known = (self.seed.len() as u64).clamp(at, end);
        let (from_seed, behind) = buffer.split_at_mut((known - at) as usize);
        if !from_seed.is_empty() {
            from_seed.copy_from_slice(&self.seed[at as usize..known as usize]);
        }
        behind.fill(0);
        for (start, bytes) in &self.patches {
            let from = (*start).max(at);
            let to = start.saturating_add(bytes.len() as u64).min(end);
            if from < to {
                let source = &bytes[(from - start) as usize..(to - start) as usize];
                buffer[(from - at) as usize..(to - at) as usize].copy_from_slice(source);
            }
        }
    }
}

impl ReadAt for Volume<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(buffer.len() <= MAX_READ, "{} bytes in one read", buffer.len());
        let length = buffer.len() as u64;
        let end =
            offset.checked_add(length).filter(|end| *end <= self.size_bytes).ok_or_else(past_the_end)?;
        let so_far = self.read_bytes.fetch_add(length, Ordering::Relaxed);
        let most = self.size_bytes.saturating_mul(8).saturating_add(256 << 20);
        assert!(so_far < most, "{so_far} bytes read of {}", self.size_bytes);
        if self.spoiled.iter().any(|range| range.start < end && offset < range.end) {
            self.has_failed.store(true, Ordering::Relaxed);
            return Err(io::Error::other("spoiled"));
        }
        self.fill(offset, buffer);
        (self.repair)(offset, buffer);
        Ok(())
    }
}

/// What a deploy leaves of a volume, or of several one behind the other, on a target full of noise: the used bytes.
pub struct Restored<'v> {
    pub volume: &'v dyn ReadAt,
    pub used: &'v RangeSet,
}

impl ReadAt for Restored<'_> {
    fn size_bytes(&self) -> u64 {
        self.volume.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.volume.read_at(offset, buffer)?;
        let end = offset + buffer.len() as u64;
        for gap in self.used.gaps(ByteRange::new(offset, end)).iter() {
            buffer[(gap.start() - offset) as usize..(gap.end() - offset) as usize].fill(0xA5);
        }
        Ok(())
    }
}
