//! Lowering: from a node of fixed shapes to kernel calls. One file per family of operators, found
//! by one sorted table. A node without a rule, or whose rule declines, runs through its operator's
//! reference evaluation.

mod attention;
mod batch_norm;
mod constant;
mod conv;
mod dense;
mod depthwise;
mod dropout;
mod elementwise;
mod graph;
mod groups;
mod integers;
mod matmul;
mod movement;
mod places;
mod pool;
mod recurrent;
mod reduce;
mod row_norm;
mod softmax;
mod trace;
mod update;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sardonyx_ir::{Fact, Graph, Node, ONNX, SARDONYX, ValueId};
use sardonyx_kernels::{Isa, Kernel};
use sardonyx_tensor::{DType, Tensor};

pub(crate) use graph::lower_graph;
use matmul::Folded;

use crate::{EngineError, Result};

/// An operand of a lowered call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A value of the graph.
    Value(ValueId),
    /// Scratch of this node that lives from its first to its last call: an index into
    /// [`Lowered::temporaries`].
    Temporary(usize),
    /// A constant that this node brings along: an index into [`Lowered::constants`].
    Constant(usize),
    /// An optional operand that is left out.
    Absent,
}

impl From<Option<ValueId>> for Slot {
    fn from(value: Option<ValueId>) -> Slot {
        value.map_or(Slot::Absent, Slot::Value)
    }
}

/// A kernel and what it works on.
#[derive(Debug)]
pub(crate) struct LoweredCall {
    pub(crate) kernel: Arc<dyn Kernel>,
    pub(crate) operands: Vec<Slot>,
}

/// What a node becomes.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    /// Calls in order.
    pub(crate) calls: Vec<LoweredCall>,
    /// Bytes of each temporary.
    pub(crate) temporaries: Vec<usize>,
    /// Constants that calls read.
    pub(crate) constants: Vec<Tensor>,
    /// Outputs that are the very memory of an input: `(input, output)`.
    pub(crate) aliases: Vec<(ValueId, ValueId)>,
    /// Outputs that are constants of the plan.
    pub(crate) constant_outputs: Vec<(Tensor, ValueId)>,
    /// Of a call that is made of others: the nodes that these come from.
    pub(crate) members: Vec<usize>,
}

impl Lowered {
    /// One call.
    pub(crate) fn call(kernel: impl Kernel + 'static, operands: Vec<Slot>) -> Lowered {
        let mut lowered = Lowered::default();
        lowered.push(kernel, operands);
        lowered
    }

    /// Adds a call.
    pub(crate) fn push(&mut self, kernel: impl Kernel + 'static, operands: Vec<Slot>) {
        self.calls.push(LoweredCall {
            kernel: Arc::new(kernel),
            operands,
        });
    }

    /// Adds a temporary of `floats` floats.
    pub(crate) fn temporary(&mut self, floats: usize) -> Slot {
        self.temporaries.push(floats * size_of::<f32>());
        Slot::Temporary(self.temporaries.len() - 1)
    }

    /// Adds a constant.
    pub(crate) fn constant(&mut self, tensor: Tensor) -> Slot {
        self.constants.push(tensor);
        Slot::Constant(self.constants.len() - 1)
    }
}

/// What a lowering rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LowerCx<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
    pub(crate) isa: Isa,
    pub(crate) known: &'a Known,
}

/// What is constant in a plan.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Initializers that change from run to run.
    pub(crate) state: BTreeSet<ValueId>,
    /// Outputs of nodes that were computed when the plan was made.
    pub(crate) made: BTreeMap<ValueId, Tensor>,
    /// Transposes that products take over.
    pub(crate) folded: Folded,
}

impl<'a> LowerCx<'a> {
    /// Input `index`, which the operator's schema says is there.
    pub(crate) fn input(&self, index: usize) -> ValueId {
        self.node
            .input(index)
            .expect("inference has seen this input")
    }

    /// Output `index`: the first one, which no node that a rule sees leaves out, or one that an
    /// operator of ours always has.
    pub(crate) fn output(&self, index: usize) -> ValueId {
        self.node
            .output(index)
            .expect("inference has seen this output")
    }

    /// Shape of a value.
    pub(crate) fn shape(&self, value: ValueId) -> Result<Vec<usize>> {
        let shape = self.graph.fact(value).and_then(Fact::fixed_shape);
        shape.ok_or_else(|| EngineError::Dynamic {
            value: self.graph.value_name(value).to_owned(),
        })
    }

