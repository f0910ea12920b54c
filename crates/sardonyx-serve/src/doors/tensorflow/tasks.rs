//! Classification and regression: examples in, classes or values out.

use std::borrow::Cow;

use sardonyx_tensor::Tensor;
use sardonyx_wire::TensorSpec;
use sardonyx_wire::proto::serving::{
    Class, ClassificationResult, Classifications, Input, Regression, RegressionResult,
};
use sardonyx_wire::tensorflow::{bind_examples, example_count};

use super::super::run::Question;
use crate::error::{Code, Result, ServeError};
use crate::servable::Servable;

/// The inputs of a model from examples.
///
/// # Errors
/// When the examples do not have the features that the model takes.
pub(super) fn question(
    servable: &Servable,
    input: &Input,
    specs: &[TensorSpec],
) -> Result<Question<()>> {
    if example_count(input) == 0 {
        return Err(ServeError::invalid("Input is empty."));
    }
    let named = bind_examples(input, specs)?;
    let named = named.into_iter();
    let inputs = servable.bind(named.map(|(name, value)| (Cow::Owned(name), value)))?;
    Ok(Question::new(inputs, ()))
}

/// The classes of every example in the model's order: the first output of numbers, a row of scores
/// for each example.
///
/// # Errors
/// When the model has no such output.
pub(super) fn classification(
    servable: &Servable,
    outputs: &[Tensor],
) -> Result<ClassificationResult> {
    let (rows, scores) = rows_of(outputs)
        .ok_or_else(|| unsuited(servable, "classification", "[examples, classes]"))?;
    let width = scores.len().checked_div(rows).unwrap_or(0);
    let labels = servable.signature().classes.as_deref().unwrap_or_default();
    let label = |class: usize| {
        labels
            .get(class)
            .cloned()
            .unwrap_or_else(|| class.to_string())
    };
    let classifications = scores.chunks(width.max(1)).map(|row| Classifications {
        classes: (row.iter().enumerate())
            .map(|(class, &score)| Class {
                label: label(class),
                score: score as f32,
            })
            .collect(),
    });
    Ok(ClassificationResult {
        classifications: classifications.collect(),
    })
}

/// The value of every example: the first output of numbers, one for each example.
///
/// # Errors
/// When the model has no such output.
pub(super) fn regression(servable: &Servable, outputs: &[Tensor]) -> Result<RegressionResult> {
    let (_, values) = rows_of(outputs)
        .filter(|(rows, values)| values.len() == *rows)
        .ok_or_else(|| unsuited(servable, "regression", "[examples] or [examples, 1]"))?;
    let regressions = values.into_iter().map(|value| Regression {
        value: value as f32,
    });
    Ok(RegressionResult {
        regressions: regressions.collect(),
    })
}

/// Rows and values of the first output that has numbers in one or two dimensions.
fn rows_of(outputs: &[Tensor]) -> Option<(usize, Vec<f64>)> {
    outputs.iter().find_map(|output| {
        let rows = *output.shape().first().filter(|_| output.rank() <= 2)?;
        let is_float = output.dtype().is_float();
        Some((rows, output.to_f64().ok().filter(|_| is_float)?))
    })
}

fn unsuited(servable: &Servable, task: &str, shape: &str) -> ServeError {
    let message = format!(
        "model '{}' has no output of shape {shape} for {task}; hint: use predict",
        servable.name()
    );
    ServeError::new(Code::FailedPrecondition, message)
}
