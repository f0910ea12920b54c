//! The core with real models: batches of strangers, versions that come and go under load.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use sardonyx_engine::{Session, SessionOptions};
use sardonyx_ir::Graph;
use sardonyx_kernels::Pool;
use sardonyx_serve::metrics::{Metrics, MetricsOptions, VersionState};
use sardonyx_serve::{
    Answer, Call, Code, ModelConfig, Registry, Result, Rollout, Selector, ServableOptions, Server,
    Signature, VersionPolicy,
};
use sardonyx_tensor::{DType, Philox, Tensor};
use sardonyx_zoo::Seed;
use sardonyx_zoo::zoo::{MODELS, Options};

fn options() -> ServableOptions {
    ServableOptions::new(Arc::new(Pool::new(2).expect("threads")))
}

fn mlp(seed: u64) -> Graph {
    let entry = sardonyx_zoo::zoo::find("mlp").expect("it is in the zoo");
    let graph = entry.build(&Options::default(), Seed(seed));
    graph.expect("it builds")
}

fn save(graph: &Graph, path: &Path) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    sardonyx_model::save(path, graph).expect("it saves");
}

fn registry(folder: &Path, config: ModelConfig) -> Arc<Registry> {
    let file = Some(folder.join("rollouts.json"));
    let registry = Registry::new(
        options(),
        Arc::new(Metrics::new(MetricsOptions::default())),
        file,
    );
    registry.configure(vec![config]).expect("it is valid");
    Arc::new(registry)
}

fn sample(signature: &Signature, rows: usize, rng: &mut Philox) -> Vec<Tensor> {
    let make = |spec: &sardonyx_wire::TensorSpec| {
        let mut shape: Vec<usize> = spec.dims.iter().map(|dim| dim.unwrap_or(7)).collect();
        shape[0] = rows;
        match spec.dtype {
            DType::F32 => Tensor::from_fn(shape, |_| rng.normal() as f32),
            _ => Tensor::from_fn(shape, |_| rng.below(50) as i64),
        }
        .expect("small")
    };
    signature.inputs.iter().map(make).collect()
}

fn ask(server: &Server, name: &str, inputs: Vec<Tensor>, source: u64) -> Result<(u64, Answer)> {
    let target = server.registry().resolve(name, &Selector::Default, None)?;
    let call = Call {
        inputs,
        priority: 0,
        deadline: None,
        source,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let answer = runtime
        .expect("a runtime")
        .block_on(server.infer(&target, call))?;
    Ok((target.servable.version(), answer))
}

#[test]
fn every_network_of_the_zoo_may_share_batches() {
    let pool = Arc::new(Pool::new(1).expect("a thread"));
    for entry in MODELS {
        let graph = entry.build(&Options::default(), Seed(1)).expect(entry.name);
        let mut graph = graph;
        sardonyx_passes::apply(&mut graph, sardonyx_passes::lift_constants).expect(entry.name);
        let session = Session::new(graph, SessionOptions::new(Arc::clone(&pool)));
        let session = session.expect(entry.name);
        let signature = Signature::of(session.graph()).expect(entry.name);
        assert!(signature.is_batched, "{} is not batched", entry.name);
    }
}

#[test]
fn batched_with_strangers_is_as_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.onnx");
    save(&mlp(3), &path);
    let registry = registry(folder.path(), ModelConfig::new("m", &path));
    let server = Server::new(registry).expect("a thread");
    let mut reference = {
        let pool = Arc::new(Pool::new(1).expect("a thread"));
        Session::new(mlp(3), SessionOptions::new(pool)).expect("it is valid")
    };
    let target = server.registry().resolve("m", &Selector::Default, None);
    let signature = target.expect("ready").servable.signature().clone();
    let mut questions = BTreeMap::new();
    for client in 0..6_u64 {
        let mut rng = Philox::new(client, 0);
        for turn in 0..30_usize {
            let inputs = sample(&signature, 1 + (turn + client as usize) % 5, &mut rng);
            let expected = reference.run(&inputs).expect("it runs");
            questions
                .entry(client)
                .or_insert_with(Vec::new)
                .push((inputs, expected));
        }
    }
    thread::scope(|scope| {
        for (client, questions) in questions {
            let server = &server;
            scope.spawn(move || {
                for (inputs, expected) in questions {
                    let (_, answer) = ask(server, "m", inputs, client).expect("it runs");
                    close(&answer.outputs, &expected);
                }
            });
        }
    });
}

fn close(found: &[Tensor], expected: &[Tensor]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.shape(), expected.shape());
        let (a, b) = (
            found.to_f64().expect("numbers"),
            expected.to_f64().expect("numbers"),
        );
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} and {b}");
        }
    }
}

