//! Everything worth knowing about a classifier on a labelled set, in one value.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Calibration, ConfusionMatrix, KappaWeights, LabelSet, PrecisionRecall, PrecisionRecallOptions,
    Probabilities, Scores, accuracy, average_precision, balanced_accuracy, brier_score,
    calibration, cohen_kappa, log_loss, matthews_correlation, precision_recall, roc_auc,
    roc_auc_one_vs_rest, roc_curve, top_k_accuracy,
};
use crate::error::{Result, TrainError};

/// Bins of the calibration diagram.
const CALIBRATION_BINS: usize = 15;
/// Most points that a curve in the report keeps: more cannot be told apart in a drawing.
const MAX_CURVE_POINTS: usize = 200;
/// Row sums further than this from one are reported; the tolerance of `numpy.allclose`.
const SUM_TOLERANCE: f64 = 1e-5 + 1e-8;

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// True class of each of N samples, 0-based.
    pub labels: &'a [usize],
    /// N x C probabilities, row-major.
    pub probabilities: &'a [f64],
    /// Number of classes C, at least 2.
    pub n_classes: usize,
    /// Name of each class.
    pub class_names: &'a [String],
    /// Machine epsilon of the type in which the probabilities were computed: the log loss clips
    /// to it. `f64::EPSILON`, or `f64::from(f32::EPSILON)` for those widened from `f32`.
    pub epsilon: f64,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Horizontal position: the false-positive rate of a ROC curve.
    pub x: f64,
    /// Vertical position: the true-positive rate of a ROC curve.
    pub y: f64,
}

/// One class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Number of its samples.
    pub support: f64,
    /// Precision, recall and F1, 0 where undefined.
    #[serde(flatten)]
    pub scores: PrecisionRecall,
    /// Area under its ROC curve; `None` without positives or without negatives.
    pub roc_auc: Option<f64>,
    /// Average precision; `None` without positives.
    pub average_precision: Option<f64>,
    /// Its ROC curve, thinned for drawing; empty where the area is undefined.
    pub roc: Vec<CurvePoint>,
}

/// All measures of a classifier on one labelled set. Averages of precision, recall and F1 run over
/// the classes that occur among labels or predictions, as scikit-learn's do; the table has a row
/// for every class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassificationReport {
    /// Number of samples.
    pub n_samples: usize,
    /// Share of the samples that were recognised.
    pub accuracy: f64,
    /// Share of the samples whose class is among the five most probable; `None` below six classes.
    pub top_5_accuracy: Option<f64>,
    /// Mean recall over the classes that have samples.
    pub balanced_accuracy: f64,
    /// Mean negative log probability of the true class.
    pub log_loss: f64,
    /// Brier score.
    pub brier_score: f64,
    /// Matthews correlation coefficient.
    pub matthews_correlation: f64,
    /// Cohen's kappa; `None` when only one class occurs.
    pub cohen_kappa: Option<f64>,
    /// From the counts of all classes together.
    pub micro: PrecisionRecall,
    /// Plain mean over the classes.
    #[serde(rename = "macro")]
    pub macro_average: PrecisionRecall,
    /// Mean over the classes weighted by support.
    pub weighted: PrecisionRecall,
    /// Mean one-vs-rest ROC AUC; `None` when a class has none.
    pub roc_auc_macro: Option<f64>,
    /// Mean one-vs-rest ROC AUC weighted by support.
    pub roc_auc_weighted: Option<f64>,
    /// Mean one-vs-rest ROC AUC over the classes that have one.
    pub roc_auc_macro_of_defined: Option<f64>,
    /// Mean average precision over the classes that have samples.
    pub average_precision_macro: Option<f64>,
    /// Calibration over 15 bins.
    pub calibration: Calibration,
    /// Row per class.
    pub classes: Vec<ClassReport>,
    /// Row = true class, column = predicted class.
    pub confusion: ConfusionMatrix,
    /// What the reader should know before trusting the numbers.
    pub warnings: Vec<String>,
}

