//! Training steps on a small convolutional classifier: they learn, they are the same on any number
//! of threads and after a restore, and the model that comes out predicts what was trained.

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_ir::{Attr, Dim, Fact, Graph, Node, ONNX, ValueId};
use sardonyx_tensor::{DType, Philox, Tensor};
use sardonyx_train::{Batch, OptimizerConfig, Pool, Sgd, StepOptions, TrainState};
use sardonyx_zoo::Seed;
use sardonyx_zoo::zoo::{MODELS, Options};

const SIDE: usize = 8;
const CLASSES: usize = 4;

struct Net {
    graph: Graph,
}

impl Net {
    fn node(&mut self, op: &str, inputs: &[ValueId], attributes: &[(&str, Attr)]) -> ValueId {
        let mut node = Node::new(ONNX, op);
        node.inputs = inputs.iter().copied().map(Some).collect();
        node.attributes = attributes
            .iter()
            .map(|(n, a)| ((*n).to_owned(), a.clone()))
            .collect();
        let output = self.graph.add_value(&op.to_lowercase(), None);
        node.outputs.push(Some(output));
        self.graph.add_node(node);
        output
    }

    fn weight(&mut self, shape: &[usize], scale: f64) -> ValueId {
        let mut rng = Philox::new(3, self.graph.value_count() as u64);
        let draw = |_| (rng.normal() * scale) as f32;
        let tensor = Tensor::from_fn(shape, draw).expect("a small shape");
        let name = format!("w{}", self.graph.value_count());
        self.graph.add_initializer(&name, tensor)
    }
}

/// Normalisation of raw pixels, convolution, batch norm, dropout, dense layers, softmax.
fn model() -> Graph {
    let mut graph = Graph::new("net", 20);
    let image = [1, SIDE, SIDE].map(Dim::known);
    let shape = std::iter::once(Dim::symbol("N")).chain(image);
    let x = graph.add_input("x", Fact::new(DType::F32, shape));
    let mut net = Net { graph };
    let half = net.graph.add_initializer("mean", Tensor::scalar(0.5f32));
    let y = net.node("Sub", &[x, half], &[]);
    let (w, b) = (net.weight(&[6, 1, 3, 3], 0.4), net.weight(&[6], 0.1));
    let y = net.node("Conv", &[y, w, b], &[]);
    let ones = Tensor::vector(vec![1f32; 6]);
    let zeros = Tensor::vector(vec![0f32; 6]);
    let scale = net.graph.add_initializer("scale", ones.clone());
    let bias = net.graph.add_initializer("bias", zeros.clone());
    let mean = net.graph.add_initializer("running_mean", zeros);
    let var = net.graph.add_initializer("running_var", ones);
    let y = net.node("BatchNormalization", &[y, scale, bias, mean, var], &[]);
    let y = net.node("Relu", &[y], &[]);
    let pool = [
        ("kernel_shape", Attr::Ints(vec![2, 2])),
        ("strides", Attr::Ints(vec![2, 2])),
    ];
    let y = net.node("MaxPool", &[y], &pool);
    let y = net.node("Flatten", &[y], &[]);
    let ratio = net.graph.add_initializer("ratio", Tensor::scalar(0.1f32));
    let y = net.node("Dropout", &[y, ratio], &[]);
    let (w, b) = (net.weight(&[16, 54], 0.2), net.weight(&[16], 0.1));
    let y = net.node("Gemm", &[y, w, b], &[("transB", Attr::Int(1))]);
    let y = net.node("Relu", &[y], &[]);
    let (w, b) = (net.weight(&[CLASSES, 16], 0.3), net.weight(&[CLASSES], 0.1));
    let y = net.node("Gemm", &[y, w, b], &[("transB", Attr::Int(1))]);
    let y = net.node("Softmax", &[y], &[]);
    net.graph.outputs.push(y);
    net.graph
}

/// Images with one bright quarter, which is their class.
fn batch(n: usize, seed: u64) -> (Vec<f32>, Vec<i64>) {
    let mut rng = Philox::new(seed, 1);
    let labels: Vec<i64> = (0..n).map(|_| rng.below(CLASSES as u64) as i64).collect();
    let mut samples = Vec::with_capacity(n * SIDE * SIDE);
    for &label in &labels {
        for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
            let quarter = (y * 2 / SIDE * 2 + x * 2 / SIDE) as i64;
            samples.push(rng.uniform() * 0.5 + if quarter == label { 0.5 } else { 0.0 });
        }
    }
    (samples, labels)
}

fn options(threads: usize) -> StepOptions {
    let sgd = Sgd {
        lr: 0.1,
        momentum: 0.9,
        ..Sgd::default()
    };
    let optimizer = OptimizerConfig::Sgd(sgd);
    let pool = Arc::new(Pool::new(threads).expect("threads start"));
    StepOptions {
        optimizer,
        seed: 5,
        ..StepOptions::new(pool)
    }
}

