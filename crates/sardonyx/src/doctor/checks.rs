//! Whether this build computes rightly on this machine: plans against the plain reference, one
//! thread against many, files against graphs. Each check can fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_data::{BatchOptions, Batches, View, digits};
use sardonyx_engine::{Isa, Pool, Session, SessionOptions};
use sardonyx_ir::Graph;
use sardonyx_tensor::Tensor;
use sardonyx_train::{Batch, StepOptions, TrainState};
use sardonyx_zoo::{Input, Model, Seed};
use serde::Serialize;

use crate::clock::Stopwatch;
use crate::error::Result;

/// Samples that the models of the checks predict for.
const SAMPLES: usize = 5;
/// Steps that the model is trained for.
const STEPS: usize = 100;
/// Largest difference between a probability and its reference.
const TOLERANCE: f64 = 1e-5;

/// A check and how it came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it held.
    pub passed: bool,
    /// What was found.
    pub detail: String,
    /// Time that it took.
    pub seconds: f64,
}

/// Makes every check with up to `threads` threads.
pub(super) fn run(threads: usize) -> Result<Vec<Check>> {
    let graph = network()?;
    let input = samples()?;
    let mut checks = Vec::new();
    for isa in Isa::available() {
        checks.push(timed(
            &format!("{isa} kernels agree with the reference"),
            || agrees_with_reference(&graph, &input, isa),
        )?);
    }
    checks.push(timed("threads do not change the result", || {
        threads_agree(&graph, &input, threads.max(2))
    })?);
    checks.push(timed(
        "training learns, on any number of threads alike",
        || training_learns(&graph, threads.max(2)),
    )?);
    checks.push(timed("a model survives its file", || {
        survives_file(&graph)
    })?);
    Ok(checks)
}

fn timed(name: &str, check: impl FnOnce() -> Result<(bool, String)>) -> Result<Check> {
    let stopwatch = Stopwatch::start();
    let (passed, detail) = check()?;
    Ok(Check {
        name: name.to_owned(),
        passed,
        detail,
        seconds: stopwatch.seconds(),
    })
}

/// Small, but with every kind of layer that images meet.
fn network() -> Result<Graph> {
    let model = Model::new("check", Input::image(1, 8, 8))
        .normalize(&[8.0], &[8.0])
        .conv2d(9, 3)
        .batch_norm()
        .relu()
        .residual(|body| body.depthwise_conv2d(1).hard_swish())
        .max_pool2d(2)
        .flatten()
        .dense(17)
        .gelu()
        .dense(10)
        .softmax();
    Ok(model.build(Seed(0))?)
}

/// Raw pixels of the first digits, `[SAMPLES, 1, 8, 8]`.
fn samples() -> Result<Tensor> {
    let digits = digits();
    let shape = [SAMPLES, 1, 8, 8];
    let pixels = digits.x().values::<u8>().expect("the digits are bytes");
    let pixels = pixels.iter().take(shape.iter().product());
    Ok(Tensor::new(shape, pixels.map(|&p| f32::from(p)).collect())?)
}

fn plan(graph: &Graph, input: &Tensor, isa: Isa, threads: usize) -> Result<Vec<f32>> {
    let options = SessionOptions {
        isa,
        ..SessionOptions::new(Arc::new(Pool::new(threads)?))
    };
    let outputs = Session::new(graph.clone(), options)?.run(std::slice::from_ref(input))?;
    Ok(outputs[0]
        .values::<f32>()
        .expect("probabilities are floats")
        .to_vec())
}

fn agrees_with_reference(graph: &Graph, input: &Tensor, isa: Isa) -> Result<(bool, String)> {
    let found = plan(graph, input, isa, 1)?;
    let feeds = BTreeMap::from([(graph.inputs[0], input.clone())]);
    let expected = sardonyx_ops::interpret(graph, &feeds)?;
    let expected = expected[0]
        .values::<f32>()
        .expect("probabilities are floats");
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, |worst: f64, d| {
            if d.is_nan() {
                f64::INFINITY
            } else {
                worst.max(d)
            }
        });
    let passed = worst <= TOLERANCE && found.len() == expected.len();
    Ok((passed, format!("largest difference {worst:.1e}")))
}

fn threads_agree(graph: &Graph, input: &Tensor, threads: usize) -> Result<(bool, String)> {
    let isa = Isa::detect();
    let bits = |threads| -> Result<Vec<u32>> {
        Ok(plan(graph, input, isa, threads)?
            .iter()
            .map(|x| x.to_bits())
            .collect())
    };
    let passed = bits(1)? == bits(threads)?;
    Ok((passed, format!("1 and {threads} threads, to the bit")))
}

/// Steps on a few digits, over and over: the loss must fall far, and every weight must be the same
/// on one thread and on many.
fn training_learns(graph: &Graph, threads: usize) -> Result<(bool, String)> {
    let view = View::new(&digits(), (0..SAMPLES * 8).collect())?;
    let mut batches = Batches::new(&view, BatchOptions::in_order(view.len()))?;
    let mut samples = vec![0.0; batches.x_len()];
    let mut labels = vec![0; view.len()];
    batches.fill(0, 0, &mut samples, &mut labels)?;
    let train = |threads| -> Result<(f32, f32, Vec<u8>)> {
        let options = StepOptions::new(Arc::new(Pool::new(threads)?));
        let mut state = TrainState::compile(graph, view.len(), options)?;
        let batch = Batch {
            samples: &samples,
            labels: &labels,
        };
        let first = state.step(&batch)?.loss;
        let mut last = first;
        for _ in 0..STEPS {
            last = state.step(&batch)?.loss;
        }
        Ok((first, last, sardonyx_model::to_bytes(&state.model()?)?))
    };
    let (first, last, one) = train(1)?;
    let (_, _, many) = train(threads)?;
    let passed = last < first / 2.0 && one == many;
    Ok((
        passed,
        format!("loss {first:.2} to {last:.2}, 1 and {threads} threads to the bit"),
    ))
}

fn survives_file(graph: &Graph) -> Result<(bool, String)> {
    let bytes = sardonyx_model::to_bytes(graph)?;
    let again = sardonyx_model::to_bytes(&sardonyx_model::load_bytes(bytes.clone())?)?;
    Ok((
        bytes == again,
        format!("{} bytes written and read", bytes.len()),
    ))
}
