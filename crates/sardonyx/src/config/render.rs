//! The configuration as a commented TOML text that reads back as the same configuration.

use std::fmt::Write;

use serde_json::Value;

use super::TrainConfig;
use super::keys::{KEYS, Key, Kind};

/// Column at which comments begin, where the setting is shorter.
const COMMENT_COLUMN: usize = 32;

impl TrainConfig {
    /// Every setting with a comment. A setting without a value is commented out: its comment says
    /// what holds then. The text reads back as the same configuration.
    pub fn render(&self) -> String {
        let tree = serde_json::to_value(self).expect("a configuration is plain data");
        let mut text = String::new();
        let mut table = "";
        for key in KEYS {
            let (key_table, name) = key.path.rsplit_once('.').expect("every key is in a table");
            let entries = lookup(&tree, key_table);
            let alternative = entries.and_then(|entries| entries.get("name")?.as_str());
            if !key.only.is_empty() && alternative.is_none_or(|name| !key.only.contains(&name)) {
                continue;
            }
            let value = entries.and_then(|entries| entries.get(name));
            let is_header = key_table != table;
            if is_header {
                table = key_table;
                let off = if entries.is_none() { "# " } else { "" };
                let gap = if text.is_empty() { "" } else { "\n" };
                writeln!(text, "{gap}{off}[{table}]").expect("a string takes any text");
            }
            let setting = match value {
                Some(value) => format!("{name} = {}", toml_value(value)),
                None => format!("# {name} = {}", example(key)),
            };
            writeln!(text, "{setting:COMMENT_COLUMN$}# {}", comment(key))
                .expect("a string takes any text");
        }
        text
    }
}

fn lookup<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |node, name| node.get(name))
}

fn comment(key: &Key) -> String {
    match key.kind {
        Kind::OneOf(known) => format!("{}: {}", known.join(" | "), key.doc),
        _ => key.doc.to_owned(),
    }
}

/// JSON's numbers, flags and lists are TOML's too; its strings are TOML's basic strings but for
/// what both escape alike.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

/// A value to show for a key that has none.
fn example(key: &Key) -> String {
    match (key.path, key.kind) {
        ("data.target", _) => "\"label\"".to_owned(),
        ("data.test", _) => "\"data/test\"".to_owned(),
        ("model.arch", _) => "\"seed-cnn\"".to_owned(),
        ("preprocess.scale", _) => "\"symmetric\"".to_owned(),
        ("train.early_stop.metric", _) => "\"val.loss\"".to_owned(),
        (_, Kind::Count) => "5".to_owned(),
        (_, Kind::ImageSize) => "28".to_owned(),
        (_, Kind::Number) if key.path.ends_with("min_delta") => "0.0".to_owned(),
        (_, Kind::Number) => "1.0".to_owned(),
        (_, Kind::OneOf(known)) => format!("\"{}\"", known.first().unwrap_or(&"")),
        _ => "\"...\"".to_owned(),
    }
}
