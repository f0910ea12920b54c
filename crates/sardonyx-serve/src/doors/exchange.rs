//! One request as the doors see it, apart from what it asks: who asks, since when, until when.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::http::request;

use super::access::{self, Course};
use super::auth::{Keys, Principal, Verb};
use super::listen::Peer;
use crate::error::{Code, Result, ServeError};
use crate::log::TraceContext;

/// Requests with the same value of this header go to the same version for as long as a rollout
/// stays.
pub const STICKY_HEADER: &str = "x-sticky-key";
/// The client's name of a request; the answer has it too.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

#[derive(Debug, Clone)]
enum Caller {
    /// There are no keys.
    Anybody,
    Known(Principal),
    Unknown(ServeError),
}

/// A request in hand.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) peer: Arc<Peer>,
    pub(super) started: Instant,
    /// When nobody waits for the answer any more.
    pub(super) deadline: Option<Instant>,
    pub(super) sticky: Option<String>,
    /// The client's name of it.
    pub(super) id: Option<String>,
    /// Bytes of the request's message, once it was read.
    pub(super) body_bytes: usize,
    /// What becomes known of it on its way.
    pub(super) course: Course,
    /// The trace that it belongs to; begun when something asks for it, unless the client did.
    trace: OnceLock<TraceContext>,
    caller: Caller,
}

impl Exchange {
    pub(super) fn new(head: &request::Parts, peer: Arc<Peer>, keys: Option<&Keys>) -> Exchange {
        let started = crate::clock::now();
        let caller = match keys {
            None => Caller::Anybody,
            Some(keys) => match keys.principal(&head.headers, peer.certificate.as_ref()) {
                Ok(principal) => Caller::Known(principal),
                Err(error) => Caller::Unknown(error),
            },
        };
        let timeout = text(&head.headers, "grpc-timeout").and_then(grpc_timeout);
        Exchange {
            peer,
            started,
            deadline: timeout.and_then(|timeout| started.checked_add(timeout)),
            sticky: text(&head.headers, STICKY_HEADER).map(str::to_owned),
            id: text(&head.headers, REQUEST_ID_HEADER).map(str::to_owned),
            body_bytes: 0,
            course: Course::default(),
            trace: access::trace(&head.headers).map_or_else(OnceLock::new, OnceLock::from),
            caller,
        }
    }

    /// The same for a request that begins now, within this one.
    pub(super) fn detached(&self) -> Exchange {
        Exchange {
            peer: Arc::clone(&self.peer),
            started: crate::clock::now(),
            deadline: self.deadline,
            sticky: self.sticky.clone(),
            id: self.id.clone(),
            body_bytes: self.body_bytes,
            course: Course::default(),
            trace: self.trace.clone(),
            caller: self.caller.clone(),
        }
    }

    /// The trace that it belongs to.
    pub(super) fn trace(&self) -> &TraceContext {
        self.trace.get_or_init(|| TraceContext::root(false))
    }

    /// Turns away who is not known, whatever they ask.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`].
    pub(super) fn identify(&self) -> Result<()> {
        match &self.caller {
            Caller::Unknown(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Turns away who may not do this.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`], [`Code::PermissionDenied`].
    pub(super) fn authorise(&self, verb: Verb, model: Option<&str>) -> Result<()> {
        match &self.caller {
            Caller::Anybody => Ok(()),
            Caller::Known(principal) => principal.check(verb, model),
            Caller::Unknown(error) => Err(error.clone()),
        }
    }

    /// The name under which the caller is known.
    pub(super) fn caller(&self) -> Option<&str> {
        match &self.caller {
            Caller::Known(principal) => Some(principal.name()),
            _ => None,
        }
    }

    /// The sooner of the request's deadline and `microseconds` from its start; 0 says nothing.
    pub(super) fn deadline_within(&self, microseconds: u64) -> Option<Instant> {
        let within = (microseconds > 0)
            .then(|| {
                self.started
                    .checked_add(Duration::from_micros(microseconds))
            })
            .flatten();
        match (self.deadline, within) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        }
    }
}

/// A header's value, when it is text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `grpc-timeout`: at most eight digits and a unit
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok()).flatten()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// A part of a path with its `%xx` decoded.
///
/// # Errors
/// [`Code::InvalidArgument`] when it does not decode to text.
pub(super) fn percent_decoded(part: &str) -> Result<String> {
    if !part.contains('%') {
        return Ok(part.to_owned());
    }
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut decoded = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let pair = digit(bytes.next()).zip(digit(bytes.next()));
        let value = pair.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        decoded.push(value.ok_or_else(|| undecodable(part))?);
    }
    String::from_utf8(decoded).map_err(|_| undecodable(part))
}

fn undecodable(part: &str) -> ServeError {
    ServeError::new(
        Code::InvalidArgument,
        format!("'{part}' of the path is not percent-encoded text"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_grpc_are_read() {
        let seconds = |value| grpc_timeout(value).map(|timeout| timeout.as_secs_f64());
        assert_eq!(seconds("2H"), Some(7200.0));
        assert_eq!(seconds("3M"), Some(180.0));
        assert_eq!(seconds("99999999S"), Some(99_999_999.0));
        assert_eq!(seconds("250m"), Some(0.25));
        assert_eq!(seconds("5u"), Some(5e-6));
        assert_eq!(seconds("0n"), Some(0.0));
        for wrong in ["", "S", "5", "5x", "+5S", "123456789S", "5é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_of_paths_are_decoded() {
        assert_eq!(percent_decoded("a%20b%C3%A9"), Ok("a bé".to_owned()));
        for wrong in ["%", "%2", "%zz", "%ff"] {
            assert!(percent_decoded(wrong).is_err(), "{wrong}");
        }
    }
}
