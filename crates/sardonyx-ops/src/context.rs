//! What an operator's functions are given.

use std::sync::Arc;

use sardonyx_ir::{Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor, limits};

use crate::{Builder, OpError, Result};

/// All that is known of an input before anything runs.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Type and shape.
    pub fact: &'a Fact,
    /// The tensor itself, when it is constant.
    pub value: Option<&'a Arc<Tensor>>,
    /// The elements of a small integer tensor as dimensions, when they are computed from shapes.
    pub dims: Option<&'a [Dim]>,
}

/// What inference says of an output.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// Type and shape.
    pub fact: Fact,
    /// The elements of a small integer tensor as dimensions (see [`Known::dims`]).
    pub dims: Option<Vec<Dim>>,
}

impl From<Fact> for Inferred {
    fn from(fact: Fact) -> Inferred {
        Inferred { fact, dims: None }
    }
}

/// Stands for the number -1 among followed dimensions: in a shape vector, the dimension that is to
/// be worked out from the others. Only `Reshape` gives it a meaning; elsewhere it is an unknown.
pub(crate) const FREE_DIM: &str = "-1";

/// Context of shape inference.
#[derive(Debug)]
pub struct InferCx<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its inputs.
    pub inputs: Vec<Option<Known<'a>>>,
    /// Version of the node's operator set.
    pub opset: i64,
}

impl<'a> InferCx<'a> {
    /// Input `index`, which must be there.
    ///
    /// # Errors
    /// When it is left out.
    pub fn input(&self, index: usize) -> Result<Known<'a>> {
        self.optional(index)
            .ok_or_else(|| self.invalid(format!("input {index} is missing")))
    }

    /// Input `index`, when it is there.
    pub fn optional(&self, index: usize) -> Option<Known<'a>> {
        self.inputs.get(index).copied().flatten()
    }

    /// Element type of input `index`.
    ///
    /// # Errors
    /// When it is left out.
    pub fn dtype(&self, index: usize) -> Result<DType> {
        Ok(self.input(index)?.fact.dtype)
    }

    /// Shape of input `index`; `None` when unknown.
    ///
    /// # Errors
    /// When it is left out.
    pub fn shape(&self, index: usize) -> Result<Option<&'a [Dim]>> {
        Ok(self.input(index)?.fact.shape.as_deref())
    }

    /// Integers of constant input `index`: `Ok(None)` when it is left out or not constant.
    ///
    /// # Errors
    /// When the tensor does not hold integers.
    pub fn constant_ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        match self.optional(index).and_then(|known| known.value) {
            None => Ok(None),
            Some(tensor) => Ok(Some(tensor.to_i64()?)),
        }
    }

    /// The elements of integer input `index` as dimensions: from the constant, or from what
    /// inference followed. A negative constant has no dimension and gives `None`.
    pub fn dims(&self, index: usize) -> Option<Vec<Dim>> {
        let known = self.optional(index)?;
        if let Some(dims) = known.dims {
            return Some(dims.to_vec());
        }
        let ints = known.value?.to_i64().ok()?;
        ints.into_iter()
            .map(|n| usize::try_from(n).ok().map(Dim::known))
            .collect()
    }

    /// A value of type `dtype` whose shape is given by integer vector `index`.
    ///
    /// # Errors
    /// When that input is left out.
    pub fn shaped_by(&self, index: usize, dtype: DType) -> Result<Fact> {
        let length = self.shape(index)?.and_then(|dims| dims.first()?.value());
        Ok(match (self.dims(index), length) {
            (Some(dims), _) => Fact::new(dtype, dims),
            (None, Some(rank)) if rank <= limits::MAX_RANK => {
                Fact::new(dtype, (0..rank).map(|axis| self.unknown_dim(axis)))
            }
            _ => Fact::unranked(dtype),
        })
    }

    /// A new symbol for output dimension `axis` that cannot be computed from the inputs'.
    pub fn unknown_dim(&self, axis: usize) -> Dim {
        let output = self
            .node
            .outputs
            .iter()
            .flatten()
            .next()
            .map_or(0, |id| id.index());
        Dim::symbol(&format!("?{output}.{axis}"))
    }

    /// An error about this node.
    pub fn invalid(&self, problem: impl Into<String>) -> OpError {
        OpError::invalid(self.node, problem)
    }
}

