//! Elementwise operators as programs of the fused elementwise kernel.

use std::collections::BTreeMap;

use sardonyx_ir::{Node, NodeId, ONNX, SARDONYX, ValueId};
use sardonyx_kernels::{Elementwise, ElementwiseProgram, ElementwiseShape, Op, Reg, View};
use sardonyx_ops::ops::gate::Activation;
use sardonyx_ops::ops::unary;
use sardonyx_tensor::DType;

use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// A node that computes each element of its first output from one element of each input.
pub(super) fn lower(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    // No node that programs compute lacks it.
    let Some(output) = cx.node.output(0) else {
        return Ok(None);
    };
    let mut fused = Fused::new(cx.shape(output)?);
    let Some(result) = expression(cx, &mut fused)? else {
        return Ok(None);
    };
    let mut lowered = Lowered::default();
    fused.finish(&mut lowered, cx, &[(result, Slot::Value(output))])?;
    Ok(Some(lowered))
}

/// Whether a node is one that programs compute; a conversion of a type to itself is a view.
pub(super) fn is_elementwise(cx: &LowerCx<'_>) -> Result<bool> {
    let node = cx.node;
    if node.outputs.len() != 1 || node.output(0).is_none() {
        return Ok(false);
    }
    if node.is("Cast") || node.is("CastLike") {
        let ends = node.input(0).map(|input| cx.dtype(input)).transpose()?;
        if ends == Some(cx.dtype(cx.output(0))?) {
            return Ok(false);
        }
    }
    let mut fused = Fused::new(cx.shape(cx.output(0))?);
    Ok(expression(cx, &mut fused)?.is_some())
}

/// One call for the nodes `members` of the graph, in order, of which the last is that of `cx`.
pub(super) fn lower_group(cx: &LowerCx<'_>, members: &[NodeId]) -> Result<Lowered> {
    let mut fused = Fused::new(cx.shape(cx.output(0))?);
    let mut result = None;
    for &id in members {
        let member = LowerCx {
            node: cx.graph.node(id),
            ..*cx
        };
        let reg = expression(&member, &mut fused)?.expect("members of a group are elementwise");
        fused.known.insert(member.output(0), reg);
        result = Some(reg);
    }
    let result = result.expect("a group has members");
    let mut lowered = Lowered::default();
    fused.finish(&mut lowered, cx, &[(result, Slot::Value(cx.output(0)))])?;
    Ok(lowered)
}

/// An elementwise call in the making: a program, and what its inputs are and how they are walked.
pub(super) struct Fused {
    pub(super) program: ElementwiseProgram,
    dims: Vec<usize>,
    views: Vec<View>,
    slots: Vec<Slot>,
    /// Values that are inputs or were computed before.
    known: BTreeMap<ValueId, Reg>,
}

