//! Text from outside becomes HTML here and nowhere else.

use std::fmt;

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($argument:tt)*) => {
        std::fmt::Write::write_fmt($out, format_args!($($argument)*))
            .expect("a String takes whatever is written")
    };
}
pub(super) use put;

/// Shows a text as HTML character data or attribute value, with nothing in it that could be
/// markup. Characters that HTML does not allow at all become a replacement character.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                // Marks that reverse the direction of what follows could disguise a text.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The first `limit` characters, with an ellipsis where there were more.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some(_) => text.chars().take(limit - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// A whole number with narrow spaces between its thousands.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A weight: whole where it is whole.
pub(super) fn weight(value: f64) -> String {
    match value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        true => count(value as u64),
        false => format!("{value:.2}"),
    }
}

/// A share as a percentage with `decimals`, a dash when it is not known.
pub(super) fn percent(value: Option<f64>, decimals: usize) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{:.decimals$}\u{202f}%", value * 100.0),
        _ => "–".to_owned(),
    }
}

/// A number with `decimals`, a dash when it is not known.
pub(super) fn number(value: Option<f64>, decimals: usize) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.decimals$}"),
        _ => "–".to_owned(),
    }
}

/// A time in the unit that suits it.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() || s < 0.0 => "–".to_owned(),
        s if s < 1.0 => format!("{:.0}\u{202f}ms", s * 1e3),
        s if s < 100.0 => format!("{s:.1}\u{202f}s"),
        s if s < 6000.0 => format!("{:.0}\u{202f}min", s / 60.0),
        s => format!("{:.1}\u{202f}h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        let check = |text: &str, expect: &str| assert_eq!(Escaped(text).to_string(), expect);
        check("a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;");
        check("line\nnext\ttab", "line\nnext\ttab");
        check("nul\0esc\u{1b}[0m", "nul\u{fffd}esc\u{fffd}[0m");
        check("a\u{202e}b", "a\u{fffd}b");
        check("Ünï 漢字 🙂", "Ünï 漢字 🙂");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1000), "1\u{202f}000");
        assert_eq!(count(225_034), "225\u{202f}034");
        assert_eq!(weight(2.5), "2.50");
        assert_eq!(percent(Some(0.98765), 2), "98.77\u{202f}%");
        assert_eq!(percent(Some(f64::NAN), 2), "–");
        assert_eq!(number(None, 3), "–");
        assert_eq!(duration(0.25), "250\u{202f}ms");
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("abcd", 4), "abcd");
    }
}
