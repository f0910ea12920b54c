//! `Unique`: the different elements of a tensor, or the different slices along an axis.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use sardonyx_ir::{Fact, Node, ValueId};
use sardonyx_tensor::{DType, Data, Tensor};

use crate::reference::around;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Unique];

#[derive(Debug)]
struct Unique;

const SCHEMA: Schema = Schema::standard("Unique", 11, 1).outputs(4);

/// For each element, how many different smaller elements there are. NaN is over all numbers.
pub(crate) fn ranks(x: &Tensor) -> Result<Vec<usize>> {
    Ok(match x.data() {
        Data::String(texts) => dense_ranks(texts, Ord::cmp),
        Data::U64(values) => dense_ranks(values, Ord::cmp),
        _ if x.dtype().is_float() => {
            // Adding zero makes the two zeros one; the sign of a NaN says nothing.
            let same = |x: f64| if x.is_nan() { f64::NAN } else { x + 0.0 };
            let values: Vec<f64> = x.to_f64()?.into_iter().map(same).collect();
            dense_ranks(&values, f64::total_cmp)
        }
        _ => dense_ranks(&x.to_i64()?, Ord::cmp),
    })
}

fn dense_ranks<T>(values: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| compare(&values[a], &values[b]));
    let mut ranks = vec![0; values.len()];
    for pair in order.windows(2) {
        let grows = compare(&values[pair[0]], &values[pair[1]]) != Ordering::Equal;
        ranks[pair[1]] = ranks[pair[0]] + usize::from(grows);
    }
    ranks
}

fn axis(node: &Node, rank: usize) -> Result<Option<usize>> {
    if node.attributes.contains_key("axis") {
        return axis_index(node, node.int("axis", 0)?, rank).map(Some);
    }
    Ok(None)
}

impl Operator for Unique {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let list = |dim| Inferred::from(Fact::new(DType::I64, [dim]));
        let found = cx.unknown_dim(0);
        let Some(shape) = cx.shape(0)? else {
            let inverse = list(cx.unknown_dim(1));
            let values = Fact::unranked(dtype).into();
            return Ok(vec![values, list(found.clone()), inverse, list(found)]);
        };
        let (values, inverse) = match axis(cx.node, shape.len())? {
            None => {
                let count = sardonyx_ir::Dim::product(shape);
                let count = count.unwrap_or_else(|| cx.unknown_dim(1));
                (Fact::new(dtype, [found.clone()]), count)
            }
            Some(axis) => {
                let mut out = shape.to_vec();
                out[axis] = found.clone();
                (Fact::new(dtype, out), shape[axis].clone())
            }
        };
        Ok(vec![
            values.into(),
            list(found.clone()),
            list(inverse),
            list(found),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let axis = axis(cx.node, x.rank())?;
        let [outer, length, inner] = match axis {
            Some(axis) => around(x.shape(), axis)?,
            None => [1, x.len(), 1],
        };
        let sorted = cx.node.flag("sorted", true)?;
        let ranks = ranks(x)?;
        let places = |index: usize| {
            let rows = (0..outer).flat_map(move |row| (0..inner).map(move |c| (row, c)));
            rows.map(move |(row, column)| (row * length + index) * inner + column)
        };
        // Position of first appearance and count, by what a slice holds.
        let mut groups: BTreeMap<Vec<usize>, (usize, i64)> = BTreeMap::new();
        let keys: Vec<Vec<usize>> = (0..length)
            .map(|index| places(index).map(|at| ranks[at]).collect())
            .collect();
        for (index, key) in keys.iter().enumerate() {
            groups.entry(key.clone()).or_insert((index, 0)).1 += 1;
        }
        let mut found: Vec<(usize, i64)> = groups.values().copied().collect();
        if !sorted {
            found.sort_unstable();
        }
        let place_of: BTreeMap<usize, usize> = found
            .iter()
            .enumerate()
            .map(|(place, &(first, _))| (first, place))
            .collect();
        let inverse = keys
            .iter()
            .map(|key| place_of[&groups[key].0] as i64)
            .collect();
        let mut shape = match axis {
            Some(_) => x.shape().to_vec(),
            None => vec![0],
        };
        shape[axis.unwrap_or(0)] = found.len();
        let sources: Vec<usize> = (0..outer)
            .flat_map(|row| {
                found
                    .iter()
                    .map(move |&(first, _)| (row * length + first) * inner)
            })
            .flat_map(|start| start..start + inner)
            .collect();
        Ok(vec![
            x.take(shape, &sources)?,
            Tensor::vector(found.iter().map(|&(first, _)| first as i64).collect()),
            Tensor::vector(inverse),
            Tensor::vector(found.iter().map(|&(_, count)| count).collect()),
        ])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("which elements are equal does not change by little"))
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let example = Example::new(SCHEMA, name).outputs(4);
            example.no_grad("which elements are equal does not change by little")
        };
        vec![
            example("of elements").values(&[2, 3], vec![2.0f32, 1.0, 2.0, f32::NAN, -0.0, 0.0]),
            example("as they come")
                .attr("sorted", 0i64)
                .ints(&[3, 1, 3, 2]),
            example("of rows")
                .attr("axis", 0i64)
                .values(&[3, 2], vec![2i32, 1, 0, 5, 2, 1]),
            example("of text").values(&[3], ["b", "a", "b"].map(str::to_owned).to_vec()),
            example("of nothing").ints(&[]),
        ]
    }
}
