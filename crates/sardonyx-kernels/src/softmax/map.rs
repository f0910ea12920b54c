//! Softmax and log-softmax as maps of a tensor to one of its shape, and their gradients.

use std::ops::Range;

use super::exponent::{Peak, of_line, of_lines};
use super::{Group, Groups};
use crate::simd::line::{each_piece, load, store};
use crate::simd::{Simd, math, simd_entry};
use crate::{AxisShape, DType, Isa, Kernel, OperandSpec, Run};

/// Lines of one shape: number of elements and the distance between them.
#[derive(Debug, Clone, Copy)]
struct Lines {
    len: usize,
    stride: usize,
    count: usize,
}

type Map = unsafe fn(*const f32, *mut f32, Lines);
type Gradient = unsafe fn(*const f32, *const f32, *mut f32, Lines);

/// `y = softmax(x)` or its logarithm along an axis. A line with a NaN, with an infinity, or of
/// nothing but negative infinities becomes NaN.
///
/// Operands: 0 `x` (read), 1 `y` (written), both f32 of the whole shape; `y` may be `x`.
#[derive(Debug)]
pub struct Softmax {
    groups: Groups,
    map: Map,
}

/// Gradient of [`Softmax`] by its value: `y (dy - sum(dy y))`, for the logarithm
/// `dy - e^y sum(dy)`.
///
/// Operands: 0 `y` (read), 1 `dy` (read), 2 `dx` (written), all f32 of the whole shape; `dx` may
/// be `y` or `dy`.
#[derive(Debug)]
pub struct SoftmaxGrad {
    groups: Groups,
    map: Gradient,
}

/// Makes a line of floats its softmax.
pub(crate) type LineFn = unsafe fn(*mut f32, usize);

simd_entry! {
    /// As many floats as `len` says can be read and written at `line`.
    fn line_for(line: *mut f32, len: usize) = line_in_place
}

pub(crate) fn line_function(isa: Isa) -> LineFn {
    line_for(isa)
}

simd_entry! {
    fn softmax_line_for(x: *const f32, y: *mut f32, lines: Lines) = softmax_line
}
simd_entry! {
    fn softmax_lines_for(x: *const f32, y: *mut f32, lines: Lines) = softmax_lines
}
simd_entry! {
    fn log_line_for(x: *const f32, y: *mut f32, lines: Lines) = log_line
}
simd_entry! {
    fn log_lines_for(x: *const f32, y: *mut f32, lines: Lines) = log_lines
}
simd_entry! {
    fn softmax_grad_line_for(
        y: *const f32, dy: *const f32, dx: *mut f32, lines: Lines
    ) = softmax_grad_line
}
simd_entry! {
    fn softmax_grad_lines_for(
        y: *const f32, dy: *const f32, dx: *mut f32, lines: Lines
    ) = softmax_grad_lines
}
simd_entry! {
    fn log_grad_line_for(y: *const f32, dy: *const f32, dx: *mut f32, lines: Lines) = log_grad_line
}
simd_entry! {
    fn log_grad_lines_for(
        y: *const f32, dy: *const f32, dx: *mut f32, lines: Lines
    ) = log_grad_lines
}

impl Softmax {
    /// Softmax along the axis of `shape`.
    pub fn new(isa: Isa, shape: AxisShape) -> Softmax {
        let map = if shape.inner == 1 {
            softmax_line_for
        } else {
            softmax_lines_for
        };
        Softmax {
            groups: Groups::new(shape),
            map: map(isa),
        }
    }

    /// The logarithm of softmax along the axis of `shape`.
    pub fn logarithm(isa: Isa, shape: AxisShape) -> Softmax {
        let map = if shape.inner == 1 {
            log_line_for
        } else {
            log_lines_for
        };
        Softmax {
            groups: Groups::new(shape),
            map: map(isa),
        }
    }
}

impl SoftmaxGrad {
    /// Gradient of [`Softmax::new`].
    pub fn new(isa: Isa, shape: AxisShape) -> SoftmaxGrad {
        let map = if shape.inner == 1 {
            softmax_grad_line_for
        } else {
            softmax_grad_lines_for
        };
        SoftmaxGrad {
            groups: Groups::new(shape),
            map: map(isa),
        }
    }

