//! The families `sardonyx_*` and `process_*`: a table, a row each, which the documentation shows.

use std::sync::Arc;

use super::collect::Metrics;
use super::labels::{Door, LogKind, LogResult, Pick, Port, Rejection, Reload};
use super::labels::{ShadowResult, Status, Verb, VersionState};
use super::model::{ModelMetrics, PHASES};
use super::number::Counter;
use super::process::{Usage, cpu_seconds};
use super::text::{Kind, Page};

/// A family of series.
#[derive(Debug)]
pub struct Family {
    /// The name, of a counter with its `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
    source: Source,
}

/// Where the samples of a family come from.
#[derive(Debug)]
enum Source {
    /// Each version of each model.
    Model(fn(&ModelMetrics, &mut Page)),
    /// The server.
    Server(fn(&Metrics, &mut Page)),
    /// The process, where the operating system tells.
    Process(fn(&Usage) -> Option<f64>),
}

const OF_MODEL: &[&str] = &["model", "version"];

/// Writes every family.
pub(super) fn write(metrics: &Metrics, models: &[Arc<ModelMetrics>], page: &mut Page) {
    let usage = Usage::now();
    for family in FAMILIES {
        if let Source::Process(value) = family.source {
            if let Some(value) = value(&usage) {
                page.family(family.name, family.kind, family.help);
                page.value(["", ""], value);
            }
            continue;
        }
        page.family(family.name, family.kind, family.help);
        match family.source {
            Source::Model(samples) => models.iter().for_each(|model| samples(model, page)),
            Source::Server(samples) => samples(metrics, page),
            Source::Process(_) => {}
        }
    }
}

/// One written label.
fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{value}\"")
}

/// A sample for each of `counts`, by the values of the label `name`.
fn each<'a>(
    page: &mut Page,
    base: &str,
    name: &str,
    counts: impl Iterator<Item = (&'static str, &'a Counter)>,
) {
    for (value, count) in counts {
        page.count([base, &label(name, value)], count.value());
    }
}

/// Requests by door, verb and code. Of a door and verb in use, `OK` is shown from the start: a
/// rate needs a first sample to grow from.
fn requests(model: &ModelMetrics, page: &mut Page) {
    for &door in Door::ALL {
        for &verb in Verb::ALL {
            let count = |status: Status| model.requests(door, verb, status).value();
            if Status::ALL.iter().all(|status| count(*status) == 0) {
                continue;
            }
            for &status in Status::ALL {
                let count = count(status);
                if count > 0 || status == Status::Ok {
                    let pairs = [
                        ("door", door.label()),
                        ("verb", verb.label()),
                        ("code", status.label()),
                    ];
                    page.count([&model.labels, &super::text::labels(&pairs)], count);
                }
            }
        }
    }
}

fn request_durations(model: &ModelMetrics, page: &mut Page) {
    for (door, histogram) in Door::ALL.iter().zip(&model.durations) {
        if histogram.count() > 0 {
            page.histogram([&model.labels, &label("door", door.label())], histogram);
        }
    }
}

fn phases(model: &ModelMetrics, page: &mut Page) {
    for (phase, histogram) in PHASES.iter().zip(&model.phases) {
        page.histogram([&model.labels, &label("phase", phase)], histogram);
    }
}

fn states(model: &ModelMetrics, page: &mut Page) {
    for &state in VersionState::ALL {
        let is_in = u64::from(model.state() == state);
        page.count([&model.labels, &label("state", state.label())], is_in);
    }
}

fn log_lines(metrics: &Metrics, page: &mut Page) {
    for (log, counts) in LogKind::ALL.iter().zip(&metrics.log_lines) {
        let results = LogResult::ALL.iter().map(|result| result.label());
        let base = label("log", log.label());
        each(page, &base, "result", results.zip(counts));
    }
}

fn reloads(metrics: &Metrics, page: &mut Page) {
    for (what, attempts) in Reload::ALL.iter().zip(&metrics.reloads) {
        let base = label("what", what.label());
        let counts = [("failed", &attempts.failed), ("ok", &attempts.succeeded)];
        each(page, &base, "result", counts.into_iter());
    }
}

fn unrouted(metrics: &Metrics, page: &mut Page) {
    for (door, counts) in Door::ALL.iter().zip(&metrics.unrouted) {
        let reasons = Rejection::ALL.iter().map(|reason| reason.label());
        let base = label("door", door.label());
        each(page, &base, "reason", reasons.zip(counts));
    }
}

