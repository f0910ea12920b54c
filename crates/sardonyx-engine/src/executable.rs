use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_ir::Graph;
use sardonyx_kernels::{Arena, Call, Element, Isa, Machine, Memory, Pool, Timings};
use sardonyx_passes::StateLink;
use sardonyx_tensor::{DType, Tensor};

use crate::fill::write;
use crate::host::from_bytes;
use crate::plan::{Binding, Plan};
use crate::{EngineError, Result, Tiling};

/// How a graph is planned.
#[derive(Debug, Clone)]
pub struct CompileOptions {
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Threads that run the plan.
    pub pool: Arc<Pool>,
    /// Whether samples go through a plan without state a few at a time.
    pub tiling: Tiling,
}

impl CompileOptions {
    /// For `isa` and `pool`, the rest as it pays.
    pub fn new(isa: Isa, pool: Arc<Pool>) -> CompileOptions {
        let tiling = Tiling::default();
        CompileOptions { isa, pool, tiling }
    }
}

/// A graph of fixed shapes, planned for one machine, with the memory that it runs in.
#[derive(Debug)]
pub struct Executable {
    plan: Arc<Plan>,
    machine: Machine,
}

/// What one call of a plan cost in a timed run.
#[derive(Debug, Clone)]
pub struct NodeCost {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// The kernel that ran; `host` for a node without one.
    pub kernel: &'static str,
    /// Time of all threads together, in nanoseconds.
    pub nanoseconds: u64,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes of the operands.
    pub bytes: u64,
    /// How often a run does the call: once, or once for each tile of a batch.
    pub repeats: usize,
}

/// A time during which a thread was at work on one call of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSpan {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// The kernel that ran; `host` for a node without one.
    pub kernel: &'static str,
    /// The thread, from 0.
    pub thread: usize,
    /// When it began, by the clock of the trace, in nanoseconds.
    pub start_ns: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
}

impl Executable {
    /// Plans `graph`, whose values must all have fixed types and shapes. Each of `links` names a
    /// value that is kept from run to run: it starts as its initializer.
    ///
    /// # Errors
    /// [`EngineError::Dynamic`] when a shape is not fixed; otherwise when a node is malformed.
    pub fn compile(
        graph: &Graph,
        links: &[StateLink],
        options: &CompileOptions,
    ) -> Result<Executable> {
        let (plan, state, _) = Plan::compile((graph, links), Vec::new(), options, None)?;
        let (program, constants) = (Arc::clone(&plan.program), plan.constants.clone());
        let work = Arena::zeroed(program.lengths().work);
        let pool = Arc::clone(&options.pool);
        let machine = Machine::new(program, constants, state, work, pool)?;
        let plan = Arc::new(plan);
        Ok(Executable { plan, machine })
    }

    /// An executable of a plan that has no state, without memory to run in.
    ///
    /// # Errors
    /// When the plan does not fit its constants.
    pub(crate) fn resting(plan: Arc<Plan>, pool: Arc<Pool>) -> Result<Executable> {
        let (program, constants) = (Arc::clone(&plan.program), plan.constants.clone());
        let machine = Machine::resting(program, constants, Arena::zeroed(0), pool)?;
        Ok(Executable { plan, machine })
    }

    /// Takes the memory away that the plan runs in.
    pub(crate) fn take_memory(&mut self) -> Memory {
        self.machine.take_memory()
    }

    /// Gives the plan memory to run in.
    pub(crate) fn give_memory(&mut self, memory: Memory) {
        self.machine.give_memory(memory);
    }

    /// Runs the plan once, over the inputs as they were last set.
    pub fn run(&mut self) {
        self.machine.run();
    }

    /// Number of inputs.
    pub fn input_count(&self) -> usize {
        self.plan.inputs.len()
    }

    /// Position of the input called `name`.
    ///
    /// # Errors
    /// [`EngineError::UnknownName`].
    pub fn input_index(&self, name: &str) -> Result<usize> {
        find(&self.plan.inputs, "input", name)
    }

    /// Position of the output called `name`.
    ///
    /// # Errors
    /// [`EngineError::UnknownName`].
    pub fn output_index(&self, name: &str) -> Result<usize> {
        find(&self.plan.outputs, "output", name)
    }

    /// Sets input `index`.
    ///
    /// # Errors
    /// [`EngineError::Feed`] when the tensor has another type or shape.
    pub fn set_input(&mut self, index: usize, tensor: &Tensor) -> Result<()> {
        let binding = &self.plan.inputs[index];
        binding.check(tensor)?;
        let region = binding.region;
        write(self.machine.work_mut(), region, tensor);
        Ok(())
    }

    /// The elements of input `index`, to be written in place.
    ///
    /// # Panics
    /// When `T` is not its element type.
    pub fn input_mut<T: Element>(&mut self, index: usize) -> &mut [T] {
        let binding = &self.plan.inputs[index];
        assert_eq!(binding.dtype, T::DTYPE, "input `{}`", binding.name);
        let region = binding.region;
        self.machine.work_mut().view_mut(region)
    }

