//! Straight-line programs over elements: what an elementwise kernel computes.

use super::op::{MAX_ARGS, Op};
use crate::{DType, KernelError, Result};

const KERNEL: &str = "elementwise";

/// A value of an [`ElementwiseProgram`]: a float per element of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reg(usize);

/// A straight-line program over the elements of its inputs, without shapes.
///
/// Computation is in `f32`. Inputs of other types are converted to `f32` as they are read (64-bit
/// integers beyond 2^24 lose digits), outputs from `f32` as they are written: to integers by
/// cutting the fraction off and saturating, to truth values by comparing with 0.
#[derive(Debug, Clone, Default)]
pub struct ElementwiseProgram {
    values: Vec<Value>,
    inputs: Vec<DType>,
    outputs: Vec<(Reg, DType)>,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Input(usize),
    Constant(f32),
    Result { op: Op, args: [Reg; MAX_ARGS] },
}

impl ElementwiseProgram {
    /// A program without inputs and outputs.
    pub fn new() -> ElementwiseProgram {
        ElementwiseProgram::default()
    }

    /// The next input, of type `F32`, `I32`, `I64`, `U8` or `Bool`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for another type.
    pub fn input(&mut self, dtype: DType) -> Result<Reg> {
        check_type(dtype)?;
        self.inputs.push(dtype);
        Ok(self.value(Value::Input(self.inputs.len() - 1)))
    }

    /// A constant for every element.
    pub fn constant(&mut self, value: f32) -> Reg {
        self.value(Value::Constant(value))
    }

    /// `op` of `args`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when the number of arguments is not that of the operation, or
    /// one is of another program.
    pub fn push(&mut self, op: Op, args: &[Reg]) -> Result<Reg> {
        if args.len() != op.arity() || args.iter().any(|arg| arg.0 >= self.values.len()) {
            let problem = format!("{op:?} of {args:?}, which takes {} values", op.arity());
            return Err(geometry(problem));
        }
        let mut all = [args[0]; MAX_ARGS];
        all[..args.len()].copy_from_slice(args);
        Ok(self.value(Value::Result { op, args: all }))
    }

    /// `base` to the power of a constant: multiplications and roots where they give the same.
    ///
    /// # Errors
    /// As [`ElementwiseProgram::push`].
    pub fn push_power(&mut self, base: Reg, exponent: f32) -> Result<Reg> {
        if exponent == 0.5 {
            return self.push(Op::Sqrt, &[base]);
        }
        if exponent == 3.0 {
            let square = self.push(Op::Square, &[base])?;
            return self.push(Op::Mul, &[square, base]);
        }
        let op = [
            (1.0, Op::Identity),
            (2.0, Op::Square),
            (-1.0, Op::Reciprocal),
            (-0.5, Op::Rsqrt),
        ]
        .into_iter()
        .find_map(|(value, op)| (exponent == value).then_some(op));
        match op {
            Some(op) => self.push(op, &[base]),
            None => {
                let exponent = self.constant(exponent);
                self.push(Op::Pow, &[base, exponent])
            }
        }
    }

    /// The gradient `f'(x) dy` of a function of one argument: `x`, its value `y` and `dy`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when `op` takes more than one argument, and as
    /// [`ElementwiseProgram::push`].
    pub fn push_gradient(&mut self, op: Op, x: Reg, y: Reg, dy: Reg) -> Result<Reg> {
        if op.arity() != 1 {
            return Err(geometry(format!("{op:?} is no function of one argument")));
        }
        super::gradient::push(self, op, x, y, dy)
    }

    /// Makes `reg` the next output, of type `F32`, `I32`, `I64`, `U8` or `Bool`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for another type or a value of another program.
    pub fn output(&mut self, reg: Reg, dtype: DType) -> Result<()> {
        check_type(dtype)?;
        if reg.0 >= self.values.len() {
            return Err(geometry(format!("{reg:?} is not of this program")));
        }
        self.outputs.push((reg, dtype));
        Ok(())
    }

    /// Types of the inputs, in order.
    pub fn inputs(&self) -> &[DType] {
        &self.inputs
    }

