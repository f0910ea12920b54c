//! What is wrong, or merely odd, with data before a model is trained on it: counted first
//! ([`PartReport`], [`CrossReport`]), judged afterwards ([`Finding`]).
//!
//! What a [`Dataset`](crate::Dataset) cannot be by construction (inputs and targets of different
//! number, class ids without a name) is an error of the reader and not looked for again.

mod count;
mod judge;

use std::fmt;

use crate::dataset::Dataset;
use crate::hash;
use crate::view::View;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Training works, but its result may not be what it seems.
    Warning,
    /// Training would fail or learn nothing.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One thing to say about the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Stable name of the check, such as `empty-class`.
    pub code: &'static str,
    /// The part that it concerns.
    pub part: String,
    /// What was found, with numbers.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}; hint: {}",
            self.severity, self.part, self.message, self.hint
        )
    }
}

/// One value of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// Index of the sample in its data set.
    pub row: usize,
    /// Index of the value in the sample.
    pub feature: usize,
    /// The feature's name, or its channel, row and column.
    pub name: String,
}

/// What was counted in one part.
#[derive(Debug, Clone, PartialEq)]
pub struct PartReport {
    /// Name of the part, such as `train`.
    pub name: String,
    /// Number of samples.
    pub n_rows: usize,
    /// Samples of each class; empty for regression.
    pub class_counts: Vec<usize>,
    /// Samples of the largest class for each one of the smallest that has any.
    pub imbalance: Option<f64>,
    /// Smallest and largest finite raw value.
    pub range: Option<(f32, f32)>,
    /// Values that are NaN.
    pub n_nan: usize,
    /// Values that are infinite.
    pub n_infinite: usize,
    /// The first value that is either.
    pub first_not_finite: Option<Location>,
    /// Targets (regression) that are NaN or infinite.
    pub n_bad_targets: usize,
    /// Features that have one value in all samples.
    pub constant_features: Vec<usize>,
    /// Samples whose inputs are, to the bit, those of an earlier sample of the part.
    pub n_duplicates: usize,
    /// Groups of samples with the same inputs that do not all have the same target.
    pub n_conflicts: usize,
}

/// What two parts have in common and should not.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossReport {
    /// Name of the first part.
    pub first: String,
    /// Name of the second part.
    pub second: String,
    /// Samples of the second part whose inputs occur in the first.
    pub n_shared: usize,
    /// Those of them whose target occurs with these inputs nowhere in the first part.
    pub n_conflicts: usize,
    /// Index of a shared sample in the data set of each part.
    pub example: Option<(usize, usize)>,
}

/// Result of [`validate`].
#[derive(Debug, Clone, PartialEq)]
pub struct ValidationReport {
    /// One report for each part.
    pub parts: Vec<PartReport>,
    /// One report for each pair of parts.
    pub pairs: Vec<CrossReport>,
    /// What there is to say, the gravest first.
    pub findings: Vec<Finding>,
}

impl ValidationReport {
    /// Severity of the gravest finding.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Findings of one severity.
    pub fn with(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.severity == severity)
    }
}

/// Checks one data set as a whole.
pub fn validate(dataset: &Dataset) -> ValidationReport {
    validate_parts(&[("data", &dataset.view())])
}

/// Checks each part and every pair of them. The first part is taken for the training data.
///
/// Costs one hash of every sample and one pass over all values.
pub fn validate_parts(parts: &[(&str, &View)]) -> ValidationReport {
    let mut hashed: Vec<(Dataset, Vec<u128>)> = Vec::new();
    let mut keys = Vec::with_capacity(parts.len());
    for (_, view) in parts {
        let known = hashed
            .iter()
            .position(|(data, _)| data.is_same(view.dataset()));
        let index = known.unwrap_or_else(|| {
            hashed.push((view.dataset().clone(), hash::rows(view.dataset())));
            hashed.len() - 1
        });
        keys.push(count::sorted_keys(view, &hashed[index].1));
    }
    let reports: Vec<PartReport> = std::iter::zip(parts, &keys)
        .map(|((name, view), keys)| count::part(name, view, keys))
        .collect();
    let mut pairs = Vec::new();
    for second in 0..parts.len() {
        for first in 0..second {
            pairs.push(CrossReport {
                first: parts[first].0.to_owned(),
                second: parts[second].0.to_owned(),
                ..count::pair(&keys[first], &keys[second])
            });
        }
    }
    let mut findings = judge::findings(parts, &reports, &pairs);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    ValidationReport {
        parts: reports,
        pairs,
        findings,
    }
}

#[cfg(test)]
mod tests;