    /// Gradient of [`Softmax::logarithm`].
    pub fn logarithm(isa: Isa, shape: AxisShape) -> SoftmaxGrad {
        let map = if shape.inner == 1 {
            log_grad_line_for
        } else {
            log_grad_lines_for
        };
        SoftmaxGrad {
            groups: Groups::new(shape),
            map: map(isa),
        }
    }
}

impl Groups {
    fn lines_of(&self, group: Group) -> Lines {
        Lines {
            len: self.shape.len,
            stride: self.shape.inner,
            count: group.lines,
        }
    }
}

impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn items(&self) -> usize {
        self.groups.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let len = self.groups.shape.elements();
        vec![
            OperandSpec::read("x", DType::F32, len),
            OperandSpec::write("y", DType::F32, len),
        ]
    }

    fn flops(&self) -> u64 {
        12 * self.groups.shape.elements() as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (0, 1)
    }

    fn part(&self, _operand: usize, item: usize) -> Option<Range<usize>> {
        self.groups.part(item)
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for group in items.flat_map(|item| self.groups.of_item(item)) {
            let x = cx.ptr::<f32>(0).wrapping_add(group.start);
            let y = cx.ptr_mut::<f32>(1).wrapping_add(group.start);
            // SAFETY: the group's lines lie within both operands and belong to one item.
            unsafe { (self.map)(x, y, self.groups.lines_of(group)) };
        }
    }
}

impl Kernel for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax_grad"
    }

    fn items(&self) -> usize {
        self.groups.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let len = self.groups.shape.elements();
        vec![
            OperandSpec::read("y", DType::F32, len),
            OperandSpec::read("dy", DType::F32, len),
            OperandSpec::write("dx", DType::F32, len),
        ]
    }

    fn flops(&self) -> u64 {
        4 * self.groups.shape.elements() as u64
    }

    fn in_place(&self, _read: usize, written: usize) -> bool {
        written == 2
    }

    fn part(&self, _operand: usize, item: usize) -> Option<Range<usize>> {
        self.groups.part(item)
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for group in items.flat_map(|item| self.groups.of_item(item)) {
            let y = cx.ptr::<f32>(0).wrapping_add(group.start);
            let dy = cx.ptr::<f32>(1).wrapping_add(group.start);
            let dx = cx.ptr_mut::<f32>(2).wrapping_add(group.start);
            // SAFETY: the group's lines lie within the operands and belong to one item.
            unsafe { (self.map)(y, dy, dx, self.groups.lines_of(group)) };
        }
    }
}

#[inline(always)]
unsafe fn softmax_line<S: Simd>(s: S, x: *const f32, y: *mut f32, lines: Lines) {
    // SAFETY: the line lies within both operands, and `y` is at `x` or elsewhere.
    unsafe {
        let Peak { sum, .. } = of_line(s, x, y, lines.len);
        let scale = s.splat(1.0 / sum);
        each_piece!(lines.len, |at, count| {
            store(s, count, y.add(at), s.mul(load(s, count, y.add(at)), scale));
        });
    }
}

#[inline(always)]
unsafe fn line_in_place<S: Simd>(s: S, line: *mut f32, len: usize) {
    let (stride, count) = (1, 1);
    let lines = Lines { len, stride, count };
    // SAFETY: the caller vouches for the line.
    unsafe { softmax_line(s, line.cast_const(), line, lines) }
}

#[inline(always)]
unsafe fn log_line<S: Simd>(s: S, x: *const f32, y: *mut f32, lines: Lines) {
    // SAFETY: as for `softmax_line`.
    unsafe {
        let Peak { largest, sum } = of_line(s, x, std::ptr::null_mut(), lines.len);
        let (largest, log) = (s.splat(largest), math::ln(s, s.splat(sum)));
        each_piece!(lines.len, |at, count| {
            let centred = s.sub(load(s, count, x.add(at)), largest);
            store(s, count, y.add(at), s.sub(centred, log));
        });
    }
}

