//! Work shared by a few threads: each takes the next item when it is done with its last.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Calls `work` for every item, on `workers` threads at once. `state` makes what a thread keeps from item
/// to item. After an error no further item is taken, and the first error is returned.
///
/// # Errors
/// The first error of `work`.
pub fn for_each<T, S, E: Send>(
    workers: NonZeroUsize,
    items: impl Iterator<Item = T> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let items = Mutex::new(items.fuse());
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..workers.get() {
            scope.spawn(|| {
                let mut state = state();
                while lock(&failure).is_none() {
                    let Some(item) = lock(&items).next() else { return };
                    if let Err(error) = work(&mut state, item) {
                        lock(&failure).get_or_insert(error);
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Locks a mutex. What it guards here stays valid when a thread panics, and that panic ends the work.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn every_item_is_worked_on_once_and_an_error_stops_the_rest() {
        let workers = NonZeroUsize::new(4).unwrap();
        let sum = AtomicU64::new(0);
        let add = |(): &mut (), item: u64| -> Result<(), u64> {
            sum.fetch_add(item, Ordering::Relaxed);
            if item == 500 { Err(item) } else { Ok(()) }
        };
        assert_eq!(for_each(workers, 0..500, || (), add), Ok(()));
        assert_eq!(sum.load(Ordering::Relaxed), 499 * 250);
        assert_eq!(for_each(workers, 0..u64::MAX, || (), add), Err(500));
    }
}
