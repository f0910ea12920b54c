//! Protobuf's text format to protobuf bytes, directed by the table of a message.

use super::TextError;
use super::lexer::{Lexer, Token};
use crate::schema::{
    Count, Field, Kind, Message, expected, find, integer_bits, put_bytes, put_double, put_varint,
};

/// Deepest nesting of what is read over.
const MAX_DEPTH: usize = 64;

/// The message that a text describes, encoded.
pub(super) fn parse(message: Message, text: &str) -> Result<Vec<u8>, TextError> {
    let mut parser = Parser {
        lexer: Lexer::new(text)?,
    };
    let mut out = Vec::new();
    parser.fields(message, None, &mut out)?;
    Ok(out)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
}

impl Parser<'_> {
    /// Reads fields up to `close`, or to the end of the text.
    fn fields(
        &mut self,
        message: Message,
        close: Option<char>,
        out: &mut Vec<u8>,
    ) -> Result<(), TextError> {
        let mut seen: Vec<&str> = Vec::new();
        loop {
            let place = self.lexer.place();
            let name = match (self.lexer.next()?, close) {
                (Token::End, None) => return Ok(()),
                (Token::Mark(mark), Some(close)) if mark == close => return Ok(()),
                (Token::Word(name), _) => name,
                (Token::End, Some(close)) => {
                    return Err(self.lexer.error(place, format!("'{close}' is missing")));
                }
                _ => {
                    return Err(self
                        .lexer
                        .error(place, "the name of a field must come here"));
                }
            };
            let field = find(message, &name).ok_or_else(|| self.unknown(place, message, &name))?;
            if matches!(field.count, Count::One | Count::Optional) {
                if seen.contains(&field.name) {
                    let problem = format!("field '{name}' is given a second time");
                    return Err(self.lexer.error(place, problem));
                }
                seen.push(field.name);
            }
            self.field(field, out)?;
            if !self.lexer.eat(',')? {
                self.lexer.eat(';')?;
            }
        }
    }

    fn unknown(&self, place: usize, message: Message, name: &str) -> TextError {
        let names: Vec<&str> = message.iter().map(|field| field.name).collect();
        let problem = format!(
            "there is no field '{name}'; hint: the fields here are {}",
            names.join(", ")
        );
        self.lexer.error(place, problem)
    }

    /// Reads what follows a field's name.
    fn field(&mut self, field: &Field, out: &mut Vec<u8>) -> Result<(), TextError> {
        let has_colon = self.lexer.eat(':')?;
        let place = self.lexer.place();
        let is_message = matches!(field.kind, Kind::Message(_) | Kind::Ignored);
        if !has_colon && !is_message {
            return Err(self.lexer.error(place, "':' must come here"));
        }
        let is_list = matches!(field.count, Count::Many | Count::Map);
        if !is_list || !self.lexer.eat('[')? {
            return self.value(field, out);
        }
        if self.lexer.eat(']')? {
            return Ok(());
        }
        loop {
            self.value(field, out)?;
            if self.lexer.eat(']')? {
                return Ok(());
            }
            let place = self.lexer.place();
            if !self.lexer.eat(',')? {
                return Err(self.lexer.error(place, "',' or ']' must come here"));
            }
        }
    }

    fn value(&mut self, field: &Field, out: &mut Vec<u8>) -> Result<(), TextError> {
        let place = self.lexer.place();
        match &field.kind {
            Kind::Ignored => return self.ignore(),
            Kind::Message(message) => {
                let close = self.open()?.ok_or_else(|| {
                    self.lexer
                        .error(place, format!("'{}' must be a message: '{{'", field.name))
                })?;
                let mut inner = Vec::new();
                self.fields(message, Some(close), &mut inner)?;
                put_bytes(field.tag, &inner, out);
                return Ok(());
            }
            _ => {}
        }
        let is_negative = self.lexer.eat('-')?;
        let token = self.lexer.next()?;
        put_scalar(field, is_negative, &token, out).ok_or_else(|| {
            let problem = format!("'{}' must be {}", field.name, expected(&field.kind));
            self.lexer.error(place, problem)
        })
    }

    /// Takes the bracket that opens a message; the one that closes it.
    fn open(&mut self) -> Result<Option<char>, TextError> {
        if self.lexer.eat('{')? {
            return Ok(Some('}'));
        }
        Ok(self.lexer.eat('<')?.then_some('>'))
    }

    /// Reads over a value of any kind.
    fn ignore(&mut self) -> Result<(), TextError> {
        let mut depth = 0usize;
        loop {
            let place = self.lexer.place();
            match self.lexer.next()? {
                Token::Mark('{' | '<' | '[') => depth += 1,
                Token::Mark('}' | '>' | ']') if depth > 0 => depth -= 1,
                Token::Mark('-') if depth == 0 => continue,
                Token::End => return Err(self.lexer.error(place, "the text ends too early")),
                Token::Mark(_) if depth == 0 => {
                    return Err(self.lexer.error(place, "a value must come here"));
                }
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
            if depth > MAX_DEPTH {
                return Err(self.lexer.error(place, "messages are nested too deep"));
            }
        }
    }
}

/// Encodes one scalar; `None` when the token is not of the field's kind.
fn put_scalar(field: &Field, is_negative: bool, token: &Token, out: &mut Vec<u8>) -> Option<()> {
    match (&field.kind, token) {
        (Kind::String, Token::String(text)) if !is_negative => {
            std::str::from_utf8(text).ok()?;
            put_bytes(field.tag, text, out);
        }
        (Kind::Bool, Token::Word(word)) if !is_negative => {
            let value = match word.as_str() {
                "true" | "True" | "t" => 1,
                "false" | "False" | "f" => 0,
                _ => return None,
            };
            put_varint(field.tag, value, out);
        }
        (Kind::Bool, Token::Number(text)) if !is_negative => {
            let value = integer(text).filter(|value| (0..=1).contains(value))?;
            put_varint(field.tag, value as u64, out);
        }
        (Kind::Enum(names), Token::Word(word)) if !is_negative => {
            let (_, value) = names.iter().find(|(name, _)| name == word)?;
            put_varint(field.tag, *value as u64, out);
        }
        (Kind::Enum(names), Token::Number(text)) if !is_negative => {
            let number = integer(text)?;
            let (_, value) = names
                .iter()
                .find(|(_, value)| i128::from(*value) == number)?;
            put_varint(field.tag, *value as u64, out);
        }
        (Kind::Signed(_) | Kind::Unsigned(_), Token::Number(text)) => {
            let value = integer(text)?;
            let value = if is_negative { -value } else { value };
            put_varint(field.tag, integer_bits(&field.kind, value)?, out);
        }
        (Kind::Double, Token::Number(text) | Token::Word(text)) => {
            let value = double(text)?;
            put_double(field.tag, if is_negative { -value } else { value }, out);
        }
        _ => return None,
    }
    Some(())
}

/// A decimal, hexadecimal or octal integer without a sign.
fn integer(text: &str) -> Option<i128> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i128::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => i128::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

fn double(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        lower => lower.strip_suffix('f').unwrap_or(lower).parse().ok(),
    }
}
