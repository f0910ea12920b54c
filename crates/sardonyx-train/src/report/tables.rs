//! The tables of a report: key numbers, classes, layers, environment.

use super::html::{Escaped, count, duration, number, percent, put, weight};
use super::{LayerRow, ModelSummary, Report};
use crate::metrics::{ClassificationReport, PrecisionRecall};

/// The few numbers that say how it went.
pub(super) fn key_numbers(out: &mut String, report: &Report) {
    let mut numbers: Vec<(&str, String)> = Vec::new();
    if let Some(evaluation) = &report.evaluation {
        let auc = evaluation.roc_auc_macro_of_defined;
        numbers.extend([
            ("accuracy", percent(Some(evaluation.accuracy), 2)),
            ("macro F1", number(Some(evaluation.macro_average.f1), 4)),
            ("mean ROC AUC", number(auc, 4)),
            ("log loss", number(Some(evaluation.log_loss), 4)),
            (
                "calibration error",
                number(Some(evaluation.calibration.ece), 4),
            ),
        ]);
    }
    if let Some(model) = &report.model {
        numbers.push(("parameters", count(model.n_parameters())));
    }
    let seconds: f64 = report.history.iter().map(|record| record.seconds).sum();
    if seconds > 0.0 {
        numbers.push(("training time", duration(seconds)));
    }
    out.push_str("<dl class=\"keys\">\n");
    for (name, value) in numbers {
        put!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    }
    out.push_str("</dl>\n");
}

/// A row per class, then the averages. F1 has a bar, so that a weak class is found at a glance.
pub(super) fn classes(out: &mut String, report: &ClassificationReport) {
    out.push_str(
        "<div class=\"scroll\"><table class=\"classes\"><thead><tr><th>class</th>\
         <th class=\"n\">samples</th><th class=\"n\">precision</th><th class=\"n\">recall</th>\
         <th class=\"n\">F1</th><th></th><th class=\"n\">ROC AUC</th>\
         <th class=\"n\">avg. precision</th></tr></thead><tbody>\n",
    );
    for class in &report.classes {
        put!(out, "<tr><td>{}</td>", Escaped(&class.name));
        let areas = (class.roc_auc, class.average_precision);
        cells(out, class.support, &class.scores, areas);
    }
    out.push_str("</tbody><tfoot>\n");
    let total = report.n_samples as f64;
    let macro_areas = (report.roc_auc_macro, report.average_precision_macro);
    for (name, scores, areas) in [
        ("macro mean", &report.macro_average, macro_areas),
        (
            "weighted mean",
            &report.weighted,
            (report.roc_auc_weighted, None),
        ),
        ("micro mean", &report.micro, (None, None)),
    ] {
        put!(out, "<tr><td>{name}</td>");
        cells(out, total, scores, areas);
    }
    out.push_str("</tfoot></table></div>\n");
}

fn cells(
    out: &mut String,
    support: f64,
    scores: &PrecisionRecall,
    (area, average_precision): (Option<f64>, Option<f64>),
) {
    put!(
        out,
        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"gauge\"><i style=\"width:{:.1}%\"></i></td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
        weight(support),
        number(Some(scores.precision), 4),
        number(Some(scores.recall), 4),
        number(Some(scores.f1), 4),
        if scores.f1.is_finite() {
            scores.f1 * 100.0
        } else {
            0.0
        },
        number(area, 4),
        number(average_precision, 4)
    );
}

/// The single measures of the evaluation, as a list.
pub(super) fn measures(out: &mut String, report: &ClassificationReport) {
    out.push_str("<dl class=\"facts\">\n");
    put!(
        out,
        "<dt>samples</dt><dd>{}</dd>\n",
        count(report.n_samples as u64)
    );
    for (name, value) in report.numbers() {
        put!(
            out,
            "<dt>{}</dt><dd>{}</dd>\n",
            Escaped(name),
            number(value, 4)
        );
    }
    out.push_str("</dl>\n");
}

/// The layers of the model.
pub(super) fn model(out: &mut String, model: &ModelSummary) {
    put!(
        out,
        "<p class=\"note\">{}</p>\n<div class=\"scroll\"><table><thead><tr><th>layer</th>\
         <th>operator</th><th>output</th><th class=\"n\">parameters</th>\
         <th class=\"n\">multiply-adds</th></tr></thead><tbody>\n",
        Escaped(&model.description)
    );
    for LayerRow {
        name,
        operator,
        output,
        n_parameters,
        n_multiply_adds,
    } in &model.layers
    {
        put!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td></tr>\n",
            Escaped(name),
            Escaped(operator),
            Escaped(output),
            dashed(*n_parameters),
            dashed(*n_multiply_adds)
        );
    }
    put!(
        out,
        "</tbody><tfoot><tr><td>total</td><td></td><td></td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td></tr></tfoot></table></div>\n",
        count(model.n_parameters()),
        count(model.n_multiply_adds())
    );
}

/// A count in a column where zero says that there is nothing to count.
fn dashed(value: u64) -> String {
    match value {
        0 => "–".to_owned(),
        value => count(value),
    }
}

/// Name and value pairs.
pub(super) fn facts(out: &mut String, rows: &[(String, String)]) {
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in rows {
        put!(
            out,
            "<dt>{}</dt><dd>{}</dd>\n",
            Escaped(name),
            Escaped(value)
        );
    }
    out.push_str("</dl>\n");
}
