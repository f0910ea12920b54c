//! Dynamic batching that never delays a lone request.
//!
//! A lane is a thread with a runner of its own. A lane that comes free takes what waits, as many
//! samples of one shape as fit, and runs them as one batch; nothing waits for a batch to fill,
//! unless `max_delay` says so. Under load batches form by themselves while the lanes are busy.
//! When one client alone keeps asking, its requests run on the thread that brought them: handing
//! them to a lane and back would cost more than a small model.

mod assemble;
mod lane;
mod queue;
mod sizes;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sardonyx_tensor::Tensor;
use tokio::sync::oneshot;

use crate::error::{Code, Result, ServeError, internal};
pub(crate) use lane::guarded;
use queue::{Job, Key, Queue};
pub(crate) use sizes::batch_sizes;

/// Runs batches; each lane has its own.
pub trait Runner: Send {
    /// Runs the model over `inputs`, in the order of its signature.
    ///
    /// # Errors
    /// When the inputs do not suit the model.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>>;

    /// Does a piece of work ahead while nothing waits, such as planning the next batch size; `false`
    /// when there is no more to do.
    fn prepare(&mut self) -> bool {
        false
    }
}

/// How requests are gathered into batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// Most samples of a batch; 1 runs every request by itself.
    pub max_batch_size: usize,
    /// How long a free lane waits for a batch to fill. Zero, the default, never waits.
    pub max_delay: Duration,
    /// Most requests that wait; more are refused at once.
    pub max_queue: usize,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            max_batch_size: 32,
            max_delay: Duration::ZERO,
            max_queue: 1024,
        }
    }
}

/// One request as a batcher takes it.
#[derive(Debug)]
pub struct Work {
    /// Inputs in the order of the signature. Of a model that batches, all have as many samples
    /// along their first axis.
    pub inputs: Vec<Tensor>,
    /// Lower numbers go first.
    pub priority: u64,
    /// When its answer is of no use any more.
    pub deadline: Option<Instant>,
    /// Which connection it came from; any number that tells connections apart.
    pub source: u64,
}

/// What a request got.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Outputs in the order of the signature.
    pub outputs: Vec<Tensor>,
    /// How long the request waited.
    pub queued: Duration,
    /// How long its batch ran.
    pub computed: Duration,
    /// Samples of the batch that it ran in.
    pub batch_rows: usize,
}

/// A request that was taken in: its answer, or where it will come.
#[derive(Debug)]
pub enum Ticket {
    /// It has run already.
    Done(Result<Outcome>),
    /// It waits. Dropping the receiver withdraws the request.
    Waiting(oneshot::Receiver<Result<Outcome>>),
}

/// What a batcher counts.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A batch of `requests` requests with `rows` samples ran for `computed`.
    fn batch(&self, requests: usize, rows: usize, computed: Duration);
    /// Requests were dropped from the queue: `abandoned` by their clients, `expired` in time.
    fn dropped(&self, abandoned: usize, expired: usize);
}

/// Gathers requests into batches and runs them on its lanes.
pub struct Batcher {
    shared: Arc<Shared>,
    lanes: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    options: BatchOptions,
    is_batched: bool,
    observer: Arc<dyn Observer>,
}

struct State {
    queue: Queue,
    free: Vec<Ready>,
    lone: Lone,
    is_open: bool,
}

/// A runner that no lane uses at the moment.
struct Ready {
    runner: Box<dyn Runner>,
    has_preparations: bool,
}

/// Whether one client alone keeps asking, and whether its requests are short.
#[derive(Debug, Default)]
struct Lone {
    source: u64,
    streak: u32,
    /// Moving mean of what a request that ran alone took.
    run_time: Option<Duration>,
}

/// Requests in a row from one connection that make it a lone client.
const LONE_STREAK: u32 = 4;

/// Longest request that may run on the thread that brought it.
const LONE_RUN_TIME: Duration = Duration::from_millis(1);

impl Lone {
    /// Notes that `source` asks and says whether its request should run where it is.
    fn is_lone(&mut self, source: u64) -> bool {
        self.streak = if self.source == source {
            self.streak.saturating_add(1)
        } else {
            0
        };
        self.source = source;
        let is_short = self.run_time.is_some_and(|time| time <= LONE_RUN_TIME);
        is_short && self.streak >= LONE_STREAK
    }

    fn note(&mut self, run_time: Duration) {
        let mean = self.run_time.unwrap_or(run_time);
        self.run_time = Some((mean * 7 + run_time) / 8);
    }
}

