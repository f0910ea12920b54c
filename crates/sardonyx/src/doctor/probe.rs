//! How fast the processor can multiply and add: the yardstick of everything else.

use std::sync::Arc;

use sardonyx_kernels::{
    Arena, ArenaLengths, Call, Chain, FmaProbe, Isa, Machine, Pool, Program, Stage,
};
use serde::Serialize;

use crate::clock::Stopwatch;
use crate::error::Result;

/// Seconds that each instruction set is measured for.
const SECONDS: f64 = 0.08;
/// Work per thread and run: long against starting the threads.
const ITEMS_PER_THREAD: usize = 8;

/// A measured arithmetic peak.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peak {
    /// Instruction set.
    pub isa: String,
    /// Threads that worked.
    pub threads: usize,
    /// Billions of floating-point operations a second, the best of many runs.
    pub gflops: f64,
}

/// The peaks of each instruction set on one thread and on `threads`.
pub(super) fn peaks(threads: usize) -> Result<Vec<Peak>> {
    let mut peaks = Vec::new();
    let mut counts = vec![1, threads];
    counts.dedup();
    for isa in Isa::available() {
        for &threads in &counts {
            peaks.push(peak(isa, threads)?);
        }
    }
    Ok(peaks)
}

/// The peak of an instruction set on `threads` threads.
pub(crate) fn peak(isa: Isa, threads: usize) -> Result<Peak> {
    let kernel = Arc::new(FmaProbe::new(isa, threads * ITEMS_PER_THREAD));
    let call = Call {
        kernel,
        operands: Vec::new(),
    };
    let stage = Stage {
        chains: vec![Chain { calls: vec![call] }],
    };
    let program = Arc::new(Program::new(vec![stage], ArenaLengths::default())?);
    let flops = program.flops();
    let empty = || Arena::zeroed(0);
    let pool = Arc::new(Pool::new(threads)?);
    let mut machine = Machine::new(program, Arc::new(empty()), empty(), empty(), pool)?;
    let total = Stopwatch::start();
    let mut best = f64::INFINITY;
    while total.seconds() < SECONDS {
        let run = Stopwatch::start();
        machine.run();
        best = best.min(run.seconds());
    }
    Ok(Peak {
        isa: isa.to_string(),
        threads,
        gflops: flops as f64 / best.max(f64::MIN_POSITIVE) / 1e9,
    })
}
