//! Which requests are logged: a share of each model's, chosen by the request's id alone.

use std::collections::BTreeMap;

/// Chooses requests.
///
/// The same id is chosen or not on every server and at every time, and whoever is chosen at one
/// share is chosen at every larger one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampler {
    /// Share of the requests of models that [`Sampler::shares`] does not name, from 0 to 1.
    pub share: f64,
    /// Shares by model.
    pub shares: BTreeMap<String, f64>,
}

impl Sampler {
    /// Whether the request `id` to `model` is chosen.
    pub fn chooses(&self, model: &str, id: &str) -> bool {
        let share = *self.shares.get(model).unwrap_or(&self.share);
        if share <= 0.0 {
            return false;
        }
        // 53 bits are as many as a number from 0 to 1 can have.
        (hash(id.as_bytes()) >> 11) as f64 / (1_u64 << 53) as f64 <= share
    }
}

/// FNV-1a, stirred by the finaliser of SplitMix64, since ids that count up differ in few bits.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(share: f64) -> Vec<usize> {
        let sampler = Sampler {
            share,
            shares: BTreeMap::new(),
        };
        let ids = (0..10_000).filter(|id| sampler.chooses("m", &id.to_string()));
        ids.collect()
    }

    #[test]
    fn shares_are_kept_and_nested() {
        // Within the binomial 99.9 % interval.
        let (tenth, half) = (chosen(0.1), chosen(0.5));
        assert!((901..=1099).contains(&tenth.len()), "{}", tenth.len());
        assert!((4835..=5165).contains(&half.len()), "{}", half.len());
        assert!(tenth.iter().all(|id| half.binary_search(id).is_ok()));
        assert_eq!(chosen(0.0).len(), 0);
        assert_eq!(chosen(1.0).len(), 10_000);
    }

    #[test]
    fn a_model_has_its_own_share() {
        let sampler = Sampler {
            share: 0.0,
            shares: BTreeMap::from([("all".to_owned(), 1.0)]),
        };
        assert!(sampler.chooses("all", "x") && !sampler.chooses("other", "x"));
    }
}
