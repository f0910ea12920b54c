//! Files of the reference implementation: read right, and written back byte for byte.

use prost::Message;
use sardonyx_onnx::proto::{GraphProto, ModelProto, TensorProto};
use sardonyx_onnx::{OnnxError, encode, sparse_from_proto, tensor_from_proto};
use sardonyx_tensor::{Tensor, bf16, f16};

use crate::support::{MODELS, golden, golden_path, read};

fn graph_of(name: &str) -> GraphProto {
    let loaded = read(&golden_path(&format!("{name}.onnx"))).unwrap();
    loaded.model.graph.unwrap()
}

#[test]
fn every_field_of_the_schema_is_known_by_its_name() {
    let bytes = golden("all_fields.onnx");
    let model = ModelProto::decode(bytes.as_slice()).unwrap();
    let written = model.encode_to_vec();
    assert_eq!(ModelProto::decode(written.as_slice()).unwrap(), model);
    // The same bytes, but for the order of a type's `denotation` and its rarer alternatives.
    let sorted = |mut bytes: Vec<u8>| {
        bytes.sort_unstable();
        bytes
    };
    assert!(sorted(written) == sorted(bytes), "a field is lost");
    let shown = format!("{model:?}");
    let expected = String::from_utf8(golden("all_fields.txt")).unwrap();
    assert!(expected.lines().count() > 150);
    for line in expected.lines() {
        assert!(shown.contains(line), "{line}");
    }
}

#[test]
fn models_round_trip_byte_for_byte() {
    for name in MODELS.iter().filter(|&&name| name != "external") {
        let file = format!("{name}.onnx");
        let loaded = read(&golden_path(&file)).unwrap();
        assert_eq!(encode(&loaded.model).unwrap(), golden(&file), "{name}");
    }
}

/// The values of `make.py`, in its order.
fn expected_values(name: &str) -> Tensor {
    match name {
        "u8" => Tensor::vector(vec![0u8, 1, 255]),
        "i8" => Tensor::vector(vec![-128i8, 0, 127]),
        "u16" => Tensor::vector(vec![0u16, 1, 65535]),
        "i16" => Tensor::vector(vec![i16::MIN, 0, i16::MAX]),
        "i32" => Tensor::vector(vec![i32::MIN, 0, i32::MAX]),
        "i64" => Tensor::vector(vec![i64::MIN, 0, i64::MAX]),
        "u32" => Tensor::vector(vec![0u32, 1, u32::MAX]),
        "u64" => Tensor::vector(vec![0u64, 1, u64::MAX]),
        "bool" => Tensor::vector(vec![true, false, true]),
        "f32" => Tensor::vector(vec![-1.5f32, 0.1, 3e38]),
        "f64" => Tensor::vector(vec![-1.5f64, 0.1, 1e300]),
        "f16" => Tensor::vector([-1.5, 0.1, 65504.0].map(f16::from_f64).to_vec()),
        "bf16" => Tensor::vector([0xBFC0, 0x3DCD, 0x7F7F].map(bf16::from_bits).to_vec()),
        "string" => Tensor::vector(["", "é", "abc"].map(str::to_owned).to_vec()),
        "scalar" => Tensor::new([], vec![7f32]).unwrap(),
        "empty" => Tensor::new([0, 3], Vec::<f32>::new()).unwrap(),
        "empty_bare" => Tensor::new([2, 0], Vec::<i64>::new()).unwrap(),
        other => panic!("no values for {other}"),
    }
}

#[test]
fn every_element_type_is_read_in_both_forms() {
    let graph = graph_of("types");
    assert_eq!(graph.initializer.len(), 30);
    for tensor in &graph.initializer {
        let name = tensor.name();
        let kind = name.strip_suffix("_raw").or(name.strip_suffix("_typed"));
        let found = tensor_from_proto(tensor).unwrap();
        assert_eq!(found, expected_values(kind.unwrap_or(name)), "{name}");
    }
}

