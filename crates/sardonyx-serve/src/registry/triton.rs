//! Triton's `config.pbtxt` beside the versions of a model.
//!
//! It is read when versions are loaded. What the server was told itself goes before it. What it
//! asks for and cannot be had fails the load where answers would differ, else it is told.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use sardonyx_wire::proto::model_config::{
    DataType, ModelConfig as Wanted, ModelDynamicBatching, SchedulingChoice, VersionPolicyChoice,
    WarmupData,
};
use sardonyx_wire::text::model_config;
use sardonyx_wire::{TensorSpec, kserve};

use super::model::ModelConfig;
use super::source::VersionPolicy;
use crate::batch::BatchOptions;
use crate::error::{Code, Result, ServeError};
use crate::signature::Signature;

/// The file's name.
pub(super) const FILE: &str = "config.pbtxt";

/// What the file says.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    wanted: Wanted,
    /// What it asks for and is not done.
    pub(super) notes: Vec<String>,
}

impl Beside {
    /// What lies beside the versions of `config`, and is applied to it; None where nothing does.
    ///
    /// # Errors
    /// When the file is wrong or asks for what there is not.
    pub(super) fn apply(config: &mut ModelConfig) -> Result<Option<Beside>> {
        let path = config.path.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(&path, &error)),
        };
        let wanted = model_config(&text).map_err(|error| failed(&path, &error))?;
        refuse(&wanted, &config.name).map_err(|message| failed(&path, &message))?;
        let mut beside = Beside {
            wanted,
            notes: Vec::new(),
        };
        beside
            .change(config)
            .map_err(|message| failed(&path, &message))?;
        beside.note();
        for note in &mut beside.notes {
            *note = format!("{}: {note}", path.display());
        }
        Ok(Some(beside))
    }

    /// Changes what the server was not told itself.
    fn change(&self, config: &mut ModelConfig) -> Result<(), String> {
        let wanted = &self.wanted;
        let usual = BatchOptions::default();
        let largest = usize::try_from(wanted.max_batch_size)
            .map_err(|_| "max_batch_size is negative".to_owned())?;
        let batch = &mut config.batch;
        if batch.max_batch_size == usual.max_batch_size {
            batch.max_batch_size = largest.max(1);
        }
        if let Some(SchedulingChoice::DynamicBatching(dynamic)) = &wanted.scheduling_choice {
            if batch.max_delay == usual.max_delay {
                batch.max_delay = Duration::from_micros(dynamic.max_queue_delay_microseconds);
            }
            let policy = dynamic.default_queue_policy.as_ref();
            let most = policy.map_or(0, |policy| policy.max_queue_size as usize);
            if most > 0 && batch.max_queue == usual.max_queue {
                batch.max_queue = most;
            }
        }
        let count = wanted
            .instance_group
            .iter()
            .map(|group| group.count.max(0))
            .sum::<i32>();
        if config.lanes == 0 {
            config.lanes = usize::try_from(count).unwrap_or(0);
        }
        let policy = wanted.version_policy.as_ref();
        if let Some(choice) = policy.and_then(|policy| policy.policy_choice.as_ref())
            && config.policy == VersionPolicy::default()
        {
            config.policy = match choice {
                VersionPolicyChoice::Latest(latest) => {
                    VersionPolicy::Latest(latest.num_versions.max(1) as usize)
                }
                VersionPolicyChoice::All(_) => VersionPolicy::All,
                VersionPolicyChoice::Specific(specific) => {
                    let numbers = specific
                        .versions
                        .iter()
                        .map(|&version| u64::try_from(version));
                    let numbers: Result<_, _> = numbers.collect();
                    VersionPolicy::Specific(numbers.map_err(|_| "a version is negative")?)
                }
            };
        }
        Ok(())
    }

    /// Notes what is asked for and not done.
    fn note(&mut self) {
        let wanted = &self.wanted;
        let usual = ModelDynamicBatching::default();
        let dynamic = match &wanted.scheduling_choice {
            Some(SchedulingChoice::DynamicBatching(dynamic)) => dynamic,
            _ => &usual,
        };
        let policies = dynamic.default_queue_policy.iter();
        let mut policies = policies.chain(dynamic.priority_queue_policy.values());
        let is_read =
            |data: &Option<WarmupData>| matches!(data, Some(WarmupData::InputDataFile(_)));
        let mut warmups = wanted
            .model_warmup
            .iter()
            .flat_map(|one| one.inputs.values());
        let labels = wanted
            .output
            .iter()
            .any(|output| !output.label_filename.is_empty());
        for (is_asked, name, why) in [
            (
                !dynamic.preferred_batch_size.is_empty(),
                "dynamic_batching.preferred_batch_size",
                "no batch waits for a size",
            ),
            (
                dynamic.preserve_ordering,
                "dynamic_batching.preserve_ordering",
                "answers go out as they come",
            ),
            (
                dynamic.default_priority_level > 0,
                "dynamic_batching.default_priority_level",
                "requests that name no priority go first",
            ),
            (
                !dynamic.priority_queue_policy.is_empty(),
                "dynamic_batching.priority_queue_policy",
                "one queue is for all priorities",
            ),
            (
                policies.any(|policy| policy.default_timeout_microseconds > 0),
                "default_timeout_microseconds",
                "clients say how long they wait",
            ),
            (
                warmups.any(|input| is_read(&input.input_data_type)),
                "model_warmup.input_data_file",
                "requests for warm-up are in warmup.jsonl beside the model",
            ),
            (
                wanted.response_cache.is_some_and(|cache| cache.enable),
                "response_cache",
                "the cache is the whole server's, cache_mb",
            ),
            (
                labels,
                "output.label_filename",
                "names of classes are in the model's metadata",
            ),
        ] {
            if is_asked {
                self.notes.push(format!("{name} is not used: {why}"));
            }
        }
    }

    /// Compares the inputs and outputs that the file tells with those of the model.
    ///
    /// # Errors
    /// When the model has another.
    pub(super) fn check(&self, signature: &Signature) -> Result<()> {
        let skip = usize::from(self.wanted.max_batch_size > 0);
        let inputs = self.wanted.input.iter();
        let inputs = inputs.map(|one| (&one.name, one.data_type, &one.dims));
        let outputs = self.wanted.output.iter();
        let outputs = outputs.map(|one| (&one.name, one.data_type, &one.dims));
        for (kind, told, specs) in [
            ("input", inputs.collect::<Vec<_>>(), &signature.inputs),
            ("output", outputs.collect(), &signature.outputs),
        ] {
            for (name, dtype, dims) in told {
                let wrong = |message: String| {
                    let message = format!("{FILE}: {kind} '{name}': {message}");
                    ServeError::new(Code::FailedPrecondition, message)
                };
                let spec = specs.iter().find(|spec| spec.name == *name);
                let spec =
                    spec.ok_or_else(|| wrong("the model has none of this name".to_owned()))?;
                fits(spec, dtype, dims, skip).map_err(wrong)?;
            }
        }
        Ok(())
    }
}

