//! Tokens of protobuf's text format.

use super::TextError;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, or a bare word such as `true` or the name of an enum's value.
    Word(String),
    /// A number without its sign.
    Number(String),
    /// A string, its escapes resolved: bytes of any value.
    String(Vec<u8>),
    /// A punctuation mark.
    Mark(char),
    End,
}

/// Splits a text into tokens, one ahead of where the parser is.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// End of the token that comes next.
    at: usize,
    token: Token,
    /// Start of the token that comes next.
    start: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Result<Lexer<'a>, TextError> {
        let mut lexer = Lexer {
            text,
            at: 0,
            token: Token::End,
            start: 0,
        };
        lexer.advance()?;
        Ok(lexer)
    }

    /// Where the next token starts.
    pub(super) fn place(&self) -> usize {
        self.start
    }

    pub(super) fn error(&self, at: usize, problem: impl Into<String>) -> TextError {
        TextError::new(self.text, at, problem)
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Result<Token, TextError> {
        let token = self.token.clone();
        self.advance()?;
        Ok(token)
    }

    /// Takes the next token when it is this mark.
    pub(super) fn eat(&mut self, mark: char) -> Result<bool, TextError> {
        let found = self.token == Token::Mark(mark);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes white space and comments.
    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn advance(&mut self) -> Result<(), TextError> {
        self.skip_space();
        self.start = self.at;
        let Some(first) = self.rest().chars().next() else {
            self.token = Token::End;
            return Ok(());
        };
        self.token = match first {
            '"' | '\'' => Token::String(self.string(first)?),
            'a'..='z' | 'A'..='Z' | '_' => {
                Token::Word(self.take(|c| c.is_ascii_alphanumeric() || c == '_'))
            }
            '0'..='9' | '.' => Token::Number(self.number()),
            '{' | '}' | '<' | '>' | '[' | ']' | ':' | ',' | ';' | '-' | '/' => {
                self.at += first.len_utf8();
                Token::Mark(first)
            }
            other => {
                let problem = format!("{other:?} has no meaning here");
                return Err(self.error(self.at, problem));
            }
        };
        Ok(())
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    fn number(&mut self) -> String {
        let mut text = self.take(|c| c.is_ascii_alphanumeric() || c == '.');
        let is_hexadecimal = text.starts_with("0x") || text.starts_with("0X");
        if !is_hexadecimal && text.ends_with(['e', 'E']) && self.rest().starts_with(['+', '-']) {
            text.push_str(&self.rest()[..1]);
            self.at += 1;
            text.push_str(&self.take(|c| c.is_ascii_alphanumeric()));
        }
        text
    }

    /// A string. Strings side by side are one.
    fn string(&mut self, first: char) -> Result<Vec<u8>, TextError> {
        let (mut out, mut quote) = (Vec::new(), first);
        loop {
            let start = self.at;
            self.at += 1;
            while !self.rest().starts_with(quote) {
                match self.rest().chars().next() {
                    Some('\\') => self.escape(&mut out)?,
                    None | Some('\n') => return Err(self.error(start, "this string has no end")),
                    Some(c) => {
                        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        self.at += c.len_utf8();
                    }
                }
            }
            self.at += 1;
            self.skip_space();
            match self.rest().chars().next() {
                Some(found @ ('"' | '\'')) => quote = found,
                _ => return Ok(out),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let bytes = self.rest().as_bytes();
        let simple = match bytes.get(1) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'v') => 11,
            Some(&c @ (b'\\' | b'"' | b'\'' | b'?')) => c,
            Some(b'x' | b'X') => return self.coded(2, 2, 16, out),
            Some(b'0'..=b'7') => return self.coded(1, 3, 8, out),
            Some(b'u') => return self.coded(2, 4, 16, out),
            Some(b'U') => return self.coded(2, 8, 16, out),
            _ => return Err(self.error(self.at, "this escape has no meaning")),
        };
        out.push(simple);
        self.at += 2;
        Ok(())
    }

    /// An escape by number: at most `n_digits` digits, `skip` bytes from here.
    fn coded(
        &mut self,
        skip: usize,
        n_digits: usize,
        radix: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), TextError> {
        let rest = self.rest().get(skip..).unwrap_or_default();
        let digits = rest
            .chars()
            .take(n_digits)
            .take_while(|c| c.is_digit(radix))
            .count();
        let code = u32::from_str_radix(&rest[..digits], radix).ok();
        let wrong = || TextError::new(self.text, self.at, "this escape has no meaning");
        let code = code.ok_or_else(wrong)?;
        if n_digits > 3 {
            let found = char::from_u32(code)
                .filter(|_| digits == n_digits)
                .ok_or_else(wrong)?;
            out.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(code).map_err(|_| wrong())?);
        }
        self.at += skip + digits;
        Ok(())
    }
}
