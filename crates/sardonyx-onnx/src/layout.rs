//! Whether a tensor message is consistent: shape, element type and the length of its data agree.

use sardonyx_tensor::element_count;

use crate::element_type::{ElementType, TypedField};
use crate::error::{OnnxError, Result};
use crate::proto::TensorProto;
use crate::{element_type_name, limits};

/// Dimensions as lengths.
///
/// # Errors
/// When a dimension is negative, or the shape passes a limit of the tensor crate.
pub(crate) fn shape(dims: &[i64]) -> Result<Vec<usize>> {
    // The rank is checked first: the list of dimensions itself may be huge.
    if dims.len() > sardonyx_tensor::limits::MAX_RANK {
        return Err(OnnxError::Tensor(sardonyx_tensor::TensorError::Rank {
            rank: dims.len(),
            max: sardonyx_tensor::limits::MAX_RANK,
        }));
    }
    let lengths = dims
        .iter()
        .enumerate()
        .map(|(axis, &dim)| usize::try_from(dim).map_err(|_| OnnxError::NegativeDim { axis, dim }))
        .collect::<Result<Vec<usize>>>()?;
    // A zero elsewhere does not excuse a dimension: products over some axes must not overflow.
    let nonzero: Vec<usize> = lengths.iter().map(|&dim| dim.max(1)).collect();
    element_count(&nonzero)?;
    Ok(lengths)
}

/// Where the elements of a checked tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Raw,
    Typed,
}

/// Checks a tensor whose data is in the message: shape, and the length of the data for every
/// element type of known width. Gives the shape and where the elements are.
///
/// # Errors
/// When the parts of the message contradict each other.
pub(crate) fn check(tensor: &TensorProto) -> Result<(Vec<usize>, Storage)> {
    if tensor.segment.is_some() {
        return Err(OnnxError::Segment);
    }
    let shape = shape(&tensor.dims)?;
    let count = element_count(&shape)? as u64;
    let Some(element_type) = ElementType::of(tensor.data_type()) else {
        return Ok((shape, Storage::Raw));
    };
    let raw_len = tensor.raw_data.as_ref().map_or(0, |raw| raw.len()) as u64;
    let typed = filled_fields(tensor);
    let storage = match typed.as_slice() {
        [] => match (element_type.raw_bytes(count), tensor.raw_data.is_some()) {
            (Some(expected), true) => {
                same_length("raw_data", "bytes", expected, raw_len)?;
                Storage::Raw
            }
            (None, true) if raw_len > 0 => return Err(wrong_field(element_type, "raw_data")),
            _ => {
                let expected = element_type.entries(count);
                same_length(element_type.field.name(), "elements", expected, 0)?;
                Storage::Typed
            }
        },
        [(field, found)] if *field == element_type.field && raw_len == 0 => {
            let expected = element_type.entries(count);
            same_length(field.name(), "elements", expected, *found as u64)?;
            Storage::Typed
        }
        fields => {
            let mut names: Vec<&str> = fields.iter().map(|(field, _)| field.name()).collect();
            if raw_len > 0 {
                names.push("raw_data");
            }
            return Err(wrong_field(element_type, &names.join(" and ")));
        }
    };
    Ok((shape, storage))
}

/// Bytes that the elements of a tensor with these dimensions take as raw data.
///
/// # Errors
/// As [`shape`]; `Ok(None)` for strings and unknown types.
pub(crate) fn raw_bytes(tensor: &TensorProto) -> Result<Option<u64>> {
    let count = element_count(&shape(&tensor.dims)?)? as u64;
    Ok(ElementType::of(tensor.data_type()).and_then(|element_type| element_type.raw_bytes(count)))
}

/// The typed fields that hold anything, and how much.
pub(crate) fn filled_fields(tensor: &TensorProto) -> Vec<(TypedField, usize)> {
    [
        (TypedField::Float, tensor.float_data.len()),
        (TypedField::Int32, tensor.int32_data.len()),
        (TypedField::String, tensor.string_data.len()),
        (TypedField::Int64, tensor.int64_data.len()),
        (TypedField::Double, tensor.double_data.len()),
        (TypedField::Uint64, tensor.uint64_data.len()),
    ]
    .into_iter()
    .filter(|&(_, len)| len > 0)
    .collect()
}

impl TypedField {
    pub(crate) fn name(self) -> &'static str {
        match self {
            TypedField::Float => "float_data",
            TypedField::Int32 => "int32_data",
            TypedField::String => "string_data",
            TypedField::Int64 => "int64_data",
            TypedField::Double => "double_data",
            TypedField::Uint64 => "uint64_data",
        }
    }
}

fn same_length(field: &'static str, unit: &'static str, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(OnnxError::DataLength {
        field,
        unit,
        expected,
        found,
    })
}

fn wrong_field(element_type: &ElementType, found: &str) -> OnnxError {
    OnnxError::DataField {
        element_type: element_type.name,
        found: found.to_owned(),
    }
}

/// The error for a type that Sardonyx does not compute with.
pub(crate) fn unsupported(number: i32) -> OnnxError {
    OnnxError::ElementType {
        name: element_type_name(number),
        number,
    }
}

/// Whether a dense tensor of `dense` bytes may be made from `stored` bytes.
pub(crate) fn may_be_dense(dense: u64, stored: u64) -> bool {
    dense <= limits::DENSE_FLOOR_BYTES + stored.saturating_mul(limits::DENSE_BYTES_PER_BYTE)
}
