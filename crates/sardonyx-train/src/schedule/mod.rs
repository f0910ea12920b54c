//! Learning-rate schedules, each a pure function of where the training stands, so that a resumed
//! run needs no state of theirs. The one exception, [`Plateau`], carries its state openly.

mod one_cycle;
mod plateau;

use serde::{Deserialize, Serialize};

use crate::config::{check_number, from_value};
use crate::error::{Result, TrainError};

pub use one_cycle::OneCycle;
pub use plateau::{Plateau, PlateauConfig};

/// Where a training run stands. Counts are from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Steps done since the start of the run.
    pub step: u64,
    /// Steps of one epoch, at least 1.
    pub steps_per_epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
}

impl Position {
    /// Epochs done.
    pub fn epoch(&self) -> u64 {
        self.step / self.steps_per_epoch.max(1)
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.epochs.saturating_mul(self.steps_per_epoch)
    }
}

/// A schedule, `{ name = "step", rate = 0.5, every = 5 }` in a configuration. `lr0` is the
/// optimizer's learning rate, `t` the step, `T` the steps of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// `lr0` throughout.
    Constant {},
    /// `lr0 * rate^(epoch / every)`, whole division.
    Step {
        /// Factor per stage, above 0.
        rate: f64,
        /// Epochs per stage, at least 1.
        every: u64,
    },
    /// `lr0 * rate^epoch`.
    Exponential {
        /// Factor per epoch, above 0.
        rate: f64,
    },
    /// `lr0` times the factor of the last milestone reached.
    Piecewise {
        /// Rising epochs at which the factor changes.
        milestones: Vec<u64>,
        /// Factor from each milestone on.
        factors: Vec<f64>,
    },
    /// From `lr0` down to `floor` along half a cosine, after the warm-up.
    Cosine(Decay),
    /// From `lr0` to `floor` along a line, after the warm-up.
    Linear(Decay),
    /// From `lr0` to `floor` as `(1 - t / T)^power`, after the warm-up.
    Polynomial {
        /// Exponent, above 0.
        power: f64,
        /// Learning rate at the end.
        #[serde(default)]
        floor: f64,
        /// Steps of linear warm-up.
        #[serde(default)]
        warmup_steps: u64,
        /// Epochs of linear warm-up.
        #[serde(default)]
        warmup_epochs: u64,
    },
    /// Half cosines from `lr0` to `floor`, restarted (SGDR; Loshchilov and Hutter, 2017).
    CosineRestarts {
        /// Epochs of the first cycle, at least 1.
        period: u64,
        /// Each cycle is this many times as long as the one before, at least 1.
        #[serde(default = "one")]
        multiplier: u64,
        /// Learning rate at the end of a cycle.
        #[serde(default)]
        floor: f64,
    },
    /// Up to `lr0` and far down again (Smith and Topin, 2018; `torch.optim.OneCycleLR` with
    /// `max_lr = lr0`). The momentum stays as it is.
    OneCycle(OneCycle),
    /// `lr0` until a metric no longer improves, then less ([`Plateau`]).
    Plateau(PlateauConfig),
}

fn one() -> u64 {
    1
}

/// Parameters of a decay over the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decay {
    /// Learning rate at the end.
    pub floor: f64,
    /// Steps of linear warm-up: `lr0 * (t + 1) / warm-up`, so that it is never zero.
    pub warmup_steps: u64,
    /// The same in epochs; one of the two at most.
    pub warmup_epochs: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::Constant {}
    }
}

impl Schedule {
    /// `lr0 * rate^(epoch / every)`, whole division.
    pub fn step(rate: f64, every: u64) -> Schedule {
        Schedule::Step { rate, every }
    }

    /// From `lr0` to zero along half a cosine, after so many epochs of linear warm-up.
    pub fn cosine(warmup_epochs: u64) -> Schedule {
        Schedule::Cosine(Decay {
            warmup_epochs,
            ..Decay::default()
        })
    }

    /// Reads and checks the value of `key` of a configuration.
    ///
    /// # Errors
    /// For an unknown schedule or key (with the nearest known name) and for values out of range.
    pub fn from_value(key: &str, value: serde_json::Value) -> Result<Schedule> {
        let schedule: Schedule = from_value(key, value)?;
        schedule.check(key)?;
        Ok(schedule)
    }