impl ClassificationReport {
    /// Computes every measure over the whole set.
    ///
    /// # Errors
    /// When there is no sample, fewer than two classes, lengths do not agree, a label is no class,
    /// or a probability is NaN or outside `[0, 1]`.
    pub fn new(input: &ReportInput<'_>) -> Result<ClassificationReport> {
        let n_classes = input.n_classes;
        if n_classes < 2 {
            return Err(TrainError::config(
                "classes",
                format!("a classifier needs at least 2 classes, here are {n_classes}"),
            ));
        }
        super::input::check_length("class names", n_classes, input.class_names.len())?;
        let scores = Scores::new(input.labels, input.probabilities, n_classes, None)?;
        let probabilities = scores.probabilities()?;
        let confusion = ConfusionMatrix::from_scores(&scores);
        let averages = precision_recall(&confusion, &PrecisionRecallOptions::default());
        let auc = roc_auc_one_vs_rest(&scores);
        let classes = class_reports(&scores, &confusion, input.class_names);
        Ok(ClassificationReport {
            n_samples: input.labels.len(),
            accuracy: accuracy(&confusion),
            top_5_accuracy: (n_classes > 5).then(|| top_k_accuracy(&scores, 5)),
            balanced_accuracy: balanced_accuracy(&confusion),
            log_loss: log_loss(&probabilities, input.epsilon),
            brier_score: brier_score(&probabilities),
            matthews_correlation: matthews_correlation(&confusion),
            cohen_kappa: cohen_kappa(&confusion, KappaWeights::Equal, LabelSet::Present),
            micro: averages.micro,
            macro_average: averages.macro_average,
            weighted: averages.weighted,
            roc_auc_macro: auc.macro_average,
            roc_auc_weighted: auc.weighted,
            roc_auc_macro_of_defined: auc.macro_of_defined,
            average_precision_macro: mean(classes.iter().filter_map(|c| c.average_precision)),
            calibration: calibration(&probabilities, CALIBRATION_BINS)?,
            warnings: warnings(&probabilities, &confusion, input.class_names),
            classes,
            confusion,
        })
    }

    /// A table for a terminal: a line per class, then the averages, then the single numbers.
    /// Columns are aligned by characters; an undefined value is a dash.
    pub fn to_text(&self) -> String {
        let names = self.classes.iter().map(|class| class.name.chars().count());
        let width = names.max().unwrap_or(0).clamp(12, 40);
        let mut text = String::new();
        let mut line = |name: &str, cells: [String; 5]| {
            let name: String = name.chars().take(width).collect();
            let [precision, recall, f1, auc, support] = cells;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name:<width$}  {precision:>9}  {recall:>9}  {f1:>9}  {auc:>9}  {support:>9}"
            );
        };
        let header = ["precision", "recall", "f1", "roc auc", "support"];
        line("class", header.map(str::to_owned));
        let row = |scores: &PrecisionRecall, auc: Option<f64>, support: f64| {
            [
                number(Some(scores.precision)),
                number(Some(scores.recall)),
                number(Some(scores.f1)),
                number(auc),
                format!("{support}"),
            ]
        };
        for class in &self.classes {
            let cells = row(&class.scores, class.roc_auc, class.support);
            line(&class.name, cells);
        }
        let total = self.n_samples as f64;
        line("macro", row(&self.macro_average, self.roc_auc_macro, total));
        line(
            "weighted",
            row(&self.weighted, self.roc_auc_weighted, total),
        );
        line("micro", row(&self.micro, None, total));
        text.push('\n');
        for (name, value) in self.numbers() {
            let _ = writeln!(text, "{name:<24}  {:>9}", number(value));
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }

    /// The measures that are one number, with their names, in reading order.
    pub fn numbers(&self) -> Vec<(&'static str, Option<f64>)> {
        let mut numbers = vec![("accuracy", Some(self.accuracy))];
        if self.top_5_accuracy.is_some() {
            numbers.push(("top-5 accuracy", self.top_5_accuracy));
        }
        numbers.extend([
            ("balanced accuracy", Some(self.balanced_accuracy)),
            ("log loss", Some(self.log_loss)),
            ("Brier score", Some(self.brier_score)),
            ("calibration error", Some(self.calibration.ece)),
            ("Matthews correlation", Some(self.matthews_correlation)),
            ("Cohen's kappa", self.cohen_kappa),
            ("average precision", self.average_precision_macro),
        ]);
        numbers
    }
}

fn class_reports(
    scores: &Scores<'_>,
    confusion: &ConfusionMatrix,
    names: &[String],
) -> Vec<ClassReport> {
    let options = PrecisionRecallOptions {
        labels: LabelSet::All,
        ..PrecisionRecallOptions::default()
    };
    let rows = precision_recall(confusion, &options).per_class;
    rows.into_iter()
        .zip(names)
        .map(|(row, name)| {
            let binary = scores.one_vs_rest(row.class);
            let area = roc_auc(&binary);
            ClassReport {
                name: name.clone(),
                support: row.support,
                scores: row.scores,
                roc_auc: area,
                average_precision: average_precision(&binary),
                roc: area.map_or_else(Vec::new, |_| {
                    let curve = roc_curve(&binary, true);
                    thin(&curve.false_positive_rate, &curve.true_positive_rate)
                }),
            }
        })
        .collect()
}

