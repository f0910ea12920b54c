//! What all verbs share: global options, exit codes, the handling of errors and panics.
//!
//! Exit codes: 0 when all went well, 1 when the input or the machine is at fault (a message says
//! what and how to mend it), 2 when sardonyx is.

mod failure;
mod gauge;
mod output;
mod progress;
pub(crate) mod serving;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Args, Parser, ValueEnum};
use sardonyx::training::RunReport;

use crate::verbs::Verb;

pub(crate) use failure::{Failure, Result};
pub(crate) use gauge::Gauge;
pub(crate) use output::Output;
pub(crate) use progress::watch;

/// Train, evaluate, inspect and run neural networks: ONNX in, ONNX out.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start here:\n  sardonyx demo\n  sardonyx train --help")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Global {
    /// Write one JSON object to stdout instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true, help_heading = "Global options")]
    quiet: bool,
    /// When to use colours; NO_COLOR turns them off, too
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    #[arg(value_enum, default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

const USER_ERROR: u8 = 1;
const INTERNAL_ERROR: u8 = 2;

pub(crate) fn main() -> ExitCode {
    failure::keep_panics_quiet();
    guard(run)
}

/// A panic is a bug of ours, told as one.
fn guard(run: impl FnOnce() -> ExitCode) -> ExitCode {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(code) => code,
        Err(_) => {
            failure::report_panic();
            ExitCode::from(INTERNAL_ERROR)
        }
    }
}

fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap; nothing is left to do when they cannot be told.
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::from(USER_ERROR),
                false => ExitCode::SUCCESS,
            };
        }
    };
    match cli.global.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    let mut output = Output::new(cli.global.json, cli.global.quiet);
    match cli.verb.run(&mut output) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads stdout has read enough.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(if failure.is_internal() {
                INTERNAL_ERROR
            } else {
                USER_ERROR
            })
        }
    }
}

/// The command as it was given, for the folder of a run.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect()
}

/// Fails for a run that was interrupted, so that what comes after it in a script does not start.
pub(crate) fn check_finished(report: &RunReport) -> Result<()> {
    match report.is_interrupted() {
        true => Err(Failure::Interrupted {
            run: report.run.clone(),
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_panic_ends_with_code_2() {
        let code = guard(|| panic!("a bug"));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
        let code = guard(|| ExitCode::SUCCESS);
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    }
}
