//! The REST API of KServe v2 with Triton's extensions
//! (<https://github.com/kserve/open-inference-protocol>).

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderValue};
use hyper::http::request;
use hyper::{Method, StatusCode};
use sardonyx_tensor::Tensor;
use sardonyx_wire::kserve::{self as wire, EncodedReply, HEADER_LENGTH};

use super::super::Doors;
use super::super::answer::{Answer, BINARY, Failure, bare, json, whole};
use super::super::auth::Verb as Right;
use super::super::exchange::{Exchange, percent_decoded, text};
use super::super::listen::Received;
use super::super::run::{Kind, run};
use super::repository::{Order, carry_out};
use super::{describe, grpc, infer, resolve};
use crate::error::{Code, Result, ServeError};
use crate::metrics::{Door, Rejection, Verb};
use crate::registry::Target;
use crate::servable::Servable;

const DOOR: Door = Door::KserveRest;

/// What Triton tells of a server that writes no traces.
pub(super) const TRACE_SETTINGS: [(&str, &str); 6] = [
    ("trace_level", "OFF"),
    ("trace_rate", "1000"),
    ("trace_count", "-1"),
    ("log_frequency", "0"),
    ("trace_file", ""),
    ("trace_mode", "triton"),
];

/// A request in hand.
struct Asked<'a> {
    doors: &'a Doors,
    exchange: &'a Exchange,
    head: &'a request::Parts,
}

/// Answers a request below `/v2`.
pub(in crate::doors) async fn answer(
    doors: &Doors,
    exchange: &Exchange,
    head: &request::Parts,
    body: Incoming,
) -> Answer {
    let asked = Asked {
        doors,
        exchange,
        head,
    };
    let answered = match asked.parts() {
        Ok(parts) => {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            asked.dispatch(&parts, body).await
        }
        Err(error) => Err(error.into()),
    };
    answered.unwrap_or_else(|failure| {
        exchange.course.failed(failure.error.code);
        failure.answer(wire::encode_error)
    })
}

