//! The way of a request through a model, the same for every protocol: decode, ask the core,
//! encode, and count how long each took.

use std::time::{Duration, Instant};

use sardonyx_tensor::Tensor;

use super::Doors;
use super::exchange::Exchange;
use super::requests::Draft;
use crate::error::{Code, Result};
use crate::metrics::{Door, Phases, Rejection, RequestRecord, Status, Verb};
use crate::registry::Target;
use crate::servable::Servable;
use crate::server::Call;

/// Where a request came in and what it asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) door: Door,
    pub(super) verb: Verb,
    /// Bytes that are to be decoded.
    pub(super) bytes: usize,
}

/// A decoded request; `rest` is what its answer needs besides the outputs.
#[derive(Debug)]
pub(super) struct Question<T> {
    pub(super) inputs: Vec<Tensor>,
    /// Lower numbers go first; 0 is usual.
    pub(super) priority: u64,
    /// Longest time, in microseconds; 0 for any.
    pub(super) timeout_us: u64,
    /// The name that its body gives it; empty for none.
    pub(super) id: String,
    pub(super) rest: T,
}

impl<T> Question<T> {
    /// A question without wishes.
    pub(super) fn new(inputs: Vec<Tensor>, rest: T) -> Question<T> {
        Question {
            inputs,
            priority: 0,
            timeout_us: 0,
            id: String::new(),
            rest,
        }
    }
}

/// Notes the end of a request, also of one whose client left.
struct Recorder<'t> {
    doors: &'t Doors,
    target: &'t Target,
    /// Its line in the request log, if it gets one.
    draft: Option<Draft>,
    record: RequestRecord,
    started: Instant,
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.record.total = self.started.elapsed();
        let servable = &self.target.servable;
        servable.metrics().request(&self.record);
        if let (Some(log), Some(draft)) = (&self.doors.options.request_log, self.draft.take()) {
            log.write(draft, servable, &self.record);
        }
    }
}

/// Runs a request on `target`: `decode` makes tensors of it, `encode` makes the answer.
///
/// # Errors
/// Those of `decode`, `encode` and [`crate::Server::infer`].
pub(super) async fn run<T, A>(
    doors: &Doors,
    exchange: &Exchange,
    (target, kind): (&Target, Kind),
    decode: impl FnOnce(&Servable) -> Result<Question<T>>,
    encode: impl FnOnce(T, &[Tensor]) -> Result<A>,
) -> Result<A> {
    let servable = &target.servable;
    exchange.course.reached(servable);
    let mut recorder = Recorder {
        doors,
        target,
        draft: None,
        record: RequestRecord {
            door: kind.door,
            verb: kind.verb,
            status: Status::Cancelled,
            rows: 0,
            phases: Phases::default(),
            total: Duration::ZERO,
        },
        started: crate::clock::now(),
    };
    let record = &mut recorder.record;
    let room = servable.expect_room();
    let (decoded, parse) = timed(|| unhurried(kind.bytes, || room.and_then(|()| decode(servable))));
    record.phases.parse = Some(parse);
    let question = decoded.inspect_err(|error| {
        record.status = error.code.into();
        servable
            .metrics()
            .reject(Rejection::of(error.code).unwrap_or(Rejection::Invalid));
    })?;
    record.rows = servable.rows(&question.inputs);
    if let Some(log) = &doors.options.request_log {
        recorder.draft = log.begin(servable, exchange, (&question.id, &question.inputs));
    }
    let call = Call {
        inputs: question.inputs,
        priority: question.priority,
        deadline: exchange.deadline_within(question.timeout_us),
        source: exchange.peer.source,
    };
    let answer = doors
        .server
        .infer(target, call)
        .await
        .inspect_err(|error| {
            record.status = error.code.into();
            // What the batcher drops it counts itself.
            if let Code::ResourceExhausted | Code::Unavailable | Code::InvalidArgument = error.code
                && let Some(reason) = Rejection::of(error.code)
            {
                servable.metrics().reject(reason);
            }
        })?;
    record.phases.queue = Some(answer.queued);
    record.phases.compute = Some(answer.computed);
    if let Some(draft) = &mut recorder.draft {
        draft.answered(&answer.outputs);
    }
    let bytes = answer.outputs.iter().map(Tensor::size_bytes).sum();
    let (encoded, serialise) =
        timed(|| unhurried(bytes, || encode(question.rest, &answer.outputs)));
    record.phases.serialise = Some(serialise);
    record.status = encoded
        .as_ref()
        .map_or_else(|error| error.code.into(), |_| Status::Ok);
    encoded
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = crate::clock::now();
    let made = work();
    (made, start.elapsed())
}

/// From so many bytes on, other requests of this thread would wait noticeably.
const LARGE_BYTES: usize = 512 << 10;

/// Does work over `bytes` bytes; other tasks of this thread go on elsewhere while it is long.
pub(super) fn unhurried<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let can_block = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if bytes >= LARGE_BYTES && can_block() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
