//! When training no longer helps: the rule that stops it and remembers the best point.

use serde::{Deserialize, Serialize};

use crate::config::{check_number, from_value};
use crate::error::{Result, TrainError};

/// Which way a metric gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

impl Mode {
    /// The way of a metric by its name: losses and errors shrink, everything else grows.
    pub fn of_metric(name: &str) -> Mode {
        let last = name.rsplit('.').next().unwrap_or(name);
        let shrinks = [
            "loss",
            "error",
            "brier",
            "ece",
            "mce",
            "mae",
            "mse",
            "rmse",
            "perplexity",
        ];
        match last.split('_').any(|word| shrinks.contains(&word)) {
            true => Mode::Min,
            false => Mode::Max,
        }
    }

    /// A value that every number is better than.
    pub(crate) fn worst(self) -> f64 {
        match self {
            Mode::Min => f64::INFINITY,
            Mode::Max => f64::NEG_INFINITY,
        }
    }
}

/// `{ metric = "val.loss", patience = 5 }` in a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopConfig {
    /// Name of the metric that is watched.
    pub metric: String,
    /// Which way it gets better; by its name when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Training stops after this many observations in a row without improvement, at least 1.
    pub patience: u64,
    /// An improvement is a change of more than this.
    pub min_delta: f64,
}

impl Default for EarlyStopConfig {
    fn default() -> Self {
        EarlyStopConfig {
            metric: "val.loss".to_owned(),
            mode: None,
            patience: 5,
            min_delta: 0.0,
        }
    }
}

impl EarlyStopConfig {
    /// Stops when `metric` (`val.loss`) has not improved in `patience` epochs in a row.
    pub fn on(metric: &str, patience: u64) -> EarlyStopConfig {
        EarlyStopConfig {
            metric: metric.to_owned(),
            patience,
            ..EarlyStopConfig::default()
        }
    }

    /// Reads and checks the value of `key` of a configuration.
    ///
    /// # Errors
    /// For an unknown key (with the nearest known one) and for values out of range.
    pub fn from_value(key: &str, value: serde_json::Value) -> Result<EarlyStopConfig> {
        let config: EarlyStopConfig = from_value(key, value)?;
        config.check(key)?;
        Ok(config)
    }

    /// Checks the values.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn check(&self, key: &str) -> Result<()> {
        if self.patience == 0 {
            return Err(TrainError::config(
                format!("{key}.patience"),
                "0 would stop at once; it must be 1 or more",
            ));
        }
        let name = format!("{key}.min_delta");
        check_number(&name, self.min_delta, 0.0.., "zero or more")
    }

    /// Which way the metric gets better.
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_else(|| Mode::of_metric(&self.metric))
    }
}

/// What an observation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It is the best so far: the weights of now are the ones to keep.
    pub is_best: bool,
    /// Patience is at its end.
    pub stop: bool,
}

/// The watch over a metric. All that it knows is in the two public parts, so a checkpoint that
/// holds them continues as if nothing had happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// The rule.
    pub config: EarlyStopConfig,
    /// What was seen so far.
    pub state: EarlyStopState,
}

/// What an [`EarlyStopping`] has seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopState {
    /// Best value so far.
    pub best: Option<f64>,
    /// Epoch of the best value.
    pub best_epoch: Option<u64>,
    /// Observations since the best value.
    pub n_waited: u64,
}

impl EarlyStopping {
    /// A watch that has seen nothing.
    ///
    /// # Errors
    /// When the configuration does not hold.
    pub fn new(config: EarlyStopConfig) -> Result<EarlyStopping> {
        config.check("early_stop")?;
        Ok(EarlyStopping {
            config,
            state: EarlyStopState::default(),
        })
    }

