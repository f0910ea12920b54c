//! Plan operators of two-dimensional pooling over channels-last images. Max-pooling also gives the
//! winning window position of each element (`argmax`, a byte), which its gradient scatters by.

use sardonyx_ir::{Attr, Fact, Node, SARDONYX, ValueId};
use sardonyx_tensor::{DType, Tensor, element_count};

use crate::window::WindowAxis;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &Pool::Average,
    &Pool::AverageGrad,
    &Pool::Max,
    &Pool::MaxGrad,
];

/// `AveragePoolNhwc(x)`, `AveragePoolNhwcGrad(dy)`, `MaxPoolNhwc(x) -> y, argmax`,
/// `MaxPoolNhwcGrad(dy, argmax)`; attributes of [`Pool2d`], and `image` of the gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Average,
    AverageGrad,
    Max,
    MaxGrad,
}

/// Largest window side, stride, dilation, padding or image side.
const MAX_SIZE: usize = 1 << 20;

/// Geometry of a two-dimensional pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2d {
    /// Rows and columns of the input.
    pub input: [usize; 2],
    /// Rows and columns of the output.
    pub output: [usize; 2],
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Steps.
    pub strides: [usize; 2],
    /// Rows above, columns left, rows below, columns right.
    pub pads: [usize; 4],
    /// Distances between window positions.
    pub dilations: [usize; 2],
    /// Whether padding counts in an average.
    pub count_include_pad: bool,
}

impl Pool2d {
    /// The pool whose windows are those of `axes`.
    pub fn new(axes: &[WindowAxis], count_include_pad: bool) -> Option<Pool2d> {
        let [a, b] = axes else { return None };
        Some(Pool2d {
            input: [a.input, b.input],
            output: [a.output, b.output],
            kernel: [a.kernel, b.kernel],
            strides: [a.stride, b.stride],
            pads: [a.pad_begin, b.pad_begin, a.pad_end, b.pad_end],
            dilations: [a.dilation, b.dilation],
            count_include_pad,
        })
    }

    /// Reads the attributes.
    ///
    /// # Errors
    /// When one is missing or malformed.
    pub fn of(node: &Node) -> Result<Pool2d> {
        fn sizes<const N: usize>(node: &Node, name: &str) -> Result<[usize; N]> {
            let values = node.sizes(name)?.and_then(|values| values.try_into().ok());
            values.ok_or_else(|| node.attribute_error(name, "has the wrong length").into())
        }
        let pool = Pool2d {
            input: sizes(node, "input")?,
            output: sizes(node, "output")?,
            kernel: sizes(node, "kernel_shape")?,
            strides: sizes(node, "strides")?,
            pads: sizes(node, "pads")?,
            dilations: sizes(node, "dilations")?,
            count_include_pad: node.flag("count_include_pad", false)?,
        };
        let sizes = [pool.kernel, pool.strides, pool.dilations];
        let is_size = |n: &usize| (1..=MAX_SIZE).contains(n);
        let in_range = sizes.iter().flatten().all(is_size)
            && pool
                .pads
                .iter()
                .chain(&pool.input)
                .chain(&pool.output)
                .all(|n| *n <= MAX_SIZE);
        if !in_range || pool.kernel[0] * pool.kernel[1] > 255 {
            return Err(OpError::invalid(node, "a window is empty or too large"));
        }
        Ok(pool)
    }

