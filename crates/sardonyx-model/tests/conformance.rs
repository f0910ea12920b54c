//! ONNX's own test cases through import, inference and the reference evaluation.
//!
//! The cases are the folders of the wheel `onnx==1.17.0` under `onnx/backend/test/data`: `node` and
//! beside it `pytorch-converted`, `pytorch-operator` and `simple`. `SARDONYX_ONNX_NODE_TESTS` says
//! where `node` is; without it the few that are committed here are run.
//!
//! `conformance_enabled.txt` lists the cases that pass. It may only grow: a case on it that fails
//! is an error, and so is one that passes and is not on it. With `SARDONYX_CONFORMANCE_REPORT` the
//! outcome of every case is written to that file, with `SARDONYX_CONFORMANCE_TEXT` the text form of
//! every model to that folder (for `golden/make_text.py check`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sardonyx_ir::text::{self, PrintOptions};
use sardonyx_ir::{Graph, ValueId};
use sardonyx_model::{load, load_bytes, to_bytes};
use sardonyx_onnx::{decode_tensor, tensor_from_proto};
use sardonyx_ops::{infer, interpret};
use sardonyx_tensor::{DType, Data, Tensor, bf16};

/// Tolerances of `onnx.backend.test`.
const RELATIVE_TOLERANCE: f64 = 1e-3;
const ABSOLUTE_TOLERANCE: f64 = 1e-7;

const GROUPS: [&str; 4] = ["node", "pytorch-converted", "pytorch-operator", "simple"];

const ENABLED: &str = include_str!("conformance_enabled.txt");

/// Every model that can be imported, runnable or not, is the same after it was written as bytes or
/// as text and read again.
#[test]
fn onnx_test_models_round_trip() {
    let (cases, full) = all_cases();
    let mut n_models = 0;
    for (name, path) in &cases {
        let Ok(graph) = load(&path.join("model.onnx")) else {
            continue;
        };
        let bytes = to_bytes(&graph).unwrap_or_else(|e| panic!("{name}: export: {e}"));
        let mut again = load_bytes(bytes.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(to_bytes(&again).ok(), Some(bytes), "{name}: other bytes");
        // Old format versions are not written.
        again.model.ir_version = graph.model.ir_version;
        // Their debug form, so that NaN is equal to itself.
        assert_eq!(
            format!("{again:?}"),
            format!("{graph:?}"),
            "{name}: another graph"
        );
        let printed = text::print(&graph, PrintOptions::FULL).expect("it was exported");
        if let Some(folder) = std::env::var_os("SARDONYX_CONFORMANCE_TEXT").map(PathBuf::from) {
            let file = folder.join(format!("{}.txt", name.replace('/', ".")));
            fs::write(file, &printed).expect("the folder can be written to");
        }
        let parsed = text::parse(&printed).unwrap_or_else(|e| panic!("{name}: {e}\n{printed}"));
        assert_eq!(
            text::print(&parsed, PrintOptions::FULL),
            Ok(printed),
            "{name}"
        );
        n_models += 1;
    }
    assert!(
        n_models * 10 > cases.len() * 8,
        "only {n_models} models can be imported"
    );
    println!("{n_models} of {} models, full set: {full}", cases.len());
}

#[test]
fn onnx_test_cases_pass() {
    let (cases, full) = all_cases();
    let enabled = enabled(&cases, full);
    let outcomes: BTreeMap<&str, Result<(), String>> = cases
        .iter()
        .map(|(name, path)| (name.as_str(), run(path)))
        .collect();
    if let Some(report) = std::env::var_os("SARDONYX_CONFORMANCE_REPORT") {
        fs::write(report, describe(&outcomes)).expect("the report can be written");
    }
    let mut mistakes = String::new();
    for (name, outcome) in &outcomes {
        match (outcome, enabled.contains(name)) {
            (Err(problem), true) => writeln!(mistakes, "enabled but fails: {name}: {problem}"),
            (Ok(()), false) => {
                writeln!(
                    mistakes,
                    "passes: add it to conformance_enabled.txt: {name}"
                )
            }
            _ => Ok(()),
        }
        .expect("a string takes everything");
    }
    assert!(mistakes.is_empty(), "\n{mistakes}");
    let passed = outcomes.values().filter(|outcome| outcome.is_ok()).count();
    println!("{passed} of {} cases pass", outcomes.len());
    if !full {
        println!("the full set was not run: SARDONYX_ONNX_NODE_TESTS is not set");
    }
}

/// Every case, and whether they are ONNX's full set.
fn all_cases() -> (BTreeMap<String, PathBuf>, bool) {
    match std::env::var_os("SARDONYX_ONNX_NODE_TESTS").map(PathBuf::from) {
        Some(node) => {
            let root = node.parent().expect("the folder `node` has a parent");
            (cases(root), true)
        }
        None => {
            let subset = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance_subset");
            (cases(&subset), false)
        }
    }
}

/// Every case of the groups under `root`, by name.
fn cases(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut cases = BTreeMap::new();
    for group in GROUPS {
        let Ok(folder) = fs::read_dir(root.join(group)) else {
            continue;
        };
        for entry in folder {
            let entry = entry.expect("the folder can be listed");
            if entry.path().join("model.onnx").is_file() {
                let name = format!("{group}/{}", entry.file_name().to_string_lossy());
                cases.insert(name, entry.path());
            }
        }
    }
    assert!(!cases.is_empty(), "no test case under {}", root.display());
    cases
}

/// The names on the list, which must be sorted and, in a full run, known.
fn enabled(cases: &BTreeMap<String, PathBuf>, full: bool) -> BTreeSet<&'static str> {
    let names: Vec<&str> = ENABLED.lines().collect();
    let in_order = names.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(in_order, "conformance_enabled.txt is not sorted");
    for name in &names {
        let group = name.split('/').next().unwrap_or_default();
        let present = cases
            .keys()
            .any(|case| case.starts_with(&format!("{group}/")));
        if full && present {
            assert!(cases.contains_key(*name), "there is no case {name}");
        }
    }
    names.into_iter().collect()
}