impl Fused {
    /// One whose result has shape `dims`.
    pub(super) fn new(dims: Vec<usize>) -> Fused {
        Fused {
            program: ElementwiseProgram::new(),
            dims,
            views: Vec::new(),
            slots: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// A value of the graph, broadcast to the result.
    pub(super) fn value(&mut self, cx: &LowerCx<'_>, value: ValueId) -> Result<Reg> {
        if let Some(&reg) = self.known.get(&value) {
            return Ok(reg);
        }
        let reg = match cx.scalar(value) {
            Some(number) => self.program.constant(number),
            None => {
                let view = View::broadcast(&cx.shape(value)?, &self.dims)?;
                self.viewed(Slot::Value(value), cx.dtype(value)?, view)?
            }
        };
        self.known.insert(value, reg);
        Ok(reg)
    }

    /// Floats of shape `shape`, broadcast to the result.
    pub(super) fn floats(&mut self, slot: Slot, shape: &[usize]) -> Result<Reg> {
        let view = View::broadcast(shape, &self.dims)?;
        self.viewed(slot, DType::F32, view)
    }

    fn viewed(&mut self, slot: Slot, dtype: DType, view: View) -> Result<Reg> {
        let reg = self.program.input(dtype)?;
        self.views.push(view);
        self.slots.push(slot);
        Ok(reg)
    }

    /// Adds an operation.
    pub(super) fn push(&mut self, op: Op, args: &[Reg]) -> Result<Reg> {
        Ok(self.program.push(op, args)?)
    }

    /// Adds the operation of an activation.
    pub(super) fn activate(&mut self, activation: Activation, x: Reg) -> Result<Reg> {
        match activation_op(activation) {
            None => Ok(x),
            Some(op) => self.push(op, &[x]),
        }
    }

    /// Adds the gradient before an activation, given its value `y`.
    pub(super) fn gate(&mut self, activation: Activation, y: Reg, dy: Reg) -> Result<Reg> {
        match activation_op(activation) {
            None => Ok(dy),
            // The derivatives of gates are the same at the value as at the argument.
            Some(op) => Ok(self.program.push_gradient(op, y, y, dy)?),
        }
    }

    /// Adds the call, which writes each result to its place.
    pub(super) fn finish(
        mut self,
        lowered: &mut Lowered,
        cx: &LowerCx<'_>,
        results: &[(Reg, Slot)],
    ) -> Result<()> {
        for &(result, to) in results {
            let dtype = match to {
                Slot::Value(value) => cx.dtype(value)?,
                _ => DType::F32,
            };
            self.program.output(result, dtype)?;
            self.slots.push(to);
        }
        let shape = ElementwiseShape {
            dims: self.dims,
            inputs: self.views,
            item_len: None,
        };
        lowered.push(Elementwise::new(cx.isa, &self.program, &shape)?, self.slots);
        Ok(())
    }
}

/// Adds what `cx`'s node computes as its first output; `None` when programs lack it.
pub(super) fn expression(cx: &LowerCx<'_>, fused: &mut Fused) -> Result<Option<Reg>> {
    let node = cx.node;
    let Some(&Some(first)) = node.inputs.first() else {
        return Ok(None);
    };
    let suits = |value: ValueId| -> Result<bool> {
        Ok(matches!(cx.dtype(value)?, DType::F32 | DType::Bool))
    };
    if !suits(cx.output(0))? || !suits(first)? {
        return Ok(None);
    }
    let name = node.op_type.as_str();
    match (node.domain.as_str(), name) {
        (ONNX, "Cast" | "CastLike" | "Expand") => {
            let x = fused.value(cx, first)?;
            if cx.dtype(cx.output(0))? == DType::Bool {
                // Truth values are 1 and 0 within a program too.
                let zero = fused.program.constant(0.0);
                return fused.push(Op::NotEqual, &[x, zero]).map(Some);
            }
            fused.push(Op::Identity, &[x]).map(Some)
        }
        (ONNX, "Clip") => clip(cx, fused),
        (ONNX, "IsInf") => is_infinite(cx, fused),
        (ONNX, "Max" | "Mean" | "Min" | "Sum") => variadic(cx, fused),
        (ONNX, "Mod") => match node.flag("fmod", false)? {
            true => plain(cx, fused, Op::Fmod),
            false => Ok(None),
        },
        (ONNX, "Pow") => power(cx, fused),
        (ONNX, _) => {
            let op = match binary_op(name) {
                Some(op) => Some(op),
                None => unary_op(name, node)?,
            };
            op.map_or(Ok(None), |op| plain(cx, fused, op))
        }
        (SARDONYX, "ClipGrad") => clip_grad(cx, fused),
        (SARDONYX, "Gate") => {
            let activation = Activation::of(node)?;
            let (y, dy) = (fused.value(cx, first)?, fused.value(cx, cx.input(1))?);
            let is_gate = activation.is_gate();
            is_gate.then(|| fused.gate(activation, y, dy)).transpose()
        }
        (SARDONYX, "UnaryGrad") => unary_grad(cx, fused),
        _ => Ok(None),
    }
}

/// One operation of all inputs.
fn plain(cx: &LowerCx<'_>, fused: &mut Fused, op: Op) -> Result<Option<Reg>> {
    let inputs: Vec<ValueId> = cx.node.inputs.iter().flatten().copied().collect();
    for &input in &inputs {
        if !matches!(cx.dtype(input)?, DType::F32 | DType::Bool) {
            return Ok(None);
        }
    }
    if inputs.len() != op.arity() {
        return Ok(None);
    }
    let args = inputs.into_iter().map(|input| fused.value(cx, input));
    let args = args.collect::<Result<Vec<Reg>>>()?;
    fused.push(op, &args).map(Some)
}

/// The kernel's operation for an operator of one input called `name`, with the attributes of
/// `node`.
fn unary_op(name: &str, node: &Node) -> Result<Option<Op>> {
    match name {
        "Gelu" => {
            let tanh = node.text("approximate", "none")? == "tanh";
            return Ok(Some(if tanh { Op::GeluTanh } else { Op::Gelu }));
        }
        "IsNaN" => return Ok(Some(Op::IsNan)),
        "Not" => return Ok(Some(Op::Not)),
        _ => {}
    }
    let Some(row) = unary::find(name) else {
        return Ok(None);
    };
    let [a, b] = row.params(node)?.map(|param| param as f32);
    Ok(Some(match name {
        "Abs" => Op::Abs,
        "Acos" => Op::Acos,
        "Acosh" => Op::Acosh,
        "Asin" => Op::Asin,
        "Asinh" => Op::Asinh,
        "Atan" => Op::Atan,
        "Atanh" => Op::Atanh,
        "Ceil" => Op::Ceil,
        "Celu" => Op::Celu(a),
        "Cos" => Op::Cos,
        "Cosh" => Op::Cosh,
        "Elu" => Op::Elu(a),
        "Erf" => Op::Erf,
        "Exp" => Op::Exp,
        "Floor" => Op::Floor,
        "HardSigmoid" => Op::HardSigmoid(a, b),
        "HardSwish" => Op::HardSwish,
        "LeakyRelu" => Op::LeakyRelu(a),
        "Log" => Op::Log,
        "Mish" => Op::Mish,
        "Neg" => Op::Neg,
        "Reciprocal" => Op::Reciprocal,
        "Relu" => Op::Relu,
        "Round" => Op::Round,
        "Selu" => Op::Selu(a, b),
        "Sigmoid" => Op::Sigmoid,
        "Sign" => Op::Sign,
        "Sin" => Op::Sin,
        "Sinh" => Op::Sinh,
        "Softplus" => Op::Softplus,
        "Softsign" => Op::Softsign,
        "Sqrt" => Op::Sqrt,
        "Tan" => Op::Tan,
        "Tanh" => Op::Tanh,
        "ThresholdedRelu" => Op::ThresholdedRelu(a),
        _ => return Ok(None),
    }))
}

fn binary_op(name: &str) -> Option<Op> {
    Some(match name {
        "Add" => Op::Add,
        "And" => Op::And,
        "Div" => Op::Div,
        "Equal" => Op::Equal,
        "Greater" => Op::Greater,
        "GreaterOrEqual" => Op::GreaterOrEqual,
        "Less" => Op::Less,
        "LessOrEqual" => Op::LessOrEqual,
        "Mul" => Op::Mul,
        "Or" => Op::Or,
        "PRelu" => Op::PRelu,
        "Sub" => Op::Sub,
        "Where" => Op::Select,
        "Xor" => Op::Xor,
        _ => return None,
    })
}

fn activation_op(activation: Activation) -> Option<Op> {
    Some(match activation {
        Activation::None => return None,
        Activation::Relu => Op::Relu,
        Activation::Clip { low, high } => Op::Clip(low, high),
        Activation::LeakyRelu { slope } => Op::LeakyRelu(slope),
        Activation::HardSigmoid { slope, offset } => Op::HardSigmoid(slope, offset),
        Activation::HardSwish => Op::HardSwish,
    })
}

fn unary_grad(cx: &LowerCx<'_>, fused: &mut Fused) -> Result<Option<Reg>> {
    let Some(op) = unary_op(cx.node.text("op", "")?, cx.node)? else {
        return Ok(None);
    };
    let x = fused.value(cx, cx.input(0))?;
    let y = fused.value(cx, cx.input(1))?;
    let dy = fused.value(cx, cx.input(2))?;
    Ok(Some(fused.program.push_gradient(op, x, y, dy)?))
}

/// The bounds of a `Clip` or its gradient, inputs `first` and on or attributes, where they are
/// known.
fn known_bounds(cx: &LowerCx<'_>, first: usize) -> Result<Option<[f32; 2]>> {
    let mut bounds = [
        cx.node.float("min", f32::NEG_INFINITY)?,
        cx.node.float("max", f32::INFINITY)?,
    ];
    for (slot, bound) in bounds.iter_mut().enumerate() {
        if cx.node.input(first + slot).is_none() {
            continue;
        }
        let Some(tensor) = cx.constant(first + slot) else {
            return Ok(None);
        };
        let values = tensor.to_f64()?;
        *bound = values.first().map_or(*bound, |&value| value as f32);
    }
    Ok(Some(bounds))
}

/// The bounds as values: an absent one is infinite.
fn bounds(cx: &LowerCx<'_>, fused: &mut Fused, first: usize) -> Result<[Reg; 2]> {
    let low = match cx.node.input(first) {
        Some(id) => fused.value(cx, id)?,
        None => fused
            .program
            .constant(cx.node.float("min", f32::NEG_INFINITY)?),
    };
    let high = match cx.node.input(first + 1) {
        Some(id) => fused.value(cx, id)?,
        None => fused.program.constant(cx.node.float("max", f32::INFINITY)?),
    };
    Ok([low, high])
}

fn clip(cx: &LowerCx<'_>, fused: &mut Fused) -> Result<Option<Reg>> {
    let x = fused.value(cx, cx.input(0))?;
    if let Some([low, high]) = known_bounds(cx, 1)? {
        return fused.push(Op::Clip(low, high), &[x]).map(Some);
    }
    let [low, high] = bounds(cx, fused, 1)?;
    let raised = fused.push(Op::Max, &[x, low])?;
    fused.push(Op::Min, &[raised, high]).map(Some)
}

fn clip_grad(cx: &LowerCx<'_>, fused: &mut Fused) -> Result<Option<Reg>> {
    let x = fused.value(cx, cx.input(0))?;
    let dy = fused.value(cx, cx.input(1))?;
    if let Some([low, high]) = known_bounds(cx, 2)? {
        return fused.push(Op::ClipGrad(low, high), &[x, dy]).map(Some);
    }
    let [low, high] = bounds(cx, fused, 2)?;
    let above = fused.push(Op::Greater, &[x, low])?;
    let below = fused.push(Op::Less, &[x, high])?;
    let inside = fused.push(Op::And, &[above, below])?;
    let zero = fused.program.constant(0.0);
    fused.push(Op::Select, &[inside, dy, zero]).map(Some)
}

fn is_infinite(cx: &LowerCx<'_>, fused: &mut Fused) -> Result<Option<Reg>> {
    let x = fused.value(cx, cx.input(0))?;
    let sign = [
        cx.node.flag("detect_negative", true)?,
        cx.node.flag("detect_positive", true)?,
    ];
    let limit = match sign {
        [true, true] => return fused.push(Op::IsInf, &[x]).map(Some),
        [true, false] => f32::NEG_INFINITY,
        [false, true] => f32::INFINITY,
        // Nothing is equal to this.
        [false, false] => f32::NAN,
    };
    let limit = fused.program.constant(limit);
    fused.push(Op::Equal, &[x, limit]).map(Some)
}

fn variadic(cx: &LowerCx<'_>, fused: &mut Fused) -> Result<Option<Reg>> {
    let op = match cx.node.op_type.as_str() {
        "Max" => Op::Max,
        "Min" => Op::Min,
        _ => Op::Add,
    };
    let mut made = fused.value(cx, cx.input(0))?;
    for index in 1..cx.node.inputs.len() {
        let next = fused.value(cx, cx.input(index))?;
        made = fused.push(op, &[made, next])?;
    }
    if cx.node.op_type == "Mean" {
        let count = fused.program.constant(cx.node.inputs.len() as f32);
        made = fused.push(Op::Div, &[made, count])?;
    }
    Ok(Some(made))
}

fn power(cx: &LowerCx<'_>, fused: &mut Fused) -> Result<Option<Reg>> {
    if cx.dtype(cx.output(0))? != DType::F32 {
        return Ok(None);
    }
    let base = fused.value(cx, cx.input(0))?;
    if let Some(tensor) = cx.constant(1)
        && let [exponent] = tensor.to_f64()?[..]
    {
        return Ok(Some(fused.program.push_power(base, exponent as f32)?));
    }
    // Whole exponents beyond what a float can hold make no finite power.
    let known = [DType::F32, DType::I32, DType::I64];
    if !known.contains(&cx.dtype(cx.input(1))?) {
        return Ok(None);
    }
    let exponent = fused.value(cx, cx.input(1))?;
    fused.push(Op::Pow, &[base, exponent]).map(Some)
}

/// `PowGrad(a, b, dy)`: the gradients by base and exponent.
pub(super) fn power_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if !cx.is_f32() {
        return Ok(None);
    }
    let mut fused = Fused::new(cx.shape(cx.output(0))?);
    let a = fused.value(cx, cx.input(0))?;
    let b = fused.value(cx, cx.input(1))?;
    let dy = fused.value(cx, cx.input(2))?;
    let zero = fused.program.constant(0.0);
    let mut results = Vec::new();
    if let Some(output) = cx.node.output(0) {
        let less = fused.push(Op::Affine(1.0, -1.0), &[b])?;
        let power = fused.push(Op::Pow, &[a, less])?;
        let slope = fused.push(Op::Mul, &[b, power])?;
        let slope = fused.push(Op::Select, &[b, slope, zero])?;
        results.push((fused.push(Op::Mul, &[slope, dy])?, Slot::Value(output)));
    }
    if let Some(output) = cx.node.output(1) {
        let power = fused.push(Op::Pow, &[a, b])?;
        let log = fused.push(Op::Log, &[a])?;
        let slope = fused.push(Op::Mul, &[power, log])?;
        let negative = fused.push(Op::Less, &[b, zero])?;
        let open = fused.push(Op::Or, &[a, negative])?;
        let slope = fused.push(Op::Select, &[open, slope, zero])?;
        results.push((fused.push(Op::Mul, &[slope, dy])?, Slot::Value(output)));
    }
    let mut lowered = Lowered::default();
    fused.finish(&mut lowered, cx, &results)?;
    Ok(Some(lowered))
}
