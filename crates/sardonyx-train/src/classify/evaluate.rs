use std::sync::Arc;

use sardonyx_data::{BatchOptions, Batches, Kind, View};
use sardonyx_engine::Pool;
use sardonyx_ir::Graph;

use super::classifier::Classifier;
use crate::error::{Result, TrainError};
use crate::metrics::{ClassificationReport, ReportInput, Scores};
use crate::report::{Mistake, Picture, worst_misses};

/// A classifier measured on labelled data.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Every measure.
    pub report: ClassificationReport,
    /// Probabilities `[n, classes]`, row-major, in the order of the view.
    pub probabilities: Vec<f64>,
    /// Class of each sample, as the model numbers them.
    pub labels: Vec<usize>,
    /// Names of the model's classes.
    pub class_names: Vec<String>,
}

/// Runs a classifier over all samples of `view` and measures it. Classes are matched by name where
/// the model knows the names of its classes, else by number.
///
/// # Errors
/// When the model does not fit the samples or their classes, the view is empty or has no classes,
/// or the model gives something that is not a number.
pub fn evaluate(graph: &Graph, view: &View, pool: &Arc<Pool>) -> Result<Evaluation> {
    let kind = view.dataset().kind();
    let mut classifier = Classifier::new(graph, kind, pool)?;
    let batch_len = classifier.batch_len();
    let mut batches = Batches::new(view, BatchOptions::in_order(batch_len))?;
    let mut ids = vec![0; batch_len];
    let (mut probabilities, mut raw_labels) = (Vec::new(), Vec::with_capacity(view.len()));
    let mut n_classes = 0;
    for batch_idx in 0..batches.n_batches() {
        let mut x = vec![0.0; batches.x_len()];
        let n_valid = batches.fill(0, batch_idx, &mut x, &mut ids)?;
        let (scores, classes) = classifier.run(x)?;
        probabilities.extend_from_slice(&scores[..n_valid * classes]);
        raw_labels.extend_from_slice(&ids[..n_valid]);
        n_classes = classes;
    }
    let (probabilities, n_classes) = classifier.normalize(probabilities, n_classes);
    let data_names = view.dataset().class_names();
    let class_names = classifier.class_names().unwrap_or(data_names).to_vec();
    let numbers = match_classes(&class_names, data_names, n_classes)?;
    let labels: Vec<usize> = raw_labels.iter().map(|&id| numbers[id as usize]).collect();
    let report = ClassificationReport::new(&ReportInput {
        labels: &labels,
        probabilities: &probabilities,
        n_classes,
        class_names: &class_names,
        epsilon: f64::from(f32::EPSILON),
    })?;
    Ok(Evaluation {
        report,
        probabilities,
        labels,
        class_names,
    })
}

/// The model's number of each of the data's classes.
fn match_classes(model: &[String], data: &[String], n_classes: usize) -> Result<Vec<usize>> {
    if model.len() != n_classes {
        return Err(TrainError::Model {
            reason: format!(
                "it tells {n_classes} classes apart, the {} has {}; hint: give data of the same \
                 classes, or a model with as many outputs",
                if model == data {
                    "data"
                } else {
                    "list of their names"
                },
                model.len()
            ),
        });
    }
    let find = |name: &String| {
        let position = model.iter().position(|known| known == name);
        position.ok_or_else(|| TrainError::Model {
            reason: format!(
                "it has no class `{name}`, which the data has; hint: its classes are {}",
                shortened(model)
            ),
        })
    };
    data.iter().map(find).collect()
}

/// The first names of a list, for a message.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

impl Evaluation {
    /// The `limit` worst mistakes with their pictures; empty when the samples of `view`, which
    /// must be the one that was evaluated, are no pictures of one or three channels.
    pub fn mistakes(&self, view: &View, limit: usize) -> Vec<Mistake> {
        let n_classes = self.class_names.len();
        let scores = Scores::new(&self.labels, &self.probabilities, n_classes, None);
        let Ok(probabilities) = scores.and_then(Scores::probabilities) else {
            return Vec::new();
        };
        let misses = worst_misses(&probabilities, limit);
        let pictured = misses.into_iter().filter_map(|miss| {
            let picture = picture(view, miss.sample)?;
            Some(Mistake { miss, picture })
        });
        pictured.collect()
    }
}

/// What a sample of a view looks like.
fn picture(view: &View, sample: usize) -> Option<Picture> {
    let dataset = view.dataset();
    let Kind::Image {
        channels: channels @ (1 | 3),
        height,
        width,
    } = dataset.kind()
    else {
        return None;
    };
    let row = View::new(dataset, vec![*view.rows().get(sample)?]).ok()?;
    let tensor = row.to_tensor().ok()?;
    let values = tensor.values::<f32>().ok()?;
    let extremes = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
            (low.min(v), high.max(v))
        });
    let (low, high) = dataset.nominal_range().unwrap_or(extremes);
    let spread = if high > low { high - low } else { 1.0 };
    let plane = height * width;
    // The cast saturates, so that a value out of the range is black or white.
    let shade = |value: f32| ((value - low) / spread * 255.0).round() as u8;
    let pixels = (0..plane).flat_map(|pixel| (0..channels).map(move |c| c * plane + pixel));
    Some(Picture {
        width,
        height,
        channels,
        pixels: pixels.map(|index| shade(values[index])).collect(),
    })
}
