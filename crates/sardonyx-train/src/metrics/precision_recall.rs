use serde::Serialize;

use super::confusion::{ConfusionMatrix, LabelSet};

/// What a ratio is when its denominator is zero: a precision without predictions, a recall
/// without samples, an F-score with neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroDivision {
    /// 0: scikit-learn's default.
    #[default]
    Zero,
    /// 1.
    One,
    /// NaN, and the class is left out of the averages (`zero_division=nan`).
    Undefined,
}

/// Which classes count, and what an undefined ratio is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrecisionRecallOptions {
    /// Classes that are listed and averaged over.
    pub labels: LabelSet,
    /// Value of an undefined ratio.
    pub zero_division: ZeroDivision,
    /// Weight of recall against precision in the F-score; 1 gives F1.
    pub beta: f64,
}

impl Default for PrecisionRecallOptions {
    fn default() -> Self {
        PrecisionRecallOptions {
            labels: LabelSet::Present,
            zero_division: ZeroDivision::Zero,
            beta: 1.0,
        }
    }
}

/// Precision, recall and F-score, each in `[0, 1]`, or NaN where undefined and
/// [`ZeroDivision::Undefined`] was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrecisionRecall {
    /// Share of the predictions that are right.
    pub precision: f64,
    /// Share of the samples that are found.
    pub recall: f64,
    /// Weighted harmonic mean of the two.
    pub f1: f64,
}

/// Precision, recall and F-score of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassPrecisionRecall {
    /// The class.
    pub class: usize,
    /// Weight of its samples.
    pub support: f64,
    /// Its scores.
    #[serde(flatten)]
    pub scores: PrecisionRecall,
}

/// Precision, recall and F-score, per class and averaged three ways.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrecisionRecallSummary {
    /// Per class of the label set.
    pub per_class: Vec<ClassPrecisionRecall>,
    /// From the counts of all classes together.
    pub micro: PrecisionRecall,
    /// Plain mean over the classes.
    #[serde(rename = "macro")]
    pub macro_average: PrecisionRecall,
    /// Mean over the classes weighted by support.
    pub weighted: PrecisionRecall,
}

/// Equal to scikit-learn's `precision_recall_fscore_support`.
pub fn precision_recall(
    matrix: &ConfusionMatrix,
    options: &PrecisionRecallOptions,
) -> PrecisionRecallSummary {
    let classes = matrix.classes(options.labels);
    let count = |class: usize| Counts {
        hits: matrix.cell(class, class),
        predicted: matrix.predicted(class),
        support: matrix.support(class),
    };
    let counts: Vec<Counts> = classes.iter().map(|&class| count(class)).collect();
    let all = counts.iter().fold(Counts::default(), |sum, c| Counts {
        hits: sum.hits + c.hits,
        predicted: sum.predicted + c.predicted,
        support: sum.support + c.support,
    });
    let scores: Vec<PrecisionRecall> = counts.iter().map(|c| c.scores(options)).collect();
    let ones = vec![1.0; counts.len()];
    let supports: Vec<f64> = counts.iter().map(|c| c.support).collect();
    let rows = classes.iter().zip(&supports).zip(&scores);
    PrecisionRecallSummary {
        per_class: rows
            .map(|((&class, &support), &scores)| ClassPrecisionRecall {
                class,
                support,
                scores,
            })
            .collect(),
        micro: all.scores(options),
        macro_average: average(&scores, &ones),
        weighted: average(&scores, &supports),
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    hits: f64,
    predicted: f64,
    support: f64,
}

impl Counts {
    fn scores(&self, options: &PrecisionRecallOptions) -> PrecisionRecall {
        let beta2 = options.beta * options.beta;
        let ratio = |numerator: f64, denominator: f64| match options.zero_division {
            _ if denominator != 0.0 => numerator / denominator,
            ZeroDivision::Zero => 0.0,
            ZeroDivision::One => 1.0,
            ZeroDivision::Undefined => f64::NAN,
        };
        PrecisionRecall {
            precision: ratio(self.hits, self.predicted),
            recall: ratio(self.hits, self.support),
            f1: ratio(
                (1.0 + beta2) * self.hits,
                beta2 * self.support + self.predicted,
            ),
        }
    }
}

fn average(scores: &[PrecisionRecall], weights: &[f64]) -> PrecisionRecall {
    let mean = |field: fn(&PrecisionRecall) -> f64| {
        mean_of_defined(scores.iter().map(field).zip(weights.iter().copied()))
    };
    PrecisionRecall {
        precision: mean(|s| s.precision),
        recall: mean(|s| s.recall),
        f1: mean(|s| s.f1),
    }
}

/// Weighted mean over the values that are not NaN; their plain mean when the weights left are all
/// zero; NaN when no value is left.
fn mean_of_defined(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let defined: Vec<(f64, f64)> = values.filter(|(value, _)| !value.is_nan()).collect();
    let weight: f64 = defined.iter().map(|(_, weight)| weight).sum();
    if weight == 0.0 {
        return defined.iter().map(|(value, _)| value).sum::<f64>() / defined.len() as f64;
    }
    defined.iter().map(|(v, w)| v * w).sum::<f64>() / weight
}
