//! Transposition of any axes.

use std::ops::Range;

use super::{by_size, element_size, item_len};
use crate::view::collapse;
use crate::{DType, Kernel, KernelError, OperandSpec, Result, Run, View};

/// Rows and columns that are transposed at a time where elements change neighbours.
const TILE: usize = 16;

/// `y = transpose(x)`: axis `i` of the output is axis `axes[i]` of the input.
///
/// Operands: 0 `x` (read), 1 `y` (written), both of the element type.
#[derive(Debug)]
pub struct Permute {
    dtype: DType,
    size: usize,
    len: usize,
    /// Axes of the output that neither last axis is: sizes, and steps in input and output.
    outer: Vec<Axis>,
    /// The output's last axis.
    across: Axis,
    /// The input's last axis, where that is another one.
    down: Axis,
    /// Tiles (or pieces of rows) of one outer index, along both.
    tiles: [usize; 2],
    tile: [usize; 2],
    units_per_item: usize,
}

#[derive(Debug, Clone, Copy)]
struct Axis {
    size: usize,
    input_stride: usize,
    output_stride: usize,
}

impl Permute {
    /// The transposition of an input of sizes `dims`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when `axes` is no permutation of the axes, or elements have no
    /// fixed size.
    pub fn new(dtype: DType, dims: &[usize], axes: &[usize]) -> Result<Permute> {
        let size = element_size("permute", dtype)?;
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..dims.len()) {
            return Err(KernelError::Geometry {
                kernel: "permute",
                problem: format!("{axes:?} is no permutation of {} axes", dims.len()),
            });
        }
        let input = View::full(dims);
        let view = View {
            offset: 0,
            strides: axes.iter().map(|axis| input.strides[*axis]).collect(),
        };
        let output: Vec<usize> = axes.iter().map(|axis| dims[*axis]).collect();
        let (sizes, strides) = collapse(&output, &[view, View::full(&output)]);
        let mut all: Vec<Axis> = (0..sizes.len())
            .map(|axis| Axis {
                size: sizes[axis],
                input_stride: strides[0][axis],
                output_stride: strides[1][axis],
            })
            .collect();
        let across = all.pop().expect("there is at least one axis");
        // Where the input's last axis is not the output's, a tile has both.
        let down = all
            .iter()
            .position(|axis| axis.input_stride == 1 && across.input_stride != 1);
        let down = down.map(|index| all.remove(index)).unwrap_or(Axis {
            size: 1,
            input_stride: 1,
            output_stride: across.size,
        });
        Ok(Permute::with_axes(dtype, size, all, [down, across]))
    }

    fn with_axes(
        dtype: DType,
        size: usize,
        outer: Vec<Axis>,
        [down, across]: [Axis; 2],
    ) -> Permute {
        let is_copy = across.input_stride == 1;
        let tile = if is_copy {
            [1, item_len(size)]
        } else {
            [4 * TILE, 4 * TILE]
        };
        let rows: usize = outer.iter().map(|axis| axis.size).product();
        let tiles = [down.size.div_ceil(tile[0]), across.size.div_ceil(tile[1])];
        let unit_len = down.size.min(tile[0]) * across.size.min(tile[1]);
        Permute {
            dtype,
            size,
            len: rows * down.size * across.size,
            outer,
            across,
            down,
            tiles,
            tile,
            units_per_item: (item_len(size) / unit_len.max(1)).max(1),
        }
    }

    fn units(&self) -> usize {
        let outer: usize = self.outer.iter().map(|axis| axis.size).product();
        outer * self.tiles[0] * self.tiles[1]
    }

    /// # Safety
    /// `T` has the element's size; the unit belongs to the item at hand.
    unsafe fn run_unit<T: Copy + Default>(&self, x: *const T, y: *mut T, unit: usize) {
        let (unit, across) = (unit / self.tiles[1], unit % self.tiles[1] * self.tile[1]);
        let (mut rest, down) = (unit / self.tiles[0], unit % self.tiles[0] * self.tile[0]);
        let mut from = down * self.down.input_stride + across * self.across.input_stride;
        let mut to = down * self.down.output_stride + across * self.across.output_stride;
        for axis in self.outer.iter().rev() {
            from += rest % axis.size * axis.input_stride;
            to += rest % axis.size * axis.output_stride;
            rest /= axis.size;
        }
        let size = [
            self.tile[0].min(self.down.size - down),
            self.tile[1].min(self.across.size - across),
        ];
        // SAFETY: the tile lies within both operands, and its output belongs to the unit.
        unsafe {
            if self.across.input_stride == 1 {
                std::ptr::copy_nonoverlapping(x.add(from), y.add(to), size[1]);
            } else {
                let strides = [self.across.input_stride, self.down.output_stride];
                transpose(
                    x.add(from),
                    y.add(to),
                    size,
                    strides,
                    self.down.input_stride,
                );
            }
        }
    }
}

