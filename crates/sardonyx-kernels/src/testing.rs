//! What every kernel's tests use: runs a kernel through a program on 1 to 4 threads, and checks
//! that all give the same bytes and that nothing outside the written operands changes.

use std::sync::Arc;

use crate::arena::ALIGN_BYTES;
use crate::{Arena, ArenaLengths, Call, Chain, Element, Kernel, Machine, Pool, Program, Region};
use crate::{Space, Stage};

/// Bytes of an operand, before or after a run; `None` for one that is left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Buffer(Option<Vec<u8>>);

impl Buffer {
    /// An optional operand that is left out.
    pub(crate) fn absent() -> Buffer {
        Buffer(None)
    }

    /// The bytes of `values`.
    pub(crate) fn of<T: Element>(values: &[T]) -> Buffer {
        let len = size_of_val(values);
        let mut arena = Arena::zeroed(len);
        let region = Region {
            space: Space::Work,
            offset: 0,
            len,
        };
        arena.view_mut::<T>(region).copy_from_slice(values);
        Buffer(Some(arena.bytes().to_vec()))
    }

    /// The bytes of `values`.
    pub(crate) fn f32s(values: &[f32]) -> Buffer {
        Buffer::of(values)
    }

    /// `len` floats that are NaN: an output whose elements must all be written.
    pub(crate) fn unset(len: usize) -> Buffer {
        Buffer::of(&vec![f32::NAN; len])
    }

    /// The elements.
    pub(crate) fn to<T: Element>(&self) -> Vec<T> {
        let bytes = self.0.as_ref().expect("the operand is there");
        let mut arena = Arena::zeroed(bytes.len());
        arena.bytes_mut().copy_from_slice(bytes);
        arena
            .view::<T>(Region {
                space: Space::Work,
                offset: 0,
                len: bytes.len(),
            })
            .to_vec()
    }

    /// The elements.
    pub(crate) fn to_f32s(&self) -> Vec<f32> {
        self.to()
    }
}

/// Byte between operands, which no kernel may change.
const CANARY: u8 = 0xa7;

/// Numbers for operands: so many, the same for the same seed.
pub(crate) type Draw = fn(usize, u64) -> Vec<f32>;

/// A kernel under test.
#[derive(Debug)]
pub(crate) struct Rig {
    kernel: Arc<dyn Kernel>,
}

impl Rig {
    pub(crate) fn new(kernel: impl Kernel + 'static) -> Rig {
        Rig {
            kernel: Arc::new(kernel),
        }
    }

    /// `len` numbers in -1..1 with no pattern; equal seeds give equal numbers.
    pub(crate) fn ramp(len: usize, seed: u64) -> Vec<f32> {
        let mut random = sardonyx_tensor::Philox::new(seed, 0);
        (0..len).map(|_| random.uniform() * 2.0 - 1.0).collect()
    }

    /// As [`Rig::ramp`], with a few of the numbers that must neither get lost nor spread to other
    /// elements: not a number, both infinities, and numbers too small to be normal.
    pub(crate) fn extremes(len: usize, seed: u64) -> Vec<f32> {
        let mut values = Rig::ramp(len, seed);
        let mut random = sardonyx_tensor::Philox::new(seed, 1);
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-41, -1e-45];
        for value in odd.into_iter().take(len) {
            let index = random.below(len as u64);
            values[index as usize] = value;
        }
        values
    }

    /// The kinds of operands that a kernel's test tries.
    pub(crate) const DRAWS: [Draw; 2] = [Rig::ramp, Rig::extremes];

    /// Largest difference relative to the largest expected magnitude must be below `tolerance`.
    pub(crate) fn assert_close(made: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(made.len(), expected.len());
        let scale = expected.iter().fold(
            1e-3f32,
            |m, x| if x.is_finite() { m.max(x.abs()) } else { m },
        );
        for (index, (a, b)) in made.iter().zip(expected).enumerate() {
            let same = a == b || (a.is_nan() && b.is_nan());
            assert!(
                same || (a - b).abs() <= tolerance * scale,
                "element {index} is {a}, not {b} (scale {scale})"
            );
        }
    }

    /// Runs the kernel on 1, 2, 3 and 4 threads and gives the operands after the run.
    pub(crate) fn run(&self, operands: &[Buffer]) -> Vec<Buffer> {
        let first = self.run_on(1, operands);
        for threads in 2..=4 {
            assert_eq!(
                self.run_on(threads, operands),
                first,
                "{threads} threads differ"
            );
        }
        first
    }

    fn run_on(&self, threads: usize, operands: &[Buffer]) -> Vec<Buffer> {
        let mut len = ALIGN_BYTES;
        let regions: Vec<Option<Region>> = operands
            .iter()
            .map(|operand| {
                let bytes = operand.0.as_ref()?;
                let region = Region {
                    space: Space::Work,
                    offset: len,
                    len: bytes.len(),
                };
                len = (region.end() + ALIGN_BYTES).next_multiple_of(ALIGN_BYTES);
                Some(region)
            })
            .collect();
        let mut work = Arena::zeroed(len);
        work.bytes_mut().fill(CANARY);
        for (operand, region) in operands.iter().zip(&regions) {
            if let (Some(bytes), Some(region)) = (&operand.0, region) {
                work.bytes_mut()[region.offset..region.end()].copy_from_slice(bytes);
            }
        }
        let call = Call {
            kernel: Arc::clone(&self.kernel),
            operands: regions.clone(),
        };
        let stage = Stage {
            chains: vec![Chain { calls: vec![call] }],
        };
        let program = Program::new(
            vec![stage],
            ArenaLengths {
                work: len,
                ..Default::default()
            },
        )
        .unwrap();
        let pool = Arc::new(Pool::new(threads).unwrap());
        let empty = || Arena::zeroed(0);
        let mut machine =
            Machine::new(Arc::new(program), Arc::new(empty()), empty(), work, pool).unwrap();
        machine.run();
        self.collect(&machine, operands, &regions)
    }

    fn collect(
        &self,
        machine: &Machine,
        operands: &[Buffer],
        regions: &[Option<Region>],
    ) -> Vec<Buffer> {
        let bytes = machine.arena(Space::Work).bytes();
        let mut gap = 0;
        for region in regions.iter().flatten() {
            assert!(
                bytes[gap..region.offset].iter().all(|&byte| byte == CANARY),
                "a write outside"
            );
            gap = region.end();
        }
        assert!(
            bytes[gap..].iter().all(|&byte| byte == CANARY),
            "a write behind the end"
        );
        let after: Vec<Buffer> = regions
            .iter()
            .map(|region| Buffer(region.map(|r| bytes[r.offset..r.end()].to_vec())))
            .collect();
        for (spec, (before, after)) in self
            .kernel
            .operands()
            .iter()
            .zip(operands.iter().zip(&after))
        {
            assert!(
                spec.access.writes() || before == after,
                "{} was written",
                spec.name
            );
        }
        after
    }
}
