use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use sardonyx::serve::{CheckReport, Event, ServeOptions, check, serve};

use super::serving::{Batching, Network, Security};
use crate::cli::{Output, Result};

/// Serve models to clients of TensorFlow Serving and of KServe v2 / Triton
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sardonyx serve model.onnx\n  \
    sardonyx serve runs/digits --name digits --http-port 0\n  \
    sardonyx serve --models /srv/models --admin-port 8502\n  \
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
    pub(crate) fn run(self, output: &mut Output) -> Result<()> {
        let options = ServeOptions {
            tls: self.security.tls(),
            model: self.model,
            name: self.name,
            models: self.models,
            config: self.config,
            host: self.network.host,
            http_port: self.network.http_port,
            grpc_port: self.network.grpc_port,
            admin_port: self.network.admin_port,
            max_batch_size: self.batching.max_batch_size,
            max_delay: self.batching.max_delay_ms.map(milliseconds),
            max_queue: self.batching.max_queue,
            poll: self.poll.map(Duration::from_secs),
            cache_mb: self.batching.cache_mb,
            threads: self.batching.threads,
            keys: self.security.keys,
            access_log: self.network.access_log,
            rollout_file: self.rollout_file,
            is_repository_open: self.security.open_repository,
            has_foreign_metrics: self.network.foreign_metrics,
        };
        if self.check {
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

fn milliseconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1e3).unwrap_or_default()
}
