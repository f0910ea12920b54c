//! `Conv`, a convolution of any rank with groups, strides, dilations and padding. The three
//! products of a convolution (output, gradient by the input, gradient by the weight) run over the
//! same triples of elements, which [`ConvGeometry::products`] enumerates.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::window::{WindowAxis, WindowSpec, taps};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Conv];

#[derive(Debug)]
struct Conv;

const SCHEMA: Schema = Schema::standard("Conv", 1, 2).inputs(2, 3);

/// Sizes of a convolution. Tensors are `x[batch, in_channels, spatial..]`,
/// `w[out_channels, in_channels / group, kernel..]`, `y[batch, out_channels, spatial..]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Samples.
    pub batch: usize,
    /// Groups of channels that do not see each other; divides both numbers of channels.
    pub group: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Windows by spatial axis.
    pub axes: Vec<WindowAxis>,
}

impl ConvGeometry {
    /// Reads the geometry of a node with the attributes of `Conv`, given the shapes of its `x`
    /// and `w`.
    ///
    /// # Errors
    /// When the shapes and attributes make no convolution.
    pub fn read(node: &Node, x: &[usize], w: &[usize]) -> Result<ConvGeometry> {
        let (&[batch, in_channels, ref input @ ..], &[out_channels, per_group, ref kernel @ ..]) =
            (x, w)
        else {
            let problem = format!("shapes {x:?} and {w:?} are of too low a rank");
            return Err(OpError::invalid(node, problem));
        };
        let group = group(node)?;
        if per_group.checked_mul(group) != Some(in_channels) {
            let problem = format!(
                "{in_channels} input channels do not match {group} groups of {per_group} in the \
                 weight"
            );
            return Err(OpError::invalid(node, problem));
        }
        if !out_channels.is_multiple_of(group) {
            let problem = format!("{out_channels} output channels do not make {group} groups");
            return Err(OpError::invalid(node, problem));
        }
        check_kernel_shape(node, kernel)?;
        let spec = WindowSpec::read(node, kernel.to_vec())?;
        Ok(ConvGeometry {
            batch,
            group,
            in_channels,
            out_channels,
            axes: spec.axes(node, input)?,
        })
    }

    /// Shape of `x`.
    pub fn x_shape(&self) -> Vec<usize> {
        self.shape([self.batch, self.in_channels], |axis| axis.input)
    }

    /// Shape of `w`.
    pub fn w_shape(&self) -> Vec<usize> {
        let per_group = self.in_channels / self.group;
        self.shape([self.out_channels, per_group], |axis| axis.kernel)
    }

    /// Shape of `y`.
    pub fn y_shape(&self) -> Vec<usize> {
        self.shape([self.batch, self.out_channels], |axis| axis.output)
    }

    fn shape(&self, lead: [usize; 2], size: impl Fn(&WindowAxis) -> usize) -> Vec<usize> {
        lead.into_iter().chain(self.axes.iter().map(size)).collect()
    }

    /// Calls `f(x, w, y)` with the offsets of every product `x * w` that is added to a `y`.
    pub fn products(&self, mut f: impl FnMut(usize, usize, usize)) {
        let taps = taps(&self.axes);
        let size = |size: fn(&WindowAxis) -> usize| self.axes.iter().map(size).product::<usize>();
        let (input, kernel) = (size(|axis| axis.input), size(|axis| axis.kernel));
        let output = size(|axis| axis.output);
        let (c_per_group, m_per_group) = (
            self.in_channels / self.group,
            self.out_channels / self.group,
        );
        for sample in 0..self.batch {
            for m in 0..self.out_channels {
                let y = (sample * self.out_channels + m) * output;
                let first = sample * self.in_channels + m / m_per_group * c_per_group;
                for c in 0..c_per_group {
                    let (x, w) = ((first + c) * input, (m * c_per_group + c) * kernel);
                    for tap in &taps {
                        f(x + tap.input, w + tap.kernel, y + tap.output);
                    }
                }
            }
        }
    }

    /// Floating-point operations of one of the three products.
    pub fn flops(&self) -> u64 {
        let (w, y) = (self.w_shape(), self.y_shape());
        let factors = w[1..].iter().chain(&y);
        factors.fold(2, |flops, &size| flops.saturating_mul(size as u64))
    }
}

/// The number of groups of a convolution.
///
/// # Errors
/// When it is not above zero.
pub(crate) fn group(node: &Node) -> Result<usize> {
    let group = node.int("group", 1)?;
    usize::try_from(group)
        .ok()
        .filter(|&group| group > 0)
        .ok_or_else(|| node.attribute_error("group", "must be above zero").into())
}