    /// Types of the outputs, in order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = DType> {
        self.outputs.iter().map(|(_, dtype)| *dtype)
    }

    fn value(&mut self, value: Value) -> Reg {
        self.values.push(value);
        Reg(self.values.len() - 1)
    }

    /// Gives every value a place: steps in order, with results in as few slots as their lives
    /// allow, or in an output where no input is lost by that. `reads_memory` says which inputs
    /// are read from where they are, which may be where an output goes.
    pub(super) fn schedule(&self, reads_memory: impl Fn(usize) -> bool) -> Schedule {
        let mut program = self.clone();
        program.give_outputs_their_own_steps();
        let last_use = program.last_uses();
        let mut places: Vec<Option<Place>> = vec![None; program.values.len()];
        let mut schedule = Schedule::default();
        let mut free: Vec<usize> = Vec::new();
        let last_read = program.last_memory_read(&last_use, reads_memory);
        for (index, value) in program.values.iter().enumerate() {
            if last_use[index].is_none() {
                continue;
            }
            places[index] = Some(match *value {
                Value::Input(input) => Place::Input(input),
                Value::Constant(constant) => {
                    schedule.constants.push(constant);
                    Place::Constant(schedule.constants.len() - 1)
                }
                Value::Result { op, args } => {
                    let used = args.map(|arg| places[arg.0].expect("arguments come first"));
                    for (position, arg) in args[..op.arity()].iter().enumerate() {
                        let dies_here = last_use[arg.0] == Some(index);
                        if let (Place::Slot(slot), true) = (used[position], dies_here)
                            && !args[..position].contains(arg)
                        {
                            free.push(slot);
                        }
                    }
                    // The slot of an argument that ends here may be the result's: a step reads an
                    // element before it writes it.
                    let to = program.output_of(index, last_read).unwrap_or_else(|| {
                        let slot = free.pop().unwrap_or(schedule.slots);
                        schedule.slots = schedule.slots.max(slot + 1);
                        Place::Slot(slot)
                    });
                    schedule.steps.push(Step { op, args: used, to });
                    to
                }
            });
        }
        let place_of = |(reg, _): &(Reg, DType)| places[reg.0].expect("outputs are live");
        schedule.results = program.outputs.iter().map(place_of).collect();
        schedule
    }

    /// Afterwards every output is the result of a step that is no other output's.
    fn give_outputs_their_own_steps(&mut self) {
        for index in 0..self.outputs.len() {
            let (reg, dtype) = self.outputs[index];
            let is_result = matches!(self.values[reg.0], Value::Result { .. });
            let is_taken = self.outputs[..index].iter().any(|(other, _)| *other == reg);
            if !is_result || is_taken {
                let args = [reg; MAX_ARGS];
                let op = Op::Identity;
                let copy = self.value(Value::Result { op, args });
                self.outputs[index] = (copy, dtype);
            }
        }
    }

    /// Per value the last value that reads it; the number of values for outputs; `None` where
    /// nothing needs it.
    fn last_uses(&self) -> Vec<Option<usize>> {
        let mut last_use = vec![None; self.values.len()];
        for (reg, _) in &self.outputs {
            last_use[reg.0] = Some(self.values.len());
        }
        for index in (0..self.values.len()).rev() {
            if let (Value::Result { op, args }, Some(_)) = (self.values[index], last_use[index]) {
                for arg in &args[..op.arity()] {
                    last_use[arg.0] = last_use[arg.0].max(Some(index));
                }
            }
        }
        last_use
    }

    fn last_memory_read(
        &self,
        last_use: &[Option<usize>],
        reads_memory: impl Fn(usize) -> bool,
    ) -> usize {
        let last = |(value, last): (&Value, &Option<usize>)| match value {
            Value::Input(input) if reads_memory(*input) => *last,
            _ => None,
        };
        let reads = self.values.iter().zip(last_use).filter_map(last);
        reads.max().unwrap_or(0)
    }

    /// The output that the value at `index` may be written to at once: one of floats, when no
    /// later step reads memory that the output may share.
    fn output_of(&self, index: usize, last_read: usize) -> Option<Place> {
        let output = self
            .outputs
            .iter()
            .position(|(reg, dtype)| reg.0 == index && *dtype == DType::F32)?;
        (last_read <= index).then_some(Place::Output(output))
    }
}

/// A program with places for its values.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    pub(super) steps: Vec<Step>,
    pub(super) constants: Vec<f32>,
    pub(super) slots: usize,
    /// Where each output's value is after the steps.
    pub(super) results: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) args: [Place; MAX_ARGS],
    pub(super) to: Place,
}

/// Where a value is while a block is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Input(usize),
    Constant(usize),
    Slot(usize),
    Output(usize),
}

fn check_type(dtype: DType) -> Result<()> {
    let known = [DType::F32, DType::I32, DType::I64, DType::U8, DType::Bool];
    if known.contains(&dtype) {
        return Ok(());
    }
    Err(geometry(format!("element type {dtype} is not supported")))
}

pub(super) fn geometry(problem: String) -> KernelError {
    KernelError::Geometry {
        kernel: KERNEL,
        problem,
    }
}
