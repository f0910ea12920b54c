use serde::Serialize;

use super::input::{Scores, check_classes, check_length, check_weights};
use crate::error::Result;

/// Which classes a metric speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSet {
    /// Those that occur among the labels or the predictions: scikit-learn's default.
    #[default]
    Present,
    /// Every class of the problem, whether it occurs or not.
    All,
}

/// How the cells of a confusion matrix are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalize {
    /// Each row (true class) sums to 1.
    True,
    /// Each column (predicted class) sums to 1.
    Predicted,
    /// All cells together sum to 1.
    All,
}

/// Confusion matrix: row = true class, column = predicted class, cell = weight of the samples.
///
/// It can be filled batch by batch; whatever is computed from it is computed over all of them,
/// never averaged per batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfusionMatrix {
    n_classes: usize,
    cells: Vec<f64>,
}

impl ConfusionMatrix {
    /// An empty matrix.
    pub fn new(n_classes: usize) -> ConfusionMatrix {
        ConfusionMatrix {
            n_classes,
            cells: vec![0.0; n_classes * n_classes],
        }
    }

    /// The matrix of these true and predicted classes (0-based), with a weight per sample or 1.
    ///
    /// # Errors
    /// As [`ConfusionMatrix::add`], and when there is no sample or all weights are zero.
    pub fn from_classes(
        labels: &[usize],
        predicted: &[usize],
        n_classes: usize,
        weights: Option<&[f64]>,
    ) -> Result<ConfusionMatrix> {
        let mut matrix = ConfusionMatrix::new(n_classes);
        matrix.add(labels, predicted, weights)?;
        Ok(matrix)
    }

    /// The matrix of the highest-scoring classes.
    pub fn from_scores(scores: &Scores<'_>) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(scores.n_classes());
        for (sample, (&label, row)) in scores.labels().iter().zip(scores.rows()).enumerate() {
            matrix.cells[label * matrix.n_classes + super::input::argmax(row)] +=
                scores.weight(sample);
        }
        matrix
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// When lengths do not agree, a class is out of range, or a weight is negative or not finite.
    pub fn add(
        &mut self,
        labels: &[usize],
        predicted: &[usize],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        check_classes("label", labels, self.n_classes)?;
        check_classes("prediction", predicted, self.n_classes)?;
        check_length("predictions", labels.len(), predicted.len())?;
        check_weights(weights, labels.len())?;
        for (sample, (&label, &prediction)) in labels.iter().zip(predicted).enumerate() {
            self.cells[label * self.n_classes + prediction] +=
                weights.map_or(1.0, |weights| weights[sample]);
        }
        Ok(())
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Weight of the samples of class `label` that were held for `predicted`.
    pub fn cell(&self, label: usize, predicted: usize) -> f64 {
        self.cells[label * self.n_classes + predicted]
    }

    /// All cells, row by row.
    pub fn cells(&self) -> &[f64] {
        &self.cells
    }

    /// Weight of the samples of a class.
    pub fn support(&self, label: usize) -> f64 {
        (0..self.n_classes).map(|p| self.cell(label, p)).sum()
    }

    /// Weight of the samples held for a class.
    pub fn predicted(&self, class: usize) -> f64 {
        (0..self.n_classes).map(|l| self.cell(l, class)).sum()
    }

    /// Weight of all samples.
    pub fn total(&self) -> f64 {
        self.cells.iter().sum()
    }

    /// Weight of the samples that were recognised.
    pub fn correct(&self) -> f64 {
        (0..self.n_classes).map(|c| self.cell(c, c)).sum()
    }

    /// The classes of a label set, in order.
    pub fn classes(&self, set: LabelSet) -> Vec<usize> {
        (0..self.n_classes)
            .filter(|&class| {
                set == LabelSet::All || self.support(class) > 0.0 || self.predicted(class) > 0.0
            })
            .collect()
    }

    /// Scaled cells, row by row; a row or column without samples is all zeros, as in
    /// scikit-learn's `confusion_matrix(normalize=...)`.
    pub fn normalized(&self, by: Normalize) -> Vec<f64> {
        let n = self.n_classes;
        let ratio = |cell: f64, sum: f64| if sum == 0.0 { 0.0 } else { cell / sum };
        let rows: Vec<f64> = (0..n).map(|label| self.support(label)).collect();
        let columns: Vec<f64> = (0..n).map(|class| self.predicted(class)).collect();
        let total = self.total();
        let sum = |index: usize| match by {
            Normalize::True => rows[index / n],
            Normalize::Predicted => columns[index % n],
            Normalize::All => total,
        };
        let cells = self.cells.iter().enumerate();
        cells.map(|(i, &cell)| ratio(cell, sum(i))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up_to_the_whole() {
        let (labels, predicted) = ([0, 1, 2, 2, 1, 0, 2], [0, 2, 2, 1, 1, 0, 2]);
        let whole = ConfusionMatrix::from_classes(&labels, &predicted, 4, None).expect("valid");
        for size in [1, 2, 3, 7] {
            let mut parts = ConfusionMatrix::new(4);
            for (l, p) in labels.chunks(size).zip(predicted.chunks(size)) {
                parts.add(l, p, None).expect("valid");
            }
            assert_eq!(parts, whole);
        }
        assert_eq!(whole.classes(LabelSet::Present), [0, 1, 2]);
        assert_eq!(whole.classes(LabelSet::All), [0, 1, 2, 3]);
        assert_eq!(
            whole.normalized(Normalize::True)[8..12],
            [0.0, 1.0 / 3.0, 2.0 / 3.0, 0.0]
        );
        assert_eq!(whole.normalized(Normalize::True)[12..], [0.0; 4]);
    }
}
