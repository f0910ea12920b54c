use super::confusion::{ConfusionMatrix, LabelSet};

/// Matthews correlation coefficient of any number of classes, in `[-1, 1]`
/// (`matthews_corrcoef`); 0 when labels or predictions are all of one class, as in scikit-learn.
pub fn matthews_correlation(matrix: &ConfusionMatrix) -> f64 {
    let classes = 0..matrix.n_classes();
    let (mut both, mut true_squares, mut predicted_squares) = (0.0, 0.0, 0.0);
    for class in classes {
        let (support, predicted) = (matrix.support(class), matrix.predicted(class));
        both += support * predicted;
        true_squares += support * support;
        predicted_squares += predicted * predicted;
    }
    let total = matrix.total();
    let covariance = matrix.correct() * total - both;
    let variances = (total * total - predicted_squares) * (total * total - true_squares);
    if one_class(matrix) {
        return 0.0;
    }
    covariance / variances.sqrt()
}

/// Whether labels or predictions are all of one class. Asked of the counts, since with weights
/// the variance that is zero in theory may come out as a rounding error.
fn one_class(matrix: &ConfusionMatrix) -> bool {
    let used = |weight: &dyn Fn(usize) -> f64| {
        (0..matrix.n_classes())
            .filter(|&class| weight(class) > 0.0)
            .count()
    };
    used(&|class| matrix.support(class)) < 2 || used(&|class| matrix.predicted(class)) < 2
}

/// How much a disagreement counts in Cohen's kappa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KappaWeights {
    /// Every disagreement counts alike.
    #[default]
    Equal,
    /// By the distance of the classes.
    Linear,
    /// By the square of the distance.
    Quadratic,
}

/// Cohen's kappa between labels and predictions (`cohen_kappa_score`), at most 1. `None` when only
/// one class occurs at all, where it is undefined (scikit-learn: NaN with a warning).
///
/// Distances are counted among the classes of `labels`.
pub fn cohen_kappa(
    matrix: &ConfusionMatrix,
    weights: KappaWeights,
    labels: LabelSet,
) -> Option<f64> {
    let classes = matrix.classes(labels);
    let total = matrix.total();
    let (mut observed, mut expected) = (0.0, 0.0);
    for (i, &label) in classes.iter().enumerate() {
        for (j, &class) in classes.iter().enumerate() {
            let distance = i.abs_diff(j) as f64;
            let weight = match weights {
                KappaWeights::Equal => f64::from(u8::from(i != j)),
                KappaWeights::Linear => distance,
                KappaWeights::Quadratic => distance * distance,
            };
            observed += weight * matrix.cell(label, class);
            expected += weight * (matrix.predicted(label) * matrix.support(class) / total);
        }
    }
    (expected != 0.0).then(|| 1.0 - observed / expected)
}
