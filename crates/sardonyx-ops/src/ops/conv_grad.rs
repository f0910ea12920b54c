//! The gradients of a convolution by its input and by its weight. They exist in plans only; both
//! carry the attributes of the `Conv` whose gradient they are.

use sardonyx_ir::{Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::ops::conv::{ConvGeometry, common_float, group};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&ConvGrad::Input, &ConvGrad::Weight];

/// `ConvInputGrad(dy, w)` gives `dx`, whose spatial shape is attribute `input_shape`;
/// `ConvWeightGrad(x, dy)` gives `dw`, whose kernel is attribute `kernel_shape`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConvGrad {
    Input,
    Weight,
}

impl ConvGrad {
    const fn attribute(self) -> &'static str {
        match self {
            ConvGrad::Input => "input_shape",
            ConvGrad::Weight => "kernel_shape",
        }
    }

    /// The spatial part of the result's shape.
    fn spatial(self, node: &Node) -> Result<Vec<usize>> {
        let spatial = node.sizes(self.attribute())?;
        spatial.ok_or_else(|| {
            node.attribute_error(self.attribute(), "must be given")
                .into()
        })
    }

    /// The convolution's geometry, from the shapes of the two inputs.
    fn geometry(self, node: &Node, a: &[usize], b: &[usize]) -> Result<ConvGeometry> {
        let spatial = self.spatial(node)?;
        if a.len() < 3 || a.len() != b.len() || a.len() != spatial.len() + 2 {
            let problem = format!("shapes {a:?} and {b:?} are not those of a convolution");
            return Err(OpError::invalid(node, problem));
        }
        let group = group(node)?;
        let overflow = || OpError::invalid(node, "the number of channels overflows");
        let (x, w, dy) = match self {
            ConvGrad::Input => {
                let channels = b[1].checked_mul(group).ok_or_else(overflow)?;
                ([&[a[0], channels], &spatial[..]].concat(), b.to_vec(), a)
            }
            ConvGrad::Weight => {
                let w = [&[b[1], a[1] / group], &spatial[..]].concat();
                (a.to_vec(), w, b)
            }
        };
        let geometry = ConvGeometry::read(node, &x, &w)?;
        if geometry.y_shape() != dy {
            let problem = format!(
                "the output's gradient is of shape {dy:?}, the convolution's output of {:?}",
                geometry.y_shape()
            );
            return Err(OpError::invalid(node, problem));
        }
        Ok(geometry)
    }
}

impl Operator for ConvGrad {
    fn schema(&self) -> Schema {
        match self {
            ConvGrad::Input => Schema::own("ConvInputGrad", 2),
            ConvGrad::Weight => Schema::own("ConvWeightGrad", 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = common_float(cx)?;
        let spatial = self.spatial(cx.node)?;
        let fixed = |index| Ok::<_, OpError>(cx.input(index)?.fact.fixed_shape());
        if let (Some(a), Some(b)) = (fixed(0)?, fixed(1)?) {
            self.geometry(cx.node, &a, &b)?;
        }
        let (Some(a), Some(b)) = (cx.shape(0)?, cx.shape(1)?) else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        if a.len() != spatial.len() + 2 || a.len() != b.len() {
            return Err(cx.invalid("its inputs are not of the rank that its attributes ask for"));
        }
        let group = Dim::known(group(cx.node)?);
        let channels = match self {
            ConvGrad::Input => b[1].checked_mul(&group),
            ConvGrad::Weight => a[1].checked_div(&group),
        };
        let lead = match self {
            ConvGrad::Input => a[0].clone(),
            ConvGrad::Weight => b[1].clone(),
        };
        let mut dims = vec![lead, channels.unwrap_or_else(|| cx.unknown_dim(1))];
        dims.extend(spatial.into_iter().map(Dim::known));
        Ok(vec![Fact::new(dtype, dims).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (a, b) = (cx.input(0)?, cx.input(1)?);
        let geometry = self.geometry(cx.node, a.shape(), b.shape())?;
        let (p, q) = (a.to_f64()?, b.to_f64()?);
        let shape = match self {
            ConvGrad::Input => geometry.x_shape(),
            ConvGrad::Weight => geometry.w_shape(),
        };
        let mut out = vec![0.0; element_count(&shape)?];
        match self {
            ConvGrad::Input => geometry.products(|x, w, y| out[x] += p[y] * q[w]),
            ConvGrad::Weight => geometry.products(|x, w, y| out[w] += p[x] * q[y]),
        }
        Ok(vec![Tensor::from_f64(a.dtype(), shape, out)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let shape = |index| cx.input(index).ok()?.fact.fixed_shape();
        let geometry = self.geometry(cx.node, &shape(0)?, &shape(1)?);
        Some(geometry.ok()?.flops())
    }

    fn examples(&self) -> Vec<Example> {
        let (dy, w, x) = ([2, 6, 2, 5], [6, 2, 3, 2], [2, 4, 5, 6]);
        let (a, b) = match self {
            ConvGrad::Input => (dy, w),
            ConvGrad::Weight => (x, dy),
        };
        let spatial: &[usize] = match self {
            ConvGrad::Input => &x[2..],
            ConvGrad::Weight => &w[2..],
        };
        let example = Example::new(self.schema(), "strided, in groups")
            .uniform(&a, (-1.0, 1.0))
            .uniform(&b, (-1.0, 1.0))
            .attr(self.attribute(), spatial)
            .attr("group", 2i64)
            .attr("strides", vec![2i64, 1]);
        vec![example.no_grad("second derivatives are not supported")]
    }
}
