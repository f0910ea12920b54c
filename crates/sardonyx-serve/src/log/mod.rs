//! What is written about requests: an access log of all of them, a request log of a sample with
//! what went in and came out, and the trace that each belongs to.
//!
//! Lines are made and written by a thread of their own. A request never waits for it: when the
//! thread is behind, lines are dropped and counted.

mod access;
mod entry;
mod read;
mod sample;
mod time;
mod trace;
mod write;

pub use access::{AccessEntry, AccessFormat};
pub use entry::{Latency, LoggedTensor, RequestEntry};
pub use read::{LogReader, read_log};
pub use sample::Sampler;
pub use time::Timestamp;
pub use trace::TraceContext;
pub use write::{LineLog, LogFile, Sink};

#[cfg(test)]
mod tests;
