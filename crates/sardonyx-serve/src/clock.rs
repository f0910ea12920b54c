//! The one place that asks for the time: a server has clocks, the crates below have none.
#![expect(
    clippy::disallowed_methods,
    reason = "deadlines, latencies and logs are what a server is about"
)]

use std::time::{Instant, SystemTime};

/// Now, by a clock that never goes back.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Now, by the system's clock.
pub(crate) fn system_now() -> SystemTime {
    SystemTime::now()
}
