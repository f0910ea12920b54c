//! `Einsum`: sums of products of elements, as an equation over labelled axes says. Its gradient is
//! an equation of the same kind for each operand.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count, strides, unravel};

use crate::reference::{claimed_count, from_i64};
use crate::{
    Builder, EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Einsum];

#[derive(Debug)]
struct Einsum;

const SCHEMA: Schema = Schema::standard("Einsum", 12, 1).inputs(1, usize::MAX);

/// Labels of axes. An ellipsis is written out, with labels of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Equation {
    operands: Vec<Vec<u32>>,
    output: Vec<u32>,
}

/// Labels of the axes of an ellipsis, the last axis first, lie beyond those of letters.
const ELLIPSIS: u32 = 1 << 16;

impl Equation {
    /// The equation of `node`, whose operands have these ranks.
    fn of(node: &Node, ranks: &[usize]) -> Result<Equation> {
        let wrong = |problem: &str| {
            let text = node.text("equation", "").unwrap_or_default();
            OpError::invalid(node, format!("equation `{text}` {problem}"))
        };
        let text = node.text("equation", "")?.replace(' ', "");
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(wrong(&format!("does not have {} operands", ranks.len())));
        }
        let mut widest = 0;
        let mut operands = Vec::with_capacity(terms.len());
        for (term, &rank) in terms.iter().zip(ranks) {
            let letters = term.replace("...", "").chars().count();
            let hidden = rank.checked_sub(letters);
            let hidden = hidden.filter(|&hidden| hidden == 0 || term.contains("..."));
            let hidden = hidden.ok_or_else(|| wrong(&format!("does not fit rank {rank}")))?;
            widest = widest.max(hidden);
            operands.push(labels(term, hidden).ok_or_else(|| wrong("is not well formed"))?);
        }
        let output = match right {
            Some(term) => labels(term, widest).ok_or_else(|| wrong("is not well formed"))?,
            None => implicit_output(&operands, widest),
        };
        let known = |label: &u32| operands.iter().any(|operand| operand.contains(label));
        let twice = |(at, label): (usize, &u32)| output[..at].contains(label);
        if !output.iter().all(known) || output.iter().enumerate().any(twice) {
            return Err(wrong("has an output label that is unknown or repeated"));
        }
        Ok(Equation { operands, output })
    }

    /// The equation as text, with a letter for each label.
    fn text(operands: &[Vec<u32>], output: &[u32]) -> Option<String> {
        let mut letters: BTreeMap<u32, char> = BTreeMap::new();
        let mut free = ('a'..='z').chain('A'..='Z');
        for &label in operands.iter().flatten() {
            if let Entry::Vacant(entry) = letters.entry(label) {
                entry.insert(free.next()?);
            }
        }
        let term = |labels: &[u32]| {
            labels
                .iter()
                .map(|label| letters[label])
                .collect::<String>()
        };
        let operands: Vec<String> = operands.iter().map(|labels| term(labels)).collect();
        Some(format!("{}->{}", operands.join(","), term(output)))
    }
}

/// The labels of a term whose ellipsis stands for `hidden` axes.
fn labels(term: &str, hidden: usize) -> Option<Vec<u32>> {
    let ellipsis = (0..hidden as u32).rev().map(|axis| ELLIPSIS + axis);
    let letters = |text: &str| {
        let letter = |c: char| c.is_ascii_alphabetic().then_some(u32::from(c));
        text.chars().map(letter).collect::<Option<Vec<u32>>>()
    };
    match term.split_once("...") {
        None => letters(term),
        Some((before, after)) => {
            Some([letters(before)?, ellipsis.collect(), letters(after)?].concat())
        }
    }
}

/// Without an arrow, the output has the ellipsis, then the labels that appear once, sorted.
fn implicit_output(operands: &[Vec<u32>], widest: usize) -> Vec<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for &label in operands.iter().flatten().filter(|&&label| label < ELLIPSIS) {
        *counts.entry(label).or_default() += 1;
    }
    let once = counts
        .into_iter()
        .filter(|&(_, count)| count == 1)
        .map(|(label, _)| label);
    (0..widest as u32)
        .rev()
        .map(|axis| ELLIPSIS + axis)
        .chain(once)
        .collect()
}

/// Length of each label's axis: that of its axes, or of those that are not one.
fn sizes(node: &Node, equation: &Equation, shapes: &[&[Dim]]) -> Result<BTreeMap<u32, Dim>> {
    let mut sizes: BTreeMap<u32, Dim> = BTreeMap::new();
    for (labels, shape) in equation.operands.iter().zip(shapes) {
        for (label, dim) in labels.iter().zip(*shape) {
            let known = sizes.entry(*label).or_insert_with(|| dim.clone());
            match (known.value(), dim.value()) {
                (Some(a), Some(b)) if a != b && a != 1 && b != 1 => {
                    let problem = format!("axes of one label have {a} and {b} elements");
                    return Err(OpError::invalid(node, problem));
                }
                (Some(1), _) => *known = dim.clone(),
                (None, Some(n)) if n != 1 => *known = dim.clone(),
                _ => {}
            }
        }
    }
    Ok(sizes)
}

