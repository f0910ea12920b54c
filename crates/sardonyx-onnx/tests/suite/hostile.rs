//! Damaged and hostile files: each is refused or harmless, and none takes memory that its bytes
//! do not back.

use std::fs;
use std::sync::Once;

use rustix::process::{Resource, Rlimit, setrlimit};
use sardonyx_onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, SparseTensorProto, TensorProto,
};
use sardonyx_onnx::{OnnxError, encode, fuzzing, sparse_from_proto, tensor_from_proto};
use sardonyx_tensor::Philox;

use crate::support::*;

/// Holds the whole test process to a few gigabytes of address space: an allocation for a claimed
/// number would end it.
fn limit_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let limit = Rlimit {
            current: Some(6 << 30),
            maximum: Some(6 << 30),
        };
        setrlimit(Resource::As, limit).unwrap();
    });
}

fn files() -> Vec<Vec<u8>> {
    let names = MODELS.iter().chain(&["all_fields"]);
    names.map(|name| golden(&format!("{name}.onnx"))).collect()
}

#[test]
fn every_golden_file_cut_off_anywhere() {
    limit_memory();
    let (mut cuts, mut accepted) = (0, 0);
    for bytes in files() {
        for len in 0..bytes.len() {
            cuts += 1;
            accepted += usize::from(fuzzing::read_model(&bytes[..len]));
        }
    }
    // What is accepted lost whole trailing fields of the model and nothing else.
    assert!(cuts > 3000 && accepted < 100, "{accepted} of {cuts}");
}

/// One random change: a bit, a byte, a run of bytes removed, doubled or overwritten.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Philox) {
    let at = rng.below(bytes.len() as u64) as usize;
    let end = (at + 1 + rng.below(8) as usize).min(bytes.len());
    match rng.below(6) {
        0 | 1 => bytes[at] ^= 1 << rng.below(8),
        2 => bytes[at] = rng.next_u32() as u8,
        3 => drop(bytes.drain(at..end)),
        4 => {
            let run = bytes[at..end].to_vec();
            bytes.splice(at..at, run);
        }
        _ => bytes[at..end].fill(0xff),
    }
}

#[test]
fn two_hundred_mutants_of_every_golden_file() {
    limit_memory();
    let folder = playground("mutants");
    fs::copy(golden_path("external.bin"), folder.join("external.bin")).unwrap();
    let mut rng = Philox::new(2022, 25882);
    let (mut mutants, mut refused) = (0, 0);
    for bytes in files() {
        for _ in 0..200 {
            let mut mutant = bytes.clone();
            for _ in 0..=rng.below(3) {
                mutate(&mut mutant, &mut rng);
            }
            mutants += 1;
            fuzzing::read_model(&mutant);
            let path = folder.join("mutant.onnx");
            fs::write(&path, &mutant).unwrap();
            if let Err(error) = read(&path) {
                refused += 1;
                assert!(
                    error.to_string().len() < 2000,
                    "an error is readable: {error}"
                );
            }
        }
    }
    assert!(
        mutants == 1600 && refused > 400,
        "{refused} of {mutants} refused"
    );
}

#[test]
fn random_bytes() {
    limit_memory();
    let mut rng = Philox::new(9, 9);
    for len in (0..2000).step_by(7) {
        let bytes: Vec<u8> = (0..len).map(|_| rng.next_u32() as u8).collect();
        fuzzing::read_model(&bytes);
    }
}

#[test]
fn claimed_sizes_cost_nothing() {
    limit_memory();
    let huge = i64::MAX;
    for dims in [
        vec![huge],
        vec![1 << 40],
        vec![1 << 35],
        vec![1 << 20, 1 << 20, 1 << 20, 1 << 20],
        vec![huge, huge],
        vec![1 << 32, 1 << 32],
        vec![0, huge, huge],
        vec![-1],
        vec![2, -3],
        vec![i64::MIN],
        vec![1; 33],
        vec![1; 100_000],
    ] {
        for tensor in [floats("w", &dims), raw_floats("w", &dims, &[1.0])] {
            let error = reread(&model_with(tensor.clone())).expect_err("accepted");
            assert!(error.to_string().len() < 2000);
            assert!(tensor_from_proto(&tensor).is_err());
            let length = [("location", "w"), ("length", "9223372036854775807")];
            let outside = external_floats("w", &dims, &length);
            assert!(read_in(&playground("claims"), &model_with(outside)).is_err());
        }
    }
}

