//! What KServe and Triton tell of the server and its models.

use std::collections::BTreeMap;
use std::time::Duration;

use sardonyx_tensor::DType;
use sardonyx_wire::TensorSpec;
use sardonyx_wire::kserve::{EXTENSIONS, datatype};
use sardonyx_wire::proto::administration::ModelIndex;
use sardonyx_wire::proto::inference::{
    ModelMetadataResponse, ServerMetadataResponse, TensorMetadata,
};
use sardonyx_wire::proto::model_config::{
    DataType, InstanceKind, Latest, ModelConfig, ModelDynamicBatching, ModelInput,
    ModelInstanceGroup, ModelOutput, ModelParameter, ModelVersionPolicy, SchedulingChoice,
    VersionPolicyChoice,
};
use sardonyx_wire::proto::statistics::{
    InferStatistics, ModelStatistics, ModelStatisticsResponse, StatisticDuration,
};

use super::super::Doors;
use crate::error::Result;
use crate::metrics::{ModelMetrics, VersionState};
use crate::registry::VersionStatus;
use crate::servable::Servable;

/// What Triton's clients expect for an ONNX model.
const PLATFORM: &str = "onnxruntime_onnx";

/// `GET /v2`.
pub(super) fn server() -> ServerMetadataResponse {
    // Sequences are not kept together here, so that extension is not claimed.
    let kept = EXTENSIONS.iter().filter(|name| **name != "sequence");
    ServerMetadataResponse {
        name: "sardonyx".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: kept.map(|name| (*name).to_owned()).collect(),
    }
}

/// `GET /v2/models/M`.
pub(super) fn metadata(doors: &Doors, servable: &Servable) -> ModelMetadataResponse {
    let versions = doors.server.registry().status(servable.name());
    let ready = versions.unwrap_or_default().into_iter();
    let ready = ready.filter(|status| status.state == VersionState::Available);
    let tensors = |specs: &[TensorSpec]| specs.iter().map(tensor).collect();
    ModelMetadataResponse {
        name: servable.name().to_owned(),
        versions: ready.map(|status| status.version.to_string()).collect(),
        platform: PLATFORM.to_owned(),
        inputs: tensors(&servable.signature().inputs),
        outputs: tensors(&servable.signature().outputs),
    }
}

fn tensor(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata {
        name: spec.name.clone(),
        datatype: datatype(spec.dtype).to_owned(),
        shape: spec.wire_dims(),
    }
}

/// `GET /v2/models/M/config`. Triton leaves the batch dimension out where a model batches.
pub(super) fn config(servable: &Servable) -> ModelConfig {
    let (signature, batch) = (servable.signature(), servable.batch_options());
    let skip = usize::from(signature.is_batched);
    let dims = |spec: &TensorSpec| spec.wire_dims().split_off(skip.min(spec.dims.len()));
    let most = i32::try_from(batch.max_batch_size).unwrap_or(i32::MAX);
    let batching = ModelDynamicBatching {
        preferred_batch_size: vec![most],
        max_queue_delay_microseconds: microseconds(batch.max_delay),
        ..ModelDynamicBatching::default()
    };
    let inputs = signature.inputs.iter().map(|spec| ModelInput {
        name: spec.name.clone(),
        data_type: data_type(spec.dtype) as i32,
        dims: dims(spec),
        ..ModelInput::default()
    });
    let outputs = signature.outputs.iter().map(|spec| ModelOutput {
        name: spec.name.clone(),
        data_type: data_type(spec.dtype) as i32,
        dims: dims(spec),
        ..ModelOutput::default()
    });
    ModelConfig {
        name: servable.name().to_owned(),
        platform: PLATFORM.to_owned(),
        backend: "sardonyx".to_owned(),
        version_policy: Some(ModelVersionPolicy {
            policy_choice: Some(VersionPolicyChoice::Latest(Latest { num_versions: 1 })),
        }),
        max_batch_size: if signature.is_batched { most } else { 0 },
        input: inputs.collect(),
        output: outputs.collect(),
        scheduling_choice: (signature.is_batched)
            .then_some(SchedulingChoice::DynamicBatching(batching)),
        instance_group: vec![ModelInstanceGroup {
            name: format!("{}_0", servable.name()),
            kind: InstanceKind::Cpu as i32,
            count: 1,
            ..ModelInstanceGroup::default()
        }],
        default_model_filename: "model.onnx".to_owned(),
        parameters: parameters(servable),
        ..ModelConfig::default()
    }
}

