//! `Cast` and `CastLike`: convert the element type. Floats become integers by truncation towards
//! zero, integers wrap to the new width, text is read and written as decimal numbers.

use sardonyx_ir::{Attr, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Data, Tensor, with_data};

use crate::reference::from_i64;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Cast { like: false }, &Cast { like: true }];

#[derive(Debug)]
struct Cast {
    /// The type is that of a second input, not an attribute.
    like: bool,
}

/// The numbers by which ONNX names element types in attributes (`TensorProto.DataType`).
const CODES: [(i64, DType); 14] = [
    (1, DType::F32),
    (2, DType::U8),
    (3, DType::I8),
    (4, DType::U16),
    (5, DType::I16),
    (6, DType::I32),
    (7, DType::I64),
    (8, DType::String),
    (9, DType::Bool),
    (10, DType::F16),
    (11, DType::F64),
    (12, DType::U32),
    (13, DType::U64),
    (16, DType::Bf16),
];

/// The number by which ONNX names `dtype` in attributes.
pub fn type_code(dtype: DType) -> i64 {
    let row = CODES.iter().find(|row| row.1 == dtype);
    row.expect("every type has a code").0
}

/// The element type that integer attribute `name` of `node` names; `None` when it is not set.
///
/// # Errors
/// When the attribute is not an integer or names no type that is supported.
pub fn type_attribute(node: &Node, name: &str) -> Result<Option<DType>> {
    if !node.attributes.contains_key(name) {
        return Ok(None);
    }
    let code = node.int(name, 0)?;
    let row = CODES.iter().find(|row| row.0 == code);
    row.map(|row| Some(row.1)).ok_or_else(|| {
        OpError::unsupported(
            node,
            format!("element type {code} in `{name}` is not supported"),
        )
    })
}

/// `x` converted to `dtype`, for `node`.
///
/// # Errors
/// When text is not a number.
pub(crate) fn cast(node: &Node, x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    match x.data() {
        Data::String(texts) if dtype.is_float() => {
            let values = texts.iter().map(|text| parse::<f64>(node, text));
            let values = values.collect::<Result<_>>()?;
            Ok(Tensor::from_f64(dtype, x.shape(), values)?)
        }
        Data::String(texts) => {
            let values = texts.iter().map(|text| parse::<i64>(node, text));
            from_i64(dtype, x.shape(), values.collect::<Result<_>>()?)
        }
        data if dtype == DType::String => Ok(Tensor::new(x.shape(), texts(data))?),
        _ if dtype.is_float() => Ok(Tensor::from_f64(dtype, x.shape(), x.to_f64()?)?),
        _ if !x.dtype().is_float() => from_i64(dtype, x.shape(), x.to_i64()?),
        _ => Ok(Tensor::from_data(
            x.shape(),
            truncated(dtype, &x.to_f64()?),
        )?),
    }
}

fn parse<T: std::str::FromStr>(node: &Node, text: &str) -> Result<T> {
    text.trim()
        .parse()
        .map_err(|_| OpError::invalid(node, format!("`{text}` is not a number")))
}

/// Floats as integers: truncated, and held at the ends of the type's range.
fn truncated(dtype: DType, values: &[f64]) -> Data {
    macro_rules! truncate {
        ($variant:ident, $type:ty) => {
            Data::$variant(values.iter().map(|&x| x as $type).collect())
        };
    }
    match dtype {
        DType::I8 => truncate!(I8, i8),
        DType::I16 => truncate!(I16, i16),
        DType::I32 => truncate!(I32, i32),
        DType::U8 => truncate!(U8, u8),
        DType::U16 => truncate!(U16, u16),
        DType::U32 => truncate!(U32, u32),
        DType::U64 => truncate!(U64, u64),
        DType::Bool => Data::Bool(values.iter().map(|&x| x != 0.0).collect()),
        _ => truncate!(I64, i64),
    }
}

fn texts(data: &Data) -> Vec<String> {
    // Floats show that they are floats (`1.0`); infinities are spelled as ONNX spells them.
    fn float(x: impl std::fmt::Debug, value: f64) -> String {
        match value {
            f64::INFINITY => "INF".to_owned(),
            f64::NEG_INFINITY => "-INF".to_owned(),
            _ => format!("{x:?}"),
        }
    }
    match data {
        Data::F32(values) => values.iter().map(|&x| float(x, f64::from(x))).collect(),
        Data::F64(values) => values.iter().map(|&x| float(x, x)).collect(),
        Data::F16(values) => values
            .iter()
            .map(|x| float(x.to_f32(), x.to_f64()))
            .collect(),
        Data::Bf16(values) => values
            .iter()
            .map(|x| float(x.to_f32(), x.to_f64()))
            .collect(),
        other => with_data!(other, values => values.iter().map(ToString::to_string).collect()),
    }
}

