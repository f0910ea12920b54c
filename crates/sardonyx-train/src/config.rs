//! Reading of settings: one place where a wrong key or value becomes a message that helps.

use serde::de::DeserializeOwned;

use crate::error::{Result, TrainError};

/// Reads a settings value (an optimizer, a schedule, ...) of type `T`; `key` is its dotted name
/// in the configuration, for messages.
///
/// # Errors
/// [`TrainError::Config`] for an unknown key (with the nearest known one), a missing key or a
/// value of the wrong type.
pub fn from_value<T: DeserializeOwned>(key: &str, value: serde_json::Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| TrainError::config(key, with_nearest_name(&error.to_string())))
}

/// Adds the nearest known name to serde's message about an unknown field or variant; any other
/// message comes back as it is. Works on the messages of every serde format, TOML's too.
pub fn with_nearest_name(message: &str) -> String {
    let nearest = || {
        let start = message
            .find("unknown field")
            .or(message.find("unknown variant"))?;
        let mut quoted = message[start..].split('`').skip(1).step_by(2);
        let found = quoted.next()?;
        nearest_name(found, quoted)
    };
    match nearest() {
        Some(name) => format!("{message}; hint: did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

/// The candidate most like `name`, when one is like it enough to be what was meant.
pub fn nearest_name<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE_ENOUGH: f64 = 0.6;
    let name = name.to_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(&name, candidate),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Refuses a setting that is not a finite number within `range`, told in words by `must`.
pub(crate) fn check_number(
    key: &str,
    value: f64,
    range: impl std::ops::RangeBounds<f64>,
    must: &str,
) -> Result<()> {
    if value.is_finite() && range.contains(&value) {
        return Ok(());
    }
    Err(TrainError::config(
        key,
        format!("{value} will not do, it must be {must}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let names = || ["momentum", "nesterov", "weight_decay", "lr"].into_iter();
        assert_eq!(nearest_name("momentm", names()), Some("momentum"));
        assert_eq!(nearest_name("Weight_Decay", names()), Some("weight_decay"));
        assert_eq!(nearest_name("zzz", names()), None);
        assert_eq!(
            with_nearest_name("unknown field `momentom`, expected one of `lr`, `momentum`"),
            "unknown field `momentom`, expected one of `lr`, `momentum`; \
             hint: did you mean `momentum`?"
        );
        assert_eq!(with_nearest_name("invalid type: `x`"), "invalid type: `x`");
    }
}