fn parameters(servable: &Servable) -> BTreeMap<String, ModelParameter> {
    let classes = servable.signature().classes.as_ref();
    let classes = classes.map(|classes| {
        let string_value = classes.join(",");
        ("classes".to_owned(), ModelParameter { string_value })
    });
    classes.into_iter().collect()
}

fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Fp32,
        DType::F64 => DataType::Fp64,
        DType::F16 => DataType::Fp16,
        DType::Bf16 => DataType::Bf16,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::U8 => DataType::Uint8,
        DType::U16 => DataType::Uint16,
        DType::U32 => DataType::Uint32,
        DType::U64 => DataType::Uint64,
        DType::Bool => DataType::Bool,
        DType::String => DataType::String,
    }
}

/// `GET /v2/models/M/stats`; all models without a name, all versions without a number.
///
/// # Errors
/// When there is no such model.
pub(super) fn statistics(
    doors: &Doors,
    model: &str,
    version: Option<u64>,
) -> Result<ModelStatisticsResponse> {
    if !model.is_empty() {
        doors
            .server
            .registry()
            .status(model)
            .map_err(|_| super::unknown_model(model, ""))?;
    }
    let all = doors.metrics().models();
    let asked = all.iter().filter(|metrics| {
        (model.is_empty() || metrics.model() == model)
            && version.is_none_or(|version| metrics.version() == version)
            && metrics.state() == VersionState::Available
    });
    Ok(ModelStatisticsResponse {
        model_stats: asked.map(|metrics| of_version(metrics)).collect(),
    })
}

fn of_version(metrics: &ModelMetrics) -> ModelStatistics {
    let totals = metrics.totals();
    let pair = |(count, time): (u64, Duration)| {
        Some(StatisticDuration {
            count,
            ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        })
    };
    ModelStatistics {
        name: metrics.model().to_owned(),
        version: metrics.version().to_string(),
        inference_count: totals.rows,
        execution_count: totals.batches,
        inference_stats: Some(InferStatistics {
            success: pair((totals.success, totals.request_time)),
            fail: pair((totals.failure, Duration::ZERO)),
            queue: pair(totals.queue),
            compute_input: pair(totals.parse),
            compute_infer: pair(totals.compute),
            compute_output: pair(totals.serialise),
            cache_hit: pair((totals.cache_hits, Duration::ZERO)),
            cache_miss: pair((totals.cache_misses, Duration::ZERO)),
        }),
        ..ModelStatistics::default()
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The index of the repository: every version of every model and whether it answers.
pub(super) fn index(doors: &Doors, only_ready: bool) -> Vec<ModelIndex> {
    let registry = doors.server.registry();
    let names = registry.names().into_iter();
    let all = names.flat_map(|name| {
        let versions = registry.status(&name).unwrap_or_default();
        versions
            .iter()
            .map(|status| index_entry(&name, status))
            .collect::<Vec<_>>()
    });
    all.filter(|entry| !only_ready || entry.state == "READY")
        .collect()
}

fn index_entry(name: &str, status: &VersionStatus) -> ModelIndex {
    let (state, reason) = match status.state {
        VersionState::Start | VersionState::Loading => ("LOADING", String::new()),
        VersionState::Available => ("READY", String::new()),
        VersionState::Unloading => ("UNLOADING", String::new()),
        VersionState::End => {
            let error = status.error.as_ref().map(|error| error.message.clone());
            (
                "UNAVAILABLE",
                error.unwrap_or_else(|| "unloaded".to_owned()),
            )
        }
    };
    ModelIndex {
        name: name.to_owned(),
        version: status.version.to_string(),
        state: state.to_owned(),
        reason,
    }
}
