//! The verbs: one file each, from arguments to options, one call of the library, a printer.

mod bench;
mod config;
mod demo;
mod doctor;
mod eval;
mod inspect;
mod new;
mod predict;
mod profile;
mod resume;
mod serve;
mod train;
mod workload;

use clap::{Subcommand, ValueEnum};
use sardonyx::data::Scaling;

use crate::cli::{Output, Result};

/// Every verb, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Demo(demo::Args),
    Train(train::Args),
    Resume(resume::Args),
    Eval(eval::Args),
    Predict(predict::Args),
    Serve(Box<serve::Args>),
    Inspect(inspect::Args),
    New(new::Args),
    Bench(bench::Args),
    Profile(profile::Args),
    Config(config::Args),
    Doctor(doctor::Args),
}

impl Verb {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        match self {
            Verb::Demo(args) => args.run(output),
            Verb::Train(args) => args.run(output),
            Verb::Resume(args) => args.run(output),
            Verb::Eval(args) => args.run(output),
            Verb::Predict(args) => args.run(output),
            Verb::Serve(args) => args.run(output),
            Verb::Inspect(args) => args.run(output),
            Verb::New(args) => args.run(output),
            Verb::Bench(args) => args.run(output),
            Verb::Profile(args) => args.run(output),
            Verb::Config(args) => args.run(output),
            Verb::Doctor(args) => args.run(output),
        }
    }
}

/// What is done to raw values before a model that does not do it itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Scale {
    None,
    Unit,
    Symmetric,
}

impl Scale {
    fn to_scaling(self) -> Scaling {
        match self {
            Scale::None => Scaling::None,
            Scale::Unit => Scaling::Unit,
            Scale::Symmetric => Scaling::SymmetricUnit,
        }
    }
}