#[test]
fn data_of_the_wrong_length() {
    let wrong = |change: fn(&mut TensorProto)| {
        let mut tensor = floats("w", &[2]);
        change(&mut tensor);
        problem(reread(&model_with(tensor)))
    };
    assert!(wrong(|_| ()).contains("float_data has 0 elements"));
    assert!(wrong(|t| t.raw_data = Some(vec![0; 7].into())).contains("raw_data has 7 bytes"));
    assert!(wrong(|t| t.raw_data = Some(vec![0; 9].into())).contains("raw_data has 9 bytes"));
    assert!(wrong(|t| t.float_data = vec![0.0; 3]).contains("float_data has 3 elements"));
    assert!(wrong(|t| t.int32_data = vec![0; 2]).contains("cannot be in int32_data"));
    assert!(wrong(|t| t.segment = Some(Default::default())).contains("segments"));
    assert!(
        wrong(|t| (t.data_type, t.raw_data) = (Some(8), Some(vec![0; 2].into())))
            .contains("elements of string cannot be in raw_data")
    );
    // Types that Sardonyx does not compute with are still held to their width.
    assert!(
        wrong(|t| (t.data_type, t.raw_data) = (Some(22), Some(vec![0; 2].into())))
            .contains("raw_data has 2 bytes, the shape needs 1")
    );
    assert!(
        wrong(|t| (t.data_type, t.float_data) = (Some(14), vec![0.0; 2]))
            .contains("float_data has 2 elements, the shape needs 4")
    );
}

#[test]
fn sparse_tensors_that_contradict_themselves() {
    limit_memory();
    let indices = |dims: &[i64], values: &[i64]| TensorProto {
        dims: dims.to_vec(),
        data_type: Some(7),
        int64_data: values.to_vec(),
        ..Default::default()
    };
    let refused = |values: Option<TensorProto>, indices: Option<TensorProto>, dims: &[i64]| {
        let sparse = SparseTensorProto {
            values,
            indices,
            dims: dims.to_vec(),
        };
        let attribute = AttributeProto {
            sparse_tensor: Some(Box::new(sparse)),
            ..Default::default()
        };
        let graph = GraphProto {
            node: vec![node("Constant", attribute)],
            ..Default::default()
        };
        problem(reread(&model_of(graph)))
    };
    let one = || Some(raw_floats("s", &[1], &[1.0]));
    assert!(refused(None, None, &[4]).contains("no values"));
    assert!(refused(one(), None, &[4]).contains("no indices"));
    assert!(refused(one(), Some(indices(&[1], &[4])), &[4]).contains("index 0"));
    assert!(refused(one(), Some(indices(&[1], &[-1])), &[4]).contains("index 0"));
    assert!(refused(one(), Some(indices(&[2], &[0, 1])), &[4]).contains("fits neither"));
    assert!(refused(one(), Some(indices(&[1, 3], &[0; 3])), &[4]).contains("fits neither"));
    assert!(refused(one(), Some(indices(&[1], &[0])), &[-4]).contains("is -4"));
    assert!(refused(one(), Some(floats("i", &[1])), &[4]).contains("0 elements"));
    let zero_by_huge = Some(indices(&[1, 3], &[0, 1, 1]));
    assert!(refused(one(), zero_by_huge, &[0, 1 << 40, 1 << 40]).contains("too many elements"));
    let bomb = SparseTensorProto {
        values: one(),
        indices: Some(indices(&[1], &[0])),
        dims: vec![1 << 36],
    };
    assert!(sparse_from_proto(&bomb).is_err());
}

/// A graph that holds an If that holds a graph, `depth` graphs in all.
fn nested(depth: usize) -> GraphProto {
    let mut graph = GraphProto::default();
    for _ in 1..depth {
        let attribute = AttributeProto {
            g: Some(Box::new(graph)),
            ..Default::default()
        };
        graph = GraphProto {
            node: vec![node("If", attribute)],
            ..Default::default()
        };
    }
    graph
}

