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
struct Gate {
    generation: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Gate {
    fn generation(&self) -> usize {
        self.generation.load(Ordering::Acquire)
    }

    fn open(&self) {
        // Sequentially consistent on both sides: either this thread sees the sleeper, or the
        // sleeper sees the new generation.
        self.generation.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.lock));
            self.wake.notify_all();
        }
    }

    fn wait_past(&self, seen: usize) {
        for _ in 0..SPINS {
            if self.generation() != seen {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.lock);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.generation.load(Ordering::SeqCst) == seen {
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

/// Where a fixed number of threads meet.
#[derive(Debug)]
pub(crate) struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    gate: Gate,
}

impl Barrier {
    pub(crate) fn new(threads: usize) -> Barrier {
        Barrier {
            threads,
            arrived: AtomicUsize::new(0),
            gate: Gate::default(),
        }
    }

    pub(crate) fn wait(&self) {
        if self.threads == 1 {
            return;
        }
        let seen = self.gate.generation();
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.gate.open();
        } else {
            self.gate.wait_past(seen);
        }
    }
}

type Job = *const (dyn Fn(usize) + Sync);

/// What the threads share.
struct Board {
    job: UnsafeCell<Option<Job>>,
    start: Gate,
    done: Barrier,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written by the dispatching thread alone, before it opens `start`, and read by
// the workers after they pass it; the pointee is `Sync` and outlives the dispatch.
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
            seen += 1;
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            // SAFETY: the dispatcher wrote the job before it opened the gate, and keeps the
            // closure alive until every worker has met it at the barrier.
            if let Some(job) = unsafe { *self.job.get() } {
                // SAFETY: as above.
                self.run_guarded(|| unsafe { (*job)(thread) });
            }
            self.done.wait();
        }
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
            job: UnsafeCell::new(None),
            start: Gate::default(),
            done: Barrier::new(threads),
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
        self.board.done.threads
    }

    /// Calls `job(thread)` once on each thread, `0..threads()`, the caller being thread 0, and
    /// returns when all are done. Allocates nothing. Callers on several threads take turns. A
    /// panic of any call goes on in the caller once all are done.
    ///
    /// # Panics
    /// When called from within a job: that would wait for itself.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        assert!(!INSIDE.get(), "a job of a pool must not dispatch another");
        let turn = lock(&self.dispatch);
        if self.workers.is_empty() {
            self.board.run_guarded(|| job(0));
        } else {
            let job_pointer: *const (dyn Fn(usize) + Sync + '_) = job;
            // SAFETY: only the lifetime changes; the workers are done with the closure before
            // this function returns, because all meet at `done`.
            let job_pointer: Job = unsafe { std::mem::transmute(job_pointer) };
            // SAFETY: the workers wait at `start`, so that no one reads the cell now.
            unsafe { *self.board.job.get() = Some(job_pointer) };
            self.board.start.open();
            self.board.run_guarded(|| job(0));
            self.board.done.wait();
        }
        let panicked = lock(&self.board.panic).take();
        drop(turn);
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
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
    fn every_thread_runs_every_job_once() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).unwrap();
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..200 {
                pool.run(&|thread| {
                    counts[thread].fetch_add(1, Ordering::Relaxed);
                });
            }
            assert!(
                counts
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) == 200)
            );
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3).unwrap();
        for culprit in 0..3 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(&|thread| assert!(thread != culprit, "thread {thread} fails"));
            }));
            let message = *outcome.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(message, format!("thread {culprit} fails"));
        }
        pool.run(&|_| {});
    }

    #[test]
    fn sleeping_workers_wake() {
        for pool in [Pool::new(2).unwrap(), Pool::bound(2).unwrap()] {
            let count = AtomicUsize::new(0);
            for _ in 0..3 {
                std::thread::sleep(std::time::Duration::from_millis(5));
                pool.run(&|_| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            assert_eq!(count.load(Ordering::Relaxed), 6);
        }
    }
}
