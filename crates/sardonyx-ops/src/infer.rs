//! Shape inference over a whole graph, in one forward sweep. Besides types and shapes it follows
//! the small integer tensors that exporters compute shapes with, as dimensions, so that a
//! reshape of a symbolic batch still has a known result.

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_ir::{Dim, Fact, Graph, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::ops::random;
use crate::{EvalCx, InferCx, Inferred, Known, OpError, Operator, Result, registry};

/// Tensors above this many elements are not evaluated during inference; shape computations are
/// far below it.
const MAX_FOLDED_ELEMENTS: usize = 1024;

/// What inference knows of every value of a graph, by value index.
#[derive(Debug, Clone)]
pub struct Knowledge {
    facts: Vec<Option<Fact>>,
    values: Vec<Option<Arc<Tensor>>>,
    dims: Vec<Option<Vec<Dim>>>,
}

impl Knowledge {
    /// Type and shape of a value.
    pub fn fact(&self, id: ValueId) -> Option<&Fact> {
        self.facts[id.index()].as_ref()
    }

    /// The tensor of a value that is constant.
    pub fn value(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.values[id.index()].as_ref()
    }

    fn known(&self, id: ValueId) -> Option<Known<'_>> {
        let fact = self.facts[id.index()].as_ref()?;
        let value = self.values[id.index()].as_ref();
        Some(Known {
            fact,
            value,
            dims: self.dims[id.index()].as_deref(),
        })
    }

    /// The inference context of a node of the graph that this is about.
    ///
    /// # Errors
    /// When an input's type is unknown.
    pub fn context<'a>(&'a self, graph: &Graph, node: &'a Node) -> Result<InferCx<'a>> {
        let input = |id: ValueId| {
            self.known(id).ok_or_else(|| {
                let name = graph.value_name(id);
                OpError::invalid(node, format!("the type of its input `{name}` is unknown"))
            })
        };
        let inputs = node.inputs.iter().map(|id| id.map(input).transpose());
        let opset = graph.opset(&node.domain).unwrap_or(registry::MAX_OPSET);
        Ok(InferCx {
            node,
            inputs: inputs.collect::<Result<_>>()?,
            opset,
        })
    }
}

/// Infers every value of `graph`, writes the facts into it and returns all that was learnt.
///
/// # Errors
/// When a node's operator is unknown or its inputs are not legal; the error names the node.
pub fn infer(graph: &mut Graph) -> Result<Knowledge> {
    let count = graph.value_count();
    let mut known = Knowledge {
        facts: vec![None; count],
        values: vec![None; count],
        dims: vec![None; count],
    };
    for (&id, tensor) in &graph.initializers {
        known.facts[id.index()] = Some(Fact::of(tensor));
        if graph.constant(id).is_some() {
            known.values[id.index()] = Some(tensor.clone());
        }
    }
    for &id in &graph.inputs {
        known.facts[id.index()] = graph.fact(id).cloned();
    }
    for id in graph.topological_order()? {
        infer_node(graph, graph.node(id), &mut known)?;
    }
    let ids: Vec<ValueId> = graph.values().map(|(id, _)| id).collect();
    for (id, fact) in ids.into_iter().zip(&known.facts) {
        if fact.is_some() {
            graph.set_fact(id, fact.clone());
        }
    }
    Ok(known)
}

/// Replaces symbols in the shapes of `graph`'s inputs by numbers, then infers again: every shape
/// that depends on them alone becomes fixed.
///
/// # Errors
/// As [`infer`].
pub fn bind(graph: &mut Graph, symbols: &BTreeMap<String, usize>) -> Result<Knowledge> {
    for id in graph.inputs.clone() {
        let Some(mut fact) = graph.fact(id).cloned() else {
            continue;
        };
        for dim in fact.shape.iter_mut().flatten() {
            if let Some(bound) = dim.bind(|name| symbols.get(name).copied()) {
                *dim = bound;
            }
        }
        graph.set_fact(id, Some(fact));
    }
    infer(graph)
}

fn infer_node(graph: &Graph, node: &Node, known: &mut Knowledge) -> Result<()> {
    let opset = graph.opset(&node.domain).unwrap_or(registry::MAX_OPSET);
    let operator = registry::lookup(node, opset)?;
    let (inferred, folded) = {
        let cx = known.context(graph, node)?;
        let inferred = operator.infer(&cx)?;
        let folded = fold(operator, &cx, &inferred)?;
        (inferred, folded)
    };
    for (slot, output) in node.outputs.iter().enumerate() {
        let Some(output) = output else { continue };
        let Some(Inferred { fact, dims }) = inferred.get(slot) else {
            let problem = format!("output {slot} is asked for, which the operator does not have");
            return Err(OpError::invalid(node, problem));
        };
        let index = output.index();
        known.facts[index] = Some(fact.clone());
        known.values[index] = folded
            .as_ref()
            .and_then(|f| f.get(slot).cloned())
            .map(Arc::new);
        if known.values[index].is_none() {
            known.values[index] = dims.as_ref().and_then(|dims| dims_tensor(fact, dims));
        }
        known.dims[index].clone_from(dims);
    }
    Ok(())
}

/// Evaluates a node whose inputs are all small constants: the arithmetic on shapes.
fn fold(
    operator: &dyn Operator,
    cx: &InferCx<'_>,
    outputs: &[Inferred],
) -> Result<Option<Vec<Tensor>>> {
    let small = |shape: Option<Vec<usize>>| {
        shape.is_some_and(|s| element_count(&s).is_ok_and(|count| count <= MAX_FOLDED_ELEMENTS))
    };
    let constant = |known: &Known<'_>| known.value.is_some() && small(known.fact.fixed_shape());
    let foldable = cx.inputs.iter().flatten().all(constant)
        && outputs
            .iter()
            .all(|output| small(output.fact.fixed_shape()))
        && operator.schema().domain != sardonyx_ir::SARDONYX
        && !random::is_random(cx.node);
    if !foldable {
        return Ok(None);
    }
    let inputs = cx
        .inputs
        .iter()
        .map(|i| i.and_then(|k| k.value).map(AsRef::as_ref))
        .collect();
    operator
        .eval(&EvalCx {
            node: cx.node,
            inputs,
            opset: cx.opset,
        })
        .map(Some)
}

fn dims_tensor(fact: &Fact, dims: &[Dim]) -> Option<Arc<Tensor>> {
    let values = dims
        .iter()
        .map(|dim| dim.value().map(|n| n as i64))
        .collect::<Option<_>>()?;
    let tensor = Tensor::new(fact.fixed_shape()?, values).ok()?;
    (fact.dtype == tensor.dtype()).then(|| Arc::new(tensor))
}