fn check_kernel_shape(node: &Node, kernel: &[usize]) -> Result<()> {
    match node.sizes("kernel_shape")? {
        Some(stated) if stated != kernel => {
            let problem = format!("is {stated:?}, but the weight's kernel is {kernel:?}");
            Err(node.attribute_error("kernel_shape", &problem).into())
        }
        _ => Ok(()),
    }
}

/// The window attributes of `Conv`, which its gradients carry along.
pub(crate) fn conv_attributes(node: &Node) -> Vec<(&str, Attr)> {
    let carried = ["auto_pad", "dilations", "group", "pads", "strides"];
    let attribute = |name| Some((name, node.attributes.get(name)?.clone()));
    carried.into_iter().filter_map(attribute).collect()
}

/// Checks that inputs are of one float type and gives it.
pub(crate) fn common_float(cx: &InferCx<'_>) -> Result<sardonyx_tensor::DType> {
    let dtype = cx.dtype(0)?;
    let others = cx.inputs.iter().flatten().map(|known| known.fact.dtype);
    for other in others {
        if other != dtype || !dtype.is_float() {
            let problem = format!("its inputs must be of one float type, are {dtype} and {other}");
            return Err(cx.invalid(problem));
        }
    }
    Ok(dtype)
}

/// The dimensions of `Conv`'s output; `None` when the rank is unknown.
fn output_dims(cx: &InferCx<'_>) -> Result<Option<Vec<Dim>>> {
    let (x, w) = (cx.shape(0)?, cx.shape(1)?);
    let Some(rank) = x.or(w).map(<[Dim]>::len) else {
        return Ok(None);
    };
    let unknown = |axis| cx.unknown_dim(axis);
    let unknowns: Vec<Dim> = (0..rank).map(unknown).collect();
    let (x, w) = (x.unwrap_or(&unknowns), w.unwrap_or(&unknowns));
    if x.len() != w.len() || rank < 3 {
        let problem = format!(
            "inputs of ranks {} and {} make no convolution",
            x.len(),
            w.len()
        );
        return Err(cx.invalid(problem));
    }
    check_channels(cx, &x[1], w)?;
    let sizes = w[2..].iter().map(Dim::value).collect::<Option<Vec<_>>>();
    if let Some(kernel) = &sizes {
        check_kernel_shape(cx.node, kernel)?;
    }
    let mut dims = vec![x[0].clone(), w[0].clone()];
    match sizes.map_or_else(|| cx.node.sizes("kernel_shape"), |kernel| Ok(Some(kernel)))? {
        Some(kernel) => {
            dims.extend(WindowSpec::read(cx.node, kernel)?.output_dims(cx, &x[2..])?);
        }
        None => dims.extend((2..rank).map(unknown)),
    }
    Ok(Some(dims))
}

fn check_channels(cx: &InferCx<'_>, channels: &Dim, w: &[Dim]) -> Result<()> {
    let group = group(cx.node)?;
    if let (Some(channels), Some(per_group)) = (channels.value(), w[1].value())
        && per_group.checked_mul(group) != Some(channels)
    {
        let problem = format!(
            "{channels} input channels do not match {group} groups of {per_group} in the weight"
        );
        return Err(cx.invalid(problem));
    }
    match w[0].value() {
        Some(out) if !out.is_multiple_of(group) => {
            Err(cx.invalid(format!("{out} output channels do not make {group} groups")))
        }
        _ => Ok(()),
    }
}

/// Checks the shape of a bias over `channels` channels.
pub(crate) fn check_bias(cx: &InferCx<'_>, input: usize, channels: &Dim) -> Result<()> {
    let Some(bias) = cx
        .optional(input)
        .and_then(|known| known.fact.shape.as_deref())
    else {
        return Ok(());
    };
    let fits = bias.len() == 1
        && (bias[0] == *channels || bias[0].value().is_none() || channels.value().is_none());
    if fits {
        return Ok(());
    }
    let shape = Fact::new(cx.dtype(input)?, bias.to_vec());
    Err(cx.invalid(format!(
        "its bias is {shape}, not a vector of {channels} elements"
    )))
}

/// A tensor's values starting from a bias by channel (axis 1), or from zeros.
pub(crate) fn start_from_bias(cx: &EvalCx<'_>, input: usize, shape: &[usize]) -> Result<Vec<f64>> {
    let count = element_count(shape)?;
    let Some(bias) = cx.optional(input) else {
        return Ok(vec![0.0; count]);
    };
    if bias.shape() != &shape[1..2] {
        let problem = format!(
            "its bias is of shape {:?}, not {:?}",
            bias.shape(),
            &shape[1..2]
        );
        return Err(cx.invalid(problem));
    }
    let (bias, inner) = (bias.to_f64()?, shape[2..].iter().product::<usize>().max(1));
    Ok((0..count)
        .map(|index| bias[index / inner % shape[1]])
        .collect())
}

