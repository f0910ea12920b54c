//! What each thread does when, in one training step or prediction.

mod trace;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sardonyx_engine::CallSpan;
use serde::Serialize;

use crate::bench::print::time;
use crate::error::{Error, Result};
use crate::text::{Facts, Table, count};
use crate::workload::{Workload, WorkloadOptions};

/// What to profile.
#[derive(Debug, Clone, Default)]
pub struct ProfileOptions {
    /// The model and what it does.
    pub workload: WorkloadOptions,
    /// Where to write the trace to, for Perfetto or `chrome://tracing`.
    pub trace: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileReport {
    /// The model file, or the name of a network of the zoo.
    pub model: PathBuf,
    /// `train` or `predict`.
    pub task: &'static str,
    /// Samples of the run.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Instruction set of the kernels.
    pub isa: String,
    /// Time from the first call's start to the last one's end, in milliseconds.
    pub ms: f64,
    /// Share of the threads' time in which they computed, 0 to 1.
    pub busy_share: f64,
    /// Spans of time in which a thread was at one call.
    pub n_spans: usize,
    /// Operators, the costliest first.
    pub operators: Vec<OperatorTime>,
    /// The trace's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<PathBuf>,
}

/// What all nodes of an operator cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperatorTime {
    /// Operator, with its domain when that is not the standard one.
    pub op: String,
    /// Nodes that ran a kernel of their own.
    pub nodes: usize,
    /// Time in milliseconds: that of all threads over their number.
    pub ms: f64,
    /// Share of the time of all operators, 0 to 1.
    pub share: f64,
}

/// Runs before the one that is traced.
const WARM_UP_RUNS: usize = 5;

/// Traces one training step or prediction on made-up data.
///
/// # Errors
/// When the model cannot be read, planned or run, when its shapes depend on its data, or when the
/// trace cannot be written.
pub fn profile(options: &ProfileOptions) -> Result<ProfileReport> {
    let mut workload = Workload::start(&options.workload)?;
    for _ in 0..WARM_UP_RUNS {
        workload.run()?;
    }
    let spans = workload.trace();
    let start = spans.iter().map(|span| span.start_ns).min();
    let end = spans.iter().map(|span| span.start_ns + span.duration_ns);
    let Some((start, end)) = start.zip(end.max()) else {
        let problem = "the model has no plan to trace; hint: its shapes depend on its data";
        return Err(Error::config("model", problem));
    };
    if let Some(path) = &options.trace {
        let name = format!("sardonyx {}", options.workload.model.display());
        let text = trace::json(&name, start, &spans)?;
        sardonyx_onnx::write_atomic(path, text.as_bytes())?;
    }
    let busy: u64 = spans.iter().map(|span| span.duration_ns).sum();
    let all = (end - start).max(1) * workload.threads as u64;
    Ok(ProfileReport {
        model: options.workload.model.clone(),
        task: options.workload.task(),
        batch: workload.batch,
        threads: workload.threads,
        isa: workload.isa.to_string(),
        ms: (end - start) as f64 / 1e6,
        busy_share: busy as f64 / all as f64,
        n_spans: spans.len(),
        operators: operators(&spans, workload.threads),
        trace: options.trace.clone(),
    })
}

fn operators(spans: &[CallSpan], threads: usize) -> Vec<OperatorTime> {
    let mut times: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for span in spans {
        let nodes = times.entry(&span.op).or_default();
        *nodes.entry(&span.node).or_default() += span.duration_ns;
    }
    let total: u64 = spans.iter().map(|span| span.duration_ns).sum();
    let operators = times.into_iter().map(|(op, nodes)| {
        let spent = nodes.values().sum::<u64>() as f64;
        OperatorTime {
            op: op.to_owned(),
            nodes: nodes.len(),
            ms: spent / 1e6 / threads.max(1) as f64,
            share: spent / total.max(1) as f64,
        }
    });
    let mut operators: Vec<OperatorTime> = operators.collect();
    operators.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    operators
}

impl ProfileReport {
    /// A table of the operators, and what there is to say of the whole.
    pub fn to_text(&self) -> String {
        let mut table = Table::new(&["operator", ">nodes", ">ms", ">share"]);
        for operator in &self.operators {
            let share = format!("{:.1} %", 100.0 * operator.share);
            let nodes = count(operator.nodes as u64);
            table.row([&operator.op, &nodes, &time(operator.ms), &share]);
        }
        let mut facts = Facts::new();
        facts.row("model", self.model.display());
        let s = if self.threads == 1 { "" } else { "s" };
        let how = format!("{}, {} thread{s}", self.isa, self.threads);
        let task = match self.task {
            "train" => "a training step",
            _ => "a prediction",
        };
        facts.row("traced", format!("{task} of batch {}, {how}", self.batch));
        facts.row("time", format!("{} ms", time(self.ms)));
        facts.row("threads busy", format!("{:.0} %", 100.0 * self.busy_share));
        let spans = count(self.n_spans as u64);
        let trace = self.trace.as_ref();
        let trace = trace.map(|path| format!("{} ({spans} spans)", path.display()));
        facts.row("trace", trace.unwrap_or_default());
        [table.text(), facts.text()].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_sum_over_nodes_and_threads() {
        let span = |node: &str, op: &str, thread, duration_ns| CallSpan {
            node: node.to_owned(),
            op: op.to_owned(),
            kernel: "k",
            thread,
            start_ns: 0,
            duration_ns,
        };
        let spans = [
            span("a", "Relu", 0, 1_000_000),
            span("b", "Conv", 0, 4_000_000),
            span("b", "Conv", 1, 2_000_000),
            span("c", "Conv", 1, 1_000_000),
        ];
        let made = operators(&spans, 2);
        let shown: Vec<(&str, usize, f64)> = made
            .iter()
            .map(|op| (op.op.as_str(), op.nodes, op.ms))
            .collect();
        assert_eq!(shown, [("Conv", 2, 3.5), ("Relu", 1, 0.5)]);
        assert!((made[0].share - 0.875).abs() < 1e-9);
    }
}
