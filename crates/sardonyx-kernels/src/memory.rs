//! What a machine runs in and on, apart from the state that is its own: memory that machines may
//! hand to each other, constants that they may share.

use std::sync::Arc;

use crate::{Arena, Program};

/// Constants of a program.
#[derive(Debug, Clone)]
pub struct Constants {
    /// [`crate::Space::Constants`]: those of this program alone.
    pub own: Arc<Arena>,
    /// [`crate::Space::Shared`]: those that it has in common with others.
    pub shared: Arc<Arena>,
}

impl From<Arc<Arena>> for Constants {
    /// Constants of which none are shared.
    fn from(own: Arc<Arena>) -> Constants {
        let shared = Arc::new(Arena::zeroed(0));
        Constants { own, shared }
    }
}

/// The work arena of a machine and each thread's scratch. Machines that never run at the same time
/// can use the same: what one run leaves behind means nothing to the next.
#[derive(Debug)]
pub struct Memory {
    pub(crate) work: Arena,
    pub(crate) scratch: Vec<Arena>,
}

impl Default for Memory {
    /// None yet: a machine enlarges it to what it needs.
    fn default() -> Memory {
        Memory {
            work: Arena::zeroed(0),
            scratch: Vec::new(),
        }
    }
}

impl Memory {
    /// `work` with scratch for `program` on so many threads.
    pub(crate) fn new(work: Arena, program: &Program, threads: usize) -> Memory {
        let mut memory = Memory::default();
        memory.fit_scratch(program, threads);
        memory.work = work;
        memory
    }

    /// Enlarges what is too short for `program` on so many threads. Contents are undefined then.
    pub(crate) fn fit(&mut self, program: &Program, threads: usize) {
        let work_len = program.lengths().work;
        if self.work.len() < work_len {
            // The old arena goes before the new one comes.
            self.work = Arena::zeroed(0);
            self.work = Arena::zeroed(work_len);
        }
        self.fit_scratch(program, threads);
        #[cfg(debug_assertions)]
        self.poison();
    }

    fn fit_scratch(&mut self, program: &Program, threads: usize) {
        if !self.has_scratch(program, threads) {
            self.scratch.clear();
            let arenas = (0..threads).map(|_| Arena::zeroed(program.scratch_len()));
            self.scratch.extend(arenas);
        }
    }

    pub(crate) fn has_scratch(&self, program: &Program, threads: usize) -> bool {
        let is_long = |arena: &Arena| arena.len() >= program.scratch_len();
        self.scratch.len() >= threads && self.scratch.iter().all(is_long)
    }

    /// Fills everything with NaN, so that no test passes because memory was zero.
    #[cfg(debug_assertions)]
    fn poison(&mut self) {
        for arena in self.scratch.iter_mut().chain([&mut self.work]) {
            arena.bytes_mut().fill(0xFF);
        }
    }
}
