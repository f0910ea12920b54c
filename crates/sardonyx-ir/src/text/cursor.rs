//! A place in a text, and the smallest things that can be read there.

use super::TextError;

pub(super) type Result<T> = std::result::Result<T, TextError>;

/// A number or a string as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    /// Digits with an optional sign.
    Int(String),
    /// Anything else that is a number.
    Float(f64, f32),
    /// A string without its quotes.
    Text(String),
}

/// A place in a text.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Cursor<'t> {
        Cursor { text, at: 0 }
    }

    /// The text from here, blanks and comments skipped.
    fn rest(&mut self) -> &'t str {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return trimmed;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// The next character.
    pub(super) fn peek(&mut self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Skips `token` when it is next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Skips `token`, which must be next.
    pub(super) fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) {
            return Ok(());
        }
        let found = self.next_word();
        Err(self.error(format!("expected `{token}`, found {found}")))
    }

    /// The identifier that is next, without skipping it; empty when there is none.
    pub(super) fn peek_identifier(&mut self) -> &'t str {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return "";
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    }

    /// The identifier that is next.
    pub(super) fn identifier(&mut self) -> Result<&'t str> {
        let identifier = self.peek_identifier();
        if identifier.is_empty() {
            let found = self.next_word();
            return Err(self.error(format!("expected a name, found {found}")));
        }
        self.at += identifier.len();
        Ok(identifier)
    }

    /// An identifier, or any name in quotes; `None` when neither is next.
    pub(super) fn optional_name(&mut self) -> Result<Option<String>> {
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let identifier = self.peek_identifier();
        self.at += identifier.len();
        Ok((!identifier.is_empty()).then(|| identifier.to_owned()))
    }

    /// An identifier, or any name in quotes.
    pub(super) fn name(&mut self) -> Result<String> {
        match self.optional_name()? {
            Some(name) => Ok(name),
            None => self.identifier().map(str::to_owned),
        }
    }

    /// A string in quotes; a backslash takes the next character as it is.
    pub(super) fn quoted(&mut self) -> Result<String> {
        let start = self.clone();
        self.expect("\"")?;
        let mut content = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((offset, char)) = chars.next() {
            match char {
                '"' => {
                    self.at += offset + 1;
                    return Ok(content);
                }
                '\\' => content.extend(chars.next().map(|(_, escaped)| escaped)),
                char => content.push(char),
            }
        }
        Err(start.error("the string has no closing quote"))
    }

    /// A number or a string.
    pub(super) fn literal(&mut self) -> Result<Literal> {
        if self.peek() == Some('"') {
            return Ok(Literal::Text(self.quoted()?));
        }
        let start = self.clone();
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        self.at += end;
        let digits = word.strip_prefix('-').unwrap_or(word);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Literal::Int(word.to_owned()));
        }
        match (word.parse(), word.parse()) {
            (Ok(double), Ok(single)) if !word.starts_with('+') => {
                Ok(Literal::Float(double, single))
            }
            _ => {
                let found = start.clone().next_word();
                Err(start.error(format!("expected a number or a string, found {found}")))
            }
        }
    }

    /// An integer.
    pub(super) fn int(&mut self) -> Result<i64> {
        let start = self.clone();
        match self.literal()? {
            Literal::Int(digits) => digits
                .parse()
                .map_err(|_| start.error(format!("{digits} does not fit into 64 bits"))),
            _ => Err(start.error("expected an integer")),
        }
    }

    /// An error about this place.
    pub(super) fn error(&self, problem: impl Into<String>) -> TextError {
        let mut here = self.clone();
        here.rest();
        let before = &self.text[..here.at];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        TextError::Syntax {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem: problem.into(),
        }
    }

    /// What is next, for an error's message.
    fn next_word(&mut self) -> String {
        let rest = self.rest();
        let word: String = rest
            .chars()
            .take_while(|c| !c.is_whitespace())
            .take(20)
            .collect();
        if word.is_empty() {
            "the end of the text".to_owned()
        } else {
            format!("`{word}`")
        }
    }
}
