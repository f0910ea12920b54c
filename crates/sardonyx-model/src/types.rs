//! Types of values, both ways.

use sardonyx_ir::{Dim, Fact};
use sardonyx_onnx::proto::{
    Dimension, TensorShapeProto, TensorType, TypeProto, dimension, type_proto,
};
use sardonyx_onnx::{dtype_from_onnx, dtype_to_onnx, element_type_name};

/// The fact that a type states of the value `owner`.
///
/// # Errors
/// The type in words, when it is not that of a dense tensor of a supported element type.
pub(crate) fn fact(owner: &str, proto: &TypeProto) -> Result<Option<Fact>, String> {
    let tensor = match &proto.value {
        None => return Ok(None),
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        Some(other) => return Err(describe(other).to_owned()),
    };
    let number = tensor.elem_type();
    if number == 0 {
        return Ok(None);
    }
    let Some(dtype) = dtype_from_onnx(number) else {
        return Err(format!("a tensor of {}", element_type_name(number)));
    };
    let shape = tensor.shape.as_ref().map(|shape| {
        let dims = shape.dim.iter().enumerate();
        dims.map(|(axis, dimension)| dim(owner, axis, dimension))
            .collect()
    });
    Ok(Some(Fact { dtype, shape }))
}

fn dim(owner: &str, axis: usize, dimension: &Dimension) -> Dim {
    match &dimension.value {
        Some(dimension::Value::DimValue(value)) => match usize::try_from(*value) {
            Ok(value) => Dim::known(value),
            // Some exporters write -1 for what they do not know.
            Err(_) => Dim::unknown(owner, axis),
        },
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dim::from_text(name),
        _ => Dim::unknown(owner, axis),
    }
}

fn describe(value: &type_proto::Value) -> &'static str {
    match value {
        type_proto::Value::TensorType(_) => "a tensor",
        type_proto::Value::SequenceType(_) => "a sequence",
        type_proto::Value::MapType(_) => "a map",
        type_proto::Value::OptionalType(_) => "an optional value",
        type_proto::Value::SparseTensorType(_) => "a sparse tensor",
        type_proto::Value::OpaqueType(_) => "an opaque value",
    }
}

/// The type that states a fact. Unknown dimensions are left open.
pub(crate) fn type_proto(fact: &Fact) -> TypeProto {
    let shape = fact.shape.as_ref().map(|dims| TensorShapeProto {
        dim: dims.iter().map(dimension).collect(),
    });
    TypeProto {
        value: Some(type_proto::Value::TensorType(TensorType {
            elem_type: Some(dtype_to_onnx(fact.dtype)),
            shape,
        })),
        denotation: None,
    }
}

fn dimension(dim: &Dim) -> Dimension {
    let value = match dim.value() {
        Some(value) => Some(dimension::Value::DimValue(value as i64)),
        None if dim.is_unknown() => None,
        None => Some(dimension::Value::DimParam(dim.to_string())),
    };
    Dimension {
        value,
        denotation: None,
    }
}
