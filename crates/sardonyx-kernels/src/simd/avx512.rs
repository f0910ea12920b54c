//! AVX-512: sixteen lanes, masks in their own registers.

use std::arch::x86_64::*;

use super::Simd;

/// Token: this processor has AVX-512 F, BW, DQ and VL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor has AVX-512 F, BW, DQ and VL.
    #[inline(always)]
    pub(crate) const unsafe fn new() -> Avx512 {
        Avx512(())
    }
}

/// Safe operations: one intrinsic expression each.
macro_rules! operations {
    ($($(<const $bits:ident>)? $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name$(<const $bits: u32>)?(self, $($arg: $ty),*) -> $ret {
            // SAFETY: the token proves that the processor has the instructions.
            unsafe { $body }
        }
    )*};
}

/// Memory operations, whose callers vouch for the memory.
macro_rules! memory {
    ($($name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, $($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the token proves that the processor has the instructions, and the caller
            // vouches for the memory.
            unsafe { $body }
        }
    )*};
}

#[inline(always)]
const fn first_mask(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;

    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        // SAFETY: every processor with vectors has the instruction, which only gives a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    memory! {
        load(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
        store(to: *mut f32, value: __m512) = _mm512_storeu_ps(to, value);
        load_first(count: usize, from: *const f32) -> __m512 =
            _mm512_maskz_loadu_ps(first_mask(count), from);
        store_first(count: usize, to: *mut f32, value: __m512) =
            _mm512_mask_storeu_ps(to, first_mask(count), value);
        i_load(from: *const i32) -> __m512i = _mm512_loadu_si512(from.cast());
        i_store(to: *mut i32, value: __m512i) = _mm512_storeu_si512(to.cast(), value);
        i_load_u8(from: *const u8) -> __m512i = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
        i_store_u8(to: *mut u8, value: __m512i) =
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(value));
    }

    operations! {
        splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        abs(a: __m512) -> __m512 = _mm512_abs_ps(a);
        neg(a: __m512) -> __m512 = _mm512_xor_ps(_mm512_set1_ps(-0.0), a);
        floor(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
        ceil(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a);
        round(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        sum(a: __m512) -> f32 = _mm512_reduce_add_ps(a);
        largest(a: __m512) -> f32 = _mm512_reduce_max_ps(a);
        smallest(a: __m512) -> f32 = _mm512_reduce_min_ps(a);
        lt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        gt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b);
        ge(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b);
        eq(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        ne(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, b);
        and(a: __mmask16, b: __mmask16) -> __mmask16 = _kand_mask16(a, b);
        or(a: __mmask16, b: __mmask16) -> __mmask16 = _kor_mask16(a, b);
        select(mask: __mmask16, yes: __m512, no: __m512) -> __m512 =
            _mm512_mask_blend_ps(mask, no, yes);
        i_splat(value: i32) -> __m512i = _mm512_set1_epi32(value);
        i_add(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        i_mul(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
        i_mul_high_u32(a: __m512i, b: __m512i) -> __m512i = {
            let even = _mm512_srli_epi64::<32>(_mm512_mul_epu32(a, b));
            let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
            _mm512_mask_blend_epi32(0xaaaa, even, odd)
        };
        i_and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        i_or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        i_xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        <const BITS> i_shl(a: __m512i) -> __m512i = _mm512_slli_epi32::<BITS>(a);
        <const BITS> i_shr(a: __m512i) -> __m512i = _mm512_srli_epi32::<BITS>(a);
        i_eq(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpeq_epi32_mask(a, b);
        i_gt(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpgt_epi32_mask(a, b);
        i_select(mask: __mmask16, yes: __m512i, no: __m512i) -> __m512i =
            _mm512_mask_blend_epi32(mask, no, yes);
        to_int(a: __m512) -> __m512i = _mm512_cvtps_epi32(a);
        to_float(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        to_bits(a: __m512) -> __m512i = _mm512_castps_si512(a);
        from_bits(a: __m512i) -> __m512 = _mm512_castsi512_ps(a);
    }

    #[inline(always)]
    unsafe fn transpose8(self, from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        // SAFETY: AVX-512 comes with AVX2; the caller vouches for the memory.
        unsafe { super::avx2::transpose8(from, from_row, to, to_row) }
    }
}
