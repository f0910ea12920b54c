//! Walking a line of floats: whole vectors, then what is left of it under a mask.

use super::Simd;

/// 0, 1, 2, .. for as many lanes as any instruction set has.
static LANE: [f32; 16] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
];

/// True in the first `count` lanes.
#[inline(always)]
pub(crate) fn first_lanes<S: Simd>(s: S, count: usize) -> S::M {
    // SAFETY: no instruction set has more lanes than the table.
    let lane = unsafe { s.load(LANE.as_ptr()) };
    s.lt(lane, s.splat(count as f32))
}

/// The first `count` floats at `from`, and `rest` in the lanes behind them.
///
/// # Safety
/// `count` floats can be read at `from`.
#[inline(always)]
pub(crate) unsafe fn load_or<S: Simd>(s: S, count: usize, from: *const f32, rest: f32) -> S::F {
    // SAFETY: the caller vouches for the floats.
    let found = unsafe { load(s, count, from) };
    if count == S::LANES {
        found
    } else {
        s.select(first_lanes(s, count), found, s.splat(rest))
    }
}

/// `count` floats at `from`, which is all lanes or fewer, and zeros behind them.
///
/// # Safety
/// `count` floats can be read at `from`.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(s: S, count: usize, from: *const f32) -> S::F {
    // SAFETY: the caller vouches for the floats.
    unsafe {
        if count == S::LANES {
            s.load(from)
        } else {
            s.load_first(count, from)
        }
    }
}

/// Writes the first `count` lanes, which is all or fewer.
///
/// # Safety
/// `count` floats can be written at `to`.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(s: S, count: usize, to: *mut f32, value: S::F) {
    // SAFETY: the caller vouches for the floats.
    unsafe {
        if count == S::LANES {
            s.store(to, value)
        } else {
            s.store_first(count, to, value)
        }
    }
}

/// Runs a body for every piece of a line of `$len` floats, with its position and number of floats:
/// `LANES`, known when the body is compiled, but for what is left at the end. (A load of memory
/// that was just written under a mask has to wait, so masks are kept to the end.)
macro_rules! each_piece {
    ($len:expr, |$at:ident, $count:ident| $body:expr) => {{
        let len: usize = $len;
        let whole = len - len % S::LANES;
        let mut $at = 0;
        while $at < whole {
            let $count = S::LANES;
            $body;
            $at += S::LANES;
        }
        if whole < len {
            let $count = len - whole;
            $body;
        }
    }};
}
pub(crate) use each_piece;
