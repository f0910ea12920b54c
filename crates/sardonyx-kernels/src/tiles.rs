//! A whole batch, a few samples at a time: each tile goes through all calls on one thread, in
//! memory of that thread, so that what the calls hand on never leaves the caches.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::arena::ALIGN_BYTES;
use crate::{
    Access, ArenaLengths, Call, Chain, DType, Kernel, KernelError, OperandSpec, Program, Region,
    Result, Run, Space, Stage,
};

/// Most operands of a call within a tile: their places are worked out without allocating.
const MOST_OPERANDS: usize = 32;

/// Where an operand of a call within a tile lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All of an operand of [`Tiles`], which every tile reads.
    Whole(usize),
    /// The tile's own part of an operand of [`Tiles`].
    Part(usize),
    /// Bytes of the memory that lives within a tile: offset and length.
    Memory(usize, usize),
}

/// An operand of [`Tiles`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileOperand {
    /// So many bytes that every tile reads.
    Whole(usize),
    /// So many bytes for each tile, one tile's behind the other's.
    Part(usize),
}

/// A call within a tile.
#[derive(Debug, Clone)]
pub struct TileCall {
    /// What to do.
    pub kernel: Arc<dyn Kernel>,
    /// On what; `None` for an optional operand that is left out.
    pub operands: Vec<Option<Place>>,
}

/// Calls for tile after tile. An item is a tile.
///
/// Operands: as given; those of which a call writes a part are read and written.
#[derive(Debug)]
pub struct Tiles {
    operands: Vec<TileOperand>,
    written: BTreeSet<usize>,
    places: Vec<Vec<Option<Place>>>,
    /// The calls of one tile, over arenas that stand for the wholes, the parts and the memory.
    program: Program,
    tiles: usize,
    memory_len: usize,
}

impl Tiles {
    /// `calls`, in order, for each of `tiles` tiles, with `memory_len` bytes of memory.
    ///
    /// # Errors
    /// As [`Program::new`] for a call that does not fit its places; [`KernelError::Geometry`] for
    /// a place that does not exist, a part that is no multiple of 64 bytes, more than 32 operands,
    /// or tiles within tiles.
    pub fn new(
        calls: Vec<TileCall>,
        operands: Vec<TileOperand>,
        tiles: usize,
        memory_len: usize,
    ) -> Result<Tiles> {
        let memory_len = memory_len.next_multiple_of(ALIGN_BYTES);
        let stand_ins = StandIns::new(&operands, tiles, memory_len)?;
        let mut written = BTreeSet::new();
        let (mut stages, mut places) = (Vec::new(), Vec::new());
        for call in calls {
            if call.operands.len() > MOST_OPERANDS || call.kernel.tiles().is_some() {
                return Err(misfit(format!("cannot hold {:?}", call.kernel)));
            }
            let regions = call.operands.iter().map(|&place| stand_ins.region(place));
            let regions = regions.collect::<Result<Vec<_>>>()?;
            for (spec, place) in call.kernel.operands().iter().zip(&call.operands) {
                if let (true, &Some(Place::Part(index))) = (spec.access.writes(), place) {
                    written.insert(index);
                }
            }
            places.push(call.operands);
            let (kernel, operands) = (call.kernel, regions);
            let calls = vec![Call { kernel, operands }];
            let chains = vec![Chain { calls }];
            stages.push(Stage { chains });
        }
        Ok(Tiles {
            program: Program::new(stages, stand_ins.lengths)?,
            operands,
            written,
            places,
            tiles,
            memory_len,
        })
    }

