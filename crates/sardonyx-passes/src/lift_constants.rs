use sardonyx_ir::{Attr, Graph, Patch};
use sardonyx_ops::{EvalCx, MAX_OPSET, Result, lookup};

/// Turns every `Constant` node into an initializer: exporters write weights either way, and only
/// initializers are parameters. So does every `Identity` of an initializer: PyTorch's older
/// exporter writes them where parameters of their own happen to have the same values.
///
/// # Errors
/// When a `Constant` node is malformed.
pub fn lift_constants(graph: &Graph) -> Result<Vec<Patch>> {
    let mut patch = Patch::new(graph, "lift constants");
    for (id, node) in graph.nodes() {
        let copied = node.input(0).filter(|_| node.is("Identity"));
        let copied = copied.filter(|input| !graph.inputs.contains(input));
        let copied = copied.and_then(|input| graph.initializers.get(&input));
        if let (Some(tensor), Some(output)) = (copied, node.output(0)) {
            let lifted = patch.add_initializer(graph.value_name(output), tensor.clone());
            patch.remove_node(id);
            patch.replace(output, lifted);
            continue;
        }
        let Some(output) = node.output(0).filter(|_| node.is("Constant")) else {
            continue;
        };
        let tensor = match node.attributes.get("value") {
            Some(Attr::Tensor(tensor)) => tensor.clone(),
            _ => {
                let operator = lookup(node, graph.opset("").unwrap_or(MAX_OPSET))?;
                let opset = graph.opset("").unwrap_or(MAX_OPSET);
                operator
                    .eval(&EvalCx {
                        node,
                        inputs: Vec::new(),
                        opset,
                    })?
                    .remove(0)
                    .into()
            }
        };
        let name = graph.value_name(output).to_owned();
        let lifted = patch.add_initializer(&name, tensor);
        patch.remove_node(id);
        patch.replace(output, lifted);
    }
    Ok(vec![patch])
}
