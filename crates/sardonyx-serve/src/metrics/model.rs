//! What is counted of one version of one model.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::labels::{Door, Pick, Rejection, ShadowResult, Status, Verb, VersionState};
use super::number::{Counter, Gauge, Histogram, Level, Scale};
use super::tensorflow::TensorflowMetrics;
use super::text::labels;
use crate::batch::Observer;

/// How long each part of a request took; `None` is a part that it did not come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// From bytes to tensors.
    pub parse: Option<Duration>,
    /// Waiting for a lane.
    pub queue: Option<Duration>,
    /// The batch that it ran in.
    pub compute: Option<Duration>,
    /// From tensors to bytes.
    pub serialise: Option<Duration>,
}

/// Names of the phases, in the order of [`Phases`].
pub(super) const PHASES: [&str; 4] = ["parse", "queue", "compute", "serialise"];

impl Phases {
    pub(super) fn all(&self) -> [Option<Duration>; 4] {
        [self.parse, self.queue, self.compute, self.serialise]
    }
}

/// A request that has ended.
#[derive(Debug, Clone, Copy)]
pub struct RequestRecord {
    /// Which protocol it came by.
    pub door: Door,
    /// What it asked.
    pub verb: Verb,
    /// How it ended.
    pub status: Status,
    /// Samples that it brought; 0 when it did not come so far.
    pub rows: usize,
    /// How long its parts took.
    pub phases: Phases,
    /// From its last byte read to its answer's last byte handed over.
    pub total: Duration,
}

/// Counts and measurements of one version of one model, for as long as it is loaded.
pub struct ModelMetrics {
    pub(super) model: String,
    pub(super) version: u64,
    /// `model` and `version` as written labels.
    pub(super) labels: String,
    /// By door, verb and status; see [`ModelMetrics::requests`].
    requests: Box<[Counter]>,
    pub(super) phases: [Histogram; 4],
    /// Whole requests, by door.
    pub(super) durations: Box<[Histogram]>,
    pub(super) batch_duration: Histogram,
    pub(super) batch_requests: Histogram,
    pub(super) batch_rows: Histogram,
    pub(super) rejected: [Counter; Rejection::ALL.len()],
    pub(super) picks: [Counter; Pick::ALL.len()],
    pub(super) shadow: [Counter; ShadowResult::ALL.len()],
    pub(super) shadow_difference: Histogram,
    pub(super) cache_hits: Counter,
    pub(super) cache_misses: Counter,
    pub(super) in_flight: Level,
    pub(super) queue_limit: Gauge,
    pub(super) weight: Gauge,
    pub(super) load_seconds: Gauge,
    pub(super) warm_up_seconds: Gauge,
    pub(super) bytes: Gauge,
    state: AtomicU8,
    queue_len: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
    pub(super) tensorflow: Option<Arc<TensorflowMetrics>>,
}

impl ModelMetrics {
    pub(super) fn new(
        model: &str,
        version: u64,
        tensorflow: Option<Arc<TensorflowMetrics>>,
    ) -> ModelMetrics {
        let cells = Door::ALL.len() * Verb::ALL.len() * Status::ALL.len();
        let seconds = || Histogram::new(Scale::seconds());
        ModelMetrics {
            model: model.to_owned(),
            version,
            labels: labels(&[("model", model), ("version", &version.to_string())]),
            requests: (0..cells).map(|_| Counter::default()).collect(),
            phases: std::array::from_fn(|_| seconds()),
            durations: Door::ALL.iter().map(|_| seconds()).collect(),
            batch_duration: seconds(),
            batch_requests: Histogram::new(Scale::sizes()),
            batch_rows: Histogram::new(Scale::sizes()),
            rejected: Default::default(),
            picks: Default::default(),
            shadow: Default::default(),
            shadow_difference: Histogram::new(Scale::differences()),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            in_flight: Level::default(),
            queue_limit: Gauge::default(),
            weight: Gauge::default(),
            load_seconds: Gauge::default(),
            warm_up_seconds: Gauge::default(),
            bytes: Gauge::default(),
            state: AtomicU8::new(VersionState::Start as u8),
            queue_len: OnceLock::new(),
            tensorflow,
        }
    }

    /// Records a request that has ended, well or not. Those for metadata are counted, not timed.
    pub fn request(&self, record: &RequestRecord) {
        self.requests(record.door, record.verb, record.status)
            .increment();
        if record.verb == Verb::Metadata {
            return;
        }
        self.durations[record.door as usize].record_time(record.total);
        for (histogram, time) in self.phases.iter().zip(record.phases.all()) {
            if let Some(time) = time {
                histogram.record_time(time);
            }
        }
        if let Some(tensorflow) = &self.tensorflow {
            tensorflow.request(record);
        }
    }

    /// Records a request that did not run, and why. What the batcher drops it counts itself.
    pub fn reject(&self, reason: Rejection) {
        self.rejected[reason as usize].increment();
    }

    /// Records how a request came to this version.
    pub fn pick(&self, pick: Pick) {
        self.picks[pick as usize].increment();
    }

    /// How many requests that this version shadowed ended so.
    pub fn shadowed(&self, result: ShadowResult) -> u64 {
        self.shadow[result as usize].value()
    }

