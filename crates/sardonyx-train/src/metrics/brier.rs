use super::input::Probabilities;

/// Brier score (`brier_score_loss`): mean squared distance between the probabilities and the
/// one-hot label, 0 at best. Halved for two classes, so that it is the usual score of a yes/no
/// question there and lies in `[0, 1]`; for more classes it lies in `[0, 2]`.
pub fn brier_score(probabilities: &Probabilities<'_>) -> f64 {
    let mut sum = 0.0;
    for (sample, row) in probabilities.rows().enumerate() {
        let label = probabilities.labels()[sample];
        let squares = row.iter().enumerate().map(|(class, p)| {
            let distance = f64::from(u8::from(class == label)) - p;
            distance * distance
        });
        sum += probabilities.weight(sample) * squares.sum::<f64>();
    }
    let half = if probabilities.n_classes() < 3 {
        0.5
    } else {
        1.0
    };
    half * sum / probabilities.total_weight()
}
