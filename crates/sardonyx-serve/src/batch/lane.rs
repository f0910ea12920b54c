//! A lane: takes what waits, runs it as one batch, answers each request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::Duration;

use sardonyx_tensor::Tensor;

use super::queue::Job;
use super::sizes::padded_rows;
use super::{Outcome, Ready, Runner, Shared, State, assemble};
use crate::error::{Code, Result, ServeError};

/// Takes and runs batches until the batcher closes and nothing waits.
pub(super) fn work(shared: &Shared) {
    loop {
        match next(shared) {
            Turn::Run(mut ready, jobs) => {
                run(shared, &mut *ready.runner, jobs);
                shared.lock().free.push(ready);
            }
            Turn::Prepare(mut ready) => {
                ready.has_preparations = ready.runner.prepare();
                if !ready.has_preparations {
                    // What loading and planning used for a while was far more than what stays.
                    sardonyx_kernels::release_heap();
                }
                shared.lock().free.push(ready);
            }
            Turn::End => return,
        }
    }
}

/// What a lane does next.
enum Turn {
    Run(Ready, Vec<Job>),
    /// Nothing waits: work ahead.
    Prepare(Ready),
    End,
}

/// Waits for something to do.
fn next(shared: &Shared) -> Turn {
    let mut state = shared.lock();
    loop {
        if state.queue.len() == 0 {
            if !state.is_open {
                return Turn::End;
            }
            let unprepared = state.free.iter().position(|ready| ready.has_preparations);
            if let Some(index) = unprepared {
                return Turn::Prepare(state.free.remove(index));
            }
        } else if !state.free.is_empty() {
            match patience(shared, &state) {
                Some(left) => {
                    let waited = shared.wake.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                None => {
                    if let Some((ready, jobs)) = take(shared, &mut state) {
                        return Turn::Run(ready, jobs);
                    }
                    continue;
                }
            }
        }
        let woken = shared.wake.wait(state);
        state = woken.unwrap_or_else(PoisonError::into_inner);
    }
}

/// How long the next batch may still wait to fill; `None` when it goes now.
fn patience(shared: &Shared, state: &State) -> Option<Duration> {
    let options = &shared.options;
    let is_full = !shared.is_batched || state.queue.next_rows() >= options.max_batch_size;
    if options.max_delay.is_zero() || is_full || !state.is_open {
        return None;
    }
    let waited = state.queue.oldest()?.elapsed();
    let left = options.max_delay.checked_sub(waited)?;
    (!left.is_zero()).then_some(left)
}

fn take(shared: &Shared, state: &mut State) -> Option<(Ready, Vec<Job>)> {
    let max_rows = if shared.is_batched {
        shared.options.max_batch_size
    } else {
        1
    };
    let (jobs, dropped) = state.queue.take(max_rows, crate::clock::now());
    if dropped.abandoned + dropped.expired > 0 {
        shared.observer.dropped(dropped.abandoned, dropped.expired);
    }
    if jobs.is_empty() {
        return None;
    }
    if state.queue.len() > 0 && state.free.len() > 1 {
        shared.wake.notify_one();
    }
    state.free.pop().map(|ready| (ready, jobs))
}

/// Runs `jobs` as one batch and answers them.
fn run(shared: &Shared, runner: &mut dyn Runner, jobs: Vec<Job>) {
    let start = crate::clock::now();
    let counts: Vec<usize> = jobs.iter().map(|job| job.rows).collect();
    let rows = counts.iter().sum();
    let outputs = guarded(|| run_batch(shared, runner, &jobs, &counts));
    let computed = start.elapsed();
    shared.observer.batch(jobs.len(), rows, computed);
    if jobs.len() == 1 {
        shared.lock().lone.note(computed);
    }
    let mut outputs = outputs.map(Vec::into_iter);
    for job in jobs {
        let answer = match &mut outputs {
            Ok(parts) => Ok(Outcome {
                outputs: parts.next().expect("each job has its part"),
                queued: start.saturating_duration_since(job.arrived),
                computed,
                batch_rows: rows,
            }),
            Err(error) => Err(error.clone()),
        };
        // A client that has left hears nothing.
        let _ = job.reply.send(answer);
    }
}

fn run_batch(
    shared: &Shared,
    runner: &mut dyn Runner,
    jobs: &[Job],
    counts: &[usize],
) -> Result<Vec<Vec<Tensor>>> {
    let rows: usize = counts.iter().sum();
    let padded = padded_rows(rows, shared.options.max_batch_size);
    if !shared.is_batched || jobs.len() == 1 && padded == rows {
        return Ok(vec![runner.run(&jobs[0].inputs)?]);
    }
    let inputs = assemble::join(jobs, padded)?;
    let outputs = runner.run(&inputs)?;
    assemble::split(&outputs, counts, padded)
}

/// Turns a panic of the model's code into an error: one request must not end a server.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let message = "the model failed while it ran; the server's log says where";
        Err(ServeError::new(Code::Internal, message))
    })
}
