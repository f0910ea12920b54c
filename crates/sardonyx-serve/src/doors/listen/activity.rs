//! What a connection is doing, and when it has done nothing for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::Version;

use super::Limits;

/// Counters that the stream and the requests of one connection keep.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Reads and writes that moved something.
    moves: AtomicU64,
    /// Writes that moved something.
    writes: AtomicU64,
    /// Bytes wait for the client to take them.
    is_held_up: AtomicBool,
    /// Requests that began.
    requests: AtomicU64,
    /// Requests that have not ended.
    running: AtomicU64,
    /// Bytes came while no request ran: the head of one, unless the protocol is HTTP/2.
    is_head_begun: AtomicBool,
    is_http2: AtomicBool,
}

impl Activity {
    /// Bytes came.
    pub(super) fn read(&self) {
        self.moves.fetch_add(1, Relaxed);
        if self.running.load(Relaxed) == 0 && !self.is_head_begun.load(Relaxed) {
            self.is_head_begun.store(true, Relaxed);
        }
    }

    /// Bytes went.
    pub(super) fn wrote(&self) {
        self.moves.fetch_add(1, Relaxed);
        self.writes.fetch_add(1, Relaxed);
        self.is_held_up.store(false, Relaxed);
    }

    /// Bytes could not go.
    pub(super) fn held_up(&self) {
        self.is_held_up.store(true, Relaxed);
    }

    /// A request begins; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Activity>, version: Version) -> Running {
        self.requests.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        self.is_head_begun.store(false, Relaxed);
        if version == Version::HTTP_2 {
            self.is_http2.store(true, Relaxed);
        }
        Running(Arc::clone(self))
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Ask the client to go.
    Dismiss,
    /// Close it.
    Cut,
}

/// Looks at a connection every [`Watchdog::tick`].
///
/// It looks instead of being told, because a timer per read would cost each request and a look
/// now and then costs nothing; so times are kept to within a quarter.
#[derive(Debug)]
pub(super) struct Watchdog {
    activity: Arc<Activity>,
    tick: Duration,
    header_ticks: u32,
    idle_ticks: u32,
    write_ticks: u32,
    seen_writes: u64,
    held_up: u32,
    seen_moves: u64,
    in_head: u32,
    idle: u32,
}

const TICKS: u32 = 4;

impl Watchdog {
    pub(super) fn new(activity: Arc<Activity>, limits: &Limits) -> Watchdog {
        let shortest = limits
            .header_timeout
            .min(limits.idle_timeout)
            .min(limits.write_timeout);
        let tick = (shortest / TICKS).max(Duration::from_millis(1));
        let ticks = |time: Duration| {
            let ticks = time.as_nanos() / tick.as_nanos();
            u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
        };
        Watchdog {
            activity,
            tick,
            header_ticks: ticks(limits.header_timeout),
            idle_ticks: ticks(limits.idle_timeout),
            write_ticks: ticks(limits.write_timeout),
            seen_writes: 0,
            held_up: 0,
            seen_moves: 0,
            in_head: 0,
            idle: 0,
        }
    }

    /// How often to look.
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// One look.
    pub(super) fn look(&mut self) -> Verdict {
        let activity = &self.activity;
        let moves = activity.moves.load(Relaxed);
        let has_moved = std::mem::replace(&mut self.seen_moves, moves) != moves;
        let writes = activity.writes.load(Relaxed);
        let has_written = std::mem::replace(&mut self.seen_writes, writes) != writes;
        let is_held_up = activity.is_held_up.load(Relaxed) && !has_written;
        self.held_up = if is_held_up { self.held_up + 1 } else { 0 };
        if self.held_up >= self.write_ticks {
            return Verdict::Cut;
        }
        if activity.running.load(Relaxed) > 0 {
            (self.in_head, self.idle) = (0, 0);
            return Verdict::Keep;
        }
        let is_first = activity.requests.load(Relaxed) == 0;
        let is_in_head = !activity.is_http2.load(Relaxed) && activity.is_head_begun.load(Relaxed);
        self.in_head = if is_first || is_in_head {
            self.in_head + 1
        } else {
            0
        };
        self.idle = if has_moved { 0 } else { self.idle + 1 };
        if self.in_head >= self.header_ticks
            || self.idle >= self.idle_ticks.saturating_add(self.header_ticks)
        {
            Verdict::Cut
        } else if self.idle == self.idle_ticks {
            Verdict::Dismiss
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> (Arc<Activity>, Watchdog) {
        let limits = Limits {
            header_timeout: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(8),
            ..Limits::default()
        };
        let activity = Arc::new(Activity::default());
        let dog = Watchdog::new(Arc::clone(&activity), &limits);
        assert_eq!(dog.tick(), Duration::from_secs(1));
        (activity, dog)
    }

    fn looks(dog: &mut Watchdog, count: usize) -> Vec<Verdict> {
        (0..count).map(|_| dog.look()).collect()
    }

    #[test]
    fn a_head_that_drips_is_cut() {
        let (activity, mut dog) = watched();
        for _ in 0..3 {
            activity.read();
            assert_eq!(dog.look(), Verdict::Keep);
        }
        activity.read();
        assert_eq!(dog.look(), Verdict::Cut);
    }

    #[test]
    fn so_is_the_second_one() {
        let (activity, mut dog) = watched();
        activity.read();
        drop(activity.begin(Version::HTTP_11));
        assert_eq!(looks(&mut dog, 2), [Verdict::Keep; 2]);
        for _ in 0..3 {
            activity.read();
            assert_eq!(dog.look(), Verdict::Keep);
        }
        activity.read();
        assert_eq!(dog.look(), Verdict::Cut);
    }

    #[test]
    fn an_idle_connection_is_dismissed_then_cut_but_not_while_it_runs() {
        let (activity, mut dog) = watched();
        activity.read();
        let running = activity.begin(Version::HTTP_11);
        assert_eq!(looks(&mut dog, 99), [Verdict::Keep; 99]);
        activity.wrote();
        drop(running);
        assert_eq!(looks(&mut dog, 8), [Verdict::Keep; 8]);
        assert_eq!(dog.look(), Verdict::Dismiss);
        assert_eq!(looks(&mut dog, 3), [Verdict::Keep; 3]);
        assert_eq!(dog.look(), Verdict::Cut);
    }

    #[test]
    fn who_takes_no_answer_is_cut_even_while_it_runs_and_asks_on() {
        let limits = Limits {
            header_timeout: Duration::from_secs(4),
            write_timeout: Duration::from_secs(6),
            ..Limits::default()
        };
        let activity = Arc::new(Activity::default());
        let mut dog = Watchdog::new(Arc::clone(&activity), &limits);
        activity.read();
        let _running = activity.begin(Version::HTTP_2);
        activity.held_up();
        for _ in 0..5 {
            activity.read();
            assert_eq!(dog.look(), Verdict::Keep);
        }
        activity.wrote();
        activity.held_up();
        assert_eq!(looks(&mut dog, 6), [Verdict::Keep; 6], "some bytes went");
        assert_eq!(dog.look(), Verdict::Cut);
    }

    #[test]
    fn pings_keep_an_http2_connection() {
        let (activity, mut dog) = watched();
        activity.read();
        drop(activity.begin(Version::HTTP_2));
        for _ in 0..99 {
            activity.read();
            assert_eq!(dog.look(), Verdict::Keep);
        }
    }
}
