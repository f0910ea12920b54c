use std::sync::LazyLock;

use sardonyx_ir::{Node, ONNX};

use crate::{OpError, Operator, Result, Schema, ops};

/// Newest version of the standard operator set that is known here. Models of later versions are
/// read where the operators that they use did not change.
pub const MAX_OPSET: i64 = 25;

/// Every operator file's list, sorted by file name.
static FAMILIES: &[&[&dyn Operator]] = &[
    ops::arg::OPS,
    ops::average_pool::OPS,
    ops::batch_norm_nhwc::OPS,
    ops::batch_normalization::OPS,
    ops::binary::OPS,
    ops::cast::OPS,
    ops::clip::OPS,
    ops::concat::OPS,
    ops::constant::OPS,
    ops::conv::OPS,
    ops::conv_grad::OPS,
    ops::conv_nhwc::OPS,
    ops::conv_transpose::OPS,
    ops::cross_entropy::OPS,
    ops::cum_sum::OPS,
    ops::dense::OPS,
    ops::depth_space::OPS,
    ops::depthwise_nhwc::OPS,
    ops::dropout::OPS,
    ops::einsum::OPS,
    ops::expand::OPS,
    ops::gate::OPS,
    ops::gather::OPS,
    ops::gather_nd::OPS,
    ops::gemm::OPS,
    ops::generate::OPS,
    ops::global_pool::OPS,
    ops::gradient_clip::OPS,
    ops::group_normalization::OPS,
    ops::layer_normalization::OPS,
    ops::lp_normalization::OPS,
    ops::lp_pool::OPS,
    ops::lrn::OPS,
    ops::matmul::OPS,
    ops::max_pool::OPS,
    ops::modulo::OPS,
    ops::move_grad::OPS,
    ops::one_hot::OPS,
    ops::pad::OPS,
    ops::panels::OPS,
    ops::pool_nhwc::OPS,
    ops::pow::OPS,
    ops::predicate::OPS,
    ops::quantize::OPS,
    ops::random::OPS,
    ops::recurrent::OPS,
    ops::reduce::OPS,
    ops::reshape::OPS,
    ops::resize::OPS,
    ops::reverse_sequence::OPS,
    ops::scatter::OPS,
    ops::select::OPS,
    ops::select_by::OPS,
    ops::shape::OPS,
    ops::slice::OPS,
    ops::softmax::OPS,
    ops::split::OPS,
    ops::tile::OPS,
    ops::top_k::OPS,
    ops::transpose::OPS,
    ops::trilu::OPS,
    ops::unary::OPS,
    ops::unique::OPS,
    ops::update::OPS,
    ops::variadic::OPS,
];

/// Every operator by name and domain, sorted: names differ more often than domains, and planning
/// looks an operator up for every node after every rewrite.
type Table = Vec<((&'static str, &'static str), &'static dyn Operator)>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let keyed = operators().map(|operator| {
        let schema = operator.schema();
        ((schema.name, schema.domain), operator)
    });
    let mut table: Table = keyed.collect();
    table.sort_by_key(|(key, _)| *key);
    table
});

/// Every operator, in the order of the table.
pub fn operators() -> impl Iterator<Item = &'static dyn Operator> {
    FAMILIES.iter().flat_map(|family| family.iter().copied())
}

/// The operator that `node` is an instance of, in the version that is known, whatever the graph
/// imports: for nodes that rewrites make.
///
/// # Errors
/// When there is none, or not with this number of inputs and outputs.
pub fn known(node: &Node) -> Result<&'static dyn Operator> {
    let domain = if node.domain == "ai.onnx" {
        ONNX
    } else {
        node.domain.as_str()
    };
    let key = (node.op_type.as_str(), domain);
    let Ok(place) = TABLE.binary_search_by_key(&key, |(key, _)| *key) else {
        return Err(OpError::unsupported(node, "this operator is not supported"));
    };
    let operator = TABLE[place].1;
    let schema = operator.schema();
    // What a subgraph reads of the values around it is no input of the operator's definition.
    let inputs = node.inputs.len().saturating_sub(node.capture_count());
    let outputs = node.outputs.len();
    if inputs < schema.min_inputs || inputs > schema.max_inputs || outputs > schema.max_outputs {
        let problem = format!("it cannot have {inputs} inputs and {outputs} outputs");
        return Err(OpError::invalid(node, problem));
    }
    Ok(operator)
}

/// The operator that `node` is an instance of. `opset` is the version of its domain that the graph
/// imports.
///
/// # Errors
/// When there is none, not in this version, or not with this number of inputs and outputs.
pub fn lookup(node: &Node, opset: i64) -> Result<&'static dyn Operator> {
    let operator = known(node)?;
    check_version(node, operator.schema(), opset)?;
    Ok(operator)
}

fn check_version(node: &Node, schema: Schema, opset: i64) -> Result<()> {
    if opset < schema.since {
        let since = schema.since;
        let problem = format!(
            "operator set {opset} is too old: it is supported since version {since}; \
             hint: export the model with operator set 17 or newer"
        );
        return Err(OpError::unsupported(node, problem));
    }
    if let Some(until) = schema.until.filter(|&until| opset >= until) {
        let problem = format!("its definition of operator set {until} is not supported");
        return Err(OpError::unsupported(node, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        assert!(TABLE.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn versions_are_a_range() {
        let schema = Schema {
            until: Some(20),
            ..Schema::standard("Relu", 13, 1)
        };
        let node = Node::new(ONNX, "Relu");
        for (opset, is_supported) in [(12, false), (13, true), (19, true), (20, false)] {
            let found = check_version(&node, schema, opset);
            assert_eq!(found.is_ok(), is_supported, "{opset}: {found:?}");
        }
        assert!(check_version(&node, schema, i64::MAX).is_err());
    }
}
