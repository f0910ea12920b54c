//! JSON text as the servers that clients know lay it out.

use super::float;

/// How the text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Without white space.
    Compact,
    /// A member or element a line, indented by so many spaces a level.
    Lines(usize),
    /// As [`Layout::Lines`], but the elements of an array are on one line.
    Rows(usize),
}

/// Writes JSON text. Whoever calls keeps brackets balanced.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
    layout: Layout,
    /// For every open bracket, whether it is an array and whether it holds anything yet.
    open: Vec<(bool, bool)>,
    after_name: bool,
}

impl Writer {
    pub(crate) fn new(layout: Layout, capacity: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(capacity),
            layout,
            open: Vec::new(),
            after_name: false,
        }
    }

    pub(crate) fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// What goes before a value.
    #[inline]
    fn separate(&mut self) {
        if std::mem::take(&mut self.after_name) {
            return;
        }
        let Some((is_array, holds)) = self.open.last_mut() else {
            return;
        };
        let (is_array, follows) = (*is_array, std::mem::replace(holds, true));
        if follows {
            self.out.push(b',');
        }
        match self.layout {
            Layout::Compact => {}
            Layout::Rows(_) if is_array => {
                if follows {
                    self.out.push(b' ');
                }
            }
            Layout::Lines(indent) | Layout::Rows(indent) => self.line(indent),
        }
    }

    fn line(&mut self, indent: usize) {
        let n_spaces = indent * self.open.len();
        self.out.push(b'\n');
        self.out.resize(self.out.len() + n_spaces, b' ');
    }

    fn begin(&mut self, is_array: bool, bracket: u8) {
        self.separate();
        self.out.push(bracket);
        self.open.push((is_array, false));
    }

    fn end(&mut self, bracket: u8) {
        let (is_array, holds) = self.open.pop().expect("brackets are balanced");
        match self.layout {
            Layout::Lines(indent) if holds => self.line(indent),
            Layout::Rows(indent) if holds && !is_array => self.line(indent),
            _ => {}
        }
        self.out.push(bracket);
    }

    pub(crate) fn begin_object(&mut self) {
        self.begin(false, b'{');
    }

    pub(crate) fn end_object(&mut self) {
        self.end(b'}');
    }

    pub(crate) fn begin_array(&mut self) {
        self.begin(true, b'[');
    }

    pub(crate) fn end_array(&mut self) {
        self.end(b']');
    }

    pub(crate) fn name(&mut self, name: &str) {
        self.separate();
        quote(name, &mut self.out);
        self.out.push(b':');
        if self.layout != Layout::Compact {
            self.out.push(b' ');
        }
        self.after_name = true;
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.separate();
        quote(text, &mut self.out);
    }

    /// Writes what is JSON already.
    pub(crate) fn token(&mut self, text: &str) {
        self.separate();
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.token(if value { "true" } else { "false" });
    }

    pub(crate) fn signed(&mut self, value: i64) {
        self.separate();
        if value < 0 {
            self.out.push(b'-');
        }
        push_digits(value.unsigned_abs(), &mut self.out);
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        self.separate();
        push_digits(value, &mut self.out);
    }

    /// A number in TensorFlow Serving's form.
    #[inline]
    pub(crate) fn general_f32(&mut self, value: f32) {
        self.separate();
        float::general_f32(value, &mut self.out);
    }

    /// A number in TensorFlow Serving's form.
    pub(crate) fn general_f64(&mut self, value: f64) {
        self.separate();
        float::general_f64(value, &mut self.out);
    }

    /// A number with the fewest digits that give it back.
    #[inline]
    pub(crate) fn shortest_f32(&mut self, value: f32) {
        self.separate();
        if value.is_finite() {
            let mut buffer = zmij::Buffer::new();
            self.out
                .extend_from_slice(buffer.format_finite(value).as_bytes());
        } else {
            self.out.extend_from_slice(float::special(f64::from(value)));
        }
    }

    /// A number with the fewest digits that give it back.
    pub(crate) fn shortest_f64(&mut self, value: f64) {
        self.separate();
        if value.is_finite() {
            let mut buffer = zmij::Buffer::new();
            self.out
                .extend_from_slice(buffer.format_finite(value).as_bytes());
        } else {
            self.out.extend_from_slice(float::special(value));
        }
    }
}

pub(crate) fn push_digits(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            8 => b"\\b",
            12 => b"\\f",
            0..0x20 => {
                out.extend_from_slice(&text.as_bytes()[plain..at]);
                out.extend_from_slice(format!("\\u{byte:04X}").as_bytes());
                plain = at + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        out.extend_from_slice(escape);
        plain = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(layout: Layout) -> String {
        let mut writer = Writer::new(layout, 0);
        writer.begin_object();
        writer.name("a\"\u{1}é");
        writer.begin_array();
        writer.signed(i64::MIN);
        writer.unsigned(u64::MAX);
        writer.begin_object();
        writer.end_object();
        writer.end_array();
        writer.name("b");
        writer.begin_array();
        writer.end_array();
        writer.end_object();
        String::from_utf8(writer.finish()).expect("UTF-8")
    }

    #[test]
    fn text_is_laid_out() {
        assert_eq!(
            written(Layout::Compact),
            r#"{"a\"\u0001é":[-9223372036854775808,18446744073709551615,{}],"b":[]}"#
        );
        assert_eq!(
            written(Layout::Lines(1)),
            "{\n \"a\\\"\\u0001é\": [\n  -9223372036854775808,\n  18446744073709551615,\n  {}\n ],\n \"b\": []\n}"
        );
        assert_eq!(
            written(Layout::Rows(4)),
            "{\n    \"a\\\"\\u0001é\": [-9223372036854775808, 18446744073709551615, {}],\n    \"b\": []\n}"
        );
    }
}
