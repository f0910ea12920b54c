//! A plan as the machine takes it, checked once so that running it needs no checks.

use std::ops::Range;

use crate::arena::ALIGN_BYTES;
use crate::{Call, Chain, Kernel, KernelError, OperandSpec, Region, RegionProblem, Result};
use crate::{Space, Stage};

/// Bytes of the arenas of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArenaLengths {
    /// Bytes of [`Space::Constants`].
    pub constants: usize,
    /// Bytes of [`Space::Shared`].
    pub shared: usize,
    /// Bytes of [`Space::State`].
    pub state: usize,
    /// Bytes of [`Space::Work`].
    pub work: usize,
}

impl ArenaLengths {
    /// Bytes of `space`.
    pub const fn of(self, space: Space) -> usize {
        match space {
            Space::Constants => self.constants,
            Space::Shared => self.shared,
            Space::State => self.state,
            Space::Work => self.work,
            Space::Tile => 0,
        }
    }
}

/// Stages of calls whose every region has been checked.
#[derive(Debug)]
pub struct Program {
    stages: Vec<Stage>,
    lengths: ArenaLengths,
    scratch_len: usize,
}

impl Program {
    /// Checks the stages against the arenas' lengths.
    ///
    /// # Errors
    /// [`KernelError::Operand`] and [`KernelError::OperandCount`] for a call that does not fit its
    /// kernel or its arena, [`KernelError::Items`] for a chain of unequal calls,
    /// [`KernelError::Race`] where two threads could touch the same bytes, one of them writing.
    pub fn new(stages: Vec<Stage>, lengths: ArenaLengths) -> Result<Program> {
        let mut scratch_len = 0;
        for (index, stage) in stages.iter().enumerate() {
            for chain in &stage.chains {
                for call in &chain.calls {
                    check_call(call, lengths)?;
                    scratch_len = scratch_len.max(call.kernel.scratch_len());
                }
                check_chain(index, chain)?;
            }
            check_independence(index, stage)?;
        }
        Ok(Program {
            stages,
            lengths,
            scratch_len,
        })
    }

    /// The stages, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The calls, in the order in which [`crate::Timings`] counts them, and how often a run does
    /// each: those of [`crate::Tiles`] come one by one, once for each tile.
    pub fn calls(&self) -> impl Iterator<Item = (&Call, usize)> {
        let chains = self.stages.iter().flat_map(|stage| &stage.chains);
        chains.flat_map(|chain| &chain.calls).flat_map(Call::parts)
    }

    /// Bytes that each arena must have at least.
    pub fn lengths(&self) -> ArenaLengths {
        self.lengths
    }

    /// Bytes of scratch that each thread needs.
    pub fn scratch_len(&self) -> usize {
        self.scratch_len
    }

    /// Floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        let flops = |(call, times): (&Call, usize)| call.kernel.flops() * times as u64;
        self.calls().map(flops).sum()
    }
}

fn check_call(call: &Call, lengths: ArenaLengths) -> Result<()> {
    let (kernel, specs) = (call.kernel.name(), call.kernel.operands());
    if specs.len() != call.operands.len() {
        let (expected, found) = (specs.len(), call.operands.len());
        return Err(KernelError::OperandCount {
            kernel,
            expected,
            found,
        });
    }
    for (spec, region) in specs.iter().zip(&call.operands) {
        check_region(spec, *region, lengths).map_err(|problem| KernelError::Operand {
            kernel,
            operand: spec.name,
            problem,
        })?;
    }
    for (first, spec) in specs.iter().enumerate() {
        for (second, other) in specs.iter().enumerate().skip(first + 1) {
            if overlap_is_bad(call, [first, second], [spec, other]) {
                let problem = RegionProblem::Overlap { other: other.name };
                return Err(KernelError::Operand {
                    kernel,
                    operand: spec.name,
                    problem,
                });
            }
        }
    }
    Ok(())
}

