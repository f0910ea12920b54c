//! Hyper-parameters of the optimizers. The update itself is part of the training graph; here is
//! only what a configuration says about it, with PyTorch's names, meanings and defaults.

use serde::{Deserialize, Serialize};

use crate::config::{check_number, from_value};
use crate::error::Result;

/// An optimizer and its hyper-parameters, `{ name = "adam", lr = 1e-3 }` in a configuration.
/// What is not given has PyTorch's default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent (`torch.optim.SGD`).
    Sgd(Sgd),
    /// Adam with L2 regularisation in the gradient (`torch.optim.Adam`; Kingma and Ba, 2015).
    Adam(Adam),
    /// Adam with decoupled weight decay (`torch.optim.AdamW`; Loshchilov and Hutter, 2019).
    AdamW(AdamW),
}

/// `v = momentum * v + (1 - dampening) * g` with `g = gradient + weight_decay * w` (`v = g` at the
/// first step), then `w -= lr * v`, or `w -= lr * (g + momentum * v)` with Nesterov's momentum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Share of the velocity that is kept, in `[0, 1)`.
    pub momentum: f64,
    /// Share of the gradient that does not enter the velocity, in `[0, 1]`.
    pub dampening: f64,
    /// L2 regularisation, added to the gradient.
    pub weight_decay: f64,
    /// Nesterov's momentum; needs momentum, and no dampening.
    pub nesterov: bool,
}

/// `m = beta1 * m + (1 - beta1) * g`, `v = beta2 * v + (1 - beta2) * g^2` with
/// `g = gradient + weight_decay * w`, then at step t (from 1)
/// `w -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of the gradient, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the mean of its square, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the corrected mean square.
    pub eps: f64,
    /// L2 regularisation, added to the gradient.
    pub weight_decay: f64,
}

/// As [`Adam`] with the gradient as it is, and `w *= 1 - lr * weight_decay` before the step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of the gradient, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the mean of its square, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the corrected mean square.
    pub eps: f64,
    /// Share of a weight that is taken off per unit of learning rate.
    pub weight_decay: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        }
    }
}

impl Default for Adam {
    fn default() -> Self {
        Adam {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

impl Sgd {
    /// SGD with this learning rate and PyTorch's defaults.
    pub fn new(lr: f64) -> Sgd {
        Sgd {
            lr,
            ..Sgd::default()
        }
    }

    /// The same with this momentum.
    pub fn momentum(self, momentum: f64) -> Sgd {
        Sgd { momentum, ..self }
    }
}

impl Adam {
    /// Adam with this learning rate and PyTorch's defaults.
    pub fn new(lr: f64) -> Adam {
        Adam {
            lr,
            ..Adam::default()
        }
    }
}

impl AdamW {
    /// AdamW with this learning rate and PyTorch's defaults.
    pub fn new(lr: f64) -> AdamW {
        AdamW {
            lr,
            ..AdamW::default()
        }
    }
}

impl From<Sgd> for OptimizerConfig {
    fn from(sgd: Sgd) -> Self {
        OptimizerConfig::Sgd(sgd)
    }
}

impl From<Adam> for OptimizerConfig {
    fn from(adam: Adam) -> Self {
        OptimizerConfig::Adam(adam)
    }
}

impl From<AdamW> for OptimizerConfig {
    fn from(adam: AdamW) -> Self {
        OptimizerConfig::AdamW(adam)
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig::Adam(Adam::default())
    }
}

impl OptimizerConfig {
    /// Reads and checks the value of `key` of a configuration.
    ///
    /// # Errors
    /// For an unknown optimizer or key (with the nearest known name) and for values out of range.
    pub fn from_value(key: &str, value: serde_json::Value) -> Result<OptimizerConfig> {
        let config: OptimizerConfig = from_value(key, value)?;
        config.check(key)?;
        Ok(config)
    }

    /// Learning rate before any schedule.
    pub fn lr(&self) -> f64 {
        match self {
            OptimizerConfig::Sgd(sgd) => sgd.lr,
            OptimizerConfig::Adam(adam) => adam.lr,
            OptimizerConfig::AdamW(adam) => adam.lr,
        }
    }

    /// Checks that every hyper-parameter is finite and in its range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self, key: &str) -> Result<()> {
        let number = |name: &str, value: f64| {
            check_number(&format!("{key}.{name}"), value, 0.0.., "zero or more")
        };
        let share = |name: &str, value: f64| {
            let key = format!("{key}.{name}");
            check_number(&key, value, 0.0..1.0, "at least 0 and below 1")
        };
        match *self {
            OptimizerConfig::Sgd(sgd) => {
                number("lr", sgd.lr)?;
                share("momentum", sgd.momentum)?;
                let name = format!("{key}.dampening");
                check_number(&name, sgd.dampening, 0.0..=1.0, "between 0 and 1")?;
                number("weight_decay", sgd.weight_decay)?;
                if sgd.nesterov && (sgd.momentum == 0.0 || sgd.dampening != 0.0) {
                    return Err(crate::TrainError::config(
                        format!("{key}.nesterov"),
                        "Nesterov's momentum needs `momentum` above 0 and `dampening` 0",
                    ));
                }
                Ok(())
            }
            OptimizerConfig::Adam(Adam {
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
            })
            | OptimizerConfig::AdamW(AdamW {
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
            }) => {
                number("lr", lr)?;
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                number("eps", eps)?;
                number("weight_decay", weight_decay)
            }
        }
    }
}

/// Checks a limit of the norm of all gradients together.
///
/// # Errors
/// When it is not a number above zero.
pub fn check_clip_norm(key: &str, clip_norm: Option<f64>) -> Result<()> {
    clip_norm.map_or(Ok(()), |limit| {
        check_number(key, limit, f64::MIN_POSITIVE.., "above zero")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_given_has_its_default() {
        let adam = OptimizerConfig::from_value("optimizer", json!({"name": "adam", "lr": 1}));
        let expected = Adam {
            lr: 1.0,
            ..Adam::default()
        };
        assert_eq!(adam.expect("valid"), OptimizerConfig::Adam(expected));
        let written = serde_json::to_value(OptimizerConfig::default()).expect("serialisable");
        assert_eq!(
            written,
            json!({"name": "adam", "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
                   "weight_decay": 0.0})
        );
        let read = OptimizerConfig::from_value("optimizer", written).expect("valid");
        assert_eq!(read, OptimizerConfig::default());
    }

    #[test]
    fn mistakes_are_named() {
        let check = |value, expect: &str| {
            let error = OptimizerConfig::from_value("train.optimizer", value);
            let message = error.expect_err("refused").to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(json!({"name": "adm"}), "did you mean `adam`?");
        check(
            json!({"name": "sgd", "momentun": 0.9}),
            "did you mean `momentum`?",
        );
        check(
            json!({"name": "sgd", "momentum": 1.5}),
            "train.optimizer.momentum: 1.5",
        );
        check(
            json!({"name": "sgd", "nesterov": true}),
            "train.optimizer.nesterov",
        );
        check(json!({"name": "adamw", "lr": -1}), "train.optimizer.lr: -1");
        assert!(check_clip_norm("train.clip_norm", Some(0.0)).is_err());
        assert!(check_clip_norm("train.clip_norm", Some(f64::NAN)).is_err());
        assert!(check_clip_norm("train.clip_norm", Some(0.5)).is_ok());
        check(json!({"name": "adam", "lr": "fast"}), "invalid type");
    }
}
