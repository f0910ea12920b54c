use serde::{Deserialize, Serialize};

use super::{Position, half_cosine};
use crate::config::check_number;
use crate::error::Result;

/// Parameters of the one-cycle schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneCycle {
    /// Share of the run in which the learning rate rises, in `[0, 1]`.
    pub rise: f64,
    /// The start is `lr0` divided by this.
    pub start_divisor: f64,
    /// The end is the start divided by this.
    pub end_divisor: f64,
    /// Straight lines instead of cosines.
    pub linear: bool,
}

impl Default for OneCycle {
    fn default() -> Self {
        OneCycle {
            rise: 0.3,
            start_divisor: 25.0,
            end_divisor: 1e4,
            linear: false,
        }
    }
}

impl OneCycle {
    pub(super) fn check(&self, key: &str) -> Result<()> {
        let name = |name: &str| format!("{key}.{name}");
        let positive = |field: &str, value: f64| {
            check_number(&name(field), value, f64::MIN_POSITIVE.., "above zero")
        };
        check_number(&name("rise"), self.rise, 0.0..=1.0, "between 0 and 1")?;
        positive("start_divisor", self.start_divisor)?;
        positive("end_divisor", self.end_divisor)
    }

    pub(super) fn lr(&self, lr0: f64, position: &Position) -> f64 {
        let last = position.total_steps().saturating_sub(1) as f64;
        let step = (position.step as f64).min(last);
        let start = lr0 / self.start_divisor;
        // The peak lies between two steps in general, as in PyTorch.
        let peak = self.rise * position.total_steps() as f64 - 1.0;
        let (from, to, done) = if step <= peak {
            (start, lr0, step / peak)
        } else {
            let falling = last - peak;
            let done = if falling > 0.0 {
                (step - peak) / falling
            } else {
                1.0
            };
            (lr0, start / self.end_divisor, done)
        };
        // A rise of no length is over at once.
        let done = if done.is_nan() { 1.0 } else { done };
        match self.linear {
            true => from + (to - from) * done,
            false => to + (from - to) * half_cosine(1.0 - done),
        }
    }
}
