use std::path::PathBuf;

use sardonyx::training::{ResumeOptions, RunReport, resume};

use crate::cli::{Output, Result, check_finished, command_line, watch};

/// Continue an interrupted run; it ends as if it had never been interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx resume runs/digits-seed-cnn")]
pub(crate) struct Args {
    /// Folder of the run
    run: PathBuf,
    /// Threads; 0 takes every core; those of the configuration when not given
    #[arg(long)]
    threads: Option<usize>,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let options = ResumeOptions {
            run: self.run,
            threads: self.threads,
            command: command_line(),
        };
        let report = resume(&options, watch(output))?;
        output.report(&report, RunReport::to_text)?;
        check_finished(&report)
    }
}
