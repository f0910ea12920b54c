use std::path::PathBuf;

use sardonyx::inspect::{InspectOptions, InspectReport, inspect};

use super::workload::dim;
use crate::cli::{Output, Result};

/// Show what a model holds: nodes, shapes, parameters, costs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx inspect model.onnx\n  \
    sardonyx inspect model.onnx --svg model.svg\n  \
    sardonyx inspect model.onnx --dim N=128 --json | jq .totals")]
pub(crate) struct Args {
    /// ONNX file, or the name of a network of the zoo
    model: PathBuf,
    /// Count costs for this size of a symbolic dimension; 1 when not given
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    dims: Vec<(String, usize)>,
    /// Draw the graph to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the graph in ONNX's textual syntax instead of the table
    #[arg(long)]
    text: bool,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let report = inspect(&InspectOptions {
            model: self.model,
            dims: self.dims.into_iter().collect(),
            svg: self.svg,
            text: self.text,
        })?;
        if let Some(problem) = &report.problem {
            output.say(&format!("note: shapes and costs are incomplete: {problem}"));
        }
        output.report(&report, InspectReport::to_text)
    }
}