/// Strides of an operand by label: a repeated label walks the diagonal, an axis of one stays.
fn label_strides(labels: &[u32], shape: &[usize], order: &[u32]) -> Vec<usize> {
    let own = strides(shape);
    let axes = |label: u32| (0..labels.len()).filter(move |&axis| labels[axis] == label);
    let stride = |&label: &u32| {
        axes(label)
            .filter(|&axis| shape[axis] != 1)
            .map(|axis| own[axis])
            .sum()
    };
    order.iter().map(stride).collect()
}

/// Sums of products. `order` is the output's labels, then those that are summed over.
fn evaluate(cx: &EvalCx<'_>) -> Result<(Vec<usize>, Vec<f64>)> {
    let inputs = (0..cx.inputs.len())
        .map(|i| cx.input(i))
        .collect::<Result<Vec<_>>>()?;
    let ranks: Vec<usize> = inputs.iter().map(|x| x.rank()).collect();
    let equation = Equation::of(cx.node, &ranks)?;
    let dims: Vec<Vec<Dim>> = inputs
        .iter()
        .map(|x| x.shape().iter().copied().map(Dim::known).collect())
        .collect();
    let shapes: Vec<&[Dim]> = dims.iter().map(Vec::as_slice).collect();
    let sizes = sizes(cx.node, &equation, &shapes)?;
    let size = |label: &u32| sizes[label].value().expect("all shapes are numbers");
    let summed = sizes
        .keys()
        .copied()
        .filter(|label| !equation.output.contains(label));
    let order: Vec<u32> = equation.output.iter().copied().chain(summed).collect();
    let lengths: Vec<usize> = order.iter().map(size).collect();
    let strides: Vec<Vec<usize>> = (equation.operands.iter().zip(&inputs))
        .map(|(labels, x)| label_strides(labels, x.shape(), &order))
        .collect();
    let values = inputs
        .iter()
        .map(|x| x.to_f64())
        .collect::<Result<Vec<_>, _>>()?;
    let shape = lengths[..equation.output.len()].to_vec();
    let inner = element_count(&lengths[equation.output.len()..])?;
    let mut out = vec![0.0; claimed_count(cx.node, &shape)?];
    let mut coords = vec![0; order.len()];
    for index in 0..element_count(&lengths)? {
        unravel(index, &lengths, &mut coords);
        let at = |strides: &[usize]| {
            coords
                .iter()
                .zip(strides)
                .map(|(c, s)| c * s)
                .sum::<usize>()
        };
        let product = strides
            .iter()
            .zip(&values)
            .map(|(strides, v)| v[at(strides)]);
        out[index / inner] += product.product::<f64>();
    }
    Ok((shape, out))
}

