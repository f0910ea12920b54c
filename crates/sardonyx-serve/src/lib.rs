//! The model server: loads ONNX models, gathers requests into batches, routes them between
//! versions, and answers the clients of TensorFlow Serving and of KServe v2 / Triton.
//!
//! The core ([`batch`], registry, rollout, metrics) knows no sockets; the doors are thin.
//!
//! Invariants: a request is answered exactly once, by one version of its model, with nothing of
//! any other request in the answer; every queue is bounded, and what does not fit is refused at
//! once; a version gets requests only when it is loaded and warm, and goes when its last one is
//! answered; no byte of a client makes the server panic or take memory without a limit.

pub mod batch;
pub mod cache;
mod clock;
mod config;
pub mod doors;
mod error;
mod host;
pub mod log;
pub mod metrics;
mod mirror;
mod registry;
mod rollout;
mod servable;
mod server;
mod signature;
mod stop;

pub use config::{RequestLog, ServeConfig, Timeouts};
pub use doors::listen::TlsFiles;
pub use error::{Code, Result, ServeError};
pub use host::{Event, Report, check, serve};
pub use registry::{ModelConfig, Registry, Selector, Target, VersionPolicy, VersionStatus};
pub use rollout::{Rollout, Shadow};
pub use servable::{Servable, ServableOptions};
pub use server::{Answer, Call, Server};
pub use signature::Signature;
pub use stop::stop_signal;
