//! gRPC: which function answers which path.

mod frame;
mod health;
mod stream;

use std::sync::Arc;

use hyper::Version;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request;
use prost::Message;
use sardonyx_wire::proto::inference::Empty;

use super::Doors;
use super::answer::{Answer, Failure};
use super::exchange::{Exchange, text};
use super::listen::{Body, Received};
use super::run::unhurried;
use super::{kserve, tensorflow};
use crate::error::{Code, Result, ServeError};
use frame::Packing;

/// Whether a request is one of gRPC.
pub(super) fn is_grpc(head: &request::Parts) -> bool {
    let kind = text(&head.headers, CONTENT_TYPE.as_str());
    kind.is_some_and(|kind| {
        kind.strip_prefix("application/grpc")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
    })
}

/// A call: what was asked, by whom, and how its messages are packed.
struct Call<'c> {
    doors: &'c Arc<Doors>,
    exchange: &'c mut Exchange,
    body: Option<Incoming>,
    packing: Packing,
    /// Keeps the request's bytes counted until it is answered.
    received: Option<Received>,
}

impl Call<'_> {
    /// The one message of the request.
    async fn read<Q: Message + Default>(&mut self) -> Result<Q> {
        let body = self.body.take();
        let body = body.ok_or_else(|| ServeError::invalid("the request was read already"))?;
        let limits = &self.doors.options.limits;
        let received = frame::read_one(body, self.packing, limits).await?;
        self.exchange.body_bytes = received.bytes.len();
        self.exchange.course.received(received.wire_bytes);
        let bytes = received.bytes.clone();
        self.received = Some(received);
        decoded(bytes)
    }

    /// The answer with one message.
    fn reply(&self, message: &impl Message) -> Result<Answer> {
        let length = message.encoded_len();
        let bytes = unhurried(length, || frame::framed(message, self.packing))?;
        let body = Body::with_trailers(bytes, Some(frame::trailers(Ok(()))));
        Ok(frame::head(body, self.packing))
    }
}

/// A message from its bytes.
fn decoded<Q: Message + Default>(bytes: Bytes) -> Result<Q> {
    unhurried(bytes.len(), || Q::decode(bytes))
        .map_err(|error| ServeError::invalid(format!("the message is damaged: {error}")))
}

/// Answers a call. Who is not known is turned away before the body is read, except where it asks
/// for health.
pub(super) async fn answer(
    doors: &Arc<Doors>,
    exchange: &mut Exchange,
    head: &request::Parts,
    body: Incoming,
) -> Answer {
    if head.version != Version::HTTP_2 {
        let failure = Failure::from(ServeError::invalid("gRPC needs HTTP/2"));
        return failure.answer(sardonyx_wire::kserve::encode_error);
    }
    let answered = match Packing::of(&head.headers) {
        Ok(packing) => {
            let call = Call {
                doors,
                exchange: &mut *exchange,
                body: Some(body),
                packing,
                received: None,
            };
            dispatch(call, head.uri.path()).await
        }
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|error| {
        exchange.course.failed(error.code);
        frame::refusal(&error)
    })
}

const KSERVE: &str = "inference.GRPCInferenceService";
const PREDICTION: &str = "tensorflow.serving.PredictionService";
const MODELS: &str = "tensorflow.serving.ModelService";
/// Every service, as clients may ask for their health.
const SERVICES: [&str; 3] = [KSERVE, PREDICTION, MODELS];

async fn dispatch(call: Call<'_>, path: &str) -> Result<Answer> {
    let parts = path
        .strip_prefix('/')
        .and_then(|path| path.rsplit_once('/'));
    let (service, method) = parts.ok_or_else(|| unknown(path))?;
    let is_health = service == health::SERVICE
        || service == KSERVE && matches!(method, "ServerLive" | "ServerReady");
    if !is_health {
        call.exchange.identify()?;
    }
    let answered = match service {
        PREDICTION => prediction_method(call, method).await?,
        MODELS => models_method(call, method).await?,
        KSERVE if method == "ModelStreamInfer" => Some(stream::infer(call)),
        KSERVE => match kserve_method(call, method).await? {
            Asked::Answered(answer) => Some(answer),
            Asked::Other(call) => repository_method(call, method).await?,
        },
        health::SERVICE => health::method(call, method).await?,
        _ => None,
    };
    answered.ok_or_else(|| unknown(path))
}

fn unknown(path: &str) -> ServeError {
    ServeError::new(Code::Unimplemented, format!("there is no method {path}"))
}

