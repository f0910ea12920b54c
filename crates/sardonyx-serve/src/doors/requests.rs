//! The request log: some requests are written down with what went in and what came out.
//!
//! A request only copies its tensors, and only when it was chosen; a thread of the log's own makes
//! the line. When that thread is behind, requests are left out and counted.

use std::collections::BTreeMap;

use sardonyx_tensor::Tensor;

use super::exchange::Exchange;
use super::listen::{Ledger, Share};
use crate::log::{Latency, LineLog, LoggedTensor, RequestEntry, Sampler, Timestamp};
use crate::metrics::{LogKind, LogResult, RequestRecord};
use crate::servable::Servable;

/// Bytes of tensors that may wait to be written.
const MAX_WAITING_BYTES: usize = 128 << 20;

/// Where chosen requests go.
#[derive(Debug)]
pub struct RequestSampler {
    log: LineLog,
    sampler: Sampler,
    max_values: usize,
    waiting: Ledger,
}

/// A request that was chosen, on its way.
#[derive(Debug)]
pub(super) struct Draft {
    time: Timestamp,
    id: String,
    traceparent: String,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    share: Share,
    is_whole: bool,
}

impl RequestSampler {
    /// Writes the requests that `sampler` chooses to `log`, with at most `max_values` values of
    /// each tensor.
    pub fn new(log: LineLog, sampler: Sampler, max_values: usize) -> RequestSampler {
        RequestSampler {
            log,
            sampler,
            max_values,
            waiting: Ledger::new(MAX_WAITING_BYTES),
        }
    }

    /// Waits until everything that was handed over is in the file.
    pub fn flush(&self) {
        self.log.flush();
    }

    /// Begins the line of a request if it is chosen: by the id in its body, that in its head, or
    /// its trace.
    pub(super) fn begin(
        &self,
        servable: &Servable,
        exchange: &Exchange,
        (id, inputs): (&str, &[Tensor]),
    ) -> Option<Draft> {
        let trace = exchange.trace();
        let id = match (id, &exchange.id) {
            ("", Some(id)) => id.clone(),
            ("", None) => trace.id(),
            (id, _) => id.to_owned(),
        };
        if !self.sampler.chooses(servable.name(), &id) {
            return None;
        }
        let mut draft = Draft {
            time: Timestamp::now(),
            id,
            traceparent: trace.traceparent(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            share: self.waiting.open(),
            is_whole: true,
        };
        draft.inputs = draft.copied(inputs);
        Some(draft)
    }

    /// Hands the line over.
    pub(super) fn write(&self, draft: Draft, servable: &Servable, record: &RequestRecord) {
        if !draft.is_whole {
            self.log
                .metrics()
                .logged(LogKind::Request, LogResult::Dropped, 1);
            return;
        }
        let names = |specs: &[sardonyx_wire::TensorSpec]| -> Vec<String> {
            specs.iter().map(|spec| spec.name.clone()).collect()
        };
        let signature = servable.signature();
        let (inputs, outputs) = (names(&signature.inputs), names(&signature.outputs));
        let (model, version) = (servable.name().to_owned(), servable.version());
        let (door, code) = (record.door.label(), record.status.label());
        let latency = Latency::new(&record.phases, record.total);
        let max_values = self.max_values;
        self.log.push(move |line| {
            let entry = RequestEntry {
                time: draft.time,
                model,
                version,
                door: door.to_owned(),
                id: draft.id,
                traceparent: Some(draft.traceparent),
                code: code.to_owned(),
                inputs: logged(inputs, &draft.inputs, max_values),
                outputs: logged(outputs, &draft.outputs, max_values),
                latency_us: latency,
            };
            entry.write(line);
            drop(draft.share);
        });
    }
}

impl Draft {
    /// Notes what came out.
    pub(super) fn answered(&mut self, outputs: &[Tensor]) {
        self.outputs = self.copied(outputs);
    }

    /// Copies of `tensors`; none when too much waits already.
    fn copied(&mut self, tensors: &[Tensor]) -> Vec<Tensor> {
        let bytes = tensors.iter().map(Tensor::size_bytes).sum();
        self.is_whole = self.is_whole && self.share.grow(bytes);
        if self.is_whole {
            tensors.to_vec()
        } else {
            Vec::new()
        }
    }
}

fn logged(
    names: Vec<String>,
    tensors: &[Tensor],
    max_values: usize,
) -> BTreeMap<String, LoggedTensor> {
    let tensors = tensors.iter();
    let tensors = tensors.map(|tensor| LoggedTensor::new(tensor, max_values));
    names.into_iter().zip(tensors).collect()
}