    /// Learning rate of the step at `position`; steps after the last have the last one's. For
    /// [`Schedule::Plateau`] it is `lr0`: ask a [`Plateau`] instead.
    pub fn lr(&self, lr0: f64, position: &Position) -> f64 {
        let epoch = position.epoch();
        match self {
            Schedule::Constant {} | Schedule::Plateau(_) => lr0,
            Schedule::Step { rate, every } => lr0 * rate.powf((epoch / every.max(&1)) as f64),
            Schedule::Exponential { rate } => lr0 * rate.powf(epoch as f64),
            Schedule::Piecewise {
                milestones,
                factors,
            } => {
                let reached = milestones.partition_point(|&milestone| milestone <= epoch);
                lr0 * reached.checked_sub(1).map_or(1.0, |stage| factors[stage])
            }
            Schedule::Cosine(decay) => decay.lr(lr0, position, half_cosine),
            Schedule::Linear(decay) => decay.lr(lr0, position, |left| left),
            &Schedule::Polynomial {
                power,
                floor,
                warmup_steps,
                warmup_epochs,
            } => {
                let decay = Decay {
                    floor,
                    warmup_steps,
                    warmup_epochs,
                };
                decay.lr(lr0, position, |left| left.powf(power))
            }
            &Schedule::CosineRestarts {
                period,
                multiplier,
                floor,
            } => {
                let left = 1.0 - share_of_cycle(position, period, multiplier);
                floor + (lr0 - floor) * half_cosine(left)
            }
            Schedule::OneCycle(cycle) => cycle.lr(lr0, position),
        }
    }

    /// Checks that every parameter is finite and in its range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self, key: &str) -> Result<()> {
        let name = |name: &str| format!("{key}.{name}");
        let positive = |field: &str, value: f64| {
            check_number(&name(field), value, f64::MIN_POSITIVE.., "above zero")
        };
        let floor = |value: f64| check_number(&name("floor"), value, 0.0.., "zero or more");
        let count = |field: &str, value: u64| match value {
            0 => Err(TrainError::config(
                name(field),
                "0 will not do, it must be 1 or more",
            )),
            _ => Ok(()),
        };
        match self {
            Schedule::Constant {} => Ok(()),
            Schedule::Step { rate, every } => {
                positive("rate", *rate)?;
                count("every", *every)
            }
            Schedule::Exponential { rate } => positive("rate", *rate),
            Schedule::Piecewise {
                milestones,
                factors,
            } => check_piecewise(key, milestones, factors),
            Schedule::Cosine(decay) | Schedule::Linear(decay) => decay.check(key),
            &Schedule::Polynomial {
                power,
                floor,
                warmup_steps,
                warmup_epochs,
            } => {
                positive("power", power)?;
                Decay {
                    floor,
                    warmup_steps,
                    warmup_epochs,
                }
                .check(key)
            }
            Schedule::CosineRestarts {
                period,
                multiplier,
                floor: value,
            } => {
                count("period", *period)?;
                count("multiplier", *multiplier)?;
                floor(*value)
            }
            Schedule::OneCycle(cycle) => cycle.check(key),
            Schedule::Plateau(config) => config.check(key),
        }
    }
}

fn check_piecewise(key: &str, milestones: &[u64], factors: &[f64]) -> Result<()> {
    if milestones.len() != factors.len() {
        let (m, f) = (milestones.len(), factors.len());
        return Err(TrainError::config(
            key,
            format!("{m} milestones and {f} factors; each milestone needs its factor"),
        ));
    }
    if !milestones.is_sorted_by(|a, b| a < b) {
        return Err(TrainError::config(
            format!("{key}.milestones"),
            "they must rise",
        ));
    }
    let key = format!("{key}.factors");
    let mut factors = factors.iter();
    factors.try_for_each(|&factor| check_number(&key, factor, 0.0.., "zero or more"))
}

/// From 1 at `left = 1` to 0 at `left = 0`.
fn half_cosine(left: f64) -> f64 {
    (1.0 - (std::f64::consts::PI * left).cos()) / 2.0
}

impl Decay {
    fn check(&self, key: &str) -> Result<()> {
        if self.warmup_steps > 0 && self.warmup_epochs > 0 {
            return Err(TrainError::config(
                format!("{key}.warmup_epochs"),
                "the warm-up is given in steps already; hint: give one of the two",
            ));
        }
        check_number(&format!("{key}.floor"), self.floor, 0.0.., "zero or more")
    }

    /// `shape` maps the share of the decay that is left, 1 to 0, to the share of the way from
    /// floor to `lr0`.
    fn lr(&self, lr0: f64, position: &Position, shape: impl Fn(f64) -> f64) -> f64 {
        let epochs = self.warmup_epochs.saturating_mul(position.steps_per_epoch);
        let warmup = self.warmup_steps.max(epochs);
        let step = position.step;
        if step < warmup {
            return lr0 * (step + 1) as f64 / warmup as f64;
        }
        let decaying = position.total_steps().saturating_sub(warmup).max(1);
        let done = (step - warmup).min(decaying) as f64 / decaying as f64;
        self.floor + (lr0 - self.floor) * shape(1.0 - done)
    }
}