async fn prediction_method(mut call: Call<'_>, method: &str) -> Result<Option<Answer>> {
    use tensorflow::grpc::{classify, metadata, multi_inference, predict, regress};
    let doors = call.doors;
    Ok(Some(match method {
        "Predict" => {
            let asked = call.read().await?;
            call.reply(&predict(doors, call.exchange, asked).await?)?
        }
        "Classify" => {
            let asked = call.read().await?;
            call.reply(&classify(doors, call.exchange, asked).await?)?
        }
        "Regress" => {
            let asked = call.read().await?;
            call.reply(&regress(doors, call.exchange, asked).await?)?
        }
        "MultiInference" => {
            let asked = call.read().await?;
            call.reply(&multi_inference(doors, call.exchange, asked).await?)?
        }
        "GetModelMetadata" => {
            let asked = call.read().await?;
            call.reply(&metadata(doors, call.exchange, asked)?)?
        }
        _ => return Ok(None),
    }))
}

async fn models_method(mut call: Call<'_>, method: &str) -> Result<Option<Answer>> {
    use tensorflow::grpc::{reload_config, status};
    let doors = call.doors;
    Ok(Some(match method {
        "GetModelStatus" => {
            let asked = call.read().await?;
            call.reply(&status(doors, call.exchange, asked)?)?
        }
        "HandleReloadConfigRequest" => {
            let asked = call.read().await?;
            call.reply(&reload_config(doors, call.exchange, asked).await?)?
        }
        _ => return Ok(None),
    }))
}

/// What became of a call: answered, or for somebody else.
enum Asked<'c> {
    Answered(Answer),
    Other(Call<'c>),
}

async fn kserve_method<'c>(mut call: Call<'c>, method: &str) -> Result<Asked<'c>> {
    use kserve::grpc::{config, infer, live, metadata, model_ready, ready, server, statistics};
    let doors = call.doors;
    Ok(Asked::Answered(match method {
        "ModelInfer" => {
            let asked = call.read().await?;
            call.reply(&infer(doors, call.exchange, asked).await?)?
        }
        "ServerLive" => {
            call.read::<Empty>().await?;
            call.reply(&live())?
        }
        "ServerReady" => {
            call.read::<Empty>().await?;
            call.reply(&ready(doors))?
        }
        "ModelReady" => {
            let asked = call.read().await?;
            call.reply(&model_ready(doors, call.exchange, &asked)?)?
        }
        "ServerMetadata" => {
            call.read::<Empty>().await?;
            call.reply(&server(call.exchange)?)?
        }
        "ModelMetadata" => {
            let asked = call.read().await?;
            call.reply(&metadata(doors, call.exchange, &asked)?)?
        }
        "ModelConfig" => {
            let asked = call.read().await?;
            call.reply(&config(doors, call.exchange, &asked)?)?
        }
        "ModelStatistics" => {
            let asked = call.read().await?;
            call.reply(&statistics(doors, call.exchange, &asked)?)?
        }
        _ => return Ok(Asked::Other(call)),
    }))
}

async fn repository_method(mut call: Call<'_>, method: &str) -> Result<Option<Answer>> {
    use kserve::grpc::{
        index, load, log_settings, no_regions, shared_memory, trace_setting, unload,
    };
    let doors = call.doors;
    Ok(Some(match method {
        "RepositoryIndex" => {
            let asked = call.read().await?;
            call.reply(&index(doors, call.exchange, &asked)?)?
        }
        "RepositoryModelLoad" => {
            let asked = call.read().await?;
            call.reply(&load(doors, call.exchange, asked).await?)?
        }
        "RepositoryModelUnload" => {
            let asked = call.read().await?;
            call.reply(&unload(doors, call.exchange, asked).await?)?
        }
        "TraceSetting" => {
            let asked = call.read().await?;
            call.reply(&trace_setting(call.exchange, &asked)?)?
        }
        "LogSettings" => {
            let asked = call.read().await?;
            call.reply(&log_settings(call.exchange, &asked)?)?
        }
        // An empty map of regions is an empty message, whichever kind they are of.
        "SystemSharedMemoryStatus" | "CudaSharedMemoryStatus" => {
            let asked = call.read().await?;
            call.reply(&shared_memory(call.exchange, &asked)?)?
        }
        "SystemSharedMemoryRegister"
        | "SystemSharedMemoryUnregister"
        | "CudaSharedMemoryRegister"
        | "CudaSharedMemoryUnregister" => return Err(no_regions()),
        _ => return Ok(None),
    }))
}
