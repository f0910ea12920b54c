//! The arguments of `serve`: ports, batching, security.

use std::net::IpAddr;
use std::path::PathBuf;

use sardonyx::serve::TlsFiles;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Address of the public ports [default: 0.0.0.0]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<IpAddr>,
    /// Port of HTTP; 0 takes a free one [default: 8501]
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,
    /// Port of gRPC; 0 takes a free one [default: 8500]
    #[arg(long, value_name = "PORT")]
    pub(crate) grpc_port: Option<u16>,
    /// Port of the admin API, on the loopback only; none without
    #[arg(long, value_name = "PORT")]
    pub(crate) admin_port: Option<u16>,
    /// Every request as a line in this file; - is standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// Show metrics under the names of TensorFlow Serving and Triton too
    #[arg(long)]
    pub(crate) foreign_metrics: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Batching")]
pub(crate) struct Batching {
    /// Most samples of a batch; 1 batches nothing [default: 32]
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_batch_size: Option<usize>,
    /// Milliseconds that a batch waits to fill [default: 0]
    #[arg(long, value_name = "MS")]
    pub(crate) max_delay_ms: Option<f64>,
    /// Most requests of a model that wait; more are refused [default: 1024]
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_queue: Option<usize>,
    /// MiB of answers that are kept for equal requests [default: 0]
    #[arg(long, value_name = "MIB")]
    pub(crate) cache_mb: Option<usize>,
    /// Threads; 0 takes every core [default: 0]
    #[arg(long, value_name = "COUNT")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct Security {
    /// Certificate of the public ports (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Roots of the certificates that clients must show (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_roots: Option<PathBuf>,
    /// File of keys (TOML); without, everybody may come in
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Let clients of the public ports load and unload models
    #[arg(long)]
    pub(crate) open_repository: bool,
}

impl Security {
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_roots: self.tls_client_roots.clone(),
            is_client_optional: false,
        })
    }
}