    /// The elements of output `index` of the last run.
    ///
    /// # Panics
    /// When `T` is not its element type.
    pub fn output_slice<T: Element>(&self, index: usize) -> &[T] {
        let binding = &self.plan.outputs[index];
        assert_eq!(binding.dtype, T::DTYPE, "output `{}`", binding.name);
        self.machine
            .arena(binding.region.space)
            .view(binding.region)
    }

    /// Output `index` of the last run.
    pub fn output(&self, index: usize) -> Tensor {
        self.read(&self.plan.outputs[index])
    }

    /// Number of values that are kept from run to run, in the order of the links.
    pub fn state_count(&self) -> usize {
        self.plan.state.len()
    }

    /// Name of state `index`.
    pub fn state_name(&self, index: usize) -> &str {
        &self.plan.state[index].name
    }

    /// State `index` as it is now.
    pub fn state(&self, index: usize) -> Tensor {
        self.read(&self.plan.state[index])
    }

    /// Replaces state `index`.
    ///
    /// # Errors
    /// [`EngineError::Feed`] when the tensor has another type or shape.
    pub fn set_state(&mut self, index: usize, tensor: &Tensor) -> Result<()> {
        let binding = &self.plan.state[index];
        binding.check(tensor)?;
        let region = binding.region;
        write(self.machine.state_mut(), region, tensor);
        Ok(())
    }

    /// Bytes of all arenas: constants, state and work.
    pub fn memory_bytes(&self) -> [usize; 3] {
        let lengths = self.machine.program().lengths();
        [
            lengths.constants + lengths.shared,
            lengths.state,
            lengths.work,
        ]
    }

    /// Floating-point operations of one run, as far as kernels do them.
    pub fn flops(&self) -> u64 {
        self.machine.program().flops()
    }

    /// Operators that run through their reference because no kernel exists, with their number.
    pub fn host_operators(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for ((call, _), info) in self.machine.program().calls().zip(&self.plan.calls) {
            if call.kernel.name() == "host" {
                *counts.entry(info.op.clone()).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Runs the plan `runs` times and returns what each call cost on average. `clock` gives
    /// nanoseconds from any fixed moment.
    pub fn profile(&mut self, runs: usize, clock: fn() -> u64) -> Vec<NodeCost> {
        let timings = Timings::new(self.machine.program(), clock);
        for _ in 0..runs {
            self.machine.run_timed(&timings);
        }
        let times = timings.nanoseconds();
        let calls = self
            .machine
            .program()
            .calls()
            .zip(&self.plan.calls)
            .zip(times);
        calls
            .map(|(((call, repeats), info), time)| NodeCost {
                node: info.node.clone(),
                op: info.op.clone(),
                kernel: call.kernel.name(),
                nanoseconds: time / runs.max(1) as u64,
                flops: call.kernel.flops() * repeats as u64,
                bytes: bytes(call) * repeats as u64,
                repeats,
            })
            .collect()
    }

    /// Runs the plan once and returns which thread ran which call when, in order of time for each
    /// thread. `clock` gives nanoseconds from any fixed moment.
    pub fn trace(&mut self, clock: fn() -> u64) -> Vec<CallSpan> {
        let trace = self.machine.trace(clock);
        self.machine.run_traced(&trace);
        let calls = self.machine.program().calls().map(|(call, _)| call);
        let calls: Vec<&Call> = calls.collect();
        let spans = trace.spans().into_iter();
        spans
            .map(|span| {
                let info = &self.plan.calls[span.call];
                CallSpan {
                    node: info.node.clone(),
                    op: info.op.clone(),
                    kernel: calls[span.call].kernel.name(),
                    thread: span.thread,
                    start_ns: span.start_ns,
                    duration_ns: span.end_ns.saturating_sub(span.start_ns),
                }
            })
            .collect()
    }

    fn read(&self, binding: &Binding) -> Tensor {
        let arena = self.machine.arena(binding.region.space);
        if binding.dtype == DType::F32 {
            let values = arena.view::<f32>(binding.region).to_vec();
            return Tensor::new(binding.shape.clone(), values).expect("the plan fixed this shape");
        }
        from_bytes(
            binding.dtype,
            &binding.shape,
            arena.view::<u8>(binding.region),
        )
    }
}

fn find(bindings: &[Binding], what: &'static str, name: &str) -> Result<usize> {
    bindings
        .iter()
        .position(|binding| binding.name == name)
        .ok_or_else(|| {
            let known: Vec<&str> = bindings
                .iter()
                .map(|binding| binding.name.as_str())
                .collect();
            EngineError::UnknownName {
                what,
                name: name.to_owned(),
                known: known.join(", "),
            }
        })
}

/// Bytes of a call's operands.
fn bytes(call: &Call) -> u64 {
    let regions = call.operands.iter().flatten();
    regions.map(|region| region.len as u64).sum()
}
