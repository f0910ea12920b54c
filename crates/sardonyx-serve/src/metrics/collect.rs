//! Everything that is counted in one server, and the page that shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::labels::{Door, LogKind, LogResult, Port, Rejection, Reload};
use super::model::ModelMetrics;
use super::native;
use super::number::{Counter, Gauge, Level};
use super::process::Process;
use super::tensorflow;
use super::text::{Format, Page, labels};
use super::triton;

/// What a server shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsOptions {
    /// Whether the names of TensorFlow Serving are shown too.
    pub tensorflow_names: bool,
    /// Whether the names of Triton are shown too.
    pub triton_names: bool,
    /// The program's version.
    pub build_version: String,
}

impl Default for MetricsOptions {
    fn default() -> MetricsOptions {
        MetricsOptions {
            tensorflow_names: false,
            triton_names: false,
            build_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Attempts of one kind.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub(super) succeeded: Counter,
    pub(super) failed: Counter,
    /// Whether the last one failed.
    pub(super) is_failing: Gauge,
}

impl Attempts {
    fn note(&self, is_ok: bool) {
        if is_ok {
            self.succeeded.increment();
        } else {
            self.failed.increment();
        }
        self.is_failing.set(f64::from(u8::from(!is_ok)));
    }
}

/// Counts and measurements of one server.
#[derive(Debug)]
pub struct Metrics {
    pub(super) options: MetricsOptions,
    pub(super) build: String,
    models: Mutex<BTreeMap<(String, u64), Arc<ModelMetrics>>>,
    pub(super) unrouted: [[Counter; Rejection::ALL.len()]; Door::ALL.len()],
    pub(super) connections: [Level; Port::ALL.len()],
    pub(super) accepted: [Counter; Port::ALL.len()],
    pub(super) reloads: [Attempts; Reload::ALL.len()],
    pub(super) loads: Attempts,
    pub(super) log_lines: [[Counter; LogResult::ALL.len()]; LogKind::ALL.len()],
    pub(super) cache_bytes: Gauge,
    pub(super) cache_entries: Gauge,
    pub(super) cache_evictions: Counter,
    pub(super) ready: Gauge,
    pub(super) started: Instant,
    pub(super) process: Process,
}

impl Metrics {
    /// Nothing counted yet. Its creation counts as the start of the process.
    pub fn new(options: MetricsOptions) -> Metrics {
        Metrics {
            build: labels(&[
                ("arch", std::env::consts::ARCH),
                ("version", &options.build_version),
            ]),
            options,
            models: Mutex::default(),
            unrouted: Default::default(),
            connections: Default::default(),
            accepted: Default::default(),
            reloads: Default::default(),
            loads: Attempts::default(),
            log_lines: Default::default(),
            cache_bytes: Gauge::default(),
            cache_entries: Gauge::default(),
            cache_evictions: Counter::default(),
            ready: Gauge::default(),
            started: crate::clock::now(),
            process: Process::new(),
        }
    }

    /// The metrics of a version, made when it is not there: the version is loading.
    pub fn model(&self, name: &str, version: u64) -> Arc<ModelMetrics> {
        let mut models = self.lock();
        if let Some(found) = models.get(&(name.to_owned(), version)) {
            return Arc::clone(found);
        }
        let tensorflow = self.options.tensorflow_names.then(|| {
            // Versions of one model share these: their names know no versions.
            let mut siblings = models.values().filter(|other| other.model == name);
            let shared = siblings.find_map(|other| other.tensorflow.clone());
            shared.unwrap_or_default()
        });
        let made = Arc::new(ModelMetrics::new(name, version, tensorflow));
        models.insert((name.to_owned(), version), Arc::clone(&made));
        made
    }

    /// Forgets a version that was unloaded; its series end.
    pub fn forget(&self, name: &str, version: u64) {
        self.lock().remove(&(name.to_owned(), version));
    }

    /// The metrics of every version, by model and version.
    pub fn models(&self) -> Vec<Arc<ModelMetrics>> {
        self.lock().values().cloned().collect()
    }

    /// Counts a request that reached no model.
    pub fn reject(&self, door: Door, reason: Rejection) {
        self.unrouted[door as usize][reason as usize].increment();
    }

    /// Counts a connection as open until the answer is dropped.
    pub fn connect(self: &Arc<Metrics>, port: Port) -> Connection {
        self.accepted[port as usize].increment();
        self.connections[port as usize].enter();
        Connection(Arc::clone(self), port)
    }

    /// Counts an attempt to read something again.
    pub fn reloaded(&self, what: Reload, is_ok: bool) {
        self.reloads[what as usize].note(is_ok);
    }

    /// Counts an attempt to load a version.
    pub fn loaded(&self, is_ok: bool) {
        self.loads.note(is_ok);
    }

    /// Counts lines of a log.
    pub fn logged(&self, log: LogKind, result: LogResult, lines: u64) {
        self.log_lines[log as usize][result as usize].add(lines);
    }

    /// Says what the response cache holds, and how many answers had to leave it since last asked.
    pub fn cached(&self, bytes: usize, entries: usize, evicted: u64) {
        self.cache_bytes.set(bytes as f64);
        self.cache_entries.set(entries as f64);
        self.cache_evictions.add(evicted);
    }

    /// Says whether the server is ready, as `/readyz` says it.
    pub fn set_ready(&self, is_ready: bool) {
        self.ready.set(f64::from(u8::from(is_ready)));
    }

    /// The whole page.
    pub fn render(&self, format: Format) -> String {
        let mut page = Page::new(format);
        let models = self.models();
        native::write(self, &models, &mut page);
        if self.options.tensorflow_names {
            tensorflow::write(&models, &mut page);
        }
        if self.options.triton_names {
            triton::write(&self.process, &models, &mut page);
        }
        page.finish()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, u64), Arc<ModelMetrics>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection; dropped when it closes.
#[derive(Debug)]
pub struct Connection(Arc<Metrics>, Port);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections[self.1 as usize].leave();
    }
}
