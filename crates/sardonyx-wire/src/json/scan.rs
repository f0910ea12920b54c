//! A cursor over JSON text: strings, numbers, and whole values that are checked and passed over
//! without recursion, however deep they are nested.

use std::borrow::Cow;

use super::number::{self, Decimal, NumberFault};
use crate::{Result, WireError};

/// What is wrong with a text, and at which byte. The messages are RapidJSON's, which TensorFlow
/// Serving and Triton pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) problem: &'static str,
    pub(crate) at: usize,
}

pub(crate) const EMPTY: &str = "The document is empty.";
const VALUE: &str = "Invalid value.";
const NAME: &str = "Missing a name for object member.";
const COLON: &str = "Missing a colon after a name of object member.";
const MEMBER: &str = "Missing a comma or } after an object member.";
const ELEMENT: &str = "Missing a comma or ] after an array element.";
const HEX: &str = "Incorrect hex digit after \\u escape in string.";
const SURROGATE: &str = "The surrogate pair in string is invalid.";
const ESCAPE: &str = "Invalid escape character in string.";
const QUOTE: &str = "Missing a closing quotation mark in string.";
const ENCODING: &str = "Invalid encoding in string.";
pub(crate) const TOO_BIG: &str = "Number too big to be stored in double.";
const FRACTION: &str = "Miss fraction part in number.";
const EXPONENT: &str = "Miss exponent in number.";

impl From<Fault> for WireError {
    fn from(fault: Fault) -> WireError {
        WireError::invalid(format!(
            "JSON Parse error: {} at offset: {}",
            fault.problem, fault.at
        ))
    }
}

impl From<NumberFault> for Fault {
    fn from(fault: NumberFault) -> Fault {
        let (problem, at) = match fault {
            NumberFault::Value(at) => (VALUE, at),
            NumberFault::Fraction(at) => (FRACTION, at),
            NumberFault::Exponent(at) => (EXPONENT, at),
        };
        Fault { problem, at }
    }
}

/// A place in a JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

/// A JSON number, or one of the tokens that JSON lacks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Decimal(Decimal),
    /// NaN or an infinity.
    Special(f64),
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Scanner<'a> {
        Scanner { bytes, at: 0 }
    }

    pub(crate) fn fault(&self, problem: &'static str) -> Fault {
        Fault {
            problem,
            at: self.at,
        }
    }

    /// The next byte that is not white space; it is not passed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                found => return found.copied(),
            }
        }
    }

    /// Passes `byte` when it comes next.
    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// After an element of an array: whether another one follows. Passes the comma or bracket.
    #[inline]
    pub(crate) fn another_element(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.fault(ELEMENT)),
        }
    }

    /// After a member of an object: whether another one follows. Passes the comma or brace.
    pub(crate) fn another_member(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.fault(MEMBER)),
        }
    }

    /// The name of a member and its colon.
    pub(crate) fn name(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault(NAME));
        }
        let name = self.string()?;
        if self.eat(b':') {
            Ok(name)
        } else {
            Err(self.fault(COLON))
        }
    }

    /// A string, without its escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        if !self.eat(b'"') {
            return Err(self.fault(VALUE));
        }
        let start = self.at;
        let plain = self.plain();
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = self.bytes[start..self.at].to_vec();
        self.escaped(&mut text)?;
        Ok(Cow::Owned(text))
    }

    /// Passes what is neither a quotation mark nor an escape nor a control character.
    fn plain(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let is_end = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn escaped(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        loop {
            text.extend_from_slice(self.plain());
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(text)?,
                None | Some(0) => return Err(self.fault(QUOTE)),
                Some(_) => return Err(self.fault(ENCODING)),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        let plain = match self.bytes.get(self.at + 1) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'u') => return self.unicode(text),
            _ => return Err(self.fault(ESCAPE)),
        };
        text.push(plain);
        self.at += 2;
        Ok(())
    }

    fn unicode(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        let at = self.at;
        let mut code = self.unit(at)?;
        self.at += 6;
        if (0xD800..0xDC00).contains(&code) {
            let surrogate = Fault {
                problem: SURROGATE,
                at,
            };
            if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                return Err(surrogate);
            }
            let low = self.unit(self.at)?;
            if !(0xDC00..0xE000).contains(&low) {
                return Err(surrogate);
            }
            self.at += 6;
            code = 0x1_0000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        let found = char::from_u32(code).ok_or(Fault {
            problem: SURROGATE,
            at,
        })?;
        text.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// The four hexadecimal digits after the `\u` at `at`.
    fn unit(&self, at: usize) -> Result<u32, Fault> {
        let digits = self.bytes.get(at + 2..at + 6);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        code.ok_or(Fault { problem: HEX, at })
    }

    /// A number, or NaN or an infinity as JavaScript spells them.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number, Fault> {
        match number::scan(self.bytes, self.at) {
            Ok(decimal) => {
                self.at = decimal.end;
                Ok(Number::Decimal(decimal))
            }
            Err(fault) => self.special().ok_or(fault.into()),
        }
    }

    #[cold]
    fn special(&mut self) -> Option<Number> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        let start = self.at + usize::from(negative);
        let rest = self.bytes.get(start..)?;
        let tokens: [(&[u8], f64); 3] = [
            (b"NaN", f64::NAN),
            (b"Infinity", f64::INFINITY),
            (b"Inf", f64::INFINITY),
        ];
        let (token, value) = tokens.iter().find(|(token, _)| rest.starts_with(token))?;
        self.at = start + token.len();
        Some(Number::Special(if negative { -value } else { *value }))
    }

    /// Passes `token` when it comes next.
    pub(crate) fn token(&mut self, token: &[u8]) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let found = rest.starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// Checks one value that is neither an array nor an object, and passes it.
    fn pass_scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.pass_string(),
            Some(b't') if self.token(b"true") => Ok(()),
            Some(b'f') if self.token(b"false") => Ok(()),
            Some(b'n') if self.token(b"null") => Ok(()),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => {
                let start = self.at;
                let found = self.number()?;
                let Number::Decimal(decimal) = found else {
                    return Ok(());
                };
                let text = &self.bytes[start..self.at];
                let is_finite = decimal.to_f64(text).is_some();
                is_finite.then_some(()).ok_or(Fault {
                    problem: TOO_BIG,
                    at: start,
                })
            }
            _ => Err(self.fault(VALUE)),
        }
    }

    fn pass_string(&mut self) -> Result<(), Fault> {
        self.string().map(drop)
    }

    /// Checks one value of any kind, and passes it. Memory is one byte for each open bracket.
    pub(crate) fn pass_value(&mut self) -> Result<(), Fault> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            let mut closed;
            match self.peek() {
                Some(b'[') => {
                    self.at += 1;
                    closed = self.eat(b']');
                    if !closed {
                        open.push(b']');
                    }
                }
                Some(b'{') => {
                    self.at += 1;
                    closed = self.eat(b'}');
                    if !closed {
                        open.push(b'}');
                        self.name()?;
                    }
                }
                _ => {
                    self.pass_scalar()?;
                    closed = true;
                }
            }
            // A value is complete: so is what it was the last of.
            while closed {
                match open.last() {
                    None => return Ok(()),
                    Some(b']') if self.another_element()? => closed = false,
                    Some(b'}') if self.another_member()? => {
                        self.name()?;
                        closed = false;
                    }
                    Some(_) => {
                        open.pop();
                    }
                }
            }
        }
    }

    /// Checks the next value, passes it and returns its text.
    pub(crate) fn value_text(&mut self) -> Result<&'a [u8], Fault> {
        self.peek();
        let start = self.at;
        self.pass_value()?;
        Ok(&self.bytes[start..self.at])
    }
}

