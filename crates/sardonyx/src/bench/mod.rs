//! How fast a model is here: time, arithmetic, memory, and where they go.

mod nodes;
pub(crate) mod print;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sardonyx_tensor::Tensor;
use serde::Serialize;

use crate::clock::Stopwatch;
use crate::doctor::peak;
use crate::error::{Error, Result};
use crate::machine;
use crate::workload::{Workload, WorkloadOptions};

pub use nodes::NodeTime;

/// What to measure, and for how long.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// The model and what it does.
    pub workload: WorkloadOptions,
    /// Seconds to measure for.
    pub seconds: f64,
    /// Runs to measure, however long they take; as many as fit into the seconds when `None`.
    pub runs: Option<usize>,
    /// How many of the costliest nodes to tell; nodes are not measured when 0.
    pub top: usize,
    /// Whether to measure the arithmetic peak of the machine, too.
    pub peak: bool,
    /// Folder to write the inputs and outputs of a prediction to, as `input_0.npy`, `output_0.npy`,
    /// ..., so that other software can be held against them.
    pub save: Option<PathBuf>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        BenchOptions {
            workload: WorkloadOptions::default(),
            seconds: 2.0,
            runs: None,
            top: 10,
            peak: true,
            save: None,
        }
    }
}

/// What was measured. A run is a training step or a prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// The model file, or the name of a network of the zoo.
    pub model: PathBuf,
    /// `train` or `predict`.
    pub task: &'static str,
    /// Samples of a run.
    pub batch: usize,
    /// Sizes of the symbolic dimensions of the inputs.
    pub dims: BTreeMap<String, usize>,
    /// Threads.
    pub threads: usize,
    /// Instruction set of the kernels.
    pub isa: String,
    /// Reading the file, or making the weights of a network of the zoo, in milliseconds.
    pub load_ms: f64,
    /// From the model to its plan.
    pub plan_ms: f64,
    /// From the file to the end of the first run.
    pub first_ms: f64,
    /// Runs that were measured.
    pub n_runs: usize,
    /// Median time of a run, in milliseconds.
    pub median_ms: f64,
    /// The shortest time of a run.
    pub min_ms: f64,
    /// Samples a second, at the median.
    pub samples_per_second: f64,
    /// Floating-point operations of a run, a multiply-add being two; `None` when nodes were not
    /// measured or the model is interpreted.
    pub flops: Option<u64>,
    /// Billions of them a second, at the median.
    pub gflops: Option<f64>,
    /// Billions of multiply-adds a second, counted as two, that this machine can do at most.
    pub peak_gflops: Option<f64>,
    /// Which share of that the model reaches, 0 to 1.
    pub peak_share: Option<f64>,
    /// Bytes that the nodes read and write in a run.
    pub bytes_moved: Option<u64>,
    /// Bytes of the plan: weights, state and what a run works in; `None` for a model that is
    /// interpreted because its shapes depend on data.
    pub peak_bytes: Option<u64>,
    /// Most memory that the process had, in bytes, where the system tells it.
    pub max_rss: Option<u64>,
    /// Share of the threads' time in which they computed, 0 to 1; the rest is waiting.
    pub busy_share: Option<f64>,
    /// Operators that have no kernel and run through their reference, with their number.
    pub host_operators: BTreeMap<String, usize>,
    /// The costliest nodes, the costliest first.
    pub nodes: Vec<NodeTime>,
}

/// Told as measuring goes on: the share that is done, 0 to 1, and what is being done.
pub type Tell<'a> = &'a mut dyn FnMut(f64, &str);

/// Runs before those that count: caches, pages and clock rates settle.
const WARM_UP_RUNS: usize = 2;
/// Seconds to warm up for at least, when there is time.
const WARM_UP_SECONDS: f64 = 0.2;
const MIN_RUNS: usize = 5;
const MAX_RUNS: usize = 10_000;
/// Most runs over which the times of nodes are averaged.
const MAX_NODE_RUNS: usize = 20;

