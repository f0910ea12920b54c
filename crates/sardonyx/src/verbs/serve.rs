use std::sync::mpsc::channel;

use sardonyx::serve::{CheckReport, Event, ServeOptions, check, serve};

use crate::cli::serving::{Batching, Network, Security, Source};
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
    #[command(flatten)]
    source: Source,
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
        let mut options = ServeOptions::default();
        self.source.put_into(&mut options);
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