#[test]
fn versions_come_and_go_by_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().join("m");
    save(&mlp(1), &base.join("1/model.onnx"));
    let registry = registry(folder.path(), ModelConfig::new("m", &base));
    let version = |selector: Selector| {
        let target = registry.resolve("m", &selector, None);
        target.map(|target| target.servable.version())
    };
    assert_eq!(version(Selector::Default), Ok(1));
    save(&mlp(2), &base.join("2/model.onnx"));
    registry.poll();
    assert_eq!(version(Selector::Default), Ok(2));
    let gone = version(Selector::Version(1)).expect_err("unloaded");
    assert_eq!(gone.code, Code::NotFound);
    assert_eq!(
        gone.message,
        "Servable not found for request: Specific(m, 1)"
    );
    fs::create_dir_all(base.join("3")).expect("a folder");
    fs::write(base.join("3/model.onnx"), b"half a file").expect("a file");
    registry.poll();
    assert_eq!(
        version(Selector::Default),
        Ok(2),
        "what serves stays when the new one fails"
    );
    let status = registry.status("m").expect("it is there");
    let failed = status
        .iter()
        .find(|status| status.version == 3)
        .expect("it is there");
    assert_eq!(failed.state, VersionState::End);
    assert!(failed.error.is_some());
    save(&mlp(3), &base.join("3/model.onnx"));
    registry.poll();
    assert_eq!(
        version(Selector::Default),
        Ok(3),
        "a mended file is tried again"
    );
}

#[test]
fn nothing_fails_while_versions_change_under_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().join("m");
    save(&mlp(1), &base.join("1/model.onnx"));
    save(&mlp(2), &base.join("2/model.onnx"));
    let mut config = ModelConfig::new("m", &base);
    config.policy = VersionPolicy::All;
    let registry = registry(folder.path(), config.clone());
    let server = Server::new(Arc::clone(&registry)).expect("a thread");
    let target = registry
        .resolve("m", &Selector::Default, None)
        .expect("ready");
    let inputs = sample(target.servable.signature(), 1, &mut Philox::new(1, 0));
    drop(target);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..3 {
            let (server, inputs, stop, asked) = (&server, &inputs, &stop, &asked);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    ask(server, "m", inputs.clone(), client).expect("no request fails");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..50_u32 {
            let only = u64::from(turn % 2) + 1;
            let weights = BTreeMap::from([(1, turn % 3), (2, 1)]);
            let rollout = Rollout {
                weights,
                ..Rollout::default()
            };
            registry.set_rollout("m", rollout).expect("both are ready");
            registry
                .set_rollout("m", Rollout::default())
                .expect("both are ready");
            config.policy = VersionPolicy::Specific(vec![only]);
            registry
                .configure(vec![config.clone()])
                .expect("it is valid");
            config.policy = VersionPolicy::All;
            registry
                .configure(vec![config.clone()])
                .expect("it is valid");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 50);
}

#[test]
fn a_sticky_key_keeps_its_version_and_weights_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().join("m");
    save(&mlp(1), &base.join("1/model.onnx"));
    save(&mlp(2), &base.join("2/model.onnx"));
    let mut config = ModelConfig::new("m", &base);
    config.policy = VersionPolicy::All;
    let registry = registry(folder.path(), config.clone());
    let rollout = Rollout {
        weights: BTreeMap::from([(1, 90), (2, 10)]),
        labels: BTreeMap::from([("stable".to_owned(), 1)]),
        shadow: None,
    };
    registry
        .set_rollout("m", rollout.clone())
        .expect("both are ready");
    let pick = |key: Option<&str>| {
        let target = registry.resolve("m", &Selector::Default, key);
        target.expect("ready").servable.version()
    };
    for key in ["a", "b", "c", "d"] {
        let first = pick(Some(key));
        assert!((0..50).all(|_| pick(Some(key)) == first));
    }
    let canary = (0..10_000).filter(|_| pick(None) == 2).count();
    // 0.1 with a deviation of sqrt(0.1 * 0.9 / 10000) = 0.003: 3.29 of them are 99.9 %.
    assert!((901..=1099).contains(&canary), "{canary} of 10000");
    let label = registry.resolve("m", &Selector::Label("stable".to_owned()), None);
    assert_eq!(label.expect("ready").servable.version(), 1);
    let unknown = registry.resolve("m", &Selector::Label("old".to_owned()), None);
    assert_eq!(
        unknown.expect_err("no such label").message,
        "Unrecognized servable version label: old"
    );
    let missing = Rollout {
        weights: BTreeMap::from([(7, 1)]),
        ..Rollout::default()
    };
    assert!(
        registry.set_rollout("m", missing).is_err(),
        "version 7 is not there"
    );
    registry.close();
    let again = self::registry(folder.path(), config);
    assert_eq!(
        again.rollout("m").expect("it is there"),
        rollout,
        "a restart keeps it"
    );
}

#[test]
fn outputs_keep_the_names_that_nodes_without_work_gave_them() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        same (float[N,2] x) => (float[N,2] copy, float[N,2] other, float[N,2] sum)
        { copy = Identity(x) other = Identity(x) s = Add(x, x) sum = Identity(s) }"#;
    let graph = sardonyx_ir::text::parse(text).expect("a graph");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("same.onnx");
    save(&graph, &path);
    let registry = registry(folder.path(), ModelConfig::new("same", path));
    let server = Server::new(Arc::clone(&registry)).expect("threads");
    let target = registry.resolve("same", &Selector::Default, None);
    let servable = target.expect("it is there").servable;
    let outputs = servable.signature().outputs.iter();
    let names: Vec<&str> = outputs.map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["copy", "other", "sum"]);
    let x = Tensor::new([1, 2], vec![1.0f32, 2.0]).expect("matches");
    let (_, answer) = ask(&server, "same", vec![x.clone()], 1).expect("an answer");
    let sum = Tensor::new([1, 2], vec![2.0f32, 4.0]).expect("matches");
    assert_eq!(answer.outputs, [x.clone(), x, sum]);
}
