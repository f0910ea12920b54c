use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use sardonyx::new::{NewOptions, NewReport, new};
use sardonyx::zoo::zoo::MODELS;

use crate::cli::{Output, Result};

/// Write a network of the zoo to an ONNX file, with weights as before any training
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx new resnet18 --output resnet18.onnx\n  \
    sardonyx new mobilenet-v2 --classes 5 --logits -o flowers.onnx\n  \
    sardonyx new mlp --input 30 --classes 2 -o table.onnx")]
pub(crate) struct Args {
    /// Network
    #[arg(value_parser = networks())]
    name: String,
    /// The file to write
    #[arg(long, short, value_name = "FILE.onnx")]
    output: PathBuf,
    /// Shape of the input without the batch: `3,32,32` for channels, height and width
    #[arg(long, value_delimiter = ',', value_name = "SIZES")]
    input: Option<Vec<usize>>,
    /// Number of classes
    #[arg(long, value_name = "COUNT")]
    classes: Option<usize>,
    /// Give scores as they are, not probabilities
    #[arg(long)]
    logits: bool,
    /// Take token ids below this number (text-transformer)
    #[arg(long, value_name = "COUNT")]
    vocabulary: Option<usize>,
    /// Seed of the weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn networks() -> PossibleValuesParser {
    let networks = MODELS.iter();
    PossibleValuesParser::new(
        networks.map(|entry| PossibleValue::new(entry.name).help(entry.description)),
    )
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let report = new(&NewOptions {
            name: self.name,
            output: self.output,
            input: self.input,
            classes: self.classes,
            logits: self.logits,
            vocabulary: self.vocabulary,
            seed: self.seed,
        })?;
        output.report(&report, NewReport::to_text)
    }
}
