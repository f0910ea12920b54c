use std::path::PathBuf;

use sardonyx::bench::{BenchOptions, BenchReport, bench};

use super::workload::Workload;
use crate::cli::{Gauge, Output, Result};

/// Measure how fast a model trains or predicts here, and where the time goes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx bench model.onnx --batch 32\n  \
    sardonyx bench mobilenet-v2 --train --batch 8 --optimizer sgd\n  \
    sardonyx bench bert.onnx --dim sequence=128 --json | jq .median_ms")]
pub(crate) struct Args {
    #[command(flatten)]
    workload: Workload,
    /// Seconds to measure for
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    seconds: f64,
    /// Measure this many runs, however long they take
    #[arg(long, value_name = "COUNT")]
    runs: Option<usize>,
    /// Nodes to tell, the costliest first; 0 measures none
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    top: usize,
    /// Leave the arithmetic peak of the machine unmeasured
    #[arg(long)]
    no_peak: bool,
    /// Write the inputs and outputs of a prediction there as NPY files
    #[arg(long, value_name = "FOLDER", conflicts_with = "train")]
    save: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let options = BenchOptions {
            workload: self.workload.options(),
            seconds: self.seconds,
            runs: self.runs,
            top: self.top,
            peak: !self.no_peak,
            save: self.save,
        };
        let mut gauge = Gauge::new(output);
        let report = bench(&options, &mut |done, what| gauge.show(done, what));
        drop(gauge);
        output.report(&report?, BenchReport::to_text)
    }
}
