//! A line of the access log: every request, who asked, what came of it.

use std::borrow::Cow;

use serde::Serialize;

use super::time::Timestamp;

/// How lines of the access log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessFormat {
    /// An object of JSON a line.
    #[default]
    Json,
    /// Words and `name=value` pairs, for reading.
    Text,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccessEntry {
    /// When it arrived.
    pub time: Timestamp,
    /// Who asked: an address.
    pub remote: String,
    /// Under which name the caller is known: of a key, or of a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The method of HTTP; `POST` of gRPC.
    pub method: Cow<'static, str>,
    /// The path that was asked for.
    pub path: String,
    /// The model that was asked, if it came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The status of HTTP.
    pub http_status: u16,
    /// How it ended, as [`crate::metrics::Status::label`] names it.
    pub code: Cow<'static, str>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Its id.
    pub id: String,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl AccessEntry {
    /// Appends the line, without its end.
    pub fn write(&self, format: AccessFormat, line: &mut Vec<u8>) {
        match format {
            AccessFormat::Json => super::write::push_json(self, line),
            AccessFormat::Text => line.extend_from_slice(self.text().as_bytes()),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} {} {} {} {} {} in={} out={} us={} id={}",
            self.time,
            shown(&self.remote),
            shown(&self.method),
            shown(&self.path),
            self.http_status,
            self.code,
            self.request_bytes,
            self.response_bytes,
            self.duration_us,
            shown(&self.id),
        );
        let version = self.version.map(|version| version.to_string());
        let pairs = [
            ("model", &self.model),
            ("version", &version),
            ("caller", &self.caller),
            ("traceparent", &self.traceparent),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                text.push_str(&format!(" {name}={}", shown(value)));
            }
        }
        text
    }
}

/// What a client wrote, as one word of printable characters: nobody writes lines of their own.
fn shown(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' ' => word.push_str("\\u{20}"),
            other => word.extend(other.escape_debug()),
        }
    }
    word
}
