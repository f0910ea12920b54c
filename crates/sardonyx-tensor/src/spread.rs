//! Work over weights on several threads. Most of what a large model costs until it first runs is the
//! first touch of memory, which threads can share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Bytes below which another thread costs more than it saves.
const MIN_BYTES: usize = 1 << 20;

/// Most threads; more only wait for memory.
const MAX_THREADS: usize = 4;

/// `map` of each of `items`, in order; on several threads where they work on many `bytes` in all.
///
/// # Panics
/// When `map` does.
pub fn spread<T: Sync, R: Send>(
    items: &[T],
    bytes: impl Fn(&T) -> usize,
    map: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let total = items.iter().map(bytes).fold(0, usize::saturating_add);
    let wanted = (total / MIN_BYTES).min(MAX_THREADS).min(items.len());
    if wanted < 2 {
        return items.iter().map(map).collect();
    }
    spread_on(wanted, items, map)
}

fn spread_on<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    map: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return made;
            };
            made.push((index, map(item)));
        }
    };
    let mut made = thread::scope(|scope| {
        // Where the system has no more threads, this one does it all.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut made = work();
        for other in others {
            match other.join() {
                Ok(theirs) => made.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        made
    });
    made.sort_unstable_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        let items: Vec<usize> = (0..1000).collect();
        let doubled: Vec<usize> = items.iter().map(|item| 2 * item).collect();
        for threads in 1..=4 {
            assert_eq!(spread_on(threads, &items, |item| 2 * item), doubled);
        }
        assert_eq!(spread(&items, |_| 0, |item| 2 * item), doubled);
        assert_eq!(spread(&items, |_| usize::MAX, |item| 2 * item), doubled);
        assert!(spread(&[] as &[usize], |_| 1 << 30, |item| *item).is_empty());
    }
}
