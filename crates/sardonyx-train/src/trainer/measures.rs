//! Names of what is measured after an epoch.

use std::collections::BTreeMap;

use crate::config::nearest_name;
use crate::error::{Result, TrainError};
use crate::metrics::ClassificationReport;

type Measure = fn(&ClassificationReport) -> Option<f64>;

/// What can be measured on the validation data, sorted: in `metrics.jsonl` and as the metric of
/// early stopping each is called `val.` and its name.
pub const MEASURES: [(&str, Measure); 14] = [
    ("accuracy", |r| Some(r.accuracy)),
    ("balanced_accuracy", |r| Some(r.balanced_accuracy)),
    ("brier", |r| Some(r.brier_score)),
    ("cohen_kappa", |r| r.cohen_kappa),
    ("ece", |r| Some(r.calibration.ece)),
    ("f1_macro", |r| Some(r.macro_average.f1)),
    ("f1_micro", |r| Some(r.micro.f1)),
    ("f1_weighted", |r| Some(r.weighted.f1)),
    ("loss", |r| Some(r.log_loss)),
    ("matthews", |r| Some(r.matthews_correlation)),
    ("precision_macro", |r| Some(r.macro_average.precision)),
    ("recall_macro", |r| Some(r.macro_average.recall)),
    ("roc_auc_macro", |r| r.roc_auc_macro),
    ("top_5_accuracy", |r| r.top_5_accuracy),
];

/// What is known of the training samples without another pass over them.
const OF_TRAINING: [&str; 2] = ["train.accuracy", "train.loss"];

fn find(name: &str) -> Option<Measure> {
    let row = MEASURES.iter().find(|(known, _)| *known == name);
    row.map(|(_, measure)| *measure)
}

/// Refuses a name of a measure (without `val.`) that does not exist.
pub(super) fn check_name(key: &str, name: &str) -> Result<()> {
    let known = || MEASURES.iter().map(|(known, _)| *known);
    unknown(key, name, find(name).is_some(), known())
}

/// Refuses a metric to watch (`val.loss`) that does not exist, or that needs validation data where
/// there are none.
pub(super) fn check_watched(key: &str, metric: &str, has_validation: bool) -> Result<()> {
    let names: Vec<String> = MEASURES
        .iter()
        .map(|(name, _)| format!("val.{name}"))
        .collect();
    let known = || {
        OF_TRAINING
            .into_iter()
            .chain(names.iter().map(String::as_str))
    };
    unknown(key, metric, known().any(|known| known == metric), known())?;
    if !has_validation && metric.starts_with("val.") {
        let reason =
            format!("`{metric}` needs validation data; hint: give some, or watch `train.loss`");
        return Err(TrainError::config(key, reason));
    }
    Ok(())
}

fn unknown<'a>(
    key: &str,
    name: &str,
    is_known: bool,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<()> {
    if is_known {
        return Ok(());
    }
    let hint = match nearest_name(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    };
    let reason = format!("there is no measure `{name}`; hint: {hint}");
    Err(TrainError::config(key, reason))
}

/// Adds the measures called `names`, and those of `watched` that are of the validation data, to
/// `values`. What is undefined on these data is left out.
pub(super) fn measure<'a>(
    report: &ClassificationReport,
    names: &'a [String],
    watched: impl Iterator<Item = &'a str>,
    values: &mut BTreeMap<String, f64>,
) {
    let watched = watched.filter_map(|metric| metric.strip_prefix("val."));
    for name in names.iter().map(String::as_str).chain(watched) {
        if let Some(value) = find(name).and_then(|measure| measure(report)) {
            values.insert(format!("val.{name}"), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_checked() {
        assert!(MEASURES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(check_name("train.metrics", "f1_macro").is_ok());
        let error = check_name("train.metrics", "f1_marco").expect_err("unknown");
        assert!(
            error.to_string().contains("did you mean `f1_macro`?"),
            "{error}"
        );
        assert!(check_watched("early_stop.metric", "train.loss", false).is_ok());
        assert!(check_watched("early_stop.metric", "val.ece", true).is_ok());
        let check = |metric, expect: &str| {
            let error = check_watched("early_stop.metric", metric, false);
            let message = error.expect_err("refused").to_string();
            assert!(message.contains(expect), "{message}");
        };
        check("val.lost", "did you mean `val.loss`?");
        check("val.loss", "needs validation data");
        check("lr", "there are train.accuracy, train.loss, val.accuracy");
    }
}
