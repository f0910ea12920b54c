//! Arithmetic, comparison and choice of integers and truth values; conversions; positions of
//! extremes.

use sardonyx_kernels::{ArgReduce, AxisShape, Cast, IntegerMap, IntegerOp, Select, View};
use sardonyx_tensor::DType;

use super::{LowerCx, Lowered, Slot, elementwise};
use crate::Result;

/// Operators of two inputs; those of floats are programs.
pub(super) fn binary(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if let Some(lowered) = elementwise::lower(cx)? {
        return Ok(Some(lowered));
    }
    let op = match cx.node.op_type.as_str() {
        "Add" => IntegerOp::Add,
        "And" => IntegerOp::And,
        "BitwiseAnd" => IntegerOp::BitAnd,
        "BitwiseOr" => IntegerOp::BitOr,
        "BitwiseXor" => IntegerOp::BitXor,
        "Div" => IntegerOp::Div,
        "Equal" => IntegerOp::Equal,
        "Greater" => IntegerOp::Greater,
        "GreaterOrEqual" => IntegerOp::GreaterOrEqual,
        "Less" => IntegerOp::Less,
        "LessOrEqual" => IntegerOp::LessOrEqual,
        "Max" => IntegerOp::Max,
        "Min" => IntegerOp::Min,
        "Mod" if cx.node.flag("fmod", false)? => IntegerOp::Fmod,
        "Mod" => IntegerOp::Mod,
        "Mul" => IntegerOp::Mul,
        "Or" => IntegerOp::Or,
        "Sub" => IntegerOp::Sub,
        "Xor" => IntegerOp::Xor,
        _ => return Ok(None),
    };
    let [Some(x), Some(y)] = cx.node.inputs[..] else {
        return Ok(None);
    };
    let dtype = cx.dtype(x)?;
    let known = [DType::I64, DType::I32, DType::U8, DType::Bool];
    if !known.contains(&dtype) || cx.dtype(y)? != dtype {
        return Ok(None);
    }
    let dims = cx.shape(cx.output(0))?;
    let views = [
        View::broadcast(&cx.shape(x)?, &dims)?,
        View::broadcast(&cx.shape(y)?, &dims)?,
    ];
    let kernel = IntegerMap::new(op, dtype, &dims, views)?;
    let operands = [x, y, cx.output(0)].map(Slot::Value).to_vec();
    Ok(Some(Lowered::call(kernel, operands)))
}

pub(super) fn select(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if let Some(lowered) = elementwise::lower(cx)? {
        return Ok(Some(lowered));
    }
    let inputs = [0, 1, 2].map(|index| cx.input(index));
    let dims = cx.shape(cx.output(0))?;
    let mut views = Vec::with_capacity(3);
    for input in inputs {
        views.push(View::broadcast(&cx.shape(input)?, &dims)?);
    }
    let views = <[View; 3]>::try_from(views).expect("a view per input");
    let kernel = Select::new(cx.dtype(inputs[1])?, &dims, views)?;
    let mut operands = inputs.map(Slot::Value).to_vec();
    operands.push(Slot::Value(cx.output(0)));
    Ok(Some(Lowered::call(kernel, operands)))
}

/// Conversions; of a type to itself nothing is done.
pub(super) fn cast(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (x, y) = (cx.input(0), cx.output(0));
    let (from, to) = (cx.dtype(x)?, cx.dtype(y)?);
    if from == to {
        return super::view::view(cx);
    }
    // Types that the kernel does not know are left to the reference.
    let len = cx.shape(x)?.iter().product();
    let kernel = Cast::new(from, to, len).ok();
    Ok(kernel.map(|kernel| Lowered::call(kernel, vec![Slot::Value(x), Slot::Value(y)])))
}

/// `ArgMax` and `ArgMin`.
pub(super) fn arg(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let x = cx.input(0);
    let shape = cx.shape(x)?;
    let axis = cx.node.int("axis", 0)?;
    let axis = usize::try_from(if axis < 0 {
        axis + shape.len() as i64
    } else {
        axis
    });
    let axis = axis.ok().filter(|&axis| axis < shape.len());
    let Some(axis) = axis.filter(|_| cx.dtype(x).is_ok_and(|dtype| dtype == DType::F32)) else {
        return Ok(None);
    };
    let lanes = AxisShape::new(&shape, axis);
    let mut kernel = match cx.node.op_type.as_str() {
        "ArgMax" => ArgReduce::largest(lanes),
        _ => ArgReduce::smallest(lanes),
    };
    if cx.node.flag("select_last_index", false)? {
        kernel = kernel.last_of_equals();
    }
    let operands = vec![Slot::Value(x), Slot::Value(cx.output(0))];
    Ok(Some(Lowered::call(kernel, operands)))
}
