//! `grpc.health.v1`: whether the server, one of its services or a model answers.

use std::time::Duration;

use hyper::body::Frame;
use sardonyx_wire::proto::health::{HealthCheckRequest, HealthCheckResponse, ServingStatus};

use super::super::Doors;
use super::super::answer::Answer;
use super::super::listen::Body;
use super::{Call, SERVICES, frame};
use crate::error::{Code, Result, ServeError};
use crate::metrics::VersionState;

pub(super) const SERVICE: &str = "grpc.health.v1.Health";

/// How often a watched state is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

pub(super) async fn method(call: Call<'_>, method: &str) -> Result<Option<Answer>> {
    match method {
        "Check" => check(call).await.map(Some),
        "Watch" => watch(call).await.map(Some),
        _ => Ok(None),
    }
}

async fn check(mut call: Call<'_>) -> Result<Answer> {
    let asked: HealthCheckRequest = call.read().await?;
    match status(call.doors, &asked.service) {
        ServingStatus::ServiceUnknown => {
            let message = format!("there is no service or model '{}'", asked.service);
            Err(ServeError::new(Code::NotFound, message))
        }
        known => call.reply(&answer(known)),
    }
}

/// The state now and whenever it changes, until the client leaves or the server stops.
async fn watch(mut call: Call<'_>) -> Result<Answer> {
    let asked: HealthCheckRequest = call.read().await?;
    let (sender, body) = Body::stream(4);
    let answer_head = frame::head(body, call.packing);
    let (doors, packing) = (std::sync::Arc::clone(call.doors), call.packing);
    tokio::spawn(async move {
        let mut stop = doors.stop.clone();
        let mut told = None;
        loop {
            let now = status(&doors, &asked.service);
            if told != Some(now)
                && let Ok(bytes) = frame::framed(&answer(now), packing)
                && sender.send(Frame::data(bytes)).await.is_err()
            {
                return;
            }
            told = Some(now);
            if *stop.borrow_and_update() {
                let error = ServeError::new(Code::Unavailable, "the server stops");
                // Whoever has left needs no end.
                let _ = sender
                    .send(Frame::trailers(frame::trailers(Err(&error))))
                    .await;
                return;
            }
            tokio::select! {
                () = sender.closed() => return,
                _ = stop.changed() => {}
                () = tokio::time::sleep(LOOK_PERIOD) => {}
            }
        }
    });
    Ok(answer_head)
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status as i32,
    }
}

fn status(doors: &Doors, service: &str) -> ServingStatus {
    let is_serving = if service.is_empty() || SERVICES.contains(&service) {
        doors.is_ready()
    } else {
        let Ok(versions) = doors.server.registry().status(service) else {
            return ServingStatus::ServiceUnknown;
        };
        let is_ready = |state| state == VersionState::Available;
        !*doors.stop.borrow() && versions.iter().any(|version| is_ready(version.state))
    };
    if is_serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}
