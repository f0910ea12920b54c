//! What a configuration says about the loss; the loss itself is part of the training graph.

use serde::{Deserialize, Serialize};

use crate::config::{check_number, from_value};
use crate::error::Result;

/// A loss and its parameters, `{ name = "cross_entropy", label_smoothing = 0.1 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum LossConfig {
    /// Softmax and cross entropy of class labels as one, mean over the samples
    /// (`torch.nn.CrossEntropyLoss`).
    CrossEntropy(CrossEntropy),
}

/// Parameters of the cross entropy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// Share of the probability that is spread over all classes alike, in `[0, 1]`.
    pub label_smoothing: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        LossConfig::CrossEntropy(CrossEntropy::default())
    }
}

impl LossConfig {
    /// Reads and checks the value of `key` of a configuration.
    ///
    /// # Errors
    /// For an unknown loss or key (with the nearest known name) and for values out of range.
    pub fn from_value(key: &str, value: serde_json::Value) -> Result<LossConfig> {
        let config: LossConfig = from_value(key, value)?;
        config.check(key)?;
        Ok(config)
    }

    /// Checks that every parameter is finite and in its range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self, key: &str) -> Result<()> {
        let LossConfig::CrossEntropy(CrossEntropy { label_smoothing }) = *self;
        let key = format!("{key}.label_smoothing");
        check_number(&key, label_smoothing, 0.0..=1.0, "between 0 and 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_loss_is_read_and_checked() {
        let read = |value| LossConfig::from_value("train.loss", value);
        assert_eq!(
            read(json!({"name": "cross_entropy"})).ok(),
            Some(LossConfig::default())
        );
        let message = |value| read(value).expect_err("refused").to_string();
        assert!(message(json!({"name": "cross_entropi"})).contains("did you mean"));
        let smooth = json!({"name": "cross_entropy", "label_smoothing": 2});
        assert!(message(smooth).starts_with("train.loss.label_smoothing: 2 will not do"));
    }
}
