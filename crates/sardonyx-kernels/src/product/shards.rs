//! Adds up parts of a sum that were computed side by side.

use std::ops::Range;

use crate::simd::{Simd, simd_entry};
use crate::{Access, DType, Isa, Kernel, OperandSpec, Run};

/// Floats of one item.
const ITEM_LEN: usize = 8 * 1024;

/// `to[i] = sum over shards of parts[shard][i]`, in the order of the shards; or adds that to `to`.
///
/// Operands: 0 `parts` (read, f32 `[shards, len]`), 1 `to` (written, or updated when
/// accumulating; f32 `[len]`).
#[derive(Debug)]
pub struct SumShards {
    shards: usize,
    len: usize,
    accumulate: bool,
    body: unsafe fn(&Job),
}

/// # Safety
/// For the function below: `len` floats can be read at `parts + shard * stride` for every shard,
/// and read and written at `to`.
#[derive(Debug)]
struct Job {
    parts: *const f32,
    stride: usize,
    shards: usize,
    to: *mut f32,
    len: usize,
    accumulate: bool,
}

simd_entry! {
    /// Sums one range of elements over the shards.
    fn sum_for(job: &Job) = sum
}

impl SumShards {
    /// The kernel for `shards` parts of `len` floats.
    pub fn new(isa: Isa, shards: usize, len: usize, accumulate: bool) -> SumShards {
        SumShards {
            shards,
            len,
            accumulate,
            body: sum_for(isa),
        }
    }

    fn range(&self, item: usize) -> Range<usize> {
        item * ITEM_LEN..self.len.min((item + 1) * ITEM_LEN)
    }
}

impl Kernel for SumShards {
    fn name(&self) -> &'static str {
        "sum_shards"
    }

    fn items(&self) -> usize {
        self.len.div_ceil(ITEM_LEN)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let access = if self.accumulate {
            Access::ReadWrite
        } else {
            Access::Write
        };
        vec![
            OperandSpec::read("parts", DType::F32, self.shards * self.len),
            OperandSpec {
                access,
                ..OperandSpec::write("to", DType::F32, self.len)
            },
        ]
    }

    fn flops(&self) -> u64 {
        (self.shards * self.len) as u64
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        (operand == 1).then(|| self.range(item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            let range = self.range(item);
            let job = Job {
                parts: cx.ptr::<f32>(0).wrapping_add(range.start),
                stride: self.len,
                shards: self.shards,
                to: cx.ptr_mut::<f32>(1).wrapping_add(range.start),
                len: range.len(),
                accumulate: self.accumulate,
            };
            // SAFETY: ranges are within the operands and items are disjoint.
            unsafe { (self.body)(&job) }
        }
    }
}

#[inline(always)]
unsafe fn sum<S: Simd>(s: S, job: &Job) {
    for at in (0..job.len).step_by(S::LANES) {
        let left = (job.len - at).min(S::LANES);
        // SAFETY: the caller keeps the contract of `Job`; masked accesses touch `left`.
        unsafe {
            let mut total = if job.accumulate {
                s.load_first(left, job.to.add(at))
            } else {
                s.splat(0.0)
            };
            for shard in 0..job.shards {
                let part = job.parts.add(shard * job.stride + at);
                total = s.add(total, s.load_first(left, part));
            }
            s.store_first(left, job.to.add(at), total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};

    #[test]
    fn shards_add_up_in_order() {
        for isa in Isa::available() {
            for (shards, len) in [(1, 1), (3, 17), (16, ITEM_LEN + 9), (0, 5), (2, 0)] {
                for accumulate in [false, true] {
                    let (parts, to) = (Rig::ramp(shards * len, 1), Rig::ramp(len, 2));
                    let expected: Vec<f32> = (0..len)
                        .map(|i| {
                            let start = if accumulate { to[i] } else { 0.0 };
                            (0..shards).fold(start, |sum, shard| sum + parts[shard * len + i])
                        })
                        .collect();
                    let kernel = SumShards::new(isa, shards, len, accumulate);
                    let made = Rig::new(kernel).run(&[Buffer::f32s(&parts), Buffer::f32s(&to)]);
                    assert_eq!(made[1].to_f32s(), expected);
                }
            }
        }
    }
}
