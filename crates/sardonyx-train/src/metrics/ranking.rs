//! How well a score sorts the samples of a class before the others: ROC and precision-recall
//! curves and the areas under them.
//!
//! Ties are one step of a curve, never an order of their own. A class without positives or without
//! negatives has no ROC AUC: `None` here, NaN with a warning in scikit-learn.

use serde::Serialize;

use super::input::{BinaryScores, Scores};

/// A ROC curve, from (0, 0) to (1, 1). Rates are NaN throughout when there are no negatives
/// (`false_positive_rate`) or no positives (`true_positive_rate`), as in scikit-learn.
#[derive(Debug, Clone, PartialEq)]
pub struct RocCurve {
    /// Share of the negatives with a score of at least the threshold.
    pub false_positive_rate: Vec<f64>,
    /// Share of the positives with a score of at least the threshold.
    pub true_positive_rate: Vec<f64>,
    /// Falling thresholds, the first infinite.
    pub thresholds: Vec<f64>,
}

/// A precision-recall curve, by rising threshold; the last point is (precision 1, recall 0) and
/// has no threshold. Recall is 1 throughout when there are no positives, as in scikit-learn.
#[derive(Debug, Clone, PartialEq)]
pub struct PrecisionRecallCurve {
    /// Share of the samples at or above the threshold that are positive.
    pub precision: Vec<f64>,
    /// Share of the positives at or above the threshold.
    pub recall: Vec<f64>,
    /// Rising thresholds, one fewer than the points.
    pub thresholds: Vec<f64>,
}

/// ROC curve (`roc_curve`). `drop_intermediate` leaves out points on a straight line between their
/// neighbours.
pub fn roc_curve(scores: &BinaryScores, drop_intermediate: bool) -> RocCurve {
    let mut steps = steps(scores);
    if drop_intermediate && steps.len() > 2 {
        let bends = |i: usize| {
            let [a, b, c] = [steps[i - 1], steps[i], steps[i + 1]];
            // The second difference, in the order of operations of numpy.diff.
            (c.positives - b.positives) - (b.positives - a.positives) != 0.0
                || (c.negatives - b.negatives) - (b.negatives - a.negatives) != 0.0
        };
        let last = steps.len() - 1;
        steps = (0..=last)
            .filter(|&i| i == 0 || i == last || bends(i))
            .map(|i| steps[i])
            .collect();
    }
    let start = Step {
        threshold: f64::INFINITY,
        positives: 0.0,
        negatives: 0.0,
    };
    steps.insert(0, start);
    let end = steps[steps.len() - 1];
    let rate = |count: f64, of: f64| if of > 0.0 { count / of } else { f64::NAN };
    let rates = |count: fn(&Step) -> f64| -> Vec<f64> {
        steps.iter().map(|s| rate(count(s), count(&end))).collect()
    };
    RocCurve {
        false_positive_rate: rates(|s| s.negatives),
        true_positive_rate: rates(|s| s.positives),
        thresholds: steps.iter().map(|s| s.threshold).collect(),
    }
}

/// Area under a curve through these points by the trapezoidal rule, `x` not falling.
pub fn area_under_curve(x: &[f64], y: &[f64]) -> f64 {
    let widths = x.windows(2).map(|pair| pair[1] - pair[0]);
    let heights = y.windows(2).map(|pair| (pair[1] + pair[0]) / 2.0);
    widths.zip(heights).map(|(w, h)| w * h).sum()
}

/// Area under the ROC curve (`roc_auc_score`), or `None` when all samples are positive or none is.
pub fn roc_auc(scores: &BinaryScores) -> Option<f64> {
    let curve = roc_curve(scores, true);
    // scikit-learn asks which classes occur, weight or not, but drops weightless samples before
    // it draws the curve; either way there is no number.
    let area = area_under_curve(&curve.false_positive_rate, &curve.true_positive_rate);
    (!area.is_nan()).then_some(area)
}

/// One-vs-rest ROC AUC of every class and its averages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OneVsRestAuc {
    /// Per class; `None` where it is undefined.
    pub per_class: Vec<Option<f64>>,
    /// Mean over the classes; `None` when one of them is undefined (scikit-learn: NaN).
    #[serde(rename = "macro")]
    pub macro_average: Option<f64>,
    /// Mean over the classes weighted by support; classes without samples do not count.
    pub weighted: Option<f64>,
    /// Mean over the classes where it is defined; `None` when there is none.
    pub macro_of_defined: Option<f64>,
}

/// Equal to scikit-learn's `roc_auc_score(multi_class="ovr")`, which however refuses scores whose
/// rows do not sum to one; here any finite scores will do.
pub fn roc_auc_one_vs_rest(scores: &Scores<'_>) -> OneVsRestAuc {
    let classes = 0..scores.n_classes();
    let per_class: Vec<Option<f64>> = classes
        .map(|class| roc_auc(&scores.one_vs_rest(class)))
        .collect();
    let mut supports = vec![0.0; scores.n_classes()];
    for (sample, &label) in scores.labels().iter().enumerate() {
        supports[label] += scores.weight(sample);
    }
    let pairs = || per_class.iter().copied().zip(supports.iter().copied());
    let unit = |(auc, _): (Option<f64>, f64)| Some((auc?, 1.0));
    OneVsRestAuc {
        macro_average: mean(pairs().map(unit)),
        weighted: mean(
            pairs()
                .filter(|&(_, support)| support != 0.0)
                .map(|(auc, support)| Some((auc?, support))),
        ),
        macro_of_defined: mean(pairs().filter(|(auc, _)| auc.is_some()).map(unit)),
        per_class,
    }
}

