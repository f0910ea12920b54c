//! What a gRPC request carries, against what a signature takes.

use std::collections::{BTreeMap, BTreeSet};

use prost::bytes::Bytes;
use sardonyx_tensor::{DType, Data, Tensor, element_count};

use super::tensor::tensor_from_proto;
use crate::proto::serving::{Input, InputKind};
use crate::proto::tensorflow::{Example, Feature, Kind, TensorProto};
use crate::{BytesTensor, Result, TensorSpec, Value, WireError};

/// The inputs of a signature, in its order, from the tensors of a request. Names are checked
/// before any tensor is decoded.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when the names are not the signature's, else as
/// [`tensor_from_proto`].
pub fn bind_tensors(
    mut tensors: BTreeMap<String, TensorProto>,
    specs: &[TensorSpec],
) -> Result<Vec<(String, Value)>> {
    let sent: BTreeSet<&str> = tensors.keys().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    if sent != wanted {
        return Err(WireError::invalid(format!(
            "input size does not match signature: {}!={} len({{{}}}) != len({{{}}}). Sent extra: \
             {{{}}}. Missing but required: {{{}}}.",
            sent.len(),
            wanted.len(),
            joined(sent.iter()),
            joined(wanted.iter()),
            joined(sent.difference(&wanted)),
            joined(wanted.difference(&sent)),
        )));
    }
    let decode = |spec: &TensorSpec| {
        let proto = tensors.remove(&spec.name).unwrap_or_default();
        let value = tensor_from_proto(proto).map_err(|error| {
            WireError::new(
                error.code,
                format!("input '{}': {}", spec.name, error.message),
            )
        })?;
        Ok((spec.name.clone(), value))
    };
    specs.iter().map(decode).collect()
}

fn joined<'s>(names: impl Iterator<Item = &'s &'s str>) -> String {
    let names: Vec<&str> = names.copied().collect();
    names.join(",")
}

/// How many examples an input has.
pub fn example_count(input: &Input) -> usize {
    parts(input).0.len()
}

fn parts(input: &Input) -> (&[Example], Option<&Example>) {
    match &input.kind {
        None => (&[], None),
        Some(InputKind::ExampleList(list)) => (&list.examples, None),
        Some(InputKind::ExampleListWithContext(list)) => (&list.examples, list.context.as_ref()),
    }
}

/// The inputs of a model from examples: the features of an input's name, one example after the
/// other along the first dimension; what an example lacks it has from the context. Where the
/// model leaves one dimension open, the number of values decides it.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when there are no examples, a feature is missing, its kind
/// does not suit the input's type, or its number of values does not fill the input's shape.
pub fn bind_examples(input: &Input, specs: &[TensorSpec]) -> Result<Vec<(String, Value)>> {
    let (examples, context) = parts(input);
    if examples.is_empty() {
        return Err(WireError::invalid("Input is empty"));
    }
    let bind = |spec: &TensorSpec| {
        let features = features(examples, context, &spec.name)?;
        Ok((spec.name.clone(), column(spec, &features)?))
    };
    specs.iter().map(bind).collect()
}

fn features<'a>(
    examples: &'a [Example],
    context: Option<&'a Example>,
    name: &str,
) -> Result<Vec<&'a Feature>> {
    let of = |example: &'a Example| example.features.as_ref()?.feature.get(name);
    let find = |(index, example): (usize, &'a Example)| {
        of(example)
            .or_else(|| context.and_then(of))
            .ok_or_else(|| WireError::invalid(format!("example {index} has no feature '{name}'")))
    };
    examples.iter().enumerate().map(find).collect()
}

