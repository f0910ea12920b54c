use sardonyx::config::TrainConfig;

use crate::cli::{Output, Result};

/// Write or check the configuration of a training run
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print a configuration with every setting and its meaning
    #[command(after_help = "Examples:\n  \
        sardonyx config render > sardonyx.toml\n  \
        sardonyx config render optimizer=sgd schedule=cosine epochs=30\n  \
        sardonyx config render old.toml lr=0.01 > new.toml")]
    Render(Settings),
    /// Check a configuration; what is wrong is told with its place
    #[command(after_help = "Examples:\n  sardonyx config check sardonyx.toml")]
    Check(Settings),
}

/// A configuration file and what is to be different from it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// Configuration file (TOML), and settings on top of it: `epochs=5`, `train.epochs=5`
    #[arg(value_name = "CONFIG.toml | KEY=VALUE")]
    settings: Vec<String>,
}

impl Settings {
    pub(crate) fn load(&self) -> sardonyx::Result<TrainConfig> {
        TrainConfig::from_arguments(&self.settings)
    }
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        match self.action {
            Action::Render(settings) => {
                let config = settings.load()?;
                output.report(&config, TrainConfig::render)
            }
            Action::Check(settings) => {
                let config = settings.load()?;
                config.require_data()?;
                output.report(&config, |_| "the configuration is valid\n".to_owned())
            }
        }
    }
}
