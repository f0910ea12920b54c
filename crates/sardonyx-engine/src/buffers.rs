//! Which memory each value lives in. Values that share memory (views, updates in place) form one
//! buffer; a buffer is a constant, a piece of state, or work with a first and a last call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sardonyx_ir::{Graph, Producer, ValueId};
use sardonyx_kernels::{Access, AxisRun, OperandSpec, Remap};
use sardonyx_passes::StateLink;
use sardonyx_tensor::{DType, Tensor};

use crate::Result;
use crate::host::fixed;
use crate::lower::{Lowered, LoweredCall, Slot};

/// Bytes that every buffer starts at a multiple of.
pub(crate) const ALIGN: usize = 64;

/// What a buffer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Holds this initializer; never written.
    Constant(ValueId),
    /// Holds a constant that was computed for the plan: an index into [`Buffers::made`].
    Made(usize),
    /// Holds this value from run to run.
    State(ValueId),
    /// Holds what a run makes. `fixed` ones (inputs and outputs) share their bytes with none.
    Work { fixed: bool },
}

/// A piece of memory before it has an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) kind: Kind,
    pub(crate) bytes: usize,
    /// First and last call that touches it; `None` when none does.
    pub(crate) life: Option<(usize, usize)>,
}

/// Every call of a plan, in order, with the node that it comes from.
pub(crate) struct Calls {
    pub(crate) calls: Vec<LoweredCall>,
    pub(crate) nodes: Vec<usize>,
    /// By call, where it is made of others: the nodes that these come from.
    pub(crate) members: BTreeMap<usize, Vec<usize>>,
    /// Operands as buffers.
    pub(crate) operands: Vec<Vec<Option<usize>>>,
}

/// The buffers of a graph.
pub(crate) struct Buffers {
    parents: Vec<usize>,
    pub(crate) list: Vec<Buffer>,
    /// Constants that were computed for the plan.
    pub(crate) made: Vec<Tensor>,
    by_value: BTreeMap<ValueId, usize>,
}

impl Buffers {
    /// The buffer of a value.
    pub(crate) fn of(&self, value: ValueId) -> Option<usize> {
        self.by_value.get(&value).map(|&index| self.root(index))
    }

    pub(crate) fn root(&self, mut index: usize) -> usize {
        while self.parents[index] != index {
            index = self.parents[index];
        }
        index
    }

    /// Says that a value lies elsewhere, so that it gets no room of its own; its buffer.
    pub(crate) fn take_out(&mut self, value: ValueId) -> Option<usize> {
        let root = self.of(value)?;
        let buffer = &mut self.list[root];
        let is_work = matches!(buffer.kind, Kind::Work { .. });
        buffer.kind = Kind::Work { fixed: false };
        buffer.life = None;
        is_work.then_some(root)
    }

    fn add(&mut self, kind: Kind, bytes: usize) -> usize {
        self.parents.push(self.parents.len());
        self.list.push(Buffer {
            kind,
            bytes,
            life: None,
        });
        self.list.len() - 1
    }

    fn add_constant(&mut self, tensor: Tensor) -> usize {
        let bytes = tensor.len() * tensor.dtype().size_bytes().unwrap_or(0);
        self.made.push(tensor);
        self.add(Kind::Made(self.made.len() - 1), bytes)
    }