#[test]
fn other_element_types_are_named_when_refused() {
    for tensor in &graph_of("unsupported").initializer {
        let error = tensor_from_proto(tensor).unwrap_err();
        assert!(matches!(error.root(), OnnxError::ElementType { .. }));
        let name = tensor.name();
        let start = format!("tensor \"{name}\": element type {name} (");
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

#[test]
fn sparse_tensors_become_dense() {
    let graph = graph_of("sparse");
    let dense = Tensor::new([2, 3], vec![0f32, 1.5, 0.0, 0.0, 0.0, -2.5]).unwrap();
    let zeros = Tensor::new([2, 3], vec![0f32; 6]).unwrap();
    let attribute = graph.node[0].attribute[0].sparse_tensor.as_deref().unwrap();
    assert_eq!(sparse_from_proto(attribute).unwrap(), dense);
    let found: Vec<Tensor> = graph
        .sparse_initializer
        .iter()
        .map(|sparse| sparse_from_proto(sparse).unwrap())
        .collect();
    assert_eq!(found, [dense.clone(), dense, zeros]);
}

fn values(tensor: &TensorProto) -> Vec<f64> {
    tensor_from_proto(tensor).unwrap().to_f64().unwrap()
}

#[test]
fn external_data_is_read_wherever_a_tensor_can_be() {
    let loaded = read(&golden_path("external.onnx")).unwrap();
    assert_eq!(loaded.external_files, ["external.bin"]);
    let model = loaded.model;
    let graph = model.graph.as_ref().unwrap();
    let whole: Vec<f64> = (0..8).map(f64::from).collect();
    assert_eq!(values(&graph.initializer[0]), whole);
    assert_eq!(
        values(&graph.initializer[1]),
        [6.0, 7.0],
        "no length: to the end"
    );
    let sparse = sparse_from_proto(&graph.sparse_initializer[0]).unwrap();
    assert_eq!(sparse.to_f64().unwrap(), [2.0, 0.0, 0.0, 3.0]);
    let attribute = |index: usize| &graph.node[index].attribute[0];
    assert_eq!(values(attribute(0).t.as_deref().unwrap()), [0.0, 1.0]);
    let sparse = sparse_from_proto(attribute(1).sparse_tensor.as_deref().unwrap()).unwrap();
    assert_eq!(sparse.to_f64().unwrap(), [2.0, 0.0, 0.0, 3.0]);
    for branch in &graph.node[2].attribute {
        let inner = branch.g.as_deref().unwrap();
        assert_eq!(values(&inner.initializer[0]), [4.0, 5.0]);
    }
    let function = &model.functions[0];
    let default = function.attribute_proto[0].t.as_deref().unwrap();
    assert_eq!(values(default), [1.0, 2.0]);
    let body = function.node[0].attribute[0].t.as_deref().unwrap();
    assert_eq!(values(body), [3.0, 4.0]);
    let step = model.training_info[0].algorithm.as_ref().unwrap();
    assert_eq!(values(&step.initializer[0]), [5.0, 6.0]);
    // Nothing refers to another file any more: the model can be written on its own.
    let alone = sardonyx_onnx::decode(encode(&model).unwrap(), None, &Default::default());
    assert_eq!(alone.unwrap().model, model);
}

#[test]
fn functions_and_training_keep_their_details() {
    let model = read(&golden_path("functions.onnx")).unwrap().model;
    let [leaky, twice] = model.functions.as_slice() else {
        panic!("two functions");
    };
    assert_eq!(leaky.attribute_proto[0].f(), 0.125);
    assert_eq!(leaky.node[0].attribute[0].ref_attr_name(), "slope");
    assert_eq!((twice.name(), twice.overload()), ("Twice", "float"));
    assert_eq!(twice.metadata_props[0].key(), "origin");
    assert_eq!(twice.value_info[0].name(), "t");
    let model = read(&golden_path("training.onnx")).unwrap().model;
    let info = &model.training_info[0];
    assert_eq!(info.update_binding[0].value(), "w_new");
    let start = info.initialization.as_ref().unwrap();
    assert_eq!(
        values(start.node[0].attribute[0].t.as_deref().unwrap()),
        [0.5, 0.25]
    );
}
