//! Disks that fail: sources that cannot be read, targets that cannot be written.

use super::trigger::Trigger;
use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::units::{ByteRange, RangeSet};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a discarded byte reads as: neither what stood there nor zero, as a device may choose.
pub const DISCARDED: u8 = 0xDD;

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Nothing happens.
    Before,
    /// The first half happens.
    Half,
}

/// What reached a target.
#[derive(Debug, Clone)]
pub enum Op {
    Write(u64, Vec<u8>),
    Zero(ByteRange),
    Discard(ByteRange),
    Flush,
}

impl Op {
    /// What it changes.
    pub fn range(&self) -> ByteRange {
        match self {
            Self::Write(at, bytes) => ByteRange::at(*at, bytes.len() as u64).unwrap(),
            Self::Zero(range) | Self::Discard(range) => *range,
            Self::Flush => ByteRange::default(),
        }
    }

    /// Does to `disk` what was done to the target.
    pub fn replay(&self, disk: &dyn WriteAt) {
        match self {
            Self::Write(at, bytes) => disk.write_at(*at, bytes).unwrap(),
            Self::Zero(range) => disk.write_zeros(*range).unwrap(),
            Self::Discard(range) => fill_discarded(disk, *range),
            Self::Flush => {}
        }
    }
}

fn fill_discarded(disk: &dyn WriteAt, range: ByteRange) {
    disk.write_at(range.start(), &vec![DISCARDED; range.length() as usize]).unwrap();
}

/// A target whose calls fail when the trigger says so.
pub struct Target {
    content: MemoryDisk,
    trigger: Trigger,
    tear: Tear,
    /// Where every write fails.
    pub bad: RangeSet,
    changes: AtomicU64,
    unflushed: AtomicBool,
    kept: AtomicBool,
    only_reads_failed: AtomicBool,
    log: Option<Mutex<Vec<Op>>>,
}

impl Target {
    pub fn new(content: &[u8], trigger: Trigger, tear: Tear) -> Self {
        Self {
            content: MemoryDisk::from_bytes(content),
            trigger,
            tear,
            bad: RangeSet::new(),
            changes: AtomicU64::new(0),
            unflushed: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            only_reads_failed: AtomicBool::new(true),
            log: None,
        }
    }

    /// A target that never fails and remembers what was done to it.
    pub fn recording(content: &[u8]) -> Self {
        let log = Some(Mutex::default());
        Self { log, ..Self::new(content, Trigger::never(), Tear::Before) }
    }

    pub fn log(&self) -> Vec<Op> {
        self.log.as_ref().unwrap().lock().unwrap().clone()
    }

    /// True where a call that changes the target was made, also one that failed.
    pub fn touched(&self) -> bool {
        self.changes.load(Ordering::SeqCst) > 0
    }

    /// True where a change may still be on its way to the medium.
    pub fn unflushed(&self) -> bool {
        self.unflushed.load(Ordering::SeqCst)
    }

    /// True where the target did not discard.
    pub fn failed_to_discard(&self) -> bool {
        self.kept.load(Ordering::SeqCst)
    }

    pub fn fired(&self) -> bool {
        self.trigger.fired()
    }

    /// True where every change and every flush succeeded.
    pub fn only_reads_failed(&self) -> bool {
        self.only_reads_failed.load(Ordering::SeqCst)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.content.size_bytes() as usize];
        self.content.read_at(0, &mut bytes).unwrap();
        bytes
    }

    /// Carries out a change, half of it, or none of it.
    fn change(&self, op: Op) -> io::Result<()> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        let strikes = self.trigger.strikes() || self.bad.within(op.range()).next().is_some();
        self.only_reads_failed.fetch_and(!strikes, Ordering::SeqCst);
        let half = |range: ByteRange| ByteRange::new(range.start(), range.start() + range.length() / 2);
        let op = match (strikes, self.tear, op) {
            (true, Tear::Before, _) => return Err(broken()),
            (true, Tear::Half, Op::Write(at, bytes)) => Op::Write(at, bytes[..bytes.len() / 2].to_vec()),
            (true, Tear::Half, Op::Zero(range)) => Op::Zero(half(range)),
            (true, Tear::Half, Op::Discard(range)) => Op::Discard(half(range)),
            (_, _, op) => op,
        };
        self.unflushed.store(true, Ordering::SeqCst);
        op.replay(&self.content);
        if let Some(log) = &self.log {
            log.lock().unwrap().push(op);
        }
        if strikes { Err(broken()) } else { Ok(()) }
    }
}

impl ReadAt for Target {
    fn size_bytes(&self) -> u64 {
        self.content.size_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.trigger.strikes() { Err(broken()) } else { self.content.read_at(offset, buffer) }
    }
}

impl WriteAt for Target {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Op::Write(offset, bytes.to_vec()))
    }
    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        self.change(Op::Zero(range))
    }
    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.change(Op::Discard(range)).inspect_err(|_| self.kept.store(true, Ordering::SeqCst))
    }
    fn flush(&self) -> io::Result<()> {
        if self.trigger.strikes() {
            self.only_reads_failed.store(false, Ordering::SeqCst);
            return Err(broken());
        }
        self.unflushed.store(false, Ordering::SeqCst);
        if let Some(log) = &self.log {
            log.lock().unwrap().push(Op::Flush);
        }
        Ok(())
    }
}

/// A source whose reads fail when the trigger says so, and always where they touch a bad range.
pub struct Source<'a> {
    content: &'a [u8],
    trigger: Trigger,
    bad: RangeSet,
}

impl<'a> Source<'a> {
    pub fn new(content: &'a [u8], trigger: Trigger) -> Self {
        Self { content, trigger, bad: RangeSet::new() }
    }

    pub fn scratched(content: &'a [u8], bad: RangeSet) -> Self {
        Self { content, trigger: Trigger::never(), bad }
    }

    pub fn fired(&self) -> bool {
        self.trigger.fired()
    }

    pub fn reads(&self) -> u64 {
        self.trigger.calls()
    }
}

impl ReadAt for Source<'_> {
    fn size_bytes(&self) -> u64 {
        self.content.len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let touched = ByteRange::at(offset, buffer.len() as u64).unwrap();
        if self.trigger.strikes() || self.bad.within(touched).next().is_some() {
            // What a failed read leaves in the buffer is nobody's promise.
            buffer.fill(0xBD);
            return Err(broken());
        }
        self.content.read_at(offset, buffer)
    }
}