    /// The attributes that [`Pool2d::of`] reads.
    pub fn attributes(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("input", Attr::from(&self.input[..])),
            ("output", Attr::from(&self.output[..])),
            ("kernel_shape", Attr::from(&self.kernel[..])),
            ("strides", Attr::from(&self.strides[..])),
            ("pads", Attr::from(&self.pads[..])),
            ("dilations", Attr::from(&self.dilations[..])),
            (
                "count_include_pad",
                Attr::Int(i64::from(self.count_include_pad)),
            ),
        ]
    }

    /// Whether windows lie side by side without padding, so that a convolution can pool its own
    /// result; rows and columns that no window covers are left out.
    pub fn is_tiling(&self) -> bool {
        let covers = |axis: usize| self.output[axis] == self.input[axis] / self.kernel[axis];
        self.kernel == self.strides
            && self.pads == [0; 4]
            && self.dilations == [1; 2]
            && covers(0)
            && covers(1)
    }

    /// Input pixels of the window of output pixel `(y, x)`, each with its position.
    fn window(&self, y: usize, x: usize) -> Vec<(usize, usize)> {
        let source = |axis: usize, at: usize, tap: usize| {
            let padded = at * self.strides[axis] + tap * self.dilations[axis];
            padded
                .checked_sub(self.pads[axis])
                .filter(|&i| i < self.input[axis])
        };
        let positions = 0..self.kernel[0] * self.kernel[1];
        let pixel = |q: usize| {
            let row = source(0, y, q / self.kernel[1])?;
            Some((q, row * self.input[1] + source(1, x, q % self.kernel[1])?))
        };
        positions.filter_map(pixel).collect()
    }

    /// What a window's sum is divided by.
    fn divisor(&self, y: usize, x: usize) -> usize {
        if !self.count_include_pad {
            return self.window(y, x).len().max(1);
        }
        // A window of ceil mode may reach over the padding: what lies beyond does not count.
        let size = |axis: usize, at: usize| {
            let limit = self.input[axis] + self.pads[axis] + self.pads[axis + 2];
            let taps = (0..self.kernel[axis]).map(|tap| tap * self.dilations[axis]);
            taps.filter(|tap| at * self.strides[axis] + tap < limit)
                .count()
        };
        (size(0, y) * size(1, x)).max(1)
    }

    /// Calls `f(output pixel of the batch, first input pixel of the image, y, x)`.
    fn outputs(&self, batch: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        let [height, width] = self.output;
        for image in 0..batch {
            let first = image * self.input[0] * self.input[1];
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                f((image * height + y) * width + x, first, y, x);
            }
        }
    }
}

/// Batch and channels of the first input, which must have the size that the attributes say.
fn batch_and_channels(node: &Node, x: &[usize], size: [usize; 2]) -> Result<[usize; 2]> {
    match x {
        &[batch, height, width, channels] if [height, width] == size => Ok([batch, channels]),
        _ => Err(OpError::invalid(
            node,
            format!("it takes images of {size:?}, not {x:?}"),
        )),
    }
}

impl Pool {
    const fn is_grad(self) -> bool {
        matches!(self, Pool::AverageGrad | Pool::MaxGrad)
    }

    fn eval_f64(self, cx: &EvalCx<'_>, pool: &Pool2d) -> Result<(Vec<f64>, Vec<u8>)> {
        let x = cx.input(0)?;
        let from = if self.is_grad() {
            pool.output
        } else {
            pool.input
        };
        let [batch, channels] = batch_and_channels(cx.node, x.shape(), from)?;
        let to = if self.is_grad() {
            pool.input
        } else {
            pool.output
        };
        let mut out = vec![0.0; element_count(&[batch, to[0], to[1], channels])?];
        let values = x.to_f64()?;
        let mut argmax = Vec::new();
        let given = match self {
            Pool::MaxGrad => cx.input(1)?.values::<u8>()?,
            _ => &[],
        };
        pool.outputs(batch, |pixel, first, y, x| {
            let window = pool.window(y, x);
            let divisor = pool.divisor(y, x) as f64;
            for channel in 0..channels {
                let (at, near) = (pixel * channels + channel, |p| {
                    (first + p) * channels + channel
                });
                match self {
                    Pool::Average => {
                        let sum: f64 = window.iter().map(|&(_, p)| values[near(p)]).sum();
                        out[at] = sum / divisor;
                    }
                    Pool::AverageGrad => {
                        for &(_, p) in &window {
                            out[near(p)] += values[at] / divisor;
                        }
                    }
                    Pool::Max => {
                        let (mut best, mut position) = (f64::NEG_INFINITY, 0);
                        for &(q, p) in &window {
                            if values[near(p)] > best || values[near(p)].is_nan() {
                                (best, position) = (values[near(p)], q);
                            }
                        }
                        out[at] = best;
                        argmax.push(position as u8);
                    }
                    Pool::MaxGrad => {
                        let winner = given.get(at).map(|&q| usize::from(q));
                        for &(_, p) in window.iter().filter(|(q, _)| Some(*q) == winner) {
                            out[near(p)] += values[at];
                        }
                    }
                }
            }
        });
        Ok((out, argmax))
    }
}

