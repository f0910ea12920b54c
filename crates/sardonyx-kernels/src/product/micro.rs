//! The micro-kernel: a tile of up to fourteen rows by one panel, summed in registers.
#![expect(
    clippy::needless_range_loop,
    reason = "counted loops are what unrolls into registers"
)]

use super::edge::Edge;
use super::epilogue::{Activation, Gate};
use crate::Isa;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Scalar, Simd};

/// Floats of a cache line.
const LINE: usize = 16;

/// Most rows that any tile has.
pub(crate) const MAX_ROWS: usize = 14;

/// A run of consecutive `k`: where it starts in a row of A and in a panel of B, in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) a: usize,
    pub(crate) b: usize,
}

/// What a tile's sums start from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// One number per column; null for zeros.
    pub(crate) bias: *const f32,
    /// Added to every element: laid out as the output; null for none.
    pub(crate) add: *const f32,
}

/// What happens to a tile's sums before they are stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Finish {
    pub(crate) activation: Activation,
    /// A gate and the activation's output, laid out as the tile's output.
    pub(crate) gate: Option<(Gate, *const f32)>,
}

/// One tile: `c[i][j] = clip(start + sum over k of a[i][k] * b[k][j])`, as many rows and columns
/// as its function has.
///
/// # Safety
/// For the tile's functions: `rows` and `outs` lead to as many elements as the tile has rows. For
/// every segment and every `t < run`, `rows[i][segment.a + t * a_step]` can be read, and so can a
/// tile's width of floats at `b[segment.b + t * b_step]`. As many can be written at
/// `c + outs[i] + at`, read at `add` with the same offsets, and at `bias`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) rows: *const *const f32,
    /// Where each output row starts, in floats from `c`.
    pub(crate) outs: *const usize,
    pub(crate) c: *mut f32,
    /// Column offset of the tile in the output rows.
    pub(crate) at: usize,
    pub(crate) segments: &'a [Segment],
    pub(crate) run: usize,
    pub(crate) a_step: usize,
    pub(crate) b: *const f32,
    pub(crate) b_step: usize,
    pub(crate) start: Start,
    /// Bounds of the result.
    pub(crate) clip: Option<(f32, f32)>,
    pub(crate) ahead: Ahead,
}

/// What is brought to the second-level cache while a tile is summed: a line at every step of `k`.
/// Tiles whose rows are adjacent bring nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    /// Need not be readable.
    pub(crate) from: *const f32,
    /// Floats from one step of `k` to the next.
    pub(crate) step: usize,
}

impl Ahead {
    /// Nothing to speak of.
    pub(crate) const NOTHING: Ahead = Ahead {
        from: std::ptr::null(),
        step: 0,
    };
}

pub(crate) type TileFn = unsafe fn(&Tile<'_>);

/// Tiles of one width, by number of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) tiles: &'static [TileFn],
    /// The same for rows of A that start one float after the other: only the first of
    /// [`Tile::rows`] is read, so that all of them are addressed from one register.
    pub(crate) adjacent: &'static [TileFn],
    /// Floats of a row.
    pub(crate) width: usize,
}

/// The micro-kernels of one instruction set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Micro {
    pub(crate) panel_width: usize,
    pub(crate) edge: Edge,
    narrow: Family,
    wide: Family,
}

impl Micro {
    pub(crate) fn new(isa: Isa) -> Micro {
        let edge = Edge::new(isa);
        let panel_width = isa.panel_width();
        let (lanes, narrow, wide) = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => (16, AVX512_1, AVX512_2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => (8, AVX2_1, AVX2_2),
            _ => (8, SCALAR_1, SCALAR_1),
        };
        let family = |(tiles, adjacent), width| Family {
            tiles,
            adjacent,
            width,
        };
        Micro {
            panel_width,
            edge,
            narrow: family(narrow, lanes),
            wide: family(wide, panel_width),
        }
    }

    /// The tiles for `cols` columns: as wide as one vector where that is enough.
    pub(crate) fn family(&self, cols: usize) -> Family {
        if cols <= self.narrow.width {
            self.narrow
        } else {
            self.wide
        }
    }

    /// Most rows of a tile as wide as a panel.
    pub(crate) fn rows(&self) -> usize {
        self.wide.tiles.len()
    }
}

/// Loops over rows and vectors are plain and short, so that they are unrolled completely and the
/// sums live in registers: whatever needs more than that happens in [`super::edge`].
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize, const ADJACENT: bool>(
    s: S,
    t: &Tile<'_>,
) {
    // SAFETY: the caller keeps the contract of `Tile`; every access below is one that it names.
    unsafe {
        let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
        load_start(s, t, &mut sums);
        multiply::<S, ROWS, VECTORS, ADJACENT>(s, t, &mut sums);
        if let Some((low, high)) = t.clip {
            let (low, high) = (s.splat(low), s.splat(high));
            for i in 0..ROWS {
                for v in 0..VECTORS {
                    sums[i][v] = s.min(high, s.max(low, sums[i][v]));
                }
            }
        }
        for i in 0..ROWS {
            let to = t.c.add(*t.outs.add(i) + t.at);
            for v in 0..VECTORS {
                s.store(to.add(v * S::LANES), sums[i][v]);
            }
        }
    }
}

