//! AVX2 and FMA: eight lanes.

use std::arch::x86_64::*;

use super::Simd;

/// Token: this processor has AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor has AVX2 and FMA.
    #[inline(always)]
    pub(crate) const unsafe fn new() -> Avx2 {
        Avx2(())
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

/// Eight all-ones words, then eight zeros: a mask of the first `n` lanes starts at `8 - n`.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn first_mask(count: usize) -> __m256i {
    let skip = 8 - count.min(8);
    // SAFETY: `skip` is at most 8, so that eight words lie within the table; AVX is there wherever
    // a token is, and this function is only reached through one.
    unsafe { _mm256_loadu_si256(FIRST.as_ptr().add(skip).cast()) }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F = __m256;
    type I = __m256i;
    type M = __m256;

    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        // SAFETY: every processor with vectors has the instruction, which only gives a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    memory! {
        load(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        store(to: *mut f32, value: __m256) = _mm256_storeu_ps(to, value);
        load_first(count: usize, from: *const f32) -> __m256 =
            _mm256_maskload_ps(from, first_mask(count));
        store_first(count: usize, to: *mut f32, value: __m256) =
            _mm256_maskstore_ps(to, first_mask(count), value);
        i_load(from: *const i32) -> __m256i = _mm256_loadu_si256(from.cast());
        i_store(to: *mut i32, value: __m256i) = _mm256_storeu_si256(to.cast(), value);
        i_load_u8(from: *const u8) -> __m256i = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
        i_store_u8(to: *mut u8, value: __m256i) = {
            let low_bytes = _mm256_and_si256(value, _mm256_set1_epi32(0xff));
            let (low, high) =
                (_mm256_castsi256_si128(low_bytes), _mm256_extracti128_si256::<1>(low_bytes));
            let words = _mm_packus_epi32(low, high);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words))
        };
    }

    operations! {
        splat(value: f32) -> __m256 = _mm256_set1_ps(value);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        neg(a: __m256) -> __m256 = _mm256_xor_ps(_mm256_set1_ps(-0.0), a);
        floor(a: __m256) -> __m256 = _mm256_floor_ps(a);
        ceil(a: __m256) -> __m256 = _mm256_ceil_ps(a);
        round(a: __m256) -> __m256 =
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        sum(a: __m256) -> f32 = {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        };
        largest(a: __m256) -> f32 = {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        };
        smallest(a: __m256) -> f32 = {
            let four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_min_ss(two, _mm_shuffle_ps::<1>(two, two)))
        };
        lt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        le(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        gt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_GT_OQ>(a, b);
        ge(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_GE_OQ>(a, b);
        eq(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        ne(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_NEQ_UQ>(a, b);
        and(a: __m256, b: __m256) -> __m256 = _mm256_and_ps(a, b);
        or(a: __m256, b: __m256) -> __m256 = _mm256_or_ps(a, b);
        select(mask: __m256, yes: __m256, no: __m256) -> __m256 = _mm256_blendv_ps(no, yes, mask);
        i_splat(value: i32) -> __m256i = _mm256_set1_epi32(value);
        i_add(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        i_mul(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi32(a, b);
        i_mul_high_u32(a: __m256i, b: __m256i) -> __m256i = {
            let even = _mm256_srli_epi64::<32>(_mm256_mul_epu32(a, b));
            let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
            _mm256_blend_epi32::<0b1010_1010>(even, odd)
        };
        i_and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        i_or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        i_xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        <const BITS> i_shl(a: __m256i) -> __m256i =
            _mm256_sll_epi32(a, _mm_cvtsi32_si128(BITS as i32));
        <const BITS> i_shr(a: __m256i) -> __m256i =
            _mm256_srl_epi32(a, _mm_cvtsi32_si128(BITS as i32));
        i_eq(a: __m256i, b: __m256i) -> __m256 = _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
        i_gt(a: __m256i, b: __m256i) -> __m256 = _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
        i_select(mask: __m256, yes: __m256i, no: __m256i) -> __m256i =
            _mm256_blendv_epi8(no, yes, _mm256_castps_si256(mask));
        to_int(a: __m256) -> __m256i = _mm256_cvtps_epi32(a);
        to_float(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        to_bits(a: __m256) -> __m256i = _mm256_castps_si256(a);
        from_bits(a: __m256i) -> __m256 = _mm256_castsi256_ps(a);
    }

    #[inline(always)]
    unsafe fn transpose8(self, from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        // SAFETY: the token proves AVX2; the caller vouches for the memory.
        unsafe { transpose8(from, from_row, to, to_row) }
    }
}

/// 8 x 8 floats by pairs, quads and halves.
///
/// # Safety
/// The processor has AVX2; the rows can be read at `from` and written at `to`.
#[inline(always)]
pub(super) unsafe fn transpose8(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller vouches for the instructions and the memory.
    unsafe {
        let mut r = [_mm256_setzero_ps(); 8];
        for i in 0..4 {
            // Upper halves of rows hold what lower halves of columns want.
            let (low, high) = (from.add(i * from_row), from.add((i + 4) * from_row));
            r[i] = _mm256_set_m128(_mm_loadu_ps(high), _mm_loadu_ps(low));
            r[i + 4] = _mm256_set_m128(_mm_loadu_ps(high.add(4)), _mm_loadu_ps(low.add(4)));
        }
        for half in 0..2 {
            let [a, b, c, d] = [
                r[half * 4],
                r[half * 4 + 1],
                r[half * 4 + 2],
                r[half * 4 + 3],
            ];
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let columns = [
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ];
            for (i, column) in columns.into_iter().enumerate() {
                _mm256_storeu_ps(to.add((half * 4 + i) * to_row), column);
            }
        }
    }
}
