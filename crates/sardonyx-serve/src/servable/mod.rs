//! One version of a model, ready to answer.

mod cached;
mod inputs;
mod runner;
mod warm;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sardonyx_engine::{Session, SessionOptions};
use sardonyx_ir::{Graph, ValueId};
use sardonyx_kernels::Pool;
use sardonyx_passes::{apply, lift_constants};
use sardonyx_tensor::Tensor;

use crate::batch::{BatchOptions, Batcher, Observer, Runner, Ticket, Work};
use crate::cache::Cache;
use crate::error::{Code, Result, ServeError, internal};
use crate::metrics::ModelMetrics;
use crate::signature::Signature;
pub(crate) use cached::Cached;
use runner::SessionRunner;
pub(crate) use warm::{WARM_UP_LINES, WARM_UP_RECORDS};

/// Arithmetic of one sample below which a model is small: each lane runs it on one thread, and
/// there is a lane for each core. Larger models share all cores in one lane.
const SMALL_FLOPS: u64 = 30_000_000;

/// How a version is loaded and run.
#[derive(Debug, Clone)]
pub struct ServableOptions {
    /// How requests are gathered.
    pub batch: BatchOptions,
    /// Lanes that run batches; 0 chooses by the model's size.
    pub lanes: usize,
    /// Whether a sample of zeros and the requests beside the model run, and every batch size is
    /// planned, before the version is ready.
    pub warm_up: bool,
    /// The threads that large models share.
    pub pool: Arc<Pool>,
    /// Where answers are kept for requests that come again; `None` keeps none.
    pub cache: Option<Arc<Cache>>,
}

impl ServableOptions {
    /// The defaults, with these threads.
    pub fn new(pool: Arc<Pool>) -> ServableOptions {
        ServableOptions {
            batch: BatchOptions::default(),
            lanes: 0,
            warm_up: true,
            pool,
            cache: None,
        }
    }
}

/// A loaded version of a model. Dropping it gives back all that it holds.
pub struct Servable {
    name: String,
    version: u64,
    path: PathBuf,
    signature: Signature,
    batch: BatchOptions,
    batcher: Arc<Batcher>,
    metrics: Arc<ModelMetrics>,
    load_time: Duration,
    cached: Option<Cached>,
}

impl Servable {
    /// Loads `path` as version `version` of the model `name`.
    ///
    /// # Errors
    /// When the file cannot be read, is no valid model, or its warm-up fails.
    pub fn load(
        name: &str,
        version: u64,
        path: &Path,
        options: &ServableOptions,
        metrics: Arc<ModelMetrics>,
    ) -> Result<Servable> {
        let start = crate::clock::now();
        let graph = read(path)?;
        let names = output_names(&graph);
        let mut first = session(graph, &options.pool)?;
        let mut signature = Signature::of(first.graph())?;
        for (output, name) in signature.outputs.iter_mut().zip(names) {
            output.name = name;
        }
        if options.batch.max_batch_size <= 1 {
            signature.is_batched = false;
        }
        let lanes = lanes(&mut first, &signature, options)?;
        let sessions = sessions(first, lanes)?;
        let read_and_planned = start.elapsed();
        let mut runners: Vec<Box<dyn Runner>> = Vec::new();
        for session in sessions {
            let mut runner = SessionRunner::new(session, &signature, options.batch.max_batch_size);
            if options.warm_up {
                runner.warm_up(path)?;
            }
            runners.push(Box::new(runner));
        }
        let observer: Arc<dyn Observer> = metrics.clone();
        let batch = options.batch.clone();
        let batcher = Batcher::new(runners, signature.is_batched, batch.clone(), observer)?;
        let batcher = Arc::new(batcher);
        let watched = Arc::downgrade(&batcher);
        metrics.watch_queue(batch.max_queue, move || {
            watched.upgrade().map_or(0, |batcher| batcher.queue_len())
        });
        let load_time = start.elapsed();
        metrics.set_load_time(load_time, load_time.saturating_sub(read_and_planned));
        Ok(Servable {
            name: name.to_owned(),
            version,
            path: path.to_owned(),
            signature,
            batch,
            batcher,
            metrics,
            load_time,
            cached: options.cache.clone().map(Cached::new),
        })
    }

