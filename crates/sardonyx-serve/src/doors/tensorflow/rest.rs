//! The REST API of TensorFlow Serving
//! (<https://www.tensorflow.org/tfx/serving/api_rest>).

use std::borrow::Cow;

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::request;
use sardonyx_tensor::Tensor;
use sardonyx_wire::tensorflow::{
    self as wire, Call, Format, Target as Named, Verb as Task, decode_examples, decode_predict,
    encode_predict,
};
use sardonyx_wire::{BytesTensor, TensorSpec, Value};

use super::super::Doors;
use super::super::answer::{Answer, Failure, json};
use super::super::auth::Verb as Right;
use super::super::exchange::{Exchange, text};
use super::super::listen::Received;
use super::super::run::{Kind, Question, run};
use super::{describe, is_signature, resolve, tasks};
use crate::error::{Result, ServeError};
use crate::metrics::{Door, Rejection, Verb};
use crate::registry::Target;
use crate::servable::Servable;

const DOOR: Door = Door::TensorflowRest;

/// Answers a request below `/v1/`.
pub(in crate::doors) async fn answer(
    doors: &Doors,
    exchange: &Exchange,
    head: &request::Parts,
    body: Incoming,
) -> Answer {
    let answered = dispatch(doors, exchange, head, body).await;
    answered.unwrap_or_else(|failure| {
        exchange.course.failed(failure.error.code);
        failure.answer(wire::encode_error)
    })
}

async fn dispatch(
    doors: &Doors,
    exchange: &Exchange,
    head: &request::Parts,
    body: Incoming,
) -> Result<Answer, Failure> {
    let call = wire::parse_path(head.method.as_str(), head.uri.path()).inspect_err(|_| {
        doors.metrics().reject(DOOR, Rejection::NotFound);
    })?;
    let (right, model) = match &call {
        Call::Run(named, _) => (Right::Infer, Some(named.model.as_str())),
        Call::Status(named) | Call::Metadata(named) => {
            (Right::Metadata, Some(named.model.as_str()))
        }
        Call::List => (Right::Metadata, None),
    };
    exchange.authorise(right, model).inspect_err(|error| {
        let reason = Rejection::of(error.code).unwrap_or(Rejection::Unauthorised);
        doors.metrics().reject(DOOR, reason);
    })?;
    Ok(match call {
        Call::Run(named, task) => run_task(doors, exchange, (head, body), (&named, task)).await?,
        Call::Status(named) => json(describe::status_json(doors, &named)?),
        Call::Metadata(named) => {
            let target = resolve(doors, exchange, DOOR, (&named.model, &named.version))?;
            json(describe::metadata_json(&target.servable))
        }
        Call::List => json(describe::list_json(doors)?),
    })
}

async fn run_task(
    doors: &Doors,
    exchange: &Exchange,
    (head, body): (&request::Parts, Incoming),
    (named, task): (&Named, Task),
) -> Result<Answer, Failure> {
    let target = resolve(doors, exchange, DOOR, (&named.model, &named.version))?;
    let received = receive(doors, exchange, (&target, head), body).await?;
    let bytes = received.bytes.clone();
    let kind = |verb| Kind {
        door: DOOR,
        verb,
        bytes: bytes.len(),
    };
    let body = match task {
        Task::Predict => {
            let picture = picture_type(head);
            let decode = |servable: &Servable| predict_question(servable, &bytes, picture);
            let encode = |(format, servable): (Format, _), outputs: &[Tensor]| {
                encode_predict(format, &named_outputs(servable, outputs))
            };
            let servable = &target.servable;
            let decode = |model: &Servable| {
                decode(model).map(|question| Question {
                    inputs: question.inputs,
                    priority: question.priority,
                    timeout_us: question.timeout_us,
                    id: question.id,
                    rest: (question.rest, &**servable),
                })
            };
            run(
                doors,
                exchange,
                (&target, kind(Verb::Predict)),
                decode,
                encode,
            )
            .await?
        }
        Task::Classify => {
            let decode = |servable: &Servable| example_question(servable, &bytes);
            let encode = |(), outputs: &[Tensor]| {
                wire::encode_classification(&tasks::classification(&target.servable, outputs)?)
            };
            run(
                doors,
                exchange,
                (&target, kind(Verb::Classify)),
                decode,
                encode,
            )
            .await?
        }
        Task::Regress => {
            let decode = |servable: &Servable| example_question(servable, &bytes);
            let encode = |(), outputs: &[Tensor]| {
                wire::encode_regression(&tasks::regression(&target.servable, outputs)?)
            };
            run(
                doors,
                exchange,
                (&target, kind(Verb::Regress)),
                decode,
                encode,
            )
            .await?
        }
    };
    Ok(json(body))
}

/// Reads the body of a request for `target`.
async fn receive(
    doors: &Doors,
    exchange: &Exchange,
    (target, head): (&Target, &request::Parts),
    body: Incoming,
) -> Result<Received, Failure> {
    let encoding = text(&head.headers, CONTENT_ENCODING.as_str());
    let received = Received::read(body, encoding, &doors.options.limits).await;
    let received = received.inspect_err(|failure| {
        let reason = match failure.status.as_u16() {
            413 => Rejection::TooLarge,
            408 => Rejection::TooSlow,
            _ => Rejection::Invalid,
        };
        target.servable.metrics().reject(reason);
    })?;
    exchange.course.received(received.wire_bytes);
    Ok(received)
}

fn named_outputs<'a>(servable: &'a Servable, outputs: &'a [Tensor]) -> Vec<(&'a str, &'a Tensor)> {
    let specs = servable.signature().outputs.iter();
    specs.map(|spec| spec.name.as_str()).zip(outputs).collect()
}

/// Whether the body is the file of a picture.
fn picture_type(head: &request::Parts) -> bool {
    let kind = text(&head.headers, CONTENT_TYPE.as_str());
    kind.and_then(|kind| kind.get(..6))
        .is_some_and(|start| start.eq_ignore_ascii_case("image/"))
}

fn predict_question(
    servable: &Servable,
    body: &Bytes,
    is_picture: bool,
) -> Result<Question<Format>> {
    let signature = servable.signature();
    if is_picture {
        let Some(spec) = signature.inputs.iter().find(|spec| spec.takes_bytes) else {
            return Err(ServeError::invalid(format!(
                "model '{}' takes no pictures; hint: send numbers as JSON",
                servable.name()
            )));
        };
        let file = Value::Bytes(BytesTensor::new(vec![1], vec![body.clone()])?);
        let inputs = servable.bind([(Cow::Borrowed(spec.name.as_str()), file)])?;
        return Ok(Question::new(inputs, Format::Row));
    }
    let find = |name: &str| inputs_of(servable, name);
    let decoded = decode_predict(body, &find)?;
    let named = decoded.inputs.into_iter();
    let inputs = servable.bind(named.map(|(name, value)| (Cow::Owned(name), value)))?;
    Ok(Question::new(inputs, decoded.format))
}

fn example_question(servable: &Servable, body: &Bytes) -> Result<Question<()>> {
    let decoded = decode_examples(body)?;
    let specs = inputs_of(servable, &decoded.signature_name)?;
    tasks::question(servable, &decoded.input, specs)
}

fn inputs_of<'s>(servable: &'s Servable, signature: &str) -> Result<&'s [TensorSpec]> {
    if is_signature(signature) {
        return Ok(&servable.signature().inputs);
    }
    Err(ServeError::invalid(format!(
        "Serving signature name: \"{signature}\" not found in signature def"
    )))
}
