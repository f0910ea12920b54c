//! Names of a classifier's classes, kept in the model's key-value pairs so that every copy of the
//! file has them.

use sardonyx_ir::Graph;

use crate::error::{ModelError, Result};

/// Key of the model's metadata under which the names are: a JSON array of strings.
pub const CLASSES_KEY: &str = "sardonyx.classes";

/// Names of the classes in the order of the outputs; `None` when the model does not have them.
///
/// # Errors
/// When what is there is not a JSON array of strings.
pub fn class_names(graph: &Graph) -> Result<Option<Vec<String>>> {
    let Some(json) = graph.metadata.get(CLASSES_KEY) else {
        return Ok(None);
    };
    let mut reader = Reader { rest: json };
    match reader.array() {
        Some(names) => Ok(Some(names)),
        None => Err(ModelError::Classes {
            problem: format!(
                "is not a JSON array of strings (character {})",
                json[..json.len() - reader.rest.len()].chars().count() + 1
            ),
        }),
    }
}

/// Records the names of the classes in the model.
pub fn set_class_names<S: AsRef<str>>(graph: &mut Graph, names: &[S]) {
    let quoted: Vec<String> = names.iter().map(|name| quote(name.as_ref())).collect();
    let json = format!("[{}]", quoted.join(","));
    graph.metadata.insert(CLASSES_KEY.to_owned(), json);
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// Reads the little of JSON (RFC 8259) that is needed here.
struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn eat(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn array(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        if !self.eat('[') {
            return None;
        }
        if !self.eat(']') {
            loop {
                names.push(self.string()?);
                if !self.eat(',') {
                    break;
                }
            }
            if !self.eat(']') {
                return None;
            }
        }
        self.eat(' ');
        self.rest.is_empty().then_some(names)
    }

    fn string(&mut self) -> Option<String> {
        if !self.eat('"') {
            return None;
        }
        let mut out = String::new();
        loop {
            let char = self.take()?;
            match char {
                '"' => return Some(out),
                '\\' => out.push(self.escaped()?),
                char if char < ' ' => return None,
                char => out.push(char),
            }
        }
    }

    fn take(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = &self.rest[char.len_utf8()..];
        Some(char)
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.take()? {
            char @ ('"' | '\\' | '/') => char,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// The digits of `\u`, and of a second one when the first is half of a pair.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let second = self
            .hex()?
            .checked_sub(0xdc00)
            .filter(|second| *second < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let mut graph = Graph::new("g", 17);
        assert_eq!(class_names(&graph).unwrap(), None);
        for names in [vec![], vec!["cat", "a \"b\"\\\n\u{1}é😀", ""]] {
            set_class_names(&mut graph, &names);
            assert_eq!(class_names(&graph).unwrap().unwrap(), names);
        }
    }

    #[test]
    fn json_of_others_is_read() {
        let mut graph = Graph::new("g", 17);
        let json = " [ \"\\u00e9\\ud83d\\ude00\" ,\n\"\\/\" ] ";
        graph
            .metadata
            .insert(CLASSES_KEY.to_owned(), json.to_owned());
        assert_eq!(class_names(&graph).unwrap().unwrap(), ["é😀", "/"]);
        for bad in [
            "",
            "[",
            "[1]",
            "[\"a\" \"b\"]",
            "[\"\\ud83d\"]",
            "[\"a\"] x",
            "[\"\\u+123\"]",
        ] {
            graph
                .metadata
                .insert(CLASSES_KEY.to_owned(), bad.to_owned());
            assert!(class_names(&graph).is_err(), "{bad}");
        }
        graph
            .metadata
            .insert(CLASSES_KEY.to_owned(), "[\"é\", 1]".to_owned());
        let error = class_names(&graph).unwrap_err().to_string();
        assert_eq!(
            error,
            "`sardonyx.classes` of the model's metadata is not a JSON array of strings (character 7)"
        );
    }
}
