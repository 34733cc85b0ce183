//! When a fault strikes: at the n-th call of what counts calls.

use remint::progress::{Event, Monitor};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts calls and says which one is to fail.
pub struct Trigger {
    calls: AtomicU64,
    first: u64,
    forever: bool,
    fired: AtomicBool,
}

impl Trigger {
    /// Strikes the n-th call, from 1, and no other.
    pub fn once(first: u64) -> Self {
        Self { calls: AtomicU64::new(0), first, forever: false, fired: AtomicBool::new(false) }
    }

    /// Strikes the n-th call and every one after it.
    pub fn from(first: u64) -> Self {
        Self { forever: true, ..Self::once(first) }
    }

    /// Strikes no call.
    pub fn never() -> Self {
        Self::once(u64::MAX)
    }

    /// Counts a call; true where it is to fail.
    pub fn strikes(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let strikes = call == self.first || (self.forever && call > self.first);
        self.fired.fetch_or(strikes, Ordering::SeqCst);
        strikes
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

/// A person who asks to stop when the n-th event comes.
pub struct StopAt(pub Trigger);

impl Monitor for StopAt {
    fn event(&self, _: Event) {
        self.0.strikes();
    }
    fn cancelled(&self) -> bool {
        self.0.fired()
    }
}

/// A person who asks to stop between two events, when they come slowly: at the fifth look.
#[derive(Default)]
pub struct StopsLater(AtomicU64);

impl Monitor for StopsLater {
    fn event(&self, _: Event) {}
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) >= 4
    }
}
