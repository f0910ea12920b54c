//! Status and metadata of models, in protobuf's JSON as TensorFlow Serving prints it.

use crate::Code;
use crate::json::write::{Layout, Writer};
use crate::proto::serving::{
    GetModelStatusResponse, ModelSpec, SignatureDefMap, State, VersionChoice,
};
use crate::proto::tensorflow::{DataType, TensorInfo, TensorShapeProto};

const LINES: Layout = Layout::Lines(1);

/// Body of the reply to `GET /v1/models/M`.
pub fn encode_status(response: &GetModelStatusResponse) -> Vec<u8> {
    let mut writer = Writer::new(LINES, 256);
    writer.begin_object();
    writer.name("model_version_status");
    writer.begin_array();
    for version in &response.model_version_status {
        writer.begin_object();
        text(&mut writer, "version", &version.version.to_string());
        text(&mut writer, "state", state_name(version.state));
        if let Some(status) = &version.status {
            writer.name("status");
            writer.begin_object();
            let code = Code::from_number(status.error_code);
            text(&mut writer, "error_code", code.name());
            text(&mut writer, "error_message", &status.error_message);
            writer.end_object();
        }
        writer.end_object();
    }
    writer.end_array();
    writer.end_object();
    with_line_end(writer)
}

fn state_name(state: i32) -> &'static str {
    match State::try_from(state) {
        Ok(State::Start) => "START",
        Ok(State::Loading) => "LOADING",
        Ok(State::Available) => "AVAILABLE",
        Ok(State::Unloading) => "UNLOADING",
        Ok(State::End) => "END",
        Ok(State::Unknown) | Err(_) => "UNKNOWN",
    }
}

/// Body of the reply to `GET /v1/models/M/metadata`.
pub fn encode_metadata(spec: &ModelSpec, signatures: &SignatureDefMap) -> Vec<u8> {
    let mut writer = Writer::new(LINES, 1024);
    writer.begin_object();
    writer.name("model_spec");
    write_spec(&mut writer, spec);
    writer.name("metadata");
    writer.begin_object();
    writer.name("signature_def");
    writer.begin_object();
    writer.name("signature_def");
    writer.begin_object();
    for (name, signature) in &signatures.signature_def {
        writer.name(name);
        writer.begin_object();
        for (name, tensors) in [
            ("inputs", &signature.inputs),
            ("outputs", &signature.outputs),
        ] {
            writer.name(name);
            writer.begin_object();
            for (name, info) in tensors {
                writer.name(name);
                write_info(&mut writer, info);
            }
            writer.end_object();
        }
        text(&mut writer, "method_name", &signature.method_name);
        writer.name("defaults");
        writer.begin_object();
        writer.end_object();
        writer.end_object();
    }
    writer.end_object();
    writer.end_object();
    writer.end_object();
    writer.end_object();
    with_line_end(writer)
}

fn write_spec(writer: &mut Writer, spec: &ModelSpec) {
    writer.begin_object();
    text(writer, "name", &spec.name);
    text(writer, "signature_name", &spec.signature_name);
    match &spec.version_choice {
        Some(VersionChoice::Version(version)) => {
            text(writer, "version", &version.value.to_string())
        }
        Some(VersionChoice::VersionLabel(label)) => text(writer, "version_label", label),
        None => {}
    }
    writer.end_object();
}

fn write_info(writer: &mut Writer, info: &TensorInfo) {
    writer.begin_object();
    text(writer, "dtype", type_name(info.dtype));
    if let Some(shape) = &info.tensor_shape {
        writer.name("tensor_shape");
        write_shape(writer, shape);
    }
    text(writer, "name", &info.name);
    writer.end_object();
}

fn write_shape(writer: &mut Writer, shape: &TensorShapeProto) {
    writer.begin_object();
    writer.name("dim");
    writer.begin_array();
    for dim in &shape.dim {
        writer.begin_object();
        text(writer, "size", &dim.size.to_string());
        text(writer, "name", &dim.name);
        writer.end_object();
    }
    writer.end_array();
    writer.name("unknown_rank");
    writer.bool(shape.unknown_rank);
    writer.end_object();
}

fn type_name(number: i32) -> &'static str {
    match DataType::try_from(number).unwrap_or(DataType::Invalid) {
        DataType::Float => "DT_FLOAT",
        DataType::Double => "DT_DOUBLE",
        DataType::Int32 => "DT_INT32",
        DataType::Uint8 => "DT_UINT8",
        DataType::Int16 => "DT_INT16",
        DataType::Int8 => "DT_INT8",
        DataType::String => "DT_STRING",
        DataType::Int64 => "DT_INT64",
        DataType::Bool => "DT_BOOL",
        DataType::Bfloat16 => "DT_BFLOAT16",
        DataType::Uint16 => "DT_UINT16",
        DataType::Half => "DT_HALF",
        DataType::Uint32 => "DT_UINT32",
        DataType::Uint64 => "DT_UINT64",
        _ => "DT_INVALID",
    }
}

fn text(writer: &mut Writer, name: &str, value: &str) {
    writer.name(name);
    writer.string(value);
}

fn with_line_end(writer: Writer) -> Vec<u8> {
    let mut body = writer.finish();
    body.push(b'\n');
    body
}
