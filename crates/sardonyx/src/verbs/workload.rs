use std::path::PathBuf;

use clap::ValueEnum;
use sardonyx::engine::Isa;
use sardonyx::{OptimizerKind, WorkloadOptions};

/// What `bench` and `profile` set to work.
#[derive(Debug, clap::Args)]
pub(crate) struct Workload {
    /// ONNX file, folder of a run, or the name of a network of the zoo
    model: PathBuf,
    /// Training steps instead of predictions
    #[arg(long)]
    train: bool,
    /// Who updates the weights
    #[arg(long, value_enum, default_value_t = Optimizer::Adam, requires = "train")]
    optimizer: Optimizer,
    /// Samples of a step or prediction; 32 or 1 when the model does not say
    #[arg(long, value_name = "SAMPLES")]
    batch: Option<usize>,
    /// Size of a symbolic dimension of the inputs other than the batch
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    dims: Vec<(String, usize)>,
    /// Threads; 0 takes every core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Instruction set of the kernels; the widest of this machine when not given
    #[arg(long, value_enum, value_name = "NAME")]
    isa: Option<IsaName>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Optimizer {
    Adam,
    Sgd,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IsaName {
    Scalar,
    Avx2,
    Avx512,
}

impl Workload {
    pub(crate) fn options(self) -> WorkloadOptions {
        let optimizer = match self.optimizer {
            Optimizer::Adam => OptimizerKind::Adam,
            Optimizer::Sgd => OptimizerKind::Sgd,
        };
        WorkloadOptions {
            model: self.model,
            train: self.train.then_some(optimizer),
            batch: self.batch,
            dims: self.dims.into_iter().collect(),
            threads: self.threads,
            isa: self.isa.map(|isa| match isa {
                IsaName::Scalar => Isa::Scalar,
                IsaName::Avx2 => Isa::Avx2,
                IsaName::Avx512 => Isa::Avx512,
            }),
        }
    }
}

/// The size of a symbolic dimension, from `NAME=SIZE`.
pub(super) fn dim(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.split_once('=').ok_or("write NAME=SIZE")?;
    let size = size
        .parse()
        .map_err(|_| format!("`{size}` is not a whole number"))?;
    Ok((name.to_owned(), size))
}
