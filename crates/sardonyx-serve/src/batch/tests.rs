//! Batches of strangers: every request gets its own answer, whatever it shares a batch with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use sardonyx_tensor::Tensor;

use super::{BatchOptions, Batcher, Observer, Outcome, Runner, Ticket, Work};
use crate::error::{Code, Result, internal};

#[derive(Debug, Default)]
struct Counts {
    batches: AtomicUsize,
    abandoned: AtomicUsize,
}

impl Observer for Counts {
    fn batch(&self, _requests: usize, _rows: usize, _computed: Duration) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    fn dropped(&self, abandoned: usize, _expired: usize) {
        self.abandoned.fetch_add(abandoned, Ordering::Relaxed);
    }
}

/// Doubles its input; waits for a permit first when it has a gate.
struct Double {
    gate: Option<Receiver<()>>,
}

impl Runner for Double {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        if let Some(gate) = &self.gate {
            gate.recv().map_err(internal)?;
        }
        let values: Vec<f32> = inputs[0].values().map_err(internal)?.to_vec();
        assert!(!values.contains(&-1.0), "the input that makes it fail");
        let doubled = values.iter().map(|value| 2.0 * value).collect();
        let shape = inputs[0].shape().to_vec();
        Ok(vec![Tensor::new(shape, doubled).map_err(internal)?])
    }
}

fn batcher(gate: bool, options: BatchOptions) -> (Batcher, Sender<()>, Arc<Counts>) {
    let (permit, gated) = channel();
    let runner = Double {
        gate: gate.then_some(gated),
    };
    let counts = Arc::new(Counts::default());
    let observer: Arc<dyn Observer> = counts.clone();
    let batcher = Batcher::new(vec![Box::new(runner)], true, options, observer);
    (batcher.expect("a thread"), permit, counts)
}

fn work(source: u64, rows: usize, width: usize, value: f32) -> Work {
    let inputs = vec![Tensor::new([rows, width], vec![value; rows * width]).expect("matches")];
    Work {
        inputs,
        priority: 0,
        deadline: None,
        source,
    }
}

fn answer(ticket: Result<Ticket>) -> Result<Outcome> {
    match ticket? {
        Ticket::Done(outcome) => outcome,
        Ticket::Waiting(receiver) => receiver.blocking_recv().expect("always answered"),
    }
}

#[test]
fn no_reply_reaches_another_client() {
    let (batcher, _permit, _counts) = batcher(false, BatchOptions::default());
    thread::scope(|scope| {
        for client in 0..8_u64 {
            let batcher = &batcher;
            scope.spawn(move || {
                for turn in 0..200_u64 {
                    let rows = 1 + ((client + turn) % 5) as usize;
                    let width = 1 + ((client * turn) % 3) as usize;
                    let value = (client * 1000 + turn) as f32;
                    let outcome = answer(batcher.submit(work(client, rows, width, value)));
                    let outputs = outcome.expect("it runs").outputs;
                    let expected = Tensor::new([rows, width], vec![2.0 * value; rows * width]);
                    assert_eq!(outputs, [expected.expect("matches")]);
                }
            });
        }
    });
}

#[test]
fn what_waits_while_a_lane_is_busy_runs_as_one_batch() {
    let (batcher, permit, counts) = batcher(true, BatchOptions::default());
    let first = batcher.submit(work(0, 1, 2, 1.0));
    while batcher.queue_len() > 0 {
        thread::yield_now();
    }
    let rest: Vec<_> = (1..7)
        .map(|source| batcher.submit(work(source, 1, 2, source as f32)))
        .collect();
    permit.send(()).expect("the lane waits");
    permit.send(()).expect("the lane waits");
    assert_eq!(answer(first).expect("it runs").batch_rows, 1);
    for ticket in rest {
        assert_eq!(answer(ticket).expect("it runs").batch_rows, 6);
    }
    assert_eq!(counts.batches.load(Ordering::Relaxed), 2);
}

#[test]
fn a_full_queue_refuses_at_once_and_those_who_left_do_not_run() {
    let options = BatchOptions {
        max_queue: 2,
        ..BatchOptions::default()
    };
    let (batcher, permit, counts) = batcher(true, options);
    let running = batcher.submit(work(0, 1, 2, 1.0));
    while batcher.queue_len() > 0 {
        thread::yield_now();
    }
    let waiting = batcher.submit(work(1, 1, 2, 1.0));
    let leaving = batcher.submit(work(2, 1, 2, 1.0));
    let refused = batcher.submit(work(3, 1, 2, 1.0)).expect_err("it is full");
    assert_eq!(refused.code, Code::ResourceExhausted);
    drop(leaving);
    permit.send(()).expect("the lane waits");
    permit.send(()).expect("the lane waits");
    answer(running).expect("it runs");
    assert_eq!(answer(waiting).expect("it runs").batch_rows, 1);
    assert_eq!(counts.abandoned.load(Ordering::Relaxed), 1);
}

#[test]
fn a_deadline_in_the_past_is_refused() {
    let (batcher, _permit, _counts) = batcher(false, BatchOptions::default());
    let mut late = work(0, 1, 2, 1.0);
    late.deadline = Some(crate::clock::now());
    let error = batcher.submit(late).expect_err("too late");
    assert_eq!(error.code, Code::DeadlineExceeded);
}

#[test]
fn a_model_that_panics_answers_and_goes_on() {
    let (batcher, _permit, _counts) = batcher(false, BatchOptions::default());
    let error = answer(batcher.submit(work(0, 1, 1, -1.0))).expect_err("it fails");
    assert_eq!(error.code, Code::Internal);
    answer(batcher.submit(work(0, 1, 1, 1.0))).expect("it runs");
}

#[test]
fn a_lone_client_runs_where_it_is() {
    let (batcher, _permit, _counts) = batcher(false, BatchOptions::default());
    let mut done = 0;
    for _ in 0..64 {
        match batcher.submit(work(7, 1, 2, 1.0)).expect("it is taken") {
            Ticket::Done(outcome) => {
                outcome.expect("it runs");
                done += 1;
            }
            Ticket::Waiting(receiver) => {
                receiver
                    .blocking_recv()
                    .expect("answered")
                    .expect("it runs");
            }
        }
    }
    assert!(done > 32, "{done} of 64 ran on the caller's thread");
}

#[test]
fn closing_answers_what_waits() {
    let (batcher, _permit, _counts) = batcher(false, BatchOptions::default());
    let tickets: Vec<_> = (0..20)
        .map(|source| batcher.submit(work(source, 1, 2, 1.0)))
        .collect();
    drop(batcher);
    for ticket in tickets {
        answer(ticket).expect("it ran before the lanes ended");
    }
}