/// `y[d][a] = x[a][d]` for `d` below `size[0]` and `a` below `size[1]`; rows of `x` are
/// `strides[0]` apart and their elements `step`, rows of `y` `strides[1]` apart.
///
/// # Safety
/// The elements lie within the operands.
unsafe fn transpose<T: Copy + Default>(
    x: *const T,
    y: *mut T,
    size: [usize; 2],
    strides: [usize; 2],
    step: usize,
) {
    // A few rows side by side, as the channels of an image, are one short loop.
    // SAFETY: the caller vouches for the elements.
    unsafe {
        match size[1] {
            2 => return interleave::<T, 2>(x, y, size[0], strides, step),
            3 => return interleave::<T, 3>(x, y, size[0], strides, step),
            4 => return interleave::<T, 4>(x, y, size[0], strides, step),
            _ => {}
        }
    }
    for down in (0..size[0]).step_by(TILE) {
        for across in (0..size[1]).step_by(TILE) {
            let (downs, acrosses) = (TILE.min(size[0] - down), TILE.min(size[1] - across));
            // SAFETY: the caller vouches for the elements.
            unsafe {
                let x = x.add(across * strides[0] + down * step);
                let y = y.add(down * strides[1] + across);
                if downs == TILE && acrosses == TILE && step == 1 {
                    transpose_tile(x, y, strides);
                    continue;
                }
                for d in 0..downs {
                    for a in 0..acrosses {
                        *y.add(d * strides[1] + a) = *x.add(a * strides[0] + d * step);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`transpose`], with `N` rows of `x`.
unsafe fn interleave<T: Copy, const N: usize>(
    x: *const T,
    y: *mut T,
    len: usize,
    strides: [usize; 2],
    step: usize,
) {
    for d in 0..len {
        for a in 0..N {
            // SAFETY: the caller vouches for the elements.
            unsafe { *y.add(d * strides[1] + a) = *x.add(a * strides[0] + d * step) };
        }
    }
}

/// Transposes a tile in a buffer, so that memory sees whole lines on both sides: rows whose
/// distance is a power of two share few places in the cache.
///
/// # Safety
/// A tile can be read at `x` and written at `y`.
unsafe fn transpose_tile<T: Copy + Default>(x: *const T, y: *mut T, strides: [usize; 2]) {
    let mut columns = [[T::default(); TILE]; TILE];
    // SAFETY: the caller vouches for the tile, and the buffer has its size.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if size_of::<T>() == 4 {
            transpose_words(x.cast(), columns.as_mut_ptr().cast(), strides[0]);
        } else {
            transpose_elements(x, &mut columns, strides[0]);
        }
        #[cfg(not(target_arch = "x86_64"))]
        transpose_elements(x, &mut columns, strides[0]);
        for (d, column) in columns.iter().enumerate() {
            y.add(d * strides[1])
                .cast::<[T; TILE]>()
                .write_unaligned(*column);
        }
    }
}

/// # Safety
/// A tile can be read at `x`.
unsafe fn transpose_elements<T: Copy>(x: *const T, to: &mut [[T; TILE]; TILE], stride: usize) {
    for a in 0..TILE {
        // SAFETY: the caller vouches for the tile.
        let row = unsafe { x.add(a * stride).cast::<[T; TILE]>().read_unaligned() };
        for (column, value) in to.iter_mut().zip(row) {
            column[a] = value;
        }
    }
}

/// The same for elements of four bytes, four by four in registers that every x86-64 has.
///
/// # Safety
/// A tile can be read at `x`, and written without gaps at `to`.
#[cfg(target_arch = "x86_64")]
unsafe fn transpose_words(x: *const u32, to: *mut u32, stride: usize) {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64,
        _mm_unpacklo_epi32, _mm_unpacklo_epi64,
    };
    for a in (0..TILE).step_by(4) {
        for d in (0..TILE).step_by(4) {
            // SAFETY: the caller vouches for the tile; the instructions are of every x86-64.
            unsafe {
                let row = |i: usize| _mm_loadu_si128(x.add((a + i) * stride + d).cast::<__m128i>());
                let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
                let (low01, high01) = (_mm_unpacklo_epi32(r0, r1), _mm_unpackhi_epi32(r0, r1));
                let (low23, high23) = (_mm_unpacklo_epi32(r2, r3), _mm_unpackhi_epi32(r2, r3));
                let columns = [
                    _mm_unpacklo_epi64(low01, low23),
                    _mm_unpackhi_epi64(low01, low23),
                    _mm_unpacklo_epi64(high01, high23),
                    _mm_unpackhi_epi64(high01, high23),
                ];
                for (i, column) in columns.into_iter().enumerate() {
                    _mm_storeu_si128(to.add((d + i) * TILE + a).cast::<__m128i>(), column);
                }
            }
        }
    }
}

impl Kernel for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn items(&self) -> usize {
        self.units().div_ceil(self.units_per_item)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.dtype, self.len),
            OperandSpec::write("y", self.dtype, self.len),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            let first = item * self.units_per_item;
            for unit in first..self.units().min(first + self.units_per_item) {
                by_size!(self.size, T => {
                    // SAFETY: the operands have elements of this size; the unit is the item's.
                    unsafe { self.run_unit::<T>(cx.ptr(0), cx.ptr_mut(1), unit) }
                });
            }
        }
    }
}
