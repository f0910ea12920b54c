//! What a model says of new samples.

use std::path::PathBuf;

use sardonyx_data::{InputSpec, ReadOptions, Scaling, read_inputs};
use sardonyx_tensor::Tensor;
use sardonyx_train::{Guess, input_spec};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::evaluate::foreign_scaling;
use crate::text::{Table, list};

/// What to predict for.
#[derive(Debug, Clone)]
pub struct PredictOptions {
    /// A model file, or a run's folder: its best model.
    pub model: PathBuf,
    /// Image files, CSV files with or without a header, NPY arrays.
    pub inputs: Vec<PathBuf>,
    /// Classes to tell for each sample, the most probable first; at least 1.
    pub top: usize,
    /// What is done to raw values first. A model that was trained here does that itself.
    pub scale: Option<Scaling>,
    /// Threads; 0 takes every core.
    pub threads: usize,
}

impl Default for PredictOptions {
    fn default() -> Self {
        PredictOptions {
            model: PathBuf::new(),
            inputs: Vec::new(),
            top: 3,
            scale: None,
            threads: 0,
        }
    }
}

/// What was predicted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictReport {
    /// The model file.
    pub model: PathBuf,
    /// One entry for each sample, in the order of the inputs.
    pub predictions: Vec<Prediction>,
}

/// What was predicted for one sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The file, with the row where it has several.
    pub input: String,
    /// Name of the most probable class.
    pub class: String,
    /// Its probability.
    pub probability: f64,
    /// The most probable classes, the first of them included.
    pub top: Vec<Choice>,
}

/// A class that a sample may be of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// Name of the class.
    pub class: String,
    /// Its number.
    pub index: usize,
    /// Its probability.
    pub probability: f64,
}

impl PredictReport {
    /// The report for people to read.
    pub fn to_text(&self) -> String {
        let percent = |probability: f64| format!("{:.1} %", 100.0 * probability);
        let mut table = Table::new(&["input", "class", ">probability", "others"]);
        for prediction in &self.predictions {
            let others = list(&prediction.top[1..], |choice| {
                format!("{} {}", choice.class, percent(choice.probability))
            });
            let probability = percent(prediction.probability);
            table.row([&prediction.input, &prediction.class, &probability, &others]);
        }
        table.text()
    }
}

/// Reads the inputs as the model takes them and predicts their classes.
///
/// # Errors
/// When the model is not a classifier, or an input cannot be read as one of its samples.
pub fn predict(options: &PredictOptions) -> Result<PredictReport> {
    if options.top == 0 {
        return Err(Error::config("top", "0 will not do, it must be 1 or more"));
    }
    let model = crate::model_file(&options.model);
    let graph = sardonyx_model::load(&model)?;
    let spec = input_spec(&graph)?;
    let pool = crate::pool(options.threads)?;
    let mut predictions = Vec::new();
    for path in &options.inputs {
        let inputs = read_inputs(path, &spec, &ReadOptions::default())?;
        let x = scaled(inputs.x, &spec, options.scale)?;
        let guesses = sardonyx_train::predict(&graph, &x, options.top, &pool)?;
        predictions.extend(inputs.names.into_iter().zip(guesses).map(prediction));
    }
    Ok(PredictReport { model, predictions })
}

fn prediction((input, guesses): (String, Vec<Guess>)) -> Prediction {
    let best = guesses
        .first()
        .expect("a classifier has classes and one is asked for");
    Prediction {
        input,
        class: best.name.clone(),
        probability: best.probability,
        top: guesses.into_iter().map(Choice::new).collect(),
    }
}

impl Choice {
    fn new(guess: Guess) -> Choice {
        Choice {
            class: guess.name,
            index: guess.class,
            probability: guess.probability,
        }
    }
}

/// The samples as a model wants them that was trained on scaled ones.
fn scaled(x: Tensor, spec: &InputSpec, scale: Option<Scaling>) -> Result<Tensor> {
    let Some(scale) = scale.filter(|scale| *scale != Scaling::None) else {
        return Ok(x);
    };
    let InputSpec::Image { pixel_max, .. } = *spec else {
        return Err(Error::config(
            "scale",
            "the range of the training data is not known here; hint: give scaled numbers",
        ));
    };
    let (mean, std) = match foreign_scaling(scale)? {
        Scaling::Unit => (0.0, pixel_max),
        _ => (pixel_max / 2.0, pixel_max / 2.0),
    };
    let values = x.values::<f32>()?;
    let values = values.iter().map(|x| (x - mean) / std).collect();
    Ok(Tensor::new(x.shape(), values)?)
}
