//! The doors of TensorFlow Serving.

mod describe;
pub(super) mod grpc;
mod reload;
pub(super) mod rest;
mod tasks;

use sardonyx_wire::tensorflow::{DEFAULT_SIGNATURE, VersionSelector};

use super::Doors;
use super::exchange::Exchange;
use crate::error::{Code, Result, ServeError};
use crate::metrics::{Door, Rejection};
use crate::registry::{Selector, Target};

/// The version that a request is for. Some clients write version 0 for the server's choice.
fn resolve(
    doors: &Doors,
    exchange: &Exchange,
    door: Door,
    (model, version): (&str, &VersionSelector),
) -> Result<Target> {
    let registry = doors.server.registry();
    let selector = match version {
        VersionSelector::Latest => Selector::Default,
        VersionSelector::Label(label) => Selector::Label(label.clone()),
        VersionSelector::Number(0) if !has_version(doors, model, 0) => Selector::Default,
        VersionSelector::Number(number) => match u64::try_from(*number) {
            Ok(number) => Selector::Version(number),
            Err(_) => return Err(no_version(model, *number)),
        },
    };
    let resolved = registry.resolve(model, &selector, exchange.sticky.as_deref());
    resolved.inspect_err(|error| {
        let reason = Rejection::of(error.code).unwrap_or(Rejection::NotFound);
        doors.metrics().reject(door, reason);
    })
}

fn has_version(doors: &Doors, model: &str, number: u64) -> bool {
    let versions = doors.server.registry().status(model).unwrap_or_default();
    versions.iter().any(|version| version.version == number)
}

fn no_version(model: &str, number: i64) -> ServeError {
    let message = format!("Servable not found for request: Specific({model}, {number})");
    ServeError::new(Code::NotFound, message)
}

/// Whether a signature of this name is there; the empty name means the default.
fn is_signature(name: &str) -> bool {
    name.is_empty() || name == DEFAULT_SIGNATURE
}
