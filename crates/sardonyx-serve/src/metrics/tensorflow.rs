//! The names of TensorFlow Serving: microseconds, per model, all versions together.
//!
//! As its `util.cc` and `prometheus_exporter.cc` write them, buckets included: a scale of 10
//! microseconds that grows by 1.8.

use std::sync::{Arc, LazyLock};

use super::labels::{Door, Status, Verb};
use super::model::{ModelMetrics, RequestRecord};
use super::number::{Counter, Histogram, Scale};
use super::text::{Kind, Page, labels};

/// The tasks that have a latency of their own, with the names of TensorFlow Serving.
const APIS: [(&str, &[Verb]); 4] = [
    ("Predict", &[Verb::Predict, Verb::Infer]),
    ("Classify", &[Verb::Classify]),
    ("Regress", &[Verb::Regress]),
    ("MultiInference", &[Verb::MultiInference]),
];

/// The ways in, with the names of TensorFlow Serving.
const ENTRYPOINTS: [(&str, &[Door]); 2] = [
    ("REST", &[Door::TensorflowRest, Door::KserveRest]),
    ("GRPC", &[Door::TensorflowGrpc, Door::KserveGrpc]),
];

/// What TensorFlow Serving counts of a model.
#[derive(Debug)]
pub(super) struct TensorflowMetrics {
    requests: [Counter; Status::ALL.len()],
    /// By API, then by entry point.
    request_latency: Vec<[Histogram; ENTRYPOINTS.len()]>,
    runtime_latency: [Histogram; APIS.len()],
    queuing_latency: Histogram,
    example_counts: Histogram,
}

impl Default for TensorflowMetrics {
    fn default() -> TensorflowMetrics {
        let latency = || Histogram::new(microseconds());
        TensorflowMetrics {
            requests: Default::default(),
            request_latency: (0..APIS.len())
                .map(|_| std::array::from_fn(|_| latency()))
                .collect(),
            runtime_latency: std::array::from_fn(|_| latency()),
            queuing_latency: latency(),
            example_counts: Histogram::new(examples()),
        }
    }
}

impl TensorflowMetrics {
    pub(super) fn request(&self, record: &RequestRecord) {
        let Some(api) = position(&APIS, record.verb) else {
            return;
        };
        self.requests[record.status as usize].increment();
        if let Some(entrypoint) = position(&ENTRYPOINTS, record.door) {
            self.request_latency[api][entrypoint].record_time(record.total);
        }
        if let Some(time) = record.phases.compute {
            self.runtime_latency[api].record_time(time);
        }
        if let Some(time) = record.phases.queue {
            self.queuing_latency.record_time(time);
        }
        if record.rows > 0 {
            self.example_counts.record(record.rows as u64);
        }
    }
}

fn position<T: PartialEq>(table: &[(&str, &[T])], value: T) -> Option<usize> {
    table.iter().position(|(_, values)| values.contains(&value))
}

/// 33 bounds from 10 microseconds up, each 1.8 times the last: to about 20 minutes.
fn microseconds() -> &'static Scale {
    static MICROSECONDS: LazyLock<Scale> = LazyLock::new(|| {
        let bounds = (0..33).map(|power| (1e4 * 1.8_f64.powi(power)).round() as u64);
        Scale::new(bounds.collect(), 1e3, six_digits)
    });
    &MICROSECONDS
}

/// Powers of two to 16,384.
fn examples() -> &'static Scale {
    static EXAMPLES: LazyLock<Scale> = LazyLock::new(|| {
        let bounds = (0..15).map(|power| 1_u64 << power);
        Scale::new(bounds.collect(), 1.0, six_digits)
    });
    &EXAMPLES
}

/// `value` with six significant digits, as C's `%g` and Abseil's `StrCat` write it.
fn six_digits(value: f64) -> String {
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or_default();
        trim(&format!("{value:.decimals$}"))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(digits), exponent.abs())
    }
}

/// Writes the families of TensorFlow Serving, sorted by name as there.
pub(super) fn write(models: &[Arc<ModelMetrics>], page: &mut Page) {
    let mut found: Vec<(&str, &TensorflowMetrics)> = Vec::new();
    for model in models {
        if let Some(tensorflow) = &model.tensorflow
            && found.last().is_none_or(|(name, _)| *name != model.model)
        {
            found.push((&model.model, tensorflow));
        }
    }
    let name = ":tensorflow:serving:batching_session:queuing_latency";
    page.family(name, Kind::Histogram, "");
    for (model, metrics) in &found {
        let labels = labels(&[("thread_pool_name", model)]);
        page.histogram([&labels, ""], &metrics.queuing_latency);
    }
    page.family(":tensorflow:serving:request_count", Kind::Counter, "");
    for (model, metrics) in &found {
        for (&status, count) in Status::ALL.iter().zip(&metrics.requests) {
            if count.value() > 0 {
                let labels = labels(&[("model_name", model), ("status", status.label())]);
                page.count([&labels, ""], count.value());
            }
        }
    }
    write_examples(&found, page);
    write_latencies(&found, page);
}

fn write_examples(found: &[(&str, &TensorflowMetrics)], page: &mut Page) {
    let name = ":tensorflow:serving:request_example_count_total";
    page.family(name, Kind::Counter, "");
    for (model, metrics) in found {
        let sum = metrics.example_counts.sum_recorded();
        page.count([&labels(&[("model", model)]), ""], sum);
    }
    let name = ":tensorflow:serving:request_example_counts";
    page.family(name, Kind::Histogram, "");
    for (model, metrics) in found {
        page.histogram([&labels(&[("model", model)]), ""], &metrics.example_counts);
    }
}

fn write_latencies(found: &[(&str, &TensorflowMetrics)], page: &mut Page) {
    let name = ":tensorflow:serving:request_latency";
    page.family(name, Kind::Histogram, "");
    for (model, metrics) in found {
        for ((api, _), row) in APIS.iter().zip(&metrics.request_latency) {
            for ((entrypoint, _), histogram) in ENTRYPOINTS.iter().zip(row) {
                if histogram.count() > 0 {
                    let pairs = [
                        ("model_name", *model),
                        ("API", api),
                        ("entrypoint", entrypoint),
                    ];
                    page.histogram([&labels(&pairs), ""], histogram);
                }
            }
        }
    }
    let name = ":tensorflow:serving:runtime_latency";
    page.family(name, Kind::Histogram, "");
    for (model, metrics) in found {
        for ((api, _), histogram) in APIS.iter().zip(&metrics.runtime_latency) {
            if histogram.count() > 0 {
                let pairs = [
                    ("model_name", *model),
                    ("API", api),
                    ("runtime", "Sardonyx"),
                ];
                page.histogram([&labels(&pairs), ""], histogram);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What C's `printf("%g")` writes of the same numbers.
    #[test]
    fn numbers_have_six_digits() {
        let cases = [
            (10.0, "10"),
            (18.0, "18"),
            (58.32, "58.32"),
            (188.9568, "188.957"),
            (1_983_592.903_68, "1.98359e+06"),
            (999_999.5, "1e+06"),
            (123_456.0, "123456"),
            (0.0001, "0.0001"),
            (0.000_012_345, "1.2345e-05"),
        ];
        for (value, text) in cases {
            assert_eq!(six_digits(value), text);
        }
    }
}
