//! The names of Triton, as its metrics page has them (`docs/user_guide/metrics.md` there).
//!
//! Triton's `compute_input` and `compute_output` are the copies around a model's run; what is
//! nearest to them here is reading the tensors of a request and writing those of its answer.

use std::sync::Arc;

use super::labels::{Rejection, Status};
use super::model::ModelMetrics;
use super::process::{Process, machine_memory};
use super::text::{Kind, Page};

/// A family with one number a version: name, kind, help, value.
type Row = (&'static str, Kind, &'static str, fn(&ModelMetrics) -> u64);

const ROWS: [Row; 11] = [
    (
        "nv_inference_count",
        Kind::Counter,
        "Number of inferences performed (does not include cached requests)",
        |model| model.batch_rows.sum_recorded(),
    ),
    (
        "nv_inference_exec_count",
        Kind::Counter,
        "Number of model executions performed (does not include cached requests)",
        |model| model.batch_rows.count(),
    ),
    (
        "nv_inference_request_duration_us",
        Kind::Counter,
        "Cumulative inference request duration in microseconds (includes cached requests)",
        |model| {
            let durations = model.durations.iter();
            durations.map(|one| one.sum_recorded()).sum::<u64>() / 1000
        },
    ),
    (
        "nv_inference_queue_duration_us",
        Kind::Counter,
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
        |model| model.phases[1].sum_recorded() / 1000,
    ),
    (
        "nv_inference_compute_input_duration_us",
        Kind::Counter,
        "Cumulative compute input duration in microseconds (does not include cached requests)",
        |model| model.phases[0].sum_recorded() / 1000,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        Kind::Counter,
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
        |model| model.phases[2].sum_recorded() / 1000,
    ),
    (
        "nv_inference_compute_output_duration_us",
        Kind::Counter,
        "Cumulative inference compute output duration in microseconds (does not include cached \
         requests)",
        |model| model.phases[3].sum_recorded() / 1000,
    ),
    (
        "nv_inference_pending_request_count",
        Kind::Gauge,
        "Instantaneous number of pending requests awaiting execution per-model.",
        |model| model.queue_len() as u64,
    ),
    (
        "nv_cache_num_hits_per_model",
        Kind::Counter,
        "Number of cache hits per model",
        |model| model.cache_hits.value(),
    ),
    (
        "nv_cache_num_misses_per_model",
        Kind::Counter,
        "Number of cache misses per model",
        |model| model.cache_misses.value(),
    ),
    (
        "nv_inference_request_success",
        Kind::Counter,
        "Number of successful inference requests, all batch sizes",
        |model| model.answers(|status| status == Status::Ok),
    ),
];

/// Writes the families of Triton.
pub(super) fn write(process: &Process, models: &[Arc<ModelMetrics>], page: &mut Page) {
    for (name, kind, help, value) in ROWS {
        page.family(name, kind, help);
        for model in models {
            page.count([&model.labels, ""], value(model));
        }
    }
    let help = "Number of failed inference requests, all batch sizes";
    page.family("nv_inference_request_failure", Kind::Counter, help);
    for model in models {
        for (reason, count) in failures(model) {
            page.count([&model.labels, &format!("reason=\"{reason}\"")], count);
        }
    }
    // There is no pinned memory without a device.
    let help = "Pinned memory pool total memory size, in bytes";
    page.family("nv_pinned_memory_pool_total_bytes", Kind::Gauge, help);
    page.count(["", ""], 0);
    let help = "Pinned memory pool used memory size, in bytes";
    page.family("nv_pinned_memory_pool_used_bytes", Kind::Gauge, help);
    page.count(["", ""], 0);
    if let Some(share) = process.processor_share() {
        let help = "CPU utilization rate [0.0 - 1.0]";
        page.family("nv_cpu_utilization", Kind::Gauge, help);
        page.value(["", ""], share);
    }
    if let Some(memory) = machine_memory() {
        let help = "CPU total memory (RAM), in bytes";
        page.family("nv_cpu_memory_total_bytes", Kind::Gauge, help);
        page.count(["", ""], memory.total);
        let help = "CPU used memory (RAM), in bytes";
        page.family("nv_cpu_memory_used_bytes", Kind::Gauge, help);
        page.count(["", ""], memory.used);
    }
}

/// Failures by Triton's reasons.
fn failures(model: &ModelMetrics) -> [(&'static str, u64); 4] {
    let canceled = model.rejected[Rejection::Abandoned as usize].value();
    let backend = model.answers(|status| status == Status::Internal);
    let rejected = model.answers(|status| {
        matches!(
            status,
            Status::ResourceExhausted | Status::DeadlineExceeded | Status::Unavailable
        )
    });
    let all = model.answers(|status| !matches!(status, Status::Ok | Status::Cancelled));
    [
        ("OTHER", all.saturating_sub(backend + rejected)),
        ("BACKEND", backend),
        ("CANCELED", canceled),
        ("REJECTED", rejected),
    ]
}
