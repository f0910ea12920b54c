//! Dropout, whose mask is recomputed wherever it is needed.

use std::ops::Range;

use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Run};

/// Floats of one item; whole blocks of random words.
const ITEM_LEN: usize = 8 * 1024;

/// Random words that one pass draws: as many blocks as the widest vector has lanes.
const WORDS: usize = 64;

/// Which elements a dropout keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutOptions {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the dropout within the model.
    pub stream: u32,
    /// Probability that an element is dropped, in 0..=1.
    pub ratio: f64,
}

/// Zeroes elements at random and multiplies the others by `1 / (1 - ratio)`.
///
/// Element `i` is kept where word `i % 4` of [`sardonyx_tensor::Philox::block`] `i / 4` of stream
/// `stream << 32 | step` is at least `ratio * 2^32`. The gradient is the same call on the gradient.
///
/// Operands: 0 `x` (read, f32), 1 `step` (read, one i64, of which 32 bits count; 0 where absent),
/// 2 `y` (written, f32; may be `x`), 3 `mask` (written, bool, optional).
#[derive(Debug)]
pub struct Dropout {
    options: DropoutOptions,
    len: usize,
    sweep: unsafe fn(&Piece),
}

/// Some elements, beginning at a block of random words.
#[derive(Debug, Clone, Copy)]
struct Piece {
    x: *const f32,
    y: *mut f32,
    /// Null where it is not wanted.
    mask: *mut u8,
    len: usize,
    block: u64,
    stream: u64,
    seed: u64,
    /// Smallest word that keeps its element.
    threshold: u32,
    scale: f32,
}

simd_entry! {
    fn drop_for(piece: &Piece) = drop_some
}

impl Dropout {
    /// Dropout of `len` elements.
    pub fn new(isa: Isa, options: DropoutOptions, len: usize) -> Dropout {
        Dropout {
            options,
            len,
            sweep: drop_for(isa),
        }
    }

    fn range(&self, item: usize) -> Range<usize> {
        item * ITEM_LEN..self.len.min((item + 1) * ITEM_LEN)
    }

    fn piece(&self, cx: &Run<'_>, range: Range<usize>) -> Piece {
        let DropoutOptions {
            seed,
            stream,
            ratio,
        } = self.options;
        // SAFETY: the operand has one element, which no one writes.
        let step = unsafe { cx.slice::<i64>(1, 0..usize::from(cx.has(1))) };
        let step = step.first().copied().unwrap_or(0);
        let mask = cx.ptr_mut::<u8>(3);
        // A ratio of 1 keeps words of 2^32 and above: none, which a scale of 0 says.
        let threshold = (ratio * 4_294_967_296.0) as u64;
        let (threshold, scale) = match u32::try_from(threshold) {
            Ok(threshold) => (threshold, (1.0 / (1.0 - ratio)) as f32),
            Err(_) => (u32::MAX, 0.0),
        };
        Piece {
            x: cx.ptr::<f32>(0).wrapping_add(range.start),
            y: cx.ptr_mut::<f32>(2).wrapping_add(range.start),
            mask: if mask.is_null() {
                mask
            } else {
                mask.wrapping_add(range.start)
            },
            len: range.len(),
            block: range.start as u64 / 4,
            stream: u64::from(stream) << 32 | u64::from(step as u32),
            seed,
            threshold,
            scale,
        }
    }
}

impl Kernel for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn items(&self) -> usize {
        self.len.div_ceil(ITEM_LEN)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", DType::F32, self.len),
            OperandSpec::read("step", DType::I64, 1).or_absent(),
            OperandSpec::write("y", DType::F32, self.len),
            OperandSpec::write("mask", DType::Bool, self.len).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        8 * self.len as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (0, 2)
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        (operand != 1).then(|| self.range(item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            // SAFETY: the range lies within the operands and is this item's own; items begin at
            // whole blocks.
            unsafe { (self.sweep)(&self.piece(cx, self.range(item))) };
        }
    }
}

#[inline(always)]
unsafe fn drop_some<S: Simd>(s: S, piece: &Piece) {
    let mut words = [0i32; WORDS];
    for start in (0..piece.len).step_by(WORDS) {
        draw(s, piece, piece.block + start as u64 / 4, &mut words);
        let len = WORDS.min(piece.len - start);
        // Signed comparison of words whose order was shifted is unsigned comparison.
        let threshold = s.i_splat(piece.threshold.cast_signed() ^ i32::MIN);
        let (scale, zero) = (s.splat(piece.scale), s.splat(0.0));
        // SAFETY: the caller vouches for the elements; there are as many words as a pass has.
        unsafe {
            for at in (0..len).step_by(S::LANES) {
                let count = S::LANES.min(len - at);
                let word = s.i_xor(s.i_load(words.as_ptr().add(at)), s.i_splat(i32::MIN));
                let dropped = s.i_gt(threshold, word);
                let x = s.load_first(count, piece.x.add(start + at));
                let kept = s.select(dropped, zero, s.mul(x, scale));
                // Where nothing is kept the scale is 0, but infinities must vanish too.
                let kept = if piece.scale == 0.0 { zero } else { kept };
                s.store_first(count, piece.y.add(start + at), kept);
            }
            if !piece.mask.is_null() {
                for (at, word) in words[..len].iter().enumerate() {
                    let keeps = word.cast_unsigned() >= piece.threshold && piece.scale != 0.0;
                    *piece.mask.add(start + at) = u8::from(keeps);
                }
            }
        }
    }
}