fn check_region(
    spec: &OperandSpec,
    region: Option<Region>,
    lengths: ArenaLengths,
) -> Result<(), RegionProblem> {
    let Some(region) = region else {
        return if spec.optional {
            Ok(())
        } else {
            Err(RegionProblem::Missing)
        };
    };
    let dtype = spec.dtype;
    let size = dtype.size_bytes().ok_or(RegionProblem::Unsized { dtype })?;
    let needed = spec.len.saturating_mul(size);
    if region.len < needed {
        let (elements, found) = (spec.len, region.len);
        return Err(RegionProblem::Short {
            needed,
            elements,
            dtype,
            found,
        });
    }
    if !region.offset.is_multiple_of(ALIGN_BYTES) {
        return Err(RegionProblem::Misaligned {
            offset: region.offset,
        });
    }
    let (end, arena) = (region.end(), lengths.of(region.space));
    if end > arena {
        return Err(RegionProblem::Outside {
            end,
            space: region.space,
            arena,
        });
    }
    if spec.access.writes() && region.space.is_constant() {
        return Err(RegionProblem::Constant);
    }
    Ok(())
}

fn overlap_is_bad(call: &Call, indices: [usize; 2], specs: [&OperandSpec; 2]) -> bool {
    let [Some(first), Some(second)] = indices.map(|index| call.operands[index]) else {
        return false;
    };
    if !first.overlaps(second) {
        return false;
    }
    let same_start = first.offset == second.offset;
    match specs.map(|spec| spec.access.writes()) {
        [false, false] => false,
        [true, true] => true,
        [false, true] => !(same_start && call.kernel.in_place(indices[0], indices[1])),
        [true, false] => !(same_start && call.kernel.in_place(indices[1], indices[0])),
    }
}

/// Every operand that a call has: index, region, and whether it is written.
fn touched(call: &Call) -> impl Iterator<Item = (usize, Region, bool)> {
    let specs = call.kernel.operands();
    call.operands
        .iter()
        .enumerate()
        .filter_map(move |(index, region)| {
            region.map(|region| (index, region, specs[index].access.writes()))
        })
}

fn check_chain(stage: usize, chain: &Chain) -> Result<()> {
    let Some(head) = chain.calls.first() else {
        return Ok(());
    };
    let expected = head.kernel.items();
    for (index, call) in chain.calls.iter().enumerate() {
        let found = call.kernel.items();
        if found != expected {
            return Err(KernelError::Items {
                kernel: call.kernel.name(),
                expected,
                found,
            });
        }
        for earlier in &chain.calls[..index] {
            if !items_keep_apart(earlier, call) {
                let (first, second) = (earlier.kernel.name(), call.kernel.name());
                return Err(KernelError::Race {
                    stage,
                    first,
                    second,
                });
            }
        }
    }
    Ok(())
}

/// Whether no item of one call touches bytes that another item of the other call writes.
fn items_keep_apart(first: &Call, second: &Call) -> bool {
    touched(first).all(|(a, region_a, writes_a)| {
        touched(second).all(|(b, region_b, writes_b)| {
            let harmless = !(writes_a || writes_b) || !region_a.overlaps(region_b);
            harmless || first.kernel.items() <= 1 || {
                let mut reached = 0;
                (0..first.kernel.items()).all(|item| {
                    let parts = [
                        part_bytes(&*first.kernel, a, region_a, item),
                        part_bytes(&*second.kernel, b, region_b, item),
                    ];
                    let [Some(part_a), Some(part_b)] = parts else {
                        return false;
                    };
                    let apart = part_a.start.min(part_b.start) >= reached;
                    reached = part_a.end.max(part_b.end);
                    apart
                })
            }
        })
    })
}

fn part_bytes(kernel: &dyn Kernel, index: usize, at: Region, item: usize) -> Option<Range<usize>> {
    let size = kernel.operands()[index].dtype.size_bytes()?;
    let part = kernel.part(index, item)?;
    Some(at.offset + part.start * size..at.offset + part.end * size)
}