    /// Makes two buffers one; `kept` decides what it is for.
    fn merge(&mut self, kept: usize, other: usize) {
        let (kept, other) = (self.root(kept), self.root(other));
        if kept == other {
            return;
        }
        self.parents[other] = kept;
        let theirs = self.list[other];
        let own = &mut self.list[kept];
        own.bytes = own.bytes.max(theirs.bytes);
        own.life = match (own.life, theirs.life) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (life, None) | (None, life) => life,
        };
    }

    fn touch(&mut self, buffer: usize, call: usize) {
        let life = &mut self.list[buffer].life;
        *life = Some(life.map_or((call, call), |(first, last)| {
            (first.min(call), last.max(call))
        }));
    }

    /// Every buffer that is not merged into another, with its index.
    pub(crate) fn roots(&self) -> impl Iterator<Item = (usize, Buffer)> {
        let own = self.list.iter().copied().enumerate();
        own.filter(|(index, _)| self.parents[*index] == *index)
    }

    /// Gives every value and temporary of `graph` a buffer and resolves the calls' operands.
    /// `constants` are inputs that never change.
    pub(crate) fn assign(
        graph: &Graph,
        links: &[StateLink],
        constants: &BTreeSet<ValueId>,
        lowered: Vec<(usize, Lowered)>,
    ) -> Result<(Buffers, Calls)> {
        let mut buffers = Buffers {
            parents: Vec::new(),
            list: Vec::new(),
            made: Vec::new(),
            by_value: BTreeMap::new(),
        };
        buffers.add_values(graph, links, constants)?;
        let mut lowered = lowered;
        for (_, node) in &mut lowered {
            for (tensor, output) in std::mem::take(&mut node.constant_outputs) {
                let constant = buffers.add_constant(tensor);
                if let Some(&output) = buffers.by_value.get(&output) {
                    buffers.merge(constant, output);
                }
            }
        }
        for (_, node) in &lowered {
            for &(input, output) in &node.aliases {
                let pair = buffers
                    .by_value
                    .get(&input)
                    .zip(buffers.by_value.get(&output));
                let (&input, &output) = pair.expect("every used value has a buffer");
                buffers.alias(input, output);
            }
        }
        let mut calls = buffers.resolve(lowered);
        buffers.find_lives(&calls);
        for link in links {
            buffers.carry(link, &mut calls)?;
        }
        buffers.merge_in_place(&calls);
        Ok((buffers, calls))
    }

    /// Brings a link's new state to where the next run reads it: by writing it there at once where
    /// nothing reads the old state any more, else by a copy at the end.
    fn carry(&mut self, link: &StateLink, calls: &mut Calls) -> Result<()> {
        let pair = self.of(link.input).zip(self.of(link.output));
        let (state, made) = pair.expect("both ends of a link have buffers");
        if state == made {
            return Ok(());
        }
        let (old, new) = (self.list[state], self.list[made]);
        let is_free = match (old.life, new.life) {
            (Some((_, last_read)), Some((first_write, _))) if last_read == first_write => {
                self.writes_in_place(calls, first_write, [state, made])
            }
            (Some((_, last_read)), Some((first_write, _))) => last_read < first_write,
            (None, _) => true,
            (_, None) => false,
        };
        if is_free && new.kind == (Kind::Work { fixed: false }) {
            self.merge(state, made);
            return Ok(());
        }
        let whole = AxisRun::Read {
            first: 0,
            step: 1,
            len: old.bytes,
        };
        let copy = Remap::new(DType::U8, &[old.bytes], &[vec![whole]], 0)?;
        let operands = vec![Slot::Value(link.output), Slot::Value(link.input)];
        calls.calls.push(LoweredCall {
            kernel: Arc::new(copy),
            operands,
        });
        calls.operands.push(vec![Some(made), Some(state)]);
        calls.nodes.push(usize::MAX);
        let index = calls.calls.len() - 1;
        self.touch(made, index);
        self.touch(state, index);
        Ok(())
    }

    /// Whether call `index`, the last to read one buffer and the first to write another, may do
    /// so in the same bytes.
    fn writes_in_place(&self, calls: &Calls, index: usize, [state, made]: [usize; 2]) -> bool {
        let is = |wanted: usize| {
            let operands = calls.operands[index].iter().enumerate();
            let found = operands.filter(move |(_, operand)| {
                operand.is_some_and(|buffer| self.root(buffer) == wanted)
            });
            found.map(|(operand, _)| operand).collect::<Vec<_>>()
        };
        match (&is(state)[..], &is(made)[..]) {
            (&[read], &[written]) => calls.calls[index].kernel.in_place(read, written),
            _ => false,
        }
    }

    fn add_values(
        &mut self,
        graph: &Graph,
        links: &[StateLink],
        constants: &BTreeSet<ValueId>,
    ) -> Result<()> {
        let states: BTreeSet<ValueId> = links.iter().map(|link| link.input).collect();
        let made: BTreeSet<ValueId> = links.iter().map(|link| link.output).collect();
        let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
        let producers = graph.producers();
        let consumers = graph.consumers();
        for (id, _) in graph.values() {
            let is_output = outputs.contains(&id);
            let is_linked = states.contains(&id) || made.contains(&id);
            let is_used = !consumers[id.index()].is_empty() || is_output || is_linked;
            let Some(producer) = producers[id.index()] else {
                continue;
            };
            if !is_used && !matches!(producer, Producer::Node(..) | Producer::Input) {
                continue;
            }
            let (dtype, shape) = fixed(graph, id)?;
            let bytes = shape.iter().product::<usize>() * dtype.size_bytes().unwrap_or(0);
            let kind = match producer {
                _ if states.contains(&id) => Kind::State(id),
                Producer::Initializer => Kind::Constant(id),
                Producer::Input if constants.contains(&id) => Kind::Constant(id),
                Producer::Input => Kind::Work { fixed: true },
                Producer::Node(..) => Kind::Work { fixed: is_output },
            };
            let index = self.add(kind, bytes);
            self.by_value.insert(id, index);
        }
        Ok(())
    }

    /// `output` is the memory of `input`, whose kind decides, but that a graph output keeps its
    /// bytes to itself.
    fn alias(&mut self, input: usize, output: usize) {
        let fixed = self.list[self.root(output)].kind == (Kind::Work { fixed: true });
        self.merge(input, output);
        let root = self.root(input);
        if fixed && let Kind::Work { fixed } = &mut self.list[root].kind {
            *fixed = true;
        }
    }

    fn resolve(&mut self, lowered: Vec<(usize, Lowered)>) -> Calls {
        let mut calls = Calls {
            calls: Vec::new(),
            nodes: Vec::new(),
            members: BTreeMap::new(),
            operands: Vec::new(),
        };
        for (node, lowered) in lowered {
            let temporaries: Vec<usize> = lowered
                .temporaries
                .iter()
                .map(|&bytes| self.add(Kind::Work { fixed: false }, bytes))
                .collect();
            let constants = lowered.constants.into_iter();
            let constants: Vec<usize> = constants.map(|c| self.add_constant(c)).collect();
            if !lowered.members.is_empty() {
                calls.members.insert(calls.calls.len(), lowered.members);
            }
            for call in lowered.calls {
                let operand = |slot: &Slot| match *slot {
                    Slot::Value(value) => self.of(value),
                    Slot::Temporary(index) => Some(temporaries[index]),
                    Slot::Constant(index) => Some(constants[index]),
                    Slot::Absent => None,
                };
                calls
                    .operands
                    .push(call.operands.iter().map(operand).collect());
                calls.nodes.push(node);
                calls.calls.push(call);
            }
        }
        calls
    }

    fn find_lives(&mut self, calls: &Calls) {
        for (index, operands) in calls.operands.iter().enumerate() {
            for &buffer in operands.iter().flatten() {
                self.touch(buffer, index);
            }
        }
    }

    /// Lets a call write where it reads, when it can and nothing reads that later.
    fn merge_in_place(&mut self, calls: &Calls) {
        for (index, (call, operands)) in calls.calls.iter().zip(&calls.operands).enumerate() {
            let specs = call.kernel.operands();
            for written in 0..specs.len() {
                if specs[written].access != Access::Write {
                    continue;
                }
                let Some(target) = operands[written].map(|buffer| self.root(buffer)) else {
                    continue;
                };
                let fits = |read: usize| {
                    call.kernel.in_place(read, written)
                        && self.can_reuse(index, [read, written], &specs, operands)
                };
                if let Some(read) = (0..specs.len()).find(|&read| fits(read)) {
                    let source = operands[read].expect("a reusable operand is there");
                    self.merge(source, target);
                }
            }
        }
    }

    fn can_reuse(
        &self,
        index: usize,
        [read, written]: [usize; 2],
        specs: &[OperandSpec],
        operands: &[Option<usize>],
    ) -> bool {
        let (Some(source), Some(target)) = (operands[read], operands[written]) else {
            return false;
        };
        let (source, target) = (self.root(source), self.root(target));
        let (from, to) = (&self.list[source], &self.list[target]);
        let plain = Kind::Work { fixed: false };
        let ends_here = from.life.is_some_and(|(_, last)| last == index);
        let starts_here = to.life.is_some_and(|(first, _)| first == index);
        let same =
            |&operand: &Option<usize>| operand.map(|buffer| self.root(buffer)) == Some(source);
        specs[read].access == Access::Read
            && source != target
            && from.kind == plain
            && to.kind == plain
            && from.bytes == to.bytes
            && ends_here
            && starts_here
            // Another operand in the same memory might not allow it.
            && operands.iter().filter(|operand| same(operand)).count() == 1
    }
}
