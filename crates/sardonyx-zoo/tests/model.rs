//! The builder: names, shapes, branches, errors, determinism.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use sardonyx_ir::{Graph, Node};
use sardonyx_ops::interpret;
use sardonyx_tensor::{DType, Tensor};
use sardonyx_zoo::layers::{
    Activation, BatchNorm, Conv2d, Dense, Pool2d, Recurrent, RecurrentKind, Rescale, Transpose,
};
use sardonyx_zoo::{CONSTANTS_KEY, Defaults, Init, Input, Model, Seed, ZooError};

fn seed_cnn() -> Model {
    Model::new("seed-cnn", Input::image(1, 28, 28))
        .conv2d(32, 3)
        .relu()
        .max_pool2d(2)
        .conv2d(64, 3)
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(128)
        .relu()
        .dropout(0.5)
        .batch_norm()
        .dense(10)
        .softmax()
}

fn image(size: usize) -> Model {
    Model::new("m", Input::image(3, size, size))
}

fn shape(model: &Model) -> String {
    let dims = model.shape().expect("no error so far");
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    dims.join(",")
}

fn message(model: Model) -> String {
    model.build(Seed(0)).unwrap_err().to_string()
}

fn first<'g>(graph: &'g Graph, op: &str) -> &'g Node {
    let mut nodes = graph.nodes().map(|(_, node)| node);
    nodes.find(|node| node.is(op)).unwrap()
}

fn run(graph: &Graph, input: Tensor) -> Vec<f64> {
    let feeds = BTreeMap::from([(graph.inputs[0], input)]);
    interpret(graph, &feeds).unwrap()[0].to_f64().unwrap()
}

