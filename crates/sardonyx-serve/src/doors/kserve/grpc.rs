//! `GRPCInferenceService` of KServe v2 and Triton.

use std::collections::BTreeMap;

use sardonyx_tensor::Tensor;
use sardonyx_wire::kserve::{from_proto, to_proto};
use sardonyx_wire::proto::administration::{
    LogSettingChoice, LogSettingValue, LogSettings, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
    SharedMemoryStatusRequest, SystemSharedMemoryStatusResponse, TraceSettingRequest,
    TraceSettingResponse, TraceSettingValue,
};
use sardonyx_wire::proto::inference::{
    Empty, ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse,
    ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
    ServerLiveResponse, ServerMetadataResponse, ServerReadyResponse,
};
use sardonyx_wire::proto::statistics::{ModelStatisticsRequest, ModelStatisticsResponse};

use super::super::Doors;
use super::super::auth::Verb as Right;
use super::super::exchange::Exchange;
use super::super::run::{Kind, run};
use super::repository::{Order, carry_out};
use super::{describe, infer, resolve};
use crate::error::{Code, Result, ServeError};
use crate::metrics::{Door, Verb};
use crate::registry::Target;
use crate::servable::Servable;

const DOOR: Door = Door::KserveGrpc;

/// `ModelInfer`.
pub(in crate::doors) async fn infer(
    doors: &Doors,
    exchange: &Exchange,
    request: ModelInferRequest,
) -> Result<ModelInferResponse> {
    let named = (request.model_name.as_str(), request.model_version.as_str());
    exchange.authorise(Right::Infer, Some(named.0))?;
    let target = resolve(doors, exchange, DOOR, named)?;
    let decode = |servable: &Servable| infer::question(servable, from_proto(request)?);
    let encode = |wishes: infer::Wishes, outputs: &[Tensor]| {
        infer::answer(&target.servable, &wishes, outputs, |reply| {
            Ok(to_proto(reply))
        })
    };
    let kind = Kind {
        door: DOOR,
        verb: Verb::Infer,
        bytes: exchange.body_bytes,
    };
    run(doors, exchange, (&target, kind), decode, encode).await
}

/// `ServerLive`.
pub(in crate::doors) fn live() -> ServerLiveResponse {
    ServerLiveResponse { live: true }
}

/// `ServerReady`.
pub(in crate::doors) fn ready(doors: &Doors) -> ServerReadyResponse {
    ServerReadyResponse {
        ready: doors.is_ready(),
    }
}

/// `ServerMetadata`.
pub(in crate::doors) fn server(exchange: &Exchange) -> Result<ServerMetadataResponse> {
    exchange.authorise(Right::Metadata, None)?;
    Ok(describe::server())
}

fn described(doors: &Doors, exchange: &Exchange, named: (&str, &str)) -> Result<Target> {
    exchange.authorise(Right::Metadata, Some(named.0))?;
    resolve(doors, exchange, DOOR, named)
}

/// `ModelReady`.
pub(in crate::doors) fn model_ready(
    doors: &Doors,
    exchange: &Exchange,
    request: &ModelReadyRequest,
) -> Result<ModelReadyResponse> {
    let found = described(doors, exchange, (&request.name, &request.version));
    match found {
        Ok(_) => Ok(ModelReadyResponse { ready: true }),
        Err(error) if error.code == Code::NotFound => Ok(ModelReadyResponse { ready: false }),
        Err(error) => Err(error),
    }
}

/// `ModelMetadata`.
pub(in crate::doors) fn metadata(
    doors: &Doors,
    exchange: &Exchange,
    request: &ModelMetadataRequest,
) -> Result<ModelMetadataResponse> {
    let target = described(doors, exchange, (&request.name, &request.version))?;
    Ok(describe::metadata(doors, &target.servable))
}

/// `ModelConfig`.
pub(in crate::doors) fn config(
    doors: &Doors,
    exchange: &Exchange,
    request: &ModelConfigRequest,
) -> Result<ModelConfigResponse> {
    let target = described(doors, exchange, (&request.name, &request.version))?;
    Ok(ModelConfigResponse {
        config: Some(describe::config(&target.servable)),
    })
}

