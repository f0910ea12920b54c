use std::path::PathBuf;

use sardonyx::evaluate::{EvalOptions, EvalReport, Part, evaluate};

use super::Scale;
use crate::cli::{Output, Result};

/// Measure a model on labelled data
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx eval runs/digits\n  \
    sardonyx eval model.onnx --data /usr/share/datasets/fashion-mnist\n  \
    sardonyx eval from-pytorch.onnx --data data/test --scale unit --json | jq .accuracy")]
pub(crate) struct Args {
    /// ONNX file, or the folder of a run
    model: PathBuf,
    /// Folder or file with the data, or `digits`; a run's folder has its own
    #[arg(long, short)]
    data: Option<String>,
    /// Part of the data; its test part, or all there is, when not given
    #[arg(long, value_enum)]
    part: Option<PartName>,
    /// Column of the classes, of a table; the last when not given
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Scale raw values to [0,1] or [-1,1] first, for models that were trained elsewhere
    #[arg(long, value_enum)]
    scale: Option<Scale>,
    /// Threads; 0 takes every core
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PartName {
    Train,
    Validation,
    Test,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let report = evaluate(&EvalOptions {
            model: self.model,
            data: self.data,
            part: self.part.map(|part| match part {
                PartName::Train => Part::Train,
                PartName::Validation => Part::Validation,
                PartName::Test => Part::Test,
            }),
            target: self.target,
            scale: self.scale.map(Scale::to_scaling),
            threads: self.threads,
        })?;
        output.report(&report, EvalReport::to_text)
    }
}
