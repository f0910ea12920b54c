//! Runs a program: hands items to threads, keeps stages apart, measures where asked.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::SPACES;
use crate::memory::{Constants, Memory};
use crate::pool::Gate;
use crate::{Arena, Chain, KernelError, Pool, Program, Result, Run, Space, Span, Stage, Trace};

/// Each share of a chain is handed out in at most this many pieces.
const PIECES_PER_SHARE: usize = 64;

/// What a machine needs arenas for, beside scratch; work is the last.
const EVERY_ARENA: [Space; 4] = [Space::Constants, Space::Shared, Space::State, Space::Work];

/// A program with its memory and threads.
#[derive(Debug)]
pub struct Machine {
    program: Arc<Program>,
    constants: Constants,
    state: Arena,
    memory: Memory,
    pool: Arc<Pool>,
    stages: Vec<StageShares>,
    /// Opened when a stage is done.
    gate: Gate,
}

/// The chains of a stage, and how far it is.
#[derive(Debug)]
struct StageShares {
    chains: Vec<Shares>,
    items: usize,
    done: Cursor,
    /// Number of the first call among all calls of the program.
    first_call: usize,
}

impl StageShares {
    fn all(program: &Program, threads: usize) -> Vec<StageShares> {
        let mut first_call = 0;
        let shares = |stage: &Stage| {
            let chains = stage.chains.iter();
            let chains: Vec<Shares> = chains.map(|chain| Shares::new(chain, threads)).collect();
            let own = StageShares {
                items: chains.iter().map(|shares| shares.items).sum(),
                chains,
                done: Cursor::default(),
                first_call,
            };
            first_call += stage.chains.iter().map(Chain::count).sum::<usize>();
            own
        };
        program.stages().iter().map(shares).collect()
    }

    fn is_done(&self) -> bool {
        self.done.0.load(Ordering::Acquire) >= self.items
    }
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

/// What is written down of a run.
#[derive(Debug, Clone, Copy)]
enum Watch<'a> {
    Nothing,
    Sums(&'a Timings),
    Spans(&'a Trace),
}

/// What the threads of one run share: addresses of the arenas, and the first panic.
struct Floor<'a> {
    machine: &'a Machine,
    bases: [*mut u8; SPACES],
    watch: Watch<'a>,
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
        constants: impl Into<Constants>,
        state: Arena,
        work: Arena,
        pool: Arc<Pool>,
    ) -> Result<Machine> {
        let mut machine = Machine::resting(program, constants, state, pool)?;
        machine.memory = Memory::new(work, &machine.program, machine.pool.threads());
        machine.check_arenas(&EVERY_ARENA)?;
        Ok(machine)
    }

