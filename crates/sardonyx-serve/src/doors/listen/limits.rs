//! What one client, and all together, may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Limits of a listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Most requests at a time on one HTTP/2 connection.
    pub max_streams: u32,
    /// How long a client may take for a handshake and for the head of a request.
    pub header_timeout: Duration,
    /// How long a client may take for the body of a request.
    pub body_timeout: Duration,
    /// How long a client may take no byte of an answer that waits for it.
    pub write_timeout: Duration,
    /// How long a connection may be open without a request.
    pub idle_timeout: Duration,
    /// How long requests in flight may take after the order to stop.
    pub drain_timeout: Duration,
    /// Most bytes of a request's body, on the wire and unpacked.
    pub max_body_bytes: usize,
    /// Bytes that the bodies of all requests hold.
    pub(super) ledger: Ledger,
}

impl Limits {
    /// The defaults with `max_body_bytes` a request and `max_buffered_bytes` for all of them.
    pub fn new(max_body_bytes: usize, max_buffered_bytes: usize) -> Limits {
        Limits {
            max_connections: 4096,
            max_streams: 128,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(30),
            max_body_bytes,
            ledger: Ledger::new(max_buffered_bytes),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(64 << 20, 1 << 30)
    }
}

/// How much of a common allowance is taken.
#[derive(Debug, Clone)]
pub(in crate::doors) struct Ledger {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// A part of an allowance; given back when dropped.
#[derive(Debug)]
pub(in crate::doors) struct Share {
    ledger: Ledger,
    bytes: usize,
}

impl Ledger {
    /// An allowance of `most` bytes.
    pub(in crate::doors) fn new(most: usize) -> Ledger {
        Ledger {
            taken: Arc::default(),
            most,
        }
    }

    /// A share of nothing yet.
    pub(in crate::doors) fn open(&self) -> Share {
        Share {
            ledger: self.clone(),
            bytes: 0,
        }
    }
}

impl Share {
    /// Takes `bytes` more; says whether there were as many.
    pub(in crate::doors) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.ledger.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before.saturating_add(bytes) <= self.ledger.most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.ledger.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back() {
        let ledger = Ledger::new(10);
        let mut first = ledger.open();
        assert!(first.grow(6));
        let mut second = ledger.open();
        assert!(!second.grow(5));
        drop(second);
        assert!(first.grow(4));
        drop(first);
        assert_eq!(ledger.taken.load(Ordering::Relaxed), 0);
    }
}
