//! The zoo against what PyTorch, torchvision and Keras say of the same networks
//! (`golden/reference.py` made the files).
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Dim, Graph, ValueId};
use sardonyx_ops::{infer, interpret};
use sardonyx_passes::trainable_parameters;
use sardonyx_tensor::{DType, Tensor};
use sardonyx_zoo::layers::{Normalize, Rescale};
use sardonyx_zoo::zoo::{self, MODELS, Options, Output, Preprocess};
use sardonyx_zoo::{CONSTANTS_KEY, Model, Seed, ZooError};

const COUNTS: &str = include_str!("golden/counts.tsv");
const OUTPUTS: &str = include_str!("golden/outputs.tsv");

/// The rows of a table with a head.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().skip(1).map(|line| line.split('\t').collect())
}

fn dims(text: &str) -> Vec<usize> {
    text.split('x').map(|n| n.parse().unwrap()).collect()
}

fn options(row: &[&str]) -> Options {
    Options {
        input: Some(dims(row[1])),
        classes: Some(row[2].parse().unwrap()),
        ..Options::default()
    }
}

/// The formula of `golden/reference.py`: 24 random bits of a name and an index.
fn mixed(name: &str, index: usize) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let mut x = (index as u32)
        .wrapping_mul(2_654_435_761)
        .wrapping_add(hash);
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

fn unit(name: &str, index: usize) -> f64 {
    f64::from(mixed(name, index) >> 8) / 16_777_216.0 - 0.5
}

fn formula(name: &str, shape: &[usize]) -> Tensor {
    let is_scale = name.ends_with("running_var") || name.ends_with("weight");
    let fan: usize = shape[1..].iter().product();
    let value = |index| match shape.len() {
        1 if is_scale => 1.0 + 0.5 * unit(name, index),
        1 => 0.2 * unit(name, index),
        _ => unit(name, index) * (2.0 * (6.0 / fan as f64).sqrt()),
    };
    Tensor::from_fn(shape, |index| value(index) as f32).unwrap()
}

/// The built model, every parameter and statistic having the formula's values.
fn filled(model: Model) -> Graph {
    let names = model.parameter_names().unwrap();
    let mut graph = model.build(Seed(0)).unwrap();
    let mut filled: Vec<ValueId> = names.iter().map(|n| graph.find_value(n).unwrap()).collect();
    for (_, node) in graph
        .nodes()
        .filter(|(_, node)| node.is("BatchNormalization"))
    {
        filled.extend([3, 4].map(|slot| node.input(slot).unwrap()));
    }
    for id in filled {
        let tensor = formula(graph.value_name(id), graph.initializers[&id].shape());
        graph.initializers.insert(id, tensor.into());
    }
    graph
}

fn run(graph: &Graph, input: Tensor) -> Tensor {
    let feeds = BTreeMap::from([(graph.inputs[0], input)]);
    interpret(graph, &feeds).unwrap().remove(0)
}

#[test]
fn parameter_counts_are_those_of_torchvision() {
    let mut seen: Vec<&str> = Vec::new();
    for row in rows(COUNTS) {
        let model = zoo::find(row[0]).unwrap().model(&options(&row)).unwrap();
        let count = model.parameter_count().unwrap();
        assert_eq!(count.to_string(), row[3], "{row:?}");
        seen.push(row[0]);
    }
    for entry in MODELS {
        let defaults = entry.input.iter().map(ToString::to_string);
        let shape = defaults.collect::<Vec<_>>().join("x");
        let is_default = |row: &Vec<&str>| row[0] == entry.name && row[1] == shape;
        assert!(rows(COUNTS).any(|row| is_default(&row)), "{}", entry.name);
    }
}

