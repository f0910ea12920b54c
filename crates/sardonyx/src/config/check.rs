//! Whether settings can be: known keys, right kinds of values, values in range.

use sardonyx_train::config::{nearest_name, with_nearest_name};
use sardonyx_train::{TrainError, check_clip_norm};
use serde_json::Value;

use super::keys::{self, ALTERNATIVES, KEYS, Key, Kind};
use super::{Portion, TrainConfig};

/// Something wrong at a path.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) path: String,
    pub(super) problem: String,
}

/// Checks every key of the tree and the kind of its value.
pub(super) fn check_tree(tree: &Value) -> Result<(), Wrong> {
    check_table("", tree)
}

fn check_table(table: &str, value: &Value) -> Result<(), Wrong> {
    let Some(entries) = value.as_object() else {
        return Ok(());
    };
    // The name of an alternative first: it decides which other keys there are.
    let alternative = entries
        .get("name")
        .filter(|_| ALTERNATIVES.contains(&table));
    if let Some(name) = alternative {
        check_entry(&format!("{table}.name"), name, None)?;
    }
    let alternative = alternative.and_then(Value::as_str);
    for (name, value) in entries {
        let path = match table {
            "" => name.clone(),
            _ => format!("{table}.{name}"),
        };
        check_entry(&path, value, alternative)?;
    }
    Ok(())
}

fn check_entry(path: &str, value: &Value, alternative: Option<&str>) -> Result<(), Wrong> {
    let wrong = |problem: String| Wrong {
        path: path.to_owned(),
        problem,
    };
    if keys::is_table(path) {
        return check_table(path, value);
    }
    let key = keys::find(path).ok_or_else(|| wrong(unknown(path)))?;
    if let Some(name) = alternative
        && !key.only.is_empty()
        && !key.only.contains(&name)
    {
        return Err(wrong(foreign(key, name)));
    }
    let fits = |fits: bool, expected: &str| match fits {
        true => Ok(()),
        false => Err(wrong(format!("expected {expected}, found {value}"))),
    };
    let all = |test: fn(&Value) -> bool| value.as_array().is_some_and(|v| v.iter().all(test));
    match key.kind {
        Kind::Count => fits(value.is_u64(), "a whole number, zero or more"),
        Kind::Counts => fits(all(Value::is_u64), "a list of whole numbers, zero or more"),
        Kind::Flag => fits(value.is_boolean(), "true or false"),
        Kind::ImageSize => {
            let is_pair = value.as_array().is_some_and(|v| v.len() == 2);
            let fit = value.is_u64() || is_pair && all(Value::is_u64);
            fits(fit, "a whole number, or two as [height, width]")
        }
        Kind::Number => fits(value.is_number(), "a number"),
        Kind::Numbers => fits(all(Value::is_number), "a list of numbers"),
        Kind::OneOf(known) => check_name(known, value).map_err(wrong),
        Kind::Portion => fits(value.is_number() || value.is_string(), "a share or a path"),
        Kind::Text => fits(value.is_string(), "text"),
        Kind::Texts => fits(all(Value::is_string), "a list of texts"),
    }
}

fn check_name(known: &[&str], value: &Value) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    if known.contains(&text) {
        return Ok(());
    }
    let hint = match nearest_name(text, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Err(format!("{value} is not known here; hint: {hint}"))
}

/// What to say of a key that is not in the table: where it belongs, or what it is like.
fn unknown(path: &str) -> String {
    let (table, last) = path.rsplit_once('.').unwrap_or(("", path));
    let siblings = KEYS.iter().filter_map(|key| {
        let rest = match table {
            "" => key.path,
            _ => key.path.strip_prefix(table)?.strip_prefix('.')?,
        };
        rest.split('.').next()
    });
    let siblings: Vec<&str> = siblings.collect();
    let known = match table {
        "" => "there is no such table".to_owned(),
        _ => format!("`{last}` is no key of [{table}]"),
    };
    if let Some(nearest) = nearest_name(last, siblings.iter().copied()) {
        return format!("{known}; hint: did you mean `{nearest}`?");
    }
    if let [elsewhere] = &keys::resolve(last)[..] {
        return format!("{known}; hint: did you mean `{elsewhere}`?");
    }
    let mut distinct: Vec<&str> = Vec::new();
    for sibling in siblings {
        if !distinct.contains(&sibling) {
            distinct.push(sibling);
        }
    }
    format!("{known}; hint: there are {}", distinct.join(", "))
}

/// What to say of a key that another alternative has.
fn foreign(key: &Key, name: &str) -> String {
    let (table, last) = key.path.rsplit_once('.').unwrap_or(("", key.path));
    let only = key.only.join("` or `");
    format!("`{last}` is no key of `{name}`; hint: it belongs to {table}.name = `{only}`")
}

/// A message of the deserializer without its jargon, for what the table of keys cannot check:
/// keys that an alternative needs, texts with a form of their own.
pub(super) fn plain_words(message: &str) -> String {
    let missing = message.strip_prefix("missing field ");
    match missing {
        Some(name) => format!("{name} is missing; hint: it has no default here"),
        None => with_nearest_name(message),
    }
}

/// Checks the range of every value.
pub(super) fn check_values(config: &TrainConfig) -> Result<(), TrainError> {
    let data = &config.data;
    check_share("data.val", Some(&data.val), 0.0)?;
    check_share("data.test", data.test.as_ref(), f64::MIN_POSITIVE)?;
    if let (Portion::Share(val), Some(Portion::Share(test))) = (&data.val, &data.test)
        && val + test >= 1.0
    {
        let reason = format!("with data.test = {test} it leaves nothing to train on");
        return Err(wrong("data.val", reason));
    }
    if let Some(size) = data.image.size
        && (size.height == 0 || size.width == 0)
    {
        return Err(wrong("data.image.size", "an image has at least one pixel"));
    }
    let train = &config.train;
    for (key, count) in [("train.epochs", train.epochs), ("train.batch", train.batch)] {
        if count == 0 {
            return Err(wrong(key, "0 will not do, it must be 1 or more"));
        }
    }
    train.loss.check("train.loss")?;
    train.optimizer.check("train.optimizer")?;
    check_clip_norm("train.clip_norm", train.clip_norm)?;
    train.schedule.check("train.schedule")?;
    match &train.early_stop {
        Some(early_stop) => early_stop.check("train.early_stop"),
        None => Ok(()),
    }
}

fn check_share(key: &str, portion: Option<&Portion>, least: f64) -> Result<(), TrainError> {
    match portion {
        Some(Portion::Share(share)) if !(least..1.0).contains(share) => {
            let reason = format!("{share} will not do, it must be a share between 0 and 1");
            Err(wrong(key, reason))
        }
        Some(Portion::Path(path)) if path.is_empty() => Err(wrong(key, "the path is empty")),
        _ => Ok(()),
    }
}

fn wrong(key: &str, reason: impl Into<String>) -> TrainError {
    TrainError::Config {
        key: key.to_owned(),
        reason: reason.into(),
    }
}