/// Sum over all axes but the channels': the gradient by a bias.
pub(crate) fn bias_grad(cx: &mut GradCx<'_, '_>, dy: ValueId) -> Result<ValueId> {
    let rank = cx.builder.shape(dy)?.len() as i64;
    let axes: Vec<i64> = (0..rank).filter(|&axis| axis != 1).collect();
    let axes = cx.builder.ints(&axes);
    cx.builder
        .op("ReduceSum", &[dy, axes], &[("keepdims", Attr::Int(0))])
}

impl Operator for Conv {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = common_float(cx)?;
        let shape = output_dims(cx)?;
        if let Some(shape) = &shape {
            check_bias(cx, 2, &shape[1])?;
        }
        Ok(vec![Fact { dtype, shape }.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, w) = (cx.input(0)?, cx.input(1)?);
        let geometry = ConvGeometry::read(cx.node, x.shape(), w.shape())?;
        let shape = geometry.y_shape();
        let mut y = start_from_bias(cx, 2, &shape)?;
        let (xs, ws) = (x.to_f64()?, w.to_f64()?);
        geometry.products(|i, j, k| y[k] += xs[i] * ws[j]);
        Ok(vec![Tensor::from_f64(x.dtype(), shape, y)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, w, dy) = (cx.input(0)?, cx.input(1)?, cx.output_grad(0)?);
        let sizes = |cx: &GradCx<'_, '_>, value| -> Result<Attr> {
            let spatial = cx.builder.shape(value)?[2..]
                .iter()
                .map(Dim::value)
                .collect();
            let spatial: Option<Vec<usize>> = spatial;
            let symbolic = "its spatial axes are symbolic; hint: bind the symbols to numbers first";
            Ok(spatial
                .ok_or_else(|| cx.not_differentiable(symbolic))?
                .as_slice()
                .into())
        };
        let mut grads = vec![None; cx.node.inputs.len()];
        if cx.wants(0) {
            let mut attributes = conv_attributes(cx.node);
            attributes.push(("input_shape", sizes(cx, x)?));
            grads[0] = Some(cx.builder.own("ConvInputGrad", &[dy, w], &attributes)?);
        }
        if cx.wants(1) {
            let mut attributes = conv_attributes(cx.node);
            attributes.push(("kernel_shape", sizes(cx, w)?));
            grads[1] = Some(cx.builder.own("ConvWeightGrad", &[x, dy], &attributes)?);
        }
        if cx.wants(2) {
            grads[2] = Some(bias_grad(cx, dy)?);
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let shape = |index| cx.input(index).ok()?.fact.fixed_shape();
        Some(
            ConvGeometry::read(cx.node, &shape(0)?, &shape(1)?)
                .ok()?
                .flops(),
        )
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], w: &[usize]| {
            let made = Example::new(SCHEMA, name).uniform(x, (-1.0, 1.0));
            made.uniform(w, (-1.0, 1.0))
        };
        let square = |name: &str| example(name, &[2, 3, 5, 6], &[4, 3, 3, 2]);
        let same = |name: &str, pad: &str| {
            let made = example(name, &[1, 1, 5, 4], &[2, 1, 2, 3]).attr("auto_pad", pad);
            made.attr("strides", vec![2i64, 1])
        };
        vec![
            square("plain"),
            square("with a bias").uniform(&[4], (-1.0, 1.0)),
            square("padded").attr("pads", vec![1i64, 0, 2, 1]),
            square("strided").attr("strides", vec![2i64, 3]),
            square("dilated").attr("dilations", vec![2i64, 3]),
            example("in groups", &[2, 4, 4, 4], &[6, 2, 3, 3])
                .attr("group", 2i64)
                .attr("kernel_shape", vec![3i64, 3])
                .attr("pads", vec![1i64, 1, 1, 1])
                .uniform(&[6], (-1.0, 1.0)),
            example("depthwise", &[1, 3, 5, 5], &[3, 1, 3, 3]).attr("group", 3i64),
            same("padded to the same size", "SAME_UPPER"),
            same("padded to the same size before", "SAME_LOWER"),
            same("without padding by name", "VALID"),
            example("of sequences", &[2, 2, 9], &[3, 2, 4])
                .attr("strides", vec![3i64])
                .attr("pads", vec![2i64, 3]),
            example("of volumes", &[1, 2, 3, 4, 3], &[2, 2, 2, 3, 2])
                .attr("pads", vec![1i64, 0, 0, 0, 1, 0])
                .attr("dilations", vec![1i64, 1, 2]),
            example("pointwise", &[2, 3, 2, 2], &[5, 3, 1, 1]),
            example("of no sample", &[0, 3, 4, 4], &[2, 3, 3, 3]),
        ]
    }
}