    /// A version that `runner` answers for, one request at a time.
    #[cfg(test)]
    pub(crate) fn of_runner(
        version: u64,
        runner: Box<dyn Runner>,
        metrics: Arc<ModelMetrics>,
    ) -> Servable {
        let observer: Arc<dyn Observer> = metrics.clone();
        let batch = BatchOptions::default();
        let batcher = Batcher::new(vec![runner], false, batch.clone(), observer);
        Servable {
            name: "test".to_owned(),
            version,
            path: PathBuf::new(),
            signature: Signature {
                inputs: Vec::new(),
                outputs: Vec::new(),
                is_batched: false,
                classes: None,
                image: None,
            },
            batch,
            batcher: Arc::new(batcher.expect("threads")),
            metrics,
            load_time: Duration::ZERO,
            cached: None,
        }
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of the version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The file that it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// How its requests are gathered.
    pub fn batch_options(&self) -> &BatchOptions {
        &self.batch
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<ModelMetrics> {
        &self.metrics
    }

    /// How long it took to load.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// The answers that are kept for it.
    pub(crate) fn cached(&self) -> Option<&Cached> {
        self.cached.as_ref()
    }

    /// Whether a request is worth decoding: none is that would be refused for the queue.
    ///
    /// # Errors
    /// When the queue is full, and no answer is kept that could be given all the same.
    pub(crate) fn expect_room(&self) -> Result<()> {
        match self.cached {
            Some(_) => Ok(()),
            None => self.batcher.expect_room(),
        }
    }

    /// Takes in a request whose inputs are in the order of the signature.
    ///
    /// # Errors
    /// As [`Batcher::submit`].
    pub fn submit(&self, work: Work) -> Result<Ticket> {
        self.batcher.submit(work)
    }

    /// Samples of a request with these inputs.
    pub fn rows(&self, inputs: &[Tensor]) -> usize {
        let first = inputs.first().and_then(|input| input.shape().first());
        first
            .filter(|_| self.signature.is_batched)
            .copied()
            .unwrap_or(1)
    }
}

impl fmt::Debug for Servable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servable")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Graph> {
    let failed = |error: &dyn fmt::Display| {
        ServeError::new(
            Code::FailedPrecondition,
            format!("{}: {error}", path.display()),
        )
    };
    let mut graph = sardonyx_model::load(path).map_err(|error| failed(&error))?;
    apply(&mut graph, lift_constants).map_err(|error| failed(&error))?;
    Ok(graph)
}

/// Taken from the model as it came: a node that names an output may have nothing to do, and go.
fn output_names(graph: &Graph) -> Vec<String> {
    let name = |&id: &ValueId| graph.value_name(id).to_owned();
    graph.outputs.iter().map(name).collect()
}

fn session(graph: Graph, pool: &Arc<Pool>) -> Result<Session> {
    let mut options = SessionOptions::new(Arc::clone(pool));
    options.max_plans = runner::MAX_PLANS;
    Session::new(graph, options)
        .map_err(|error| ServeError::new(Code::FailedPrecondition, error.to_string()))
}

/// How many lanes the model gets. Plans one sample to see how much work it is.
fn lanes(first: &mut Session, signature: &Signature, options: &ServableOptions) -> Result<usize> {
    if options.lanes > 0 {
        return Ok(options.lanes);
    }
    let Some(sample) = runner::zeros(signature, 1)? else {
        return Ok(1);
    };
    let planned = first.executable(&sample).map_err(internal)?;
    let is_small = planned.is_some_and(|plan| plan.flops() < SMALL_FLOPS);
    Ok(if is_small { options.pool.threads() } else { 1 })
}

/// A session for each lane. With several lanes each runs on its own thread alone.
fn sessions(first: Session, lanes: usize) -> Result<Vec<Session>> {
    if lanes == 1 {
        return Ok(vec![first]);
    }
    // A pool serves one caller at a time, so each lane has one of its own.
    let alone = || Pool::new(1).map(Arc::new).map_err(internal);
    (0..lanes).map(|_| Ok(first.sibling(alone()?))).collect()
}