/// Precision-recall curve (`precision_recall_curve`). `drop_intermediate` keeps only the first and
/// last point of each recall.
pub fn precision_recall_curve(
    scores: &BinaryScores,
    drop_intermediate: bool,
) -> PrecisionRecallCurve {
    let mut steps = steps(scores);
    if drop_intermediate && steps.len() > 2 {
        let last = steps.len() - 1;
        let turns = |i: usize| {
            steps[i].positives != steps[i - 1].positives
                || steps[i + 1].positives != steps[i].positives
        };
        steps = (0..=last)
            .filter(|&i| i == 0 || i == last || turns(i))
            .map(|i| steps[i])
            .collect();
    }
    let all = steps[steps.len() - 1].positives;
    let mut curve = PrecisionRecallCurve {
        precision: Vec::with_capacity(steps.len() + 1),
        recall: Vec::with_capacity(steps.len() + 1),
        thresholds: Vec::with_capacity(steps.len()),
    };
    for step in steps.iter().rev() {
        let reached = step.positives + step.negatives;
        let precision = if reached == 0.0 {
            0.0
        } else {
            step.positives / reached
        };
        curve.precision.push(precision);
        curve.recall.push(if all == 0.0 {
            1.0
        } else {
            step.positives / all
        });
        curve.thresholds.push(step.threshold);
    }
    curve.precision.push(1.0);
    curve.recall.push(0.0);
    curve
}

/// Average precision (`average_precision_score`): the step-wise area under the precision-recall
/// curve. `None` when there is no positive, where scikit-learn warns and gives 0.
pub fn average_precision(scores: &BinaryScores) -> Option<f64> {
    let curve = precision_recall_curve(scores, false);
    let first = *curve.precision.first()?;
    if first == 0.0 {
        // The lowest threshold lets everything through: its precision is the share of positives.
        return None;
    }
    let drops = curve.recall.windows(2).map(|pair| pair[0] - pair[1]);
    Some(drops.zip(&curve.precision).map(|(d, p)| d * p).sum())
}

/// Counts at or above a threshold.
#[derive(Debug, Clone, Copy)]
struct Step {
    threshold: f64,
    positives: f64,
    negatives: f64,
}

/// One step per distinct score, by falling score. Samples without weight are left out.
fn steps(scores: &BinaryScores) -> Vec<Step> {
    let weight = |sample: usize| scores.weights.as_ref().map_or(1.0, |w| w[sample]);
    let mut order: Vec<usize> = (0..scores.values.len())
        .filter(|&sample| weight(sample) != 0.0)
        .collect();
    order.sort_by(|&a, &b| scores.values[b].total_cmp(&scores.values[a]));
    let mut steps: Vec<Step> = Vec::new();
    let (mut positives, mut negatives) = (0.0, 0.0);
    for sample in order {
        match scores.positive[sample] {
            true => positives += weight(sample),
            false => negatives += weight(sample),
        }
        let step = Step {
            threshold: scores.values[sample],
            positives,
            negatives,
        };
        match steps.last_mut() {
            Some(last) if last.threshold == step.threshold => *last = step,
            _ => steps.push(step),
        }
    }
    steps
}

/// Weighted mean; `None` when a value is missing or there is none.
fn mean(values: impl Iterator<Item = Option<(f64, f64)>>) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for value in values {
        let (value, weight) = value?;
        sum += value * weight;
        weights += weight;
    }
    (weights > 0.0).then(|| sum / weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(positive: &[usize], values: &[f64]) -> BinaryScores {
        let positive = positive.iter().map(|&p| p == 1).collect();
        BinaryScores::new(positive, values.to_vec(), None).expect("valid")
    }

    #[test]
    fn the_example_of_the_scikit_learn_manual() {
        let scores = binary(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8]);
        let roc = roc_curve(&scores, true);
        assert_eq!(roc.false_positive_rate, [0.0, 0.0, 0.5, 0.5, 1.0]);
        assert_eq!(roc.true_positive_rate, [0.0, 0.5, 0.5, 1.0, 1.0]);
        assert_eq!(roc.thresholds, [f64::INFINITY, 0.8, 0.4, 0.35, 0.1]);
        assert_eq!(roc_auc(&scores), Some(0.75));
        let curve = precision_recall_curve(&scores, false);
        assert_eq!(curve.precision, [0.5, 2.0 / 3.0, 0.5, 1.0, 1.0]);
        assert_eq!(curve.recall, [1.0, 1.0, 0.5, 0.5, 0.0]);
        assert_eq!(curve.thresholds, [0.1, 0.35, 0.4, 0.8]);
    }

    #[test]
    fn one_class_alone_has_no_area() {
        assert_eq!(roc_auc(&binary(&[1, 1], &[0.1, 0.2])), None);
        assert_eq!(roc_auc(&binary(&[0, 0], &[0.1, 0.2])), None);
        assert_eq!(average_precision(&binary(&[0, 0], &[0.1, 0.2])), None);
        assert_eq!(average_precision(&binary(&[1, 1], &[0.1, 0.2])), Some(1.0));
        let curve = roc_curve(&binary(&[0, 0], &[0.1, 0.2]), true);
        assert!(curve.true_positive_rate.iter().all(|rate| rate.is_nan()));
    }

    #[test]
    fn all_tied_is_a_coin_flip() {
        assert_eq!(roc_auc(&binary(&[0, 1, 1, 0, 1], &[0.5; 5])), Some(0.5));
        let zeros = binary(&[1, 0], &[-0.0, 0.0]);
        assert_eq!(roc_auc(&zeros), Some(0.5), "both zeros are the same score");
    }
}
