//! Fused elementwise arithmetic: a straight-line program over any number of operands, with
//! broadcasting, in one pass over memory.
//!
//! The result is walked in blocks small enough that every intermediate value stays in the
//! first-level cache. Operands that are contiguous along a block are read where they are; others
//! are first laid out in scratch. Each step of the program is then one vector loop over the block.

mod gradient;
mod memory;
mod op;
mod program;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use op::Op;
pub use program::{ElementwiseProgram, Reg};

use crate::view::collapse;
use crate::{DType, Isa, Kernel, OperandSpec, Result, Run, View};
use op::{Arg, MAX_ARGS, SPLAT_LEN, Sweep};
use program::{Place, Schedule, geometry};

/// Floats of a block of a program with intermediate values: a few of them fit the first level of
/// cache.
const BLOCK_LEN: usize = 1024;

/// Floats of a block where there are none.
const DIRECT_BLOCK_LEN: usize = 8 * 1024;

/// Floats of one item of the cheapest programs.
const ITEM_LEN: usize = 16 * 1024;

/// Most inputs, constants, slots and outputs of a program together.
const MAX_PLACES: usize = 96;

/// Shapes of an [`Elementwise`] call.
#[derive(Debug, Clone)]
pub struct ElementwiseShape {
    /// Sizes of the result, which every output has, row-major.
    pub dims: Vec<usize>,
    /// How each input is walked.
    pub inputs: Vec<View>,
    /// Elements of one item, where the caller wants a certain number (for a chain); the result is
    /// cut into items in row-major order.
    pub item_len: Option<usize>,
}

/// An [`ElementwiseProgram`] over a shape.
///
/// Operands: the program's inputs in order (read, as many elements as [`View::needed_len`] says),
/// then its outputs in order (written, one element per element of the shape). An output may have
/// exactly the region of an input that has the result's shape and an element of the same size.
#[derive(Debug)]
pub struct Elementwise {
    sizes: Vec<usize>,
    total: usize,
    inner: usize,
    /// Rows of a block, where a block is several whole rows; 0 where it is a part of one.
    block_rows: usize,
    block_len: usize,
    item_len: usize,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    constants: Vec<f32>,
    steps: Vec<Step>,
    slots_at: usize,
    slots: usize,
}

#[derive(Debug)]
struct Input {
    dtype: DType,
    needed_len: usize,
    offset: usize,
    /// Per axis of `sizes`.
    strides: Vec<usize>,
    source: Source,
    /// Whether it is row-major and of the result's shape.
    full: bool,
    /// First float of its scratch.
    scratch_at: usize,
}

/// How a block gets at an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Where it is.
    Direct,
    /// One element, repeated.
    Splat { once: bool },
    /// Laid out in scratch.
    Fill { once: bool },
}

#[derive(Debug)]
struct Output {
    dtype: DType,
    /// Place of its value when that is not the output itself.
    from: Option<usize>,
}

#[derive(Debug)]
struct Step {
    sweep: Sweep,
    fields: [f32; 2],
    args: [usize; MAX_ARGS],
    to: usize,
}

/// Where every input, constant, slot and output is for the block at hand.
type Table = [Arg; MAX_PLACES];

impl Elementwise {
    /// The kernel of `program` over `shape`.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] when the number of views is not that of the inputs, a view
    /// has another number of axes than the shape, or the program is too large.
    pub fn new(
        isa: Isa,
        program: &ElementwiseProgram,
        shape: &ElementwiseShape,
    ) -> Result<Elementwise> {
        check(program, shape)?;
        let (sizes, strides) = collapse(&shape.dims, &shape.inputs);
        let total: usize = sizes.iter().product();
        let inner = *sizes.last().expect("there is at least one axis");
        let mut made = Elementwise {
            total,
            inner,
            block_rows: 0,
            block_len: 0,
            item_len: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            constants: Vec::new(),
            steps: Vec::new(),
            slots_at: 0,
            slots: 0,
            sizes,
        };
        for (index, strides) in strides.into_iter().enumerate() {
            let view = &shape.inputs[index];
            made.inputs.push(Input {
                dtype: program.inputs()[index],
                needed_len: view.needed_len(&shape.dims),
                offset: view.offset,
                full: is_full(&made.sizes, &strides),
                strides,
                source: Source::Direct,
                scratch_at: 0,
            });
        }
        let fits = shape
            .item_len
            .is_none_or(|len| len.is_multiple_of(inner.max(1)));
        if made.sizes.len() > 1 && inner <= BLOCK_LEN / 2 && fits {
            made.block_rows = BLOCK_LEN / inner.max(1);
        }
        made.choose_sources();
        let schedule = program.schedule(|input| made.inputs[input].source == Source::Direct);
        made.choose_lengths(&schedule, shape.item_len);
        made.lay_out_scratch(&schedule);
        made.compile(isa, program, schedule)?;
        Ok(made)
    }

    fn choose_sources(&mut self) {
        for input in &mut self.inputs {
            let (last, outer) = input.strides.split_last().expect("there is an axis");
            let repeats = outer.iter().all(|stride| *stride == 0);
            let in_place = input.dtype == DType::F32;
            input.source = if repeats && *last == 0 {
                Source::Splat { once: true }
            } else if input.full && in_place {
                Source::Direct
            } else if self.block_rows > 0 {
                Source::Fill {
                    once: repeats && !input.full,
                }
            } else if *last == 0 {
                Source::Splat { once: false }
            } else if *last == 1 && in_place {
                Source::Direct
            } else {
                Source::Fill { once: false }
            };
        }
    }

