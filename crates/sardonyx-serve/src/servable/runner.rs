//! A session as a lane's runner.

use std::collections::VecDeque;
use std::path::Path;

use sardonyx_engine::{EngineError, Session};
use sardonyx_tensor::{DType, Tensor, element_count};

use super::warm::Requests;
use crate::batch::{Runner, batch_sizes};
use crate::error::{Code, Result, ServeError, internal};
use crate::signature::Signature;

/// Plans that a session keeps: every batch size of one sample shape, and room for other shapes.
pub(super) const MAX_PLANS: usize = 24;

/// Most bytes of a batch of zeros that is made to plan ahead.
const MAX_WARM_BYTES: usize = 1 << 30;

pub(super) struct SessionRunner {
    session: Session,
    signature: Signature,
    /// Batch sizes that are still to be planned.
    unplanned: VecDeque<usize>,
}

impl SessionRunner {
    pub(super) fn new(
        session: Session,
        signature: &Signature,
        max_batch_size: usize,
    ) -> SessionRunner {
        let unplanned = if signature.is_batched {
            batch_sizes(max_batch_size).skip(1).collect()
        } else {
            VecDeque::new()
        };
        SessionRunner {
            session,
            signature: signature.clone(),
            unplanned,
        }
    }

    /// Runs a sample of zeros, where the model says what its samples are like, and the requests
    /// that lie beside it; then plans every batch size.
    ///
    /// # Errors
    /// When one of these requests is damaged or the model refuses it.
    pub(super) fn warm_up(&mut self, model: &Path) -> Result<()> {
        if let Some(sample) = zeros(&self.signature, 1)? {
            self.run(&sample)?;
        }
        if let Some(requests) = Requests::beside(model)? {
            let signature = self.signature.clone();
            requests.each(&signature, |inputs| self.run(inputs).map(drop))?;
        }
        while self.prepare() {}
        Ok(())
    }
}

impl Runner for SessionRunner {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.session.run(inputs).map_err(|error| match error {
            EngineError::Feed { .. } | EngineError::InputCount { .. } => {
                ServeError::new(Code::InvalidArgument, error.to_string())
            }
            // Shapes that the operators refuse are the request's; the model itself was planned.
            EngineError::Op(_) => ServeError::new(Code::InvalidArgument, error.to_string()),
            other => internal(other),
        })
    }

    fn prepare(&mut self) -> bool {
        let Some(rows) = self.unplanned.pop_front() else {
            return false;
        };
        // What cannot be planned ahead is reported to the request that needs it.
        if let Ok(Some(batch)) = zeros(&self.signature, rows) {
            let _ = self.session.executable(&batch);
        }
        !self.unplanned.is_empty()
    }
}

/// A batch of zeros; `None` where the size of a sample is not known, it is text, or too large.
pub(super) fn zeros(signature: &Signature, rows: usize) -> Result<Option<Vec<Tensor>>> {
    let Some(samples) = signature.sample_shapes() else {
        return Ok(None);
    };
    let mut batch = Vec::new();
    for (spec, sample) in signature.inputs.iter().zip(samples) {
        let mut shape = sample;
        if signature.is_batched {
            shape.insert(0, rows);
        }
        let count = element_count(&shape).map_err(internal)?;
        if spec.dtype == DType::String || count > MAX_WARM_BYTES / 8 {
            return Ok(None);
        }
        batch.push(Tensor::zeros(spec.dtype, shape).map_err(internal)?);
    }
    Ok(Some(batch))
}
