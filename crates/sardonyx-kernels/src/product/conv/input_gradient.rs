//! The gradient of a convolution with respect to its input.

use std::ops::Range;

use super::core::{Core, Operands, pooled_len};
use super::forward::{check_window, split};
use super::narrow::NarrowCore;
use super::plan::Geometry;
use super::shape::ConvShape;
use super::stage::Images;
use super::window::Grid;
use crate::product::epilogue::{Activation, Addend, Gate};
use crate::product::micro::{Finish, Start};
use crate::{DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// How an input gradient is computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InputGradientOptions {
    /// The output gradient lies behind a max-pool with this window, as [`super::ConvOptions::pool`]
    /// describes it, and comes with its indices.
    pub unpool: Option<[usize; 2]>,
    /// What is added to the gradient.
    pub addend: Addend,
    /// Multiplies by the derivative of the activation that made the convolution's input: operand
    /// `gate` is that input.
    pub gate: Option<Gate>,
    /// Images of one item; as [`super::ConvOptions::images_per_item`].
    pub images_per_item: Option<usize>,
}

/// `dx = gate(convolution's transpose(dy) + addend)`.
///
/// Operands: 0 `dy` (read, f32 `[batch, h, w, out_channels]`, `h` and `w` being the pooled sizes
/// where it unpools), 1 `argmax` (read, u8 as dy; needed where it unpools), 2 `weights` (read, f32
/// transposed panels, as [`crate::TransposePanels`] makes them from [`ConvShape::weights`]),
/// 3 `residual` (read, f32 as dx, may be dx's own region; needed for [`Addend::Residual`]),
/// 4 `gate` (read, f32 as dx; needed where the options have a gate), 5 `dx` (written, or updated
/// for [`Addend::Output`]; f32 `[batch, height, width, in_channels]`).
#[derive(Debug)]
pub struct Conv2dInputGradient {
    shape: ConvShape,
    options: InputGradientOptions,
    isa: Isa,
    path: Path,
    image_lens: [usize; 2],
}

/// How the gradient is computed: each input gathers what reaches it, or each output gradient is
/// scattered.
#[derive(Debug)]
enum Path {
    Gather(Core),
    Scatter(NarrowCore),
}

const DY: usize = 0;
const ARGMAX: usize = 1;
const WEIGHTS: usize = 2;
const RESIDUAL: usize = 3;
const GATE: usize = 4;
const DX: usize = 5;

impl Conv2dInputGradient {
    /// The kernel for the gradient of a convolution of `shape`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for sizes that no convolution has, a window of no or more than
    /// 255 elements, or items without images.
    pub fn new(
        isa: Isa,
        shape: ConvShape,
        options: InputGradientOptions,
    ) -> Result<Conv2dInputGradient> {
        const NAME: &str = "conv2d_input_gradient";
        shape.check(NAME)?;
        check_window(NAME, options.unpool)?;
        if options.images_per_item == Some(0) {
            let problem = "items without images".into();
            return Err(KernelError::Geometry {
                kernel: NAME,
                problem,
            });
        }
        let flat = shape.is_pointwise() && options.unpool.is_none();
        let plain = if flat { shape.flattened() } else { shape };
        let source = Images {
            height: plain.out_height(),
            width: plain.out_width(),
            channels: plain.out_channels,
        };
        let geometry = Geometry {
            batch: plain.batch,
            source,
            target: Images {
                height: plain.height,
                width: plain.width,
                channels: plain.in_channels,
            },
            weights: plain.weights().transposed(),
            grids: Grid::input_gradient(&plain),
            pool: None,
            unpool: options.unpool,
            split: split(&shape, options.images_per_item, flat),
        };
        let image_lens = [
            pooled_len(&source, options.unpool.unwrap_or([1, 1])),
            geometry.target.len(),
        ];
        let path = if NarrowCore::pays(&shape) {
            Path::Scatter(NarrowCore::new(
                isa,
                shape,
                options.unpool,
                options.images_per_item,
            ))
        } else {
            Path::Gather(Core::new(isa, geometry))
        };
        Ok(Conv2dInputGradient {
            shape,
            options,
            isa,
            path,
            image_lens,
        })
    }

    fn dy_len(&self) -> usize {
        dy_len(&self.shape, self.options.unpool)
    }
}

/// Elements of a convolution's output gradient, which may lie behind a max-pool.
pub(super) fn dy_len(shape: &ConvShape, unpool: Option<[usize; 2]>) -> usize {
    let [pool_h, pool_w] = unpool.unwrap_or([1, 1]);
    let pixels = shape.out_height() / pool_h * (shape.out_width() / pool_w);
    shape.batch * pixels * shape.out_channels
}

impl Kernel for Conv2dInputGradient {
    fn name(&self) -> &'static str {
        "conv2d_input_gradient"
    }

    fn items(&self) -> usize {
        match &self.path {
            Path::Gather(core) => core.items(),
            Path::Scatter(core) => core.items(),
        }
    }

    fn scratch_len(&self) -> usize {
        match &self.path {
            Path::Gather(core) => core.scratch_len(),
            Path::Scatter(core) => core.scratch_len(),
        }
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (dy, dx) = (self.dy_len(), self.shape.in_len());
        let weights = self.shape.weights().transposed().len(self.isa);
        vec![
            OperandSpec::read("dy", DType::F32, dy),
            OperandSpec::read("argmax", DType::U8, dy).needed_if(self.options.unpool.is_some()),
            OperandSpec::read("weights", DType::F32, weights),
            OperandSpec::read("residual", DType::F32, dx)
                .needed_if(self.options.addend == Addend::Residual),
            OperandSpec::read("gate", DType::F32, dx).needed_if(self.options.gate.is_some()),
            self.options
                .addend
                .output(OperandSpec::write("dx", DType::F32, dx)),
        ]
    }

    fn flops(&self) -> u64 {
        let [pool_h, pool_w] = self.options.unpool.unwrap_or([1, 1]);
        let per_output = 2 * self.shape.weights().taps * self.shape.weights().inner;
        (self.dy_len() * pool_h * pool_w) as u64 * per_output as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (RESIDUAL, DX)
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let len = match operand {
            DY | ARGMAX => self.image_lens[0],
            RESIDUAL | GATE | DX => self.image_lens[1],
            _ => return None,
        };
        match &self.path {
            Path::Gather(core) => core.part(item, len),
            Path::Scatter(core) => core.part(item, len),
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let operands = Operands {
            source: cx.ptr(DY),
            source_argmax: cx.ptr(ARGMAX),
            weights: cx.ptr(WEIGHTS),
            start: Start {
                bias: std::ptr::null(),
                add: self.options.addend.pointer(cx, RESIDUAL, DX),
            },
            finish: Finish {
                activation: Activation::None,
                gate: self.options.gate.map(|gate| (gate, cx.ptr(GATE))),
            },
            target: cx.ptr_mut(DX),
            target_argmax: std::ptr::null_mut(),
        };
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe {
                match &self.path {
                    Path::Gather(core) => core.run(cx, &operands, item),
                    Path::Scatter(core) => core.run(cx, &operands, item),
                }
            }
        }
    }
}