impl Cast {
    fn target(&self, node: &Node, like: Option<DType>) -> Result<DType> {
        if let Some(dtype) = like.filter(|_| self.like) {
            return Ok(dtype);
        }
        type_attribute(node, "to")?
            .ok_or_else(|| OpError::invalid(node, "the type to convert to is missing"))
    }
}

impl Operator for Cast {
    fn schema(&self) -> Schema {
        if self.like {
            Schema::standard("CastLike", 15, 2)
        } else {
            Schema::standard("Cast", 6, 1)
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = self.target(cx.node, cx.optional(1).map(|known| known.fact.dtype))?;
        let shape = cx.input(0)?.fact.shape.clone();
        let whole = dtype.is_integer() && cx.dtype(0)?.is_integer();
        Ok(vec![Inferred {
            fact: Fact { dtype, shape },
            dims: if whole { cx.dims(0) } else { None },
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let dtype = self.target(cx.node, cx.optional(1).map(Tensor::dtype))?;
        Ok(vec![cast(cx.node, cx.input(0)?, dtype)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let mut grads = vec![None; cx.node.inputs.len()];
        let from = cx.builder.dtype(cx.input(0)?)?;
        if from.is_float() {
            let to = [("to", Attr::Int(type_code(from)))];
            let dy = cx.output_grad(0)?;
            grads[0] = Some(cx.builder.op("Cast", &[dy], &to)?);
        }
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name);
        if self.like {
            let example = example("to integers").uniform(&[5], (-9.0, 9.0));
            return vec![example.ints(&[0]).no_grad("integers have no gradient")];
        }
        let to = |dtype| example(&format!("to {dtype}")).attr("to", type_code(dtype));
        let integers = DType::ALL.into_iter().filter(|dtype| dtype.is_integer());
        let mut examples: Vec<Example> = integers
            .map(|dtype| {
                let example = to(dtype).uniform(&[7], (-99.0, 99.0));
                example.no_grad("integers have no gradient")
            })
            .collect();
        examples.extend([
            to(DType::F64).uniform(&[2, 3], (-1.0, 1.0)),
            to(DType::F64).uniform(&[0, 3], (-1.0, 1.0)),
            to(DType::F16)
                .uniform(&[3], (-9.0, 9.0))
                .no_grad("rounding hides the differences"),
            to(DType::String)
                .uniform(&[3], (-9.0, 9.0))
                .no_grad("text has no gradient"),
            to(DType::Bool)
                .ints(&[2, 0, -1])
                .no_grad("truth values have no gradient"),
            to(DType::F32)
                .values(&[2], vec!["-1.5e1".to_owned(), "INF".to_owned()])
                .no_grad("text has no gradient"),
        ]);
        examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(x: Tensor, dtype: DType, expected: Tensor) {
        let node = Node::new("", "Cast");
        assert_eq!(cast(&node, &x, dtype), Ok(expected));
    }

    #[test]
    fn conversions_truncate_wrap_and_saturate() {
        let floats = Tensor::vector(vec![-1.9f32, 300.0, f32::NAN]);
        check(
            floats.clone(),
            DType::I8,
            Tensor::vector(vec![-1i8, 127, 0]),
        );
        check(floats, DType::Bool, Tensor::vector(vec![true; 3]));
        check(
            Tensor::vector(vec![-1i64, 257]),
            DType::U8,
            Tensor::vector(vec![255u8, 1]),
        );
    }

    #[test]
    fn text_is_read_and_written() {
        let floats = Tensor::vector(vec![0.5f32, 1.0, f32::NEG_INFINITY]);
        let texts = ["0.5", "1.0", "-INF"].map(str::to_owned).to_vec();
        check(floats.clone(), DType::String, Tensor::vector(texts.clone()));
        check(Tensor::vector(texts), DType::F32, floats);
        let node = Node::new("", "Cast");
        assert!(cast(&node, &Tensor::vector(vec!["x".to_owned()]), DType::I32).is_err());
    }
}
