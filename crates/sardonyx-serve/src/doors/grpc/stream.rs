//! `ModelStreamInfer`: requests as they come, answers in their order.
//!
//! Requests of one stream run at the same time, so that they may share batches.

use std::sync::Arc;

use hyper::body::Frame;
use sardonyx_wire::proto::inference::{ModelInferRequest, ModelStreamInferResponse};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::Doors;
use super::super::answer::Answer;
use super::super::exchange::Exchange;
use super::super::kserve;
use super::super::listen::{Body, BodySender, Received};
use super::{Call, Packing, decoded, frame};
use crate::error::{Code, Result, ServeError};

/// Most requests of a stream that run or wait at the same time.
const MAX_RUNNING: usize = 32;

/// A request that runs; stopped when nobody waits for it.
struct Running(JoinHandle<ModelStreamInferResponse>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens the stream. A request that fails gets an answer that says so; the stream goes on.
pub(super) fn infer(call: Call<'_>) -> Answer {
    let Call {
        doors,
        exchange,
        body,
        packing,
        ..
    } = call;
    let (sender, answers) = Body::stream(MAX_RUNNING);
    let (queue, running) = mpsc::channel(MAX_RUNNING);
    if let Some(body) = body {
        let limits = doors.options.limits.clone();
        let messages = frame::Messages::new(body, packing, limits);
        let exchange = exchange.detached();
        tokio::spawn(read(Arc::clone(doors), exchange, messages, queue));
        tokio::spawn(write(running, sender, packing));
    }
    frame::head(answers, packing)
}

type Queued = Result<Running>;

async fn read(
    doors: Arc<Doors>,
    exchange: Exchange,
    mut messages: frame::Messages,
    queue: mpsc::Sender<Queued>,
) {
    loop {
        let next = tokio::select! {
            next = messages.next() => next,
            () = queue.closed() => return,
        };
        let queued = match next {
            Ok(None) => return,
            Ok(Some(received)) => {
                let mut exchange = exchange.detached();
                exchange.body_bytes = received.bytes.len();
                let answer = one(Arc::clone(&doors), exchange, received);
                Ok(Running(tokio::spawn(answer)))
            }
            Err(error) => Err(error),
        };
        let is_last = queued.is_err();
        if queue.send(queued).await.is_err() || is_last {
            return;
        }
    }
}

async fn one(
    doors: Arc<Doors>,
    exchange: Exchange,
    received: Received,
) -> ModelStreamInferResponse {
    let request: Result<ModelInferRequest> = decoded(received.bytes.clone());
    let answer = match request {
        Ok(request) => kserve::grpc::infer(&doors, &exchange, request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(answer),
        },
        Err(error) => ModelStreamInferResponse {
            error_message: error.message,
            infer_response: None,
        },
    }
}

async fn write(mut running: mpsc::Receiver<Queued>, sender: BodySender, packing: Packing) {
    let end = loop {
        let next = tokio::select! {
            next = running.recv() => next,
            () = sender.closed() => return,
        };
        let mut running = match next {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(running)) => running,
        };
        let Ok(answer) = (&mut running.0).await else {
            break Err(ServeError::new(
                Code::Internal,
                "the request failed while it ran",
            ));
        };
        let bytes = match frame::framed(&answer, packing) {
            Ok(bytes) => bytes,
            Err(error) => break Err(error),
        };
        if sender.send(Frame::data(bytes)).await.is_err() {
            return;
        }
    };
    let trailers = frame::trailers(end.as_ref().copied());
    // Whoever has left needs no end.
    let _ = sender.send(Frame::trailers(trailers)).await;
}
