//! Is a model right as often as it says it is?
//!
//! The confidence of a sample is its highest probability. Samples are put into `n_bins` bins of
//! equal width by confidence, bin `m` holding `(m / n_bins, (m + 1) / n_bins]` (a confidence of 0
//! falls into the first). The expected calibration error is the mean over the samples of the
//! distance between their bin's accuracy and its mean confidence; the maximum calibration error is
//! the largest such distance (Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural
//! Networks", ICML 2017).

use serde::Serialize;

use super::input::{Probabilities, argmax};
use crate::error::{Result, TrainError};

/// Most bins that a calibration diagram may have.
const MAX_BINS: usize = 10_000;

/// One bin of a calibration diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Confidences in the bin are above this,
    pub lower: f64,
    /// and at most this.
    pub upper: f64,
    /// Weight of the samples in it.
    pub weight: f64,
    /// Mean confidence of its samples; `None` when it is empty.
    pub confidence: Option<f64>,
    /// Share of its samples that were recognised; `None` when it is empty.
    pub accuracy: Option<f64>,
}

/// Calibration of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Expected calibration error, in `[0, 1]`.
    pub ece: f64,
    /// Maximum calibration error, in `[0, 1]`.
    pub mce: f64,
    /// The bins, by rising confidence.
    pub bins: Vec<CalibrationBin>,
}

/// Calibration over `n_bins` bins (15 is usual).
///
/// # Errors
/// When `n_bins` is zero or over ten thousand.
pub fn calibration(probabilities: &Probabilities<'_>, n_bins: usize) -> Result<Calibration> {
    if !(1..=MAX_BINS).contains(&n_bins) {
        return Err(TrainError::config(
            "calibration.bins",
            format!("{n_bins} bins; it must be 1 to {MAX_BINS}"),
        ));
    }
    let edges: Vec<f64> = (0..=n_bins).map(|m| m as f64 / n_bins as f64).collect();
    // Per bin: weight, weighted confidence, weight of the recognised.
    let mut sums = vec![[0.0f64; 3]; n_bins];
    for (sample, row) in probabilities.rows().enumerate() {
        let predicted = argmax(row);
        let (confidence, weight) = (row[predicted], probabilities.weight(sample));
        let bin = edges[1..].partition_point(|&upper| upper < confidence);
        let hit = f64::from(u8::from(predicted == probabilities.labels()[sample]));
        let [total, confidences, hits] = &mut sums[bin.min(n_bins - 1)];
        *total += weight;
        *confidences += weight * confidence;
        *hits += weight * hit;
    }
    let total = probabilities.total_weight();
    let (mut ece, mut mce) = (0.0, 0.0f64);
    for [weight, confidences, hits] in sums.iter().filter(|[weight, ..]| *weight > 0.0) {
        let gap = (hits - confidences).abs();
        ece += gap / total;
        mce = mce.max(gap / weight);
    }
    let bin = |(m, [weight, confidences, hits]): (usize, &[f64; 3])| CalibrationBin {
        lower: edges[m],
        upper: edges[m + 1],
        weight: *weight,
        confidence: (*weight > 0.0).then(|| confidences / weight),
        accuracy: (*weight > 0.0).then(|| hits / weight),
    };
    let bins = sums.iter().enumerate().map(bin).collect();
    Ok(Calibration { ece, mce, bins })
}
