use sardonyx::doctor::{DoctorOptions, DoctorReport, doctor};

use crate::cli::{Output, Result};

/// Tell what this machine is and check that sardonyx computes rightly on it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sardonyx doctor\n  sardonyx doctor --json | jq .isa")]
pub(crate) struct Args {
    /// Threads to measure and check with; 0 takes every core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Leave the arithmetic peak unmeasured
    #[arg(long)]
    no_measure: bool,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let report = doctor(&DoctorOptions {
            threads: self.threads,
            measure: !self.no_measure,
        })?;
        output.report(&report, DoctorReport::to_text)?;
        Ok(report.verdict()?)
    }
}