    /// Element type of a value.
    pub(crate) fn dtype(&self, value: ValueId) -> Result<DType> {
        let fact = self.graph.fact(value);
        fact.map(|fact| fact.dtype)
            .ok_or_else(|| EngineError::Dynamic {
                value: self.graph.value_name(value).to_owned(),
            })
    }

    /// Whether all inputs and outputs are `f32`.
    pub(crate) fn is_f32(&self) -> bool {
        let values = self.node.inputs.iter().chain(&self.node.outputs).flatten();
        let mut facts = values.map(|&value| self.graph.fact(value));
        facts.all(|fact| fact.is_some_and(|fact| fact.dtype == DType::F32))
    }

    /// The constant tensor of input `index`.
    pub(crate) fn constant(&self, index: usize) -> Option<&'a Tensor> {
        self.constant_of(self.node.input(index)?)
    }

    /// The number that a constant of one float is.
    pub(crate) fn scalar(&self, value: ValueId) -> Option<f32> {
        match self.constant_of(value)?.values::<f32>() {
            Ok(&[number]) => Some(number),
            _ => None,
        }
    }

    fn constant_of(&self, id: ValueId) -> Option<&'a Tensor> {
        if self.known.state.contains(&id) {
            return None;
        }
        let initializer = self.graph.constant(id).map(AsRef::as_ref);
        initializer.or_else(|| self.known.made.get(&id))
    }
}