impl Batcher {
    /// A batcher with a lane for each of `runners`. Unless `is_batched`, every request runs by
    /// itself.
    ///
    /// # Errors
    /// When the operating system has no more threads.
    pub fn new(
        runners: Vec<Box<dyn Runner>>,
        is_batched: bool,
        options: BatchOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Batcher> {
        let count = runners.len();
        let ready = |runner| Ready {
            runner,
            has_preparations: true,
        };
        let state = State {
            queue: Queue::default(),
            free: runners.into_iter().map(ready).collect(),
            lone: Lone::default(),
            is_open: true,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            options,
            is_batched,
            observer,
        });
        let mut batcher = Batcher {
            shared,
            lanes: Vec::new(),
        };
        for index in 0..count {
            let shared = Arc::clone(&batcher.shared);
            let lane = std::thread::Builder::new()
                .name(format!("lane-{index}"))
                .spawn(move || lane::work(&shared))
                .map_err(internal)?;
            batcher.lanes.push(lane);
        }
        Ok(batcher)
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// When the queue is full, the deadline has passed, or the inputs differ in their number of
    /// samples.
    pub fn submit(&self, work: Work) -> Result<Ticket> {
        let now = crate::clock::now();
        if work.deadline.is_some_and(|deadline| deadline <= now) {
            let message = "the deadline passed before the request arrived";
            return Err(ServeError::new(Code::DeadlineExceeded, message));
        }
        let (rows, key) = self.shared.classify(&work.inputs)?;
        let mut state = self.shared.lock();
        self.shared.expect_room(&state)?;
        let is_lone = state.lone.is_lone(work.source) && state.queue.len() == 0;
        if is_lone && let Some(ready) = state.free.pop() {
            drop(state);
            return Ok(Ticket::Done(self.shared.run_here(
                ready,
                &work.inputs,
                rows,
            )));
        }
        let (reply, receiver) = oneshot::channel();
        let job = Job {
            inputs: work.inputs,
            rows,
            priority: work.priority,
            arrived: now,
            deadline: work.deadline,
            reply,
        };
        state.queue.push(key, job);
        let has_free = !state.free.is_empty();
        drop(state);
        if has_free {
            self.shared.wake.notify_one();
        }
        Ok(Ticket::Waiting(receiver))
    }

    /// Whether a request would be taken in now: for asking before it is decoded.
    ///
    /// # Errors
    /// When the queue is full.
    pub fn expect_room(&self) -> Result<()> {
        self.shared.expect_room(&self.shared.lock())
    }

    /// Number of requests that wait.
    pub fn queue_len(&self) -> usize {
        self.shared.lock().queue.len()
    }
}

impl fmt::Debug for Batcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("lanes", &self.lanes.len())
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl Drop for Batcher {
    /// Lets the lanes finish what waits, then ends them.
    fn drop(&mut self) {
        self.shared.lock().is_open = false;
        self.shared.wake.notify_all();
        for lane in self.lanes.drain(..) {
            // A lane's panic was already reported by the panic hook; there is nobody to tell.
            let _ = lane.join();
        }
        let error = ServeError::new(Code::Unavailable, "the model is being unloaded");
        self.shared.lock().queue.refuse_all(&error);
    }
}

impl Shared {
    /// The state; a lane that panicked leaves it as whole as it was.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_room(&self, state: &State) -> Result<()> {
        let length = state.queue.len();
        if length < self.options.max_queue {
            return Ok(());
        }
        let message = format!("the queue is full: {length} requests wait; hint: try again later");
        Err(ServeError::new(Code::ResourceExhausted, message))
    }

    /// Samples of a request, and the shapes that it may share a batch with.
    fn classify(&self, inputs: &[Tensor]) -> Result<(usize, Key)> {
        if !self.is_batched {
            return Ok((1, Key::new()));
        }
        let mut rows = None;
        let mut key = Key::with_capacity(inputs.len());
        for input in inputs {
            let Some((&first, sample)) = input.shape().split_first() else {
                let message = "an input has no batch dimension";
                return Err(ServeError::new(Code::InvalidArgument, message));
            };
            if *rows.get_or_insert(first) != first {
                let message = format!(
                    "the inputs differ in their batch size: {} and {first}",
                    rows.unwrap_or_default()
                );
                return Err(ServeError::new(Code::InvalidArgument, message));
            }
            key.push(sample.to_vec());
        }
        Ok((rows.unwrap_or(1), key))
    }

    fn run_here(&self, mut ready: Ready, inputs: &[Tensor], rows: usize) -> Result<Outcome> {
        let start = crate::clock::now();
        let outputs = lane::guarded(|| ready.runner.run(inputs));
        let computed = start.elapsed();
        self.observer.batch(1, rows, computed);
        let mut state = self.lock();
        state.free.push(ready);
        state.lone.note(computed);
        let is_waited_for = state.queue.len() > 0;
        drop(state);
        if is_waited_for {
            self.wake.notify_one();
        }
        Ok(Outcome {
            outputs: outputs?,
            queued: Duration::ZERO,
            computed,
            batch_rows: rows,
        })
    }
}

#[cfg(test)]
mod tests;