/// At most [`MAX_CURVE_POINTS`] of a rising curve's points, evenly spaced along its length in the
/// plane, so that steep and flat parts keep their corners alike; first and last always stay.
fn thin(x: &[f64], y: &[f64]) -> Vec<CurvePoint> {
    let points: Vec<CurvePoint> = x
        .iter()
        .zip(y)
        .map(|(&x, &y)| CurvePoint { x, y })
        .collect();
    if points.len() <= MAX_CURVE_POINTS {
        return points;
    }
    // The curve rises from (0, 0) to (1, 1), so x + y is its length in city blocks, 2 in all. Of
    // each slot of that length its first and its last point stay.
    let slots = (MAX_CURVE_POINTS / 2 - 1) as f64;
    let slot = |point: &CurvePoint| ((point.x + point.y) / 2.0 * slots) as usize;
    let mut kept = vec![points[0]];
    for pair in points[1..].windows(2) {
        if slot(&pair[1]) > slot(&kept[kept.len() - 1]) {
            kept.push(pair[0]);
        }
    }
    let last = points[points.len() - 1];
    kept.push(last);
    kept
}

fn warnings(
    probabilities: &Probabilities<'_>,
    confusion: &ConfusionMatrix,
    names: &[String],
) -> Vec<String> {
    let mut warnings = Vec::new();
    let error = probabilities.largest_sum_error();
    if error > SUM_TOLERANCE {
        warnings.push(format!(
            "probabilities of a sample sum to one only within {error:.1e}; \
             log loss, Brier score and calibration take them as they are"
        ));
    }
    let absent: Vec<&str> = (0..confusion.n_classes())
        .filter(|&class| confusion.support(class) == 0.0)
        .map(|class| names[class].as_str())
        .collect();
    if !absent.is_empty() {
        warnings.push(format!(
            "no sample of {} of the {} classes ({}): their recall counts as 0, their ROC AUC is \
             undefined",
            absent.len(),
            confusion.n_classes(),
            absent[..absent.len().min(5)].join(", ")
        ));
    }
    warnings
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

fn number(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.4}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class {i}")).collect()
    }

    #[test]
    fn an_empty_class_is_a_dash_and_a_warning() {
        let names = names(3);
        let report = ClassificationReport::new(&ReportInput {
            labels: &[0, 1, 1, 0],
            probabilities: &[0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.3, 0.3, 0.4, 0.5, 0.4, 0.1],
            n_classes: 3,
            class_names: &names,
            epsilon: f64::EPSILON,
        })
        .expect("valid");
        assert_eq!(report.accuracy, 0.75);
        assert_eq!(report.classes[2].roc_auc, None);
        assert_eq!(report.roc_auc_macro, None);
        assert!(report.roc_auc_macro_of_defined.is_some());
        let text = report.to_text();
        let empty = text.lines().nth(3).expect("row of class 2");
        let words: Vec<&str> = empty.split_whitespace().collect();
        assert_eq!(
            words,
            ["class", "2", "0.0000", "0.0000", "0.0000", "-", "0"]
        );
        assert!(
            text.contains("warning: no sample of 1 of the 3 classes (class 2)"),
            "{text}"
        );
        let widths: Vec<usize> = text.lines().take(7).map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
        let json = serde_json::to_value(&report).expect("serialisable");
        assert_eq!(json["classes"][2]["roc_auc"], serde_json::Value::Null);
        assert_eq!(json["macro"]["f1"], report.macro_average.f1);
    }

    #[test]
    fn bad_input_is_refused() {
        let (one, two) = (names(1), names(2));
        let check = |probabilities: &[f64], names: &[String], expect: &str| {
            let input = ReportInput {
                labels: &[0],
                probabilities,
                n_classes: names.len(),
                class_names: names,
                epsilon: f64::EPSILON,
            };
            let message = ClassificationReport::new(&input)
                .expect_err("refused")
                .to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(&[1.0], &one, "at least 2 classes");
        check(&[1.5, -0.5], &two, "probability 0 is 1.5");
        check(&[f64::NAN, 0.5], &two, "score 0 is NaN");
    }

    #[test]
    fn a_thinned_curve_keeps_its_ends_and_its_shape() {
        let x: Vec<f64> = (0..=5000).map(|i| f64::from(i) / 5000.0).collect();
        let y: Vec<f64> = x.iter().map(|x| x.powf(0.05)).collect();
        let points = thin(&x, &y);
        assert!(points.len() <= MAX_CURVE_POINTS && points.len() > MAX_CURVE_POINTS / 2);
        assert_eq!((points[0].x, points[0].y), (0.0, 0.0));
        let last = points[points.len() - 1];
        assert_eq!((last.x, last.y), (1.0, 1.0));
        let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().map(|p| (p.x, p.y)).unzip();
        let area = super::super::area_under_curve(&xs, &ys);
        assert!((area - super::super::area_under_curve(&x, &y)).abs() < 2e-3);
    }
}