fn train(state: &mut TrainState, steps: std::ops::Range<u64>) -> f32 {
    let mut loss = 0.0;
    for step in steps {
        // Every third batch is a short one, as at an epoch's end.
        let (samples, labels) = batch(if step % 3 == 2 { 5 } else { 16 }, step);
        let batch = Batch {
            samples: &samples,
            labels: &labels,
        };
        loss = state.step(&batch).expect("a batch that fits").loss;
    }
    loss
}

fn bytes(tensors: &BTreeMap<String, Tensor>) -> Vec<u32> {
    let values = tensors
        .values()
        .flat_map(|t| t.values::<f32>().expect("all are f32"));
    values.map(|value| value.to_bits()).collect()
}

#[test]
fn it_learns_and_the_model_predicts_it() {
    let model = model();
    let mut state = TrainState::compile(&model, 16, options(2)).expect("trainable");
    train(&mut state, 0..150);
    let trained = state.model().expect("a sound layout");
    let (samples, labels) = batch(100, 999);
    let x = Tensor::new([100, 1, SIDE, SIDE], samples).expect("as many as the shape says");
    let feeds = BTreeMap::from([(trained.inputs[0], x)]);
    let out = sardonyx_ops::interpret(&trained, &feeds).expect("the model runs");
    let rows = out[0]
        .values::<f32>()
        .expect("probabilities")
        .chunks(CLASSES);
    let best = |row: &[f32]| (1..CLASSES).fold(0, |b, c| if row[c] > row[b] { c } else { b });
    let correct = rows
        .zip(&labels)
        .filter(|(row, label)| best(row) as i64 == **label)
        .count();
    assert!(correct >= 97, "{correct} of 100 are right after training");
    let id = trained
        .find_value("running_mean")
        .expect("it is still there");
    let moved = trained.initializers[&id].values::<f32>().expect("f32");
    assert!(
        moved.iter().any(|&mean| mean != 0.0),
        "the running mean did not move"
    );
    let constant = trained.find_value("mean").expect("it is still there");
    assert_eq!(
        trained.initializers[&constant].values::<f32>(),
        Ok(&[0.5][..])
    );
}

#[test]
fn threads_do_not_change_a_bit() {
    let results: Vec<Vec<u32>> = [1, 2, 3, 4]
        .map(|threads| {
            let mut state = TrainState::compile(&model(), 16, options(threads)).expect("trainable");
            train(&mut state, 0..20);
            bytes(&state.tensors().expect("a sound layout"))
        })
        .to_vec();
    for other in &results[1..] {
        assert_eq!(&results[0], other);
    }
}

#[test]
fn a_restored_state_goes_on_as_the_undisturbed_one() {
    let mut through = TrainState::compile(&model(), 16, options(2)).expect("trainable");
    train(&mut through, 0..11);
    let saved = through.tensors().expect("a sound layout");
    train(&mut through, 11..25);

    let mut resumed = TrainState::compile(&model(), 16, options(1)).expect("trainable");
    resumed.restore(&saved, 11).expect("the same model");
    train(&mut resumed, 11..25);
    let (a, b) = (through.tensors(), resumed.tensors());
    assert_eq!(bytes(&a.expect("sound")), bytes(&b.expect("sound")));
}

#[test]
fn bad_batches_are_refused() {
    let mut state = TrainState::compile(&model(), 16, options(1)).expect("trainable");
    let (samples, mut labels) = batch(16, 0);
    labels[3] = CLASSES as i64;
    let message = |result: sardonyx_train::Result<_>| result.expect_err("refused").to_string();
    let bad = Batch {
        samples: &samples,
        labels: &labels,
    };
    assert!(message(state.step(&bad)).contains("sample 3"));
    let short = Batch {
        samples: &samples[1..],
        labels: &labels,
    };
    assert!(message(state.step(&short)).contains("input values"));
    let broken = vec![f32::NAN; samples.len()];
    labels[3] = 0;
    let nan = Batch {
        samples: &broken,
        labels: &labels,
    };
    assert!(message(state.step(&nan)).contains("hint"));
}

#[test]
fn a_step_of_a_large_network_keeps_the_inputs_of_normalizations_alone() {
    let entry = MODELS.iter().find(|entry| entry.name == "mobilenet-v2");
    let model = entry.map(|entry| entry.build(&Options::default(), Seed(1)));
    let model = model.expect("the zoo has it").expect("its own defaults");
    let sgd = OptimizerConfig::Sgd(Sgd::default());
    let options = StepOptions {
        optimizer: sgd,
        ..StepOptions::new(Arc::new(Pool::new(1).expect("a thread")))
    };
    let state = TrainState::compile(&model, 8, options).expect("trainable");
    // What its convolutions make takes 213 MB, and the activations behind them two thirds of that.
    let planned: usize = state.memory_bytes().iter().sum();
    assert!(planned < 300_000_000, "{planned} bytes are planned");
}
