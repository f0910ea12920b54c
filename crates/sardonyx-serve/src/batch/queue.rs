//! What waits for a lane: jobs in groups whose samples have the same shapes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use sardonyx_tensor::Tensor;
use tokio::sync::oneshot;

use super::Outcome;
use crate::error::{Code, Result, ServeError};

/// Shapes of one sample of every input: only jobs that agree in them share a batch.
pub(super) type Key = Vec<Vec<usize>>;

/// One request on its way to a lane.
#[derive(Debug)]
pub(super) struct Job {
    /// The inputs, in the order of the signature; all with `rows` samples.
    pub(super) inputs: Vec<Tensor>,
    /// Samples of the job.
    pub(super) rows: usize,
    /// Lower numbers go first.
    pub(super) priority: u64,
    /// When it came.
    pub(super) arrived: Instant,
    /// When its answer is of no use any more.
    pub(super) deadline: Option<Instant>,
    /// Where the answer goes; closed when the client has left.
    pub(super) reply: oneshot::Sender<Result<Outcome>>,
}

/// Jobs by group, each group in the order of priority, then of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    groups: BTreeMap<Key, VecDeque<(u64, Job)>>,
    len: usize,
    arrivals: u64,
}

/// Jobs left out of a batch because nobody waits for them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Their clients have left.
    pub(super) abandoned: usize,
    /// Their deadlines have passed.
    pub(super) expired: usize,
}

impl Queue {
    /// Number of jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a job to the group of `key`.
    pub(super) fn push(&mut self, key: Key, job: Job) {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let group = self.groups.entry(key).or_default();
        let at = group.partition_point(|(_, other)| other.priority <= job.priority);
        group.insert(at, (arrival, job));
        self.len += 1;
    }

    /// When the job that goes next came; `None` when nothing waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let key = self.most_urgent()?;
        self.groups[key].iter().map(|(_, job)| job.arrived).min()
    }

    /// Rows that the next batch would have.
    pub(super) fn next_rows(&self) -> usize {
        let group = self.most_urgent().map(|key| &self.groups[key]);
        group.map_or(0, |jobs| jobs.iter().map(|(_, job)| job.rows).sum())
    }

    /// The next batch: jobs of the most urgent group, as many as `max_rows` samples hold, at least
    /// one. Jobs that nobody waits for are dropped on the way; the batch may be empty for that.
    pub(super) fn take(&mut self, max_rows: usize, now: Instant) -> (Vec<Job>, Dropped) {
        let mut dropped = Dropped::default();
        let mut batch: Vec<Job> = Vec::new();
        let Some(key) = self.most_urgent().cloned() else {
            return (batch, dropped);
        };
        let group = self.groups.get_mut(&key).expect("it was just found");
        let mut rows = 0;
        while let Some((_, job)) = group.front() {
            let is_alive = is_wanted(job, now);
            if is_alive && !batch.is_empty() && rows + job.rows > max_rows {
                break;
            }
            let (_, job) = group.pop_front().expect("it was just seen");
            self.len -= 1;
            if is_alive {
                rows += job.rows;
                batch.push(job);
            } else {
                discard(job, &mut dropped);
            }
        }
        if group.is_empty() {
            self.groups.remove(&key);
        }
        (batch, dropped)
    }

    /// Refuses everything that waits.
    pub(super) fn refuse_all(&mut self, error: &ServeError) {
        for (_, group) in std::mem::take(&mut self.groups) {
            for (_, job) in group {
                // A client that has left hears nothing.
                let _ = job.reply.send(Err(error.clone()));
            }
        }
        self.len = 0;
    }

    fn most_urgent(&self) -> Option<&Key> {
        let rank = |group: &VecDeque<(u64, Job)>| {
            let (arrival, job) = group.front().expect("empty groups are removed");
            (job.priority, *arrival)
        };
        let groups = self.groups.iter();
        groups
            .min_by_key(|(_, group)| rank(group))
            .map(|(key, _)| key)
    }
}

fn is_wanted(job: &Job, now: Instant) -> bool {
    !job.reply.is_closed() && job.deadline.is_none_or(|deadline| now < deadline)
}

fn discard(job: Job, dropped: &mut Dropped) {
    if job.reply.is_closed() {
        dropped.abandoned += 1;
        return;
    }
    dropped.expired += 1;
    let message = "the deadline passed before the request came to run";
    // The client may leave at any moment; then nobody hears this.
    let _ = job
        .reply
        .send(Err(ServeError::new(Code::DeadlineExceeded, message)));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(rows: usize, priority: u64, now: Instant) -> (Job, oneshot::Receiver<Result<Outcome>>) {
        let (reply, receiver) = oneshot::channel();
        let inputs = vec![Tensor::zeros(sardonyx_tensor::DType::F32, [rows, 2]).expect("small")];
        let job = Job {
            inputs,
            rows,
            priority,
            arrived: now,
            deadline: None,
            reply,
        };
        (job, receiver)
    }

    #[test]
    fn batches_hold_one_shape_and_no_more_rows_than_fit() {
        let now = crate::clock::now();
        let mut queue = Queue::default();
        let mut receivers = Vec::new();
        for (rows, key) in [(2, 1), (3, 9), (2, 1), (1, 1)] {
            let (job, receiver) = job(rows, 0, now);
            queue.push(vec![vec![key]], job);
            receivers.push(receiver);
        }
        let rows = |batch: Vec<Job>| batch.iter().map(|job| job.rows).collect::<Vec<_>>();
        assert_eq!(rows(queue.take(4, now).0), [2, 2]);
        assert_eq!(rows(queue.take(4, now).0), [3]);
        assert_eq!(rows(queue.take(4, now).0), [1]);
        assert_eq!(queue.len(), 0);
        assert!(queue.groups.is_empty(), "shapes seen once are forgotten");
    }

    #[test]
    fn a_job_larger_than_a_batch_goes_alone() {
        let now = crate::clock::now();
        let mut queue = Queue::default();
        let (large, _first) = job(9, 0, now);
        let (small, _second) = job(1, 0, now);
        queue.push(Vec::new(), large);
        queue.push(Vec::new(), small);
        assert_eq!(queue.take(4, now).0.len(), 1);
        assert_eq!(queue.take(4, now).0.len(), 1);
    }

    #[test]
    fn lower_priorities_go_first_and_equal_ones_in_order() {
        let now = crate::clock::now();
        let mut queue = Queue::default();
        let mut receivers = Vec::new();
        for (rows, priority) in [(1, 5), (2, 1), (3, 5), (4, 1)] {
            let (job, receiver) = job(rows, priority, now);
            queue.push(Vec::new(), job);
            receivers.push(receiver);
        }
        let order: Vec<usize> =
            std::iter::from_fn(|| queue.take(1, now).0.first().map(|job| job.rows)).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[test]
    fn nobody_waits_for_the_abandoned_and_the_expired() {
        let now = crate::clock::now();
        let mut queue = Queue::default();
        let (left, receiver) = job(1, 0, now);
        drop(receiver);
        let (mut late, mut late_receiver) = job(1, 0, now);
        late.deadline = Some(now);
        let (wanted, _wanted_receiver) = job(1, 0, now);
        for job in [left, late, wanted] {
            queue.push(Vec::new(), job);
        }
        let (batch, dropped) = queue.take(8, now + Duration::from_millis(1));
        assert_eq!(batch.len(), 1);
        assert_eq!((dropped.abandoned, dropped.expired), (1, 1));
        let error = late_receiver
            .try_recv()
            .expect("answered")
            .expect_err("late");
        assert_eq!(error.code, Code::DeadlineExceeded);
    }
}
