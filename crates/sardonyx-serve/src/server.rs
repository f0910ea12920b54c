//! One request, from its tensors to its answer: the one function that every door calls.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sardonyx_tensor::Tensor;

use crate::batch::{Ticket, Work};
use crate::error::{Code, Result, ServeError, internal};
use crate::mirror::Mirror;
use crate::registry::{Registry, Target};

/// A request whose inputs are in the order of the signature ([`crate::Servable::bind`]).
#[derive(Debug)]
pub struct Call {
    /// The inputs.
    pub inputs: Vec<Tensor>,
    /// Lower numbers go first; 0 is usual.
    pub priority: u64,
    /// When its answer is of no use any more.
    pub deadline: Option<Instant>,
    /// Tells connections apart.
    pub source: u64,
}

/// What a request got.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Outputs in the order of the signature.
    pub outputs: Vec<Tensor>,
    /// How long it waited.
    pub queued: Duration,
    /// How long its batch ran.
    pub computed: Duration,
    /// Samples of the batch that it ran in; 0 for an answer that was kept from before.
    pub batch_rows: usize,
}

impl Answer {
    /// An answer that was given before.
    fn kept(outputs: Vec<Tensor>) -> Answer {
        Answer {
            outputs,
            queued: Duration::ZERO,
            computed: Duration::ZERO,
            batch_rows: 0,
        }
    }
}

/// The models with what happens around a request. It knows no sockets.
pub struct Server {
    registry: Arc<Registry>,
    mirror: Mirror,
}

impl Server {
    /// A server of these models.
    ///
    /// # Errors
    /// When the operating system has no more threads.
    pub fn new(registry: Arc<Registry>) -> Result<Server> {
        Ok(Server {
            registry,
            mirror: Mirror::new().map_err(internal)?,
        })
    }

    /// Its models.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Runs a request on the version that it was resolved to. Dropping the future withdraws the
    /// request.
    ///
    /// # Errors
    /// When the queue is full, the deadline passes before it runs, or the model refuses it.
    pub async fn infer(&self, target: &Target, call: Call) -> Result<Answer> {
        let servable = &target.servable;
        let _in_flight = servable.metrics().enter();
        let key = servable
            .cached()
            .map(|cached| (cached, cached.key(servable, &call.inputs)));
        if let Some((cached, key)) = &key {
            let found = cached.get(key);
            servable.metrics().cache(found.is_some());
            if let Some(outputs) = found {
                return Ok(Answer::kept(outputs));
            }
        }
        let copy = target
            .shadow
            .as_ref()
            .filter(|(shadow, _)| self.mirror.has_room(shadow))
            .map(|_| call.inputs.clone());
        let ticket = servable.submit(Work {
            inputs: call.inputs,
            priority: call.priority,
            deadline: call.deadline,
            source: call.source,
        })?;
        let outcome = match ticket {
            Ticket::Done(outcome) => outcome?,
            Ticket::Waiting(receiver) => receiver.await.map_err(|_| unloaded())??,
        };
        if let (Some(inputs), Some((shadow, tolerance))) = (copy, &target.shadow) {
            self.mirror
                .compare(Arc::clone(shadow), inputs, &outcome.outputs, *tolerance);
        }
        if let Some((cached, key)) = key {
            cached.put(key, &outcome.outputs);
        }
        Ok(Answer {
            outputs: outcome.outputs,
            queued: outcome.queued,
            computed: outcome.computed,
            batch_rows: outcome.batch_rows,
        })
    }
}

fn unloaded() -> ServeError {
    ServeError::new(
        Code::Unavailable,
        "the model was unloaded before the request ran",
    )
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
