use super::confusion::{ConfusionMatrix, LabelSet};
use super::input::Scores;

/// Share of the samples that were recognised (`accuracy_score`).
pub fn accuracy(matrix: &ConfusionMatrix) -> f64 {
    matrix.correct() / matrix.total()
}

/// Mean recall over the classes that have samples (`balanced_accuracy_score`). Classes without
/// samples are left out, as scikit-learn does with a warning.
pub fn balanced_accuracy(matrix: &ConfusionMatrix) -> f64 {
    let recalls: Vec<f64> = matrix
        .classes(LabelSet::Present)
        .into_iter()
        .filter(|&class| matrix.support(class) > 0.0)
        .map(|class| matrix.cell(class, class) / matrix.support(class))
        .collect();
    recalls.iter().sum::<f64>() / recalls.len() as f64
}

/// Share of the samples whose true class is among the `k` highest scores
/// (`top_k_accuracy_score` of a multiclass problem).
///
/// Of equal scores the higher class index counts as the higher one, as in scikit-learn; so for
/// tied scores `k = 1` can differ from [`accuracy`], which takes the first of equals.
pub fn top_k_accuracy(scores: &Scores<'_>, k: usize) -> f64 {
    let mut hits = 0.0;
    for (sample, (&label, row)) in scores.labels().iter().zip(scores.rows()).enumerate() {
        let own = row[label];
        let above = row.iter().enumerate();
        let rank = above
            .filter(|&(class, &score)| score > own || (score == own && class > label))
            .count();
        if rank < k {
            hits += scores.weight(sample);
        }
    }
    hits / scores.total_weight()
}