/// `ModelStatistics`.
pub(in crate::doors) fn statistics(
    doors: &Doors,
    exchange: &Exchange,
    request: &ModelStatisticsRequest,
) -> Result<ModelStatisticsResponse> {
    let model = Some(request.name.as_str()).filter(|name| !name.is_empty());
    exchange.authorise(Right::Metrics, model)?;
    let version = if request.version.is_empty() {
        None
    } else {
        let target = resolve(doors, exchange, DOOR, (&request.name, &request.version))?;
        Some(target.servable.version())
    };
    describe::statistics(doors, &request.name, version)
}

/// `RepositoryIndex`.
pub(in crate::doors) fn index(
    doors: &Doors,
    exchange: &Exchange,
    request: &RepositoryIndexRequest,
) -> Result<RepositoryIndexResponse> {
    exchange.authorise(Right::Metadata, None)?;
    Ok(RepositoryIndexResponse {
        models: describe::index(doors, request.ready),
    })
}

/// `RepositoryModelLoad`.
pub(in crate::doors) async fn load(
    doors: &Doors,
    exchange: &Exchange,
    request: RepositoryModelLoadRequest,
) -> Result<Empty> {
    exchange.authorise(Right::Repository, Some(&request.model_name))?;
    doors.repository_is_open()?;
    if !request.parameters.is_empty() {
        return Err(no_overrides());
    }
    carry_out(&doors.server, request.model_name, Order::Load).await?;
    Ok(Empty {})
}

/// Models are what their files are.
pub(super) fn no_overrides() -> ServeError {
    ServeError::new(
        Code::Unimplemented,
        "a load takes neither a configuration nor files; hint: put them into the repository",
    )
}

/// `RepositoryModelUnload`.
pub(in crate::doors) async fn unload(
    doors: &Doors,
    exchange: &Exchange,
    request: RepositoryModelUnloadRequest,
) -> Result<Empty> {
    exchange.authorise(Right::Repository, Some(&request.model_name))?;
    doors.repository_is_open()?;
    carry_out(&doors.server, request.model_name, Order::Unload).await?;
    Ok(Empty {})
}

/// `TraceSetting`, which can be read: traces are passed on, not written.
pub(in crate::doors) fn trace_setting(
    exchange: &Exchange,
    request: &TraceSettingRequest,
) -> Result<TraceSettingResponse> {
    exchange.authorise(Right::Metadata, None)?;
    if !request.settings.is_empty() {
        return Err(fixed("trace"));
    }
    let value = |value: &str| TraceSettingValue {
        value: vec![value.to_owned()],
    };
    let settings = super::rest::TRACE_SETTINGS.iter();
    Ok(TraceSettingResponse {
        settings: settings
            .map(|(name, setting)| ((*name).to_owned(), value(setting)))
            .collect(),
    })
}

/// `LogSettings`, which can be read.
pub(in crate::doors) fn log_settings(
    exchange: &Exchange,
    request: &LogSettings,
) -> Result<LogSettings> {
    exchange.authorise(Right::Metadata, None)?;
    if !request.settings.is_empty() {
        return Err(fixed("log"));
    }
    let value = |choice| LogSettingValue {
        parameter_choice: Some(choice),
    };
    let text = |text: &str| value(LogSettingChoice::StringParam(text.to_owned()));
    let yes = || value(LogSettingChoice::BoolParam(true));
    Ok(LogSettings {
        settings: BTreeMap::from([
            ("log_file".to_owned(), text("")),
            ("log_info".to_owned(), yes()),
            ("log_warning".to_owned(), yes()),
            ("log_error".to_owned(), yes()),
            (
                "log_verbose_level".to_owned(),
                value(LogSettingChoice::Uint32Param(0)),
            ),
            ("log_format".to_owned(), text("default")),
        ]),
    })
}

pub(super) fn fixed(what: &str) -> ServeError {
    let message = format!("{what} settings come from the configuration and cannot be changed here");
    ServeError::new(Code::Unimplemented, message)
}

/// `SystemSharedMemoryStatus` and `CudaSharedMemoryStatus`: there are no regions.
pub(in crate::doors) fn shared_memory(
    exchange: &Exchange,
    _request: &SharedMemoryStatusRequest,
) -> Result<SystemSharedMemoryStatusResponse> {
    exchange.authorise(Right::Metadata, None)?;
    Ok(SystemSharedMemoryStatusResponse::default())
}

/// That regions of shared memory cannot be registered.
pub(in crate::doors) fn no_regions() -> ServeError {
    let message = "regions of shared memory are not taken; hint: send tensors";
    ServeError::new(Code::Unimplemented, message)
}
