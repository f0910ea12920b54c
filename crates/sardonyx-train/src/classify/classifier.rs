use std::sync::Arc;

use sardonyx_data::Kind;
use sardonyx_engine::{Pool, Session, SessionOptions};
use sardonyx_ir::{Graph, Producer, ValueId};
use sardonyx_tensor::{DType, Tensor};

use super::input::adapt_input;
use crate::error::{Result, TrainError};

/// Samples of a batch, where the model leaves that open.
const BATCH_LEN: usize = 256;
/// A row of numbers of at least zero whose sum is this near to one is a distribution.
const SUM_TOLERANCE: f64 = 1e-3;

/// The operator that scores come from, as far as it tells what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Sigmoid,
    Softmax,
    Other,
}

/// A model that gives a score for each class, ready to run on samples of one kind.
#[derive(Debug)]
pub struct Classifier {
    session: Session,
    kind: Kind,
    dtype: DType,
    batch_len: usize,
    /// Position of the output that holds the scores.
    output: usize,
    last: Last,
    names: Option<Vec<String>>,
}

impl Classifier {
    /// Plans `graph` for samples of `kind`, to run on the threads of `pool`.
    ///
    /// # Errors
    /// When the model's input does not fit such samples, it has no output of scores, or an
    /// operator is not supported.
    pub fn new(graph: &Graph, kind: Kind, pool: &Arc<Pool>) -> Result<Classifier> {
        let mut graph = graph.clone();
        let input = adapt_input(&mut graph, kind)?;
        let fact = graph.fact(input).expect("adapt_input has read it");
        let batch = fact.shape.as_ref().and_then(|shape| shape[0].value());
        let dtype = fact.dtype;
        let names = sardonyx_model::class_names(&graph)?;
        let output = scores_output(&graph).ok_or_else(|| TrainError::Model {
            reason: "none of its outputs is a number per class; hint: a classifier's output is \
                     [batch, classes]"
                .to_owned(),
        })?;
        Ok(Classifier {
            kind,
            dtype,
            batch_len: batch.unwrap_or(BATCH_LEN),
            last: last_operator(&graph, graph.outputs[output]),
            output,
            names,
            session: Session::new(graph, SessionOptions::new(pool.clone()))?,
        })
    }

    /// Samples that a run of the model takes at once.
    pub(super) fn batch_len(&self) -> usize {
        self.batch_len
    }

    /// Names of the classes, if the model tells them.
    pub fn class_names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Probability of each class for each raw sample of `x`, which is `[n, C, H, W]` or `[n, F]`;
    /// row-major `[n, classes]`, with the number of classes.
    ///
    /// # Errors
    /// When the samples are of another kind, or the model fails on them.
    pub fn probabilities(&mut self, x: &Tensor) -> Result<(Vec<f64>, usize)> {
        let values = x.values::<f32>()?;
        let sample_len = self.kind.sample_len();
        if x.rank() == 0 || values.len() != x.shape()[0] * sample_len {
            return Err(TrainError::Model {
                reason: format!(
                    "it takes samples of shape {:?}, here are {:?}",
                    self.kind.sample_shape(),
                    x.shape()
                ),
            });
        }
        let mut scores = Vec::new();
        let mut n_classes = 0;
        for chunk in values.chunks(self.batch_len * sample_len) {
            let mut batch = chunk.to_vec();
            batch.resize(self.batch_len * sample_len, 0.0);
            let (found, classes) = self.run(batch)?;
            scores.extend_from_slice(&found[..chunk.len() / sample_len * classes]);
            n_classes = classes;
        }
        Ok(self.normalize(scores, n_classes))
    }

    /// Scores of one batch, padding included, and the number of classes.
    pub(super) fn run(&mut self, batch: Vec<f32>) -> Result<(Vec<f64>, usize)> {
        let mut shape = vec![self.batch_len];
        shape.extend(self.kind.sample_shape());
        let input = Tensor::new(shape, batch)?;
        let input = match self.dtype {
            DType::F32 => input,
            dtype if dtype.is_float() => input.to_float(dtype)?,
            dtype => {
                return Err(TrainError::Model {
                    reason: format!("its input is {dtype}, only floats are supported here"),
                });
            }
        };
        let outputs = self.session.run(&[input])?;
        let scores = &outputs[self.output];
        match scores.shape() {
            &[n, classes] if n == self.batch_len => Ok((scores.to_f64()?, classes)),
            shape => Err(TrainError::Model {
                reason: format!(
                    "its scores are {shape:?} for a batch of {}; hint: a classifier's output is \
                     [batch, classes]",
                    self.batch_len
                ),
            }),
        }
    }

    /// Makes probabilities of scores: nothing to do after a softmax or where all rows are
    /// distributions, else their softmax (which of log probabilities are the probabilities). A
    /// single score is that of the second of two classes, before or after a sigmoid. Gives the
    /// number of classes with them.
    pub(super) fn normalize(&self, mut scores: Vec<f64>, n_classes: usize) -> (Vec<f64>, usize) {
        if n_classes == 1 {
            let second = |&score: &f64| match self.last {
                Last::Sigmoid => score,
                Last::Softmax | Last::Other => 1.0 / (1.0 + (-score).exp()),
            };
            let both = scores.iter().map(second).flat_map(|p| [1.0 - p, p]);
            return (both.collect(), 2);
        }
        let n_classes = n_classes.max(1);
        let is_distribution = |row: &[f64]| {
            let sum: f64 = row.iter().sum();
            row.iter().all(|&value| value >= 0.0) && (sum - 1.0).abs() <= SUM_TOLERANCE
        };
        if self.last == Last::Softmax || scores.chunks_exact(n_classes).all(is_distribution) {
            // Rounding in f32 may leave a probability a hair above one.
            scores.iter_mut().for_each(|p| *p = p.clamp(0.0, 1.0));
            return (scores, n_classes);
        }
        for row in scores.chunks_exact_mut(n_classes) {
            let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut()
                .for_each(|value| *value = (*value - highest).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|value| *value /= sum);
        }
        (scores, n_classes)
    }
}

/// The first output that is floats in rows.
fn scores_output(graph: &Graph) -> Option<usize> {
    graph.outputs.iter().position(|&id| {
        let fact = graph.fact(id);
        fact.is_some_and(|fact| fact.dtype.is_float() && fact.rank().is_none_or(|rank| rank == 2))
    })
}

/// The operator that the scores come from.
fn last_operator(graph: &Graph, output: ValueId) -> Last {
    match graph.producers()[output.index()] {
        Some(Producer::Node(id, 0)) if graph.node(id).is("Sigmoid") => Last::Sigmoid,
        Some(Producer::Node(id, 0)) if graph.node(id).is("Softmax") => Last::Softmax,
        _ => Last::Other,
    }
}
