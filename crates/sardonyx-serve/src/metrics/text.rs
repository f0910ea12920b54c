//! The text formats that Prometheus reads.
//!
//! Prometheus text 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>) and
//! OpenMetrics 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::fmt::Write as _;

use super::number::Histogram;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for: OpenMetrics for who names it, unless it
    /// weighs less there than plain text.
    pub fn accepted(accept: Option<&str>) -> Format {
        let mut openmetrics = 0.0;
        let mut plain = 0.0;
        for choice in accept.unwrap_or_default().split(',') {
            let mut parts = choice.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                openmetrics = f64::max(openmetrics, weight);
            } else if ["text/plain", "text/*", "*/*"].contains(&kind) {
                plain = f64::max(plain, weight);
            }
        }
        if openmetrics > 0.0 && openmetrics >= plain {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// The `Content-Type` of an answer in this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family of series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// The kind as the formats and the documentation name it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A page of metrics as it grows.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    format: Format,
    name: &'static str,
}

impl Page {
    pub(super) fn new(format: Format) -> Page {
        Page {
            text: String::with_capacity(1 << 16),
            format,
            name: "",
        }
    }

    /// Starts the family `name`; the samples that follow are its own.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        let mut family = name;
        let mut kind_name = kind.name();
        if self.format == Format::OpenMetrics && kind == Kind::Counter {
            // A counter's samples must end in `_total` there, its family must not.
            match name.strip_suffix("_total") {
                Some(stem) => family = stem,
                None => kind_name = "unknown",
            }
        }
        if !help.is_empty() {
            let _ = write!(self.text, "# HELP {family} ");
            escape(help, self.format == Format::OpenMetrics, &mut self.text);
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "# TYPE {family} {kind_name}");
    }

    /// A sample; `labels` are two parts, each of written labels or empty.
    pub(super) fn count(&mut self, labels: [&str; 2], value: u64) {
        self.head("", labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// A sample that may have a fraction.
    pub(super) fn value(&mut self, labels: [&str; 2], value: f64) {
        self.head("", labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// The samples of a histogram.
    pub(super) fn histogram(&mut self, labels: [&str; 2], histogram: &Histogram) {
        // Read before the buckets: a value that comes in between is in them, and not missing.
        let sum = histogram.sum();
        let mut count = 0;
        for (bound, below) in histogram.buckets() {
            self.head("_bucket", labels, Some(bound));
            let _ = writeln!(self.text, " {below}");
            count = below;
        }
        self.head("_sum", labels, None);
        let _ = writeln!(self.text, " {sum}");
        self.head("_count", labels, None);
        let _ = writeln!(self.text, " {count}");
    }

    /// The page, complete.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn head(&mut self, suffix: &str, labels: [&str; 2], bound: Option<&str>) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let parts = labels.into_iter().filter(|part| !part.is_empty());
        let mut opened = false;
        for part in parts {
            self.text.push(if opened { ',' } else { '{' });
            self.text.push_str(part);
            opened = true;
        }
        if let Some(bound) = bound {
            self.text.push(if opened { ',' } else { '{' });
            let _ = write!(self.text, "le=\"{bound}\"");
            opened = true;
        }
        if opened {
            self.text.push('}');
        }
    }
}

/// `pairs` as written labels, escaped.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        escape(value, true, &mut text);
        text.push('"');
    }
    text
}

/// Appends `text` with backslashes, line ends and, if so asked, quotes escaped.
fn escape(text: &str, quotes: bool, into: &mut String) {
    for char in text.chars() {
        match char {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '"' if quotes => into.push_str("\\\""),
            other => into.push(other),
        }
    }
}
