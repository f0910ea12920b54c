//! `key=value` arguments of the command line.

use sardonyx_train::config::nearest_name;
use serde_json::Value;
use toml::de::DeValue;

use super::keys::{self, Kind};
use super::layers::{Origin, Setting};
use super::source;
use crate::error::{Error, Result};

/// The settings that the arguments make, in their order.
pub(super) fn settings(arguments: &[String]) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for argument in arguments {
        let fail = |problem: String| Error::config(Origin::argument(argument).to_string(), problem);
        let Some((name, text)) = argument.split_once('=') else {
            return Err(fail("a setting is written key=value".to_owned()));
        };
        let (name, text) = (name.trim(), text.trim());
        let path = match &keys::resolve(name)[..] {
            [path] => path.clone(),
            [] => return Err(fail(unknown(name))),
            several => {
                let several = several.join("` or `");
                return Err(fail(format!(
                    "`{name}` is not clear; hint: write `{several}`"
                )));
            }
        };
        let origin = Origin::argument(argument);
        settings.extend(parse(&path, text, &origin).map_err(fail)?);
    }
    Ok(settings)
}

fn unknown(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let elsewhere = keys::resolve(last);
    let nearest = match &elsewhere[..] {
        [path] => Some(path.as_str()),
        _ => nearest_name(name, keys::names().into_iter()),
    };
    match nearest {
        Some(nearest) => format!("there is no key `{name}`; hint: did you mean `{nearest}`?"),
        None => format!("there is no key `{name}`; hint: `sardonyx config render` lists them all"),
    }
}

/// The value is TOML; what is no TOML, or is another thing than the text that the key takes, is
/// taken as it stands.
fn parse(path: &str, text: &str, origin: &Origin) -> Result<Vec<Setting>, String> {
    if text.is_empty() {
        return Ok(vec![Setting::reset(path, origin.clone())]);
    }
    let bare = || Setting::value(path, Value::from(text), origin.clone());
    let kind = keys::find(path).map(|key| key.kind);
    let parsed = DeValue::parse(text).ok();
    let Some(parsed) = parsed else {
        let looks_like_toml = text.starts_with(['[', '{', '"', '\'']);
        return match kind {
            _ if looks_like_toml => Err(format!("`{text}` is not a TOML value")),
            Some(Kind::Texts) => {
                let parts = text.split(',').map(|part| Value::from(part.trim()));
                let list = parts.collect::<Value>();
                Ok(vec![Setting::value(path, list, origin.clone())])
            }
            _ => Ok(vec![bare()]),
        };
    };
    let is_text = parsed.get_ref().is_str();
    match kind {
        Some(Kind::Text | Kind::OneOf(_)) if !is_text => Ok(vec![bare()]),
        Some(Kind::Texts) if !parsed.get_ref().is_array() => {
            let list = Value::from(vec![parsed.get_ref().as_str().unwrap_or(text)]);
            Ok(vec![Setting::value(path, list, origin.clone())])
        }
        _ => source::settings_of_value(path, &parsed, origin),
    }
}
