use std::path::PathBuf;

/// What a function of the facade can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot be.
    #[error("{place}: {problem}")]
    Config {
        /// Where it was made (file, line and column, or argument) and its dotted name.
        place: String,
        /// What is wrong, with a hint.
        problem: String,
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
    /// A check of [`crate::doctor`] failed: this build computes wrongly on this machine.
    #[error("{n_failed} of {n_checks} checks failed; hint: report this as a bug of sardonyx")]
    Unsound {
        /// Checks that failed.
        n_failed: usize,
        /// Checks made.
        n_checks: usize,
    },
    /// From the data crate.
    #[error(transparent)]
    Data(#[from] sardonyx_data::DataError),
    /// From the engine: a graph that cannot be planned or run.
    #[error(transparent)]
    Engine(#[from] sardonyx_engine::EngineError),
    /// From the kernels: a plan that cannot be run.
    #[error(transparent)]
    Kernel(#[from] sardonyx_kernels::KernelError),
    /// From the reader and writer of models.
    #[error(transparent)]
    Model(#[from] sardonyx_model::ModelError),
    /// From the operators: a model that cannot be understood.
    #[error(transparent)]
    Op(#[from] sardonyx_ops::OpError),
    /// From the reader and writer of ONNX files.
    #[error(transparent)]
    Onnx(#[from] sardonyx_onnx::OnnxError),
    /// From the model server.
    #[error(transparent)]
    Serve(#[from] sardonyx_serve::ServeError),
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] sardonyx_tensor::TensorError),
    /// From the training crate.
    #[error(transparent)]
    Train(#[from] sardonyx_train::TrainError),
    /// From the zoo: a network that cannot be built.
    #[error(transparent)]
    Zoo(#[from] sardonyx_zoo::ZooError),
}

impl Error {
    /// A setting that cannot be.
    pub(crate) fn config(place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Config {
            place: place.into(),
            problem: problem.into(),
        }
    }

    /// Whether the fault is ours, not that of the input: exit code 2 instead of 1.
    pub fn is_internal(&self) -> bool {
        use sardonyx_engine::EngineError;
        use sardonyx_train::TrainError;
        matches!(
            self,
            Error::Engine(EngineError::Kernel(_))
                | Error::Kernel(_)
                | Error::Train(TrainError::Engine(EngineError::Kernel(_)))
                | Error::Unsound { .. }
        )
    }
}

/// Result of a function of the facade.
pub type Result<T, E = Error> = std::result::Result<T, E>;
