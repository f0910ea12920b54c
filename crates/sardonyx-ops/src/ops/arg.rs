//! `ArgMax` and `ArgMin`: where the extreme element of an axis stands.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::reference::around;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index, fact_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Arg { max: true }, &Arg { max: false }];

#[derive(Debug)]
struct Arg {
    max: bool,
}

impl Arg {
    /// Position of the extreme of each lane, the first or the last of equals.
    fn find<T: PartialOrd>(&self, values: &[T], lanes: [usize; 3], last: bool) -> Vec<i64> {
        let [outer, length, inner] = lanes;
        let better = |new: &T, old: &T| if self.max { new > old } else { new < old };
        let lane = |start: usize| {
            let at = |index: usize| &values[start + index * inner];
            (1..length).fold(0, |best, index| {
                let wins = better(at(index), at(best)) || (last && at(index) == at(best));
                if wins { index } else { best }
            }) as i64
        };
        let starts = (0..outer).flat_map(|row| (0..inner).map(move |c| row * length * inner + c));
        starts.map(lane).collect()
    }
}

impl Operator for Arg {
    fn schema(&self) -> Schema {
        Schema::standard(if self.max { "ArgMax" } else { "ArgMin" }, 1, 1)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        if !dtype.is_float() && !dtype.is_integer() {
            return Err(cx.invalid(format!("it does not take {dtype}")));
        }
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(DType::I64).into()]);
        };
        let axis = axis_index(cx.node, cx.node.int("axis", 0)?, shape.len())?;
        let mut out = shape.to_vec();
        if cx.node.flag("keepdims", true)? {
            out[axis] = Dim::known(1);
        } else {
            out.remove(axis);
        }
        Ok(vec![Fact::new(DType::I64, out).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let axis = axis_index(cx.node, cx.node.int("axis", 0)?, x.rank())?;
        let last = cx.node.flag("select_last_index", false)?;
        let lanes = around(x.shape(), axis)?;
        if lanes[1] == 0 && lanes[0] * lanes[2] > 0 {
            return Err(cx.invalid(format!("axis {axis} has no element")));
        }
        let found = if x.dtype().is_float() {
            self.find(&x.to_f64()?, lanes, last)
        } else {
            self.find(&x.to_i64()?, lanes, last)
        };
        let mut shape = x.shape().to_vec();
        if cx.node.flag("keepdims", true)? {
            shape[axis] = 1;
        } else {
            shape.remove(axis);
        }
        Ok(vec![Tensor::new(shape, found)?])
    }

    fn grad(&self, _cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Ok(vec![None])
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        fact_flops(cx.optional(0)?.fact, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let example = Example::new(self.schema(), name);
            example.no_grad("its result is not a float")
        };
        let ties = vec![1i32, 3, 3, 0, 0, -2];
        vec![
            example("along the first").distinct(&[3, 4]),
            example("along the last, dropped")
                .attr("axis", -1i64)
                .attr("keepdims", 0i64)
                .distinct(&[2, 3, 4]),
            example("last of ties")
                .attr("axis", 1i64)
                .attr("select_last_index", 1i64)
                .values(&[2, 3], ties),
            example("of no lane").distinct(&[3, 0]),
        ]
    }
}
