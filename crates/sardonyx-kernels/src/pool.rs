//! Persistent worker threads that run one closure together.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::{KernelError, Result, affinity};

/// Polls before a waiting thread goes to sleep: some tens of microseconds, which cover the gap
/// between two stages without holding a processor that others could use.
const SPINS: usize = 4000;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A count that only grows; threads wait for it to pass a value they have seen.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    generation: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Gate {
    fn generation(&self) -> usize {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn open(&self) {
        // Sequentially consistent on both sides: either this thread sees the sleeper, or the
        // sleeper sees the new generation.
        self.generation.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.lock));
            self.wake.notify_all();
        }
    }

    /// Returns when `condition` holds, which whoever makes it true says by opening the gate.
    pub(crate) fn wait_until(&self, condition: impl Fn() -> bool) {
        loop {
            let seen = self.generation();
            if condition() {
                return;
            }
            self.wait_past(seen);
        }
    }

    /// Returns when the count has passed `seen`, which may be a value that it has yet to reach.
    fn wait_past(&self, seen: usize) {
        let is_past = |generation: usize| generation.wrapping_sub(seen).cast_signed() > 0;
        for _ in 0..SPINS {
            if is_past(self.generation()) {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.lock);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !is_past(self.generation.load(Ordering::SeqCst)) {
            guard = self
                .wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Job = *const (dyn Fn(usize) + Sync);

/// Bit of [`Board::entry`] that is set while a job takes workers in.
const OPEN: usize = 1 << (usize::BITS - 1);

/// What the threads share.
struct Board {
    threads: usize,
    /// The job, and the generation of `start` that announces it.
    job: UnsafeCell<Option<(Job, usize)>>,
    start: Gate,
    /// Number of workers inside the job, and [`OPEN`].
    entry: AtomicUsize,
    /// Opened by the last worker to leave a job that takes no more in.
    left: Gate,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written by the dispatching thread alone, while no worker is inside and none is
// let in, and read by workers that are inside; the pointee is `Sync` and outlives the dispatch.
unsafe impl Sync for Board {}
// SAFETY: as above.
unsafe impl Send for Board {}

impl Board {
    fn run_guarded(&self, job: impl FnOnce()) {
        INSIDE.set(true);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
            lock(&self.panic).get_or_insert(payload);
        }
        INSIDE.set(false);
    }

    fn work(&self, thread: usize) {
        let mut seen = 0;
        loop {
            self.start.wait_past(seen);
            seen = self.start.generation();
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            if !self.enter() {
                continue;
            }
            // SAFETY: the dispatcher wrote the job before it let anyone in.
            if let Some((job, generation)) = unsafe { *self.job.get() } {
                // A job may let in a worker before it is announced: from now on the worker waits
                // for what is announced after it, or it would come twice.
                seen = generation;
                // SAFETY: the dispatcher keeps the closure alive until every worker has left.
                self.run_guarded(|| unsafe { (*job)(thread) });
            }
            if self.entry.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.left.open();
            }
        }
    }

    /// Goes into the job, if it still takes workers in.
    fn enter(&self) -> bool {
        let inside = |entry: usize| (entry & OPEN != 0).then_some(entry + 1);
        self.entry
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, inside)
            .is_ok()
    }

    /// Lets no more workers into the job and waits for those inside.
    fn close(&self) {
        self.entry.fetch_and(!OPEN, Ordering::AcqRel);
        self.left
            .wait_until(|| self.entry.load(Ordering::Acquire) == 0);
    }
}

/// A fixed number of threads, the caller's among them. Dropping it joins them.
pub struct Pool {
    board: Arc<Board>,
    workers: Vec<JoinHandle<()>>,
    dispatch: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of `threads` threads (at least one): the caller and `threads - 1` workers.
    ///
    /// # Errors
    /// [`KernelError::Threads`] where the operating system refuses a thread.
    pub fn new(threads: usize) -> Result<Pool> {
        Pool::start(threads, Vec::new())
    }

    /// As [`Pool::new`], with the calling thread and each worker bound to a processor of its own
    /// where the operating system offers that; the calling thread stays bound. On a machine that
    /// other work keeps busy, threads may otherwise be woken on one processor and wait for each
    /// other. For one pool of a program at most: two bound ones would share processors even where
    /// others are idle.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn bound(threads: usize) -> Result<Pool> {
        let cpus = affinity::allowed();
        affinity::bind_to(&cpus, 0);
        Pool::start(threads, cpus)
    }

    fn start(threads: usize, cpus: Vec<usize>) -> Result<Pool> {
        let threads = threads.max(1);
        let board = Arc::new(Board {
            threads,
            job: UnsafeCell::new(None),
            start: Gate::default(),
            entry: AtomicUsize::new(0),
            left: Gate::default(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let mut pool = Pool {
            board,
            workers: Vec::new(),
            dispatch: Mutex::new(()),
        };
        for thread in 1..threads {
            let (board, cpus) = (Arc::clone(&pool.board), cpus.clone());
            let worker = std::thread::Builder::new()
                .name(format!("sardonyx-{thread}"))
                .spawn(move || {
                    affinity::bind_to(&cpus, thread);
                    board.work(thread);
                })
                .map_err(|error| KernelError::Threads {
                    threads,
                    problem: error.to_string(),
                })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.board.threads
    }

    /// Calls `job(0)` on the calling thread and `job(thread)` on each worker `1..threads()` that is
    /// there before the caller's own call ends, at most once on each; returns when all calls are
    /// done. No worker is waited for that has not begun: on a busy machine it may be long in
    /// coming, so the caller's call must be able to do the whole work. Allocates nothing. Callers
    /// on several threads take turns. A panic of any call goes on in the caller.
    ///
    /// # Panics
    /// When called from within a job: that would wait for itself.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        assert!(!INSIDE.get(), "a job of a pool must not dispatch another");
        let turn = lock(&self.dispatch);
        let board = &self.board;
        if self.workers.is_empty() {
            board.run_guarded(|| job(0));
        } else {
            let job_pointer: *const (dyn Fn(usize) + Sync + '_) = job;
            // SAFETY: only the lifetime changes; no worker is inside the closure any more when
            // this function returns, because `close` waits for them.
            let job_pointer: Job = unsafe { std::mem::transmute(job_pointer) };
            let generation = board.start.generation().wrapping_add(1);
            // SAFETY: no worker is inside a job or let into one, so that no one reads the cell.
            unsafe { *board.job.get() = Some((job_pointer, generation)) };
            board.entry.store(OPEN, Ordering::Release);
            board.start.open();
            board.run_guarded(|| job(0));
            board.close();
        }
        let panicked = lock(&self.board.panic).take();
        drop(turn);
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    }

    /// Calls `work(index)` once for every index below `count`, on whichever thread is free.
    ///
    /// # Panics
    /// As [`Pool::run`].
    pub fn each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        self.run(&|_| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return;
                }
                work(index);
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.board.stop.store(true, Ordering::Release);
        self.board.start.open();
        for worker in self.workers.drain(..) {
            // A worker's own panics were caught; there is nothing to learn from the join.
            let _joined = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_waits_for_all_threads_gets_each_once() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).unwrap();
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            let total = || -> usize { counts.iter().map(|n| n.load(Ordering::SeqCst)).sum() };
            for round in 1..=200 {
                pool.run(&|thread| {
                    counts[thread].fetch_add(1, Ordering::SeqCst);
                    while total() < round * threads {
                        std::thread::yield_now();
                    }
                });
            }
            assert!(counts.iter().all(|n| n.load(Ordering::SeqCst) == 200));
        }
    }

    #[test]
    fn no_thread_outlives_a_job_or_runs_it_twice() {
        let pool = Pool::new(4).unwrap();
        for _ in 0..2000 {
            let counts: [AtomicUsize; 4] = Default::default();
            let is_over = AtomicBool::new(false);
            pool.run(&|thread| {
                assert!(!is_over.load(Ordering::SeqCst));
                counts[thread].fetch_add(1, Ordering::SeqCst);
            });
            is_over.store(true, Ordering::SeqCst);
            assert_eq!(counts[0].load(Ordering::SeqCst), 1);
            assert!(counts.iter().all(|n| n.load(Ordering::SeqCst) <= 1));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3).unwrap();
        for culprit in 0..3 {
            let arrived = AtomicUsize::new(0);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(&|thread| {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < 3 {
                        std::thread::yield_now();
                    }
                    assert!(thread != culprit, "thread {thread} fails");
                });
            }));
            let message = *outcome.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(message, format!("thread {culprit} fails"));
        }
        pool.run(&|_| {});
    }

    #[test]
    fn each_index_comes_once() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).unwrap();
            for count in [0, 1, 2, 100] {
                let counts: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                pool.each(count, &|index| {
                    counts[index].fetch_add(1, Ordering::SeqCst);
                });
                assert!(counts.iter().all(|n| n.load(Ordering::SeqCst) == 1));
            }
        }
    }

    #[test]
    fn sleeping_workers_wake() {
        for pool in [Pool::new(2).unwrap(), Pool::bound(2).unwrap()] {
            let count = AtomicUsize::new(0);
            for _ in 0..3 {
                std::thread::sleep(std::time::Duration::from_millis(5));
                let arrived = AtomicUsize::new(0);
                pool.run(&|_| {
                    count.fetch_add(1, Ordering::Relaxed);
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < 2 {
                        std::thread::yield_now();
                    }
                });
            }
            assert_eq!(count.load(Ordering::Relaxed), 6);
        }
    }
}
