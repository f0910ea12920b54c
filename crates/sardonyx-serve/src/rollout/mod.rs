//! How the requests of a model are shared out between its versions.

mod file;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Result, ServeError};

pub(crate) use file::RolloutFile;

/// What a person decided for a model. Requests that name a version are not touched by it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollout {
    /// Versions that have a name, such as `stable` and `canary`.
    pub labels: BTreeMap<String, u64>,
    /// Shares of the requests that name neither version nor label. Empty: the newest version takes
    /// them all.
    pub weights: BTreeMap<u64, u32>,
    /// A version that sees copies of the requests and whose answers only are compared.
    pub shadow: Option<Shadow>,
}

/// A version that runs in the shadow of the one that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The version.
    pub version: u64,
    /// The share of the requests that is copied, from 0 to 1.
    #[serde(default = "all")]
    pub fraction: f64,
    /// Largest difference of two numbers that counts as agreement.
    #[serde(default = "tolerance")]
    pub tolerance: f64,
}

fn all() -> f64 {
    1.0
}

fn tolerance() -> f64 {
    1e-4
}

impl Rollout {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// When no weight is above zero, a share or tolerance is out of range, or a label is empty.
    pub fn check(&self) -> Result<()> {
        if !self.weights.is_empty() && self.weights.values().all(|&weight| weight == 0) {
            return Err(ServeError::invalid(
                "every weight is 0; hint: give a version some share, or leave weights out",
            ));
        }
        if self.labels.keys().any(String::is_empty) {
            return Err(ServeError::invalid("a label has no name"));
        }
        let Some(shadow) = &self.shadow else {
            return Ok(());
        };
        if !(0.0..=1.0).contains(&shadow.fraction) {
            let message = format!(
                "shadow.fraction is {}; it goes from 0 to 1",
                shadow.fraction
            );
            return Err(ServeError::invalid(message));
        }
        if !(shadow.tolerance >= 0.0 && shadow.tolerance.is_finite()) {
            let message = format!("shadow.tolerance is {}; give 0 or more", shadow.tolerance);
            return Err(ServeError::invalid(message));
        }
        Ok(())
    }

    /// The version for a request that names none: by weight among those that are ready, else the
    /// newest ready one. `ready` is in ascending order, `place` in `0..1` is where the request falls.
    pub fn pick(&self, ready: &[u64], place: f64) -> Option<u64> {
        let weight = |version: &u64| u64::from(self.weights.get(version).copied().unwrap_or(0));
        let total: u64 = ready.iter().map(weight).sum();
        if total == 0 {
            return ready.last().copied();
        }
        let mut left = place * total as f64;
        let mut chosen = None;
        for version in ready.iter().filter(|version| weight(version) > 0) {
            chosen = Some(*version);
            left -= weight(version) as f64;
            if left < 0.0 {
                break;
            }
        }
        chosen
    }
}

/// Where a sticky key falls in `0..1`: the same place for ever, independent between models.
pub(crate) fn sticky_place(model: &str, key: &str) -> f64 {
    let mut hash = Sha256::new();
    hash.update((model.len() as u64).to_le_bytes());
    hash.update(model);
    hash.update(key);
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    unit(u64::from_le_bytes(first))
}

/// 64 random bits as a number in `0..1`.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(weights: &[(u64, u32)]) -> Rollout {
        Rollout {
            weights: weights.iter().copied().collect(),
            ..Rollout::default()
        }
    }

    #[test]
    fn weights_share_out_the_line_from_0_to_1() {
        let rollout = weighted(&[(1, 95), (2, 5)]);
        assert_eq!(rollout.pick(&[1, 2], 0.0), Some(1));
        assert_eq!(rollout.pick(&[1, 2], 0.9499), Some(1));
        assert_eq!(rollout.pick(&[1, 2], 0.9501), Some(2));
        assert_eq!(rollout.pick(&[1, 2], 0.999_999_9), Some(2));
    }

    #[test]
    fn what_is_not_ready_gets_nothing() {
        let rollout = weighted(&[(1, 50), (2, 50)]);
        assert_eq!(rollout.pick(&[1], 0.9), Some(1));
        assert_eq!(
            rollout.pick(&[3], 0.9),
            Some(3),
            "none of the weighted ones is ready"
        );
        assert_eq!(rollout.pick(&[], 0.9), None);
        assert_eq!(weighted(&[(1, 1), (2, 0)]).pick(&[1, 2], 0.999), Some(1));
    }

    #[test]
    fn keys_stay_where_they_are_and_spread() {
        let rollout = weighted(&[(1, 80), (2, 20)]);
        let pick = |key: &str| {
            rollout
                .pick(&[1, 2], sticky_place("m", key))
                .expect("ready")
        };
        let canary = (0..10_000)
            .filter(|key| pick(&key.to_string()) == 2)
            .count();
        // 0.2 with a deviation of sqrt(0.2 * 0.8 / 10000) = 0.004: 3.29 of them are 99.9 %.
        assert!((1868..=2132).contains(&canary), "{canary}");
        let more = weighted(&[(1, 60), (2, 40)]);
        for key in 0..1000 {
            let key = key.to_string();
            if pick(&key) == 2 {
                let place = sticky_place("m", &key);
                assert_eq!(
                    more.pick(&[1, 2], place),
                    Some(2),
                    "a canary stays one as it grows"
                );
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(weighted(&[(1, 0)]).check().is_err());
        let shadow = |fraction, tolerance| Rollout {
            shadow: Some(Shadow {
                version: 1,
                fraction,
                tolerance,
            }),
            ..Rollout::default()
        };
        assert!(shadow(1.5, 0.0).check().is_err());
        assert!(shadow(f64::NAN, 0.0).check().is_err());
        assert!(shadow(0.5, f64::INFINITY).check().is_err());
        assert!(shadow(0.5, 0.0).check().is_ok());
        let typo = serde_json::from_str::<Rollout>(r#"{"weight": {"1": 5}}"#);
        assert!(
            typo.expect_err("no such field")
                .to_string()
                .contains("weight")
        );
    }
}