impl Operator for Einsum {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let mut shapes = Vec::with_capacity(cx.inputs.len());
        for index in 0..cx.inputs.len() {
            match cx.shape(index)? {
                Some(shape) => shapes.push(shape),
                None => return Ok(vec![Fact::unranked(dtype).into()]),
            }
        }
        let ranks: Vec<usize> = shapes.iter().map(|shape| shape.len()).collect();
        let equation = Equation::of(cx.node, &ranks)?;
        let sizes = sizes(cx.node, &equation, &shapes)?;
        Ok(vec![
            Fact::new(
                dtype,
                equation.output.iter().map(|label| sizes[label].clone()),
            )
            .into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (shape, values) = evaluate(cx)?;
        let dtype = cx.input(0)?.dtype();
        Ok(vec![if dtype.is_float() {
            Tensor::from_f64(dtype, shape, values)?
        } else {
            // Integers below 2^53 are exact in `f64`; ONNX leaves overflow undefined.
            from_i64(
                dtype,
                &shape,
                values.into_iter().map(|v| v as i64).collect(),
            )?
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let dy = cx.output_grad(0)?;
        let inputs = (0..cx.node.inputs.len())
            .map(|i| cx.input(i))
            .collect::<Result<Vec<_>>>()?;
        let ranks = inputs.iter().map(|&x| Ok(cx.builder.shape(x)?.len()));
        let equation = Equation::of(cx.node, &ranks.collect::<Result<Vec<_>>>()?)?;
        let mut grads = vec![None; inputs.len()];
        let operands = Operands {
            dy,
            inputs: &inputs,
            equation: &equation,
        };
        for (index, grad) in grads.iter_mut().enumerate() {
            if cx.wants(index) {
                *grad = Some(operand_grad(cx, operands, index)?);
            }
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let shapes = (0..cx.inputs.len()).map(|index| cx.shape(index).ok()?);
        let shapes = shapes.collect::<Option<Vec<_>>>()?;
        let ranks: Vec<usize> = shapes.iter().map(|shape| shape.len()).collect();
        let sizes = sizes(cx.node, &Equation::of(cx.node, &ranks).ok()?, &shapes).ok()?;
        let products = Dim::product(sizes.values())?.value()? as u64;
        products.checked_mul(cx.inputs.len() as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |equation: &str, shapes: &[&[usize]]| {
            let example = Example::new(SCHEMA, equation).attr("equation", equation);
            shapes.iter().fold(example, |example, shape| {
                example.uniform(shape, (-1.0, 1.0))
            })
        };
        vec![
            example("ij,jk->ik", &[&[2, 3], &[3, 4]]),
            example("ij, jk", &[&[2, 3], &[3, 4]]),
            example("bhid,bhjd->bhij", &[&[2, 1, 3, 2], &[2, 1, 2, 2]]),
            example("...ij,...jk->...ik", &[&[2, 1, 2, 3], &[4, 3, 2]]),
            example("...i->...", &[&[2, 3]]),
            example("ij->", &[&[2, 3]]),
            example("ij->ji", &[&[2, 3]]),
            example("ii->i", &[&[3, 3]]),
            example("ii", &[&[3, 3]]),
            example("iji,k->kj", &[&[2, 3, 2], &[4]]),
            example("i,j,k->kij", &[&[2], &[3], &[2]]),
            example("ij,ij->j", &[&[1, 3], &[4, 3]]),
            example("ij,jk->ik", &[&[0, 3], &[3, 2]]),
        ]
    }
}

#[derive(Clone, Copy)]
struct Operands<'a> {
    dy: ValueId,
    inputs: &'a [ValueId],
    equation: &'a Equation,
}

/// The gradient by operand `index`: `dy` times the other operands, summed over what is not in it.
fn operand_grad(cx: &mut GradCx<'_, '_>, operands: Operands<'_>, index: usize) -> Result<ValueId> {
    let Operands {
        dy,
        inputs,
        equation,
    } = operands;
    let x = inputs[index];
    let mut values = vec![dy];
    let mut terms = vec![equation.output.clone()];
    for (other, &value) in inputs
        .iter()
        .enumerate()
        .filter(|&(other, _)| other != index)
    {
        values.push(value);
        terms.push(equation.operands[other].clone());
    }
    // Off the diagonal of a repeated label the gradient is zero: each repetition gets its own
    // label, and an identity matrix that ties it to the first.
    let mut own = equation.operands[index].clone();
    for axis in 1..own.len() {
        let label = own[axis];
        if own[..axis].contains(&label) {
            let dim = cx.builder.shape(x)?[axis].value();
            let size = dim.ok_or_else(|| cx.invalid("the length of a diagonal is unknown"))?;
            own[axis] = 2 * ELLIPSIS + axis as u32;
            values.push(identity(cx.builder, x, size)?);
            terms.push(vec![label, own[axis]]);
        }
    }
    // A label that appears nowhere else was summed over by itself: its gradient is repeated.
    let appears = |label: &u32| terms.iter().any(|term| term.contains(label));
    let present: Vec<u32> = own.iter().copied().filter(appears).collect();
    let missing: Vec<i64> = (0..own.len())
        .filter(|&axis| !appears(&own[axis]))
        .map(|axis| axis as i64)
        .collect();
    let text = Equation::text(&terms, &present);
    let text = text.ok_or_else(|| cx.invalid("it has more labels than there are letters"))?;
    let mut grad = cx.builder.op(
        "Einsum",
        &values,
        &[("equation", Attr::from(text.as_str()))],
    )?;
    if !missing.is_empty() {
        let axes = cx.builder.ints(&missing);
        grad = cx.builder.op("Unsqueeze", &[grad, axes], &[])?;
    }
    if cx.builder.shape(grad)? != cx.builder.shape(x)? {
        let shape = cx.builder.shape_of(x)?;
        grad = cx.builder.op("Expand", &[grad, shape], &[])?;
    }
    cx.builder.unbroadcast(grad, x)
}

fn identity(builder: &mut Builder<'_>, like: ValueId, size: usize) -> Result<ValueId> {
    let one = |index: usize| f64::from(u8::from(index / size == index % size));
    let values = (0..size * size).map(one).collect();
    let tensor = Tensor::from_f64(builder.dtype(like)?, vec![size, size], values)?;
    Ok(builder.tensor(tensor))
}