    /// The calls of one tile, in order. Their regions are stand-ins: only lengths mean something.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        let chains = self.program.stages().iter().flat_map(|stage| &stage.chains);
        chains.flat_map(|chain| &chain.calls)
    }

    /// Number of calls of one tile.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Does call `index` for `tile`. `cx` is that of the tiles.
    pub(crate) fn run_call(&self, cx: &Run<'_>, tile: usize, index: usize) {
        let places = &self.places[index];
        let mut operands = [None; MOST_OPERANDS];
        for (operand, place) in operands.iter_mut().zip(places) {
            *operand = place.map(|place| self.locate(cx, tile, place));
        }
        let mut bases = cx.bases;
        bases[Space::Tile as usize] = cx.scratch;
        let kernel = &self.program.stages()[index].chains[0].calls[0].kernel;
        let own = Run {
            bases,
            operands: &operands[..places.len()],
            scratch: cx.scratch.wrapping_add(self.memory_len),
            scratch_len: cx.scratch_len - self.memory_len,
        };
        kernel.run(&own, 0..kernel.items());
    }

    fn locate(&self, cx: &Run<'_>, tile: usize, place: Place) -> Region {
        let outer = |index: usize| cx.operands[index].expect("no operand of tiles is optional");
        match place {
            Place::Whole(index) => outer(index),
            Place::Part(index) => {
                let len = self.part_len(index);
                let offset = outer(index).offset + tile * len;
                let space = outer(index).space;
                Region { space, offset, len }
            }
            Place::Memory(offset, len) => Region {
                space: Space::Tile,
                offset,
                len,
            },
        }
    }

    fn part_len(&self, index: usize) -> usize {
        match self.operands[index] {
            TileOperand::Part(len) | TileOperand::Whole(len) => len,
        }
    }
}

impl Kernel for Tiles {
    fn name(&self) -> &'static str {
        "tiles"
    }

    fn items(&self) -> usize {
        self.tiles
    }

    fn scratch_len(&self) -> usize {
        self.memory_len + self.program.scratch_len()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let spec = |(index, operand): (usize, &TileOperand)| match *operand {
            TileOperand::Whole(len) => OperandSpec::read("whole", DType::U8, len),
            TileOperand::Part(len) => OperandSpec {
                access: if self.written.contains(&index) {
                    Access::ReadWrite
                } else {
                    Access::Read
                },
                ..OperandSpec::read("part", DType::U8, len * self.tiles)
            },
        };
        self.operands.iter().enumerate().map(spec).collect()
    }

    fn flops(&self) -> u64 {
        self.program.flops() * self.tiles as u64
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        match self.operands[operand] {
            TileOperand::Whole(_) => None,
            TileOperand::Part(len) => Some(item * len..(item + 1) * len),
        }
    }

    fn tiles(&self) -> Option<&Tiles> {
        Some(self)
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for tile in items {
            for index in 0..self.len() {
                self.run_call(cx, tile, index);
            }
        }
    }
}

fn misfit(problem: String) -> KernelError {
    let kernel = "tiles";
    KernelError::Geometry { kernel, problem }
}

/// Regions that stand for the places of one tile, so that a program can check the calls: wholes
/// among the constants, parts among the state, memory as work.
struct StandIns<'a> {
    operands: &'a [TileOperand],
    offsets: Vec<usize>,
    lengths: ArenaLengths,
}

