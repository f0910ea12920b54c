//! Staying awake for the next request of a client that is alone and asks at once.
//!
//! A thread that sleeps on a socket needs some tens of microseconds to wake, more than a small
//! model runs. After an answer to such a client its connection looks for the next request itself
//! for a moment. Whoever asks slower, or beside others, is waited for asleep: then the core has
//! better things to do. The idea is the network stack's busy polling (Linux, `SO_BUSY_POLL`), one
//! layer up.

use std::hint::spin_loop;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// Longest wait awake: about what falling asleep and waking cost.
const LONGEST: Duration = Duration::from_micros(50);
/// A client that lets more pass between an answer and its next request is not waited for awake;
/// more than [`LONGEST`], because a sleeper sees requests late.
const QUICK: Duration = Duration::from_micros(100);
/// Answers in a row to one connection, of all, that make its client a lone one.
const STREAK: u64 = 8;

/// Which connection of a listener was answered last, and how often in a row.
#[derive(Debug)]
pub(super) struct Turns {
    /// The connection's number times 2^16, plus the answers in a row up to [`STREAK`].
    last: AtomicU64,
    /// On a machine with one core whoever waits awake keeps the client from asking.
    has_cores: bool,
}

impl Turns {
    pub(super) fn new() -> Arc<Turns> {
        let cores = std::thread::available_parallelism();
        Arc::new(Turns {
            last: AtomicU64::new(0),
            has_cores: cores.is_ok_and(|cores| cores.get() > 1),
        })
    }

    /// Notes an answer to `source`; threads may miss each other's notes, which only delays.
    fn answered(&self, source: u64) {
        let last = self.last.load(Relaxed);
        let streak = if last >> 16 == source {
            (last & 0xffff).saturating_add(1).min(STREAK)
        } else {
            0
        };
        self.last.store(source << 16 | streak, Relaxed);
    }

    fn is_alone(&self, source: u64) -> bool {
        self.has_cores && self.last.load(Relaxed) == (source << 16 | STREAK)
    }
}

/// How one connection's client asks.
#[derive(Debug)]
pub(super) struct Vigil {
    source: u64,
    turns: Arc<Turns>,
    /// When the answer went that nothing followed yet.
    answered: Option<Instant>,
    /// Whether the last wait for it has been given up.
    is_over: bool,
    is_quick: bool,
}

impl Vigil {
    pub(super) fn new(source: u64, turns: Arc<Turns>) -> Vigil {
        Vigil {
            source,
            turns,
            answered: None,
            is_over: false,
            is_quick: false,
        }
    }

    /// Bytes went to the client.
    pub(super) fn wrote(&mut self) {
        if self.answered.is_none() {
            self.turns.answered(self.source);
        }
        self.answered = Some(crate::clock::now());
        self.is_over = false;
    }

    /// Bytes came from it.
    pub(super) fn read(&mut self) {
        if let Some(answered) = self.answered.take() {
            self.is_quick = answered.elapsed() <= QUICK;
        }
    }

    /// Looks for bytes for a moment, where that is worth it; whether there are any, or the end of
    /// them.
    ///
    /// # Errors
    /// The socket's own.
    pub(super) fn keep(&mut self, socket: &TcpStream, buffer: &mut ReadBuf<'_>) -> Result<bool> {
        let Some(answered) = self.answered else {
            return Ok(false);
        };
        // Nothing read into no room would pass for the end.
        let has_room = buffer.remaining() > 0;
        if !has_room || self.is_over || !self.is_quick || !self.turns.is_alone(self.source) {
            return Ok(false);
        }
        self.is_over = true;
        while answered.elapsed() < LONGEST {
            match recv(socket, buffer.initialize_unfilled(), RecvFlags::DONTWAIT) {
                Ok((count, _)) => {
                    buffer.advance(count);
                    return Ok(true);
                }
                Err(error) => {
                    let error = std::io::Error::from(error);
                    let is_empty =
                        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
                    if !is_empty {
                        return Err(error);
                    }
                }
            }
            spin_loop();
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_alone_after_some_turns_and_until_the_next_one_comes() {
        let turns = Turns {
            last: AtomicU64::new(0),
            has_cores: true,
        };
        for turn in 0..=STREAK {
            assert!(!turns.is_alone(7), "after {turn}");
            turns.answered(7);
        }
        assert!(turns.is_alone(7) && !turns.is_alone(8));
        turns.answered(8);
        assert!(!turns.is_alone(7) && !turns.is_alone(8));
    }
}