impl Operator for Pool {
    fn schema(&self) -> Schema {
        match self {
            Pool::Average => Schema::own("AveragePoolNhwc", 1),
            Pool::AverageGrad => Schema::own("AveragePoolNhwcGrad", 1),
            Pool::Max => Schema::own("MaxPoolNhwc", 1).outputs(2),
            Pool::MaxGrad => Schema::own("MaxPoolNhwcGrad", 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let pool = Pool2d::of(cx.node)?;
        let shape = cx.input(0)?.fact.fixed_shape();
        let shape = shape.ok_or_else(|| cx.invalid("a plan operator needs fixed shapes"))?;
        let (from, to) = match self.is_grad() {
            true => (pool.output, pool.input),
            false => (pool.input, pool.output),
        };
        let [batch, channels] = batch_and_channels(cx.node, &shape, from)?;
        let argmax = Fact::fixed(DType::U8, &shape);
        let fits = *self != Pool::MaxGrad || *cx.input(1)?.fact == argmax;
        if !fits || !cx.dtype(0)?.is_float() {
            return Err(cx.invalid("it takes floats, and argmax of their shape"));
        }
        let shape = [batch, to[0], to[1], channels];
        element_count(&shape)?;
        let y = Fact::fixed(cx.dtype(0)?, &shape);
        Ok(vec![y.into(), Fact::fixed(DType::U8, &shape).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let pool = Pool2d::of(cx.node)?;
        let (values, argmax) = self.eval_f64(cx, &pool)?;
        let x = cx.input(0)?;
        let to = if self.is_grad() {
            pool.input
        } else {
            pool.output
        };
        let shape = [x.shape()[0], to[0], to[1], x.shape()[3]];
        let mut outputs = vec![Tensor::from_f64(x.dtype(), shape, values)?];
        if *self == Pool::Max {
            outputs.push(Tensor::new(shape, argmax)?);
        }
        Ok(outputs)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let attributes = Pool2d::of(cx.node)?.attributes();
        let dy = Some(cx.output_grad(0)?);
        let (name, inputs) = match self {
            Pool::Average => ("AveragePoolNhwcGrad", vec![dy]),
            Pool::Max => ("MaxPoolNhwcGrad", vec![dy, Some(cx.output(1)?)]),
            _ => return Err(cx.not_differentiable("it is part of a gradient itself")),
        };
        Ok(vec![Some(
            cx.builder.node((SARDONYX, name), &inputs, &attributes, 1)?[0],
        )])
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let pool = Pool2d::of(cx.node).ok()?;
        crate::element_flops(outputs, (pool.kernel[0] * pool.kernel[1]) as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let tiling = Pool2d {
            input: [5, 4],
            output: [2, 2],
            kernel: [2, 2],
            strides: [2, 2],
            pads: [0; 4],
            dilations: [1; 2],
            count_include_pad: false,
        };
        let padded = Pool2d {
            output: [3, 3],
            kernel: [3, 2],
            pads: [1; 4],
            ..tiling
        };
        let counted = Pool2d {
            count_include_pad: true,
            ..padded
        };
        let example = |name: &str, pool: &Pool2d| {
            let mut example = Example::new(self.schema(), name).distinct(&[2, 5, 4, 3]);
            for (name, value) in pool.attributes() {
                example = example.attr(name, value);
            }
            if *self == Pool::Max {
                example.outputs(2)
            } else {
                example
            }
        };
        match self {
            // The gradients are held against finite differences as those of the pools.
            Pool::AverageGrad | Pool::MaxGrad => Vec::new(),
            _ => vec![
                example("tiling", &tiling),
                example("padded", &padded),
                example("counting the padding", &counted),
            ],
        }
    }
}
