//! The geometry of a convolution, checked once.

use super::super::panels::{PanelMap, PanelShape};
use crate::axis::WindowAxis;
use crate::{KernelError, Result};

/// Longest side, stride, dilation, padding or channel count that a convolution may have.
const MOST: usize = 1 << 24;

/// Sizes of a 2-D convolution over images in NHWC order. A 1-D one has height 1; a fully connected
/// layer has height and width 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of an input image.
    pub in_channels: usize,
    /// Channels of an output image.
    pub out_channels: usize,
    /// Groups that the channels are divided into.
    pub groups: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Zeros around an image: top, left, bottom, right.
    pub pads: [usize; 4],
}

impl ConvShape {
    /// Stride and dilation 1, one group, no padding.
    pub const fn plain(image: [usize; 4], out_channels: usize, kernel: [usize; 2]) -> ConvShape {
        let [batch, height, width, in_channels] = image;
        ConvShape {
            batch,
            height,
            width,
            in_channels,
            out_channels,
            groups: 1,
            kernel,
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
        }
    }

    /// Rows of an output image.
    pub fn out_height(&self) -> usize {
        self.out_len(0, self.height)
    }

    /// Columns of an output image.
    pub fn out_width(&self) -> usize {
        self.out_len(1, self.width)
    }

    /// Panels of the weight.
    pub fn weights(&self) -> PanelShape {
        self.weight_map().shape
    }

    /// How the weight lies in ONNX order, `[O, I / groups, KH, KW]`.
    pub fn weight_map(&self) -> PanelMap {
        let taps = self.kernel[0] * self.kernel[1];
        PanelMap::convolution(
            self.groups,
            self.out_channels,
            self.in_channels / self.groups,
            taps,
        )
    }

    /// Elements of the input.
    pub fn in_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Elements of the output.
    pub fn out_len_total(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Floating-point operations of the convolution or of one of its gradients.
    pub fn flops(&self) -> u64 {
        let per_output = 2 * self.kernel[0] * self.kernel[1] * (self.in_channels / self.groups);
        self.out_len_total() as u64 * per_output as u64
    }

    /// Whether each output pixel depends on the input pixel at its place alone.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pads == [0; 4]
    }

    /// A pointwise convolution as one image, one pixel wide: blocks of rows may then end anywhere.
    pub(super) fn flattened(&self) -> ConvShape {
        debug_assert!(self.is_pointwise());
        let height = self.batch * self.height * self.width;
        ConvShape {
            batch: 1,
            height,
            width: 1,
            ..*self
        }
    }

    /// A pointwise convolution as one image of one row.
    pub(super) fn as_one_row(&self) -> ConvShape {
        debug_assert!(self.is_pointwise());
        let width = self.batch * self.height * self.width;
        ConvShape {
            batch: 1,
            height: 1,
            width,
            ..*self
        }
    }

    /// # Errors
    /// [`KernelError::Geometry`] for sizes that no convolution has.
    pub(super) fn check(&self, kernel: &'static str) -> Result<()> {
        let problem = |text: &str| {
            Err(KernelError::Geometry {
                kernel,
                problem: format!("{text} in {self:?}"),
            })
        };
        let sizes = [self.kernel, self.stride, self.dilation];
        let counts = [self.groups, self.in_channels, self.out_channels];
        if sizes
            .iter()
            .flatten()
            .chain(&counts)
            .any(|size| *size == 0 || *size > MOST)
        {
            return problem("a size is zero or absurdly large");
        }
        let images = [self.batch, self.height, self.width];
        if self.pads.iter().chain(&images).any(|size| *size > MOST) {
            return problem("a size is absurdly large");
        }
        if !self.in_channels.is_multiple_of(self.groups)
            || !self.out_channels.is_multiple_of(self.groups)
        {
            return problem("channels do not divide into groups");
        }
        let fits = |axis: usize, len: usize| self.padded(axis, len) >= self.extent(axis);
        if !fits(0, self.height) || !fits(1, self.width) {
            return problem("the kernel is larger than the padded image");
        }
        let elements = |shape: [usize; 4]| shape.iter().try_fold(4usize, |n, d| n.checked_mul(*d));
        let output = [
            self.batch,
            self.out_height(),
            self.out_width(),
            self.out_channels,
        ];
        let input = [self.batch, self.height, self.width, self.in_channels];
        if elements(output).is_none() || elements(input).is_none() {
            return problem("too many elements");
        }
        Ok(())
    }

    /// The kernel along one axis: 0 vertical, 1 horizontal.
    pub(super) fn axis(&self, axis: usize) -> WindowAxis {
        WindowAxis {
            kernel: self.kernel[axis],
            stride: self.stride[axis],
            dilation: self.dilation[axis],
            pad: self.pads[axis],
        }
    }

    fn padded(&self, axis: usize, len: usize) -> usize {
        len + self.pads[axis] + self.pads[axis + 2]
    }

    /// Input positions that the kernel spans.
    fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    fn out_len(&self, axis: usize, len: usize) -> usize {
        (self.padded(axis, len).saturating_sub(self.extent(axis))) / self.stride[axis] + 1
    }
}