#[test]
fn nested_graphs_have_a_limit() {
    assert!(reread(&model_of(nested(32))).is_ok());
    assert!(encode(&model_of(nested(32))).is_ok());
    let error = problem(reread(&model_of(nested(33))));
    assert_eq!(error, "graphs are nested deeper than 32");
    assert!(encode(&model_of(nested(33))).is_err());
    assert!(problem(reread(&model_of(nested(80)))).contains("nested deeper than 100"));
}

/// A hundred thousand levels, written without any recursion of our own.
#[test]
fn bottomless_files_do_not_overflow_the_stack() {
    let mut levels: Vec<u8> = Vec::new();
    // From the inside out: graph (6) in attribute, attribute (5) in node, node (1) in graph.
    for level in 0..100_000 {
        let tag = [6, 5, 1][level % 3];
        let mut header = vec![(tag << 3) | 2];
        let mut len = levels.len();
        while len >= 0x80 {
            header.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        header.push(len as u8);
        // Kept reversed, so that each level is an append.
        header.reverse();
        levels.extend(header);
    }
    levels.reverse();
    assert!(!fuzzing::read_model(&levels));
}

fn function(name: &str, calls: &[&str]) -> FunctionProto {
    let call = |name: &&str| sardonyx_onnx::proto::NodeProto {
        domain: Some("local".to_owned()),
        ..node(name, AttributeProto::default())
    };
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("local".to_owned()),
        node: calls.iter().map(call).collect(),
        ..Default::default()
    }
}

fn with_functions(functions: Vec<FunctionProto>) -> ModelProto {
    ModelProto {
        functions,
        ..model_of(GraphProto::default())
    }
}

#[test]
fn functions_must_not_recurse_or_explode() {
    let recursive = with_functions(vec![function("a", &["b"]), function("b", &["a"])]);
    assert!(problem(reread(&recursive)).ends_with("calls itself"));
    let doubling = (0..40).map(|i| {
        let next = format!("f{}", i + 1);
        function(&format!("f{i}"), &[&next, &next])
    });
    let error = problem(reread(&with_functions(doubling.collect())));
    assert!(error.contains("once its functions are inlined"), "{error}");
    let twins = with_functions(vec![function("a", &[]), function("a", &[])]);
    assert!(problem(reread(&twins)).contains("two functions"));
}

#[test]
fn initializers_need_names_of_their_own() {
    let graph = |names: &[&str]| GraphProto {
        initializer: names
            .iter()
            .map(|name| raw_floats(name, &[1], &[0.0]))
            .collect(),
        ..Default::default()
    };
    let error = problem(reread(&model_of(graph(&["a", "b", "a"]))));
    assert_eq!(error, "two initializers are named \"a\"");
    assert_eq!(
        problem(reread(&model_of(graph(&[""])))),
        "an initializer has no name"
    );
    let mut mixed = graph(&["a"]);
    mixed.sparse_initializer.push(SparseTensorProto {
        values: Some(raw_floats("a", &[0], &[])),
        indices: None,
        dims: vec![4],
    });
    let error = problem(reread(&model_of(mixed)));
    assert_eq!(error, "two initializers are named \"a\"");
}

#[test]
fn errors_name_the_place_and_cannot_play_with_a_terminal() {
    let bad = raw_floats("\u{1b}[2Jw", &[2], &[0.0]);
    let mut graph = nested(2);
    graph.name = Some("main".to_owned());
    let attribute = &mut graph.node[0].attribute[0];
    attribute.name = Some("then_branch".to_owned());
    attribute.g.as_mut().unwrap().initializer.push(bad);
    let error = reread(&model_of(graph)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "graph \"main\": node \"\" (If): attribute \"then_branch\": graph \"\": tensor \
         \"\\u{1b}[2Jw\": raw_data has 4 bytes, the shape needs 8"
    );
    let long = raw_floats(&"x".repeat(1 << 20), &[2], &[0.0]);
    assert!(reread(&model_with(long)).unwrap_err().to_string().len() < 400);
}

#[test]
fn text_that_is_not_text_is_refused() {
    let mut bytes = wire(&model_with(raw_floats("name", &[1], &[0.0])));
    let at = bytes
        .windows(4)
        .position(|window| window == b"name")
        .unwrap();
    bytes[at] = 0xff;
    let error = sardonyx_onnx::decode(bytes, None, &Default::default()).unwrap_err();
    assert!(matches!(error, OnnxError::Decode(_)), "{error}");
}