/// Whether an input or output is as it is told; `skip` dimensions are the batch.
fn fits(spec: &TensorSpec, dtype: i32, dims: &[i64], skip: usize) -> Result<(), String> {
    let told = DataType::try_from(dtype).unwrap_or(DataType::Invalid);
    let name = match told {
        DataType::String => "BYTES".to_owned(),
        other => format!("{other:?}").to_uppercase(),
    };
    if told != DataType::Invalid && kserve::dtype_of(&name) != Some(spec.dtype) {
        return Err(format!(
            "data_type is {name}, the model's is {}",
            kserve::datatype(spec.dtype)
        ));
    }
    let own = spec.dims.get(skip..).unwrap_or_default();
    let fits = |(&told, own): (&i64, &Option<usize>)| {
        told < 0 || own.is_none_or(|own| i64::try_from(own) == Ok(told))
    };
    if own.len() != dims.len() || !dims.iter().zip(own).all(fits) {
        let own: Vec<String> = own
            .iter()
            .map(|dim| dim.map_or("-1".to_owned(), |dim| dim.to_string()))
            .collect();
        return Err(format!(
            "dims are {dims:?}, the model's are [{}]",
            own.join(", ")
        ));
    }
    Ok(())
}

/// What cannot be had and would change answers.
fn refuse(wanted: &Wanted, name: &str) -> Result<(), String> {
    if !wanted.name.is_empty() && wanted.name != name {
        let message = format!("name is '{}', the model's is '{name}'", wanted.name);
        return Err(message);
    }
    let is_of_onnx = |text: &str| text.is_empty() || text.starts_with("onnxruntime");
    let decoupled = wanted
        .model_transaction_policy
        .is_some_and(|policy| policy.decoupled);
    let inputs = &wanted.input;
    let scheduling = &wanted.scheduling_choice;
    for (is_asked, what) in [
        (
            !is_of_onnx(&wanted.platform),
            "platform: only onnxruntime_onnx is served",
        ),
        (
            !is_of_onnx(&wanted.backend),
            "backend: only onnxruntime is served",
        ),
        (
            matches!(scheduling, Some(SchedulingChoice::SequenceBatching(_))),
            "sequence_batching is not supported: models keep no state between requests",
        ),
        (
            matches!(scheduling, Some(SchedulingChoice::EnsembleScheduling(_))),
            "ensemble_scheduling is not supported; hint: join the models into one ONNX file",
        ),
        (
            decoupled,
            "model_transaction_policy.decoupled is not supported",
        ),
        (
            inputs.iter().any(|input| input.reshape.is_some())
                || wanted.output.iter().any(|output| output.reshape.is_some()),
            "reshape is not supported; hint: give the dims that the model itself has",
        ),
        (
            inputs.iter().any(|input| input.allow_ragged_batch),
            "input.allow_ragged_batch is not supported",
        ),
        (
            inputs.iter().any(|input| input.is_shape_tensor),
            "input.is_shape_tensor is not supported",
        ),
    ] {
        if is_asked {
            return Err(what.to_owned());
        }
    }
    Ok(())
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> ServeError {
    let message = format!("{}: {error}", path.display());
    ServeError::new(Code::FailedPrecondition, message)
}

#[cfg(test)]
mod tests {
    use sardonyx_tensor::DType;

    use super::*;

    fn read(text: &str) -> Result<(ModelConfig, Beside), String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), text).expect("written");
        let mut config = ModelConfig::new("m", folder.path());
        let beside = Beside::apply(&mut config).map_err(|error| error.message)?;
        Ok((config, beside.expect("a file")))
    }

    #[test]
    fn what_it_says_is_done_or_told() {
        let text = r#"name: "m" platform: "onnxruntime_onnx" max_batch_size: 16
            dynamic_batching {
                preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100
                default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 5 }
            }
            version_policy: { specific: { versions: [ 1, 3 ] } }
            instance_group [ { count: 2 kind: KIND_CPU } ]"#;
        let (config, beside) = read(text).expect("valid");
        assert_eq!(
            (config.batch.max_batch_size, config.batch.max_queue),
            (16, 7)
        );
        assert_eq!(config.batch.max_delay, Duration::from_micros(100));
        assert_eq!(
            (config.lanes, config.policy),
            (2, VersionPolicy::Specific(vec![1, 3]))
        );
        assert_eq!(beside.notes.len(), 2, "{:?}", beside.notes);
        assert!(beside.notes[0].contains("preferred_batch_size"));
        let (config, _) = read("max_batch_size: 0").expect("valid");
        assert_eq!(config.batch.max_batch_size, 1, "nothing is batched");
    }

    #[test]
    fn what_the_server_was_told_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "max_batch_size: 16").expect("written");
        let mut config = ModelConfig::new("m", folder.path());
        config.batch.max_batch_size = 4;
        Beside::apply(&mut config).expect("valid");
        assert_eq!(config.batch.max_batch_size, 4);
        let mut without = ModelConfig::new("m", folder.path().join("model.onnx"));
        assert!(Beside::apply(&mut without).expect("no file").is_none());
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for (text, expected) in [
            ("name: 'other'", "name is 'other'"),
            ("platform: 'tensorflow_savedmodel'", "platform"),
            ("sequence_batching { }", "sequence_batching"),
            ("ensemble_scheduling { }", "ensemble_scheduling"),
            ("input { name: 'x' reshape { shape: [ 1 ] } }", "reshape"),
            ("max_batch_size: -1", "max_batch_size"),
            ("max_bach_size: 1", "max_bach_size"),
        ] {
            let message = read(text).expect_err("it is wrong");
            assert!(
                message.contains(expected) && message.contains(FILE),
                "{message}"
            );
        }
    }

    #[test]
    fn inputs_and_outputs_are_those_of_the_model() {
        let signature = Signature {
            inputs: vec![TensorSpec::new("x", DType::F32, vec![None, Some(2)])],
            outputs: Vec::new(),
            is_batched: true,
            classes: None,
            image: None,
        };
        let check = |input: &str| {
            let (_, beside) = read(&format!("max_batch_size: 8 input {{ {input} }}"))?;
            beside.check(&signature).map_err(|error| error.message)
        };
        check("name: 'x' data_type: TYPE_FP32 dims: [ 2 ]").expect("as it is");
        check("name: 'x' data_type: TYPE_FP32 dims: [ -1 ]").expect("any size");
        for (input, expected) in [
            ("name: 'y' data_type: TYPE_FP32 dims: [ 2 ]", "input 'y'"),
            ("name: 'x' data_type: TYPE_INT64 dims: [ 2 ]", "INT64"),
            ("name: 'x' data_type: TYPE_FP32 dims: [ 3 ]", "[3]"),
            ("name: 'x' data_type: TYPE_FP32 dims: [ 1, 2 ]", "[1, 2]"),
        ] {
            let message = check(input).expect_err("it is wrong");
            assert!(message.contains(expected), "{message}");
        }
    }
}
