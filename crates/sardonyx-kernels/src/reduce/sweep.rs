//! The loops of reductions: over one contiguous line, and over lines side by side.

use super::Reduction;
use crate::Isa;
use crate::simd::line::{each_piece, first_lanes, load, load_or, store};
use crate::simd::{Simd, math, simd_entry};

/// Columns that are taken together where lines lie side by side.
pub(super) const TILE_COLUMNS: usize = 64;

/// Rows that are summed in registers before they are added to what came before, which keeps the
/// error of long sums small.
const TILE_ROWS: usize = 64;

/// Elements of a line that are summed in lanes before they are added to what came before.
const TILE_LEN: usize = 4096;

/// Lines side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// Elements of a line.
    pub(super) len: usize,
    /// Distance of its elements.
    pub(super) stride: usize,
    /// Number of lines, at most [`TILE_COLUMNS`].
    pub(super) count: usize,
}

/// The loops of one reduction on one instruction set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweeps {
    /// Reduces lines, whose number and length are given, and writes their results side by side.
    pub(crate) lines: unsafe fn(*const f32, *mut f32, [usize; 2]),
    /// Reduces columns and writes their results side by side.
    pub(crate) columns: unsafe fn(*const f32, *mut f32, Columns),
}

/// An associative operation, what it starts from, and what it does to an element first.
trait Fold {
    const START: f32;
    fn step<S: Simd>(s: S, sum: S::F, x: S::F) -> S::F;
    fn join<S: Simd>(s: S, a: S::F, b: S::F) -> S::F;
    /// All lanes joined.
    fn lanes<S: Simd>(s: S, sum: S::F) -> f32;
}

macro_rules! folds {
    ($(
        $name:ident($variant:pat) = $start:expr, |$s:ident, $sum:ident, $x:ident|
        step $step:expr, join $join:expr, lanes $lanes:expr;
    )*) => {
        $(
            #[derive(Debug)]
            struct $name;

            impl Fold for $name {
                const START: f32 = $start;

                #[inline(always)]
                fn step<S: Simd>($s: S, $sum: S::F, $x: S::F) -> S::F {
                    $step
                }

                #[inline(always)]
                fn join<S: Simd>($s: S, $sum: S::F, $x: S::F) -> S::F {
                    $join
                }

                #[inline(always)]
                fn lanes<S: Simd>($s: S, $sum: S::F) -> f32 {
                    $lanes
                }
            }
        )*

        impl Sweeps {
            /// The loops of `reduction`, without what comes after the sum.
            pub(crate) fn of(reduction: Reduction, isa: Isa) -> Sweeps {
                match reduction {
                    Reduction::LogSumExp => Sweeps {
                        lines: exponential_lines_for(isa),
                        columns: exponential_columns_for(isa),
                    },
                    $($variant => {
                        simd_entry! {
                            fn lines_for(
                                x: *const f32, y: *mut f32, size: [usize; 2]
                            ) = lines::<_, $name>
                        }
                        simd_entry! {
                            fn columns_for(
                                x: *const f32, y: *mut f32, of: Columns
                            ) = columns::<_, $name>
                        }
                        Sweeps {
                            lines: lines_for(isa),
                            columns: columns_for(isa),
                        }
                    })*
                }
            }
        }
    };
}

folds! {
    Sum(Reduction::Sum | Reduction::Mean | Reduction::LogSum) = 0.0, |s, sum, x|
        step s.add(sum, x), join s.add(sum, x), lanes s.sum(sum);
    Square(Reduction::SumSquare | Reduction::L2) = 0.0, |s, sum, x|
        step s.fma(x, x, sum), join s.add(sum, x), lanes s.sum(sum);
    Magnitude(Reduction::L1) = 0.0, |s, sum, x|
        step s.add(sum, s.abs(x)), join s.add(sum, x), lanes s.sum(sum);
    Product(Reduction::Product) = 1.0, |s, sum, x|
        step s.mul(sum, x), join s.mul(sum, x), lanes product(s, sum);
    // The order of arguments keeps a NaN that came before, the selection one that comes now.
    Max(Reduction::Max) = f32::NEG_INFINITY, |s, sum, x|
        step s.select(s.ne(x, x), x, s.max(x, sum)),
        join s.select(s.ne(x, x), x, s.max(x, sum)),
        lanes if has_nan(s, sum) { f32::NAN } else { s.largest(sum) };
    Min(Reduction::Min) = f32::INFINITY, |s, sum, x|
        step s.select(s.ne(x, x), x, s.min(x, sum)),
        join s.select(s.ne(x, x), x, s.min(x, sum)),
        lanes if has_nan(s, sum) { f32::NAN } else { s.smallest(sum) };
}

#[inline(always)]
fn has_nan<S: Simd>(s: S, x: S::F) -> bool {
    s.sum(s.select(s.ne(x, x), s.splat(1.0), s.splat(0.0))) > 0.0
}

#[inline(always)]
fn product<S: Simd>(s: S, x: S::F) -> f32 {
    let mut lanes = [1.0f32; 16];
    // SAFETY: no instruction set has more lanes than the array.
    unsafe { s.store(lanes.as_mut_ptr(), x) };
    lanes.iter().product()
}

#[inline(always)]
unsafe fn lines<S: Simd, R: Fold>(s: S, x: *const f32, y: *mut f32, [count, len]: [usize; 2]) {
    for at in 0..count {
        // SAFETY: the caller vouches for the lines and their results.
        unsafe { *y.add(at) = line::<S, R>(s, x.add(at * len), len) };
    }
}

