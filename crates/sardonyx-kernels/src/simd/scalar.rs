use super::Simd;

const LANES: usize = 8;

/// Plain Rust on arrays of eight: the fallback, and the path of other architectures, whose
/// compilers vectorise it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar(());

impl Scalar {
    /// # Safety
    /// None needed; unsafe as the other tokens are, so that entries look alike.
    pub(crate) const unsafe fn new() -> Scalar {
        Scalar(())
    }
}

#[inline(always)]
fn each<T: Copy, R>(a: [T; LANES], f: impl FnMut(T) -> R) -> [R; LANES] {
    a.map(f)
}

#[inline(always)]
fn pair<T: Copy, R>(a: [T; LANES], b: [T; LANES], f: impl Fn(T, T) -> R) -> [R; LANES] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

macro_rules! lanewise {
    ($($name:ident($($arg:ident),+): $from:ty => $to:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: [$from; LANES]),+) -> [$to; LANES] {
            std::array::from_fn(|lane| { $(let $arg = $arg[lane];)+ $body })
        }
    )*};
}

impl Simd for Scalar {
    const LANES: usize = LANES;
    type F = [f32; LANES];
    type I = [i32; LANES];
    type M = [bool; LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F {
        // SAFETY: the caller vouches for the lanes.
        unsafe { from.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::F) {
        // SAFETY: the caller vouches for the lanes.
        unsafe { to.cast::<Self::F>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn load_first(self, count: usize, from: *const f32) -> Self::F {
        let mut value = [0.0; LANES];
        // SAFETY: the caller vouches for `count` floats, at most `LANES`.
        unsafe { std::ptr::copy_nonoverlapping(from, value.as_mut_ptr(), count.min(LANES)) };
        value
    }
    #[inline(always)]
    unsafe fn store_first(self, count: usize, to: *mut f32, value: Self::F) {
        // SAFETY: the caller vouches for `count` floats, at most `LANES`.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, count.min(LANES)) };
    }

    lanewise! {
        add(a, b): f32 => f32 = a + b;
        sub(a, b): f32 => f32 = a - b;
        mul(a, b): f32 => f32 = a * b;
        div(a, b): f32 => f32 = a / b;
        fma(a, b, c): f32 => f32 = if cfg!(target_arch = "aarch64") {
            a.mul_add(b, c)
        } else {
            a * b + c
        };
        max(a, b): f32 => f32 = if a > b { a } else { b };
        min(a, b): f32 => f32 = if a < b { a } else { b };
        sqrt(a): f32 => f32 = a.sqrt();
        abs(a): f32 => f32 = a.abs();
        neg(a): f32 => f32 = -a;
        floor(a): f32 => f32 = a.floor();
        ceil(a): f32 => f32 = a.ceil();
        round(a): f32 => f32 = a.round_ties_even();
        lt(a, b): f32 => bool = a < b;
        le(a, b): f32 => bool = a <= b;
        gt(a, b): f32 => bool = a > b;
        ge(a, b): f32 => bool = a >= b;
        eq(a, b): f32 => bool = a == b;
        ne(a, b): f32 => bool = a != b;
        and(a, b): bool => bool = a && b;
        or(a, b): bool => bool = a || b;
        i_add(a, b): i32 => i32 = a.wrapping_add(b);
        i_mul(a, b): i32 => i32 = a.wrapping_mul(b);
        i_mul_high_u32(a, b): i32 => i32 =
            ((u64::from(a.cast_unsigned()) * u64::from(b.cast_unsigned())) >> 32) as i32;
        i_and(a, b): i32 => i32 = a & b;
        i_or(a, b): i32 => i32 = a | b;
        i_xor(a, b): i32 => i32 = a ^ b;
        i_eq(a, b): i32 => bool = a == b;
        i_gt(a, b): i32 => bool = a > b;
        to_int(a): f32 => i32 = {
            let rounded = a.round_ties_even();
            // The bounds are exact in f32; a NaN fails the comparison.
            if (-2_147_483_648.0..2_147_483_648.0).contains(&rounded) {
                rounded as i32
            } else {
                i32::MIN
            }
        };
        to_float(a): i32 => f32 = a as f32;
        to_bits(a): f32 => i32 = a.to_bits().cast_signed();
        from_bits(a): i32 => f32 = f32::from_bits(a.cast_unsigned());
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        let half = [a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]];
        (half[0] + half[2]) + (half[1] + half[3])
    }
    #[inline(always)]
    fn largest(self, a: Self::F) -> f32 {
        a.into_iter().fold(a[0], |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    fn smallest(self, a: Self::F) -> f32 {
        a.into_iter().fold(a[0], |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    fn select(self, mask: Self::M, yes: Self::F, no: Self::F) -> Self::F {
        std::array::from_fn(|lane| if mask[lane] { yes[lane] } else { no[lane] })
    }
    #[inline(always)]
    fn i_splat(self, value: i32) -> Self::I {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn i_load(self, from: *const i32) -> Self::I {
        // SAFETY: the caller vouches for the lanes.
        unsafe { from.cast::<Self::I>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn i_store(self, to: *mut i32, value: Self::I) {
        // SAFETY: the caller vouches for the lanes.
        unsafe { to.cast::<Self::I>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn i_load_u8(self, from: *const u8) -> Self::I {
        // SAFETY: the caller vouches for the lanes.
        each(
            unsafe { from.cast::<[u8; LANES]>().read_unaligned() },
            i32::from,
        )
    }
    #[inline(always)]
    unsafe fn i_store_u8(self, to: *mut u8, value: Self::I) {
        // SAFETY: the caller vouches for the lanes.
        unsafe {
            to.cast::<[u8; LANES]>()
                .write_unaligned(each(value, |lane| lane as u8))
        }
    }
    #[inline(always)]
    fn i_shl<const BITS: u32>(self, a: Self::I) -> Self::I {
        each(a, |lane| lane << BITS)
    }
    #[inline(always)]
    fn i_shr<const BITS: u32>(self, a: Self::I) -> Self::I {
        each(a, |lane| (lane.cast_unsigned() >> BITS).cast_signed())
    }
    #[inline(always)]
    fn i_select(self, mask: Self::M, yes: Self::I, no: Self::I) -> Self::I {
        let chosen = pair(yes, no, |y, n| (y, n));
        std::array::from_fn(|lane| {
            if mask[lane] {
                chosen[lane].0
            } else {
                chosen[lane].1
            }
        })
    }
}