    /// As [`Machine::new`], but without memory to run in: [`Machine::give_memory`] brings it.
    ///
    /// # Errors
    /// As [`Machine::new`].
    pub fn resting(
        program: Arc<Program>,
        constants: impl Into<Constants>,
        state: Arena,
        pool: Arc<Pool>,
    ) -> Result<Machine> {
        let stages = StageShares::all(&program, pool.threads());
        let machine = Machine {
            program,
            constants: constants.into(),
            state,
            memory: Memory::default(),
            pool,
            stages,
            gate: Gate::default(),
        };
        machine.check_arenas(&EVERY_ARENA[..3])?;
        Ok(machine)
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The arena `space`, for reading; of tiles, what the first thread's left behind.
    pub fn arena(&self, space: Space) -> &Arena {
        match space {
            Space::Constants => &self.constants.own,
            Space::Shared => &self.constants.shared,
            Space::State => &self.state,
            Space::Work => &self.memory.work,
            Space::Tile => &self.memory.scratch[0],
        }
    }

    /// The state arena, for writing. It may be replaced by one that is as long.
    pub fn state_mut(&mut self) -> &mut Arena {
        &mut self.state
    }

    /// The work arena, for writing. It may be replaced by one that is as long.
    pub fn work_mut(&mut self) -> &mut Arena {
        &mut self.memory.work
    }

    /// Takes the memory away, for another machine. This one can run again when it has been given
    /// some; what it held is lost then, inputs included.
    pub fn take_memory(&mut self) -> Memory {
        std::mem::take(&mut self.memory)
    }

    /// Gives the machine memory to run in, enlarged where its program needs more.
    pub fn give_memory(&mut self, memory: Memory) {
        self.memory = memory;
        self.memory.fit(&self.program, self.pool.threads());
    }

    /// Ends the machine and gives its state back.
    pub fn into_state(self) -> Arena {
        self.state
    }

    /// Runs all stages once. Allocates nothing.
    ///
    /// # Panics
    /// When a kernel panics, when an arena was replaced by a shorter one, or when the memory was
    /// taken.
    pub fn run(&mut self) {
        self.execute(Watch::Nothing);
    }

    /// As [`Machine::run`], adding to `timings`, which must be of the same program.
    ///
    /// # Panics
    /// As [`Machine::run`].
    pub fn run_timed(&mut self, timings: &Timings) {
        assert_eq!(timings.calls.len(), self.program.calls().count());
        self.execute(Watch::Sums(timings));
    }

    /// As [`Machine::run`], writing down who ran what when; forgets what `trace` held before.
    ///
    /// # Panics
    /// As [`Machine::run`], and when the trace was made for another program or pool.
    pub fn run_traced(&mut self, trace: &Trace) {
        assert!(trace.fits(self.program.calls().count(), self.pool.threads()));
        trace.clear();
        self.execute(Watch::Spans(trace));
    }

    /// A trace for a run of this machine. `clock` gives nanoseconds since any fixed moment.
    pub fn trace(&self, clock: fn() -> u64) -> Trace {
        Trace::new(&self.program, self.pool.threads(), clock)
    }

    fn check_arenas(&self, spaces: &[Space]) -> Result<()> {
        for &space in spaces {
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

    fn execute(&mut self, watch: Watch<'_>) {
        self.check_arenas(&EVERY_ARENA)
            .expect("arenas are replaced only by ones as long");
        assert!(
            self.memory.has_scratch(&self.program, self.pool.threads()),
            "a machine whose memory was taken runs only when it got some again"
        );
        for stage in &self.stages {
            stage.done.0.store(0, Ordering::Relaxed);
            stage.chains.iter().for_each(Shares::reset);
        }
        let floor = Floor {
            machine: self,
            bases: [
                self.constants.own.base(),
                self.constants.shared.base(),
                self.state.base(),
                self.memory.work.base(),
                // Only tiles have this memory, and each brings its own.
                std::ptr::null_mut(),
            ],
            watch,
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
    /// Works on stage after stage. A stage is over when its items are done, not when every thread
    /// has come: one that the machine keeps elsewhere delays no one.
    fn run_thread(&self, thread: usize) {
        for (index, stage) in self.machine.stages.iter().enumerate() {
            if self.failed.load(Ordering::Relaxed) {
                return;
            }
            if stage.is_done() {
                continue;
            }
            // A panic must not keep the others waiting for its items.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run_stage(index, thread)));
            match outcome {
                Ok(0) => {}
                Ok(items) => {
                    let before = stage.done.0.fetch_add(items, Ordering::AcqRel);
                    if before + items == stage.items {
                        self.machine.gate.open();
                    }
                }
                Err(payload) => {
                    let mut slot = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
                    slot.get_or_insert(payload);
                    self.failed.store(true, Ordering::SeqCst);
                    self.machine.gate.open();
                }
            }
            let is_over = || stage.is_done() || self.failed.load(Ordering::SeqCst);
            self.machine.gate.wait_until(is_over);
        }
    }

    /// Does what there is to do in a stage and returns the number of items.
    fn run_stage(&self, stage: usize, thread: usize) -> usize {
        let shares = &self.machine.stages[stage];
        let chains = &self.machine.program.stages()[stage].chains;
        let threads = self.machine.memory.scratch.len();
        let mut done = 0;
        for victim in (thread..threads).chain(0..thread) {
            let mut call = shares.first_call;
            for (chain, shares) in chains.iter().zip(&shares.chains) {
                while let Some(items) = shares.take(victim) {
                    done += items.len();
                    self.run_items(chain, call, thread, items);
                }
                call += chain.count();
            }
        }
        done
    }

    fn run_items(&self, chain: &Chain, first_call: usize, thread: usize, items: Range<usize>) {
        let scratch = &self.machine.memory.scratch[thread];
        let mut number = first_call;
        for call in &chain.calls {
            let cx = Run {
                bases: self.bases,
                operands: &call.operands,
                scratch: scratch.base(),
                scratch_len: scratch.len(),
            };
            match call.kernel.tiles() {
                None => self.watched(number, thread, || call.kernel.run(&cx, items.clone())),
                Some(tiles) => {
                    let steps = items.clone().flat_map(|tile| {
                        let calls = 0..tiles.len();
                        calls.map(move |index| (tile, index))
                    });
                    for (tile, index) in steps {
                        let step = || tiles.run_call(&cx, tile, index);
                        self.watched(number + index, thread, step);
                    }
                }
            }
            number += call.count();
        }
    }

    /// Does `work`, which is a piece of call `number`, and writes down what is asked for.
    fn watched(&self, number: usize, thread: usize, work: impl FnOnce()) {
        match self.watch {
            Watch::Nothing => work(),
            Watch::Sums(timings) => {
                let start = (timings.clock)();
                work();
                let spent = (timings.clock)().saturating_sub(start);
                timings.calls[number].fetch_add(spent, Ordering::Relaxed);
            }
            Watch::Spans(trace) => {
                let start_ns = trace.now();
                work();
                trace.record(Span {
                    call: number,
                    thread,
                    start_ns,
                    end_ns: trace.now(),
                });
            }
        }
    }
}