impl Asked<'_> {
    /// The path below `/v2`, cut at its slashes and decoded.
    fn parts(&self) -> Result<Vec<String>> {
        let path = self.head.uri.path();
        let rest = path.strip_prefix("/v2/");
        rest.into_iter()
            .flat_map(|rest| rest.split('/'))
            .map(percent_decoded)
            .collect()
    }

    async fn dispatch(&self, parts: &[&str], body: Incoming) -> Result<Answer, Failure> {
        match parts {
            [] => self.get(|| {
                self.exchange.authorise(Right::Metadata, None)?;
                Ok(json(wire::encode_server_metadata(&describe::server())))
            }),
            ["health", "live"] => self.get(|| Ok(bare(StatusCode::OK))),
            ["health", "ready"] => self.get(|| {
                Ok(bare(if self.doors.is_ready() {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                }))
            }),
            ["models", "stats"] => self.get(|| self.statistics("", "")),
            ["models", model] => self.get(|| self.metadata(model, "")),
            ["models", model, "versions", version] => self.get(|| self.metadata(model, version)),
            ["models", model, "versions", version, what @ ..] => {
                self.of_model(model, version, what, body).await
            }
            ["models", model, what @ ..] => self.of_model(model, "", what, body).await,
            ["repository", "index"] | ["repository", _, "index"] => {
                self.post()?;
                self.index(body).await
            }
            ["repository", "models", model, order] | ["repository", _, "models", model, order] => {
                self.post()?;
                self.order(model, order, body).await
            }
            _ => self.of_server(parts),
        }
    }

    async fn of_model(
        &self,
        model: &str,
        version: &str,
        what: &[&str],
        body: Incoming,
    ) -> Result<Answer, Failure> {
        match what {
            ["infer"] => {
                self.post()?;
                self.infer(model, version, body).await
            }
            ["ready"] => self.get(|| self.model_ready(model, version)),
            ["config"] => self.get(|| {
                let target = self.described(model, version)?;
                Ok(json(wire::encode_config(&describe::config(
                    &target.servable,
                ))))
            }),
            ["stats"] => self.get(|| self.statistics(model, version)),
            ["trace", "setting"] => self.settings("trace", trace_settings),
            ["generate" | "generate_stream"] => {
                self.post()?;
                let message = "models here take tensors; hint: use infer";
                Err(ServeError::new(Code::Unimplemented, message).into())
            }
            _ => Err(not_found()),
        }
    }

    /// Settings and regions of memory, which can be read.
    fn of_server(&self, parts: &[&str]) -> Result<Answer, Failure> {
        match parts {
            ["trace", "setting"] => self.settings("trace", trace_settings),
            ["logging"] => self.settings("log", log_settings),
            ["systemsharedmemory" | "cudasharedmemory", .., "status"] => self.get(|| {
                self.exchange.authorise(Right::Metadata, None)?;
                Ok(json(b"[]".to_vec()))
            }),
            [
                "systemsharedmemory" | "cudasharedmemory",
                ..,
                "register" | "unregister",
            ] => {
                self.post()?;
                Err(grpc::no_regions().into())
            }
            _ => Err(not_found()),
        }
    }

    fn settings(&self, what: &str, read: fn() -> String) -> Result<Answer, Failure> {
        self.exchange.authorise(Right::Metadata, None)?;
        if self.head.method == Method::POST {
            return Err(grpc::fixed(what).into());
        }
        self.get(|| Ok(json(read().into_bytes())))
    }

    fn get(&self, answer: impl FnOnce() -> Result<Answer>) -> Result<Answer, Failure> {
        if self.head.method == Method::GET || self.head.method == Method::HEAD {
            return Ok(answer()?);
        }
        Err(not_allowed())
    }

    fn post(&self) -> Result<(), Failure> {
        if self.head.method == Method::POST {
            Ok(())
        } else {
            Err(not_allowed())
        }
    }

    fn described(&self, model: &str, version: &str) -> Result<Target> {
        self.exchange.authorise(Right::Metadata, Some(model))?;
        resolve(self.doors, self.exchange, DOOR, (model, version))
    }

    fn metadata(&self, model: &str, version: &str) -> Result<Answer> {
        let target = self.described(model, version)?;
        let metadata = describe::metadata(self.doors, &target.servable);
        Ok(json(wire::encode_model_metadata(&metadata)))
    }

    fn model_ready(&self, model: &str, version: &str) -> Result<Answer> {
        match self.described(model, version) {
            Ok(_) => Ok(bare(StatusCode::OK)),
            Err(error) if error.code == Code::NotFound => {
                Err(ServeError::invalid("Model version not ready"))
            }
            Err(error) => Err(error),
        }
    }

    fn statistics(&self, model: &str, version: &str) -> Result<Answer> {
        let named = Some(model).filter(|model| !model.is_empty());
        self.exchange.authorise(Right::Metrics, named)?;
        let version = if version.is_empty() {
            None
        } else {
            let target = resolve(self.doors, self.exchange, DOOR, (model, version))?;
            Some(target.servable.version())
        };
        let statistics = describe::statistics(self.doors, model, version)?;
        Ok(json(wire::encode_statistics(&statistics)))
    }

    async fn read(&self, body: Incoming) -> Result<Received, Failure> {
        let encoding = text(&self.head.headers, CONTENT_ENCODING.as_str());
        let received = Received::read(body, encoding, &self.doors.options.limits).await?;
        self.exchange.course.received(received.wire_bytes);
        Ok(received)
    }

    async fn index(&self, body: Incoming) -> Result<Answer, Failure> {
        self.exchange.authorise(Right::Metadata, None)?;
        let received = self.read(body).await?;
        let request = wire::decode_index_request(&received.bytes)?;
        Ok(json(wire::encode_index(&describe::index(
            self.doors,
            request.ready,
        ))))
    }

    async fn order(&self, model: &str, order: &str, body: Incoming) -> Result<Answer, Failure> {
        let order = match order {
            "load" => Order::Load,
            "unload" => Order::Unload,
            _ => return Err(not_found()),
        };
        self.exchange.authorise(Right::Repository, Some(model))?;
        self.doors.repository_is_open()?;
        let received = self.read(body).await?;
        let request = wire::decode_load_request(&received.bytes)?;
        if request.config.is_some() || !request.files.is_empty() {
            return Err(grpc::no_overrides().into());
        }
        carry_out(&self.doors.server, model.to_owned(), order).await?;
        Ok(json(Vec::new()))
    }

    async fn infer(&self, model: &str, version: &str, body: Incoming) -> Result<Answer, Failure> {
        let metrics = self.doors.metrics();
        let authorised = self.exchange.authorise(Right::Infer, Some(model));
        authorised.inspect_err(|error| {
            let reason = Rejection::of(error.code).unwrap_or(Rejection::Unauthorised);
            metrics.reject(DOOR, reason);
        })?;
        let target = resolve(self.doors, self.exchange, DOOR, (model, version))?;
        let header_length = self.header_length()?;
        let received = self.read(body).await.inspect_err(|failure| {
            let reason = match failure.status {
                StatusCode::PAYLOAD_TOO_LARGE => Rejection::TooLarge,
                StatusCode::REQUEST_TIMEOUT => Rejection::TooSlow,
                _ => Rejection::Invalid,
            };
            target.servable.metrics().reject(reason);
        })?;
        let decode = |servable: &Servable| {
            let specs = &servable.signature().inputs;
            let request = wire::decode_infer(&received.bytes, header_length, specs)?;
            infer::question(servable, request)
        };
        let encode = |wishes: infer::Wishes, outputs: &[Tensor]| {
            infer::answer(&target.servable, &wishes, outputs, wire::encode_infer)
        };
        let kind = Kind {
            door: DOOR,
            verb: Verb::Infer,
            bytes: received.bytes.len(),
        };
        let reply = run(self.doors, self.exchange, (&target, kind), decode, encode).await?;
        Ok(encoded(reply))
    }

    fn header_length(&self) -> Result<Option<usize>> {
        let Some(value) = self.head.headers.get(HEADER_LENGTH) else {
            return Ok(None);
        };
        let number = value
            .to_str()
            .ok()
            .and_then(|value| value.trim().parse().ok());
        let wrong = || ServeError::invalid(format!("{HEADER_LENGTH} is not a number of bytes"));
        number.map(Some).ok_or_else(wrong)
    }
}

fn encoded(reply: EncodedReply) -> Answer {
    let Some(length) = reply.header_length else {
        return json(reply.body);
    };
    let mut answer = whole(StatusCode::OK, BINARY, reply.body);
    let headers = answer.headers_mut();
    headers.insert("inference-header-content-length", HeaderValue::from(length));
    answer
}

fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, Code::NotFound, "Not Found")
}

fn not_allowed() -> Failure {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Failure::new(status, Code::Unimplemented, "Method Not Allowed")
}

/// The settings in Triton's order.
fn trace_settings() -> String {
    let settings = TRACE_SETTINGS.iter().map(|(name, value)| match *name {
        "trace_level" => format!("\"{name}\":[\"{value}\"]"),
        _ => format!("\"{name}\":\"{value}\""),
    });
    let settings: Vec<String> = settings.collect();
    format!("{{{}}}", settings.join(","))
}

fn log_settings() -> String {
    let settings = r#"{"log_file":"","log_info":true,"log_warning":true,"log_error":true,"#;
    format!(
        "{settings}{}",
        r#""log_verbose_level":0,"log_format":"default"}"#
    )
}
