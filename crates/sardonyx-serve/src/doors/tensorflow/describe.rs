//! What TensorFlow Serving tells of a model: its signatures and how its versions are.

use std::collections::BTreeMap;

use sardonyx_wire::proto::serving::{
    GetModelStatusResponse, ModelSpec, ModelVersionStatus, SignatureDefMap, State, StatusProto,
    VersionChoice,
};
use sardonyx_wire::proto::well_known::Int64Value;
use sardonyx_wire::tensorflow::{
    DEFAULT_SIGNATURE, PREDICT_METHOD, Target as Named, VersionSelector, encode_metadata,
    encode_status, signature_def,
};

use super::super::Doors;
use crate::error::{Code, Result, ServeError};
use crate::metrics::VersionState;
use crate::registry::{Selector, VersionStatus};
use crate::servable::Servable;

/// The model that answered, with its version.
pub(super) fn model_spec(servable: &Servable, signature: &str) -> ModelSpec {
    let value = i64::try_from(servable.version()).unwrap_or(i64::MAX);
    ModelSpec {
        name: servable.name().to_owned(),
        version_choice: Some(VersionChoice::Version(Int64Value { value })),
        signature_name: signature.to_owned(),
    }
}

/// The signatures of a model.
pub(super) fn signatures(servable: &Servable) -> SignatureDefMap {
    let signature = servable.signature();
    let predict = signature_def(PREDICT_METHOD, &signature.inputs, &signature.outputs);
    SignatureDefMap {
        signature_def: BTreeMap::from([(DEFAULT_SIGNATURE.to_owned(), predict)]),
    }
}

/// Body of `GET /v1/models/M/metadata`.
pub(super) fn metadata_json(servable: &Servable) -> Vec<u8> {
    encode_metadata(&model_spec(servable, ""), &signatures(servable))
}

/// Body of `GET /v1/models/M`.
///
/// # Errors
/// As [`status`].
pub(super) fn status_json(doors: &Doors, named: &Named) -> Result<Vec<u8>> {
    Ok(encode_status(&status(doors, named)?))
}

/// How the versions that are named are.
///
/// # Errors
/// [`Code::NotFound`] when there is none.
pub(super) fn status(doors: &Doors, named: &Named) -> Result<GetModelStatusResponse> {
    let registry = doors.server.registry();
    let mut versions = registry.status(&named.model)?;
    let wanted = match &named.version {
        VersionSelector::Latest => None,
        VersionSelector::Number(0) if versions.iter().all(|status| status.version != 0) => None,
        VersionSelector::Number(number) => Some(*number),
        VersionSelector::Label(label) => {
            let labelled = Selector::Label(label.clone());
            let target = registry.resolve(&named.model, &labelled, None)?;
            Some(i64::try_from(target.servable.version()).unwrap_or(i64::MAX))
        }
    };
    if let Some(wanted) = wanted {
        versions.retain(|status| i64::try_from(status.version) == Ok(wanted));
        if versions.is_empty() {
            let message = format!("Could not find version {wanted} of model {}", named.model);
            return Err(ServeError::new(Code::NotFound, message));
        }
    }
    // TensorFlow Serving tells of the newest first.
    versions.sort_by_key(|status| std::cmp::Reverse(status.version));
    Ok(GetModelStatusResponse {
        model_version_status: versions.iter().map(version_status).collect(),
    })
}

fn version_status(status: &VersionStatus) -> ModelVersionStatus {
    let state = match status.state {
        VersionState::Start => State::Start,
        VersionState::Loading => State::Loading,
        VersionState::Available => State::Available,
        VersionState::Unloading => State::Unloading,
        VersionState::End => State::End,
    };
    let error = status.error.as_ref();
    ModelVersionStatus {
        version: i64::try_from(status.version).unwrap_or(i64::MAX),
        state: state as i32,
        status: Some(StatusProto {
            error_code: error.map_or(0, |error| error.grpc_code()),
            error_message: error.map_or(String::new(), |error| error.message.clone()),
        }),
    }
}

/// Body of `GET /v1/models`, which TensorFlow Serving refuses: every model with its versions.
///
/// # Errors
/// When the list cannot be written.
pub(super) fn list_json(doors: &Doors) -> Result<Vec<u8>> {
    let registry = doors.server.registry();
    let models: Vec<_> = registry
        .names()
        .into_iter()
        .map(|name| {
            let versions = registry.status(&name).unwrap_or_default();
            let versions: Vec<_> = versions
                .iter()
                .map(|status| {
                    serde_json::json!({
                        "version": status.version.to_string(),
                        "state": status.state.label(),
                    })
                })
                .collect();
            serde_json::json!({ "name": name, "versions": versions })
        })
        .collect();
    serde_json::to_vec_pretty(&serde_json::json!({ "models": models }))
        .map_err(|error| ServeError::new(Code::Internal, error.to_string()))
}
