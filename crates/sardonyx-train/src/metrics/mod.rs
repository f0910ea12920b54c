//! Measures of a classifier, each over the whole set at once and equal to scikit-learn's.
//!
//! Nothing here averages over batches: counts are collected in a [`ConfusionMatrix`], scores in
//! [`Scores`], and the measure is taken of all of them. Undefined values are `None` (or NaN where
//! the caller asked for it), never a number that looks like a result; input with NaN is refused.

mod accuracy;
mod agreement;
mod brier;
mod calibration;
mod classification_report;
mod confusion;
mod input;
mod log_loss;
mod precision_recall;
mod ranking;

pub use accuracy::{accuracy, balanced_accuracy, top_k_accuracy};
pub use agreement::{KappaWeights, cohen_kappa, matthews_correlation};
pub use brier::brier_score;
pub use calibration::{Calibration, CalibrationBin, calibration};
pub use classification_report::{ClassReport, ClassificationReport, CurvePoint, ReportInput};
pub use confusion::{ConfusionMatrix, LabelSet, Normalize};
pub use input::{BinaryScores, Probabilities, Scores};
pub use log_loss::log_loss;
pub use precision_recall::{
    ClassPrecisionRecall, PrecisionRecall, PrecisionRecallOptions, PrecisionRecallSummary,
    ZeroDivision, precision_recall,
};
pub use ranking::{
    OneVsRestAuc, PrecisionRecallCurve, RocCurve, area_under_curve, average_precision,
    precision_recall_curve, roc_auc, roc_auc_one_vs_rest, roc_curve,
};
