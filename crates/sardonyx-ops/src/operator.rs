use sardonyx_ir::{Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Result};

/// Name, versions and arity of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Operator set; empty for the standard one.
    pub domain: &'static str,
    /// Operator name, such as `Conv`.
    pub name: &'static str,
    /// First operator-set version whose definition is implemented here.
    pub since: i64,
    /// First version with a changed definition that is not implemented here.
    pub until: Option<i64>,
    /// Fewest inputs.
    pub min_inputs: usize,
    /// Most inputs; `usize::MAX` when variadic.
    pub max_inputs: usize,
    /// Most outputs.
    pub max_outputs: usize,
}

impl Schema {
    /// A standard operator with exactly `inputs` inputs and one output, known since `since`.
    pub const fn standard(name: &'static str, since: i64, inputs: usize) -> Schema {
        Schema {
            domain: sardonyx_ir::ONNX,
            name,
            since,
            until: None,
            min_inputs: inputs,
            max_inputs: inputs,
            max_outputs: 1,
        }
    }

    /// An operator of our own domain, for plans only.
    pub const fn own(name: &'static str, inputs: usize) -> Schema {
        Schema {
            domain: sardonyx_ir::SARDONYX,
            ..Schema::standard(name, 1, inputs)
        }
    }

    /// The same with `min_inputs..=max_inputs` inputs.
    pub const fn inputs(self, min_inputs: usize, max_inputs: usize) -> Schema {
        Schema {
            min_inputs,
            max_inputs,
            ..self
        }
    }

    /// The same with up to `max_outputs` outputs.
    pub const fn outputs(self, max_outputs: usize) -> Schema {
        Schema {
            max_outputs,
            ..self
        }
    }
}

/// What running a node takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts as two.
    pub flops: u64,
    /// Bytes read and written once each, parameters included.
    pub bytes: u64,
}

/// All that there is to know of an operator. Nothing here has a default on purpose: whoever adds
/// an operator decides each point.
pub trait Operator: Send + Sync {
    /// Name, versions and arity.
    fn schema(&self) -> Schema;

    /// Types and shapes of the outputs, from those of the inputs.
    ///
    /// # Errors
    /// When no tensors of these types and shapes are legal inputs.
    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>>;

    /// The outputs, by the plainest correct computation.
    ///
    /// # Errors
    /// When the inputs are not legal.
    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>>;

    /// Emits the nodes that compute the gradient of the loss by each input, given that by each
    /// output. `None` for an input through which no gradient flows.
    ///
    /// # Errors
    /// When the operator cannot be differentiated as it is used here.
    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>>;

    /// Floating-point operations of one run; `None` when shapes are unknown. Bytes are counted
    /// from the facts for all operators alike.
    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64>;

    /// Data for the generic tests, which run every example.
    fn examples(&self) -> Vec<Example>;
}

/// Floating-point operations of `per_element` for each element of the first output.
pub(crate) fn element_flops(outputs: &[Inferred], per_element: u64) -> Option<u64> {
    fact_flops(&outputs.first()?.fact, per_element)
}

/// Floating-point operations of `per_element` for each element of a value.
pub(crate) fn fact_flops(fact: &Fact, per_element: u64) -> Option<u64> {
    let count = element_count(&fact.fixed_shape()?).ok()?;
    u64::try_from(count).ok()?.checked_mul(per_element)
}

/// Axis `axis` of a tensor of rank `rank`, where a negative one counts from the end.
///
/// # Errors
/// When it is out of range.
pub(crate) fn axis_index(node: &Node, axis: i64, rank: usize) -> Result<usize> {
    let index = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(index)
        .ok()
        .filter(|&index| index < rank)
        .ok_or_else(|| {
            OpError::invalid(node, format!("axis {axis} is out of range for rank {rank}"))
        })
}