    /// Records what became of a request that this version shadowed. `difference` is the largest
    /// between its outputs and the champion's, relative to the champion's where those are above 1.
    pub fn shadow(&self, result: ShadowResult, difference: Option<f64>) {
        self.shadow[result as usize].increment();
        if let Some(difference) = difference {
            self.shadow_difference.record_difference(difference);
        }
    }

    /// Records a look into the response cache.
    pub fn cache(&self, is_hit: bool) {
        if is_hit {
            self.cache_hits.increment();
        } else {
            self.cache_misses.increment();
        }
    }

    /// Counts a request as in flight until the answer is dropped.
    pub fn enter(self: &Arc<ModelMetrics>) -> InFlight {
        self.in_flight.enter();
        InFlight(Arc::clone(self))
    }

    /// Says where the version is in its life.
    pub fn set_state(&self, state: VersionState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Where the version is in its life.
    pub fn state(&self) -> VersionState {
        VersionState::ALL[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// Says how long the version took to load, and how much of that to warm up.
    pub fn set_load_time(&self, load: Duration, warm_up: Duration) {
        self.load_seconds.set(load.as_secs_f64());
        self.warm_up_seconds.set(warm_up.as_secs_f64());
    }

    /// Says how much memory the version's weights take.
    pub fn set_bytes(&self, bytes: u64) {
        self.bytes.set(bytes as f64);
    }

    /// Says which share of the model's requests a rollout gives this version, from 0 to 1.
    pub fn set_weight(&self, share: f64) {
        self.weight.set(share);
    }

    /// Says where the length of the queue can be read when somebody asks, and its limit; the first
    /// call counts. `len` must not keep the batcher alive, which keeps this alive.
    pub fn watch_queue(&self, limit: usize, len: impl Fn() -> usize + Send + Sync + 'static) {
        self.queue_limit.set(limit as f64);
        // A version has one batcher for life; a second source would say the same.
        let _ = self.queue_len.set(Box::new(len));
    }

    /// The name of the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The version of the model.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many requests ended in this way.
    pub fn requests(&self, door: Door, verb: Verb, status: Status) -> &Counter {
        let row = door as usize * Verb::ALL.len() + verb as usize;
        &self.requests[row * Status::ALL.len() + status as usize]
    }

    /// How many requests for an answer of the model ended with one of `statuses`.
    pub(super) fn answers(&self, is_counted: impl Fn(Status) -> bool) -> u64 {
        let mut sum = 0;
        for &door in Door::ALL {
            for &verb in Verb::ALL.iter().filter(|verb| **verb != Verb::Metadata) {
                for &status in Status::ALL.iter().filter(|status| is_counted(**status)) {
                    sum += self.requests(door, verb, status).value();
                }
            }
        }
        sum
    }

    /// The statistics that KServe's extension reports: see [`Totals`].
    pub fn totals(&self) -> Totals {
        let phase = |index: usize| {
            let histogram: &Histogram = &self.phases[index];
            (
                histogram.count(),
                Duration::from_nanos(histogram.sum_recorded()),
            )
        };
        let durations = self.durations.iter();
        Totals {
            success: self.answers(|status| status == Status::Ok),
            failure: self.answers(|status| status != Status::Ok),
            request_time: Duration::from_nanos(durations.map(Histogram::sum_recorded).sum()),
            parse: phase(0),
            queue: phase(1),
            compute: phase(2),
            serialise: phase(3),
            cache_hits: self.cache_hits.value(),
            cache_misses: self.cache_misses.value(),
            rows: self.batch_rows.sum_recorded(),
            batches: self.batch_rows.count(),
        }
    }

    pub(super) fn queue_len(&self) -> usize {
        self.queue_len.get().map_or(0, |len| len())
    }
}

/// Sums over the life of a version, as KServe's statistics extension reports them. A pair is a
/// count and the time of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were answered.
    pub success: u64,
    /// Requests that failed.
    pub failure: u64,
    /// Time of all requests.
    pub request_time: Duration,
    /// From bytes to tensors.
    pub parse: (u64, Duration),
    /// Waiting.
    pub queue: (u64, Duration),
    /// The batches that requests ran in, each as often as it had requests.
    pub compute: (u64, Duration),
    /// From tensors to bytes.
    pub serialise: (u64, Duration),
    /// Answers that came from the response cache.
    pub cache_hits: u64,
    /// Answers that the response cache did not have.
    pub cache_misses: u64,
    /// Samples that the model computed.
    pub rows: u64,
    /// Batches that the model ran.
    pub batches: u64,
}

impl Observer for ModelMetrics {
    fn batch(&self, requests: usize, rows: usize, computed: Duration) {
        self.batch_requests.record(requests as u64);
        self.batch_rows.record(rows as u64);
        self.batch_duration.record_time(computed);
    }

    fn dropped(&self, abandoned: usize, expired: usize) {
        self.rejected[Rejection::Abandoned as usize].add(abandoned as u64);
        self.rejected[Rejection::Deadline as usize].add(expired as u64);
    }
}

impl fmt::Debug for ModelMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelMetrics")
            .field("model", &self.model)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A request that is being answered; dropped when it has been.
#[derive(Debug)]
pub struct InFlight(Arc<ModelMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.leave();
    }
}