    /// Takes in the metric's value after an epoch. A value that is not a number is never an
    /// improvement.
    pub fn observe(&mut self, epoch: u64, value: f64) -> Verdict {
        let best = self.state.best.unwrap_or(self.config.mode().worst());
        let is_best = match self.config.mode() {
            Mode::Min => value < best - self.config.min_delta,
            Mode::Max => value > best + self.config.min_delta,
        };
        // An infinite loss is smaller than none seen, but no point worth keeping; nor can JSON
        // hold it in a checkpoint.
        let is_best = is_best && value.is_finite();
        if is_best {
            self.state = EarlyStopState {
                best: Some(value),
                best_epoch: Some(epoch),
                n_waited: 0,
            };
        } else {
            self.state.n_waited += 1;
        }
        Verdict {
            is_best,
            stop: self.state.n_waited >= self.config.patience,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(metric: &str, patience: u64, min_delta: f64) -> EarlyStopping {
        EarlyStopping::new(EarlyStopConfig {
            metric: metric.to_owned(),
            mode: None,
            patience,
            min_delta,
        })
        .expect("valid")
    }

    /// `*` best, `.` not, `!` stop.
    fn verdicts(watch: &mut EarlyStopping, values: &[f64]) -> String {
        let mark = |(epoch, &value): (usize, &f64)| match watch.observe(epoch as u64, value) {
            Verdict { stop: true, .. } => '!',
            Verdict { is_best: true, .. } => '*',
            Verdict { .. } => '.',
        };
        values.iter().enumerate().map(mark).collect()
    }

    #[test]
    fn patience_counts_observations_in_a_row() {
        let mut loss = watch("val.loss", 2, 0.0);
        assert_eq!(
            verdicts(&mut loss, &[1.0, 0.9, 0.95, 0.8, 0.8, 0.9]),
            "**.*.!"
        );
        assert_eq!(loss.state.best, Some(0.8));
        assert_eq!(loss.state.best_epoch, Some(3));
        let mut accuracy = watch("val.accuracy", 2, 0.01);
        assert_eq!(
            verdicts(&mut accuracy, &[0.5, 0.505, 0.52, 0.525, 0.53]),
            "*.*.!"
        );
        let mut broken = watch("val.loss", 3, 0.0);
        assert_eq!(
            verdicts(&mut broken, &[f64::NAN, f64::INFINITY, f64::NAN]),
            "..!"
        );
        let mut minus = watch("val.loss", 3, 0.0);
        assert_eq!(verdicts(&mut minus, &[f64::NEG_INFINITY, 1.0]), ".*");
    }

    #[test]
    fn a_restored_watch_goes_on_as_the_first_would() {
        let values = [1.0, 0.7, 0.9, 0.8, 0.6, 0.7, 0.7, 0.7];
        let mut whole = watch("val.loss", 3, 0.0);
        let expected = verdicts(&mut whole, &values);
        for cut in 0..values.len() {
            let mut first = watch("val.loss", 3, 0.0);
            let mut found = verdicts(&mut first, &values[..cut]);
            let text = serde_json::to_string(&first).expect("serialisable");
            let mut second: EarlyStopping = serde_json::from_str(&text).expect("readable");
            found += &verdicts(&mut second, &values[cut..]);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_way_of_a_metric_is_in_its_name() {
        for name in [
            "loss",
            "val.loss",
            "val.log_loss",
            "test.brier_score",
            "val.ece",
        ] {
            assert_eq!(Mode::of_metric(name), Mode::Min, "{name}");
        }
        for name in ["val.accuracy", "val.f1_macro", "roc_auc", "loss.accuracy"] {
            assert_eq!(Mode::of_metric(name), Mode::Max, "{name}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let read = |value| EarlyStopConfig::from_value("train.early_stop", value);
        let message = |value| read(value).expect_err("refused").to_string();
        assert!(message(serde_json::json!({"pattience": 3})).contains("did you mean `patience`?"));
        assert!(message(serde_json::json!({"patience": 0})).contains("train.early_stop.patience"));
        assert!(message(serde_json::json!({"min_delta": -1})).contains("zero or more"));
    }
}