fn column(spec: &TensorSpec, features: &[&Feature]) -> Result<Value> {
    let n_values = features.first().map_or(0, |feature| count(feature));
    let shape = shape(spec, features.len(), n_values)?;
    if let Some(uneven) = features
        .iter()
        .position(|feature| count(feature) != n_values)
    {
        return Err(wrong(
            spec,
            uneven,
            "has another number of values than the first",
        ));
    }
    let expected = element_count(&shape).map_err(|error| WireError::invalid(error.to_string()))?;
    let mut data = Data::zeros(spec.dtype, 0);
    let mut bytes: Vec<Bytes> = Vec::new();
    for (index, feature) in features.iter().enumerate() {
        let takes_bytes = spec.takes_bytes || spec.dtype == DType::String;
        match &feature.kind {
            Some(Kind::BytesList(list)) if takes_bytes => bytes.extend_from_slice(&list.value),
            Some(kind) if append(&mut data, kind) => {}
            None => {}
            Some(_) => {
                let problem = format!("does not hold what suits {}", spec.dtype);
                return Err(wrong(spec, index, &problem));
            }
        }
    }
    if !bytes.is_empty() {
        // The pictures of a batch come without the dimensions of their pixels.
        let shape = if spec.takes_bytes {
            vec![bytes.len()]
        } else {
            shape
        };
        return BytesTensor::new(shape, bytes).map(Value::Bytes);
    }
    if data.len() != expected {
        return Err(wrong(
            spec,
            0,
            &format!("does not have the values of shape {shape:?}"),
        ));
    }
    Tensor::from_data(shape, data)
        .map(Value::Tensor)
        .map_err(|error| WireError::invalid(error.to_string()))
}

fn wrong(spec: &TensorSpec, index: usize, problem: &str) -> WireError {
    WireError::invalid(format!(
        "feature '{}' of example {index} {problem}",
        spec.name
    ))
}

fn count(feature: &Feature) -> usize {
    match &feature.kind {
        None => 0,
        Some(Kind::BytesList(list)) => list.value.len(),
        Some(Kind::FloatList(list)) => list.value.len(),
        Some(Kind::Int64List(list)) => list.value.len(),
    }
}

/// The shape of `n_examples` examples of `n_values` values each.
fn shape(spec: &TensorSpec, n_examples: usize, n_values: usize) -> Result<Vec<usize>> {
    let inner = spec.dims.get(1..).unwrap_or_default();
    let known: usize = inner.iter().flatten().try_fold(1usize, |product, &dim| {
        product
            .checked_mul(dim)
            .ok_or_else(|| WireError::invalid("the input is too large"))
    })?;
    let n_open = inner.iter().filter(|dim| dim.is_none()).count();
    let open = match n_open {
        0 => 0,
        1 if known > 0 => n_values / known,
        _ => {
            return Err(WireError::invalid(format!(
                "input '{}' leaves more than one dimension open, which examples cannot decide",
                spec.name
            )));
        }
    };
    let first = if spec.dims.is_empty() {
        None
    } else {
        Some(n_examples)
    };
    Ok(first
        .into_iter()
        .chain(inner.iter().map(|dim| dim.unwrap_or(open)))
        .collect())
}

/// Appends the values of a feature where their kind suits the type: floats to floats, integers to
/// integers, floats and truth values as far as they fit.
fn append(data: &mut Data, kind: &Kind) -> bool {
    match (data, kind) {
        (Data::F32(out), Kind::FloatList(list)) => out.extend_from_slice(&list.value),
        (Data::F64(out), Kind::FloatList(list)) => {
            out.extend(list.value.iter().map(|&x| f64::from(x)))
        }
        (Data::F32(out), Kind::Int64List(list)) => out.extend(list.value.iter().map(|&x| x as f32)),
        (Data::F64(out), Kind::Int64List(list)) => out.extend(list.value.iter().map(|&x| x as f64)),
        (Data::I64(out), Kind::Int64List(list)) => out.extend_from_slice(&list.value),
        (Data::I32(out), Kind::Int64List(list)) => return narrow(out, &list.value),
        (Data::I16(out), Kind::Int64List(list)) => return narrow(out, &list.value),
        (Data::I8(out), Kind::Int64List(list)) => return narrow(out, &list.value),
        (Data::U64(out), Kind::Int64List(list)) => return narrow(out, &list.value),
        (Data::U32(out), Kind::Int64List(list)) => return narrow(out, &list.value),
        (Data::U16(out), Kind::Int64List(list)) => return narrow(out, &list.value),
        (Data::U8(out), Kind::Int64List(list)) => return narrow(out, &list.value),
        (Data::Bool(out), Kind::Int64List(list)) => out.extend(list.value.iter().map(|&x| x != 0)),
        _ => return false,
    }
    true
}

fn narrow<T: TryFrom<i64>>(out: &mut Vec<T>, values: &[i64]) -> bool {
    let before = out.len();
    out.extend(values.iter().filter_map(|&value| T::try_from(value).ok()));
    out.len() - before == values.len()
}
