use std::sync::Arc;

use sardonyx_data::Kind;
use sardonyx_engine::Pool;
use sardonyx_ir::Graph;
use sardonyx_tensor::Tensor;

use super::classifier::Classifier;
use crate::error::{Result, TrainError};

/// A class that a sample may belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// Number of the class.
    pub class: usize,
    /// Its name; its number where the model does not name its classes.
    pub name: String,
    /// How probable the model holds it to be.
    pub probability: f64,
}

/// For each raw sample of `x`, which is `[n, C, H, W]` or `[n, F]`, the `top_k` most probable
/// classes, most probable first, of equals the one with the lower number.
///
/// # Errors
/// When the samples do not fit the model, or it gives something that is not a number.
pub fn predict(
    graph: &Graph,
    x: &Tensor,
    top_k: usize,
    pool: &Arc<Pool>,
) -> Result<Vec<Vec<Guess>>> {
    let kind = match *x.shape() {
        [_, features] => Kind::Table { features },
        [_, channels, height, width] => Kind::Image {
            channels,
            height,
            width,
        },
        ref shape => {
            return Err(TrainError::Model {
                reason: format!(
                    "it cannot be given samples of shape {shape:?}; hint: give images \
                     [n, channels, height, width] or rows [n, features]"
                ),
            });
        }
    };
    let mut classifier = Classifier::new(graph, kind, pool)?;
    let (probabilities, n_classes) = classifier.probabilities(x)?;
    let names = classifier.class_names().unwrap_or_default();
    let name = |class: usize| {
        names
            .get(class)
            .cloned()
            .unwrap_or_else(|| class.to_string())
    };
    let rows = probabilities.chunks_exact(n_classes.max(1)).enumerate();
    let guesses = rows.map(|(sample, row)| {
        if let Some(&value) = row.iter().find(|value| value.is_nan()) {
            return Err(TrainError::Value {
                what: "score of sample",
                index: sample,
                value,
                must: "a number",
            });
        }
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let best = order.into_iter().take(top_k).map(|class| Guess {
            class,
            name: name(class),
            probability: row[class],
        });
        Ok(best.collect())
    });
    guesses.collect()
}
