//! Reverse-mode differentiation of a graph: the chain rule over the nodes in reverse order, each
//! operator's own rule emitting the nodes of its part (Griewank and Walther, "Evaluating
//! Derivatives", chapter 3). The result is more graph, to be simplified and planned like any.

use sardonyx_ir::{Graph, NodeId, ValueId};
use sardonyx_ops::{Builder, GradCx, MAX_OPSET, OpError, Result, lookup};
use sardonyx_tensor::Tensor;

/// Adds to `graph` the computation of the gradient of `loss` by each value of `wrt` and returns
/// where it is: `None` for one that the loss does not depend on. The graph must have been
/// inferred; `loss` must have one element.
///
/// # Errors
/// When an operator on the way has no gradient, or a type or shape is unknown.
pub fn differentiate(
    graph: &mut Graph,
    loss: ValueId,
    wrt: &[ValueId],
) -> Result<Vec<Option<ValueId>>> {
    let order = graph.topological_order()?;
    let active = active_values(graph, &order, wrt);
    let (patch, grads) = {
        let mut sweep = Sweep::new(graph, loss)?;
        for &id in order.iter().rev() {
            sweep.visit(id, &active)?;
        }
        sweep.finish(wrt)?
    };
    let applied = patch.apply(graph);
    assert!(applied, "a patch that removes nothing always applies");
    graph
        .opsets
        .entry(sardonyx_ir::SARDONYX.to_owned())
        .or_insert(1);
    debug_assert_eq!(graph.verify(), Ok(()), "after differentiate");
    Ok(grads)
}

/// Which values depend on one of `wrt` through float values, by value index.
fn active_values(graph: &Graph, order: &[NodeId], wrt: &[ValueId]) -> Vec<bool> {
    let mut active = vec![false; graph.value_count()];
    for id in wrt {
        active[id.index()] = true;
    }
    for &id in order {
        let node = graph.node(id);
        if node
            .inputs
            .iter()
            .flatten()
            .any(|input| active[input.index()])
        {
            for output in node.outputs.iter().flatten() {
                active[output.index()] = graph.fact(*output).is_none_or(|f| f.dtype.is_float());
            }
        }
    }
    active
}

/// The reverse sweep: gradient of the loss by each value, as far as it has been gathered.
struct Sweep<'g> {
    builder: Builder<'g>,
    grads: Vec<Vec<ValueId>>,
}

impl<'g> Sweep<'g> {
    fn new(graph: &'g Graph, loss: ValueId) -> Result<Sweep<'g>> {
        let mut builder = Builder::new(graph, "grad");
        let shape = builder.fixed_shape(loss)?;
        let dtype = builder.dtype(loss)?;
        if shape.iter().product::<usize>() != 1 || !dtype.is_float() {
            return Err(OpError::Feed {
                value: graph.value_name(loss).to_owned(),
                problem: format!("a loss is one float, this is {dtype}{shape:?}"),
            });
        }
        let one = builder.tensor(Tensor::from_f64(dtype, shape, vec![1.0])?);
        let mut grads = vec![Vec::new(); graph.value_count()];
        grads[loss.index()].push(one);
        Ok(Sweep { builder, grads })
    }

    fn visit(&mut self, id: NodeId, active: &[bool]) -> Result<()> {
        let graph = self.builder.graph();
        let node = graph.node(id);
        let wanted: Vec<bool> = node
            .inputs
            .iter()
            .map(|input| input.is_some_and(|id| active[id.index()]))
            .collect();
        let reached = node
            .outputs
            .iter()
            .flatten()
            .any(|output| !self.grads[output.index()].is_empty());
        if !reached || !wanted.contains(&true) {
            return Ok(());
        }
        let name = if node.name.is_empty() {
            &node.op_type
        } else {
            &node.name
        };
        self.builder.set_prefix(&format!("grad/{name}"));
        let mut output_grads = Vec::with_capacity(node.outputs.len());
        for output in &node.outputs {
            output_grads.push(match output {
                Some(output) => self.gathered(*output)?,
                None => None,
            });
        }
        let operator = lookup(node, graph.opset(&node.domain).unwrap_or(MAX_OPSET))?;
        let builder = &mut self.builder;
        let grads = operator.grad(&mut GradCx {
            builder,
            node,
            output_grads,
            wanted,
        })?;
        for (input, grad) in node.inputs.iter().zip(grads) {
            if let (Some(input), Some(grad)) = (input, grad)
                && active[input.index()]
            {
                self.grads[input.index()].push(grad);
            }
        }
        Ok(())
    }

    /// The sum of all contributions to the gradient by `value`, in the order of their emission.
    fn gathered(&mut self, value: ValueId) -> Result<Option<ValueId>> {
        let parts = std::mem::take(&mut self.grads[value.index()]);
        let Some((&first, rest)) = parts.split_first() else {
            return Ok(None);
        };
        let mut sum = first;
        for &part in rest {
            sum = self.builder.op("Add", &[sum, part], &[])?;
        }
        self.grads[value.index()].push(sum);
        Ok(Some(sum))
    }

    fn finish(mut self, wrt: &[ValueId]) -> Result<(sardonyx_ir::Patch, Vec<Option<ValueId>>)> {
        self.builder.set_prefix("grad");
        let grads = wrt
            .iter()
            .map(|&value| self.gathered(value))
            .collect::<Result<_>>()?;
        Ok((self.builder.finish(), grads))
    }
}
