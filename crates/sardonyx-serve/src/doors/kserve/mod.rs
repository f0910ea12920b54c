//! The doors of KServe v2 and Triton.

mod describe;
pub(super) mod grpc;
mod infer;
mod repository;
pub(super) mod rest;

pub(super) use repository::{Order, carry_out};

use super::Doors;
use super::exchange::Exchange;
use crate::error::{Code, Result, ServeError};
use crate::metrics::{Door, Rejection};
use crate::registry::{Selector, Target};

/// The version that a request is for: `version` is a number, a label, or empty for the server's
/// choice.
fn resolve(
    doors: &Doors,
    exchange: &Exchange,
    door: Door,
    (model, version): (&str, &str),
) -> Result<Target> {
    let selector = if version.is_empty() {
        Selector::Default
    } else if let Ok(number) = version.parse() {
        Selector::Version(number)
    } else {
        Selector::Label(version.to_owned())
    };
    let registry = doors.server.registry();
    let resolved = registry.resolve(model, &selector, exchange.sticky.as_deref());
    resolved.map_err(|error| {
        let reason = Rejection::of(error.code).unwrap_or(Rejection::NotFound);
        doors.metrics().reject(door, reason);
        match error.code {
            Code::NotFound | Code::InvalidArgument => unknown_model(model, version),
            _ => error,
        }
    })
}

fn unknown_model(model: &str, version: &str) -> ServeError {
    let version = if version.is_empty() {
        String::new()
    } else {
        format!(" version {version}")
    };
    let message = format!("Request for unknown model: '{model}'{version} is not found");
    ServeError::new(Code::NotFound, message)
}
