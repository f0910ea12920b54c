//! What a run leaves in its folder, and when.
//!
//! Order matters for a resume: lines of a step are on the disk before its checkpoint is, so that
//! the file of metrics, cut to the checkpoint's step, lacks nothing.

use serde::Serialize;
use std::collections::BTreeMap;

use super::progress::Saved;
use super::run::Run;
use super::splits::Splits;
use crate::classify::Evaluation;
use crate::error::{Result, TrainError};
use crate::metrics::ClassificationReport;
use crate::report::{LayerRow, ModelSummary, Report};
use crate::run::{Environment, EventLog, MetricsLine, MetricsLog, RunFolder};
use sardonyx_ir::Graph;
use sardonyx_passes::trainable_parameters;

/// Mistakes that a report shows.
const N_MISTAKES: usize = 48;

/// A run's folder and the text of its configuration.
#[derive(Debug, Clone)]
pub(super) struct FolderSpec {
    pub(super) folder: RunFolder,
    pub(super) config: String,
}

/// The folder of a run that goes on.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) spec: FolderSpec,
    environment: Environment,
    metrics: MetricsLog,
    events: EventLog,
}

#[derive(Serialize)]
struct Evaluations<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<&'a ClassificationReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<&'a ClassificationReport>,
}

impl Files {
    /// The files of a run that begins, or begins anew since it did not come to a checkpoint.
    pub(super) fn create(
        spec: FolderSpec,
        environment: Environment,
        seconds: f64,
    ) -> Result<Files> {
        let FolderSpec { folder, config } = &spec;
        if folder.file(RunFolder::CHECKPOINT).exists() {
            let path = folder.path().to_owned();
            return Err(TrainError::RunExists { path });
        }
        folder.write(RunFolder::CONFIG, config.as_bytes())?;
        let metrics = MetricsLog::resume(&folder.file(RunFolder::METRICS), 0)?;
        folder.write_json(RunFolder::ENVIRONMENT, &environment)?;
        let events = EventLog::create(folder.path(), seconds, None)?;
        Ok(Files {
            spec,
            environment,
            metrics,
            events,
        })
    }

    /// The files of a run that resumes after `step` steps.
    pub(super) fn resume(
        spec: FolderSpec,
        environment: Environment,
        seconds: f64,
        step: u64,
    ) -> Result<Files> {
        let folder = &spec.folder;
        let metrics = MetricsLog::resume(&folder.file(RunFolder::METRICS), step)?;
        let events = EventLog::create(folder.path(), seconds, Some(step + 1))?;
        Ok(Files {
            spec,
            environment,
            metrics,
            events,
        })
    }

    /// Writes what was measured.
    pub(super) fn log(&mut self, line: &MetricsLine, seconds: f64) -> Result<()> {
        self.metrics.append(line)?;
        let tagged = |(name, value): (&String, &f64)| (name.replace('.', "/"), *value);
        let values: Vec<(String, f64)> = line.values.iter().map(tagged).collect();
        let values: Vec<(&str, f64)> = values.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        self.events.scalars(seconds, line.step, &values)
    }

    /// Writes the file of the best model.
    pub(super) fn model(&self, onnx: &[u8]) -> Result<()> {
        self.spec.folder.write(RunFolder::MODEL, onnx)
    }

    pub(super) fn checkpoint(&self, saved: Saved) -> Result<()> {
        self.metrics.sync()?;
        let path = self.spec.folder.file(RunFolder::CHECKPOINT);
        saved.into_checkpoint()?.save(&path)
    }

    /// Writes what is known at the end: the evaluations and the report.
    pub(super) fn finish(&self, run: &Run, data: &Splits) -> Result<()> {
        let folder = &self.spec.folder;
        let report = |evaluation: Option<&'_ Evaluation>| evaluation.map(|e| e.report.clone());
        let (test, validation) = (report(run.test()), report(run.validation()));
        let evaluations = Evaluations {
            test: test.as_ref(),
            validation: validation.as_ref(),
        };
        folder.write_json(RunFolder::EVALUATION, &evaluations)?;
        let (evaluated_on, evaluation, view) = match (run.test(), run.validation()) {
            (Some(test), _) => ("test data", Some(test), data.test.as_ref()),
            (None, found) => ("validation data", found, data.validation.as_ref()),
        };
        let pictures = evaluation.zip(view);
        let mistakes = pictures.map(|(found, view)| found.mistakes(view, N_MISTAKES));
        let name = folder.path().file_name().unwrap_or_default();
        let html = Report {
            title: name.to_string_lossy().into_owned(),
            subtitle: format!("{} on {}", run.model().name, data.train.dataset().source()),
            evaluated_on: evaluated_on.to_owned(),
            evaluation: evaluation.map(|found| found.report.clone()),
            history: run.history().to_vec(),
            best_epoch: run.best_epoch(),
            mistakes: mistakes.unwrap_or_default(),
            model: Some(summary(run.model())),
            configuration: self.spec.config.clone(),
            environment: self.environment.clone(),
        };
        folder.write(RunFolder::REPORT, html.to_html()?.as_bytes())
    }
}

/// The model's layers: nodes that have trained numbers, and what they give.
fn summary(graph: &Graph) -> ModelSummary {
    let parameters = trainable_parameters(graph);
    let mut owners = BTreeMap::new();
    for (id, node) in graph.nodes() {
        let read = node.inputs.iter().flatten();
        for parameter in read.filter(|id| parameters.contains(id)) {
            owners.entry(*parameter).or_insert(id);
        }
    }
    let order = graph.topological_order().unwrap_or_default();
    let layers = order.into_iter().map(|id| {
        let node = graph.node(id);
        let own = owners.iter().filter(|(_, owner)| **owner == id);
        let count = |id| {
            graph
                .initializers
                .get(id)
                .map_or(0, |tensor| tensor.len() as u64)
        };
        let fact = node.output(0).and_then(|output| graph.fact(output));
        LayerRow {
            name: node.name.clone(),
            operator: node.op_type.clone(),
            output: fact.map(ToString::to_string).unwrap_or_default(),
            n_parameters: own.map(|(id, _)| count(id)).sum(),
            n_multiply_adds: 0,
        }
    });
    ModelSummary {
        description: graph.doc.clone(),
        layers: layers.collect(),
    }
}
