use super::input::Probabilities;

/// Mean negative logarithm of the probability given to the true class (`log_loss`), natural
/// logarithm, 0 at best.
///
/// Probabilities are clipped to `[eps, 1 - eps]` and, as in current scikit-learn, not rescaled to
/// sum to one. `eps` is the machine epsilon of the type in which the model computed them:
/// `f64::EPSILON`, or `f64::from(f32::EPSILON)` for probabilities widened from `f32`.
pub fn log_loss(probabilities: &Probabilities<'_>, eps: f64) -> f64 {
    let mut sum = 0.0;
    for (sample, row) in probabilities.rows().enumerate() {
        let given = row[probabilities.labels()[sample]];
        sum -= probabilities.weight(sample) * given.clamp(eps, 1.0 - eps).ln();
    }
    sum / probabilities.total_weight()
}
