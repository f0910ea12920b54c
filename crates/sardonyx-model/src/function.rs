//! A model's own functions.

use sardonyx_ir::named::NamedFunction;
use sardonyx_onnx::proto::FunctionProto;

use crate::attribute::{self, Problem};
use crate::error::{ModelError, Result};
use crate::import::{domain, node, opsets};

/// A function by names.
pub(crate) fn from_proto(proto: &FunctionProto) -> Result<NamedFunction> {
    let default = |attr: &sardonyx_onnx::proto::AttributeProto| {
        let value = attribute::from_proto(attr).map_err(|problem| match problem {
            Problem::Inside(error) => error,
            Problem::Words(problem) => ModelError::Attribute {
                op: "function".to_owned(),
                node: proto.name().to_owned(),
                attribute: attr.name().to_owned(),
                problem,
            },
        })?;
        Ok((attr.name().to_owned(), value))
    };
    Ok(NamedFunction {
        domain: domain(proto.domain()),
        name: proto.name().to_owned(),
        overload: proto.overload().to_owned(),
        inputs: proto.input.clone(),
        outputs: proto.output.clone(),
        defaults: proto
            .attribute_proto
            .iter()
            .map(default)
            .collect::<Result<_>>()?,
        opsets: opsets(&proto.opset_import)?,
        nodes: proto.node.iter().map(node).collect::<Result<_>>()?,
    })
}
