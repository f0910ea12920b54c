//! The folder that a run leaves behind: its files' names, and how they come into being.

mod environment;
mod event_log;
mod folder;
mod metrics_log;

pub use environment::Environment;
pub use event_log::EventLog;
pub use folder::{RunFolder, RunName};
pub use metrics_log::{MetricsLine, MetricsLog};