#[test]
fn outputs_are_those_of_pytorch() {
    for row in rows(OUTPUTS) {
        let vocabulary: usize = row[3].parse().unwrap();
        let options = Options {
            output: Output::Logits,
            vocabulary: (vocabulary > 0).then_some(vocabulary),
            ..options(&row)
        };
        let graph = filled(zoo::find(row[0]).unwrap().model(&options).unwrap());
        let shape = [&[2][..], &dims(row[1])].concat();
        let input = if vocabulary > 0 {
            let id = |index| i64::from(mixed("input", index)) % vocabulary as i64;
            Tensor::from_fn(shape, id).unwrap()
        } else {
            Tensor::from_fn(shape, |index| (2.0 * unit("input", index)) as f32).unwrap()
        };
        let output = run(&graph, input);
        let expected = row[4].split(' ').map(|v| v.parse::<f64>().unwrap());
        let expected: Vec<f64> = expected.collect();
        let found = output.to_f64().unwrap();
        assert_eq!(output.shape(), [2, expected.len() / 2]);
        let scale = expected.iter().fold(1f64, |max, v| max.max(v.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            let error = (found - expected).abs() / scale;
            assert!(error < 1e-5, "{} {}: {found} {expected}", row[0], row[1]);
        }
    }
}

#[test]
fn every_model_builds_with_a_symbolic_batch() {
    for entry in MODELS {
        // Large networks over small images, so that their dense layers stay small.
        let input = match entry.input {
            [3, 224, 224] => Some(vec![3, 32, 32]),
            _ => None,
        };
        let classes = Some(7);
        let options = Options {
            input,
            classes,
            ..Options::default()
        };
        let mut graph = entry.build(&options, Seed(1)).unwrap();
        assert_eq!(graph.verify(), Ok(()), "{}", entry.name);
        infer(&mut graph).unwrap();
        let fact = graph.fact(graph.outputs[0]).unwrap();
        let shape = [Dim::symbol("N"), Dim::known(7)];
        assert_eq!(fact.shape.as_deref(), Some(&shape[..]), "{}", entry.name);
        assert!(graph.nodes().all(|(_, node)| node.domain.is_empty()));
        let unknown = graph.values().find(|(_, value)| value.fact.is_none());
        assert_eq!(unknown, None, "{}", entry.name);
        // What training finds in the graph is what the layers declared.
        let found = trainable_parameters(&graph);
        let found: BTreeSet<&str> = found.iter().map(|&id| graph.value_name(id)).collect();
        let declared = entry.model(&options).unwrap().parameter_names().unwrap();
        let declared: BTreeSet<&str> = declared.iter().map(String::as_str).collect();
        assert_eq!(found, declared, "{}", entry.name);
    }
}

#[test]
fn training_finds_the_parameters_of_token_models_and_not_the_preprocessing() {
    let options = |name: &str| Options {
        vocabulary: (name == "text-transformer").then_some(30),
        preprocess: (name == "seed-cnn").then_some(Preprocess::Rescale(Rescale::UNIT_BYTES)),
        ..Options::default()
    };
    for name in ["seed-cnn", "text-transformer"] {
        let model = zoo::find(name).unwrap().model(&options(name)).unwrap();
        let declared: BTreeSet<String> = model.parameter_names().unwrap().into_iter().collect();
        let graph = model.build(Seed(0)).unwrap();
        let found = trainable_parameters(&graph).into_iter();
        let found: BTreeSet<String> = found.map(|id| graph.value_name(id).to_owned()).collect();
        assert_eq!(found, declared, "{name}");
    }
}

#[test]
fn probabilities_sum_to_one() {
    for name in ["mlp-small", "seed-cnn", "resnet8"] {
        let options = Options {
            input: Some(vec![1, 8, 8]),
            ..Options::default()
        };
        let graph = zoo::find(name).unwrap().build(&options, Seed(3)).unwrap();
        let pixel = |index: usize| (index % 17) as f32;
        let output = run(&graph, Tensor::from_fn([3, 1, 8, 8], pixel).unwrap());
        assert_eq!(output.shape(), [3, 10]);
        for row in output.values::<f32>().unwrap().chunks(10) {
            assert!(
                (row.iter().sum::<f32>() - 1.0).abs() < 1e-5,
                "{name}: {row:?}"
            );
        }
    }
}

#[test]
fn preprocessing_is_part_of_the_model() {
    let entry = zoo::find("seed-cnn").unwrap();
    let build = |preprocess| {
        let options = Options {
            input: Some(vec![2, 8, 8]),
            output: Output::Logits,
            preprocess,
            ..Options::default()
        };
        entry.build(&options, Seed(3)).unwrap()
    };
    let normalize = Normalize {
        mean: vec![100.0, 50.0],
        std: vec![60.0, 20.0],
    };
    let plain = build(None);
    let pixel = |index: usize| (index * 37 % 256) as f32;
    let raw = Tensor::from_fn([1, 2, 8, 8], pixel).unwrap();
    let by_hand = |f: &dyn Fn(usize, f32) -> f32| {
        let values = raw.values::<f32>().unwrap().iter().enumerate();
        let values = values.map(|(index, &x)| f(index / 64, x)).collect();
        Tensor::new([1, 2, 8, 8], values).unwrap()
    };
    let normal = by_hand(&|c, x| (x - normalize.mean[c]) / normalize.std[c]);
    let expected = run(&plain, normal);
    let graph = build(Some(Preprocess::Normalize(normalize)));
    assert_eq!(run(&graph, raw.clone()), expected);
    assert_eq!(sardonyx_passes::CONSTANTS_KEY, CONSTANTS_KEY);
    let constants = "normalize_1.mean
normalize_1.std";
    assert_eq!(graph.metadata[CONSTANTS_KEY], constants);
    let graph = build(Some(Preprocess::Rescale(Rescale::SYMMETRIC_BYTES)));
    let expected = run(&plain, by_hand(&|_, x| x * (2.0 / 255.0) - 1.0));
    let found = run(&graph, raw.clone());
    for (found, expected) in found
        .to_f64()
        .unwrap()
        .iter()
        .zip(expected.to_f64().unwrap())
    {
        assert!((found - expected).abs() < 1e-5);
    }
}

#[test]
fn names_are_found_or_suggested() {
    assert!(MODELS.is_sorted_by_key(|entry| entry.name));
    let hint = |name: &str| match zoo::find(name) {
        Err(ZooError::UnknownModel { hint, .. }) => hint,
        other => panic!("{other:?}"),
    };
    assert_eq!(hint("resnet-18"), "did you mean `resnet18`?");
    assert!(hint("gpt").starts_with("the zoo has gru, lstm, mlp,"));
}

#[test]
fn impossible_options_are_refused() {
    let message = |name: &str, options: Options| {
        let model = zoo::find(name).unwrap().build(&options, Seed(0));
        model.unwrap_err().to_string()
    };
    let input = |input: &[usize]| Options {
        input: Some(input.to_vec()),
        ..Options::default()
    };
    let tiny = message("seed-cnn", input(&[1, 3, 3]));
    assert!(
        tiny.starts_with("layer `max_pool2d_2` (MaxPool on f32[N,64,1,1])"),
        "{tiny}"
    );
    let row = message("seed-cnn", input(&[64]));
    assert!(
        row.contains("layer `conv2d_1` (conv2d on f32[N,64])"),
        "{row}"
    );
    let empty = message("mlp", input(&[0, 3]));
    assert_eq!(empty, "model `mlp`: its input cannot be [0, 3]");
    let vocabulary = Some(9);
    let tokens = message(
        "mlp",
        Options {
            vocabulary,
            ..Options::default()
        },
    );
    assert!(
        tokens.starts_with("model `mlp`: it takes no token ids"),
        "{tokens}"
    );
    let none = Some(0);
    let classes = Options {
        classes: none,
        ..Options::default()
    };
    assert!(message("resnet8", classes).contains("layer `fc` (dense on f32[N,128])"));
    let heads = message("text-transformer", input(&[4, 30]));
    assert!(
        heads.contains("4 heads do not divide the width 30"),
        "{heads}"
    );
}

#[test]
fn tokens_are_integers() {
    let options = Options {
        vocabulary: Some(100),
        ..Options::default()
    };
    let entry = zoo::find("text-transformer").unwrap();
    let graph = entry.build(&options, Seed(0)).unwrap();
    let fact = graph.fact(graph.inputs[0]).unwrap();
    assert_eq!(
        (fact.dtype, fact.to_string().as_str()),
        (DType::I64, "i64[N,64]")
    );
}