#[inline(always)]
unsafe fn softmax_lines<S: Simd>(s: S, x: *const f32, y: *mut f32, lines: Lines) {
    let size = [lines.len, lines.stride];
    // SAFETY: the lines lie within both operands, and `y` is at `x` or elsewhere.
    unsafe {
        each_piece!(lines.count, |column, count| {
            let (x, y) = (x.add(column), y.add(column));
            let Peak { sum, .. } = of_lines(s, x, y, size, count);
            let scale = s.div(s.splat(1.0), sum);
            for at in (0..lines.len).map(|at| at * lines.stride) {
                store(s, count, y.add(at), s.mul(load(s, count, y.add(at)), scale));
            }
        });
    }
}

#[inline(always)]
unsafe fn log_lines<S: Simd>(s: S, x: *const f32, y: *mut f32, lines: Lines) {
    let size = [lines.len, lines.stride];
    // SAFETY: as for `softmax_lines`.
    unsafe {
        each_piece!(lines.count, |column, count| {
            let (x, y) = (x.add(column), y.add(column));
            let Peak { largest, sum } = of_lines(s, x, std::ptr::null_mut(), size, count);
            let log = math::ln(s, sum);
            for at in (0..lines.len).map(|at| at * lines.stride) {
                let centred = s.sub(load(s, count, x.add(at)), largest);
                store(s, count, y.add(at), s.sub(centred, log));
            }
        });
    }
}

#[inline(always)]
unsafe fn softmax_grad_line<S: Simd>(
    s: S,
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    lines: Lines,
) {
    // SAFETY: the line lies within all operands, and `dx` is at one of the others or elsewhere.
    unsafe {
        let mut sum = s.splat(0.0);
        each_piece!(lines.len, |at, count| {
            let (y, dy) = (load(s, count, y.add(at)), load(s, count, dy.add(at)));
            sum = s.fma(y, dy, sum);
        });
        let sum = s.splat(s.sum(sum));
        each_piece!(lines.len, |at, count| {
            let (y, dy) = (load(s, count, y.add(at)), load(s, count, dy.add(at)));
            store(s, count, dx.add(at), s.mul(y, s.sub(dy, sum)));
        });
    }
}

#[inline(always)]
unsafe fn log_grad_line<S: Simd>(s: S, y: *const f32, dy: *const f32, dx: *mut f32, lines: Lines) {
    // SAFETY: as for `softmax_grad_line`.
    unsafe {
        let mut sum = s.splat(0.0);
        each_piece!(lines.len, |at, count| {
            sum = s.add(sum, load(s, count, dy.add(at)));
        });
        let sum = s.splat(s.sum(sum));
        each_piece!(lines.len, |at, count| {
            let (y, dy) = (load(s, count, y.add(at)), load(s, count, dy.add(at)));
            store(s, count, dx.add(at), s.sub(dy, s.mul(math::exp(s, y), sum)));
        });
    }
}

#[inline(always)]
unsafe fn softmax_grad_lines<S: Simd>(
    s: S,
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    lines: Lines,
) {
    // SAFETY: the lines lie within all operands, and `dx` is at one of the others or elsewhere.
    unsafe {
        each_piece!(lines.count, |column, count| {
            let mut sum = s.splat(0.0);
            let places = (0..lines.len).map(|at| column + at * lines.stride);
            for at in places.clone() {
                let (y, dy) = (load(s, count, y.add(at)), load(s, count, dy.add(at)));
                sum = s.fma(y, dy, sum);
            }
            for at in places {
                let (y, dy) = (load(s, count, y.add(at)), load(s, count, dy.add(at)));
                store(s, count, dx.add(at), s.mul(y, s.sub(dy, sum)));
            }
        });
    }
}

#[inline(always)]
unsafe fn log_grad_lines<S: Simd>(s: S, y: *const f32, dy: *const f32, dx: *mut f32, lines: Lines) {
    // SAFETY: as for `softmax_grad_lines`.
    unsafe {
        each_piece!(lines.count, |column, count| {
            let mut sum = s.splat(0.0);
            let places = (0..lines.len).map(|at| column + at * lines.stride);
            for at in places.clone() {
                sum = s.add(sum, load(s, count, dy.add(at)));
            }
            for at in places {
                let (y, dy) = (load(s, count, y.add(at)), load(s, count, dy.add(at)));
                store(s, count, dx.add(at), s.sub(dy, s.mul(math::exp(s, y), sum)));
            }
        });
    }
}