/// The random words of `WORDS / 4` blocks from `block` on, in order.
#[inline(always)]
fn draw<S: Simd>(s: S, piece: &Piece, block: u64, words: &mut [i32; WORDS]) {
    let lanes: [i32; 16] = std::array::from_fn(|lane| lane as i32);
    let low = |word: u64| (word & 0xffff_ffff) as u32;
    let high = |word: u64| (word >> 32) as u32;
    for first in (0..WORDS / 4).step_by(S::LANES) {
        let at = block + first as u64;
        // A vector's blocks begin at a multiple of their number: no lane carries into the next
        // word of the counter.
        debug_assert_eq!(at % S::LANES as u64, 0);
        let splat = |word: u32| s.i_splat(word.cast_signed());
        // SAFETY: no instruction set has more lanes than the array.
        let lane = unsafe { s.i_load(lanes.as_ptr()) };
        let mut counter = [
            s.i_add(splat(low(at)), lane),
            splat(high(at)),
            splat(low(piece.stream)),
            splat(high(piece.stream)),
        ];
        let mut key = [low(piece.seed), high(piece.seed)];
        for _ in 0..10 {
            let [a, b] = [splat(0xD251_1F53), splat(0xCD9E_8D57)];
            counter = [
                s.i_xor(
                    s.i_xor(s.i_mul_high_u32(b, counter[2]), counter[1]),
                    splat(key[0]),
                ),
                s.i_mul(b, counter[2]),
                s.i_xor(
                    s.i_xor(s.i_mul_high_u32(a, counter[0]), counter[3]),
                    splat(key[1]),
                ),
                s.i_mul(a, counter[0]),
            ];
            key = [
                key[0].wrapping_add(0x9E37_79B9),
                key[1].wrapping_add(0xBB67_AE85),
            ];
        }
        let mut made = [[0i32; 16]; 4];
        for (row, vector) in made.iter_mut().zip(counter) {
            // SAFETY: as above.
            unsafe { s.i_store(row.as_mut_ptr(), vector) };
        }
        let blocks = words[4 * first..].chunks_exact_mut(4);
        for (lane, block) in blocks.take(S::LANES).enumerate() {
            block.copy_from_slice(&[made[0][lane], made[1][lane], made[2][lane], made[3][lane]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};
    use sardonyx_tensor::Philox;

    fn expected(x: &[f32], options: DropoutOptions, step: u32) -> Vec<f32> {
        let stream = u64::from(options.stream) << 32 | u64::from(step);
        let keeps = |i: usize| {
            let word = Philox::block(options.seed, stream, i as u64 / 4)[i % 4];
            u64::from(word) >= (options.ratio * 4_294_967_296.0) as u64
        };
        let scale = (1.0 / (1.0 - options.ratio)) as f32;
        let kept = |(i, x): (usize, &f32)| if keeps(i) { x * scale } else { 0.0 };
        x.iter().enumerate().map(kept).collect()
    }

    #[test]
    fn keeps_what_the_generator_says() {
        for isa in Isa::available() {
            for len in [0, 1, 63, 64, 1000, 2 * ITEM_LEN + 3] {
                for ratio in [0.0, 0.3, 0.999, 1.0] {
                    let options = DropoutOptions {
                        seed: 0xdead_beef_1234_5678,
                        stream: 0x8000_0007,
                        ratio,
                    };
                    let mut x = Rig::ramp(len, 3);
                    x.iter_mut().step_by(17).for_each(|x| *x = f32::INFINITY);
                    let rig = Rig::new(Dropout::new(isa, options, len));
                    let made = rig.run(&[
                        Buffer::f32s(&x),
                        Buffer::of(&[-2i64]),
                        Buffer::unset(len),
                        Buffer::of(&vec![9u8; len]),
                    ]);
                    let expected = expected(&x, options, -2i32 as u32);
                    assert_eq!(made[2].to_f32s(), expected);
                    let mask: Vec<u8> = expected.iter().map(|y| u8::from(*y != 0.0)).collect();
                    assert_eq!(made[3].to::<u8>(), mask);
                }
            }
        }
    }

    #[test]
    fn without_a_step_it_is_the_first() {
        let options = DropoutOptions {
            seed: 5,
            stream: 1,
            ratio: 0.5,
        };
        let x = Rig::ramp(100, 3);
        for isa in Isa::available() {
            let rig = Rig::new(Dropout::new(isa, options, 100));
            let operands = [
                Buffer::f32s(&x),
                Buffer::absent(),
                Buffer::unset(100),
                Buffer::absent(),
            ];
            assert_eq!(rig.run(&operands)[2].to_f32s(), expected(&x, options, 0));
        }
    }
}