/// Share of the running cycle that is done, when the first lasts `period` epochs and each
/// `multiplier` times as long as the one before.
fn share_of_cycle(position: &Position, period: u64, multiplier: u64) -> f64 {
    let per_epoch = position.steps_per_epoch.max(1);
    let mut length = period.max(1).saturating_mul(per_epoch);
    let mut step = position.step;
    if multiplier <= 1 {
        step %= length;
    }
    while step >= length {
        step -= length;
        length = length.saturating_mul(multiplier);
    }
    step as f64 / length as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(step: u64) -> Position {
        Position {
            step,
            steps_per_epoch: 10,
            epochs: 6,
        }
    }

    #[test]
    fn step_decay_divides_whole_epochs() {
        let schedule = Schedule::Step {
            rate: 0.5,
            every: 2,
        };
        let rates: Vec<f64> = (0..6)
            .map(|epoch| schedule.lr(0.1, &at(epoch * 10 + 9)))
            .collect();
        assert_eq!(rates, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]);
    }

    #[test]
    fn warm_up_counts_in_steps_or_epochs() {
        let steps = Schedule::Cosine(Decay {
            warmup_steps: 20,
            ..Decay::default()
        });
        let epochs = Schedule::Cosine(Decay {
            warmup_epochs: 2,
            ..Decay::default()
        });
        for step in 0..70 {
            assert_eq!(steps.lr(0.1, &at(step)), epochs.lr(0.1, &at(step)));
        }
        assert_eq!(steps.lr(0.1, &at(0)), 0.1 / 20.0);
        assert_eq!(steps.lr(0.1, &at(19)), 0.1);
        assert_eq!(steps.lr(0.1, &at(60)), 0.0, "and stays there");
        assert_eq!(steps.lr(0.1, &at(u64::MAX)), 0.0);
    }

    #[test]
    fn runs_without_steps_have_a_rate_all_the_same() {
        let every = [
            json!({"name": "cosine"}),
            json!({"name": "linear", "floor": 0.01, "warmup_steps": 100}),
            json!({"name": "polynomial", "power": 2}),
            json!({"name": "one_cycle"}),
            json!({"name": "one_cycle", "rise": 0.0}),
            json!({"name": "one_cycle", "rise": 1.0}),
            json!({"name": "cosine_restarts", "period": 3, "multiplier": 2}),
            json!({"name": "step", "rate": 0.5, "every": 3}),
        ];
        for value in every {
            let schedule = Schedule::from_value("schedule", value.clone()).expect("valid");
            for (epochs, steps_per_epoch) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (u64::MAX, 9)]
            {
                for step in [0, 1, 7, u64::MAX] {
                    let lr = schedule.lr(
                        0.1,
                        &Position {
                            step,
                            steps_per_epoch,
                            epochs,
                        },
                    );
                    assert!((0.0..=0.1 + 1e-12).contains(&lr), "{value} {step}: {lr}");
                }
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        let check = |value, expect: &str| {
            let error = Schedule::from_value("train.schedule", value);
            let message = error.expect_err("refused").to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(json!({"name": "cosin"}), "did you mean `cosine`?");
        check(
            json!({"name": "constant", "rate": 1}),
            "unknown field `rate`",
        );
        check(
            json!({"name": "step", "rate": 0.5, "evry": 2}),
            "did you mean `every`?",
        );
        check(
            json!({"name": "step", "rate": 0.5, "every": 0}),
            "train.schedule.every: 0",
        );
        check(
            json!({"name": "step", "rate": 0.5}),
            "missing field `every`",
        );
        check(
            json!({"name": "cosine", "warmup_steps": 1, "warmup_epochs": 1}),
            "give one of the two",
        );
        check(
            json!({"name": "piecewise", "milestones": [3, 3], "factors": [0.1, 0.1]}),
            "they must rise",
        );
        check(
            json!({"name": "piecewise", "milestones": [3], "factors": []}),
            "its factor",
        );
        check(
            json!({"name": "plateau", "factor": 1.0}),
            "train.schedule.factor",
        );
    }

    #[test]
    fn a_schedule_is_written_as_it_is_read() {
        let value = json!({"name": "step", "rate": 0.5, "every": 2});
        let schedule = Schedule::from_value("schedule", value.clone()).expect("valid");
        assert_eq!(serde_json::to_value(schedule).expect("serialisable"), value);
    }
}