/// A lowering rule; `None` when it has no kernel for this case.
type Rule = fn(&LowerCx<'_>) -> Result<Option<Lowered>>;

/// Every rule, sorted by domain and operator.
static RULES: &[(&str, &str, Rule)] = &[
    (ONNX, "Add", integers::binary),
    (ONNX, "And", integers::binary),
    (ONNX, "ArgMax", integers::arg),
    (ONNX, "ArgMin", integers::arg),
    (ONNX, "BitwiseAnd", integers::binary),
    (ONNX, "BitwiseOr", integers::binary),
    (ONNX, "BitwiseXor", integers::binary),
    (ONNX, "Cast", integers::cast),
    (ONNX, "CastLike", integers::cast),
    (ONNX, "Compress", movement::moved),
    (ONNX, "Concat", movement::concat),
    (ONNX, "DepthToSpace", movement::moved),
    (ONNX, "Div", integers::binary),
    (ONNX, "Dropout", dropout::standard),
    (ONNX, "Equal", integers::binary),
    (ONNX, "Expand", movement::moved),
    (ONNX, "Flatten", view::view),
    (ONNX, "Gather", movement::gather),
    (ONNX, "GatherElements", movement::moved),
    (ONNX, "GatherND", movement::moved),
    (ONNX, "Gemm", matmul::gemm),
    (ONNX, "Greater", integers::binary),
    (ONNX, "GreaterOrEqual", integers::binary),
    (ONNX, "GroupNormalization", row_norm::forward),
    (ONNX, "Identity", view::view),
    (ONNX, "InstanceNormalization", row_norm::forward),
    (ONNX, "LayerNormalization", row_norm::forward),
    (ONNX, "Less", integers::binary),
    (ONNX, "LessOrEqual", integers::binary),
    (ONNX, "LogSoftmax", softmax::softmax),
    (ONNX, "MatMul", matmul::matmul),
    (ONNX, "Max", integers::binary),
    (ONNX, "Min", integers::binary),
    (ONNX, "Mod", integers::binary),
    (ONNX, "Mul", integers::binary),
    (ONNX, "Or", integers::binary),
    (ONNX, "Pad", movement::moved),
    (ONNX, "RMSNormalization", row_norm::forward),
    (ONNX, "ReduceL1", reduce::reduce),
    (ONNX, "ReduceL2", reduce::reduce),
    (ONNX, "ReduceLogSum", reduce::reduce),
    (ONNX, "ReduceLogSumExp", reduce::reduce),
    (ONNX, "ReduceMax", reduce::reduce),
    (ONNX, "ReduceMean", reduce::reduce),
    (ONNX, "ReduceMin", reduce::reduce),
    (ONNX, "ReduceProd", reduce::reduce),
    (ONNX, "ReduceSum", reduce::reduce),
    (ONNX, "ReduceSumSquare", reduce::reduce),
    (ONNX, "Reshape", view::view),
    (ONNX, "ReverseSequence", movement::moved),
    (ONNX, "Slice", movement::moved),
    (ONNX, "Softmax", softmax::softmax),
    (ONNX, "SoftmaxCrossEntropyLoss", softmax::cross_entropy),
    (ONNX, "SpaceToDepth", movement::moved),
    (ONNX, "Split", movement::moved),
    (ONNX, "Squeeze", view::view),
    (ONNX, "Sub", integers::binary),
    (ONNX, "Tile", movement::moved),
    (ONNX, "Transpose", movement::transpose),
    (ONNX, "Trilu", movement::moved),
    (ONNX, "Unsqueeze", view::view),
    (ONNX, "Where", integers::select),
    (ONNX, "Xor", integers::binary),
    (SARDONYX, "AveragePoolNhwc", pool::pool),
    (SARDONYX, "AveragePoolNhwcGrad", pool::pool),
    (SARDONYX, "BatchNormNhwc", batch_norm::forward),
    (SARDONYX, "BatchNormNhwcGrad", batch_norm::gradient),
    (SARDONYX, "CompressGrad", movement::moved_grad),
    (SARDONYX, "ConvNhwc", conv::forward),
    (SARDONYX, "ConvNhwcInputGrad", conv::input_grad),
    (SARDONYX, "ConvNhwcWeightGrad", conv::weight_grad),
    (SARDONYX, "Dense", dense::dense),
    (SARDONYX, "DenseWeightGrad", dense::weight_grad),
    (SARDONYX, "DepthwiseConvNhwc", depthwise::forward),
    (
        SARDONYX,
        "DepthwiseConvNhwcInputGrad",
        depthwise::input_grad,
    ),
    (
        SARDONYX,
        "DepthwiseConvNhwcWeightGrad",
        depthwise::weight_grad,
    ),
    (SARDONYX, "DropoutTraining", dropout::training),
    (SARDONYX, "GatherElementsGrad", movement::moved_grad),
    (SARDONYX, "GatherGrad", movement::moved_grad),
    (SARDONYX, "GatherNDGrad", movement::moved_grad),
    (SARDONYX, "GradientClip", update::clip),
    (SARDONYX, "GroupNormalizationGrad", row_norm::gradient),
    (SARDONYX, "GruSequence", recurrent::forward),
    (SARDONYX, "GruSequenceGrad", recurrent::gradient),
    (SARDONYX, "LayerNormalizationGrad", row_norm::gradient),
    (SARDONYX, "LogSoftmaxGrad", softmax::softmax_grad),
    (SARDONYX, "LstmSequence", recurrent::forward),
    (SARDONYX, "LstmSequenceGrad", recurrent::gradient),
    (SARDONYX, "MaxPoolNhwc", pool::pool),
    (SARDONYX, "MaxPoolNhwcGrad", pool::pool),
    (SARDONYX, "OptimizerUpdate", update::update),
    (SARDONYX, "PackPanels", dense::pack_panels),
    (SARDONYX, "PadGrad", movement::moved_grad),
    (SARDONYX, "PowGrad", elementwise::power_grad),
    (SARDONYX, "RMSNormalizationGrad", row_norm::gradient),
    (SARDONYX, "RnnSequence", recurrent::forward),
    (SARDONYX, "RnnSequenceGrad", recurrent::gradient),
    (SARDONYX, "SliceGrad", movement::moved_grad),
    (
        SARDONYX,
        "SoftmaxCrossEntropyLossGrad",
        softmax::cross_entropy_grad,
    ),
    (SARDONYX, "SoftmaxGrad", softmax::softmax_grad),
    (SARDONYX, "TileGrad", movement::moved_grad),
    (SARDONYX, "TransposePanels", dense::transpose_panels),
    (SARDONYX, "UnpackPanels", dense::pack_panels),
];

/// The calls of a node, if there are kernels for it.
fn lower(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    // Rules are about the first output; the reference does not mind which of them are asked for.
    if cx.node.output(0).is_none() {
        return Ok(None);
    }
    let key = (cx.node.domain.as_str(), cx.node.op_type.as_str());
    match RULES.binary_search_by(|(domain, op, _)| (*domain, *op).cmp(&key)) {
        Ok(index) => RULES[index].2(cx),
        Err(_) => elementwise::lower(cx),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_sorted() {
        assert!(RULES.is_sorted_by_key(|(domain, op, _)| (*domain, *op)));
    }
}
