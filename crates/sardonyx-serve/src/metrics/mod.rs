//! What the server counts and measures, and how Prometheus reads it.
//!
//! Recording takes no lock and no memory: every series has its atomics from the moment that its
//! model version loads. Three families come out of the same counts: `sardonyx_*` in base units,
//! which `docs/metrics.md` describes, and, where a dashboard expects them, the names of TensorFlow
//! Serving and of Triton.

mod collect;
mod labels;
mod model;
mod native;
mod number;
mod process;
mod tensorflow;
mod text;
mod triton;

pub use collect::{Connection, Metrics, MetricsOptions};
pub use labels::{Door, LogKind, LogResult, Pick, Port, Rejection, Reload, Status, Verb};
pub use labels::{ShadowResult, VersionState};
pub use model::{InFlight, ModelMetrics, Phases, RequestRecord, Totals};
pub use native::{FAMILIES, Family};
pub use number::{Counter, Gauge, Histogram, Scale};
pub use text::{Format, Kind};

#[cfg(test)]
mod tests;
