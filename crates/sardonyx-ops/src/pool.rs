//! What pools have in common: windows over the spatial axes of `x[batch, channels, spatial..]`,
//! the same in every plane. A global pool has one window, as large as the input.

use sardonyx_ir::{Attr, Dim, Fact, Node};
use sardonyx_tensor::Tensor;

use crate::window::{Tap, WindowAxis, WindowSpec, taps};
use crate::{GradCx, InferCx, OpError, Result};

/// Sizes of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Samples.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Windows by spatial axis.
    pub axes: Vec<WindowAxis>,
}

impl PoolGeometry {
    /// Reads the geometry of a pool over an input of shape `x`.
    ///
    /// # Errors
    /// When the shape and the attributes make no pool.
    pub fn read(node: &Node, x: &[usize]) -> Result<PoolGeometry> {
        let &[batch, channels, ref spatial @ ..] = x else {
            return Err(OpError::invalid(
                node,
                format!("shape {x:?} is of too low a rank"),
            ));
        };
        let spec = match is_global(node) {
            true if spatial.contains(&0) => {
                return Err(OpError::invalid(
                    node,
                    format!("shape {x:?} leaves nothing to pool"),
                ));
            }
            true => WindowSpec::read(&Node::default(), spatial.to_vec())?,
            false => spec(node)?,
        };
        Ok(PoolGeometry {
            batch,
            channels,
            axes: spec.axes(node, spatial)?,
        })
    }

    /// Shape of the input.
    pub fn x_shape(&self) -> Vec<usize> {
        self.shape(|axis| axis.input)
    }

    /// Shape of the output.
    pub fn y_shape(&self) -> Vec<usize> {
        self.shape(|axis| axis.output)
    }

    fn shape(&self, size: impl Fn(&WindowAxis) -> usize) -> Vec<usize> {
        let lead = [self.batch, self.channels];
        lead.into_iter().chain(self.axes.iter().map(size)).collect()
    }

    /// Calls `f(x, y)` with the offsets of every input element that a window sees, each window's
    /// in row-major order.
    pub fn visits(&self, mut f: impl FnMut(usize, usize)) {
        let taps: Vec<Tap> = taps(&self.axes);
        let input: usize = self.axes.iter().map(|axis| axis.input).product();
        let output: usize = self.axes.iter().map(|axis| axis.output).product();
        for plane in 0..self.batch * self.channels {
            for tap in &taps {
                f(plane * input + tap.input, plane * output + tap.output);
            }
        }
    }

    /// Floating-point operations of one visit each.
    pub fn flops(&self) -> u64 {
        let y = self.y_shape();
        let taps = self.axes.iter().map(|axis| axis.kernel);
        y.into_iter()
            .chain(taps)
            .fold(1, |flops, size| flops.saturating_mul(size as u64))
    }
}

/// Whether a node is a global pool.
fn is_global(node: &Node) -> bool {
    node.op_type.starts_with("Global")
}

/// The windows of a pool that is not global.
fn spec(node: &Node) -> Result<WindowSpec> {
    let kernel = node.sizes("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| node.attribute_error("kernel_shape", "must be given"))?;
    let spec = WindowSpec::read(node, kernel)?;
    if let crate::window::Padding::Explicit(pads) = &spec.padding {
        let reach = spec.kernel.iter().zip(&spec.dilations);
        let reach = reach.map(|(kernel, dilation)| (kernel - 1).saturating_mul(*dilation));
        for (pads, reach) in pads.iter().zip(reach) {
            if pads.iter().any(|&pad| pad > reach) {
                let problem = "must be smaller than the window";
                return Err(node.attribute_error("pads", problem).into());
            }
        }
    }
    Ok(spec)
}

/// Type and shape of a pool's output.
///
/// # Errors
/// When the input cannot be pooled.
pub(crate) fn infer_pool(cx: &InferCx<'_>) -> Result<Fact> {
    let fact = cx.input(0)?.fact;
    if let Some(x) = fact.fixed_shape() {
        let geometry = PoolGeometry::read(cx.node, &x)?;
        return Ok(Fact::fixed(fact.dtype, &geometry.y_shape()));
    }
    let Some(shape) = &fact.shape else {
        return Ok(Fact::unranked(fact.dtype));
    };
    let [batch, channels, spatial @ ..] = &shape[..] else {
        return Err(cx.invalid(format!("{fact} is of too low a rank")));
    };
    let output = if is_global(cx.node) {
        vec![Dim::known(1); spatial.len()]
    } else {
        spec(cx.node)?.output_dims(cx, spatial)?
    };
    let lead = [batch.clone(), channels.clone()];
    Ok(Fact::new(fact.dtype, lead.into_iter().chain(output)))
}

/// The window attributes of a pool, which its gradient carries along. A global pool gets those
/// of a window as large as its input.
///
/// # Errors
/// When a spatial axis of a global pool is symbolic.
pub(crate) fn pool_attributes<'a>(cx: &GradCx<'a, '_>) -> Result<Vec<(&'a str, Attr)>> {
    let node = cx.node;
    if is_global(node) {
        let mut attributes = vec![("kernel_shape", spatial_shape(cx)?)];
        attributes.extend(node.attributes.get("p").map(|p| ("p", p.clone())));
        return Ok(attributes);
    }
    let carried = node
        .attributes
        .iter()
        .filter(|(name, _)| *name != "storage_order");
    Ok(carried
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect())
}

/// The spatial shape of a node's first input, as an attribute.
///
/// # Errors
/// When it is symbolic.
pub(crate) fn spatial_shape(cx: &GradCx<'_, '_>) -> Result<Attr> {
    let shape = cx.builder.shape(cx.input(0)?)?;
    let spatial: Option<Vec<usize>> = shape.iter().skip(2).map(Dim::value).collect();
    let symbolic = "its spatial axes are symbolic; hint: bind the symbols to numbers first";
    Ok(spatial
        .ok_or_else(|| cx.not_differentiable(symbolic))?
        .as_slice()
        .into())
}

/// Floating-point operations of a pool over its first input.
pub(crate) fn pool_flops(cx: &InferCx<'_>) -> Option<u64> {
    let shape = cx.input(0).ok()?.fact.fixed_shape()?;
    Some(PoolGeometry::read(cx.node, &shape).ok()?.flops())
}

/// Checks that a tensor given to a gradient has the shape of the pool's output.
pub(crate) fn check_shape(node: &Node, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    if tensor.shape() == shape {
        return Ok(());
    }
    let problem = format!(
        "an input is of shape {:?}, expected {shape:?}",
        tensor.shape()
    );
    Err(OpError::invalid(node, problem))
}