/// Context of reference evaluation.
#[derive(Debug)]
pub struct EvalCx<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its inputs.
    pub inputs: Vec<Option<&'a Tensor>>,
    /// Version of the node's operator set.
    pub opset: i64,
}

impl<'a> EvalCx<'a> {
    /// Input `index`, which must be there.
    ///
    /// # Errors
    /// When it is left out.
    pub fn input(&self, index: usize) -> Result<&'a Tensor> {
        self.optional(index)
            .ok_or_else(|| self.invalid(format!("input {index} is missing")))
    }

    /// Input `index`, when it is there.
    pub fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.inputs.get(index).copied().flatten()
    }

    /// Holds the inputs against the operator's own inference, which plan operators rely on: no
    /// graph with one comes from outside, but tests try.
    ///
    /// # Errors
    /// As the operator's inference.
    pub(crate) fn check(&self, operator: &dyn crate::Operator) -> Result<()> {
        let facts: Vec<Option<Fact>> = self.inputs.iter().map(|t| t.map(Fact::of)).collect();
        let inputs = facts
            .iter()
            .map(|fact| {
                fact.as_ref().map(|fact| Known {
                    fact,
                    value: None,
                    dims: None,
                })
            })
            .collect();
        operator
            .infer(&InferCx {
                node: self.node,
                inputs,
                opset: self.opset,
            })
            .map(drop)
    }

    /// Integers of input `index`, when it is there.
    ///
    /// # Errors
    /// When the tensor does not hold integers.
    pub fn ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        Ok(self.optional(index).map(Tensor::to_i64).transpose()?)
    }

    /// An error about this node.
    pub fn invalid(&self, problem: impl Into<String>) -> OpError {
        OpError::invalid(self.node, problem)
    }
}

/// Context of a gradient rule: the node, and the builder that takes the nodes it emits.
#[derive(Debug)]
pub struct GradCx<'b, 'g> {
    /// Takes the emitted nodes.
    pub builder: &'b mut Builder<'g>,
    /// The node to differentiate.
    pub node: &'b Node,
    /// Gradient of the loss by each output; `None` where the loss does not depend on it.
    pub output_grads: Vec<Option<ValueId>>,
    /// Whether the gradient by each input is wanted; a rule may skip the others.
    pub wanted: Vec<bool>,
}

impl GradCx<'_, '_> {
    /// Input `index`, which must be there.
    ///
    /// # Errors
    /// When it is left out.
    pub fn input(&self, index: usize) -> Result<ValueId> {
        self.node
            .input(index)
            .ok_or_else(|| self.invalid(format!("input {index} is missing")))
    }

    /// Output `index`, which must be there.
    ///
    /// # Errors
    /// When it is left out.
    pub fn output(&self, index: usize) -> Result<ValueId> {
        self.node
            .output(index)
            .ok_or_else(|| self.invalid(format!("output {index} is missing")))
    }

    /// Gradient by output `index`; only called for nodes of which the loss depends on it.
    ///
    /// # Errors
    /// When the loss does not depend on that output.
    pub fn output_grad(&self, index: usize) -> Result<ValueId> {
        let grad = self.output_grads.get(index).copied().flatten();
        grad.ok_or_else(|| self.invalid(format!("the loss does not depend on output {index}")))
    }

    /// Whether the gradient by input `index` is wanted.
    pub fn wants(&self, index: usize) -> bool {
        self.wanted.get(index).copied().unwrap_or(false)
    }

    /// An error about this node.
    pub fn invalid(&self, problem: impl Into<String>) -> OpError {
        OpError::invalid(self.node, problem)
    }

    /// The error of an operator through which no gradient flows though one is wanted.
    pub fn not_differentiable(&self, reason: &str) -> OpError {
        OpError::unsupported(self.node, format!("it has no gradient: {reason}"))
    }
}