#[test]
fn a_row_of_layers_has_named_nodes_and_parameters() {
    let model = seed_cnn();
    assert_eq!(model.parameter_count(), Ok(225_034 + 256));
    let graph = model.build(Seed(0)).unwrap();
    let ops: Vec<&str> = graph.nodes().map(|(_, node)| node.name.as_str()).collect();
    assert_eq!(
        ops.join(" "),
        "conv2d_1 relu_1 max_pool2d_1 conv2d_2 relu_2 max_pool2d_2 flatten_1 dense_1 relu_3 \
         dropout_1 batch_norm_1 dense_2 softmax_1"
    );
    let shape_of = |name: &str| {
        let id = graph.find_value(name).unwrap();
        graph.fact(id).unwrap().to_string()
    };
    assert_eq!(shape_of("conv2d_1.weight"), "f32[32,1,3,3]");
    assert_eq!(shape_of("conv2d_2.bias"), "f32[64]");
    assert_eq!(shape_of("dense_1.weight"), "f32[128,1600]");
    assert_eq!(shape_of("batch_norm_1.running_var"), "f32[128]");
    assert_eq!(shape_of("input"), "f32[N,1,28,28]");
    assert_eq!(shape_of("output"), "f32[N,10]");
    assert_eq!(graph.opset(""), Some(20));
    assert_eq!(
        seed_cnn().parameter_names().unwrap().join(" "),
        "conv2d_1.weight conv2d_1.bias conv2d_2.weight conv2d_2.bias dense_1.weight dense_1.bias \
         batch_norm_1.weight batch_norm_1.bias dense_2.weight dense_2.bias"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let build = |seed| seed_cnn().build(Seed(seed)).unwrap();
    assert_eq!(build(7), build(7));
    let (one, other) = (build(7), build(8));
    let id = one.find_value("dense_2.weight").unwrap();
    assert_ne!(one.initializers[&id], other.initializers[&id]);
}

#[test]
fn a_parameter_does_not_depend_on_what_is_around_it() {
    let input = || Input::features(6);
    let alone = Model::new("a", input()).layer_as("head", Dense::new(3));
    let later = Model::new("b", input()).layer_as("body", Dense::new(6));
    let later = later.relu().layer_as("head", Dense::new(3));
    let weight = |model: Model| {
        let graph = model.build(Seed(4)).unwrap();
        graph.initializers[&graph.find_value("head.weight").unwrap()].clone()
    };
    assert_eq!(weight(alone), weight(later));
}

#[test]
fn shapes_follow_the_settings() {
    let conv = |conv: Conv2d| shape(&image(9).layer(conv));
    assert_eq!(conv(Conv2d::new(6, 3)), "N,6,7,7");
    assert_eq!(conv(Conv2d::new(6, 3).same()), "N,6,9,9");
    assert_eq!(conv(Conv2d::new(6, 4).same().stride(2)), "N,6,5,5");
    assert_eq!(conv(Conv2d::new(6, [1, 3]).stride([2, 1])), "N,6,5,7");
    assert_eq!(conv(Conv2d::new(6, 3).padding(2).dilation(2)), "N,6,9,9");
    assert_eq!(conv(Conv2d::new(6, 3).dilation(3).same()), "N,6,9,9");
    assert_eq!(conv(Conv2d::new(6, 3).groups(3)), "N,6,7,7");
    assert_eq!(conv(Conv2d::depthwise(3).multiplier(4)), "N,12,7,7");
    assert_eq!(shape(&image(9).layer(Pool2d::max(3).stride(2))), "N,3,4,4");
    assert_eq!(shape(&image(9).layer(Pool2d::average(2).same())), "N,3,5,5");
    assert_eq!(shape(&image(9).global_avg_pool()), "N,3");
    assert_eq!(shape(&image(4).reshape(&[6, 8])), "N,6,8");
    assert_eq!(
        shape(&image(4).layer(Transpose(vec![0, 2, 3, 1]))),
        "N,4,4,3"
    );
    let sequence = Model::new("s", Input::sequence(5, 8));
    assert_eq!(shape(&sequence.clone().dense(3).gelu()), "N,5,3");
    assert_eq!(shape(&sequence.layer_norm().mean(1)), "N,8");
}

/// Keras pads the odd element after the image: `same` over 9 with a kernel of 4 and a stride of 2
/// needs 3, one before and two after.
#[test]
fn same_pads_the_odd_one_after() {
    let model = image(9).layer(Conv2d::new(1, 4).same().stride(2));
    let graph = model.build(Seed(0)).unwrap();
    let pads = first(&graph, "Conv").ints("pads").unwrap();
    assert_eq!(pads, Some(&[1, 1, 2, 2][..]));
}

#[test]
fn grouped_weights_are_in_onnx_layout() {
    let graph = image(5)
        .layer(Conv2d::new(6, 3).groups(3).no_bias())
        .depthwise_conv2d(1)
        .build(Seed(0))
        .unwrap();
    let fact = |name: &str| {
        let id = graph.find_value(name).unwrap();
        graph.fact(id).unwrap().to_string()
    };
    assert_eq!(fact("conv2d_1.weight"), "f32[6,1,3,3]");
    assert_eq!(graph.find_value("conv2d_1.bias"), None);
    assert_eq!(fact("depthwise_conv2d_1.weight"), "f32[6,1,1,1]");
}

#[test]
fn branches_meet_again() {
    let trunk = image(8).conv2d(4, 1);
    let start = trunk.mark();
    let left = trunk.layer_as("left", Conv2d::new(4, 3).same());
    let end = left.mark();
    let model = left.at(start).layer_as("right", Conv2d::new(4, 1));
    let right = model.mark();
    let model = model
        .add(&[end, start])
        .multiply(&[right])
        .concat(&[start], 1);
    assert_eq!(shape(&model), "N,8,8,8");
    let graph = model.build(Seed(0)).unwrap();
    assert_eq!(graph.nodes().filter(|(_, node)| node.is("Add")).count(), 2);
}

#[test]
fn a_residual_block_adds_its_input() {
    let model = Model::new("r", Input::features(2));
    let zeros = || Dense::new(2).weight(Init::ZEROS).bias(Init::ONES);
    let model = model.residual(|model| model.layer(zeros())).output("sum");
    let graph = model.residual_with(|m| m.layer(zeros()), |m| m.layer(zeros()));
    let graph = graph.output("two").build(Seed(0)).unwrap();
    let input = Tensor::new([1, 2], vec![3f32, -5.0]).unwrap();
    let feeds = BTreeMap::from([(graph.inputs[0], input)]);
    let outputs = interpret(&graph, &feeds).unwrap();
    assert_eq!(outputs[0].values::<f32>(), Ok(&[4.0, -4.0][..]));
    assert_eq!(outputs[1].values::<f32>(), Ok(&[2.0, 2.0][..]));
    assert_eq!(graph.value_name(graph.outputs[0]), "sum");
}

#[test]
fn a_model_has_several_inputs() {
    let model = Model::new("m", Input::features(3).named("age")).dense(4);
    let age = model.mark();
    let model = model
        .input(Input::tokens(1).named("town"))
        .embedding(9, 4)
        .flatten();
    let graph = model.concat(&[age], 1).dense(1).build(Seed(0)).unwrap();
    let names: Vec<&str> = graph
        .inputs
        .iter()
        .map(|&id| graph.value_name(id))
        .collect();
    assert_eq!(names, ["age", "town"]);
    let fact = graph.fact(graph.outputs[0]).unwrap();
    assert_eq!(fact.to_string(), "f32[N,1]");
}

#[test]
fn activations_are_their_formulas() {
    type Formula = fn(f64) -> f64;
    let xs = [-4.0, -0.5, 0.0, 1.0, 7.0];
    let cases: [(Activation, Formula); 7] = [
        (Activation::Relu, |x| x.max(0.0)),
        (Activation::LeakyRelu(0.25), |x| {
            if x < 0.0 { 0.25 * x } else { x }
        }),
        (Activation::Relu6, |x| x.clamp(0.0, 6.0)),
        (Activation::HardSwish, |x| {
            x * (x / 6.0 + 0.5).clamp(0.0, 1.0)
        }),
        (Activation::Gelu, |x| {
            x * 0.5 * (1.0 + libm::erf(x / 2f64.sqrt()))
        }),
        (Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Activation::Tanh, f64::tanh),
    ];
    for (activation, formula) in cases {
        let model = Model::new("a", Input::features(5)).layer(activation);
        let graph = model.build(Seed(0)).unwrap();
        let input = Tensor::new([1, 5], xs.map(|x| x as f32).to_vec()).unwrap();
        for (x, y) in xs.iter().zip(run(&graph, input)) {
            assert!((formula(*x) - y).abs() < 1e-6, "{activation:?} of {x}: {y}");
        }
    }
}

#[test]
fn preprocessing_takes_bytes() {
    let model = Model::new("p", Input::features(3).of(DType::U8));
    let graph = model
        .layer(Rescale::SYMMETRIC_BYTES)
        .build(Seed(0))
        .unwrap();
    let ys = run(&graph, Tensor::new([1, 3], vec![0u8, 51, 255]).unwrap());
    for (y, expected) in ys.iter().zip([-1.0, -0.6, 1.0]) {
        assert!((y - expected).abs() < 1e-6, "{y}");
    }
    let constants = "rescale_1.offset\nrescale_1.scale";
    assert_eq!(graph.metadata[CONSTANTS_KEY], constants);
}

#[test]
fn defaults_are_those_of_the_framework() {
    let build = |defaults| {
        let model = image(4).defaults(defaults).conv2d(2, 1).batch_norm();
        model.build(Seed(0)).unwrap()
    };
    let setting = |graph: &Graph, name: &str| {
        let norm = first(graph, "BatchNormalization");
        norm.float(name, -1.0).unwrap()
    };
    let bias_is_zero = |graph: &Graph| {
        let id = graph.find_value("conv2d_1.bias").unwrap();
        let bias = graph.initializers[&id].to_f64().unwrap();
        bias.iter().all(|&b| b == 0.0)
    };
    let (pytorch, keras) = (build(Defaults::PYTORCH), build(Defaults::KERAS));
    assert_eq!(
        (setting(&pytorch, "epsilon"), setting(&keras, "epsilon")),
        (1e-5, 1e-3)
    );
    assert_eq!(
        (setting(&pytorch, "momentum"), setting(&keras, "momentum")),
        (0.9, 0.99)
    );
    assert!(bias_is_zero(&keras) && !bias_is_zero(&pytorch));
    let own = image(4).layer(
        BatchNorm::new()
            .epsilon(0.5)
            .momentum(0.1)
            .weight(Init::ZEROS),
    );
    let own = own.build(Seed(0)).unwrap();
    assert_eq!(
        (setting(&own, "epsilon"), setting(&own, "momentum")),
        (0.5, 0.1)
    );
}

#[test]
fn shape_errors_name_the_layer_and_both_shapes() {
    let small = message(image(4).conv2d(8, 3).conv2d(8, 3));
    let start = "layer `conv2d_2` (Conv on f32[N,8,2,2], f32[8,8,3,3] and f32[8]): ";
    assert!(small.starts_with(start), "{small}");
    assert_eq!(
        message(image(4).dense(3)),
        "layer `dense_1` (dense on f32[N,3,4,4]): it does not take images; \
         hint: put `flatten()` or a global pool before it"
    );
    let skip = message(image(4).residual(|model| model.layer_as("c", Conv2d::new(1, 1))));
    let start = "layer `add_1` (add on f32[N,1,4,4] and f32[N,3,4,4]): the branches differ";
    assert!(skip.starts_with(start), "{skip}");
    let groups = message(image(4).layer(Conv2d::new(4, 1).groups(2)));
    assert!(
        groups.ends_with("2 groups do not divide 3 channels and 4 filters"),
        "{groups}"
    );
    let first = message(
        image(4)
            .dense(3)
            .conv2d(0, 0)
            .scope("s", |model| model.dense(0)),
    );
    assert!(
        first.starts_with("layer `dense_1`"),
        "the first error stays: {first}"
    );
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let cases = [
        (image(4).conv2d(0, 3), "it has 0 filters in 1 groups"),
        (image(4).conv2d(4, 0), "its kernel is 0x0"),
        (
            image(4).layer(Conv2d::new(4, 1).stride(0)),
            "its stride is 0x0",
        ),
        (image(4).max_pool2d(0), "its kernel is 0x0"),
        (image(4).flatten().dense(0), "it has no units"),
        (image(4).dropout(50.0), "hint: half is 0.5, not 50"),
        (image(4).dropout(f32::NAN), "its rate NaN is not in 0..1"),
        (
            image(4).layer(BatchNorm::new().momentum(1.5)),
            "its momentum 1.5",
        ),
        (
            image(4).normalize(&[0.0], &[0.0]),
            "the standard deviation of channel 0 is 0",
        ),
        (
            image(4).normalize(&[0.0; 2], &[1.0; 2]),
            "2 means and 2 standard deviations for 3",
        ),
        (
            image(4).normalize(&[f32::NAN], &[1.0]),
            "the mean of channel 0 is NaN",
        ),
        (image(4).rescale(0.0, 1.0), "it cannot scale by 0 and add 1"),
        (image(4).embedding(9, 2), "it takes token ids"),
        (image(4).reshape(&[0, 3]), "it cannot give [0, 3]"),
        (
            image(4).reshape(&[7]),
            "layer `reshape_1` (reshape on f32[N,3,4,4]): it cannot give [7]",
        ),
        (
            image(4).concat(&[], 9),
            "layer `concat_1` (Concat on f32[N,3,4,4])",
        ),
        (
            image(4).conv2d(usize::MAX, usize::MAX),
            "its parameter `weight`",
        ),
        (
            image(4).layer(Conv2d::depthwise(1).multiplier(usize::MAX)),
            "too many filters",
        ),
        (
            image(4).conv2d(1, usize::MAX >> 32),
            "its parameter `weight`",
        ),
    ];
    for (model, expected) in cases {
        let found = message(model);
        assert!(found.contains(expected), "{found}\n  lacks {expected}");
    }
}

#[test]
fn names_are_taken_once() {
    let taken = |model: Model| match model.build(Seed(0)) {
        Err(ZooError::NameTaken { name }) => name,
        other => panic!("{other:?}"),
    };
    let row = || Model::new("m", Input::features(2));
    let twice = row()
        .layer_as("a", Dense::new(2))
        .layer_as("a", Dense::new(2));
    assert_eq!(taken(twice), "a");
    assert_eq!(taken(row().input(Input::features(2))), "input");
    assert_eq!(taken(row().dense(1).output("input")), "input");
    // A name chosen by hand is left out by the count.
    let model = row()
        .layer_as("dense_1", Dense::new(2))
        .dense(2)
        .scope("s", |m| m.dense(1));
    let graph = model.build(Seed(0)).unwrap();
    let names: Vec<&str> = graph.nodes().map(|(_, node)| node.name.as_str()).collect();
    assert_eq!(names, ["dense_1", "dense_2", "s.dense_1"]);
}

#[test]
fn handles_of_other_models_are_refused() {
    let long = image(8).conv2d(1, 1).conv2d(1, 1).conv2d(1, 1).mark();
    let short = image(8).at(long).build(Seed(0));
    assert!(
        matches!(short, Err(ZooError::ForeignHandle { .. })),
        "{short:?}"
    );
    let broken = image(8).dense(1).mark();
    let added = image(8).add(&[broken]).build(Seed(0));
    assert!(
        matches!(added, Err(ZooError::ForeignHandle { .. })),
        "{added:?}"
    );
}

#[test]
fn recurrent_layers_give_states() {
    let lstm = || Recurrent::new(RecurrentKind::Lstm, 6);
    let sequence = || Model::new("s", Input::sequence(5, 8));
    assert_eq!(shape(&sequence().layer(lstm().sequences()).gru(3)), "N,3");
    let graph = sequence().layer(lstm()).build(Seed(0)).unwrap();
    let id = graph.find_value("lstm_1.weight").unwrap();
    let weight = graph.initializers[&id].to_f64().unwrap();
    let largest = weight.iter().fold(0f64, |max, w| max.max(w.abs()));
    let bound = 1.0 / 6f64.sqrt();
    assert!(largest < bound && largest > 0.95 * bound, "{largest}");
    let refused = message(sequence().rnn(0));
    assert!(refused.ends_with("it has no hidden units"), "{refused}");
}
