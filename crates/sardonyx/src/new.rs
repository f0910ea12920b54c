//! A network of the zoo as a model file.

use std::path::PathBuf;

use sardonyx_zoo::Seed;
use sardonyx_zoo::zoo::{self, Options, Output};
use serde::Serialize;

use crate::error::Result;
use crate::text::{Facts, bytes, count};

/// Which network, and what is to be different from its paper.
#[derive(Debug, Clone, Default)]
pub struct NewOptions {
    /// Name of the network.
    pub name: String,
    /// The file to write.
    pub output: PathBuf,
    /// Shape of the input without the batch, such as channels, height and width.
    pub input: Option<Vec<usize>>,
    /// Number of classes.
    pub classes: Option<usize>,
    /// Whether the model gives scores as they are, not probabilities.
    pub logits: bool,
    /// The model takes token ids below this number (of networks for text).
    pub vocabulary: Option<usize>,
    /// Seed of the weights.
    pub seed: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewReport {
    /// Name of the network.
    pub name: String,
    /// The file.
    pub output: PathBuf,
    /// Its size.
    pub file_bytes: u64,
    /// Nodes.
    pub nodes: usize,
    /// Numbers that training changes.
    pub parameters: u64,
}

impl NewReport {
    /// The report for people to read.
    pub fn to_text(&self) -> String {
        let mut facts = Facts::new();
        facts.row("network", &self.name);
        facts.row("nodes", count(self.nodes as u64));
        facts.row("parameters", count(self.parameters));
        let size = bytes(self.file_bytes);
        facts.row("file", format!("{} ({size})", self.output.display()));
        facts.text()
    }
}

/// Writes a network of the zoo, with weights as before any training, to a model file.
///
/// # Errors
/// When there is no such network, it cannot have these options, or the file cannot be written.
pub fn new(options: &NewOptions) -> Result<NewReport> {
    let choice = Options {
        input: options.input.clone(),
        classes: options.classes,
        output: match options.logits {
            true => Output::Logits,
            false => Output::Probabilities,
        },
        vocabulary: options.vocabulary,
        ..Options::default()
    };
    let graph = zoo::find(&options.name)?.build(&choice, Seed(options.seed))?;
    sardonyx_model::save(&options.output, &graph)?;
    let file = std::fs::metadata(&options.output);
    let parameters = sardonyx_passes::trainable_parameters(&graph).into_iter();
    let sizes = parameters.filter_map(|id| Some(graph.initializers.get(&id)?.len() as u64));
    Ok(NewReport {
        name: options.name.clone(),
        output: options.output.clone(),
        file_bytes: file.map_or(0, |file| file.len()),
        nodes: graph.node_count(),
        parameters: sizes.sum(),
    })
}
