//! Normalisation of every row by itself.

use std::ops::Range;

use crate::simd::line::{each_piece, first_lanes, load, store};
use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Run};

/// Elements of one item.
const ITEM_LEN: usize = 8 * 1024;

/// Most items of the gradient, each of which has sums of its own.
const MAX_PARTS: usize = 32;

/// Rows to be normalised, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNormOptions {
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub len: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether the mean is taken off. Without it the variance is the mean square (RMS
    /// normalisation).
    pub centred: bool,
}

/// `y = (x - mean) / sqrt(variance + epsilon) * scale + bias` of every row.
///
/// Operands (f32): 0 `x` (read, `[rows, len]`), 1 `scale` (read, `len`, optional), 2 `bias` (read,
/// `len`, optional), 3 `y` (written, `[rows, len]`; may be `x`), 4 `mean` and 5 `inv_std`
/// (written, one per row, optional).
#[derive(Debug)]
pub struct LayerNorm {
    options: LayerNormOptions,
    sweep: unsafe fn(&Row, LayerNormOptions),
}

/// Gradient of [`LayerNorm`]. The row's statistics are worked out anew.
///
/// Operands (f32): 0 `x`, 1 `dy` (read, `[rows, len]`), 2 `scale` (read, `len`, optional), 3 `dx`
/// (written, `[rows, len]`; may be `x` or `dy`), 4 `scale_sums` and 5 `bias_sums` (written,
/// `[parts, len]` with [`LayerNormGrad::parts`], optional): the sums of each over the parts
/// ([`crate::Reduce`]) are the gradients of scale and bias.
#[derive(Debug)]
pub struct LayerNormGrad {
    options: LayerNormOptions,
    sweep: unsafe fn(&GradRow, LayerNormOptions),
}

#[derive(Debug)]
struct Row {
    x: *const f32,
    /// Null where it is absent, as all below.
    scale: *const f32,
    bias: *const f32,
    y: *mut f32,
    mean: *mut f32,
    inv_std: *mut f32,
}

#[derive(Debug)]
struct GradRow {
    x: *const f32,
    dy: *const f32,
    /// Null where it is absent, as all below.
    scale: *const f32,
    dx: *mut f32,
    scale_sums: *mut f32,
    bias_sums: *mut f32,
}

simd_entry! {
    fn row_for(row: &Row, options: LayerNormOptions) = row_forward
}
simd_entry! {
    fn grad_row_for(row: &GradRow, options: LayerNormOptions) = row_backward
}

/// `pointer + offset`, or null as before.
fn moved<T>(pointer: *mut T, offset: usize) -> *mut T {
    if pointer.is_null() {
        pointer
    } else {
        pointer.wrapping_add(offset)
    }
}

impl LayerNormOptions {
    fn elements(self) -> usize {
        self.rows * self.len
    }
}

impl LayerNorm {
    /// The kernel.
    pub fn new(isa: Isa, options: LayerNormOptions) -> LayerNorm {
        LayerNorm {
            options,
            sweep: row_for(isa),
        }
    }

    fn rows(&self, item: usize) -> Range<usize> {
        let step = (ITEM_LEN / self.options.len.max(1)).max(1);
        item * step..self.options.rows.min((item + 1) * step)
    }
}

impl Kernel for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn items(&self) -> usize {
        let step = (ITEM_LEN / self.options.len.max(1)).max(1);
        self.options.rows.div_ceil(step)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let LayerNormOptions { rows, len, .. } = self.options;
        vec![
            OperandSpec::read("x", DType::F32, rows * len),
            OperandSpec::read("scale", DType::F32, len).or_absent(),
            OperandSpec::read("bias", DType::F32, len).or_absent(),
            OperandSpec::write("y", DType::F32, rows * len),
            OperandSpec::write("mean", DType::F32, rows).or_absent(),
            OperandSpec::write("inv_std", DType::F32, rows).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        8 * self.options.elements() as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (0, 3)
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let (rows, len) = (self.rows(item), self.options.len);
        match operand {
            0 | 3 => Some(rows.start * len..rows.end * len),
            4 | 5 => Some(rows),
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let len = self.options.len;
        for row in items.flat_map(|item| self.rows(item)) {
            let row = Row {
                x: cx.ptr::<f32>(0).wrapping_add(row * len),
                scale: cx.ptr(1),
                bias: cx.ptr(2),
                y: cx.ptr_mut::<f32>(3).wrapping_add(row * len),
                mean: moved(cx.ptr_mut(4), row),
                inv_std: moved(cx.ptr_mut(5), row),
            };
            // SAFETY: the row lies within the operands and is one of this call's.
            unsafe { (self.sweep)(&row, self.options) };
        }
    }
}

impl LayerNormGrad {
    /// The kernel.
    pub fn new(isa: Isa, options: LayerNormOptions) -> LayerNormGrad {
        LayerNormGrad {
            options,
            sweep: grad_row_for(isa),
        }
    }

    /// Rows of operands `scale_sums` and `bias_sums`.
    pub fn parts(&self) -> usize {
        let wanted = self.options.elements() / ITEM_LEN;
        wanted.clamp(1, MAX_PARTS).min(self.options.rows.max(1))
    }

    fn rows(&self, item: usize) -> Range<usize> {
        let (rows, parts) = (self.options.rows, self.parts());
        rows * item / parts..rows * (item + 1) / parts
    }
}

impl Kernel for LayerNormGrad {
    fn name(&self) -> &'static str {
        "layer_norm_grad"
    }

