use std::collections::BTreeSet;

use sardonyx_ir::{Graph, Node, Producer, ValueId};

/// Key of a model's metadata under which names of constants are listed, one per line, that look
/// like parameters but are not to be trained, such as the statistics of its preprocessing.
pub const CONSTANTS_KEY: &str = "sardonyx.constants";

/// Operators that bring weights into the form that their reader wants, as exporters write them:
/// PyTorch's order of gates and of a matrix's axes differs from ONNX's.
const MOVES: [&str; 8] = [
    "Concat",
    "Flatten",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The values that training changes: float initializers that a node reads as its weight, bias or
/// scale, as they are or moved about. Constants of arithmetic (a factor, a mean to subtract, a clip's bound) are not, nor is
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
            let Some(input) = node.input(slot) else {
                continue;
            };
            let sources = sources(graph, &producers, input);
            if sources.is_empty() || !is_weight_slot(graph, &producers, node, slot) {
                continue;
            }
            found.extend(sources.into_iter().filter(|&id| is_parameter(id)));
        }
    }
    found.into_iter().collect()
}

/// The initializers that `value` is made of by nothing but moves; none when it is made otherwise.
fn sources(graph: &Graph, producers: &[Option<Producer>], value: ValueId) -> Vec<ValueId> {
    let mut sources = Vec::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        if graph.initializers.contains_key(&value) {
            sources.push(value);
            continue;
        }
        let Some(Producer::Node(id, 0)) = producers[value.index()] else {
            return Vec::new();
        };
        let node = graph.node(id);
        match node.op_type.as_str() {
            "Concat" if node.is("Concat") => open.extend(node.inputs.iter().flatten()),
            op if node.is(op) && MOVES.contains(&op) => open.extend(node.input(0)),
            _ => return Vec::new(),
        }
    }
    sources
}

/// Whether a node reads input `slot` as a weight, bias or scale.
pub(crate) fn is_weight_slot(
    graph: &Graph,
    producers: &[Option<Producer>],
    node: &Node,
    slot: usize,
) -> bool {
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
    let own = sources(graph, producers, own).into_iter();
    let size: usize = own
        .map(|id| graph.initializers.get(&id).map_or(0, |tensor| tensor.len()))
        .sum();
    source.domain == sardonyx_ir::ONNX && is_product.contains(&&*source.op_type) && size > 1
}