impl StandIns<'_> {
    fn new(operands: &[TileOperand], tiles: usize, memory_len: usize) -> Result<StandIns<'_>> {
        let work = memory_len;
        let mut lengths = ArenaLengths {
            work,
            ..ArenaLengths::default()
        };
        let mut offsets = Vec::with_capacity(operands.len());
        for operand in operands {
            let (length, bytes) = match *operand {
                TileOperand::Whole(bytes) => (&mut lengths.constants, bytes),
                TileOperand::Part(bytes) => (&mut lengths.state, bytes),
            };
            let is_part = matches!(operand, TileOperand::Part(_));
            if is_part && tiles > 1 && !bytes.is_multiple_of(ALIGN_BYTES) {
                return Err(misfit(format!("a part of {bytes} bytes is misaligned")));
            }
            offsets.push(*length);
            *length = (*length + bytes).next_multiple_of(ALIGN_BYTES);
        }
        Ok(StandIns {
            operands,
            offsets,
            lengths,
        })
    }

    fn region(&self, place: Option<Place>) -> Result<Option<Region>> {
        let Some(place) = place else {
            return Ok(None);
        };
        let (space, offset, len) = match place {
            Place::Memory(offset, len) => (Space::Work, offset, len),
            Place::Whole(index) | Place::Part(index) => match self.operands.get(index) {
                Some(&TileOperand::Whole(len)) if place == Place::Whole(index) => {
                    (Space::Constants, self.offsets[index], len)
                }
                Some(&TileOperand::Part(len)) if place == Place::Part(index) => {
                    (Space::State, self.offsets[index], len)
                }
                _ => return Err(misfit(format!("there is no {place:?}"))),
            },
        };
        Ok(Some(Region { space, offset, len }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};
    use crate::{Axpby, Isa};

    const FLOATS: usize = 48;

    /// `y = x + y`, over so many floats.
    fn add(x: Place, y: Place) -> TileCall {
        TileCall {
            kernel: Arc::new(Axpby::new(Isa::Scalar, FLOATS, 1.0, 1.0)),
            operands: vec![Some(x), Some(y)],
        }
    }

    fn calls() -> Vec<TileCall> {
        let sum = Place::Memory(64, 4 * FLOATS);
        let clear = TileCall {
            kernel: Arc::new(Axpby::new(Isa::Scalar, FLOATS, 1.0, 0.0)),
            operands: vec![Some(Place::Part(0)), Some(sum)],
        };
        vec![clear, add(Place::Whole(1), sum), add(sum, Place::Part(2))]
    }

    fn operands() -> Vec<TileOperand> {
        let bytes = 4 * FLOATS;
        vec![
            TileOperand::Part(bytes),
            TileOperand::Whole(bytes),
            TileOperand::Part(bytes),
        ]
    }

    #[test]
    fn each_tile_has_its_parts_and_a_memory() {
        for tiles in [1, 2, 7, 16] {
            let kernel = Tiles::new(calls(), operands(), tiles, 64 + 4 * FLOATS).unwrap();
            assert_eq!(kernel.flops(), 3 * 3 * (tiles * FLOATS) as u64);
            let (x, y) = (Rig::ramp(tiles * FLOATS, 1), Rig::ramp(tiles * FLOATS, 2));
            let whole = Rig::ramp(FLOATS, 3);
            let expected: Vec<f32> = (0..x.len())
                .map(|index| (whole[index % FLOATS] + x[index]) + y[index])
                .collect();
            let before = [x, whole, y].map(|values| Buffer::f32s(&values));
            let after = Rig::new(kernel).run(&before);
            assert_eq!(after[2].to_f32s(), expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bytes = 64 + 4 * FLOATS;
        let problem = |calls: Vec<TileCall>, operands: Vec<TileOperand>| {
            Tiles::new(calls, operands, 3, bytes).unwrap_err()
        };
        let whole_written = problem(vec![add(Place::Part(0), Place::Whole(1))], operands());
        assert!(whole_written.to_string().contains("constants"));
        let mut odd = operands();
        odd[0] = TileOperand::Part(4 * FLOATS + 4);
        assert!(problem(calls(), odd).to_string().contains("misaligned"));
        let unknown = problem(vec![add(Place::Part(1), Place::Part(2))], operands());
        assert!(unknown.to_string().contains("there is no Part(1)"));
        let memory = Place::Memory(128, 4 * FLOATS);
        let outside = problem(vec![add(Place::Part(0), memory)], operands());
        assert!(
            outside.to_string().contains("ends at byte 320"),
            "{outside}"
        );
        let inner = Tiles::new(calls(), operands(), 1, bytes).unwrap();
        let nested = TileCall {
            kernel: Arc::new(inner),
            operands: vec![],
        };
        assert!(
            problem(vec![nested], vec![])
                .to_string()
                .contains("cannot hold")
        );
    }
}
