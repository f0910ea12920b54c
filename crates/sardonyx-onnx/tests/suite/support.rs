//! What the tests share: golden files, folders to play in, models built in memory.

use std::fs;
use std::path::{Path, PathBuf};

use sardonyx_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
};
use sardonyx_onnx::{LoadOptions, Loaded, OnnxError, Result, decode, load};

/// Every golden file that must be read; `all_fields.onnx` shows the schema only.
pub(crate) const MODELS: [&str; 7] = [
    "external",
    "functions",
    "sparse",
    "subgraphs",
    "training",
    "types",
    "unsupported",
];

pub(crate) fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

pub(crate) fn golden(name: &str) -> Vec<u8> {
    fs::read(golden_path(name)).unwrap()
}

/// A new empty folder for the test `name`.
pub(crate) fn playground(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn read(path: &Path) -> Result<Loaded> {
    load(path, &LoadOptions::default())
}

/// Decodes a message that was built in memory, without a folder.
pub(crate) fn reread(model: &ModelProto) -> Result<Loaded> {
    decode(wire(model), None, &LoadOptions::default())
}

/// The bytes of a model that [`sardonyx_onnx::encode`] would refuse to write.
pub(crate) fn wire(model: &ModelProto) -> Vec<u8> {
    prost::Message::encode_to_vec(model)
}

/// The error, with the places around it taken off.
pub(crate) fn problem(result: Result<Loaded>) -> String {
    let error: OnnxError = result.expect_err("a hostile model was accepted");
    error.root().to_string()
}

pub(crate) fn model_of(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        ..Default::default()
    }
}

pub(crate) fn model_with(tensor: TensorProto) -> ModelProto {
    model_of(GraphProto {
        initializer: vec![tensor],
        ..Default::default()
    })
}

/// A tensor of float32 without data.
pub(crate) fn floats(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(1),
        ..Default::default()
    }
}

pub(crate) fn raw_floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    TensorProto {
        raw_data: Some(raw.into()),
        ..floats(name, dims)
    }
}

/// A tensor of float32 whose data is in another file.
pub(crate) fn external_floats(name: &str, dims: &[i64], keys: &[(&str, &str)]) -> TensorProto {
    TensorProto {
        data_location: Some(1),
        external_data: keys.iter().map(|(key, value)| entry(key, value)).collect(),
        ..floats(name, dims)
    }
}

pub(crate) fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
}

pub(crate) fn node(op_type: &str, attribute: AttributeProto) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        attribute: vec![attribute],
        ..Default::default()
    }
}

/// Writes a model, unchecked, and reads it back.
pub(crate) fn read_in(folder: &Path, model: &ModelProto) -> Result<Loaded> {
    let path = folder.join("model.onnx");
    fs::write(&path, wire(model)).unwrap();
    read(&path)
}
