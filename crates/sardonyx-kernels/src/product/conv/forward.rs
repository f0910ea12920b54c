//! The forward convolution.

use std::ops::Range;

use super::core::{Core, Operands, pooled_len};
use super::plan::{Geometry, Split};
use super::shape::ConvShape;
use super::stage::Images;
use super::window::Grid;
use crate::product::epilogue::{Activation, Addend};
use crate::product::micro::{Finish, Start};
use crate::{DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// What a convolution does besides convolving.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ConvOptions {
    /// What is added besides the bias. Not together with pooling.
    pub addend: Addend,
    /// Applied last, after any pooling.
    pub activation: Activation,
    /// Max-pools the outputs over windows of this height and width that tile the image; what is
    /// left over at the bottom and right is not computed. At most 255 elements.
    pub pool: Option<[usize; 2]>,
    /// Images of one item; `None` lets the kernel choose. With a number, items are blocks of that
    /// many whole images and nothing else, so that kernels can form a chain.
    pub images_per_item: Option<usize>,
}

/// `y = activation(pool(convolution(x) + bias + addend))`.
///
/// Operands: 0 `x` (read, f32 `[batch, height, width, in_channels]`), 1 `weights` (read, f32
/// panels of [`ConvShape::weights`]), 2 `bias` (optional, read, f32 `[out_channels]`), 3 `residual`
/// (read, f32 as y, may be y's own region; needed for [`Addend::Residual`]), 4 `y` (written, or
/// updated for [`Addend::Output`]; f32 `[batch, h, w, out_channels]`, `h` and `w` being the
/// pooled sizes where it pools), 5 `argmax` (written, u8 as y; only with pooling, optional): which
/// element of its window each output is, counted row by row, or 255 where ReLU or a clip is flat.
#[derive(Debug)]
pub struct Conv2d {
    shape: ConvShape,
    options: ConvOptions,
    isa: Isa,
    core: Core,
    image_lens: [usize; 2],
}

const X: usize = 0;
const WEIGHTS: usize = 1;
const BIAS: usize = 2;
const RESIDUAL: usize = 3;
const Y: usize = 4;
const ARGMAX: usize = 5;

impl Conv2d {
    /// The kernel for `shape`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for sizes that no convolution has, a window of no or more than
    /// 255 elements, an addend together with pooling, or items without images.
    pub fn new(isa: Isa, shape: ConvShape, options: ConvOptions) -> Result<Conv2d> {
        shape.check("conv2d")?;
        check_window("conv2d", options.pool)?;
        let problem = if options.pool.is_some() && options.addend != Addend::Nothing {
            Some("an addend together with pooling")
        } else {
            (options.images_per_item == Some(0)).then_some("items without images")
        };
        if let Some(problem) = problem {
            return Err(KernelError::Geometry {
                kernel: "conv2d",
                problem: problem.into(),
            });
        }
        let flat = shape.is_pointwise() && options.pool.is_none();
        let split = split(&shape, options.images_per_item, flat);
        let plain = if flat { shape.flattened() } else { shape };
        let target = Images {
            height: plain.out_height(),
            width: plain.out_width(),
            channels: plain.out_channels,
        };
        let [pool_h, pool_w] = options.pool.unwrap_or([1, 1]);
        let (rows, cols) = (
            target.height / pool_h * pool_h,
            target.width / pool_w * pool_w,
        );
        let geometry = Geometry {
            batch: plain.batch,
            source: Images {
                height: plain.height,
                width: plain.width,
                channels: plain.in_channels,
            },
            target,
            weights: plain.weights(),
            grids: vec![Grid::forward(&plain, rows, cols)],
            pool: options.pool,
            unpool: None,
            split,
        };
        let image_lens = [
            geometry.source.len(),
            pooled_len(&geometry.target, [pool_h, pool_w]),
        ];
        Ok(Conv2d {
            shape,
            options,
            isa,
            core: Core::new(isa, geometry),
            image_lens,
        })
    }

    fn y_len(&self) -> usize {
        let [pool_h, pool_w] = self.options.pool.unwrap_or([1, 1]);
        self.shape.batch
            * (self.shape.out_height() / pool_h)
            * (self.shape.out_width() / pool_w)
            * self.shape.out_channels
    }
}

/// # Errors
/// [`KernelError::Geometry`] for a window whose elements a byte cannot count.
pub(super) fn check_window(kernel: &'static str, window: Option<[usize; 2]>) -> Result<()> {
    match window {
        Some([h, w]) if !(1..=255).contains(&h.saturating_mul(w)) => {
            let problem = format!("a pooling window of {h} x {w} elements; hint: 1 to 255");
            Err(KernelError::Geometry { kernel, problem })
        }
        _ => Ok(()),
    }
}

/// What an item of a convolution is; `flat` for one that is computed as [`ConvShape::flattened`].
pub(super) fn split(shape: &ConvShape, images_per_item: Option<usize>, flat: bool) -> Split {
    match images_per_item {
        None => Split::Auto,
        Some(images) if flat => Split::Rows((images * shape.height * shape.width).max(1)),
        Some(images) => Split::Images(images),
    }
}

impl Kernel for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn items(&self) -> usize {
        self.core.items()
    }

    fn scratch_len(&self) -> usize {
        self.core.scratch_len()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (shape, y_len) = (&self.shape, self.y_len());
        let argmax_len = if self.options.pool.is_some() {
            y_len
        } else {
            0
        };
        vec![
            OperandSpec::read("x", DType::F32, shape.in_len()),
            OperandSpec::read("weights", DType::F32, shape.weights().len(self.isa)),
            OperandSpec::read("bias", DType::F32, shape.out_channels).or_absent(),
            OperandSpec::read("residual", DType::F32, y_len)
                .needed_if(self.options.addend == Addend::Residual),
            self.options
                .addend
                .output(OperandSpec::write("y", DType::F32, y_len)),
            OperandSpec::write("argmax", DType::U8, argmax_len).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        let [pool_h, pool_w] = self.options.pool.unwrap_or([1, 1]);
        let per_output = 2 * self.shape.weights().taps * self.shape.weights().inner;
        (self.y_len() * pool_h * pool_w) as u64 * per_output as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (RESIDUAL, Y)
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        match operand {
            X => self.core.part(item, self.image_lens[0]),
            RESIDUAL | Y | ARGMAX => self.core.part(item, self.image_lens[1]),
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let pooled = self.options.pool.is_some();
        let operands = Operands {
            source: cx.ptr(X),
            source_argmax: std::ptr::null(),
            weights: cx.ptr(WEIGHTS),
            start: Start {
                bias: cx.ptr(BIAS),
                add: self.options.addend.pointer(cx, RESIDUAL, Y),
            },
            finish: Finish {
                activation: self.options.activation,
                gate: None,
            },
            target: cx.ptr_mut(Y),
            target_argmax: if pooled {
                cx.ptr_mut(ARGMAX)
            } else {
                std::ptr::null_mut()
            },
        };
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe { self.core.run(cx, &operands, item) }
        }
    }
}
