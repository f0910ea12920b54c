//! Sliding windows: which input element each tap of a convolution or a pool reads. One geometry
//! serves inference, reference, gradients and the engine's lowering, so that they cannot disagree
//! about padding.

use std::ops::Range;

use sardonyx_ir::{Dim, Node};
use sardonyx_tensor::element_count;

use crate::{InferCx, OpError, Result};

/// How the input is padded along the spatial axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Padding {
    /// This many elements before and after, by axis.
    Explicit(Vec<[usize; 2]>),
    /// As many as give `ceil(input / stride)` outputs, the odd one after.
    SameUpper,
    /// The same with the odd one before.
    SameLower,
}

/// A node's window attributes, before the input's size is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// Taps by spatial axis.
    pub kernel: Vec<usize>,
    /// Steps between windows by spatial axis, none zero.
    pub strides: Vec<usize>,
    /// Steps between taps by spatial axis, none zero.
    pub dilations: Vec<usize>,
    /// Padding.
    pub padding: Padding,
    /// Whether a last window that reaches over the end counts.
    pub ceil_mode: bool,
}

/// The windows along one spatial axis of an input of known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowAxis {
    /// Elements of the input.
    pub input: usize,
    /// Number of windows, which is the output's size.
    pub output: usize,
    /// Taps of a window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Step between taps.
    pub dilation: usize,
    /// Padding before the input.
    pub pad_begin: usize,
    /// Padding after the input.
    pub pad_end: usize,
}

/// A place where an output element reads an input element: row-major offsets over the spatial
/// axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    /// Offset of the window in the output.
    pub output: usize,
    /// Offset of the tap in the kernel.
    pub kernel: usize,
    /// Offset of the element in the input.
    pub input: usize,
}

impl WindowSpec {
    /// Reads `strides`, `dilations`, `pads`, `auto_pad` and `ceil_mode` of a node whose windows
    /// have `kernel` taps by spatial axis.
    ///
    /// # Errors
    /// When an attribute has the wrong type, length or a value that makes no window.
    pub fn read(node: &Node, kernel: Vec<usize>) -> Result<WindowSpec> {
        let rank = kernel.len();
        let sizes = |name: &str| -> Result<Vec<usize>> {
            let values = node.sizes(name)?.unwrap_or_else(|| vec![1; rank]);
            if values.len() == rank && !values.contains(&0) {
                return Ok(values);
            }
            let problem = format!("must be {rank} numbers above zero, is {values:?}");
            Err(node.attribute_error(name, &problem).into())
        };
        let (strides, dilations) = (sizes("strides")?, sizes("dilations")?);
        // Offsets of taps must not overflow, even where a window is mostly padding.
        if element_count(&kernel)? == 0 {
            return Err(OpError::invalid(
                node,
                format!("its kernel {kernel:?} is empty"),
            ));
        }
        Ok(WindowSpec {
            padding: padding(node, rank)?,
            ceil_mode: node.flag("ceil_mode", false)?,
            kernel,
            strides,
            dilations,
        })
    }

    /// The windows over an input of spatial shape `input`.
    ///
    /// # Errors
    /// When a window does not fit into the padded input.
    pub fn axes(&self, node: &Node, input: &[usize]) -> Result<Vec<WindowAxis>> {
        if input.len() != self.kernel.len() {
            let (found, expected) = (input.len(), self.kernel.len());
            let problem = format!("its input has {found} spatial axes, its kernel {expected}");
            return Err(OpError::invalid(node, problem));
        }
        let axis = |(index, &input): (usize, &usize)| {
            let axis = self.axis(index, input);
            axis.map_err(|problem| OpError::invalid(node, problem))
        };
        input.iter().enumerate().map(axis).collect()
    }

    /// The output's spatial dimensions over an input of spatial dimensions `input`, which start
    /// at axis 2.
    ///
    /// # Errors
    /// As [`WindowSpec::axes`].
    pub fn output_dims(&self, cx: &InferCx<'_>, input: &[Dim]) -> Result<Vec<Dim>> {
        if input.len() != self.kernel.len() {
            let sizes: Vec<usize> = input.iter().map(|dim| dim.value().unwrap_or(1)).collect();
            self.axes(cx.node, &sizes)?;
        }
        let dim = |(index, dim): (usize, &Dim)| match dim.value() {
            Some(size) => match self.axis(index, size) {
                Ok(axis) => Ok(Dim::known(axis.output)),
                Err(problem) => Err(cx.invalid(problem)),
            },
            None => Ok(self
                .symbolic_output(index, dim)
                .unwrap_or_else(|| cx.unknown_dim(index + 2))),
        };
        input.iter().enumerate().map(dim).collect()
    }

