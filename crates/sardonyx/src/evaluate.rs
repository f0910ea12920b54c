//! How good a model is on labelled data.

use std::path::{Path, PathBuf};

use sardonyx_data::{
    Dataset, InputSpec, Loaded, ReadOptions, Scaling, TargetKind, View, read_inputs,
};
use sardonyx_ir::Graph;
use sardonyx_tensor::Tensor;
use sardonyx_train::metrics::ClassificationReport;
use sardonyx_train::{RunFolder, input_spec};
use serde::Serialize;

use crate::clock::Stopwatch;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::parts::{image_options, load, open};
use crate::text::{Facts, count};

/// What to evaluate on what.
#[derive(Debug, Clone, Default)]
pub struct EvalOptions {
    /// A model file, or a run's folder: its best model.
    pub model: PathBuf,
    /// The data: a path in any format of [`sardonyx_data::read`], or `digits`. A run's folder
    /// needs none: the test part of its own data is taken, or else its validation part.
    pub data: Option<String>,
    /// Which part of the data, where the source keeps several; the test part, or the only one
    /// there is, when `None`.
    pub part: Option<Part>,
    /// Column of the classes, of a table; the last one when `None`.
    pub target: Option<String>,
    /// What is done to raw values first. A model that was trained here does that itself.
    pub scale: Option<Scaling>,
    /// Threads; 0 takes every core.
    pub threads: usize,
}

/// Part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What a model learns from.
    Train,
    /// What decides when training stops.
    Validation,
    /// What nothing was decided by.
    Test,
}

/// How good a model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalReport {
    /// The model file.
    pub model: PathBuf,
    /// Where the data came from.
    pub data: String,
    /// Which part of it: `train`, `validation`, `test`.
    pub part: &'static str,
    /// Time of the predictions.
    pub seconds: f64,
    /// Every measure.
    #[serde(flatten)]
    pub metrics: ClassificationReport,
}

impl EvalReport {
    /// The report for people to read.
    pub fn to_text(&self) -> String {
        let mut facts = Facts::new();
        facts.row("model", self.model.display());
        facts.row("data", format!("{} ({})", self.data, self.part));
        let n_samples = self.metrics.n_samples as u64;
        let rate = n_samples as f64 / self.seconds.max(f64::MIN_POSITIVE);
        let speed = format!("{:.2} s, {} a second", self.seconds, count(rate as u64));
        facts.row("samples", format!("{} in {speed}", count(n_samples)));
        format!("{}\n{}", facts.text(), self.metrics.to_text())
    }
}

/// Predicts for labelled data and compares.
///
/// # Errors
/// When the model is not a classifier, the data cannot be read, or they do not fit each other.
pub fn evaluate(options: &EvalOptions) -> Result<EvalReport> {
    let model = crate::model_file(&options.model);
    let graph = sardonyx_model::load(&model)?;
    let (mut view, part) = labelled(&graph, options)?;
    if let Some(scale) = options.scale.filter(|scale| *scale != Scaling::None) {
        view = scaled(&view, scale)?;
    }
    let pool = crate::pool(options.threads)?;
    let stopwatch = Stopwatch::start();
    let evaluation = sardonyx_train::evaluate(&graph, &view, &pool)?;
    Ok(EvalReport {
        model,
        data: view.dataset().source().to_owned(),
        part,
        seconds: stopwatch.seconds(),
        metrics: evaluation.report,
    })
}

/// The samples as a model wants them that was trained on scaled ones.
fn scaled(view: &View, scale: Scaling) -> Result<View> {
    let x = view.to_tensor()?;
    let affine = foreign_scaling(scale)?.fit(view)?;
    let mut values = x.values::<f32>()?.to_vec();
    let per_channel = (view.dataset().kind().sample_len() / affine.mean.len()).max(1);
    for (plane, values) in values.chunks_exact_mut(per_channel).enumerate() {
        let channel = plane % affine.mean.len();
        let (mean, std) = (affine.mean[channel], affine.std[channel]);
        values.iter_mut().for_each(|x| *x = (*x - mean) / std);
    }
    let mut parts = view.dataset().to_parts();
    parts.x = Tensor::new(x.shape(), values)?;
    parts.target = view.target();
    parts.nominal_range = None;
    Ok(Dataset::new(parts)?.view())
}

/// The scaling that a model made elsewhere was trained with.
pub(crate) fn foreign_scaling(scale: Scaling) -> Result<Scaling> {
    if scale == Scaling::Standardize {
        return Err(Error::config(
            "scale",
            "means and deviations of the training data are not known here; \
             hint: give unit or symmetric, or make them part of the model",
        ));
    }
    Ok(scale)
}

/// The labelled data that the options ask for, its classes numbered as the model's.
fn labelled(graph: &Graph, options: &EvalOptions) -> Result<(View, &'static str)> {
    let Some(source) = &options.data else {
        return of_run(&options.model, options.part);
    };
    let spec = input_spec(graph)?;
    let mut read = ReadOptions {
        target_kind: TargetKind::Classes,
        ..ReadOptions::default()
    };
    read.csv.target.clone_from(&options.target);
    if let InputSpec::Image {
        channels,
        height,
        width,
        ..
    } = spec
    {
        read.image = image_options(channels, height, width);
    }
    let loaded = load(source, &read)?;
    let (mut dataset, part) = pick(loaded, options.part, source)?;
    if let InputSpec::Table(_) = spec
        && Path::new(source).is_file()
    {
        // The columns as the model knows them, not as this file alone would have them.
        let mut parts = dataset.to_parts();
        parts.x = read_inputs(Path::new(source), &spec, &read)?.x;
        parts.schema = None;
        dataset = Dataset::new(parts)?;
    }
    Ok((dataset.view(), part))
}

fn pick(loaded: Loaded, part: Option<Part>, source: &str) -> Result<(Dataset, &'static str)> {
    let missing = |name| Error::config(source, format!("it has no {name} part"));
    match part {
        Some(Part::Train) => Ok((loaded.train, "train")),
        Some(Part::Validation) => {
            let validation = loaded.validation.ok_or_else(|| missing("validation"))?;
            Ok((validation, "validation"))
        }
        Some(Part::Test) => Ok((loaded.test.ok_or_else(|| missing("test"))?, "test")),
        None => Ok(match loaded.test {
            Some(test) => (test, "test"),
            None => (loaded.train, "all"),
        }),
    }
}

/// A part of the data that a run was made from, split as it was then.
fn of_run(model: &Path, part: Option<Part>) -> Result<(View, &'static str)> {
    let config = model.join(RunFolder::CONFIG);
    if !config.is_file() {
        return Err(Error::config(
            "data",
            "no data is given; hint: name the data, or give the folder of a run",
        ));
    }
    let config = TrainConfig::load(Some(&config), &[])?;
    let splits = open(&config.data, config.train.seed)?.splits;
    let (found, name) = match part {
        Some(Part::Train) => (Some(splits.train), "train"),
        Some(Part::Test) => (splits.test, "test"),
        None if splits.test.is_some() => (splits.test, "test"),
        Some(Part::Validation) | None => (splits.validation, "validation"),
    };
    let problem = || format!("its data has no {name} part");
    let view = found.ok_or_else(|| Error::config(model.display().to_string(), problem()))?;
    Ok((view, name))
}
