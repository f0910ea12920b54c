//! Sardonyx carries a deep-learning model through its whole life: ONNX in, ONNX out, at every step.
//!
//! This crate is the facade. Each verb of the binary has one function here that does all of its
//! work: options in, report out ([`doctor::doctor`], ...). The crates underneath are re-exported
//! for those who want one level more of control.
//!
//! Invariants: a verb's function never prints and never reads arguments; the crates below this one
//! have neither clock nor environment: what they need of either is handed in from here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod bench;
mod clock;
pub mod config;
pub mod demo;
pub mod doctor;
mod error;
pub mod evaluate;
pub mod inspect;
mod machine;
pub mod new;
mod parts;
pub mod predict;
pub mod prelude;
pub mod profile;
pub mod serve;
mod text;
pub mod training;
mod workload;

pub use error::{Error, Result};
pub use machine::Caches;
pub use sardonyx_data as data;
pub use sardonyx_engine as engine;
pub use sardonyx_ir as ir;
pub use sardonyx_model as model;
pub use sardonyx_onnx as onnx;
pub use sardonyx_ops as ops;
pub use sardonyx_tensor as tensor;
pub use sardonyx_train as train;
pub use sardonyx_zoo as zoo;
pub use workload::{OptimizerKind, WorkloadOptions};

/// The examples of the README, which run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Version of sardonyx.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The graph of a model file; a bare name of which there is no file is one of the zoo.
fn zoo_or_file(path: &Path) -> Result<ir::Graph> {
    match zoo_entry(path) {
        Some(entry) => Ok(entry?.build(&zoo::zoo::Options::default(), zoo::Seed(0))?),
        None => Ok(model::load(path)?),
    }
}

/// The network of the zoo that a path stands for; `None` when it is that of a file.
fn zoo_entry(path: &Path) -> Option<Result<&'static zoo::zoo::Entry>> {
    let is_name = path.extension().is_none() && path.components().count() == 1;
    let name = path.to_str().filter(|_| is_name && !path.exists())?;
    Some(zoo::zoo::find(name).map_err(Error::from))
}

/// The model file of a path: the path itself, or the best model of a run's folder.
fn model_file(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join(train::RunFolder::MODEL),
        false => path.to_owned(),
    }
}

/// A pool of `threads` threads; of one for each core when `threads` is 0.
fn pool(threads: usize) -> Result<Arc<engine::Pool>> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Ok(Arc::new(engine::Pool::new(threads)?))
}
