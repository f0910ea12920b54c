//! One vector vocabulary for every instruction set.
//!
//! A kernel body is one generic `#[inline(always)]` function over a [`Simd`] token; the
//! [`simd_entry!`] macro makes an entry of it per instruction set, compiled with that set's
//! features, and hands out the right one as a function pointer when a kernel is made. A token's
//! existence is the proof that the processor has the instructions, so arithmetic is safe; only
//! memory access by pointer is not.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod line;
pub(crate) mod math;
mod scalar;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use scalar::Scalar;

/// Vectors of `LANES` floats (`F`), 32-bit integers (`I`) and truth values (`M`).
///
/// Comparisons with NaN are false, except [`Simd::ne`]. [`Simd::max`] and [`Simd::min`] return the
/// second argument where either is NaN, as x86 does: `max(bound, x)` lets a NaN in `x` through.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Lanes of a vector.
    const LANES: usize;
    /// Floats.
    type F: Copy;
    /// 32-bit integers.
    type I: Copy;
    /// Truth values.
    type M: Copy;

    fn splat(self, value: f32) -> Self::F;
    /// # Safety
    /// `LANES` floats can be read at `from`.
    unsafe fn load(self, from: *const f32) -> Self::F;
    /// # Safety
    /// `LANES` floats can be written at `to`.
    unsafe fn store(self, to: *mut f32, value: Self::F);
    /// Asks for the cache line of `from`, which need not be readable, where the instruction set can.
    #[inline(always)]
    fn prefetch(self, _from: *const f32) {}
    /// The first `count` (at most `LANES`) floats at `from`, zeros behind them.
    /// # Safety
    /// `count` floats can be read at `from`.
    unsafe fn load_first(self, count: usize, from: *const f32) -> Self::F;
    /// Writes the first `count` (at most `LANES`) lanes only.
    /// # Safety
    /// `count` floats can be written at `to`.
    unsafe fn store_first(self, count: usize, to: *mut f32, value: Self::F);

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the instruction set can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    fn neg(self, a: Self::F) -> Self::F;
    fn floor(self, a: Self::F) -> Self::F;
    fn ceil(self, a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// Sum of the lanes, in an order that is fixed per instruction set.
    fn sum(self, a: Self::F) -> f32;
    /// Largest lane; unspecified where a lane is NaN.
    fn largest(self, a: Self::F) -> f32;
    /// Smallest lane; unspecified where a lane is NaN.
    fn smallest(self, a: Self::F) -> f32;

    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    fn le(self, a: Self::F, b: Self::F) -> Self::M;
    fn gt(self, a: Self::F, b: Self::F) -> Self::M;
    fn ge(self, a: Self::F, b: Self::F) -> Self::M;
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    fn ne(self, a: Self::F, b: Self::F) -> Self::M;
    fn and(self, a: Self::M, b: Self::M) -> Self::M;
    fn or(self, a: Self::M, b: Self::M) -> Self::M;
    /// `yes` where the mask is true, `no` elsewhere.
    fn select(self, mask: Self::M, yes: Self::F, no: Self::F) -> Self::F;

    fn i_splat(self, value: i32) -> Self::I;
    /// # Safety
    /// `LANES` integers can be read at `from`.
    unsafe fn i_load(self, from: *const i32) -> Self::I;
    /// # Safety
    /// `LANES` integers can be written at `to`.
    unsafe fn i_store(self, to: *mut i32, value: Self::I);
    /// `LANES` bytes at `from`, zero-extended.
    /// # Safety
    /// `LANES` bytes can be read at `from`.
    unsafe fn i_load_u8(self, from: *const u8) -> Self::I;
    /// The low byte of every lane.
    /// # Safety
    /// `LANES` bytes can be written at `to`.
    unsafe fn i_store_u8(self, to: *mut u8, value: Self::I);
    fn i_add(self, a: Self::I, b: Self::I) -> Self::I;
    /// Low 32 bits of the product.
    fn i_mul(self, a: Self::I, b: Self::I) -> Self::I;
    /// High 32 bits of the unsigned product.
    fn i_mul_high_u32(self, a: Self::I, b: Self::I) -> Self::I;
    fn i_and(self, a: Self::I, b: Self::I) -> Self::I;
    fn i_or(self, a: Self::I, b: Self::I) -> Self::I;
    fn i_xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shift left by `BITS` (below 32).
    fn i_shl<const BITS: u32>(self, a: Self::I) -> Self::I;
    /// Logical shift right by `BITS` (below 32).
    fn i_shr<const BITS: u32>(self, a: Self::I) -> Self::I;
    fn i_eq(self, a: Self::I, b: Self::I) -> Self::M;
    /// Signed comparison.
    fn i_gt(self, a: Self::I, b: Self::I) -> Self::M;
    fn i_select(self, mask: Self::M, yes: Self::I, no: Self::I) -> Self::I;
    /// To the nearest integer, ties to even; `i32::MIN` where it does not fit.
    fn to_int(self, a: Self::F) -> Self::I;
    fn to_float(self, a: Self::I) -> Self::F;
    /// The same bits as integers.
    fn to_bits(self, a: Self::F) -> Self::I;
    /// The same bits as floats.
    #[expect(
        clippy::wrong_self_convention,
        reason = "the token is not what is converted"
    )]
    fn from_bits(self, a: Self::I) -> Self::F;

    /// Writes the transpose of 8 rows of 8 floats; rows are `from_row` and `to_row` floats apart.
    /// # Safety
    /// The rows can be read at `from` and written at `to`, which do not overlap.
    unsafe fn transpose8(self, from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        for row in 0..8 {
            for col in 0..8 {
                // SAFETY: the caller vouches for both blocks.
                unsafe { *to.add(col * to_row + row) = *from.add(row * from_row + col) };
            }
        }
    }
}

/// Makes `fn name(isa: Isa) -> unsafe fn(..)` out of a generic body whose first argument is a
/// [`Simd`] token: one entry per instruction set, compiled with that set's features.
///
/// ```text
/// simd_entry! {
///     /// What it does and what its arguments must be.
///     fn scale_for(values: *mut f32, count: usize, factor: f32) = scale
/// }
/// #[inline(always)]
/// unsafe fn scale<S: Simd>(s: S, values: *mut f32, count: usize, factor: f32) { .. }
/// ```
macro_rules! simd_entry {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:path
    ) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::Isa) -> unsafe fn($($ty),*) $(-> $ret)? {
            unsafe fn scalar($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller keeps the contract of the body.
                unsafe { $body($crate::simd::Scalar::new(), $($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this entry is handed out for processors with AVX2 and FMA only; the
                // caller keeps the contract of the body.
                unsafe { $body($crate::simd::Avx2::new(), $($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this entry is handed out for processors with AVX-512 only; the caller
                // keeps the contract of the body.
                unsafe { $body($crate::simd::Avx512::new(), $($arg),*) }
            }
            assert!(isa.is_available(), "this processor has no {isa}");
            match isa {
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 => avx2,
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512 => avx512,
                _ => scalar,
            }
        }
    };
}
pub(crate) use simd_entry;