    fn items(&self) -> usize {
        self.parts()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (all, len) = (self.options.elements(), self.options.len);
        vec![
            OperandSpec::read("x", DType::F32, all),
            OperandSpec::read("dy", DType::F32, all),
            OperandSpec::read("scale", DType::F32, len).or_absent(),
            OperandSpec::write("dx", DType::F32, all),
            OperandSpec::write("scale_sums", DType::F32, self.parts() * len).or_absent(),
            OperandSpec::write("bias_sums", DType::F32, self.parts() * len).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        16 * self.options.elements() as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        matches!((read, written), (0 | 1, 3))
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let (rows, len) = (self.rows(item), self.options.len);
        match operand {
            0 | 1 | 3 => Some(rows.start * len..rows.end * len),
            4 | 5 => Some(item * len..(item + 1) * len),
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let len = self.options.len;
        for item in items {
            let sums = [4, 5].map(|operand| moved(cx.ptr_mut::<f32>(operand), item * len));
            for sums in sums.into_iter().filter(|sums| !sums.is_null()) {
                // SAFETY: the item's own row of the sums.
                unsafe { std::ptr::write_bytes(sums, 0, len) };
            }
            for row in self.rows(item) {
                let row = GradRow {
                    x: cx.ptr::<f32>(0).wrapping_add(row * len),
                    dy: cx.ptr::<f32>(1).wrapping_add(row * len),
                    scale: cx.ptr(2),
                    dx: cx.ptr_mut::<f32>(3).wrapping_add(row * len),
                    scale_sums: sums[0],
                    bias_sums: sums[1],
                };
                // SAFETY: the row lies within the operands and is one of this item's.
                unsafe { (self.sweep)(&row, self.options) };
            }
        }
    }
}

/// Mean and inverse of the deviation of a row.
///
/// # Safety
/// `options.len` floats can be read at `x`.
#[inline(always)]
unsafe fn statistics<S: Simd>(s: S, x: *const f32, options: LayerNormOptions) -> [f32; 2] {
    let LayerNormOptions {
        len,
        epsilon,
        centred,
        ..
    } = options;
    let (zero, share) = (s.splat(0.0), 1.0 / len as f32);
    let (mut sum, mut squares) = (zero, zero);
    // SAFETY: every piece lies within the row.
    unsafe {
        if centred {
            each_piece!(len, |at, count| {
                sum = s.add(sum, load(s, count, x.add(at)));
            });
        }
        let mean = s.sum(sum) * share;
        each_piece!(len, |at, count| {
            let distance = s.sub(load(s, count, x.add(at)), s.splat(mean));
            let distance = s.select(first_lanes(s, count), distance, zero);
            squares = s.fma(distance, distance, squares);
        });
        let variance = s.sum(squares) * share;
        [mean, 1.0 / (variance + epsilon).sqrt()]
    }
}

#[inline(always)]
unsafe fn row_forward<S: Simd>(s: S, row: &Row, options: LayerNormOptions) {
    // SAFETY: the caller vouches for the row and for what is not null.
    unsafe {
        let [mean, inv_std] = statistics(s, row.x, options);
        let (centre, factor) = (s.splat(mean), s.splat(inv_std));
        each_piece!(options.len, |at, count| {
            let mut y = s.mul(s.sub(load(s, count, row.x.add(at)), centre), factor);
            if !row.scale.is_null() {
                y = s.mul(y, load(s, count, row.scale.add(at)));
            }
            if !row.bias.is_null() {
                y = s.add(y, load(s, count, row.bias.add(at)));
            }
            store(s, count, row.y.add(at), y);
        });
        if !row.mean.is_null() {
            *row.mean = mean;
        }
        if !row.inv_std.is_null() {
            *row.inv_std = inv_std;
        }
    }
}

#[inline(always)]
unsafe fn row_backward<S: Simd>(s: S, row: &GradRow, options: LayerNormOptions) {
    let (zero, share) = (s.splat(0.0), 1.0 / options.len as f32);
    let (mut plain, mut along) = (zero, zero);
    // SAFETY: the caller vouches for the row and for what is not null.
    unsafe {
        let [mean, inv_std] = statistics(s, row.x, options);
        let (mean, inv_std) = (s.splat(mean), s.splat(inv_std));
        // Lanes behind the row's end have a gradient of zero.
        let visit = |at: usize, count: usize| {
            let unit = s.mul(s.sub(load(s, count, row.x.add(at)), mean), inv_std);
            let dy = load(s, count, row.dy.add(at));
            let scaled = match row.scale.is_null() {
                true => dy,
                false => s.mul(dy, load(s, count, row.scale.add(at))),
            };
            (unit, dy, scaled)
        };
        each_piece!(options.len, |at, count| {
            let (unit, dy, scaled) = visit(at, count);
            plain = s.add(plain, scaled);
            along = s.fma(scaled, unit, along);
            for (sums, value) in [(row.scale_sums, s.mul(dy, unit)), (row.bias_sums, dy)] {
                if !sums.is_null() {
                    let sum = s.add(load(s, count, sums.add(at)), value);
                    store(s, count, sums.add(at), sum);
                }
            }
        });
        let plain = if options.centred {
            s.splat(s.sum(plain) * share)
        } else {
            zero
        };
        let along = s.splat(s.sum(along) * share);
        each_piece!(options.len, |at, count| {
            let (unit, _, scaled) = visit(at, count);
            let bent = s.sub(s.sub(scaled, plain), s.mul(unit, along));
            store(s, count, row.dx.add(at), s.mul(bent, inv_std));
        });
    }
}
