//! Where the elements of a value lie in the value that they were computed as: back through
//! transposes, reshapes, splits, slices, single picks and factors.

use sardonyx_ir::{Producer, ValueId};
use sardonyx_ops::ops::transpose::permutation;
use sardonyx_tensor::Tensor;

use super::LowerCx;
use crate::Result;

/// An axis as what it was merged from, outermost first: lengths other than 1, and strides.
type Axis = Vec<(usize, usize)>;

/// A strided part of a value, times a factor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) base: ValueId,
    pub(super) offset: usize,
    pub(super) dims: Vec<Axis>,
    pub(super) scale: f32,
}

impl Part {
    fn whole(base: ValueId, shape: &[usize]) -> Part {
        let mut dims = Vec::new();
        let mut stride = 1;
        for &len in shape.iter().rev() {
            dims.push(axis(len, stride));
            stride *= len;
        }
        dims.reverse();
        Part {
            base,
            offset: 0,
            dims,
            scale: 1.0,
        }
    }

    /// Length of every axis.
    pub(super) fn lengths(&self) -> Vec<usize> {
        let len = |axis: &Axis| axis.iter().map(|(len, _)| len).product();
        self.dims.iter().map(len).collect()
    }

    /// Elements `start..start + len` of axis `at`.
    fn narrowed(mut self, at: usize, start: usize, len: usize) -> Option<Part> {
        match self.dims[at][..] {
            [] if (start, len) == (0, 1) => {}
            [(_, stride)] => {
                self.offset += start * stride;
                self.dims[at] = axis(len, stride);
            }
            _ => return None,
        }
        Some(self)
    }

    /// The same elements in the same order as a tensor of `shape`.
    fn reshaped(mut self, shape: &[usize]) -> Option<Part> {
        let mut parts = self.dims.concat();
        let mut dims = Vec::with_capacity(shape.len());
        for &wanted in shape.iter().rev() {
            let (mut axis, mut missing) = (Axis::new(), wanted);
            while missing != 1 {
                let (len, stride) = parts.pop()?;
                if len == 0 || missing == 0 {
                    return None;
                }
                let taken = if len <= missing { len } else { missing };
                if !missing.is_multiple_of(taken) || !len.is_multiple_of(taken) {
                    return None;
                }
                axis.push((taken, stride));
                missing /= taken;
                if taken != len {
                    parts.push((len / taken, stride * taken));
                }
            }
            axis.reverse();
            dims.push(merged(axis));
        }
        dims.reverse();
        self.dims = dims;
        parts.is_empty().then_some(self)
    }
}

fn axis(len: usize, stride: usize) -> Axis {
    if len == 1 {
        Axis::new()
    } else {
        vec![(len, stride)]
    }
}

/// The axis with neighbours merged that are one run.
fn merged(axis: Axis) -> Axis {
    let mut merged = Axis::new();
    for (len, stride) in axis {
        match merged.last_mut() {
            Some((outer, step)) if *step == len * stride => {
                (*outer, *step) = (*outer * len, stride)
            }
            _ => merged.push((len, stride)),
        }
    }
    merged
}

/// The input and the factor of a node that multiplies or divides by one number.
pub(super) fn scaled(cx: &LowerCx<'_>) -> Result<Option<(ValueId, f32)>> {
    if !(cx.node.is("Mul") || cx.node.is("Div")) || !cx.is_f32() {
        return Ok(None);
    }
    let (a, b) = (cx.input(0), cx.input(1));
    let (source, factor) = match (cx.scalar(a), cx.scalar(b)) {
        (None, Some(factor)) if cx.node.is("Div") => (a, 1.0 / factor),
        (None, Some(factor)) => (a, factor),
        (Some(factor), None) if cx.node.is("Mul") => (b, factor),
        _ => return Ok(None),
    };
    let is_same = cx.shape(source)? == cx.shape(cx.output(0))?;
    Ok(is_same.then_some((source, factor)))
}

/// Follows values back.
pub(super) struct Tracer<'a, 's> {
    pub(super) cx: LowerCx<'a>,
    pub(super) producers: &'s [Option<Producer>],
}

/// Most nodes between a value and where it was computed.
const MAX_DEPTH: usize = 32;

impl Tracer<'_, '_> {
    /// Where the elements of `value` were computed.
    pub(super) fn trace(&self, value: ValueId) -> Result<Part> {
        self.trace_within(value, MAX_DEPTH)
    }

    fn trace_within(&self, value: ValueId, depth: usize) -> Result<Part> {
        let shape = self.cx.shape(value)?;
        if depth > 0
            && let Some(Producer::Node(id, slot)) = self.producers[value.index()]
        {
            let node = self.cx.graph.node(id);
            let cx = LowerCx { node, ..self.cx };
            if let Some(source) = moved(&cx)? {
                let part = self.trace_within(source, depth - 1)?;
                if let Some(part) = step(&cx, slot, part, &shape)? {
                    return Ok(part);
                }
            }
        }
        Ok(Part::whole(value, &shape))
    }
}

/// The input whose elements a node passes on; its first but for factors.
fn moved(cx: &LowerCx<'_>) -> Result<Option<ValueId>> {
    if let Some((source, _)) = scaled(cx)? {
        return Ok(Some(source));
    }
    let moves = cx.node.domain.is_empty()
        && matches!(
            cx.node.op_type.as_str(),
            "Flatten"
                | "Gather"
                | "Identity"
                | "Reshape"
                | "Slice"
                | "Split"
                | "Squeeze"
                | "Transpose"
                | "Unsqueeze"
        );
    Ok(cx.node.input(0).filter(|_| moves))
}

