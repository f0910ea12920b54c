use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use sardonyx::serve::{CheckReport, Event, ServeOptions, check, serve};

use crate::cli::serving::{Batching, Network, Security};
use crate::cli::{Output, Result};

/// Serve models to clients of TensorFlow Serving and of KServe v2 / Triton
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx serve model.onnx\n  \
    sardonyx serve runs/digits --name digits --http-port 0\n  \
    sardonyx serve --models /srv/models --request-log /var/log/requests --sample 0.01\n  \
    sardonyx serve --config serve.toml --check\n\n\
    curl localhost:8501/v1/models/model:predict -d '{\"instances\": [[1.0, 2.0]]}'")]
pub(crate) struct Args {
    /// ONNX file, folder of a run, or folder of versions
    model: Option<PathBuf>,
    /// Name that clients use for MODEL [default: that of the file]
    #[arg(long, requires = "model")]
    name: Option<String>,
    /// Folder of models, NAME/VERSION/model.onnx
    #[arg(long, value_name = "FOLDER")]
    models: Option<PathBuf>,
    /// Configuration: TOML, or TensorFlow Serving's models.config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seconds between looks for new versions; 0 never looks [default: 2]
    #[arg(long, value_name = "SECONDS")]
    poll: Option<u64>,
    /// File that keeps decisions about rollouts over restarts
    #[arg(long, value_name = "FILE")]
    rollout_file: Option<PathBuf>,
    /// Load everything, tell what would be served, and end
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    batching: Batching,
    #[command(flatten)]
    security: Security,
}

impl Args {
    fn options(self) -> ServeOptions {
        let mut options = ServeOptions {
            model: self.model,
            name: self.name,
            models: self.models,
            config: self.config,
            poll: self.poll.map(Duration::from_secs),
            rollout_file: self.rollout_file,
            ..ServeOptions::default()
        };
        self.network.put_into(&mut options);
        self.batching.put_into(&mut options);
        self.security.put_into(&mut options);
        options
    }

    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let (is_check, options) = (self.check, self.options());
        if is_check {
            return output.report(&check(&options)?, CheckReport::to_text);
        }
        let (events, heard) = channel();
        let server =
            std::thread::spawn(move || serve(&options, move |event| drop(events.send(event))));
        for event in heard {
            output.event(&event, Event::to_text)?;
        }
        server
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(())
    }
}