/// Every family, sorted by name.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Processor time of the process, in seconds.",
        source: Source::Process(|_| Some(cpu_seconds())),
    },
    Family {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Most file descriptors that the process may open.",
        source: Source::Process(|usage| usage.max_fds),
    },
    Family {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "File descriptors that the process has open.",
        source: Source::Process(|usage| usage.open_fds),
    },
    Family {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Memory of the process that is in RAM, in bytes.",
        source: Source::Process(|usage| usage.resident_bytes),
    },
    Family {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process started, in seconds since 1970.",
        source: Source::Server(|metrics, page| page.value(["", ""], metrics.process.start_seconds)),
    },
    Family {
        name: "process_threads",
        kind: Kind::Gauge,
        labels: &[],
        help: "Threads of the process.",
        source: Source::Process(|usage| usage.threads),
    },
    Family {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Address space of the process, in bytes.",
        source: Source::Process(|usage| usage.virtual_bytes),
    },
    Family {
        name: "sardonyx_accepted_connections_total",
        kind: Kind::Counter,
        labels: &["port"],
        help: "Connections that were accepted, by port: http, grpc or admin.",
        source: Source::Server(|metrics, page| {
            let ports = Port::ALL.iter().map(|port| port.label());
            each(page, "", "port", ports.zip(&metrics.accepted));
        }),
    },
    Family {
        name: "sardonyx_batch_duration_seconds",
        kind: Kind::Histogram,
        labels: OF_MODEL,
        help: "How long batches ran, each counted once.",
        source: Source::Model(|model, page| {
            page.histogram([&model.labels, ""], &model.batch_duration);
        }),
    },
    Family {
        name: "sardonyx_batch_requests",
        kind: Kind::Histogram,
        labels: OF_MODEL,
        help: "Requests in a batch.",
        source: Source::Model(|model, page| {
            page.histogram([&model.labels, ""], &model.batch_requests);
        }),
    },
    Family {
        name: "sardonyx_batch_samples",
        kind: Kind::Histogram,
        labels: OF_MODEL,
        help: "Samples in a batch.",
        source: Source::Model(|model, page| {
            page.histogram([&model.labels, ""], &model.batch_rows);
        }),
    },
    Family {
        name: "sardonyx_build_info",
        kind: Kind::Gauge,
        labels: &["arch", "version"],
        help: "Which program this is; always 1.",
        source: Source::Server(|metrics, page| page.count([&metrics.build, ""], 1)),
    },
    Family {
        name: "sardonyx_cache_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Size of the answers in the response cache, in bytes.",
        source: Source::Server(|metrics, page| page.value(["", ""], metrics.cache_bytes.value())),
    },
    Family {
        name: "sardonyx_cache_entries",
        kind: Kind::Gauge,
        labels: &[],
        help: "Answers in the response cache.",
        source: Source::Server(|metrics, page| page.value(["", ""], metrics.cache_entries.value())),
    },
    Family {
        name: "sardonyx_cache_evictions_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Answers that left the response cache to make room.",
        source: Source::Server(|metrics, page| {
            page.count(["", ""], metrics.cache_evictions.value());
        }),
    },
    Family {
        name: "sardonyx_cache_lookups_total",
        kind: Kind::Counter,
        labels: &["model", "version", "result"],
        help: "Looks into the response cache, by result: hit or miss.",
        source: Source::Model(|model, page| {
            let counts = [("hit", &model.cache_hits), ("miss", &model.cache_misses)];
            each(page, &model.labels, "result", counts.into_iter());
        }),
    },
    Family {
        name: "sardonyx_connections",
        kind: Kind::Gauge,
        labels: &["port"],
        help: "Connections that are open, by port: http, grpc or admin.",
        source: Source::Server(|metrics, page| {
            for (port, level) in Port::ALL.iter().zip(&metrics.connections) {
                page.count([&label("port", port.label()), ""], level.value());
            }
        }),
    },
    Family {
        name: "sardonyx_in_flight_requests",
        kind: Kind::Gauge,
        labels: OF_MODEL,
        help: "Requests that are being answered.",
        source: Source::Model(|model, page| {
            page.count([&model.labels, ""], model.in_flight.value());
        }),
    },
    Family {
        name: "sardonyx_log_lines_total",
        kind: Kind::Counter,
        labels: &["log", "result"],
        help: "Lines of the access and request logs, by result: written, dropped or failed.",
        source: Source::Server(log_lines),
    },
    Family {
        name: "sardonyx_model_bytes",
        kind: Kind::Gauge,
        labels: OF_MODEL,
        help: "Memory that the weights take, in bytes.",
        source: Source::Model(|model, page| page.value([&model.labels, ""], model.bytes.value())),
    },
    Family {
        name: "sardonyx_model_load_seconds",
        kind: Kind::Gauge,
        labels: OF_MODEL,
        help: "How long the version took to load, warm-up included, in seconds.",
        source: Source::Model(|model, page| {
            page.value([&model.labels, ""], model.load_seconds.value());
        }),
    },
    Family {
        name: "sardonyx_model_loads_total",
        kind: Kind::Counter,
        labels: &["result"],
        help: "Attempts to load a version, by result: ok or failed.",
        source: Source::Server(|metrics, page| {
            let loads = &metrics.loads;
            let counts = [("failed", &loads.failed), ("ok", &loads.succeeded)];
            each(page, "", "result", counts.into_iter());
        }),
    },
    Family {
        name: "sardonyx_model_state",
        kind: Kind::Gauge,
        labels: &["model", "version", "state"],
        help: "1 for the state that the version is in: START, LOADING, AVAILABLE, UNLOADING or END.",
        source: Source::Model(states),
    },
    Family {
        name: "sardonyx_model_warm_up_seconds",
        kind: Kind::Gauge,
        labels: OF_MODEL,
        help: "How long the version's warm-up took, in seconds.",
        source: Source::Model(|model, page| {
            page.value([&model.labels, ""], model.warm_up_seconds.value());
        }),
    },
    Family {
        name: "sardonyx_phase_duration_seconds",
        kind: Kind::Histogram,
        labels: &["model", "version", "phase"],
        help: "How long requests spent in a phase: parse, queue, compute or serialise.",
        source: Source::Model(phases),
    },
    Family {
        name: "sardonyx_queue_length",
        kind: Kind::Gauge,
        labels: OF_MODEL,
        help: "Requests that wait for a lane.",
        source: Source::Model(|model, page| {
            page.count([&model.labels, ""], model.queue_len() as u64);
        }),
    },
    Family {
        name: "sardonyx_queue_limit",
        kind: Kind::Gauge,
        labels: OF_MODEL,
        help: "Most requests that may wait; more are refused.",
        source: Source::Model(|model, page| {
            page.value([&model.labels, ""], model.queue_limit.value());
        }),
    },
    Family {
        name: "sardonyx_ready",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while the server is ready, as /readyz says it.",
        source: Source::Server(|metrics, page| page.value(["", ""], metrics.ready.value())),
    },
    Family {
        name: "sardonyx_rejected_requests_total",
        kind: Kind::Counter,
        labels: &["model", "version", "reason"],
        help: "Requests that reached a version and did not run, by reason.",
        source: Source::Model(|model, page| {
            let reasons = Rejection::ALL.iter().map(|reason| reason.label());
            each(page, &model.labels, "reason", reasons.zip(&model.rejected));
        }),
    },
    Family {
        name: "sardonyx_reload_failing",
        kind: Kind::Gauge,
        labels: &["what"],
        help: "1 while the last attempt to read something again has failed.",
        source: Source::Server(|metrics, page| {
            for (what, attempts) in Reload::ALL.iter().zip(&metrics.reloads) {
                let labels = label("what", what.label());
                page.value([&labels, ""], attempts.is_failing.value());
            }
        }),
    },
    Family {
        name: "sardonyx_reloads_total",
        kind: Kind::Counter,
        labels: &["what", "result"],
        help: "Attempts to read something again: certificate, config, keys, models or rollout.",
        source: Source::Server(reloads),
    },
    Family {
        name: "sardonyx_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &["model", "version", "door"],
        help: "How long requests took, from the last byte read to the answer handed over.",
        source: Source::Model(request_durations),
    },
    Family {
        name: "sardonyx_requests_total",
        kind: Kind::Counter,
        labels: &["model", "version", "door", "verb", "code"],
        help: "Requests that ended, by protocol, task and canonical status code.",
        source: Source::Model(requests),
    },
    Family {
        name: "sardonyx_rollout_picks_total",
        kind: Kind::Counter,
        labels: &["model", "version", "by"],
        help: "How requests came to this version: default, version, label, weight or sticky.",
        source: Source::Model(|model, page| {
            let picks = Pick::ALL.iter().map(|pick| pick.label());
            each(page, &model.labels, "by", picks.zip(&model.picks));
        }),
    },
    Family {
        name: "sardonyx_rollout_weight",
        kind: Kind::Gauge,
        labels: OF_MODEL,
        help: "Share of the model's requests that a rollout gives the version, from 0 to 1.",
        source: Source::Model(|model, page| page.value([&model.labels, ""], model.weight.value())),
    },
    Family {
        name: "sardonyx_shadow_difference",
        kind: Kind::Histogram,
        labels: OF_MODEL,
        help: "Largest difference between the outputs of the shadow and of the champion, relative \
               where those are above 1.",
        source: Source::Model(|model, page| {
            page.histogram([&model.labels, ""], &model.shadow_difference);
        }),
    },
    Family {
        name: "sardonyx_shadow_requests_total",
        kind: Kind::Counter,
        labels: &["model", "version", "result"],
        help: "Requests mirrored to this version, by result: agreed, disagreed, failed or dropped.",
        source: Source::Model(|model, page| {
            let results = ShadowResult::ALL.iter().map(|result| result.label());
            each(page, &model.labels, "result", results.zip(&model.shadow));
        }),
    },
    Family {
        name: "sardonyx_unrouted_requests_total",
        kind: Kind::Counter,
        labels: &["door", "reason"],
        help: "Requests that reached no version, by reason.",
        source: Source::Server(unrouted),
    },
    Family {
        name: "sardonyx_uptime_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "How long the process has run, in seconds.",
        source: Source::Server(|metrics, page| {
            page.value(["", ""], metrics.started.elapsed().as_secs_f64());
        }),
    },
];
