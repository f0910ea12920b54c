//! Turns a model as it predicts into one as it trains: batch normalization uses and updates the
//! batch's statistics, dropout drops.

use sardonyx_ir::{Attr, Fact, Graph, Node, NodeId, Patch, SARDONYX, ValueId};
use sardonyx_ops::ops::batch_normalization::SAMPLE_VARIANCE;
use sardonyx_ops::{OpError, Result};
use sardonyx_tensor::DType;

/// A value that outlives a training step: read as `input`, and after the step what `output` was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLink {
    /// The state before the step: an initializer of the model.
    pub input: ValueId,
    /// The state after it.
    pub output: ValueId,
}

/// Puts `BatchNormalization` (with running variances as PyTorch keeps them) and `Dropout` nodes into training mode. `step` is a scalar `i64`
/// value that counts steps, and `seed` the run's seed: dropout masks are a function of both.
///
/// # Errors
/// When a node is malformed, or a statistic is not a constant of the model.
pub fn train_mode(graph: &mut Graph, step: ValueId, seed: u64) -> Result<Vec<StateLink>> {
    let mut links = Vec::new();
    let order = graph.topological_order()?;
    for (stream, id) in order.into_iter().enumerate() {
        let node = graph.node(id).clone();
        if node.is("BatchNormalization") {
            links.extend(train_batch_norm(graph, id, &node)?);
        } else if node.is("Dropout") {
            train_dropout(graph, id, &node, (step, seed, stream as i64))?;
        }
    }
    graph.opsets.entry(SARDONYX.to_owned()).or_insert(1);
    sardonyx_ops::infer(graph)?;
    Ok(links)
}

fn train_batch_norm(graph: &mut Graph, id: NodeId, node: &Node) -> Result<Vec<StateLink>> {
    let mut links = Vec::new();
    for (slot, name) in [(3, "mean"), (4, "var")] {
        let input = node.input(slot).filter(|&id| graph.constant(id).is_some());
        let Some(input) = input else {
            let problem = format!("its running {name} is not a constant of the model");
            return Err(OpError::unsupported(node, problem));
        };
        let fact = graph.fact(input).cloned();
        let name = format!("{}_next", graph.value_name(input));
        let output = graph.add_value(&name, fact);
        links.push(StateLink { input, output });
    }
    let node = graph.node_mut(id);
    for name in ["training_mode", SAMPLE_VARIANCE] {
        node.attributes.insert(name.to_owned(), Attr::Int(1));
    }
    node.outputs.truncate(1);
    node.outputs
        .extend(links.iter().map(|link| Some(link.output)));
    Ok(links)
}

fn train_dropout(
    graph: &mut Graph,
    id: NodeId,
    node: &Node,
    (step, seed, stream): (ValueId, u64, i64),
) -> Result<()> {
    let ratio = match node.input(1) {
        None => node.float("ratio", 0.5)?,
        Some(id) => {
            let constant = graph
                .constant(id)
                .map(|tensor| tensor.to_f64())
                .transpose()?;
            let ratio = constant.and_then(|values| values.first().copied());
            let dynamic = || OpError::unsupported(node, "its ratio is not a constant");
            ratio.ok_or_else(dynamic)? as f32
        }
    };
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Ok(());
    };
    if ratio == 0.0 {
        return Ok(());
    }
    let fact = graph.fact(output).cloned();
    let fact = fact.or_else(|| graph.fact(input).cloned());
    let mut patch = Patch::new(graph, "train dropout");
    let dropped = patch.add_value("dropped", fact.or(Some(Fact::unranked(DType::F32))));
    let mut training = Node::new(SARDONYX, "DropoutTraining");
    training.name.clone_from(&node.name);
    training.inputs = vec![Some(input), Some(step)];
    training.outputs = vec![Some(dropped)];
    training
        .attributes
        .insert("ratio".to_owned(), Attr::Float(ratio));
    training
        .attributes
        .insert("seed".to_owned(), Attr::Int(seed as i64));
    training
        .attributes
        .insert("stream".to_owned(), Attr::Int(stream));
    patch.add_node(training);
    patch.remove_node(id);
    patch.replace(output, dropped);
    patch.apply(graph);
    Ok(())
}