fn describe(outcomes: &BTreeMap<&str, Result<(), String>>) -> String {
    let lines = outcomes.iter().map(|(name, outcome)| match outcome {
        Ok(()) => format!("pass {name}\n"),
        Err(problem) => format!("fail {name}: {}\n", problem.replace('\n', " ")),
    });
    lines.collect()
}

/// Runs a case. A panic is a failure that names itself, for no input may cause one.
fn run(folder: &Path) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| run_case(folder))) {
        Ok(outcome) => outcome,
        Err(_) => panic!("{} panics", folder.display()),
    }
}

fn run_case(folder: &Path) -> Result<(), String> {
    let mut graph = load(&folder.join("model.onnx")).map_err(|e| format!("import: {e}"))?;
    infer(&mut graph).map_err(|e| format!("inference: {e}"))?;
    let mut n_sets = 0;
    for set in 0.. {
        let data = folder.join(format!("test_data_set_{set}"));
        if !data.is_dir() {
            break;
        }
        run_set(&graph, &data).map_err(|problem| format!("data set {set}: {problem}"))?;
        n_sets += 1;
    }
    if n_sets == 0 {
        return Err("there is no data".to_owned());
    }
    Ok(())
}

fn run_set(graph: &Graph, data: &Path) -> Result<(), String> {
    let inputs = retyped(tensors(data, "input")?, graph, &graph.inputs);
    let expected = retyped(tensors(data, "output")?, graph, &graph.outputs);
    let feeds = graph.inputs.iter().copied().zip(inputs).collect();
    let outputs = interpret(graph, &feeds).map_err(|e| e.to_string())?;
    if outputs.len() != expected.len() {
        let (found, expected) = (outputs.len(), expected.len());
        return Err(format!("{found} outputs, expected {expected}"));
    }
    for ((output, expected), &id) in outputs.iter().zip(&expected).zip(&graph.outputs) {
        let name = graph.value_name(id);
        compare(output, expected).map_err(|problem| format!("output {name}: {problem}"))?;
        let fact = graph.fact(id).ok_or("nothing was inferred of an output")?;
        if !fact.admits(output.dtype(), output.shape()) {
            return Err(format!(
                "output {name}: inferred {fact}, got {:?}",
                output.shape()
            ));
        }
    }
    Ok(())
}

fn tensors(folder: &Path, kind: &str) -> Result<Vec<Tensor>, String> {
    let mut tensors = Vec::new();
    loop {
        let path = folder.join(format!("{kind}_{}.pb", tensors.len()));
        let Ok(bytes) = fs::read(&path) else {
            return Ok(tensors);
        };
        let proto = decode_tensor(bytes).map_err(|e| format!("{kind}: {e}"))?;
        tensors.push(tensor_from_proto(&proto).map_err(|e| format!("{kind}: {e}"))?);
    }
}

/// The data files hold elements of bfloat16 as integers of the same bits, numpy having no such type.
fn retyped(tensors: Vec<Tensor>, graph: &Graph, ids: &[ValueId]) -> Vec<Tensor> {
    let retype = |(index, tensor): (usize, Tensor)| {
        let declared = ids.get(index).and_then(|&id| graph.fact(id));
        match (declared.map(|fact| fact.dtype), tensor.data()) {
            (Some(DType::Bf16), Data::U16(bits)) => {
                let values = bits.iter().map(|&bits| bf16::from_bits(bits)).collect();
                Tensor::new(tensor.shape(), values).expect("as many elements as before")
            }
            _ => tensor,
        }
    };
    tensors.into_iter().enumerate().map(retype).collect()
}

fn compare(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    if (found.dtype(), found.shape()) != (expected.dtype(), expected.shape()) {
        let (found, found_shape) = (found.dtype(), found.shape());
        let (expected, shape) = (expected.dtype(), expected.shape());
        return Err(format!(
            "{found}{found_shape:?}, expected {expected}{shape:?}"
        ));
    }
    if let (Data::String(found), Data::String(expected)) = (found.data(), expected.data()) {
        return if found == expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        };
    }
    let found = found.to_f64().map_err(|e| e.to_string())?;
    let wanted = expected.to_f64().map_err(|e| e.to_string())?;
    for (index, (&found, &wanted)) in found.iter().zip(&wanted).enumerate() {
        let close = if expected.dtype().is_float() {
            let tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * wanted.abs();
            found == wanted || (found - wanted).abs() <= tolerance
        } else {
            found == wanted
        };
        let both_nan = found.is_nan() && wanted.is_nan();
        if !close && !both_nan {
            return Err(format!("element {index} is {found}, expected {wanted}"));
        }
    }
    Ok(())
}