#[inline(always)]
unsafe fn load_start<S: Simd, const ROWS: usize, const VECTORS: usize>(
    s: S,
    t: &Tile<'_>,
    sums: &mut [[S::F; VECTORS]; ROWS],
) {
    // SAFETY: the caller keeps the contract of `Tile`.
    unsafe {
        if !t.start.bias.is_null() {
            for v in 0..VECTORS {
                let bias = s.load(t.start.bias.add(v * S::LANES));
                for i in 0..ROWS {
                    sums[i][v] = bias;
                }
            }
        }
        if !t.start.add.is_null() {
            for i in 0..ROWS {
                let from = t.start.add.add(*t.outs.add(i) + t.at);
                for v in 0..VECTORS {
                    sums[i][v] = s.add(sums[i][v], s.load(from.add(v * S::LANES)));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize, const ADJACENT: bool>(
    s: S,
    t: &Tile<'_>,
    sums: &mut [[S::F; VECTORS]; ROWS],
) {
    // SAFETY: the caller keeps the contract of `Tile`.
    unsafe {
        let mut rows = [std::ptr::null::<f32>(); ROWS];
        for i in 0..ROWS {
            rows[i] = if ADJACENT {
                (*t.rows).wrapping_add(i)
            } else {
                *t.rows.add(i)
            };
        }
        let mut ahead = t.ahead.from;
        for segment in t.segments {
            let (mut b, mut at) = (t.b.add(segment.b), segment.a);
            for _ in 0..t.run {
                if !ADJACENT {
                    s.prefetch(ahead);
                    // A row alone has no others to bring the rest of what it skips.
                    if ROWS == 1 && VECTORS * S::LANES > LINE {
                        s.prefetch(ahead.wrapping_add(LINE));
                    }
                    ahead = ahead.wrapping_add(t.ahead.step);
                }
                let mut columns = [s.splat(0.0); VECTORS];
                for v in 0..VECTORS {
                    columns[v] = s.load(b.add(v * S::LANES));
                }
                for i in 0..ROWS {
                    // Beyond what general registers hold, row pointers are read where they are
                    // used: otherwise the compiler advances, spills and reloads all of them.
                    let row = if ADJACENT {
                        rows[0].wrapping_add(i)
                    } else if ROWS > 9 {
                        t.rows.add(i).read_volatile()
                    } else {
                        rows[i]
                    };
                    let a = s.splat(*row.add(at));
                    for v in 0..VECTORS {
                        sums[i][v] = s.fma(a, columns[v], sums[i][v]);
                    }
                }
                b = b.wrapping_add(t.b_step);
                at += t.a_step;
            }
        }
    }
}

unsafe fn scalar<const ROWS: usize, const VECTORS: usize, const ADJACENT: bool>(t: &Tile<'_>) {
    // SAFETY: the caller keeps the contract of `Tile`.
    unsafe { tile::<Scalar, ROWS, VECTORS, ADJACENT>(Scalar::new(), t) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const ROWS: usize, const VECTORS: usize, const ADJACENT: bool>(t: &Tile<'_>) {
    // SAFETY: the caller keeps the contract of `Tile`; `Micro::new` saw the instruction set.
    unsafe { tile::<Avx2, ROWS, VECTORS, ADJACENT>(Avx2::new(), t) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512<const ROWS: usize, const VECTORS: usize, const ADJACENT: bool>(t: &Tile<'_>) {
    // SAFETY: the caller keeps the contract of `Tile`; `Micro::new` saw the instruction set.
    unsafe { tile::<Avx512, ROWS, VECTORS, ADJACENT>(Avx512::new(), t) }
}

macro_rules! family {
    ($name:ident = $entry:ident, $vectors:literal: $($rows:literal)*) => {
        static $name: (&[TileFn], &[TileFn]) = (
            &[$($entry::<$rows, $vectors, false>),*],
            &[$($entry::<$rows, $vectors, true>),*],
        );
    };
}

family!(SCALAR_1 = scalar, 1: 1 2 3 4);
#[cfg(target_arch = "x86_64")]
family!(AVX2_1 = avx2, 1: 1 2 3 4 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
family!(AVX2_2 = avx2, 2: 1 2 3 4 5 6);
#[cfg(target_arch = "x86_64")]
family!(AVX512_1 = avx512, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
#[cfg(target_arch = "x86_64")]
family!(AVX512_2 = avx512, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
