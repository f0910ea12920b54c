//! `Constant`: a tensor that is written into the node, in any of ONNX's forms but the sparse one.

use sardonyx_ir::{Attr, Fact, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Constant];

#[derive(Debug)]
struct Constant;

const SCHEMA: Schema = Schema::standard("Constant", 1, 0);

/// The tensor that a `Constant` node holds.
///
/// # Errors
/// When it holds none, several, or one in an unsupported form.
pub fn constant_value(node: &Node) -> Result<Tensor> {
    let mut forms = node.attributes.iter();
    let (Some((name, value)), None) = (forms.next(), forms.next()) else {
        return Err(OpError::invalid(
            node,
            "it must have exactly one attribute, its value",
        ));
    };
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| OpError::invalid(node, "its text is not UTF-8"))
    };
    Ok(match (name.as_str(), value) {
        ("value", Attr::Tensor(tensor)) => tensor.as_ref().clone(),
        ("value_float", Attr::Float(value)) => Tensor::scalar(*value),
        ("value_floats", Attr::Floats(values)) => Tensor::vector(values.clone()),
        ("value_int", Attr::Int(value)) => Tensor::scalar(*value),
        ("value_ints", Attr::Ints(values)) => Tensor::vector(values.clone()),
        ("value_string", Attr::String(bytes)) => Tensor::scalar(text(bytes)?),
        ("value_strings", Attr::Strings(texts)) => Tensor::vector(
            texts
                .iter()
                .map(|bytes| text(bytes))
                .collect::<Result<Vec<_>>>()?,
        ),
        _ => {
            let problem = format!("a value in the form of `{name}` is not supported");
            return Err(OpError::unsupported(node, problem));
        }
    })
}

impl Operator for Constant {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        Ok(vec![Fact::of(&constant_value(cx.node)?).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        Ok(vec![constant_value(cx.node)?])
    }

    fn grad(&self, _cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Ok(Vec::new())
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, value: Attr| {
            let example = Example::new(SCHEMA, name).attr(name, value);
            example.no_grad("it has no input")
        };
        let texts = Attr::Strings(vec![b"a".to_vec(), b"".to_vec()]);
        vec![
            example("value", Tensor::vector(vec![1i8, -2]).into()),
            example("value_float", Attr::Float(0.5)),
            example("value_floats", Attr::Floats(Vec::new())),
            example("value_int", Attr::Int(-7)),
            example("value_ints", Attr::Ints(vec![1, 2, 3])),
            example("value_string", Attr::from("text")),
            example("value_strings", texts),
        ]
    }
}