/// Reads a whole document and gives the text of those of its members that have these names (the
/// first of each); `None` when it is no object. What follows the document is not looked at.
pub(crate) fn members<'a, const N: usize>(
    bytes: &'a [u8],
    names: [&str; N],
) -> Result<Option<[Option<&'a [u8]>; N]>, Fault> {
    let mut scanner = Scanner::new(bytes);
    match scanner.peek() {
        None => return Err(scanner.fault(EMPTY)),
        Some(b'{') => scanner.at += 1,
        Some(_) => return scanner.pass_value().map(|()| None),
    }
    let mut found = [None; N];
    if scanner.eat(b'}') {
        return Ok(Some(found));
    }
    loop {
        let name = scanner.name()?;
        let text = scanner.value_text()?;
        if let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == &*name) {
            found[at] = found[at].or(Some(text));
        }
        if !scanner.another_member()? {
            return Ok(Some(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<usize, Fault> {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.pass_value().map(|()| scanner.at)
    }

    #[test]
    fn values_are_passed() {
        for text in [
            "1",
            "-0.5e-3",
            "true",
            "null",
            "\"a\\u00e9\\ud83d\\ude00\"",
            "[]",
            "{}",
            "[[], {}]",
            "{\"a\": [1, {\"b\": []}], \"c\": {}}",
            "[NaN, -Infinity, Inf]",
        ] {
            assert_eq!(check(text), Ok(text.len()), "{text}");
        }
        assert_eq!(check("[1] 2"), Ok(3));
    }

    #[test]
    fn faults_are_named_and_placed() {
        for (text, problem, at) in [
            ("", VALUE, 0),
            ("[1,]", VALUE, 3),
            ("[1 2]", ELEMENT, 3),
            ("{", NAME, 1),
            ("{1:2}", NAME, 1),
            ("{\"a\" 1}", COLON, 5),
            ("{\"a\":1", MEMBER, 6),
            ("\"abc", QUOTE, 4),
            ("\"\\x\"", ESCAPE, 1),
            ("\"\\u12g4\"", HEX, 1),
            ("\"\\ud800x\"", SURROGATE, 1),
            ("\"a\nb\"", ENCODING, 2),
            ("1.x", FRACTION, 2),
            ("1ex", EXPONENT, 2),
            ("1e999", TOO_BIG, 0),
            ("tru", VALUE, 0),
            ("}", VALUE, 0),
        ] {
            assert_eq!(check(text), Err(Fault { problem, at }), "{text}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert_eq!(check(&deep), Ok(deep.len()));
        let open = "{\"a\":".repeat(500_000);
        assert_eq!(check(&open).map_err(|fault| fault.problem), Err(VALUE));
    }

    #[test]
    fn every_cut_of_a_document_is_a_fault() {
        let text = r#"{"a": [1.5e3, "x\u0041", {"b": [true, null, -2]}], "c": NaN}"#;
        for end in 0..text.len() {
            assert!(check(&text[..end]).is_err(), "{}", &text[..end]);
        }
        assert!(check(text).is_ok());
    }
}
