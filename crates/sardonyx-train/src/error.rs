use std::path::{Path, PathBuf};

/// What can go wrong in a training run outside the engine.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model cannot be trained, or run, as it is.
    #[error("the model cannot be used here: {reason}")]
    Model {
        /// Why not, with a hint.
        reason: String,
    },
    /// A batch that does not fit the model.
    #[error("a batch of {n_labels} labels has {found} input values, the model takes {expected}")]
    Batch {
        /// Labels given.
        n_labels: usize,
        /// Input values given.
        found: usize,
        /// Input values needed.
        expected: usize,
    },
    /// The loss is no longer a number.
    #[error(
        "the loss is {loss} at step {step}; hint: lower the learning rate, or check the data for \
         values that are not finite"
    )]
    Diverged {
        /// The loss.
        loss: f32,
        /// Steps done.
        step: u64,
    },
    /// The data cannot be had as asked for.
    #[error(transparent)]
    Data(#[from] sardonyx_data::DataError),
    /// The model's file cannot be read or written.
    #[error(transparent)]
    File(#[from] sardonyx_model::ModelError),
    /// A file cannot be written whole.
    #[error(transparent)]
    Write(#[from] sardonyx_onnx::OnnxError),
    /// The run has nothing to resume from.
    #[error(
        "there is no checkpoint `{}`; hint: the run ended before its first step, or this is not \
         the folder of a run: start a new one", path.display()
    )]
    NoCheckpoint {
        /// Where it should be.
        path: PathBuf,
    },
    /// The engine refused the graph.
    #[error(transparent)]
    Engine(#[from] sardonyx_engine::EngineError),
    /// An operator refused the graph.
    #[error(transparent)]
    Op(#[from] sardonyx_ops::OpError),
    /// A metric was asked of no samples at all.
    #[error("there is no sample to measure; hint: the data set or the split is empty")]
    NoSamples,
    /// Two inputs that belong together differ in length.
    #[error("{what}: expected {expected} values, found {found}")]
    Length {
        /// Name of the input.
        what: &'static str,
        /// Length needed.
        expected: usize,
        /// Length found.
        found: usize,
    },
    /// A label or predicted class is no class of the problem.
    #[error("{what} {index} is class {class}, but there are only {n_classes} classes (0-based)")]
    ClassRange {
        /// Name of the input.
        what: &'static str,
        /// Position of the value.
        index: usize,
        /// The class found.
        class: usize,
        /// Number of classes.
        n_classes: usize,
    },
    /// A NaN, an infinity or a number outside its range where none may be.
    #[error("{what} {index} is {value}; it must be {must}")]
    Value {
        /// Name of the input.
        what: &'static str,
        /// Position of the value.
        index: usize,
        /// The value.
        value: f64,
        /// What it must be.
        must: &'static str,
    },
    /// A setting that cannot be.
    #[error("{key}: {reason}")]
    Config {
        /// Dotted name of the setting.
        key: String,
        /// What is wrong, and where it can be mended a hint.
        reason: String,
    },
    /// The operating system refused an operation on a file.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is larger than its kind may be.
    #[error("`{}` is over the limit of {limit} bytes for {what}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What the file is for.
        what: &'static str,
        /// Most bytes allowed.
        limit: u64,
    },
    /// A checkpoint that cannot be read back as it was written.
    #[error(
        "the checkpoint is not usable: {reason}; hint: resume from another checkpoint of the run"
    )]
    Checkpoint {
        /// What does not fit.
        reason: String,
    },
    /// A line of a metrics file is not what was written there.
    #[error("`{}`, line {line}: {reason}", path.display())]
    MetricsLine {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What does not fit.
        reason: String,
    },
    /// The folder of an explicitly named run is already there.
    #[error(
        "the run `{}` exists already and a run is never overwritten; \
         hint: choose another name, or resume it", path.display()
    )]
    RunExists {
        /// Its folder.
        path: PathBuf,
    },
    /// A run's name cannot be a folder name everywhere.
    #[error(
        "`{name}` cannot name a run: {reason}; \
         hint: use letters, digits, `-`, `_` and `.`, 1 to 100 of them"
    )]
    RunName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value could not be written as JSON, or text could not be read as JSON.
    #[error("{what}: {source}")]
    Json {
        /// What was written or read.
        what: &'static str,
        /// The reason.
        source: serde_json::Error,
    },
    /// A picture could not be encoded.
    #[error("picture {index}: {reason}")]
    Picture {
        /// Position among the pictures.
        index: usize,
        /// What does not fit.
        reason: String,
    },
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] sardonyx_tensor::TensorError),
}

impl TrainError {
    /// Wraps a system error with what was tried on which path.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> TrainError {
        let path = path.to_path_buf();
        move |source| TrainError::Io {
            action,
            path,
            source,
        }
    }

    /// A setting that cannot be.
    pub(crate) fn config(key: impl Into<String>, reason: impl Into<String>) -> TrainError {
        TrainError::Config {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

/// Result of a training function.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;
