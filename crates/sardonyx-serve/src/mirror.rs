//! Copies of requests for a shadow version, on a thread of their own: the version that answers never
//! waits for its shadow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sardonyx_tensor::Tensor;

use crate::batch::{Outcome, Ticket, Work};
use crate::error::{Result, internal};
use crate::metrics::ShadowResult;
use crate::servable::Servable;

/// Most copies that wait; more are dropped and counted.
const MAX_WAITING: usize = 64;

/// The priority of copies: after all that somebody waits for.
const LAST: u64 = u64::MAX;

pub(crate) struct Mirror {
    copies: Option<SyncSender<Copy>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

struct Copy {
    shadow: Arc<Servable>,
    inputs: Vec<Tensor>,
    answer: Vec<Tensor>,
    tolerance: f64,
}

impl Mirror {
    /// # Errors
    /// When the operating system has no more threads.
    pub(crate) fn new() -> std::io::Result<Mirror> {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("shadow".to_owned())
            .spawn(move || work(&receiver, &count))?;
        Ok(Mirror {
            copies: Some(sender),
            waiting,
            thread: Some(thread),
        })
    }

    /// Whether a copy for `shadow` would be taken; counts it as dropped if not, so that nobody
    /// copies in vain.
    pub(crate) fn has_room(&self, shadow: &Servable) -> bool {
        let has_room = self.waiting.load(Ordering::Relaxed) < MAX_WAITING;
        if !has_room {
            shadow.metrics().shadow(ShadowResult::Dropped, None);
        }
        has_room
    }

    /// Runs `inputs` on `shadow` some time later and compares with `answer`.
    pub(crate) fn compare(
        &self,
        shadow: Arc<Servable>,
        inputs: Vec<Tensor>,
        answer: &[Tensor],
        tolerance: f64,
    ) {
        let Some(copies) = &self.copies else {
            return;
        };
        let metrics = Arc::clone(shadow.metrics());
        let copy = Copy {
            shadow,
            inputs,
            answer: answer.to_vec(),
            tolerance,
        };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if copies.try_send(copy).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            metrics.shadow(ShadowResult::Dropped, None);
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.copies = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook; there is nobody to tell.
            let _ = thread.join();
        }
    }
}

fn work(copies: &Receiver<Copy>, waiting: &AtomicUsize) {
    while let Ok(copy) = copies.recv() {
        let metrics = Arc::clone(copy.shadow.metrics());
        match run(copy.shadow, copy.inputs) {
            Ok(outcome) => {
                let difference = difference(&copy.answer, &outcome.outputs);
                let agrees = difference.is_some_and(|found| found <= copy.tolerance);
                let result = if agrees {
                    ShadowResult::Agreed
                } else {
                    ShadowResult::Disagreed
                };
                metrics.shadow(result, difference);
            }
            Err(_) => metrics.shadow(ShadowResult::Failed, None),
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn run(shadow: Arc<Servable>, inputs: Vec<Tensor>) -> Result<Outcome> {
    let work = Work {
        inputs,
        priority: LAST,
        deadline: None,
        // No connection has this number; copies take turns with clients, they are none.
        source: u64::MAX,
    };
    match shadow.submit(work)? {
        Ticket::Done(outcome) => outcome,
        Ticket::Waiting(receiver) => receiver.blocking_recv().map_err(internal)?,
    }
}

/// Largest difference between two answers; `None` where they differ in more than numbers. Two
/// numbers that are both none agree.
fn difference(left: &[Tensor], right: &[Tensor]) -> Option<f64> {
    if left.len() != right.len() {
        return None;
    }
    let mut largest = 0.0_f64;
    for (left, right) in left.iter().zip(right) {
        if left.shape() != right.shape() || left.dtype() != right.dtype() {
            return None;
        }
        let (Ok(a), Ok(b)) = (left.to_f64(), right.to_f64()) else {
            if left != right {
                return None;
            }
            continue;
        };
        for (a, b) in a.into_iter().zip(b) {
            let is_same = a == b || a.is_nan() && b.is_nan();
            let found = if is_same { 0.0 } else { (a - b).abs() };
            largest = largest.max(if found.is_nan() { f64::INFINITY } else { found });
        }
    }
    Some(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Runner;
    use crate::metrics::{Metrics, MetricsOptions};
    use crate::registry::{Registry, Target};
    use crate::servable::ServableOptions;
    use crate::server::{Call, Server};

    /// Answers what it is asked.
    struct Echo;

    impl Runner for Echo {
        fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
            Ok(inputs.to_vec())
        }
    }

    /// Sleeps until it is woken, then answers what it is asked.
    struct Asleep(Receiver<()>);

    impl Runner for Asleep {
        fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
            // Whoever wakes it says nothing.
            let _ = self.0.recv();
            Ok(inputs.to_vec())
        }
    }

    #[tokio::test]
    async fn a_shadow_that_sleeps_keeps_nobody_waiting() {
        let metrics = Arc::new(Metrics::new(MetricsOptions::default()));
        let pool = Arc::new(sardonyx_kernels::Pool::new(1).expect("threads"));
        let options = ServableOptions::new(pool);
        let registry = Registry::new(options, Arc::clone(&metrics), None);
        let server = Server::new(Arc::new(registry)).expect("threads");
        let (held, sleep) = sync_channel(0);
        let shadow = Box::new(Asleep(sleep));
        let shadow = Servable::of_runner(2, shadow, metrics.model("test", 2));
        let counted = Arc::clone(shadow.metrics());
        let champion = Servable::of_runner(1, Box::new(Echo), metrics.model("test", 1));
        let target = Target {
            servable: Arc::new(champion),
            shadow: Some((Arc::new(shadow), 0.0)),
        };
        let asked = 3 * MAX_WAITING;
        for number in 0..asked {
            let call = Call {
                inputs: vec![Tensor::scalar(number as f32)],
                priority: 0,
                deadline: None,
                source: 1,
            };
            let answer = server.infer(&target, call).await.expect("an answer");
            assert_eq!(answer.outputs, [Tensor::scalar(number as f32)]);
        }
        let counts = |result| counted.shadowed(result);
        assert_eq!(counts(ShadowResult::Dropped), (asked - MAX_WAITING) as u64);
        assert_eq!(counts(ShadowResult::Agreed), 0, "it still sleeps");
        drop(held);
        drop(target);
        drop(server);
        assert_eq!(counts(ShadowResult::Agreed), MAX_WAITING as u64);
    }

    #[test]
    fn differences_are_the_largest_and_shapes_must_agree() {
        let of = |values: &[f32]| vec![Tensor::vector(values.to_vec())];
        assert_eq!(difference(&of(&[1.0, 2.0]), &of(&[1.0, 2.5])), Some(0.5));
        assert_eq!(difference(&of(&[f32::NAN]), &of(&[f32::NAN])), Some(0.0));
        assert_eq!(
            difference(&of(&[f32::NAN]), &of(&[1.0])),
            Some(f64::INFINITY)
        );
        assert_eq!(difference(&of(&[1.0]), &of(&[1.0, 2.0])), None);
        assert_eq!(difference(&of(&[1.0]), &[]), None);
    }
}