    fn symbolic_output(&self, index: usize, dim: &Dim) -> Option<Dim> {
        let stride = self.strides[index];
        match &self.padding {
            Padding::SameUpper | Padding::SameLower => dim.checked_div(&Dim::known(stride)),
            Padding::Explicit(pads) => {
                let extent = extent(self.kernel[index], self.dilations[index])?;
                let [begin, end] = pads[index];
                (stride == 1 && begin.checked_add(end)? == extent - 1).then(|| dim.clone())
            }
        }
    }

    fn axis(&self, index: usize, input: usize) -> Result<WindowAxis, String> {
        let (kernel, stride) = (self.kernel[index], self.strides[index]);
        let dilation = self.dilations[index];
        let overflow = || format!("the size of spatial axis {index} overflows");
        let extent = extent(kernel, dilation).ok_or_else(overflow)?;
        let (output, [pad_begin, pad_end]) = match &self.padding {
            Padding::Explicit(pads) => {
                let [begin, end] = pads[index];
                let padded = input
                    .checked_add(begin)
                    .and_then(|n| n.checked_add(end))
                    .ok_or_else(overflow)?;
                let slack = padded.checked_sub(extent).ok_or_else(|| {
                    format!(
                        "its window of {extent} elements is larger than the padded input of \
                         {padded} along spatial axis {index}"
                    )
                })?;
                let mut output = slack / stride + 1;
                if self.ceil_mode && !slack.is_multiple_of(stride) {
                    // A window that would start in the padding behind the input does not count.
                    let start = output.checked_mul(stride).ok_or_else(overflow)?;
                    output += usize::from(start < input + begin);
                }
                (output, [begin, end])
            }
            same => {
                let output = input.div_ceil(stride);
                let last = output.saturating_sub(1) * stride;
                let needed = last.checked_add(extent).ok_or_else(overflow)?;
                let total = needed.saturating_sub(input);
                let (small, large) = (total / 2, total - total / 2);
                match same {
                    Padding::SameLower => (output, [large, small]),
                    _ => (output, [small, large]),
                }
            }
        };
        Ok(WindowAxis {
            input,
            output,
            kernel,
            stride,
            dilation,
            pad_begin,
            pad_end,
        })
    }
}

fn padding(node: &Node, rank: usize) -> Result<Padding> {
    match node.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" => {}
        "SAME_UPPER" => return Ok(Padding::SameUpper),
        "SAME_LOWER" => return Ok(Padding::SameLower),
        "VALID" => return Ok(Padding::Explicit(vec![[0; 2]; rank])),
        other => {
            let problem = format!("`{other}` is not a way of padding");
            return Err(node.attribute_error("auto_pad", &problem).into());
        }
    }
    let pads = node.sizes("pads")?.unwrap_or_else(|| vec![0; 2 * rank]);
    if pads.len() != 2 * rank {
        let problem = format!("must have {} entries, has {}", 2 * rank, pads.len());
        return Err(node.attribute_error("pads", &problem).into());
    }
    let by_axis = (0..rank).map(|axis| [pads[axis], pads[axis + rank]]);
    Ok(Padding::Explicit(by_axis.collect()))
}

/// Elements from a window's first tap to its last; `None` on overflow.
fn extent(kernel: usize, dilation: usize) -> Option<usize> {
    (kernel - 1).checked_mul(dilation)?.checked_add(1)
}

impl WindowAxis {
    /// Elements from a window's first tap to its last, both included.
    pub const fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The input element that tap `tap` of window `output` reads; `None` in the padding.
    pub fn source(&self, output: usize, tap: usize) -> Option<usize> {
        let position = output * self.stride + tap * self.dilation;
        position
            .checked_sub(self.pad_begin)
            .filter(|&source| source < self.input)
    }