#[inline(always)]
unsafe fn line<S: Simd, R: Fold>(s: S, x: *const f32, len: usize) -> f32 {
    let start = s.splat(R::START);
    let mut total = start;
    let step = 4 * S::LANES;
    for tile in (0..len).step_by(TILE_LEN) {
        let end = len.min(tile + TILE_LEN);
        let whole = tile + (end - tile) / step * step;
        let mut sums = [start; 4];
        // SAFETY: every access is below `len`, which the caller vouches for.
        unsafe {
            for at in (tile..whole).step_by(step) {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    *sum = R::step(s, *sum, s.load(x.add(at + lane * S::LANES)));
                }
            }
            each_piece!(end - whole, |at, count| {
                let found = load(s, count, x.add(whole + at));
                let next = R::step(s, sums[0], found);
                sums[0] = if count == S::LANES {
                    next
                } else {
                    s.select(first_lanes(s, count), next, sums[0])
                };
            });
        }
        let [a, b, c, d] = sums;
        let sum = R::join(s, R::join(s, a, b), R::join(s, c, d));
        total = R::join(s, total, sum);
    }
    R::lanes(s, total)
}

#[inline(always)]
unsafe fn columns<S: Simd, R: Fold>(s: S, x: *const f32, y: *mut f32, of: Columns) {
    // SAFETY: the columns lie within `x` and `y`; groups of vectors within the columns.
    unsafe {
        each_piece!(of.count, |at, count| {
            store(s, count, y.add(at), s.splat(R::START));
        });
        for first in (0..of.len).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(of.len - first);
            let x = x.add(first * of.stride);
            let mut at = 0;
            while at + 4 * S::LANES <= of.count {
                tile::<S, R, 4>(s, x.add(at), y.add(at), [rows, of.stride]);
                at += 4 * S::LANES;
            }
            while at + S::LANES <= of.count {
                tile::<S, R, 1>(s, x.add(at), y.add(at), [rows, of.stride]);
                at += S::LANES;
            }
            let count = of.count - at;
            if count > 0 {
                let mut sum = s.splat(R::START);
                for row in 0..rows {
                    let found = load(s, count, x.add(at + row * of.stride));
                    sum = R::step(s, sum, found);
                }
                let before = load(s, count, y.add(at));
                store(s, count, y.add(at), R::join(s, before, sum));
            }
        }
    }
}

/// Joins `rows` rows of `N` vectors to what is at `y`.
#[inline(always)]
unsafe fn tile<S: Simd, R: Fold, const N: usize>(
    s: S,
    x: *const f32,
    y: *mut f32,
    [rows, stride]: [usize; 2],
) {
    let mut sums = [s.splat(R::START); N];
    // SAFETY: the caller vouches for the rows and for `N` vectors at `y`.
    unsafe {
        for row in 0..rows {
            let x = x.add(row * stride);
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum = R::step(s, *sum, s.load(x.add(lane * S::LANES)));
            }
        }
        for (lane, sum) in sums.into_iter().enumerate() {
            let y = y.add(lane * S::LANES);
            s.store(y, R::join(s, s.load(y), sum));
        }
    }
}

simd_entry! {
    fn exponential_lines_for(x: *const f32, y: *mut f32, size: [usize; 2]) = exponential_lines
}
simd_entry! {
    fn exponential_columns_for(
        x: *const f32, y: *mut f32, of: Columns
    ) = exponential_columns
}

/// What exponents are taken relative to: the largest element, or 0 where that is infinite.
#[inline(always)]
fn centre<S: Simd>(s: S, largest: S::F) -> S::F {
    let infinite = s.eq(s.abs(largest), s.splat(f32::INFINITY));
    s.select(infinite, s.splat(0.0), largest)
}

#[inline(always)]
unsafe fn exponential_lines<S: Simd>(s: S, x: *const f32, y: *mut f32, [count, len]: [usize; 2]) {
    for at in 0..count {
        // SAFETY: the caller vouches for the lines and their results.
        unsafe { *y.add(at) = exponential_line(s, x.add(at * len), len) };
    }
}

#[inline(always)]
unsafe fn exponential_line<S: Simd>(s: S, x: *const f32, len: usize) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    let mut sum = s.splat(0.0);
    // SAFETY: every piece lies within the line.
    unsafe {
        each_piece!(len, |at, count| {
            largest = s.max(load_or(s, count, x.add(at), f32::NEG_INFINITY), largest);
        });
        let centre = centre(s, s.splat(s.largest(largest)));
        each_piece!(len, |at, count| {
            let found = load_or(s, count, x.add(at), f32::NEG_INFINITY);
            sum = s.add(sum, math::exp(s, s.sub(found, centre)));
        });
        let made = s.add(centre, math::ln(s, s.splat(s.sum(sum))));
        let mut lanes = [0.0f32; 16];
        s.store(lanes.as_mut_ptr(), made);
        lanes[0]
    }
}

#[inline(always)]
unsafe fn exponential_columns<S: Simd>(s: S, x: *const f32, y: *mut f32, of: Columns) {
    // SAFETY: the columns lie within `x` and `y`.
    unsafe {
        each_piece!(of.count, |at, count| {
            let rows = (0..of.len).map(|row| x.add(at + row * of.stride));
            let mut largest = s.splat(f32::NEG_INFINITY);
            for row in rows.clone() {
                largest = s.max(load(s, count, row), largest);
            }
            let centre = centre(s, largest);
            let mut sum = s.splat(0.0);
            for row in rows {
                sum = s.add(sum, math::exp(s, s.sub(load(s, count, row), centre)));
            }
            store(s, count, y.add(at), s.add(centre, math::ln(s, sum)));
        });
    }
}