/// Measures a model on made-up data.
///
/// # Errors
/// When the model cannot be read, planned or run, or a file cannot be written.
pub fn bench(options: &BenchOptions, tell: Tell<'_>) -> Result<BenchReport> {
    if options.runs == Some(0) || !(options.seconds >= 0.0 && options.seconds.is_finite()) {
        return Err(Error::config("runs", "nothing would be measured"));
    }
    tell(0.0, "reading and planning");
    let mut workload = Workload::start(&options.workload)?;
    let peak = match options.peak {
        true => Some(peak(workload.isa, workload.threads)?.gflops),
        false => None,
    };
    let times = measure(&mut workload, options, tell)?;
    let max_rss = machine::peak_memory();
    let (median, min) = (times[times.len() / 2], times[0]);
    tell(1.0, "measuring nodes");
    let costs = match options.top {
        0 => Vec::new(),
        _ => {
            let fit = (options.seconds / 4.0 / median.max(1e-9)) as usize;
            let runs = options.runs.unwrap_or(fit);
            workload.profile(runs.clamp(1, MAX_NODE_RUNS))
        }
    };
    let totals = nodes::totals(&costs);
    let gflops = totals.map(|totals| totals.flops as f64 / median / 1e9);
    if let Some(folder) = &options.save {
        let (inputs, outputs) = workload.tensors()?;
        save(folder, "input", &inputs)?;
        save(folder, "output", &outputs)?;
    }
    let start = workload.start;
    Ok(BenchReport {
        model: options.workload.model.clone(),
        task: options.workload.task(),
        batch: workload.batch,
        threads: workload.threads,
        isa: workload.isa.to_string(),
        load_ms: start.load * 1e3,
        plan_ms: start.plan * 1e3,
        first_ms: start.first * 1e3,
        n_runs: times.len(),
        median_ms: median * 1e3,
        min_ms: min * 1e3,
        samples_per_second: workload.batch as f64 / median,
        flops: totals.map(|totals| totals.flops),
        gflops,
        peak_gflops: peak,
        peak_share: gflops.zip(peak).map(|(gflops, peak)| gflops / peak),
        bytes_moved: totals.map(|totals| totals.bytes),
        peak_bytes: workload.memory_bytes(),
        max_rss,
        busy_share: totals.map(|totals| totals.seconds / workload.threads as f64 / median),
        host_operators: workload.host_operators().unwrap_or_default(),
        nodes: nodes::costliest(&costs, workload.threads, options.top),
        dims: workload.dims,
    })
}

fn save(folder: &Path, what: &str, tensors: &[Tensor]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        action: "write",
        path: folder.to_owned(),
        source,
    })?;
    for (index, tensor) in tensors.iter().enumerate() {
        let path = folder.join(format!("{what}_{index}.npy"));
        sardonyx_onnx::write_atomic(&path, &sardonyx_data::npy::to_bytes(tensor)?)?;
    }
    Ok(())
}

/// Seconds of each run, the shortest first.
fn measure(workload: &mut Workload, options: &BenchOptions, tell: Tell<'_>) -> Result<Vec<f64>> {
    let what = match options.workload.train {
        Some(_) => "measuring steps",
        None => "measuring predictions",
    };
    let watch = Stopwatch::start();
    let settle = WARM_UP_SECONDS.min(options.seconds / 4.0);
    let mut n_warm = 0;
    while n_warm < WARM_UP_RUNS || (options.runs.is_none() && watch.seconds() < settle) {
        workload.run()?;
        n_warm += 1;
    }
    let mut times = Vec::new();
    let watch = Stopwatch::start();
    loop {
        let (n, seconds) = (times.len(), watch.seconds());
        let done = match options.runs {
            Some(runs) => n as f64 / runs as f64,
            None if n < MIN_RUNS => n as f64 / MIN_RUNS as f64,
            None if n >= MAX_RUNS => 1.0,
            None => seconds / options.seconds.max(f64::MIN_POSITIVE),
        };
        if done >= 1.0 {
            break;
        }
        tell(done, what);
        let run = Stopwatch::start();
        workload.run()?;
        times.push(run.seconds());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