fn check_independence(stage: usize, what: &Stage) -> Result<()> {
    for (index, chain) in what.chains.iter().enumerate() {
        for other in &what.chains[..index] {
            for (call, earlier) in chain
                .calls
                .iter()
                .flat_map(|a| other.calls.iter().map(move |b| (a, b)))
            {
                let clash = touched(call).any(|(_, region, writes)| {
                    touched(earlier).any(|(_, region_b, writes_b)| {
                        (writes || writes_b) && region.overlaps(region_b)
                    })
                });
                if clash {
                    let (first, second) = (earlier.kernel.name(), call.kernel.name());
                    return Err(KernelError::Race {
                        stage,
                        first,
                        second,
                    });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Arena, Axpby, Isa, Machine, Pool, RegionProblem};

    fn work(offset: usize, floats: usize) -> Option<Region> {
        Some(Region {
            space: Space::Work,
            offset,
            len: 4 * floats,
        })
    }

    fn axpby(len: usize, x: Option<Region>, y: Option<Region>) -> Call {
        Call {
            kernel: Arc::new(Axpby::new(Isa::Scalar, len, 1.0, 1.0)),
            operands: vec![x, y],
        }
    }

    fn stage(chains: Vec<Vec<Call>>) -> Stage {
        Stage {
            chains: chains.into_iter().map(|calls| Chain { calls }).collect(),
        }
    }

    fn check(stage: Stage) -> Result<Program> {
        let lengths = ArenaLengths {
            constants: 4096,
            work: 1 << 20,
            ..Default::default()
        };
        Program::new(vec![stage], lengths)
    }

    fn problem(call: Call) -> RegionProblem {
        match check(stage(vec![vec![call]])) {
            Err(KernelError::Operand { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn regions_that_do_not_fit_are_refused() {
        let missing = problem(axpby(16, None, work(0, 16)));
        assert_eq!(missing, RegionProblem::Missing);
        let short = problem(axpby(17, work(0, 16), work(128, 17)));
        let (needed, elements, found) = (68, 17, 64);
        let dtype = crate::DType::F32;
        assert_eq!(
            short,
            RegionProblem::Short {
                needed,
                elements,
                dtype,
                found
            }
        );
        let odd = problem(axpby(4, work(4, 4), work(128, 4)));
        assert_eq!(odd, RegionProblem::Misaligned { offset: 4 });
        let end = (1 << 20) + 64;
        let outside = problem(axpby(32, work(0, 32), work((1 << 20) - 64, 32)));
        assert_eq!(
            outside,
            RegionProblem::Outside {
                end,
                space: Space::Work,
                arena: 1 << 20
            }
        );
        let huge = Some(Region {
            space: Space::Work,
            offset: usize::MAX - 63,
            len: 256,
        });
        assert!(matches!(
            problem(axpby(4, huge, work(0, 4))),
            RegionProblem::Outside { .. }
        ));
        let constant = Some(Region {
            space: Space::Constants,
            offset: 0,
            len: 64,
        });
        assert_eq!(
            problem(axpby(4, work(0, 4), constant)),
            RegionProblem::Constant
        );
        assert!(check(stage(vec![vec![axpby(4, constant, work(0, 4))]])).is_ok());
    }

    #[test]
    fn operands_overlap_only_where_the_kernel_works_in_place() {
        assert!(check(stage(vec![vec![axpby(32, work(0, 32), work(0, 32))]])).is_ok());
        let other = "y";
        assert_eq!(
            problem(axpby(32, work(0, 32), work(64, 32))),
            RegionProblem::Overlap { other }
        );
    }

    #[test]
    fn chains_of_a_stage_must_not_meet() {
        let first = || vec![axpby(32, work(0, 32), work(128, 32))];
        let reads_it = vec![axpby(32, work(128, 32), work(256, 32))];
        let reads_the_same = vec![axpby(32, work(0, 32), work(256, 32))];
        assert!(matches!(
            check(stage(vec![first(), reads_it])),
            Err(KernelError::Race { .. })
        ));
        assert!(check(stage(vec![first(), reads_the_same])).is_ok());
    }

    #[test]
    fn calls_of_a_chain_may_pass_an_item_on_but_not_meet_another() {
        let len = 40_000;
        let at = |index: usize| work(index * 40_000 * 4, len);
        let lengths = ArenaLengths {
            work: 3 * 160_000,
            ..Default::default()
        };
        let chain = vec![axpby(len, at(0), at(1)), axpby(len, at(1), at(2))];
        assert!(Program::new(vec![stage(vec![chain])], lengths).is_ok());
        // The second call reads one cache line further on: the next item's first elements.
        let shifted = work(64, len - 16);
        let chain = vec![
            axpby(len - 16, at(1), at(0)),
            axpby(len - 16, shifted, at(2)),
        ];
        let refused = Program::new(vec![stage(vec![chain])], lengths);
        assert!(
            matches!(refused, Err(KernelError::Race { .. })),
            "{refused:?}"
        );
        let unequal = vec![axpby(len, at(0), at(1)), axpby(16, at(1), at(2))];
        let refused = Program::new(vec![stage(vec![unequal])], lengths);
        assert!(matches!(
            refused,
            Err(KernelError::Items {
                expected: 3,
                found: 1,
                ..
            })
        ));
    }

    #[test]
    fn stages_and_chains_run_in_order_and_are_timed() {
        let len = 40_000;
        let at = |index: usize| work(index * 160_000, len);
        let stages = || {
            vec![
                stage(vec![vec![
                    axpby(len, at(0), at(1)),
                    axpby(len, at(1), at(2)),
                ]]),
                stage(vec![
                    vec![axpby(len, at(2), at(3))],
                    vec![axpby(len, at(1), at(4))],
                ]),
            ]
        };
        let lengths = ArenaLengths {
            work: 5 * 160_000,
            ..Default::default()
        };
        let program = Arc::new(Program::new(stages(), lengths).unwrap());
        for threads in 1..=4 {
            let mut arena = Arena::zeroed(lengths.work);
            let region = |index: usize| at(index).expect("a region");
            arena.f32s_mut(region(0)).fill(1.0);
            let (empty, pool) = (|| Arena::zeroed(0), Arc::new(Pool::new(threads).unwrap()));
            let mut machine = Machine::new(
                Arc::clone(&program),
                Arc::new(empty()),
                empty(),
                arena,
                pool,
            )
            .unwrap();
            let timings = crate::Timings::new(&program, || 7);
            machine.run_timed(&timings);
            machine.run();
            let sums = [1.0, 2.0, 3.0, 4.0, 3.0];
            for (index, sum) in sums.into_iter().enumerate() {
                let made = machine.arena(Space::Work).f32s(region(index));
                assert!(
                    made.iter().all(|value| *value == sum),
                    "{index} on {threads} threads"
                );
            }
            assert_eq!(timings.nanoseconds(), [0; 4]);
        }
    }

    #[test]
    fn short_arenas_are_refused() {
        let program = check(stage(vec![vec![axpby(4, work(0, 4), work(64, 4))]])).unwrap();
        let pool = Arc::new(Pool::new(1).unwrap());
        let constants = Arc::new(Arena::zeroed(4096));
        let (state, work) = (Arena::zeroed(0), Arena::zeroed(64));
        let refused = Machine::new(Arc::new(program), constants, state, work, pool).unwrap_err();
        let (space, needed, found) = (Space::Work, 1 << 20, 64);
        assert_eq!(
            refused,
            KernelError::ArenaShort {
                space,
                needed,
                found
            }
        );
    }
}
