//! Nodes without a kernel: their operator's reference evaluation as a call of the program.

use sardonyx_ir::{Fact, Graph, Node, ValueId};
use sardonyx_kernels::{HostCall, OperandSpec};
use sardonyx_ops::{EvalCx, MAX_OPSET, lookup};
use sardonyx_tensor::{DType, Data, Tensor, bf16, element_count, f16};

use crate::lower::Lowered;
use crate::{EngineError, Result};

/// Type and shape of a value in a plan.
type Fixed = (DType, Vec<usize>);

/// The call that evaluates `node` by its operator's reference.
pub(crate) fn lower_host(graph: &Graph, node: &Node) -> Result<Lowered> {
    let opset = graph.opset(&node.domain).unwrap_or(MAX_OPSET);
    let operator = lookup(node, opset)?;
    let facts = |values: &[Option<ValueId>]| -> Result<Vec<Option<Fixed>>> {
        values
            .iter()
            .map(|value| value.map(|value| fixed(graph, value)).transpose())
            .collect()
    };
    let (inputs, outputs) = (facts(&node.inputs)?, facts(&node.outputs)?);
    let mut specs = Vec::with_capacity(inputs.len() + outputs.len());
    for input in &inputs {
        specs.push(spec(input.as_ref(), OperandSpec::read)?);
    }
    for output in &outputs {
        specs.push(spec(output.as_ref(), OperandSpec::write)?);
    }
    let operands = node
        .inputs
        .iter()
        .chain(&node.outputs)
        .map(|&value| value.into())
        .collect();
    let node = node.clone();
    let call = HostCall::new(
        specs,
        Box::new(move |run| {
            let tensors: Vec<Option<Tensor>> = inputs
                .iter()
                .enumerate()
                .map(|(index, fact)| {
                    let (dtype, shape) = fact.as_ref()?;
                    Some(from_bytes(*dtype, shape, run.read(index)?))
                })
                .collect();
            let cx = EvalCx {
                node: &node,
                inputs: tensors.iter().map(Option::as_ref).collect(),
                opset,
            };
            let made = operator.eval(&cx).unwrap_or_else(|error| {
                panic!("the plan checked this node when it was made: {error}")
            });
            for (index, (tensor, fact)) in made.iter().zip(&outputs).enumerate() {
                if fact.is_some() {
                    run.write(inputs.len() + index, &to_bytes(tensor));
                }
            }
        }),
    );
    let mut lowered = Lowered::default();
    lowered.push(call, operands);
    Ok(lowered)
}

fn spec(
    fact: Option<&Fixed>,
    make: fn(&'static str, DType, usize) -> OperandSpec,
) -> Result<OperandSpec> {
    match fact {
        None => Ok(make("absent", DType::U8, 0).or_absent()),
        Some((dtype, shape)) => Ok(make("value", *dtype, element_count(shape)?)),
    }
}

/// Type and shape of a value that a plan can hold.
pub(crate) fn fixed(graph: &Graph, value: ValueId) -> Result<Fixed> {
    let fact = graph
        .fact(value)
        .filter(|fact| fact.dtype.size_bytes().is_some());
    let shape = fact.and_then(Fact::fixed_shape);
    fact.map(|fact| fact.dtype)
        .zip(shape)
        .ok_or_else(|| EngineError::Dynamic {
            value: graph.value_name(value).to_owned(),
        })
}

/// Bytes of a value in a plan.
pub(crate) fn byte_len(graph: &Graph, value: ValueId) -> Result<usize> {
    let (dtype, shape) = fixed(graph, value)?;
    Ok(shape.iter().product::<usize>() * dtype.size_bytes().unwrap_or(0))
}

/// Bytes of a tensor as the arenas hold them: little endian, one byte per truth value.
pub(crate) fn to_bytes(tensor: &Tensor) -> Vec<u8> {
    macro_rules! bytes {
        ($values:expr) => {
            $values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
    }
    match tensor.data() {
        Data::F32(v) => bytes!(v),
        Data::F64(v) => bytes!(v),
        Data::F16(v) => bytes!(v),
        Data::Bf16(v) => bytes!(v),
        Data::I8(v) => bytes!(v),
        Data::I16(v) => bytes!(v),
        Data::I32(v) => bytes!(v),
        Data::I64(v) => bytes!(v),
        Data::U8(v) => v.clone(),
        Data::U16(v) => bytes!(v),
        Data::U32(v) => bytes!(v),
        Data::U64(v) => bytes!(v),
        Data::Bool(v) => v.iter().map(|&value| u8::from(value)).collect(),
        Data::String(_) => Vec::new(),
    }
}

/// The tensor whose elements are the first of `bytes`.
pub(crate) fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Tensor {
    let count = element_count(shape).expect("the plan checked this shape");
    macro_rules! values {
        ($variant:ident, $type:ty) => {{
            let size = size_of::<$type>();
            let chunks = bytes[..count * size].chunks_exact(size);
            let value = |chunk: &[u8]| {
                <$type>::from_le_bytes(chunk.try_into().expect("chunks have this size"))
            };
            Data::$variant(chunks.map(value).collect())
        }};
    }
    let data = match dtype {
        DType::F32 => values!(F32, f32),
        DType::F64 => values!(F64, f64),
        DType::F16 => values!(F16, f16),
        DType::Bf16 => values!(Bf16, bf16),
        DType::I8 => values!(I8, i8),
        DType::I16 => values!(I16, i16),
        DType::I32 => values!(I32, i32),
        DType::I64 => values!(I64, i64),
        DType::U8 => Data::U8(bytes[..count].to_vec()),
        DType::U16 => values!(U16, u16),
        DType::U32 => values!(U32, u32),
        DType::U64 => values!(U64, u64),
        DType::Bool => Data::Bool(bytes[..count].iter().map(|&byte| byte != 0).collect()),
        DType::String => Data::String(vec![String::new(); count]),
    };
    Tensor::from_data(shape, data).expect("as many elements as the shape says")
}
