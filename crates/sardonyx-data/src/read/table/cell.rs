use std::borrow::Cow;

/// Whole numbers up to this size have one text form as a category: `1`, `1.0` and `01` are equal.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What a cell says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Missing,
    Number(f64),
    Text(&'a str),
}

/// The words for a missing value, sorted for the two questions that [`parse`] asks.
#[derive(Debug)]
pub(super) struct Missing<'a> {
    words: &'a [String],
    /// Those that would else be numbers, such as -999.
    numbers: Vec<&'a str>,
}

impl<'a> Missing<'a> {
    pub(super) fn new(words: &'a [String]) -> Missing<'a> {
        let is_number = |word: &&str| word.parse::<f64>().is_ok();
        Missing {
            words,
            numbers: words.iter().map(String::as_str).filter(is_number).collect(),
        }
    }
}

pub(super) fn parse<'a>(text: &'a str, missing: &Missing<'_>) -> Cell<'a> {
    match number(text) {
        Some(_) if missing.numbers.contains(&text) => Cell::Missing,
        Some(value) if value.is_nan() => Cell::Missing,
        Some(value) => Cell::Number(value),
        None if missing.words.iter().any(|word| word == text) => Cell::Missing,
        None => Cell::Text(text),
    }
}

/// The number that a text is. Small whole numbers, such as pixels, take a short way.
fn number(text: &str) -> Option<f64> {
    if (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = text
            .bytes()
            .fold(0u32, |value, byte| value * 10 + u32::from(byte - b'0'));
        return Some(f64::from(value));
    }
    text.parse().ok()
}

impl Cell<'_> {
    /// The cell's text as a category or class.
    pub(super) fn label<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match *self {
            Cell::Number(value) if value.fract() == 0.0 && value.abs() < WHOLE_MAX => {
                Cow::Owned(format!("{}", value as i64))
            }
            _ => Cow::Borrowed(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_told_apart() {
        let missing = ["".to_owned(), "?".to_owned(), "-999".to_owned()];
        let cases = [
            ("", Cell::Missing),
            ("?", Cell::Missing),
            ("-999", Cell::Missing),
            ("nan", Cell::Missing),
            ("0255", Cell::Number(255.0)),
            ("12345", Cell::Number(12_345.0)),
            ("1.5", Cell::Number(1.5)),
            ("-1e3", Cell::Number(-1000.0)),
            ("inf", Cell::Number(f64::INFINITY)),
            ("1.5kg", Cell::Text("1.5kg")),
            ("red", Cell::Text("red")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, &Missing::new(&missing)), expected, "{text}");
        }
        for text in ["1", "1.0", "01", "+1"] {
            assert_eq!(parse(text, &Missing::new(&missing)).label(text), "1");
        }
        assert_eq!(Cell::Text("a1").label("a1"), "a1");
    }
}
