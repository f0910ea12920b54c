//! Orders to load and unload models.

use std::sync::Arc;

use super::super::Doors;
use crate::error::{Code, Result, ServeError};
use crate::server::Server;

impl Doors {
    /// Turns orders away where models are not loaded and unloaded through public ports.
    ///
    /// # Errors
    /// [`Code::Unavailable`], as Triton has it.
    pub(in crate::doors) fn repository_is_open(&self) -> Result<()> {
        if self.options.is_repository_open {
            return Ok(());
        }
        let message = "explicit model load / unload is not allowed on this port; hint: use the \
                       admin port, or open the repository in the configuration";
        Err(ServeError::new(Code::Unavailable, message))
    }
}

/// An order to a repository.
#[derive(Debug, Clone, Copy)]
pub(in crate::doors) enum Order {
    Load,
    Unload,
}

/// Loads or unloads a model.
///
/// # Errors
/// When there is no such model, or none of its versions loads.
pub(in crate::doors) async fn carry_out(
    server: &Arc<Server>,
    model: String,
    order: Order,
) -> Result<()> {
    let server = Arc::clone(server);
    let done = tokio::task::spawn_blocking(move || {
        let registry = server.registry();
        match order {
            Order::Load => registry.load(&model).map_err(|error| match error.code {
                Code::NotFound => ServeError::new(
                    Code::NotFound,
                    format!("failed to load '{model}', failed to poll from model repository"),
                ),
                _ => error,
            }),
            Order::Unload => registry.unload(&model),
        }
    });
    done.await
        .map_err(|error| ServeError::new(Code::Internal, error.to_string()))?
}
