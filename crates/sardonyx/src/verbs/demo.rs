use std::path::PathBuf;

use sardonyx::demo::{DemoOptions, demo};
use sardonyx::training::RunReport;

use crate::cli::{Output, Result, check_finished, command_line, watch};

/// Train, evaluate and save a network that reads hand-written digits
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx demo\n  \
    sardonyx demo --json --quiet | jq .accuracy")]
pub(crate) struct Args {
    /// Folder of the runs
    #[arg(long, default_value = "runs", value_name = "FOLDER")]
    dir: PathBuf,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; 0 takes every core
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let options = DemoOptions {
            dir: self.dir,
            seed: self.seed,
            threads: self.threads,
            command: command_line(),
        };
        let report = demo(&options, watch(output))?;
        output.report(&report, RunReport::to_text)?;
        check_finished(&report)?;
        let (run, model) = (report.run.display(), report.model.display());
        output.say(&format!(
            "\nNext:\n  sardonyx eval {run}\n  sardonyx inspect {model}\n  \
             sardonyx train --data FOLDER"
        ));
        Ok(())
    }
}
