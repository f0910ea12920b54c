//! The report of a run: one HTML file that needs nothing else, no network and no script, and reads
//! well by day and by night. Drawn from plain data; every text from outside is escaped.

mod axis;
mod chart;
mod confusion;
mod curves;
mod html;
mod mistakes;
mod ranking;
mod tables;

use html::{Escaped, put};
use serde::{Deserialize, Serialize};

pub use mistakes::{Miss, worst_misses};

use crate::error::Result;
use crate::metrics::ClassificationReport;
use crate::run::Environment;

const STYLE: &str = include_str!("style.css");

/// What happened in one epoch; what was not measured is `None` and not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Mean loss over the training samples.
    pub train_loss: Option<f64>,
    /// Share of the training samples that were recognised.
    pub train_accuracy: Option<f64>,
    /// Mean loss over the validation samples.
    pub validation_loss: Option<f64>,
    /// Share of the validation samples that were recognised.
    pub validation_accuracy: Option<f64>,
    /// Learning rate at the end of the epoch.
    pub learning_rate: Option<f64>,
    /// Time it took.
    pub seconds: f64,
}

/// A picture of 8-bit pixels, row by row, channels last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub pixels: Vec<u8>,
}

/// A sample that was not recognised, and what it looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// The sample and what it was taken for.
    pub miss: Miss,
    /// What it looks like.
    pub picture: Picture,
}

/// A line of the model's table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerRow {
    /// Name of the node or layer.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Shape of its output, as text.
    pub output: String,
    /// Trained numbers in it.
    pub n_parameters: u64,
    /// Multiply-adds for one sample.
    pub n_multiply_adds: u64,
}

/// The model in a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelSummary {
    /// One sentence about it.
    pub description: String,
    /// Its layers, in order.
    pub layers: Vec<LayerRow>,
}

impl ModelSummary {
    /// Trained numbers of all layers.
    pub fn n_parameters(&self) -> u64 {
        let counts = self.layers.iter().map(|layer| layer.n_parameters);
        counts.fold(0, u64::saturating_add)
    }

    /// Multiply-adds of all layers for one sample.
    pub fn n_multiply_adds(&self) -> u64 {
        let counts = self.layers.iter().map(|layer| layer.n_multiply_adds);
        counts.fold(0, u64::saturating_add)
    }
}

/// Everything that a report shows. A part that is empty or `None` is left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Name of the run.
    pub title: String,
    /// A line below it: model, data, date.
    pub subtitle: String,
    /// Name of the set that was evaluated: `test`.
    pub evaluated_on: String,
    /// The measures on that set.
    pub evaluation: Option<ClassificationReport>,
    /// Epoch by epoch.
    pub history: Vec<EpochRecord>,
    /// The epoch whose weights were kept, numbered as in the history.
    pub best_epoch: Option<u64>,
    /// The worst mistakes, worst first; at most 96 are shown.
    pub mistakes: Vec<Mistake>,
    /// The model.
    pub model: Option<ModelSummary>,
    /// The configuration as text.
    pub configuration: String,
    /// On what the run was made.
    pub environment: Environment,
}

impl Report {
    /// The report as one HTML document.
    ///
    /// # Errors
    /// When a picture's size and data do not agree.
    pub fn to_html(&self) -> Result<String> {
        let mut out = String::with_capacity(256 << 10);
        put!(
            &mut out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; img-src data:\">\n\
             <title>{} · Sardonyx</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header><p class=\"brand\">Sardonyx run report</p><h1>{}</h1>",
            Escaped(&self.title),
            Escaped(&self.title)
        );
        if !self.subtitle.is_empty() {
            put!(
                &mut out,
                "<p class=\"subtitle\">{}</p>",
                Escaped(&self.subtitle)
            );
        }
        out.push_str("</header>\n");
        tables::key_numbers(&mut out, self);
        self.evaluation_warnings(&mut out);
        self.training(&mut out);
        self.evaluation(&mut out)?;
        self.model_and_setting(&mut out);
        put!(
            &mut out,
            "<footer>Made by Sardonyx {}</footer>\n</main>\n</body>\n</html>\n",
            Escaped(&self.environment.version)
        );
        Ok(out)
    }

    fn evaluation_warnings(&self, out: &mut String) {
        for warning in self.evaluation.iter().flat_map(|report| &report.warnings) {
            put!(out, "<p class=\"warning\">{}</p>\n", Escaped(warning));
        }
    }

    fn training(&self, out: &mut String) {
        if self.history.is_empty() {
            return;
        }
        let n = self.history.len();
        let plural = if n == 1 { "" } else { "s" };
        put!(out, "<section><h2>Training<span>{n} epoch{plural}");
        if let Some(best) = self.best_epoch {
            put!(out, ", best {best}");
        }
        out.push_str("</span></h2>\n");
        curves::render(out, &self.history, self.best_epoch);
        out.push_str("</section>\n");
    }

    fn evaluation(&self, out: &mut String) -> Result<()> {
        let Some(evaluation) = &self.evaluation else {
            return Ok(());
        };
        let samples = html::count(evaluation.n_samples as u64);
        put!(out, "<section><h2>Evaluation<span>{samples} samples");
        if !self.evaluated_on.is_empty() {
            put!(out, ", {}", Escaped(&self.evaluated_on));
        }
        out.push_str("</span></h2>\n");
        confusion::render(out, &evaluation.confusion, &evaluation.classes);
        out.push_str("<div class=\"aside\">\n");
        tables::classes(out, evaluation);
        tables::measures(out, evaluation);
        out.push_str("</div>\n");
        ranking::render(out, evaluation);
        out.push_str("</section>\n");
        if self.mistakes.is_empty() {
            return Ok(());
        }
        out.push_str(
            "<section><h2>Worst mistakes<span>least probability for the true class first</span>\
             </h2>\n",
        );
        let names = evaluation.classes.iter().map(|class| class.name.clone());
        mistakes::render(out, &self.mistakes, &names.collect::<Vec<_>>())?;
        out.push_str("</section>\n");
        Ok(())
    }

    fn model_and_setting(&self, out: &mut String) {
        if let Some(model) = &self.model {
            out.push_str("<section><h2>Model</h2>\n");
            tables::model(out, model);
            out.push_str("</section>\n");
        }
        let facts = self.environment.rows();
        if self.configuration.is_empty() && facts.is_empty() {
            return;
        }
        out.push_str("<section class=\"setting\">\n");
        if !self.configuration.is_empty() {
            put!(
                out,
                "<div><h2>Configuration</h2><pre>{}</pre></div>\n",
                Escaped(&self.configuration)
            );
        }
        if !facts.is_empty() {
            out.push_str("<div><h2>Environment</h2>\n");
            tables::facts(out, &facts);
            out.push_str("</div>\n");
        }
        out.push_str("</section>\n");
    }
}
