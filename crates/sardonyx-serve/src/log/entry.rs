//! A line of the request log: what drift monitoring reads.

use std::collections::BTreeMap;

use sardonyx_tensor::{DType, Data, Tensor, bf16, element_count, f16, map_data};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::time::Timestamp;
use crate::metrics::Phases;

/// One request that was chosen to be logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestEntry {
    /// When it arrived.
    pub time: Timestamp,
    /// The model that answered.
    pub model: String,
    /// The version that answered.
    pub version: u64,
    /// The protocol that it came by, as [`crate::metrics::Door::label`] names it.
    pub door: String,
    /// Its id: the client's, or one made for it.
    pub id: String,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// How it ended, as [`crate::metrics::Status::label`] names it.
    pub code: String,
    /// What went in, by name.
    pub inputs: BTreeMap<String, LoggedTensor>,
    /// What came out, by name; empty after a failure.
    pub outputs: BTreeMap<String, LoggedTensor>,
    /// How long its parts took.
    pub latency_us: Latency,
}

/// Times of a request in microseconds; a part that it did not come to is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// From bytes to tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse: Option<f64>,
    /// Waiting for a lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<f64>,
    /// The batch that it ran in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<f64>,
    /// From tensors to bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serialise: Option<f64>,
    /// All of it.
    pub total: f64,
}

impl RequestEntry {
    /// Appends the line, without its end.
    pub fn write(&self, line: &mut Vec<u8>) {
        super::write::push_json(self, line);
    }
}

impl Latency {
    /// The times of `phases` and of the whole request.
    pub fn new(phases: &Phases, total: std::time::Duration) -> Latency {
        let micros = |time: std::time::Duration| time.as_nanos() as f64 / 1e3;
        Latency {
            parse: phases.parse.map(micros),
            queue: phases.queue.map(micros),
            compute: phases.compute.map(micros),
            serialise: phases.serialise.map(micros),
            total: micros(total),
        }
    }
}

/// A tensor as it is logged: its shape, its first values, and a hash where these are not all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct LoggedTensor {
    /// The shape of the whole tensor.
    pub shape: Vec<usize>,
    /// The first values, in row-major order.
    pub values: Data,
    /// SHA-256 of the whole tensor's little-endian bytes, in hexadecimal, when values are missing.
    pub sha256: Option<String>,
}

impl LoggedTensor {
    /// `tensor` with up to `max_values` of its values; zero keeps its shape and hash alone, as is
    /// right for images.
    pub fn new(tensor: &Tensor, max_values: usize) -> LoggedTensor {
        let count = tensor.len().min(max_values);
        let values = map_data!(tensor.data(), values => values[..count].to_vec());
        LoggedTensor {
            shape: tensor.shape().to_vec(),
            values,
            sha256: (count < tensor.len()).then(|| digest(tensor.data())),
        }
    }

    /// Whether every value is there.
    pub fn is_whole(&self) -> bool {
        element_count(&self.shape).is_ok_and(|count| count == self.values.len())
    }

    /// The tensor, if every value is there.
    pub fn to_tensor(&self) -> Option<Tensor> {
        Tensor::from_data(self.shape.clone(), self.values.clone()).ok()
    }
}

fn digest(data: &Data) -> String {
    let mut hash = Sha256::new();
    crate::cache::content(&mut hash, data);
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tensor as JSON has it. Numbers that JSON lacks are the strings `NaN`, `Infinity` and
/// `-Infinity`.
#[derive(Serialize, Deserialize)]
struct Written {
    dtype: String,
    shape: Vec<usize>,
    values: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl From<LoggedTensor> for Written {
    fn from(tensor: LoggedTensor) -> Written {
        Written {
            dtype: tensor.values.dtype().name().to_owned(),
            values: to_json(&tensor.values),
            shape: tensor.shape,
            sha256: tensor.sha256,
        }
    }
}

fn to_json(data: &Data) -> Vec<Value> {
    match data {
        Data::F32(values) => values.iter().copied().map(short).collect(),
        Data::F64(values) => values.iter().copied().map(float).collect(),
        Data::F16(values) => values.iter().map(|value| short(value.to_f32())).collect(),
        Data::Bf16(values) => values.iter().map(|value| short(value.to_f32())).collect(),
        Data::I8(values) => values.iter().map(|&value| value.into()).collect(),
        Data::I16(values) => values.iter().map(|&value| value.into()).collect(),
        Data::I32(values) => values.iter().map(|&value| value.into()).collect(),
        Data::I64(values) => values.iter().map(|&value| value.into()).collect(),
        Data::U8(values) => values.iter().map(|&value| value.into()).collect(),
        Data::U16(values) => values.iter().map(|&value| value.into()).collect(),
        Data::U32(values) => values.iter().map(|&value| value.into()).collect(),
        Data::U64(values) => values.iter().map(|&value| value.into()).collect(),
        Data::Bool(values) => values.iter().map(|&value| value.into()).collect(),
        Data::String(values) => values.iter().map(|value| value.as_str().into()).collect(),
    }
}

/// The double with the digits that tell `value` from its neighbours, not those of its exact value.
fn short(value: f32) -> Value {
    if value.is_finite() {
        float(value.to_string().parse().unwrap_or_else(|_| value.into()))
    } else {
        float(value.into())
    }
}

fn float(value: f64) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value == f64::INFINITY {
        "Infinity".into()
    } else if value == f64::NEG_INFINITY {
        "-Infinity".into()
    } else {
        value.into()
    }
}

impl TryFrom<Written> for LoggedTensor {
    type Error = String;

    fn try_from(written: Written) -> Result<LoggedTensor, String> {
        let name = &written.dtype;
        let dtype = DType::from_name(name).ok_or_else(|| format!("`{name}` is no element type"))?;
        let values = from_json(dtype, &written.values)
            .ok_or_else(|| format!("a value is not of type {name}"))?;
        Ok(LoggedTensor {
            shape: written.shape,
            values,
            sha256: written.sha256,
        })
    }
}

fn from_json(dtype: DType, values: &[Value]) -> Option<Data> {
    let values = values.iter();
    Some(match dtype {
        DType::F32 => Data::F32(
            values
                .map(|v| Some(number(v)? as f32))
                .collect::<Option<_>>()?,
        ),
        DType::F64 => Data::F64(values.map(number).collect::<Option<_>>()?),
        DType::F16 => {
            let half = |value| Some(f16::from_f64(number(value)?));
            Data::F16(values.map(half).collect::<Option<_>>()?)
        }
        DType::Bf16 => {
            let half = |value| Some(bf16::from_f64(number(value)?));
            Data::Bf16(values.map(half).collect::<Option<_>>()?)
        }
        DType::I8 => Data::I8(values.map(integer).collect::<Option<_>>()?),
        DType::I16 => Data::I16(values.map(integer).collect::<Option<_>>()?),
        DType::I32 => Data::I32(values.map(integer).collect::<Option<_>>()?),
        DType::I64 => Data::I64(values.map(integer).collect::<Option<_>>()?),
        DType::U8 => Data::U8(values.map(integer).collect::<Option<_>>()?),
        DType::U16 => Data::U16(values.map(integer).collect::<Option<_>>()?),
        DType::U32 => Data::U32(values.map(integer).collect::<Option<_>>()?),
        DType::U64 => Data::U64(values.map(Value::as_u64).collect::<Option<_>>()?),
        DType::Bool => Data::Bool(values.map(Value::as_bool).collect::<Option<_>>()?),
        DType::String => {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Data::String(values.map(text).collect::<Option<_>>()?)
        }
    })
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_i64()?).ok()
}

fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}
