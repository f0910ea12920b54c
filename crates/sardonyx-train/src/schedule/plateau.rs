use serde::{Deserialize, Serialize};

use crate::config::check_number;
use crate::early_stop::Mode;
use crate::error::Result;

/// Parameters of [`Plateau`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlateauConfig {
    /// Name of the metric that is watched.
    pub metric: String,
    /// Which way it gets better; by its name when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The learning rate is multiplied by this, in `(0, 1)`.
    pub factor: f64,
    /// Observations without improvement that are borne; one more lowers the learning rate.
    pub patience: u64,
    /// An improvement is a change of more than this share of the best value.
    pub threshold: f64,
    /// Observations after a lowering in which none is counted as bad.
    pub cooldown: u64,
    /// Lowest learning rate.
    pub floor: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        PlateauConfig {
            metric: "val.loss".to_owned(),
            mode: None,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            floor: 0.0,
        }
    }
}

impl PlateauConfig {
    pub(super) fn check(&self, key: &str) -> Result<()> {
        let name = |name: &str| format!("{key}.{name}");
        let inner = f64::MIN_POSITIVE..1.0;
        check_number(&name("factor"), self.factor, inner, "above 0 and below 1")?;
        check_number(&name("threshold"), self.threshold, 0.0.., "zero or more")?;
        check_number(&name("floor"), self.floor, 0.0.., "zero or more")
    }
}

/// Lowers the learning rate when a metric no longer improves (`torch.optim.ReduceLROnPlateau`
/// with a relative threshold). Everything it knows can be stored in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The rule.
    pub config: PlateauConfig,
    /// Learning rate of now.
    pub lr: f64,
    /// Best value so far.
    pub best: Option<f64>,
    /// Observations in a row without improvement.
    pub n_bad: u64,
    /// Observations left in which none is counted as bad.
    pub n_cooldown: u64,
}

impl Plateau {
    /// Changes of the learning rate below this are not made.
    const SMALLEST_CHANGE: f64 = 1e-8;

    /// A watch that has seen nothing.
    pub fn new(config: PlateauConfig, lr0: f64) -> Plateau {
        Plateau {
            config,
            lr: lr0,
            best: None,
            n_bad: 0,
            n_cooldown: 0,
        }
    }

    /// Takes in the metric's value after an epoch; the learning rate from now on. A value that is
    /// not finite is never an improvement.
    pub fn observe(&mut self, value: f64) -> f64 {
        let config = &self.config;
        let mode = config
            .mode
            .unwrap_or_else(|| Mode::of_metric(&config.metric));
        let best = self.best.unwrap_or(mode.worst());
        let better = value.is_finite()
            && match mode {
                Mode::Min => value < best * (1.0 - config.threshold),
                Mode::Max => value > best * (1.0 + config.threshold),
            };
        if better {
            self.best = Some(value);
            self.n_bad = 0;
        } else {
            self.n_bad += 1;
        }
        if self.n_cooldown > 0 {
            self.n_cooldown -= 1;
            self.n_bad = 0;
        }
        if self.n_bad > config.patience {
            let lower = (self.lr * config.factor).max(config.floor);
            if self.lr - lower > Self::SMALLEST_CHANGE {
                self.lr = lower;
            }
            self.n_cooldown = config.cooldown;
            self.n_bad = 0;
        }
        self.lr
    }
}
