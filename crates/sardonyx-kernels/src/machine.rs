//! Runs a program: hands items to threads, keeps stages apart, measures where asked.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::Barrier;
use crate::{Arena, Chain, KernelError, Pool, Program, Result, Run, Space};

/// Each share of a chain is handed out in at most this many pieces.
const PIECES_PER_SHARE: usize = 64;

/// A program with its memory and threads.
#[derive(Debug)]
pub struct Machine {
    program: Arc<Program>,
    constants: Arc<Arena>,
    state: Arena,
    work: Arena,
    scratch: Vec<Arena>,
    pool: Arc<Pool>,
    cursors: Vec<Vec<Shares>>,
    barrier: Barrier,
}

/// Nanoseconds spent in each call of a program, summed over threads and runs.
#[derive(Debug)]
pub struct Timings {
    clock: fn() -> u64,
    calls: Vec<AtomicU64>,
}

impl Timings {
    /// Zeros for every call of `program`. `clock` gives nanoseconds since any fixed moment.
    pub fn new(program: &Program, clock: fn() -> u64) -> Timings {
        Timings {
            clock,
            calls: program.calls().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Nanoseconds of each call, in the order of [`Program::calls`].
    pub fn nanoseconds(&self) -> Vec<u64> {
        self.calls
            .iter()
            .map(|call| call.load(Ordering::Relaxed))
            .collect()
    }
}

/// The items of one chain, split evenly among the threads. A thread takes from its own share
/// first, then from the others', so that it meets the same items run after run.
#[derive(Debug)]
struct Shares {
    cursors: Box<[Cursor]>,
    items: usize,
    grain: usize,
}

/// Next item of a share, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cursor(AtomicUsize);

impl Shares {
    fn new(chain: &Chain, threads: usize) -> Shares {
        let items = chain.calls.first().map_or(0, |call| call.kernel.items());
        let pieces = (items / threads).div_ceil(PIECES_PER_SHARE).max(1);
        // An item of a longer chain goes through all of its calls before the next one starts.
        let grain = if chain.calls.len() == 1 { pieces } else { 1 };
        let cursors = (0..threads).map(|_| Cursor::default()).collect();
        Shares {
            cursors,
            items,
            grain,
        }
    }

    fn share(&self, thread: usize) -> Range<usize> {
        let threads = self.cursors.len();
        self.items * thread / threads..self.items * (thread + 1) / threads
    }

    fn reset(&self) {
        for (thread, cursor) in self.cursors.iter().enumerate() {
            cursor.0.store(self.share(thread).start, Ordering::Relaxed);
        }
    }

    fn take(&self, thread: usize) -> Option<Range<usize>> {
        let (cursor, end) = (&self.cursors[thread].0, self.share(thread).end);
        if cursor.load(Ordering::Relaxed) >= end {
            return None;
        }
        let start = cursor.fetch_add(self.grain, Ordering::Relaxed);
        (start < end).then(|| start..end.min(start + self.grain))
    }
}

/// What the threads of one run share: addresses of the arenas, and the first panic.
struct Floor<'a> {
    machine: &'a Machine,
    bases: [*mut u8; 3],
    timings: Option<&'a Timings>,
    failed: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: the pointers lead to arenas that the machine borrows exclusively while it runs (and to
// constants, which no one writes); threads write disjoint parts of them by the kernels' contract.
unsafe impl Sync for Floor<'_> {}

impl Machine {
    /// A machine over `program`. The state and work arenas are its own; constants may be shared.
    ///
    /// # Errors
    /// [`KernelError::ArenaShort`] for an arena that the program does not fit into.
    pub fn new(
        program: Arc<Program>,
        constants: Arc<Arena>,
        state: Arena,
        work: Arena,
        pool: Arc<Pool>,
    ) -> Result<Machine> {
        let threads = pool.threads();
        let scratch = (0..threads)
            .map(|_| Arena::zeroed(program.scratch_len()))
            .collect();
        let cursors = program
            .stages()
            .iter()
            .map(|stage| {
                stage
                    .chains
                    .iter()
                    .map(|chain| Shares::new(chain, threads))
                    .collect()
            })
            .collect();
        let barrier = Barrier::new(threads);
        let machine = Machine {
            program,
            constants,
            state,
            work,
            scratch,
            pool,
            cursors,
            barrier,
        };
        machine.check_arenas()?;
        Ok(machine)
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The arena `space`, for reading.
    pub fn arena(&self, space: Space) -> &Arena {
        match space {
            Space::Constants => &self.constants,
            Space::State => &self.state,
            Space::Work => &self.work,
        }
    }

    /// The state arena, for writing. It may be replaced by one that is as long.
    pub fn state_mut(&mut self) -> &mut Arena {
        &mut self.state
    }

    /// The work arena, for writing. It may be replaced by one that is as long.
    pub fn work_mut(&mut self) -> &mut Arena {
        &mut self.work
    }

    /// Ends the machine and gives its state back.
    pub fn into_state(self) -> Arena {
        self.state
    }

    /// Runs all stages once. Allocates nothing.
    ///
    /// # Panics
    /// When a kernel panics, or when an arena was replaced by a shorter one.
    pub fn run(&mut self) {
        self.execute(None);
    }

    /// As [`Machine::run`], adding to `timings`, which must be of the same program.
    ///
    /// # Panics
    /// As [`Machine::run`].
    pub fn run_timed(&mut self, timings: &Timings) {
        assert_eq!(timings.calls.len(), self.program.calls().count());
        self.execute(Some(timings));
    }

    fn check_arenas(&self) -> Result<()> {
        for space in [Space::Constants, Space::State, Space::Work] {
            let (needed, found) = (self.program.lengths().of(space), self.arena(space).len());
            if found < needed {
                return Err(KernelError::ArenaShort {
                    space,
                    needed,
                    found,
                });
            }
        }
        Ok(())
    }

    fn execute(&mut self, timings: Option<&Timings>) {
        self.check_arenas()
            .expect("arenas are replaced only by ones as long");
        self.cursors.iter().flatten().for_each(Shares::reset);
        let floor = Floor {
            machine: self,
            bases: [self.constants.base(), self.state.base(), self.work.base()],
            timings,
            failed: AtomicBool::new(false),
            panic: Mutex::new(None),
        };
        self.pool.run(&|thread| floor.run_thread(thread));
        let panicked = floor
            .panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    }
}

impl Floor<'_> {
    fn run_thread(&self, thread: usize) {
        for stage in 0..self.machine.cursors.len() {
            if !self.failed.load(Ordering::Relaxed) {
                // A panic must not keep this thread from the barrier, where the others wait.
                let outcome = catch_unwind(AssertUnwindSafe(|| self.run_stage(stage, thread)));
                if let Err(payload) = outcome {
                    self.failed.store(true, Ordering::Relaxed);
                    let mut slot = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
                    slot.get_or_insert(payload);
                }
            }
            self.machine.barrier.wait();
        }
    }

    fn run_stage(&self, stage: usize, thread: usize) {
        let shares = &self.machine.cursors[stage];
        let chains = &self.machine.program.stages()[stage].chains;
        let first_call = self.machine.program.stages()[..stage]
            .iter()
            .flat_map(|stage| &stage.chains)
            .map(|chain| chain.calls.len())
            .sum::<usize>();
        let threads = self.machine.scratch.len();
        for victim in (thread..threads).chain(0..thread) {
            let mut call = first_call;
            for (chain, shares) in chains.iter().zip(shares) {
                while let Some(items) = shares.take(victim) {
                    self.run_items(chain, call, thread, items);
                }
                call += chain.calls.len();
            }
        }
    }

    fn run_items(&self, chain: &Chain, first_call: usize, thread: usize, items: Range<usize>) {
        let scratch = &self.machine.scratch[thread];
        for (index, call) in chain.calls.iter().enumerate() {
            let cx = Run {
                bases: self.bases,
                operands: &call.operands,
                scratch: scratch.base(),
                scratch_len: scratch.len(),
            };
            if let Some(timings) = self.timings {
                let start = (timings.clock)();
                call.kernel.run(&cx, items.clone());
                let spent = (timings.clock)().saturating_sub(start);
                timings.calls[first_call + index].fetch_add(spent, Ordering::Relaxed);
            } else {
                call.kernel.run(&cx, items.clone());
            }
        }
    }
}
