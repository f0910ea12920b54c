//! Orders to the server, on a port of its own that only this machine reaches by default.
//!
//! ```text
//! GET    /admin/v1/models                   every model with its versions and rollout
//! GET    /admin/v1/models/M                 one of them
//! POST   /admin/v1/models/M/load            load it, or load it again after an unload
//! POST   /admin/v1/models/M/unload
//! GET    /admin/v1/models/M/rollout         labels, weights and shadow
//! PUT    /admin/v1/models/M/rollout         all of it
//! PATCH  /admin/v1/models/M/rollout         the fields that are given
//! POST   /admin/v1/reload                   look at the disk now
//! ```
//!
//! Health and metrics are answered here too.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::http::request;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json as value};

use super::Doors;
use super::answer::{Answer, Failure, json};
use super::auth::Verb;
use super::exchange::{Exchange, percent_decoded, text};
use super::kserve::{Order, carry_out};
use super::listen::{Peer, Received};
use super::operation;
use crate::error::{Code, Result, ServeError};
use crate::registry::VersionStatus;
use crate::rollout::Rollout;

/// Answers a request on the admin port.
pub(super) async fn answer(
    doors: &Arc<Doors>,
    request: Request<Incoming>,
    peer: Arc<Peer>,
) -> Answer {
    let (head, body) = request.into_parts();
    let exchange = Exchange::new(&head, peer, doors.options.keys.as_deref());
    if let Some(answer) = operation::answer(doors, &exchange, &head) {
        return answer;
    }
    let answered = dispatch(doors, &exchange, &head, body).await;
    match answered {
        Ok(value) => json(format!("{value:#}\n").into_bytes()),
        Err(failure) => failure.answer(sardonyx_wire::kserve::encode_error),
    }
}

async fn dispatch(
    doors: &Arc<Doors>,
    exchange: &Exchange,
    head: &request::Parts,
    body: Incoming,
) -> Result<Value, Failure> {
    let rest = head
        .uri
        .path()
        .strip_prefix("/admin/v1/")
        .ok_or_else(not_found)?;
    let parts: Vec<String> = rest
        .split('/')
        .map(percent_decoded)
        .collect::<Result<_>>()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let model = parts.get(1).filter(|_| parts[0] == "models").copied();
    exchange.authorise(Verb::Repository, model)?;
    let registry = doors.server.registry();
    match (&head.method, &parts[..]) {
        (&Method::GET, ["models"]) => {
            let names = registry.names();
            let models = names.iter().filter_map(|name| described(doors, name).ok());
            Ok(value!({ "models": models.collect::<Vec<_>>() }))
        }
        (&Method::GET, ["models", name]) => Ok(described(doors, name)?),
        (&Method::POST, ["models", name, "load"]) => {
            carry_out(&doors.server, (*name).to_owned(), Order::Load).await?;
            Ok(described(doors, name)?)
        }
        (&Method::POST, ["models", name, "unload"]) => {
            carry_out(&doors.server, (*name).to_owned(), Order::Unload).await?;
            Ok(described(doors, name)?)
        }
        (&Method::GET, ["models", name, "rollout"]) => Ok(written(&registry.rollout(name)?)?),
        (&Method::PUT | &Method::PATCH, ["models", name, "rollout"]) => {
            let given = read(doors, head, body).await?;
            change(doors, name, given, head.method == Method::PATCH).await
        }
        (&Method::POST, ["reload"]) => {
            let server = Arc::clone(&doors.server);
            blocking(move || server.registry().poll()).await?;
            Ok(value!({ "reloaded": true }))
        }
        _ => Err(not_found()),
    }
}

fn not_found() -> Failure {
    let message = "there is no such order; hint: the paths are /admin/v1/models and what is below";
    Failure::new(StatusCode::NOT_FOUND, Code::NotFound, message)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ServeError::new(Code::Internal, error.to_string()))
}

async fn read(doors: &Doors, head: &request::Parts, body: Incoming) -> Result<Value, Failure> {
    let encoding = text(&head.headers, CONTENT_ENCODING.as_str());
    let received = Received::read(body, encoding, &doors.options.limits).await?;
    let wrong = |error: serde_json::Error| ServeError::invalid(format!("the body: {error}"));
    Ok(serde_json::from_slice(&received.bytes).map_err(wrong)?)
}

/// A model with its versions and its rollout.
fn described(doors: &Doors, name: &str) -> Result<Value> {
    let registry = doors.server.registry();
    let version = |status: &VersionStatus| {
        let error = status.error.as_ref().map(|error| &error.message);
        value!({
            "version": status.version,
            "state": status.state.label(),
            "error": error,
        })
    };
    let versions: Vec<Value> = registry.status(name)?.iter().map(version).collect();
    Ok(value!({
        "name": name,
        "versions": versions,
        "rollout": written(&registry.rollout(name)?)?,
    }))
}

fn written(rollout: &Rollout) -> Result<Value> {
    let written = serde_json::to_value(rollout);
    written.map_err(|error| ServeError::new(Code::Internal, error.to_string()))
}

/// Changes how a model's requests are shared out; of a patch, what is not given stays.
async fn change(
    doors: &Arc<Doors>,
    name: &str,
    given: Value,
    is_patch: bool,
) -> Result<Value, Failure> {
    let Value::Object(given) = given else {
        return Err(ServeError::invalid("a rollout is an object").into());
    };
    let mut all = match (is_patch, written(&doors.server.registry().rollout(name)?)?) {
        (true, Value::Object(now)) => now,
        _ => serde_json::Map::new(),
    };
    all.extend(given);
    let wrong = |error: serde_json::Error| ServeError::invalid(format!("the rollout: {error}"));
    let rollout: Rollout = serde_json::from_value(Value::Object(all)).map_err(wrong)?;
    let (server, name) = (Arc::clone(&doors.server), name.to_owned());
    let changed = blocking(move || {
        server.registry().set_rollout(&name, rollout)?;
        server.registry().rollout(&name)
    });
    Ok(written(&changed.await??)?)
}
