//! From TOML text to single settings, each with the place where it was made.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Origin, Setting};
use crate::error::{Error, Result};

/// Longest configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a configuration file.
pub(super) fn read(path: &Path) -> Result<String> {
    let io = |source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        let problem = format!("the file is longer than {MAX_BYTES} bytes");
        return Err(Error::config(path.display().to_string(), problem));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let problem = format!("byte {offset} is not UTF-8 text; hint: is it a TOML file?");
        Error::config(path.display().to_string(), problem)
    })
}

/// Every setting of a TOML text. `name` stands for the file in the places.
pub(super) fn settings(name: &str, text: &str) -> Result<Vec<Setting>> {
    let document = Document { name, text };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', ", ");
        Error::config(document.origin(offset).to_string(), message)
    })?;
    let mut settings = Vec::new();
    document.flatten("", table.get_ref(), &mut settings)?;
    Ok(settings)
}

struct Document<'a> {
    name: &'a str,
    text: &'a str,
}

impl Document<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            name: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn flatten(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        settings: &mut Vec<Setting>,
    ) -> Result<()> {
        for (key, value) in table {
            let path = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            let origin = self.origin(key.span().start);
            if let DeValue::Table(inner) = value.get_ref() {
                settings.push(Setting::table(&path, origin));
                self.flatten(&path, inner, settings)?;
            } else {
                let value = to_json(value).map_err(|problem| {
                    Error::config(
                        format!("{}: {path}", self.origin(value.span().start)),
                        problem,
                    )
                })?;
                settings.push(Setting::value(&path, value, origin));
            }
        }
        Ok(())
    }
}

/// The settings of one value given under a path: itself, or its parts when it is a table.
pub(super) fn settings_of_value(
    path: &str,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
) -> Result<Vec<Setting>, String> {
    let DeValue::Table(table) = value.get_ref() else {
        return Ok(vec![Setting::value(path, to_json(value)?, origin.clone())]);
    };
    let mut settings = vec![Setting::table(path, origin.clone())];
    for (key, value) in table {
        let path = format!("{path}.{}", key.get_ref());
        settings.extend(settings_of_value(&path, value, origin)?);
    }
    Ok(settings)
}

fn to_json(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(integer) => {
            let digits = integer.as_str().replace('_', "");
            let number = i64::from_str_radix(&digits, integer.radix());
            number
                .map(Value::from)
                .or_else(|_| u64::from_str_radix(&digits, integer.radix()).map(Value::from))
                .map_err(|_| format!("{digits} is too large a number"))?
        }
        DeValue::Float(float) => {
            let text = float.as_str();
            let number: f64 = text
                .replace('_', "")
                .parse()
                .map_err(|_| format!("`{text}` is no number"))?;
            if !number.is_finite() {
                return Err(format!("{text} will not do, it must be a finite number"));
            }
            Value::from(number)
        }
        DeValue::Boolean(flag) => Value::from(*flag),
        // No key takes a date: the check of the key's kind says so.
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(items) => items.iter().map(to_json).collect::<Result<_, _>>()?,
        DeValue::Table(table) => {
            let mut object = Map::new();
            for (key, value) in table {
                object.insert(key.get_ref().to_string(), to_json(value)?);
            }
            Value::Object(object)
        }
    })
}
