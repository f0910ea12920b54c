use crate::error::{Result, TrainError};

/// Class probabilities (or other scores) of a set of samples, checked once so that no metric has
/// to.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    labels: &'a [usize],
    values: &'a [f64],
    n_classes: usize,
    weights: Option<&'a [f64]>,
}

impl<'a> Scores<'a> {
    /// `labels`: the true class of each of N samples, 0-based. `values`: N x C row-major scores.
    /// `weights`: the weight of each sample, all 1 when absent.
    ///
    /// # Errors
    /// When there is no sample, lengths do not agree, a label is no class, a score is NaN or
    /// infinite, or a weight is negative or not finite or all of them are zero.
    pub fn new(
        labels: &'a [usize],
        values: &'a [f64],
        n_classes: usize,
        weights: Option<&'a [f64]>,
    ) -> Result<Scores<'a>> {
        check_classes("label", labels, n_classes)?;
        check_weights(weights, labels.len())?;
        let expected = labels.len().saturating_mul(n_classes);
        check_length("scores", expected, values.len())?;
        check_finite("score", values)?;
        Ok(Scores {
            labels,
            values,
            n_classes,
            weights,
        })
    }

    /// The same scores, which must be probabilities: each in `[0, 1]`. (That rows sum to one is
    /// not demanded: [`Scores::largest_sum_error`] tells by how much they do not.)
    ///
    /// # Errors
    /// When a score is outside `[0, 1]`.
    pub fn probabilities(self) -> Result<Probabilities<'a>> {
        match self.values.iter().position(|p| !(0.0..=1.0).contains(p)) {
            Some(index) => Err(TrainError::Value {
                what: "probability",
                index,
                value: self.values[index],
                must: "between 0 and 1",
            }),
            None => Ok(Probabilities(self)),
        }
    }

    /// True classes.
    pub fn labels(&self) -> &'a [usize] {
        self.labels
    }

    /// Number of classes C.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Weight of a sample.
    pub fn weight(&self, sample: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[sample])
    }

    /// Sum of all weights: N when there are none.
    pub fn total_weight(&self) -> f64 {
        self.weights
            .map_or(self.labels.len() as f64, |weights| weights.iter().sum())
    }

    /// One row of C scores per sample.
    pub fn rows(&self) -> impl Iterator<Item = &'a [f64]> {
        self.values.chunks_exact(self.n_classes)
    }

    /// One class against the rest: its scores, and which samples belong to it.
    pub fn one_vs_rest(&self, class: usize) -> BinaryScores {
        BinaryScores {
            positive: self.labels.iter().map(|&label| label == class).collect(),
            values: self.rows().map(|row| row[class]).collect(),
            weights: self.weights.map(<[f64]>::to_vec),
        }
    }

    /// The class with the highest score of each sample; the first of equals, as `numpy.argmax`.
    pub fn predictions(&self) -> Vec<usize> {
        self.rows().map(argmax).collect()
    }

    /// The largest distance of a row's sum from 1.
    pub fn largest_sum_error(&self) -> f64 {
        self.rows()
            .map(|row| (row.iter().sum::<f64>() - 1.0).abs())
            .fold(0.0, f64::max)
    }
}

/// [`Scores`] whose values are all in `[0, 1]`.
#[derive(Debug, Clone, Copy)]
pub struct Probabilities<'a>(Scores<'a>);

impl<'a> std::ops::Deref for Probabilities<'a> {
    type Target = Scores<'a>;
    fn deref(&self) -> &Scores<'a> {
        &self.0
    }
}

/// Scores of a yes/no question.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryScores {
    pub(super) positive: Vec<bool>,
    pub(super) values: Vec<f64>,
    pub(super) weights: Option<Vec<f64>>,
}

impl BinaryScores {
    /// `positive`: which of N samples belong to the class. `values`: how much each is held to.
    ///
    /// # Errors
    /// As [`Scores::new`].
    pub fn new(
        positive: Vec<bool>,
        values: Vec<f64>,
        weights: Option<Vec<f64>>,
    ) -> Result<BinaryScores> {
        if positive.is_empty() {
            return Err(TrainError::NoSamples);
        }
        check_length("scores", positive.len(), values.len())?;
        check_finite("score", &values)?;
        check_weights(weights.as_deref(), positive.len())?;
        Ok(BinaryScores {
            positive,
            values,
            weights,
        })
    }
}

/// Position of the largest value; the first of equals. Zero for an empty row.
pub(crate) fn argmax(row: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

pub(super) fn check_classes(what: &'static str, classes: &[usize], n_classes: usize) -> Result<()> {
    if classes.is_empty() {
        return Err(TrainError::NoSamples);
    }
    match classes.iter().position(|&class| class >= n_classes) {
        Some(index) => Err(TrainError::ClassRange {
            what,
            index,
            class: classes[index],
            n_classes,
        }),
        None => Ok(()),
    }
}

pub(super) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(TrainError::Length {
        what,
        expected,
        found,
    })
}

fn check_finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(TrainError::Value {
            what,
            index,
            value: values[index],
            must: "a finite number",
        }),
        None => Ok(()),
    }
}

pub(super) fn check_weights(weights: Option<&[f64]>, n_samples: usize) -> Result<()> {
    let Some(weights) = weights else {
        return Ok(());
    };
    check_length("weights", n_samples, weights.len())?;
    let wrong = |weight: &f64| !weight.is_finite() || *weight < 0.0;
    if let Some(index) = weights.iter().position(wrong) {
        return Err(TrainError::Value {
            what: "weight",
            index,
            value: weights[index],
            must: "finite and not negative",
        });
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(TrainError::Value {
            what: "weight",
            index: 0,
            value: 0.0,
            must: "above zero for at least one sample",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_is_refused() {
        let check = |labels: &[usize], values: &[f64], weights: Option<&[f64]>, expect: &str| {
            let message = Scores::new(labels, values, 2, weights)
                .expect_err("refused")
                .to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(&[], &[], None, "no sample");
        check(&[0, 1], &[0.5; 3], None, "expected 4 values, found 3");
        check(&[0, 2], &[0.5; 4], None, "label 1 is class 2");
        check(&[0], &[f64::NAN, 0.5], None, "score 0 is NaN");
        check(&[0], &[0.5, f64::INFINITY], None, "score 1 is inf");
        check(&[0], &[0.5, 0.5], Some(&[-1.0]), "weight 0 is -1");
        check(&[0], &[0.5, 0.5], Some(&[0.0]), "above zero");
        check(&[0], &[0.5, 0.5], Some(&[1.0, 1.0]), "expected 1 values");
        let logits = Scores::new(&[0], &[-3.0, 7.0], 2, None).expect("scores may be any number");
        assert!(logits.probabilities().is_err());
    }

    #[test]
    fn the_first_of_equals_is_predicted() {
        assert_eq!(argmax(&[0.2, 0.4, 0.4]), 1);
    }
}
