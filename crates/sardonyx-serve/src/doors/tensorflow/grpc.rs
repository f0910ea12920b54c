//! `PredictionService` and `ModelService` of TensorFlow Serving.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_tensor::Tensor;
use sardonyx_wire::proto::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest,
    GetModelMetadataResponse, GetModelStatusRequest, GetModelStatusResponse, InferenceResult,
    InferenceTask, Input, ModelSpec, MultiInferenceRequest, MultiInferenceResponse, PredictRequest,
    PredictResponse, RegressionRequest, RegressionResponse, ReloadConfigRequest,
    ReloadConfigResponse, SignatureDefMap, StatusProto, TaskResult, VersionChoice,
};
use sardonyx_wire::proto::well_known::Any;
use sardonyx_wire::tensorflow::{
    CLASSIFY_METHOD, DEFAULT_SIGNATURE, Encoding, REGRESS_METHOD, Target as Named, VersionSelector,
    bind_tensors, tensor_to_proto,
};

use super::super::Doors;
use super::super::auth::Verb as Right;
use super::super::exchange::Exchange;
use super::super::run::{Kind, Question, run};
use super::{describe, is_signature, reload, resolve, tasks};
use crate::error::{Code, Result, ServeError};
use crate::metrics::{Door, Verb};
use crate::registry::Target;
use crate::servable::Servable;

const DOOR: Door = Door::TensorflowGrpc;

/// The model that a request names.
fn named(spec: Option<ModelSpec>) -> Result<(Named, String)> {
    let spec = spec.ok_or_else(|| ServeError::invalid("Missing ModelSpec"))?;
    if spec.name.is_empty() {
        return Err(ServeError::invalid("ModelSpec has no name"));
    }
    let version = match spec.version_choice {
        None => VersionSelector::Latest,
        Some(VersionChoice::Version(number)) => VersionSelector::Number(number.value),
        Some(VersionChoice::VersionLabel(label)) => VersionSelector::Label(label),
    };
    let model = spec.name;
    Ok((Named { model, version }, spec.signature_name))
}

/// The version that a request is for, after its right to it was checked.
fn admitted(
    doors: &Doors,
    exchange: &Exchange,
    right: Right,
    spec: Option<ModelSpec>,
) -> Result<Target> {
    let (named, signature) = named(spec)?;
    exchange.authorise(right, Some(&named.model))?;
    let target = resolve(doors, exchange, DOOR, (&named.model, &named.version))?;
    if is_signature(&signature) {
        return Ok(target);
    }
    let message = format!("Serving signature key \"{signature}\" not found.");
    Err(ServeError::new(Code::FailedPrecondition, message))
}

fn kind(verb: Verb, exchange: &Exchange) -> Kind {
    Kind {
        door: DOOR,
        verb,
        bytes: exchange.body_bytes,
    }
}

/// `Predict`.
pub(in crate::doors) async fn predict(
    doors: &Doors,
    exchange: &Exchange,
    request: PredictRequest,
) -> Result<PredictResponse> {
    let target = admitted(doors, exchange, Right::Infer, request.model_spec)?;
    let wanted = wanted_outputs(&target.servable, &request.output_filter)?;
    let encoding = if doors.options.has_raw_tensors {
        Encoding::Content
    } else {
        Encoding::Typed
    };
    let decode = |servable: &Servable| {
        let named = bind_tensors(request.inputs, &servable.signature().inputs)?;
        let named = named.into_iter();
        let inputs = servable.bind(named.map(|(name, value)| (Cow::Owned(name), value)))?;
        Ok(Question::new(inputs, ()))
    };
    let encode = |(), outputs: &[Tensor]| {
        let specs = &target.servable.signature().outputs;
        let one = |&index: &usize| {
            let proto = tensor_to_proto(&outputs[index], encoding);
            (specs[index].name.clone(), proto)
        };
        Ok(PredictResponse {
            model_spec: Some(describe::model_spec(&target.servable, DEFAULT_SIGNATURE)),
            outputs: wanted.iter().map(one).collect(),
        })
    };
    let kind = kind(Verb::Predict, exchange);
    run(doors, exchange, (&target, kind), decode, encode).await
}

/// Indices of the outputs that a filter lets through; no filter lets all.
fn wanted_outputs(servable: &Servable, filter: &[String]) -> Result<Vec<usize>> {
    let signature = servable.signature();
    if filter.is_empty() {
        return Ok((0..signature.outputs.len()).collect());
    }
    let index = |name: &String| {
        signature.output_index(name).ok_or_else(|| {
            ServeError::invalid(format!(
                "output tensor alias not found in signature: {name}"
            ))
        })
    };
    let mut wanted: Vec<usize> = filter.iter().map(index).collect::<Result<_>>()?;
    wanted.sort_unstable();
    if wanted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ServeError::invalid("duplicate output tensor alias"));
    }
    Ok(wanted)
}

/// `Classify`.
pub(in crate::doors) async fn classify(
    doors: &Doors,
    exchange: &Exchange,
    request: ClassificationRequest,
) -> Result<ClassificationResponse> {
    let target = admitted(doors, exchange, Right::Infer, request.model_spec)?;
    let kind = kind(Verb::Classify, exchange);
    let result = run(
        doors,
        exchange,
        (&target, kind),
        |servable| examples(servable, request.input.as_ref()),
        |(), outputs| tasks::classification(&target.servable, outputs),
    );
    Ok(ClassificationResponse {
        result: Some(result.await?),
        model_spec: Some(describe::model_spec(&target.servable, DEFAULT_SIGNATURE)),
    })
}

