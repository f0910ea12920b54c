//! What this machine is, what of it is used, and whether this build computes rightly on it.

mod checks;
mod probe;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::machine::{Caches, Machine};
use crate::text::{Facts, bytes, list};

pub use checks::Check;
pub use probe::Peak;
pub(crate) use probe::peak;

/// What to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoctorOptions {
    /// Threads to measure and check with; 0 takes every core.
    pub threads: usize,
    /// Whether to measure the arithmetic peak, which takes a moment of full load.
    pub measure: bool,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        DoctorOptions {
            threads: 0,
            measure: true,
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoctorReport {
    /// Version of sardonyx.
    pub version: String,
    /// Newest operator-set version of ONNX whose operators are known.
    pub onnx_opset: i64,
    /// Operators that are known, of the standard set.
    pub operators: usize,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// Name of the processor, where the system tells it.
    pub cpu: Option<String>,
    /// Instruction set that kernels use.
    pub isa: String,
    /// Instruction sets that they could use here, narrowest first.
    pub isas_available: Vec<String>,
    /// Threads that are used when nothing else is said.
    pub threads: usize,
    /// Caches of one core, where the system tells them.
    pub caches: Option<Caches>,
    /// Main memory in bytes, where the system tells it.
    pub memory_bytes: Option<u64>,
    /// Memory that is free for use, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// Memory that this process may use, in bytes, where it is limited.
    pub memory_limit_bytes: Option<u64>,
    /// Measured arithmetic peaks.
    pub peaks: Vec<Peak>,
    /// Checks of this build on this machine.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// The report for people to read.
    pub fn to_text(&self) -> String {
        let mut facts = Facts::new();
        let known = |value: Option<u64>| value.map_or("unknown".to_owned(), bytes);
        facts.row("sardonyx", &self.version);
        let (opset, operators) = (self.onnx_opset, self.operators);
        facts.row(
            "ONNX",
            format!("operator sets up to {opset}, {operators} operators"),
        );
        facts.row("system", format!("{}, {}", self.os, self.arch));
        facts.row("processor", self.cpu.as_deref().unwrap_or("unknown"));
        let isas = self.isas_available.join(", ");
        facts.row("kernels", format!("{} (of {isas})", self.isa));
        facts.row("threads", self.threads);
        let caches = self
            .caches
            .map(|caches| [caches.l1_bytes, caches.l2_bytes, caches.l3_bytes]);
        facts.row(
            "caches",
            caches.map_or(String::new(), |sizes| list(sizes, bytes)),
        );
        let (all, free) = (known(self.memory_bytes), known(self.memory_available_bytes));
        let limit = self
            .memory_limit_bytes
            .map(|limit| format!(", limited to {}", bytes(limit)));
        facts.row(
            "memory",
            format!("{all}, {free} free{}", limit.unwrap_or_default()),
        );
        for peak in &self.peaks {
            let s = if peak.threads == 1 { "" } else { "s" };
            let speed = format!("{:.1} GFLOP/s on {} thread{s}", peak.gflops, peak.threads);
            facts.row(&format!("{} peak", peak.isa), speed);
        }
        let mut text = facts.text();
        text.push('\n');
        for check in &self.checks {
            let mark = if check.passed { "ok    " } else { "FAILED" };
            text.push_str(&format!("{mark}  {} ({})\n", check.name, check.detail));
        }
        text
    }

    /// An error when a check failed.
    ///
    /// # Errors
    /// [`Error::Unsound`], with the number of checks that failed.
    pub fn verdict(&self) -> Result<()> {
        let n_failed = self.checks.iter().filter(|check| !check.passed).count();
        match n_failed {
            0 => Ok(()),
            _ => Err(Error::Unsound {
                n_failed,
                n_checks: self.checks.len(),
            }),
        }
    }
}

/// Looks at the machine, measures it and checks this build on it. A failed check is part of the
/// report, not an error.
///
/// # Errors
/// When threads cannot be started.
pub fn doctor(options: &DoctorOptions) -> Result<DoctorReport> {
    let machine = Machine::look();
    let threads = match options.threads {
        0 => machine.threads,
        threads => threads,
    };
    let peaks = match options.measure {
        true => probe::peaks(threads)?,
        false => Vec::new(),
    };
    let standard = sardonyx_ops::operators().filter(|operator| operator.schema().domain.is_empty());
    Ok(DoctorReport {
        version: crate::VERSION.to_owned(),
        onnx_opset: sardonyx_ops::MAX_OPSET,
        operators: standard.count(),
        os: machine.os,
        arch: machine.arch,
        cpu: machine.cpu,
        isa: sardonyx_kernels::Isa::detect().to_string(),
        isas_available: machine.isas,
        threads,
        caches: machine.caches,
        memory_bytes: machine.memory_bytes,
        memory_available_bytes: machine.memory_available_bytes,
        memory_limit_bytes: machine.memory_limit_bytes,
        peaks,
        checks: checks::run(threads)?,
    })
}
