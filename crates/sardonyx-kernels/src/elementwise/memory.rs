//! Getting a block's operands into place and its results out of it.

use std::ops::Range;

use super::op::{Arg, SPLAT_LEN};
use super::{Elementwise, Input, Source, Table};
use crate::{DType, Run};

impl Elementwise {
    /// Places that stay where they are for a whole run.
    pub(super) fn start(&self, cx: &Run<'_>, table: &mut Table) {
        let (scratch, _) = cx.scratch::<f32>();
        let at = |offset: usize| scratch.wrapping_add(offset);
        for (index, input) in self.inputs.iter().enumerate() {
            table[index] = Arg {
                start: at(input.scratch_at),
                mask: match input.source {
                    Source::Splat { .. } => 0,
                    _ => usize::MAX,
                },
            };
        }
        let places = &mut table[self.inputs.len()..];
        for (index, constant) in self.constants.iter().enumerate() {
            let start = at(index * SPLAT_LEN);
            // SAFETY: the scratch begins with a vector per constant.
            unsafe { splat(start, *constant) };
            places[index] = Arg { start, mask: 0 };
        }
        let places = &mut places[self.constants.len()..];
        for (index, place) in places[..self.slots].iter_mut().enumerate() {
            place.start = at(self.slots_at + index * self.padded_block_len());
        }
    }

    /// Computes the elements `block` of the result. `fresh` says that it is the first block of a
    /// run, which is at least as long as the others where that matters.
    ///
    /// # Safety
    /// The elements lie within the result and belong to the item at hand; they are whole rows
    /// where the kernel's blocks are rows, else a part of one row.
    pub(super) unsafe fn run_block(
        &self,
        cx: &Run<'_>,
        table: &mut Table,
        block: Range<usize>,
        fresh: bool,
    ) {
        for (index, input) in self.inputs.iter().enumerate() {
            let once = matches!(
                input.source,
                Source::Splat { once: true } | Source::Fill { once: true }
            );
            if fresh || !once {
                // SAFETY: the caller vouches for the block.
                unsafe { self.prepare(cx, &mut table[index], (index, input), block.clone()) };
            }
        }
        let outputs_at = self.inputs.len() + self.constants.len() + self.slots;
        for (index, output) in self.outputs.iter().enumerate() {
            if output.from.is_none() {
                let start = cx.ptr::<f32>(self.inputs.len() + index);
                table[outputs_at + index].start = start.wrapping_add(block.start);
            }
        }
        for step in &self.steps {
            let to = table[step.to].start.cast_mut();
            let args = step.args.map(|arg| table[arg]);
            // SAFETY: every place holds as many floats as the block, or one vector where its mask
            // is zero; results are slots of the scratch or the block of an output.
            unsafe { (step.sweep)(to, &args, step.fields, block.len()) };
        }
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(from) = output.from {
                let operand = self.inputs.len() + index;
                // SAFETY: the value's place holds the block, which lies within the output.
                unsafe { write_out(cx, operand, output.dtype, table[from].start, block.clone()) };
            }
        }
    }

    /// # Safety
    /// As [`Elementwise::run_block`].
    unsafe fn prepare(
        &self,
        cx: &Run<'_>,
        place: &mut Arg,
        (index, input): (usize, &Input),
        block: Range<usize>,
    ) {
        let scratch = cx.scratch::<f32>().0.wrapping_add(input.scratch_at);
        let first = self.locate(input, block.start);
        match input.source {
            Source::Direct => place.start = cx.ptr::<f32>(index).wrapping_add(first),
            Source::Splat { .. } => {
                // SAFETY: the element lies within the operand, and the vector within the scratch.
                unsafe {
                    read_in(cx, (index, input.dtype), [first, 0], scratch, 1);
                    splat(scratch, *scratch);
                }
            }
            Source::Fill { .. } if input.full || self.block_rows == 0 => {
                let step = if input.full {
                    1
                } else {
                    input.strides[input.strides.len() - 1]
                };
                // SAFETY: the block lies within the operand along its last axis, and the scratch
                // has room for a block.
                unsafe {
                    read_in(
                        cx,
                        (index, input.dtype),
                        [first, step],
                        scratch,
                        block.len(),
                    )
                };
            }
            Source::Fill { .. } => {
                let step = input.strides[input.strides.len() - 1];
                for row in 0..block.len() / self.inner {
                    let first = self.locate(input, block.start + row * self.inner);
                    let to = scratch.wrapping_add(row * self.inner);
                    // SAFETY: as above, row by row.
                    unsafe { read_in(cx, (index, input.dtype), [first, step], to, self.inner) };
                }
            }
        }
    }

    /// Element of `input` for the element `at` of the result.
    fn locate(&self, input: &Input, at: usize) -> usize {
        if input.full {
            return input.offset + at;
        }
        let mut rest = at;
        let mut found = input.offset;
        for (axis, (size, stride)) in self.sizes.iter().zip(&input.strides).enumerate().rev() {
            if axis == 0 {
                return found + rest * stride;
            }
            found += rest % size * stride;
            rest /= size;
        }
        found
    }
}

/// # Safety
/// A vector of the widest instruction set can be written at `to`.
unsafe fn splat(to: *mut f32, value: f32) {
    for lane in 0..SPLAT_LEN {
        // SAFETY: the caller vouches for the lanes.
        unsafe { *to.add(lane) = value };
    }
}

/// Converts elements `first`, `first + step`, .. of an operand.
///
/// # Safety
/// They lie within the operand, which has that type, and `len` floats can be written at `to`.
unsafe fn read_in(
    cx: &Run<'_>,
    (operand, dtype): (usize, DType),
    [first, step]: [usize; 2],
    to: *mut f32,
    len: usize,
) {
    macro_rules! elements {
        ($ty:ty) => {{
            let from = cx.ptr::<$ty>(operand).wrapping_add(first);
            // SAFETY: the caller vouches for both.
            unsafe {
                match step {
                    0 => (0..len).for_each(|i| *to.add(i) = *from as f32),
                    1 => (0..len).for_each(|i| *to.add(i) = *from.add(i) as f32),
                    _ => (0..len).for_each(|i| *to.add(i) = *from.add(i * step) as f32),
                }
            }
        }};
    }
    match dtype {
        DType::F32 => elements!(f32),
        DType::I32 => elements!(i32),
        DType::I64 => elements!(i64),
        _ => elements!(u8),
    }
}

/// Converts a block of floats to an output's type.
///
/// # Safety
/// `block` lies within the operand, which has that type and belongs to the item at hand; as many
/// floats can be read at `from`.
unsafe fn write_out(
    cx: &Run<'_>,
    operand: usize,
    dtype: DType,
    from: *const f32,
    block: Range<usize>,
) {
    macro_rules! elements {
        ($ty:ty, $convert:expr) => {{
            let to = cx.ptr_mut::<$ty>(operand).wrapping_add(block.start);
            for i in 0..block.len() {
                // SAFETY: the caller vouches for both.
                unsafe { *to.add(i) = $convert(*from.add(i)) };
            }
        }};
    }
    match dtype {
        DType::F32 => elements!(f32, |x| x),
        DType::I32 => elements!(i32, |x| x as i32),
        DType::I64 => elements!(i64, |x| x as i64),
        DType::Bool => elements!(u8, |x| u8::from(x != 0.0)),
        _ => elements!(u8, |x| x as u8),
    }
}