    fn choose_lengths(&mut self, schedule: &Schedule, item_len: Option<usize>) {
        let fills = |input: &Input| matches!(input.source, Source::Fill { .. });
        let buffers = schedule.slots > 0 || self.inputs.iter().any(fills);
        let longest = if buffers { BLOCK_LEN } else { DIRECT_BLOCK_LEN };
        let cost: usize = schedule.steps.iter().map(|step| step.op.cost()).sum();
        let wanted = (8 * ITEM_LEN / (7 + cost)).clamp(BLOCK_LEN, ITEM_LEN);
        if self.block_rows > 0 {
            self.block_len = self.block_rows * self.inner;
            self.item_len = (wanted / self.block_len).max(1) * self.block_len;
        } else {
            let pieces = self.inner.div_ceil(longest).max(1);
            self.block_len = self.inner.div_ceil(pieces).next_multiple_of(SPLAT_LEN);
            let rows = (wanted / self.inner.max(1)).max(1) * self.inner;
            self.item_len = if self.inner > wanted { wanted } else { rows };
        }
        self.item_len = item_len.unwrap_or(self.item_len).max(1);
    }

    fn lay_out_scratch(&mut self, schedule: &Schedule) {
        let mut at = schedule.constants.len() * SPLAT_LEN;
        let block_len = self.block_len.next_multiple_of(SPLAT_LEN);
        for input in &mut self.inputs {
            input.scratch_at = at;
            at += match input.source {
                Source::Direct => 0,
                Source::Splat { .. } => SPLAT_LEN,
                Source::Fill { .. } => block_len,
            };
        }
        (self.slots_at, self.slots) = (at, schedule.slots);
    }

    fn compile(&mut self, isa: Isa, program: &ElementwiseProgram, done: Schedule) -> Result<()> {
        let constants_at = self.inputs.len();
        let slots_at = constants_at + done.constants.len();
        let outputs_at = slots_at + done.slots;
        let index = |place: Place| match place {
            Place::Input(input) => input,
            Place::Constant(constant) => constants_at + constant,
            Place::Slot(slot) => slots_at + slot,
            Place::Output(output) => outputs_at + output,
        };
        let places = outputs_at + done.results.len();
        if places > MAX_PLACES {
            return Err(geometry(format!(
                "the program has {places} values at a time, {MAX_PLACES} are possible"
            )));
        }
        self.steps = done
            .steps
            .iter()
            .map(|step| Step {
                sweep: step.op.sweep(isa),
                fields: step.op.fields(),
                args: step.args.map(index),
                to: index(step.to),
            })
            .collect();
        self.outputs = program
            .outputs()
            .zip(done.results.iter().enumerate())
            .map(|(dtype, (output, place))| Output {
                dtype,
                from: (*place != Place::Output(output)).then(|| index(*place)),
            })
            .collect();
        self.constants = done.constants;
        Ok(())
    }

    fn padded_block_len(&self) -> usize {
        self.block_len.next_multiple_of(SPLAT_LEN)
    }

    fn range(&self, item: usize) -> Range<usize> {
        item * self.item_len..self.total.min((item + 1) * self.item_len)
    }
}

fn check(program: &ElementwiseProgram, shape: &ElementwiseShape) -> Result<()> {
    let (views, inputs) = (shape.inputs.len(), program.inputs().len());
    if views != inputs {
        return Err(geometry(format!("{views} views for {inputs} inputs")));
    }
    let axes = shape.dims.len();
    if let Some(view) = shape.inputs.iter().find(|view| view.strides.len() != axes) {
        let found = view.strides.len();
        return Err(geometry(format!(
            "a view of {found} axes for a result of {axes}"
        )));
    }
    if shape.item_len == Some(0) {
        return Err(geometry("items of no element".to_owned()));
    }
    Ok(())
}

fn is_full(sizes: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    sizes.iter().zip(strides).rev().all(|(size, stride)| {
        let row_major = *stride == expected || *size <= 1;
        expected *= size;
        row_major
    })
}

impl Kernel for Elementwise {
    fn name(&self) -> &'static str {
        "elementwise"
    }

    fn items(&self) -> usize {
        self.total.div_ceil(self.item_len)
    }

    fn scratch_len(&self) -> usize {
        (self.slots_at + self.slots * self.padded_block_len()) * size_of::<f32>()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let inputs = self.inputs.iter();
        let inputs = inputs.map(|input| OperandSpec::read("input", input.dtype, input.needed_len));
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|output| OperandSpec::write("output", output.dtype, self.total));
        inputs.chain(outputs).collect()
    }

    fn flops(&self) -> u64 {
        (self.steps.len() * self.total) as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        let output = written.checked_sub(self.inputs.len());
        let output = output.and_then(|output| self.outputs.get(output));
        let (Some(input), Some(output)) = (self.inputs.get(read), output) else {
            return false;
        };
        let same_size = input.dtype.size_bytes() == output.dtype.size_bytes();
        input.full && input.offset == 0 && same_size
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let range = self.range(item);
        match self.inputs.get(operand) {
            Some(input) if input.full => Some(input.offset + range.start..input.offset + range.end),
            Some(_) => None,
            None => Some(range),
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let nothing = Arg {
            start: std::ptr::null(),
            mask: usize::MAX,
        };
        let mut table = [nothing; MAX_PLACES];
        self.start(cx, &mut table);
        let mut fresh = true;
        for item in items {
            let range = self.range(item);
            let mut at = range.start;
            while at < range.end {
                let len = if self.block_rows > 0 {
                    self.block_len.min(range.end - at)
                } else {
                    (self.inner - at % self.inner)
                        .min(self.block_len)
                        .min(range.end - at)
                };
                // SAFETY: the block lies within the result and within the item.
                unsafe { self.run_block(cx, &mut table, at..at + len, fresh) };
                fresh = false;
                at += len;
            }
        }
    }
}
