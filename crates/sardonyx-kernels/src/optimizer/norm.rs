//! The norm of all gradients together, and the factor that keeps it in bounds.

use std::ops::Range;

use crate::reduce::{Reduction, Sweeps};
use crate::{DType, Isa, Kernel, OperandSpec, Run};

/// Floats of one item.
const ITEM_LEN: usize = 16 * 1024;

/// Sums of squares of pieces of all gradients, for [`ClipScale`].
///
/// Operands: the gradients in order (read, f32), then `partials` (written, f32,
/// [`GradientNorm::partials`] elements).
#[derive(Debug)]
pub struct GradientNorm {
    lens: Vec<usize>,
    /// Gradient and first float of every item.
    pieces: Vec<(usize, usize)>,
    sweeps: Sweeps,
}

/// The norm of all gradients, and the factor by which they must be multiplied so that it is at
/// most a limit: `min(limit / (norm + 1e-6), 1)`, as PyTorch clips; NaN where the norm is.
///
/// Operands: 0 `partials` (read, f32), 1 `limit` (read, one f64), 2 `norm` (written, one f32,
/// optional), 3 `scale` (written, one f32): operand `gradient_scale` of [`crate::Optimizer`].
#[derive(Debug)]
pub struct ClipScale {
    partials: usize,
}

impl GradientNorm {
    /// Over gradients of these lengths.
    pub fn new(isa: Isa, lens: &[usize]) -> GradientNorm {
        let starts = |len: usize| (0..len).step_by(ITEM_LEN);
        let pieces = lens.iter().enumerate();
        let pieces = pieces.flat_map(|(gradient, len)| starts(*len).map(move |at| (gradient, at)));
        GradientNorm {
            pieces: pieces.collect(),
            lens: lens.to_vec(),
            sweeps: Sweeps::of(Reduction::SumSquare, isa),
        }
    }

    /// Floats of operand `partials`.
    pub fn partials(&self) -> usize {
        self.pieces.len()
    }
}

impl ClipScale {
    /// Over as many partial sums.
    pub fn new(partials: usize) -> ClipScale {
        ClipScale { partials }
    }
}

impl Kernel for GradientNorm {
    fn name(&self) -> &'static str {
        "gradient_norm"
    }

    fn items(&self) -> usize {
        self.pieces.len()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let gradients = self.lens.iter();
        let gradients = gradients.map(|len| OperandSpec::read("gradient", DType::F32, *len));
        let partials = OperandSpec::write("partials", DType::F32, self.pieces.len());
        gradients.chain([partials]).collect()
    }

    fn flops(&self) -> u64 {
        2 * self.lens.iter().sum::<usize>() as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            let (gradient, start) = self.pieces[item];
            let len = ITEM_LEN.min(self.lens[gradient] - start);
            // SAFETY: the piece lies within its gradient, and the partial sum is this item's own.
            unsafe {
                let x = cx.ptr::<f32>(gradient).add(start);
                let sum = cx.ptr_mut::<f32>(self.lens.len()).add(item);
                (self.sweeps.lines)(x, sum, [1, len]);
            }
        }
    }
}

impl Kernel for ClipScale {
    fn name(&self) -> &'static str {
        "clip_scale"
    }

    fn items(&self) -> usize {
        1
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("partials", DType::F32, self.partials),
            OperandSpec::read("limit", DType::F64, 1),
            OperandSpec::write("norm", DType::F32, 1).or_absent(),
            OperandSpec::write("scale", DType::F32, 1),
        ]
    }

    fn flops(&self) -> u64 {
        self.partials as u64
    }

    fn run(&self, cx: &Run<'_>, _items: Range<usize>) {
        // SAFETY: the operands have these elements, and the call one item.
        unsafe {
            let partials = cx.slice::<f32>(0, 0..self.partials);
            let norm = partials
                .iter()
                .map(|sum| f64::from(*sum))
                .sum::<f64>()
                .sqrt();
            let ratio = *cx.ptr::<f64>(1) / (norm + 1e-6);
            // Written so that a NaN stays.
            let scale = if ratio > 1.0 { 1.0 } else { ratio };
            *cx.ptr_mut::<f32>(3) = scale as f32;
            if cx.has(2) {
                *cx.ptr_mut::<f32>(2) = norm as f32;
            }
        }
    }
}