/// What a node, whose input is `part`, makes of it as output `slot` of `shape`.
fn step(cx: &LowerCx<'_>, slot: usize, part: Part, shape: &[usize]) -> Result<Option<Part>> {
    let mut part = part;
    Ok(match cx.node.op_type.as_str() {
        "Mul" | "Div" => {
            part.scale *= scaled(cx)?.map_or(1.0, |(_, factor)| factor);
            Some(part)
        }
        "Transpose" => {
            let axes = permutation(cx.node, part.dims.len())?;
            part.dims = axes.iter().map(|&axis| part.dims[axis].clone()).collect();
            Some(part)
        }
        "Split" => {
            let axis = cx.node.int("axis", 0)?;
            let mut start = 0;
            for &before in cx.node.outputs[..slot].iter().flatten() {
                let shape = cx.shape(before)?;
                start += at(axis, shape.len()).map_or(0, |axis| shape[axis]);
            }
            at(axis, shape.len()).and_then(|axis| part.narrowed(axis, start, shape[axis]))
        }
        "Slice" => slice(cx, part, shape)?,
        "Gather" => {
            let axis = at(cx.node.int("axis", 0)?, part.dims.len());
            let index = cx.constant(1).and_then(integers);
            match (axis, index.as_deref()) {
                (Some(axis), Some(&[index])) => {
                    let start = at(index, part.lengths()[axis]);
                    let one = start.and_then(|start| part.narrowed(axis, start, 1));
                    one.and_then(|part| part.reshaped(shape))
                }
                _ => None,
            }
        }
        _ => part.reshaped(shape),
    })
}

/// `axis` of `rank`, counted from the end where it is negative.
fn at(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

fn integers(tensor: &Tensor) -> Option<Vec<i64>> {
    if let Ok(values) = tensor.values::<i32>() {
        return Some(values.iter().map(|&value| value.into()).collect());
    }
    tensor.values::<i64>().ok().map(<[i64]>::to_vec)
}

/// A slice by constants with steps of 1.
fn slice(cx: &LowerCx<'_>, part: Part, shape: &[usize]) -> Result<Option<Part>> {
    let lengths = part.lengths();
    let Some(starts) = cx.constant(1).and_then(integers) else {
        return Ok(None);
    };
    let axes = match cx.node.input(3) {
        Some(_) => cx.constant(3).and_then(integers),
        None => Some((0..starts.len() as i64).collect()),
    };
    let steps = match cx.node.input(4) {
        Some(_) => cx.constant(4).and_then(integers),
        None => Some(vec![1; starts.len()]),
    };
    let (Some(axes), Some(steps)) = (axes, steps) else {
        return Ok(None);
    };
    if axes.len() != starts.len() || steps.iter().any(|&step| step != 1) {
        return Ok(None);
    }
    let mut part = Some(part);
    for (axis, start) in axes.into_iter().zip(starts) {
        let Some(axis) = at(axis, lengths.len()) else {
            return Ok(None);
        };
        let len = lengths[axis] as i64;
        let start = if start < 0 { start + len } else { start };
        let start = start.clamp(0, len).unsigned_abs() as usize;
        part = part.and_then(|part| part.narrowed(axis, start, shape[axis]));
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> ValueId {
        let mut graph = sardonyx_ir::Graph::new("g", 17);
        graph.add_value("x", None)
    }

    #[test]
    fn heads_of_a_projection_are_strided_parts_of_it() {
        let part = Part::whole(base(), &[2, 5, 24]).reshaped(&[2, 5, 3, 4, 2]);
        let mut part = part.expect("24 is 3 x 4 x 2");
        part.dims = [2, 0, 3, 1, 4].map(|axis| part.dims[axis].clone()).to_vec();
        let key = part.narrowed(0, 1, 1).expect("one of three");
        let key = key.reshaped(&[2, 4, 5, 2]).expect("an axis of one goes");
        let axis = |len, stride| vec![(len, stride)];
        assert_eq!(key.offset, 8);
        assert_eq!(
            key.dims,
            [axis(2, 120), axis(4, 2), axis(5, 24), axis(2, 1)]
        );
        let merged = key.clone().reshaped(&[8, 5, 2]).expect("axes merge");
        assert_eq!(merged.dims[0], [(2, 120), (4, 2)]);
        assert_eq!(merged.reshaped(&[2, 4, 5, 2]), Some(key));
    }

    #[test]
    fn runs_merge_and_other_cuts_are_refused() {
        let part = Part::whole(base(), &[4, 6]);
        let flat = part.clone().reshaped(&[24]).expect("one run");
        assert_eq!(flat.dims, [[(24, 1)]]);
        assert_eq!(flat.reshaped(&[4, 6]), Some(part.clone()));
        let mut turned = part;
        turned.dims.reverse();
        assert_eq!(turned.clone().reshaped(&[8, 3]), None);
        assert_eq!(turned.reshaped(&[25]), None);
    }

    #[test]
    fn a_part_without_elements_is_not_reshaped() {
        assert_eq!(Part::whole(base(), &[0, 3]).reshaped(&[3, 0]), None);
    }
}
