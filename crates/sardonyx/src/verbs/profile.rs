use std::path::PathBuf;

use sardonyx::profile::{ProfileOptions, ProfileReport, profile};

use super::workload::Workload;
use crate::cli::{Output, Result};

/// Trace one training step or prediction: which thread runs what when
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx profile model.onnx --batch 32\n  \
    sardonyx profile resnet18-32 --train --batch 16 --trace step.json\n\n\
    https://ui.perfetto.dev and chrome://tracing open the trace.")]
pub(crate) struct Args {
    #[command(flatten)]
    workload: Workload,
    /// Write the trace to this file
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let report = profile(&ProfileOptions {
            workload: self.workload.options(),
            trace: self.trace,
        })?;
        output.report(&report, ProfileReport::to_text)
    }
}
