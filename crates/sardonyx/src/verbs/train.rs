use sardonyx::config::TrainConfig;
use sardonyx::training::{RunOptions, RunReport, train};

use crate::cli::{Output, Result, check_finished, command_line, watch};

/// Train a model on data and leave the folder of a run
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "Examples:\n  \
    sardonyx train data=digits epochs=5\n  \
    sardonyx train --data /usr/share/datasets/fashion-mnist --model seed-cnn lr=0.002\n  \
    sardonyx train --data photos --model from-pytorch.onnx optimizer=sgd momentum=0.9\n  \
    sardonyx train sardonyx.toml schedule=cosine name=second-try\n\n\
    `sardonyx config render` lists every setting.")]
pub(crate) struct Args {
    /// Configuration file (TOML), and settings on top of it: `epochs=5`, `train.epochs=5`
    #[arg(value_name = "CONFIG.toml | KEY=VALUE")]
    settings: Vec<String>,
    /// The same as `data.train=PATH`: folder or file, or `digits`
    #[arg(long, short, value_name = "PATH")]
    data: Option<String>,
    /// The same as `model.arch=NAME`: network of the zoo, or an ONNX file to train on
    #[arg(long, short, value_name = "NAME")]
    model: Option<String>,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let mut settings = self.settings;
        let toml = |text: String| serde_json::Value::from(text).to_string();
        settings.extend(self.data.map(|data| format!("data.train={}", toml(data))));
        settings.extend(
            self.model
                .map(|model| format!("model.arch={}", toml(model))),
        );
        let options = RunOptions {
            config: TrainConfig::from_arguments(&settings)?,
            command: command_line(),
        };
        let report = train(&options, watch(output))?;
        output.report(&report, RunReport::to_text)?;
        check_finished(&report)
    }
}