/// `Regress`.
pub(in crate::doors) async fn regress(
    doors: &Doors,
    exchange: &Exchange,
    request: RegressionRequest,
) -> Result<RegressionResponse> {
    let target = admitted(doors, exchange, Right::Infer, request.model_spec)?;
    let kind = kind(Verb::Regress, exchange);
    let result = run(
        doors,
        exchange,
        (&target, kind),
        |servable| examples(servable, request.input.as_ref()),
        |(), outputs| tasks::regression(&target.servable, outputs),
    );
    Ok(RegressionResponse {
        result: Some(result.await?),
        model_spec: Some(describe::model_spec(&target.servable, DEFAULT_SIGNATURE)),
    })
}

fn examples(servable: &Servable, input: Option<&Input>) -> Result<Question<()>> {
    let input = input.ok_or_else(|| ServeError::invalid("Input is empty."))?;
    tasks::question(servable, input, &servable.signature().inputs)
}

/// Most tasks of one `MultiInference`.
const MAX_TASKS: usize = 64;

/// `MultiInference`: several tasks over one input, all of one model.
pub(in crate::doors) async fn multi_inference(
    doors: &Doors,
    exchange: &Exchange,
    request: MultiInferenceRequest,
) -> Result<MultiInferenceResponse> {
    check_tasks(&request.tasks)?;
    let mut results = Vec::with_capacity(request.tasks.len());
    for task in request.tasks {
        let target = admitted(doors, exchange, Right::Infer, task.model_spec)?;
        let is_classification = task.method_name == CLASSIFY_METHOD;
        let result = run(
            doors,
            exchange,
            (&target, kind(Verb::MultiInference, exchange)),
            |servable| examples(servable, request.input.as_ref()),
            |(), outputs| {
                let servable = &target.servable;
                Ok(if is_classification {
                    TaskResult::ClassificationResult(tasks::classification(servable, outputs)?)
                } else {
                    TaskResult::RegressionResult(tasks::regression(servable, outputs)?)
                })
            },
        );
        results.push(InferenceResult {
            result: Some(result.await?),
            model_spec: Some(describe::model_spec(&target.servable, DEFAULT_SIGNATURE)),
        });
    }
    Ok(MultiInferenceResponse { results })
}

fn check_tasks(tasks: &[InferenceTask]) -> Result<()> {
    if tasks.is_empty() || tasks.len() > MAX_TASKS {
        let message = format!(
            "there are {} tasks; 1 to {MAX_TASKS} are taken",
            tasks.len()
        );
        return Err(ServeError::invalid(message));
    }
    for task in tasks {
        if task.method_name != CLASSIFY_METHOD && task.method_name != REGRESS_METHOD {
            let message = format!("Unsupported signature method_name: {}", task.method_name);
            return Err(ServeError::new(Code::Unimplemented, message));
        }
    }
    let name = |task: &InferenceTask| task.model_spec.as_ref().map(|spec| spec.name.clone());
    if tasks.iter().any(|task| name(task) != name(&tasks[0])) {
        return Err(ServeError::invalid(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ));
    }
    Ok(())
}

/// `GetModelMetadata`.
pub(in crate::doors) fn metadata(
    doors: &Doors,
    exchange: &Exchange,
    request: GetModelMetadataRequest,
) -> Result<GetModelMetadataResponse> {
    if request.metadata_field.is_empty() {
        return Err(ServeError::invalid(
            "GetModelMetadataRequest must specify at least one metadata_field",
        ));
    }
    if let Some(other) = (request.metadata_field.iter()).find(|field| *field != "signature_def") {
        let message = format!("Metadata field {other} is not supported");
        return Err(ServeError::invalid(message));
    }
    let target = admitted(doors, exchange, Right::Metadata, request.model_spec)?;
    let signatures = describe::signatures(&target.servable);
    let packed = Any::pack(SignatureDefMap::TYPE_NAME, &signatures);
    Ok(GetModelMetadataResponse {
        model_spec: Some(describe::model_spec(&target.servable, "")),
        metadata: BTreeMap::from([("signature_def".to_owned(), packed)]),
    })
}

/// `GetModelStatus`.
pub(in crate::doors) fn status(
    doors: &Doors,
    exchange: &Exchange,
    request: GetModelStatusRequest,
) -> Result<GetModelStatusResponse> {
    let (named, _) = named(request.model_spec)?;
    exchange.authorise(Right::Metadata, Some(&named.model))?;
    describe::status(doors, &named)
}

/// `HandleReloadConfigRequest`. That it failed is told in the answer, as TensorFlow Serving does.
pub(in crate::doors) async fn reload_config(
    doors: &Arc<Doors>,
    exchange: &Exchange,
    request: ReloadConfigRequest,
) -> Result<ReloadConfigResponse> {
    exchange.authorise(Right::Repository, None)?;
    doors.repository_is_open()?;
    let doors = Arc::clone(doors);
    let reloading = tokio::task::spawn_blocking(move || reload::reload(&doors, request.config));
    let result = reloading
        .await
        .map_err(|error| ServeError::new(Code::Internal, error.to_string()))?;
    let error = result.err();
    Ok(ReloadConfigResponse {
        status: Some(StatusProto {
            error_code: error.as_ref().map_or(0, |error| error.grpc_code()),
            error_message: error.map_or(String::new(), |error| error.message),
        }),
    })
}
