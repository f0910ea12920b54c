//! What a run brought.

use std::path::PathBuf;

use sardonyx_data::Kind;
use sardonyx_train::metrics::ClassificationReport;
use sardonyx_train::{Outcome, Run, RunFolder, Splits};
use serde::Serialize;

use crate::text::{Facts, count};

/// Samples of each part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Trained on.
    pub train: usize,
    /// The best weights were chosen by.
    pub validation: usize,
    /// Measured on at the end.
    pub test: usize,
}

/// What a run brought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// The run's folder.
    pub run: PathBuf,
    /// The best model.
    pub model: PathBuf,
    /// The report to look at; `None` when the run was interrupted before its end.
    pub report: Option<PathBuf>,
    /// `completed`, `early_stopped`, `stopped` or `interrupted`.
    pub outcome: &'static str,
    /// Samples of each part of the data.
    pub samples: Sizes,
    /// Epochs done.
    pub epochs: usize,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: Option<u64>,
    /// Steps done.
    pub steps: u64,
    /// Time of this command's training, all measuring and writing included.
    pub seconds: f64,
    /// What a sample is: `image` or `row`.
    pub unit: &'static str,
    /// Training samples a second, over the epochs' steps alone.
    pub samples_per_second: Option<f64>,
    /// The part that the measures are of: `test`, else `validation`; `None` without either, and
    /// when the run was interrupted.
    pub part: Option<&'static str>,
    /// Every measure of the best model on that part.
    #[serde(flatten)]
    pub metrics: Option<ClassificationReport>,
}

impl Sizes {
    pub(super) fn of(splits: &Splits) -> Sizes {
        let len = |part: &Option<sardonyx_data::View>| part.as_ref().map_or(0, |view| view.len());
        Sizes {
            train: splits.train.len(),
            validation: len(&splits.validation),
            test: len(&splits.test),
        }
    }
}

/// What a sample is, in one word.
pub(super) fn unit(splits: &Splits) -> &'static str {
    match splits.train.dataset().kind() {
        Kind::Image { .. } => "image",
        Kind::Table { .. } => "row",
    }
}

impl RunReport {
    pub(super) fn new(run: &Run, folder: &RunFolder, data: &Splits, seconds: f64) -> RunReport {
        let samples = Sizes::of(data);
        let (part, evaluation) = match (run.test(), run.validation()) {
            (Some(test), _) => (Some("test"), Some(test)),
            (None, Some(validation)) => (Some("validation"), Some(validation)),
            (None, None) => (None, None),
        };
        let trained: f64 = run.history().iter().map(|epoch| epoch.seconds).sum();
        let n_trained = (run.history().len() * samples.train) as f64;
        RunReport {
            run: folder.path().to_owned(),
            model: folder.file(RunFolder::MODEL),
            report: (run.outcome() != Outcome::Interrupted).then(|| folder.file(RunFolder::REPORT)),
            outcome: match run.outcome() {
                Outcome::Completed => "completed",
                Outcome::EarlyStopped => "early_stopped",
                Outcome::Stopped => "stopped",
                Outcome::Interrupted => "interrupted",
            },
            samples,
            epochs: run.history().len(),
            best_epoch: run.best_epoch(),
            steps: run.n_steps(),
            seconds,
            unit: unit(data),
            samples_per_second: (trained > 0.0).then(|| n_trained / trained),
            part,
            metrics: evaluation.map(|evaluation| evaluation.report.clone()),
        }
    }

    /// Whether the run ended before it was done.
    pub fn is_interrupted(&self) -> bool {
        self.outcome == "interrupted"
    }

    /// The report for people to read.
    pub fn to_text(&self) -> String {
        let mut facts = Facts::new();
        let ended = match self.outcome {
            "completed" => String::new(),
            outcome => format!(" ({})", outcome.replace('_', " ")),
        };
        let steps = count(self.steps);
        facts.row("epochs", format!("{}, {steps} steps{ended}", self.epochs));
        facts.row(
            "best epoch",
            self.best_epoch
                .map_or(String::new(), |best| best.to_string()),
        );
        let speed = self
            .samples_per_second
            .map(|speed| format!(", {} {}s/s", count(speed as u64), self.unit));
        facts.row(
            "time",
            format!("{:.1} s{}", self.seconds, speed.unwrap_or_default()),
        );
        facts.row("model", self.model.display());
        facts.row(
            "report",
            self.report
                .as_ref()
                .map_or(String::new(), |path| path.display().to_string()),
        );
        let mut text = facts.text();
        if let (Some(part), Some(metrics)) = (self.part, &self.metrics) {
            let n_samples = count(metrics.n_samples as u64);
            text = format!("{n_samples} {part} samples:\n{}\n{text}", metrics.to_text());
        }
        text
    }
}
