use std::collections::BTreeSet;

use sardonyx_ir::{Graph, Node, Producer, ValueId};

/// Key of a model's metadata under which names of constants are listed, one per line, that look
/// like parameters but are not to be trained, such as the statistics of its preprocessing.
pub const CONSTANTS_KEY: &str = "sardonyx.constants";

/// The values that training changes: float initializers that a node reads as its weight, bias or
/// scale. Constants of arithmetic (a factor, a mean to subtract, a clip's bound) are not, nor is
/// what the model's metadata lists under [`CONSTANTS_KEY`].
pub fn trainable_parameters(graph: &Graph) -> Vec<ValueId> {
    let listed = graph.metadata.get(CONSTANTS_KEY).map_or("", String::as_str);
    let listed: BTreeSet<&str> = listed.lines().collect();
    let producers = graph.producers();
    let is_parameter = |id: ValueId| {
        let is_float = graph
            .initializers
            .get(&id)
            .is_some_and(|t| t.dtype().is_float());
        is_float && !listed.contains(graph.value_name(id))
    };
    let mut found = BTreeSet::new();
    for (_, node) in graph.nodes() {
        for slot in 0..node.inputs.len() {
            let Some(input) = node.input(slot).filter(|&id| is_parameter(id)) else {
                continue;
            };
            if is_weight_slot(graph, &producers, node, slot) {
                found.insert(input);
            }
        }
    }
    found.into_iter().collect()
}

fn is_weight_slot(graph: &Graph, producers: &[Option<Producer>], node: &Node, slot: usize) -> bool {
    if node.domain != sardonyx_ir::ONNX {
        return false;
    }
    match node.op_type.as_str() {
        "BatchNormalization" | "InstanceNormalization" => slot == 1 || slot == 2,
        "Conv" | "ConvTranspose" | "GroupNormalization" | "LayerNormalization" | "PRelu" => {
            slot > 0
        }
        "Gemm" | "MatMul" => true,
        "GRU" | "LSTM" | "RNN" => slot == 1 || slot == 2 || slot == 3 || slot == 7,
        "Gather" => slot == 0,
        "RMSNormalization" => slot == 1,
        "Add" => is_bias(graph, producers, node, slot),
        _ => false,
    }
}

/// Whether input `slot` of an addition is the bias of a product: a tensor beside the product's
/// result, with more than one element.
fn is_bias(graph: &Graph, producers: &[Option<Producer>], node: &Node, slot: usize) -> bool {
    let (Some(own), Some(other)) = (node.input(slot), node.input(1 - slot.min(1))) else {
        return false;
    };
    let Some(Producer::Node(source, _)) = producers[other.index()] else {
        return false;
    };
    let source = graph.node(source);
    let is_product = [
        "Conv",
        "ConvTranspose",
        "Einsum",
        "Gather",
        "Gemm",
        "MatMul",
    ];
    let size = graph
        .initializers
        .get(&own)
        .map_or(0, |tensor| tensor.len());
    source.domain == sardonyx_ir::ONNX && is_product.contains(&&*source.op_type) && size > 1
}
