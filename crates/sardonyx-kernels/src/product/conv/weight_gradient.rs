//! The gradients of a convolution with respect to its weights and bias.
//!
//! The same micro-kernel with other roles: a row of a tile is one weight row (a kernel position and
//! an input channel), the sum runs over output pixels, and B is a panel of output gradients staged
//! next to each other. Only pixels for which the kernel position lies within the image are summed.

use std::ops::Range;

use super::forward::check_window;
use super::input_gradient::dy_len;
use super::shape::ConvShape;
use super::stage::Images;
use super::weight_plan::WeightSum;
use super::weight_run::{WeightCore, WeightOperands};
use crate::axis::AxisTaps;
use crate::{Access, DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// How a weight gradient is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WeightGradientOptions {
    /// As [`super::InputGradientOptions::unpool`].
    pub unpool: Option<[usize; 2]>,
    /// Adds to what the outputs hold instead of replacing it; only with one shard.
    pub accumulate: bool,
    /// Most shards that the sum over the batch may be cut into; 0 is the kernel's own limit.
    pub most_shards: usize,
}

/// `dw[..] = sum over images and output pixels of x * dy`, `db = sum of dy`, in panels.
///
/// Where the weights are few, the sum is cut into [`Conv2dWeightGradient::shards`] parts that are
/// computed side by side; a [`crate::SumShards`] in a later stage adds them up. Their number
/// depends on the geometry alone. With one shard the outputs are the gradients themselves.
///
/// Operands: 0 `x` (read, f32 `[batch, height, width, in_channels]`), 1 `dy` (read, f32, as in
/// [`crate::Conv2dInputGradient`]), 2 `argmax` (read, u8 as dy; needed where it unpools), 3 `dw`
/// (written, or updated when accumulating; f32 `[shards]` x panels of [`ConvShape::weights`],
/// lanes behind the last column zero), 4 `db` (as dw, optional; f32 `[shards, out_channels]`).
#[derive(Debug)]
pub struct Conv2dWeightGradient {
    shape: ConvShape,
    options: WeightGradientOptions,
    isa: Isa,
    sum: WeightCore,
}

const NAME: &str = "conv2d_weight_gradient";

impl Conv2dWeightGradient {
    /// The kernel for the gradients of a convolution of `shape`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for sizes that no convolution has, a window of no or more than
    /// 255 elements, or accumulation into several shards.
    pub fn new(
        isa: Isa,
        shape: ConvShape,
        options: WeightGradientOptions,
    ) -> Result<Conv2dWeightGradient> {
        shape.check(NAME)?;
        check_window(NAME, options.unpool)?;
        if options.accumulate && options.most_shards != 1 {
            let problem = "accumulation needs one shard; hint: set most_shards to 1".into();
            return Err(KernelError::Geometry {
                kernel: NAME,
                problem,
            });
        }
        let flat = shape.is_pointwise() && options.unpool.is_none();
        let plain = if flat { shape.as_one_row() } else { shape };
        // The gradients of pixels behind the last whole window are zero.
        let [pool_h, pool_w] = options.unpool.unwrap_or([1, 1]);
        let rows = plain.out_height() / pool_h * pool_h;
        let cols = plain.out_width() / pool_w * pool_w;
        let sum = WeightSum {
            batch: plain.batch,
            x: Images {
                height: plain.height,
                width: plain.width,
                channels: plain.in_channels,
            },
            dy: Images {
                height: rows,
                width: cols,
                channels: plain.out_channels,
            },
            weights: plain.weights(),
            rows: AxisTaps::forward(&plain.axis(0), rows),
            cols: AxisTaps::forward(&plain.axis(1), cols),
            unpool: options.unpool,
            accumulate: options.accumulate,
        };
        let sum = WeightCore::new(isa, sum, options.most_shards);
        Ok(Conv2dWeightGradient {
            shape,
            options,
            isa,
            sum,
        })
    }

    /// Parts that the sum over the batch is cut into.
    pub fn shards(&self) -> usize {
        self.sum.shards()
    }

    fn dy_len(&self) -> usize {
        dy_len(&self.shape, self.options.unpool)
    }
}

impl Kernel for Conv2dWeightGradient {
    fn name(&self) -> &'static str {
        NAME
    }

    fn items(&self) -> usize {
        self.sum.items()
    }

    fn scratch_len(&self) -> usize {
        self.sum.scratch_len()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (dy, shards) = (self.dy_len(), self.shards());
        let writes = if self.options.accumulate {
            Access::ReadWrite
        } else {
            Access::Write
        };
        let output = |name, len: usize| OperandSpec {
            access: writes,
            ..OperandSpec::write(name, DType::F32, shards * len)
        };
        vec![
            OperandSpec::read("x", DType::F32, self.shape.in_len()),
            OperandSpec::read("dy", DType::F32, dy),
            OperandSpec::read("argmax", DType::U8, dy).needed_if(self.options.unpool.is_some()),
            output("dw", self.shape.weights().len(self.isa)),
            output("db", self.shape.out_channels).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        let [pool_h, pool_w] = self.options.unpool.unwrap_or([1, 1]);
        let per_output = 2 * self.shape.weights().taps * self.shape.weights().inner;
        (self.dy_len() * pool_h * pool_w) as u64 * per_output as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let operands = WeightOperands {
            x: cx.ptr(0),
            dy: cx.ptr(1),
            argmax: cx.ptr(2),
            dw: cx.ptr_mut(3),
            db: cx.ptr_mut(4),
        };
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe { self.sum.run(cx, &operands, item) }
        }
    }
}
