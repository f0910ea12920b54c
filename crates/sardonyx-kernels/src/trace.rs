//! Who ran what when: one run of a program as spans of time on each thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Program;

/// A time during which a thread was at work on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The call, by its place in [`Program::calls`].
    pub call: usize,
    /// The thread, from 0.
    pub thread: usize,
    /// When it began, by the clock of the trace.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// Records spans. All memory is taken when it is made: recording allocates nothing.
#[derive(Debug)]
pub struct Trace {
    clock: fn() -> u64,
    n_calls: usize,
    threads: Vec<Mutex<Vec<Span>>>,
}

impl Trace {
    /// Room for one run of `program` on `threads` threads. `clock` gives nanoseconds since any
    /// fixed moment.
    pub fn new(program: &Program, threads: usize, clock: fn() -> u64) -> Trace {
        let chains = program.stages().iter().flat_map(|stage| &stage.chains);
        let spans = chains.map(|chain| match &chain.calls[..] {
            // Pieces of one share follow each other and make one span; there are as many shares
            // as threads.
            [call] if call.kernel.tiles().is_none() => threads,
            calls => chain.count() * calls.first().map_or(0, |call| call.kernel.items()),
        });
        let capacity = spans.sum();
        Trace {
            clock,
            n_calls: program.calls().count(),
            threads: (0..threads)
                .map(|_| Mutex::new(Vec::with_capacity(capacity)))
                .collect(),
        }
    }

    /// All spans of the last run: thread after thread, each in order of time.
    pub fn spans(&self) -> Vec<Span> {
        let threads = self.threads.iter();
        threads
            .flat_map(|spans| locked(spans).iter().copied().collect::<Vec<_>>())
            .collect()
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Whether this is a trace of a program with `n_calls` calls on `threads` threads.
    pub(crate) fn fits(&self, n_calls: usize, threads: usize) -> bool {
        self.n_calls == n_calls && self.threads.len() == threads
    }

    pub(crate) fn clear(&self) {
        self.threads.iter().for_each(|spans| locked(spans).clear());
    }

    /// Adds a span, or prolongs the thread's last one when that is of the same call.
    pub(crate) fn record(&self, span: Span) {
        let mut spans = locked(&self.threads[span.thread]);
        let is_full = spans.len() == spans.capacity();
        match spans.last_mut() {
            Some(last) if last.call == span.call => last.end_ns = span.end_ns,
            // Beyond the room that was taken nothing is recorded, rather than allocate.
            _ if is_full => {}
            _ => spans.push(span),
        }
    }
}

fn locked(spans: &Mutex<Vec<Span>>) -> MutexGuard<'_, Vec<Span>> {
    spans.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{Arena, ArenaLengths, Call, Chain, FmaProbe, Isa, Machine, Pool, Stage};

    /// A clock that never says the same twice.
    fn tick() -> u64 {
        static NOW: AtomicU64 = AtomicU64::new(0);
        NOW.fetch_add(1, Ordering::SeqCst)
    }

    #[test]
    fn every_call_has_spans_and_those_of_a_thread_follow_each_other() {
        let call = |items| Call {
            kernel: Arc::new(FmaProbe::new(Isa::Scalar, items)),
            operands: Vec::new(),
        };
        let chain = |items: usize, n: usize| Chain {
            calls: (0..n).map(|_| call(items)).collect(),
        };
        let stages = || {
            let one = |chains| Stage { chains };
            vec![one(vec![chain(5, 1), chain(1, 1)]), one(vec![chain(3, 2)])]
        };
        let program = Arc::new(Program::new(stages(), ArenaLengths::default()).unwrap());
        for threads in 1..=3 {
            let (empty, pool) = (|| Arena::zeroed(0), Arc::new(Pool::new(threads).unwrap()));
            let constants = Arc::new(empty());
            let mut machine =
                Machine::new(program.clone(), constants, empty(), empty(), pool).unwrap();
            let trace = machine.trace(tick);
            machine.run_traced(&trace);
            let first = trace.spans();
            machine.run_traced(&trace);
            let spans = trace.spans();
            assert!(
                spans[0].start_ns > first[0].start_ns,
                "the first run is forgotten"
            );
            for call in 0..4 {
                let own = spans.iter().filter(|span| span.call == call).count();
                // Items of a chain of several calls take turns; what a thread takes of one share of
                // one call is one span.
                let most = threads * threads;
                let expected = if call < 2 { 1..=most } else { 3..=3 };
                assert!(
                    expected.contains(&own),
                    "{own} of call {call} on {threads} threads"
                );
            }
            for pair in spans
                .windows(2)
                .filter(|pair| pair[0].thread == pair[1].thread)
            {
                assert!(pair[0].end_ns < pair[1].start_ns, "{spans:?}");
            }
        }
    }
}