    /// The taps of window `output` that read inside the input.
    pub fn taps(&self, output: usize) -> Range<usize> {
        let start = output * self.stride;
        let before = self.pad_begin.saturating_sub(start);
        let first = before.div_ceil(self.dilation).min(self.kernel);
        let inside = self
            .input
            .saturating_add(self.pad_begin)
            .saturating_sub(start);
        let end = inside.div_ceil(self.dilation).min(self.kernel);
        first..end.max(first)
    }

    /// Number of taps of window `output` that read inside the padded input.
    pub fn padded_taps(&self, output: usize) -> usize {
        let ahead = self.input.saturating_add(self.pad_begin);
        let inside = ahead
            .saturating_add(self.pad_end)
            .saturating_sub(output * self.stride);
        inside.div_ceil(self.dilation).min(self.kernel)
    }
}

/// Every place where a window over `axes` reads inside the input. Those of one output element
/// come in the row-major order of its taps.
pub fn taps(axes: &[WindowAxis]) -> Vec<Tap> {
    let origin = Tap {
        output: 0,
        kernel: 0,
        input: 0,
    };
    let mut taps = vec![origin];
    for axis in axes {
        let along: Vec<Tap> = (0..axis.output)
            .flat_map(|output| axis.taps(output).map(move |kernel| (output, kernel)))
            .map(|(output, kernel)| Tap {
                output,
                kernel,
                input: output * axis.stride + kernel * axis.dilation - axis.pad_begin,
            })
            .collect();
        let extend = |outer: &Tap| {
            let outer = *outer;
            along.iter().map(move |inner| Tap {
                output: outer.output * axis.output + inner.output,
                kernel: outer.kernel * axis.kernel + inner.kernel,
                input: outer.input * axis.input + inner.input,
            })
        };
        taps = taps.iter().flat_map(extend).collect();
    }
    taps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(input: usize, kernel: usize, [stride, dilation]: [usize; 2]) -> WindowAxis {
        let node = Node::default();
        let mut spec = WindowSpec::read(&node, vec![kernel]).expect("the defaults are legal");
        spec.strides = vec![stride];
        spec.dilations = vec![dilation];
        spec.padding = Padding::Explicit(vec![[2, 1]]);
        spec.axes(&node, &[input]).expect("the window fits")[0]
    }

    #[test]
    fn taps_are_those_with_a_source() {
        for (input, kernel, stride, dilation) in [
            (7, 3, 2, 1),
            (1, 2, 1, 2),
            (9, 4, 3, 3),
            (5, 8, 1, 1),
            (6, 2, 5, 7),
        ] {
            let axis = axis(input, kernel, [stride, dilation]);
            for output in 0..axis.output {
                let inside: Vec<usize> = (0..kernel)
                    .filter(|&tap| axis.source(output, tap).is_some())
                    .collect();
                assert_eq!(
                    axis.taps(output).collect::<Vec<_>>(),
                    inside,
                    "{axis:?} {output}"
                );
            }
        }
    }

    #[test]
    fn the_last_window_must_start_inside() {
        let node = Node::default();
        let mut spec = WindowSpec::read(&node, vec![1]).expect("the defaults are legal");
        spec.ceil_mode = true;
        spec.strides = vec![2];
        assert_eq!(spec.axes(&node, &[4]).expect("it fits")[0].output, 2);
        spec.kernel = vec![3];
        assert_eq!(spec.axes(&node, &[4]).expect("it fits")[0].output, 2);
        spec.padding = Padding::Explicit(vec![[0, 1]]);
        assert_eq!(spec.axes(&node, &[4]).expect("it fits")[0].output, 2);
        assert!(spec.axes(&node, &[1]).is_err());
        spec.padding = Padding::Explicit(vec![[usize::MAX, 1]]);
        assert!(spec.axes(&node, &[4]).is_err());
    }

    #[test]
    fn same_padding_splits_the_odd_element() {
        let node = Node::default();
        let mut spec = WindowSpec::read(&node, vec![4]).expect("the defaults are legal");
        spec.padding = Padding::SameUpper;
        let upper = spec.axes(&node, &[5]).expect("it fits")[0];
        spec.padding = Padding::SameLower;
        let lower = spec.axes(&node, &[5]).expect("it fits")[0];
        assert_eq!((upper.pad_begin, upper.pad_end, upper.output), (1, 2, 5));
        assert_eq!((lower.pad_begin, lower.pad_end, lower.output), (2, 1, 5));
    }
}
