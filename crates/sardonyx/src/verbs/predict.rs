use std::path::PathBuf;

use sardonyx::predict::{PredictOptions, PredictReport, predict};

use super::Scale;
use crate::cli::{Output, Result};

/// Tell the classes of images, tables or arrays
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx predict runs/digits seven.png\n  \
    sardonyx predict model.onnx *.jpg --top 5\n  \
    sardonyx predict model.onnx table.csv --json | jq '.predictions[].class'")]
pub(crate) struct Args {
    /// ONNX file, or the folder of a run
    model: PathBuf,
    /// Image files (PNG, JPEG), CSV files, NPY arrays
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Classes to tell for each sample
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    top: usize,
    /// Scale raw values to [0,1] or [-1,1] first, for models that were trained elsewhere
    #[arg(long, value_enum)]
    scale: Option<Scale>,
    /// Threads; 0 takes every core
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let report = predict(&PredictOptions {
            model: self.model,
            inputs: self.inputs,
            top: self.top,
            scale: self.scale.map(Scale::to_scaling),
            threads: self.threads,
        })?;
        output.report(&report, PredictReport::to_text)
    }
}
