//! What a server is told: which models, on which ports, within which limits.

mod file;
mod flags;
mod tensorflow;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::doors::listen::{Limits, TlsFiles, TlsTexts};
use crate::error::{Code, Result, ServeError};
use crate::registry::ModelConfig;
use crate::rollout::Rollout;

pub(crate) use tensorflow::model_config;

/// Everything that a server is told.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The models.
    pub models: Vec<ModelConfig>,
    /// Rollouts that apply where nobody decided otherwise while a server ran, by model.
    pub rollouts: Vec<(String, Rollout)>,
    /// A folder of models, `NAME/VERSION/model.onnx`.
    pub root: Option<PathBuf>,
    /// Where HTTP is answered.
    pub http: SocketAddr,
    /// Where gRPC is answered.
    pub grpc: SocketAddr,
    /// Where orders are taken; nowhere when absent.
    pub admin: Option<SocketAddr>,
    /// Certificates of the public ports; plain text when absent.
    pub tls: Option<TlsFiles>,
    /// Certificates that are given as they are, where there are no files of them.
    pub tls_texts: Option<TlsTexts>,
    /// The file of keys; everybody may come in when absent.
    pub keys: Option<PathBuf>,
    /// Whether the public ports load and unload models too.
    pub is_repository_open: bool,
    /// Most bytes of a request.
    pub max_request_bytes: usize,
    /// Most bytes of all requests that are being read or answered; four of the largest when absent.
    pub max_buffered_bytes: Option<usize>,
    /// Most connections of a port; more wait to be taken.
    pub max_connections: usize,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// How often the disk is looked at for new versions; never when absent.
    pub poll: Option<Duration>,
    /// Bytes of answers that are kept; 0 keeps none.
    pub cache_bytes: usize,
    /// Threads of large models; 0 takes every core.
    pub threads: usize,
    /// Where decisions about rollouts are kept.
    pub rollout_file: Option<PathBuf>,
    /// Where chosen requests are written, a JSON object a line.
    pub request_log: Option<RequestLog>,
    /// Shares of the requests that are written, by model, where they differ from that of the log.
    pub log_fractions: BTreeMap<String, f64>,
    /// Where every request's line goes; `-` is standard error.
    pub access_log: Option<PathBuf>,
    /// Whether metrics also carry the names of TensorFlow Serving.
    pub has_tensorflow_metrics: bool,
    /// Whether metrics also carry the names of Triton.
    pub has_triton_metrics: bool,
    /// One more path that metrics are shown at.
    pub metrics_path: Option<String>,
    /// What the configuration asks for and is not done.
    pub warnings: Vec<String>,
}

/// How long clients may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a handshake and the head of a request.
    pub header: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// Without taking any byte of an answer that waits for them.
    pub write: Duration,
    /// Without a request.
    pub idle: Duration,
    /// For the end of requests in flight after the order to stop.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let usual = Limits::default();
        Timeouts {
            header: usual.header_timeout,
            body: usual.body_timeout,
            write: usual.write_timeout,
            idle: usual.idle_timeout,
            drain: usual.drain_timeout,
        }
    }
}

/// A log of requests with what they brought and got.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestLog {
    /// The folder that the files are in; made when it is not there.
    pub folder: PathBuf,
    /// The share of requests that is written, from 0 to 1.
    pub fraction: f64,
    /// Most values of a tensor that are written; of a larger one, these and a hash of all.
    pub max_values: usize,
    /// Size at which a file is put aside, in bytes.
    pub max_file_bytes: u64,
    /// Files that are kept besides the one that is written.
    pub max_files: usize,
}

impl RequestLog {
    /// Every request, in files of 256 MiB of which four are kept.
    pub fn new(folder: impl Into<PathBuf>) -> RequestLog {
        RequestLog {
            folder: folder.into(),
            fraction: 1.0,
            max_values: 4096,
            max_file_bytes: 256 << 20,
            max_files: 4,
        }
    }

    /// The file that is written.
    pub fn path(&self) -> PathBuf {
        self.folder.join("requests.jsonl")
    }
}

/// The port that takes orders, where nothing else is said.
const ADMIN_PORT: u16 = 8502;

/// Most bytes of a request, where nothing else is said.
const MAX_REQUEST_BYTES: usize = 256 << 20;

impl Default for ServeConfig {
    /// No models; the ports of TensorFlow Serving on all addresses, orders on the loopback.
    fn default() -> ServeConfig {
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        ServeConfig {
            models: Vec::new(),
            rollouts: Vec::new(),
            root: None,
            http: SocketAddr::new(all, 8501),
            grpc: SocketAddr::new(all, 8500),
            admin: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT)),
            tls: None,
            tls_texts: None,
            keys: None,
            is_repository_open: false,
            max_request_bytes: MAX_REQUEST_BYTES,
            max_buffered_bytes: None,
            max_connections: Limits::default().max_connections,
            timeouts: Timeouts::default(),
            poll: None,
            cache_bytes: 0,
            threads: 0,
            rollout_file: None,
            request_log: None,
            log_fractions: BTreeMap::new(),
            access_log: None,
            has_tensorflow_metrics: false,
            has_triton_metrics: false,
            metrics_path: None,
            warnings: Vec::new(),
        }
    }
}

impl ServeConfig {
    /// Reads a configuration: TOML where the name ends so, else TensorFlow Serving's text format
    /// (`model_config_list { ... }`). Relative paths are taken from the file's folder.
    ///
    /// # Errors
    /// When the file cannot be read or says what makes no sense; tells the line.
    pub fn from_file(path: &Path) -> Result<ServeConfig> {
        let failed = |error: &dyn std::fmt::Display| {
            ServeError::new(
                Code::InvalidArgument,
                format!("{}: {error}", path.display()),
            )
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let is_toml = path.extension().is_some_and(|name| name == "toml");
        let config = if is_toml {
            file::read(&text, folder)
        } else {
            tensorflow::read(&text, folder)
        };
        let config = config.map_err(|error| failed(&error))?;
        config.check().map_err(|error| failed(&error))?;
        Ok(config)
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// When two models share a name, a name cannot be one, or a number is out of range.
    pub fn check(&self) -> Result<()> {
        let mut names = std::collections::BTreeSet::new();
        for model in &self.models {
            check_name(&model.name)?;
            if !names.insert(&model.name) {
                let message = format!("two models have the name '{}'", model.name);
                return Err(ServeError::invalid(message));
            }
            if model.batch.max_batch_size == 0 || model.batch.max_queue == 0 {
                let message = format!(
                    "model '{}': max_batch_size and max_queue are 1 or more",
                    model.name
                );
                return Err(ServeError::invalid(message));
            }
        }
        if !(1..=1_000_000).contains(&self.max_connections) {
            let message = format!(
                "max_connections is {}; give 1 to 1000000",
                self.max_connections
            );
            return Err(ServeError::invalid(message));
        }
        for (_, rollout) in &self.rollouts {
            rollout.check()?;
        }
        let fractions = self.log_fractions.values().copied();
        let fractions = fractions.chain(self.request_log.as_ref().map(|log| log.fraction));
        if let Some(wrong) = fractions
            .into_iter()
            .find(|share| !(0.0..=1.0).contains(share))
        {
            let message = format!("the sampled fraction is {wrong}; it goes from 0 to 1");
            return Err(ServeError::invalid(message));
        }
        Ok(())
    }
}

/// Names go into paths of URLs, where `/` and `:` have their meaning.
fn check_name(name: &str) -> Result<()> {
    let is_bad = |c: char| c == '/' || c == ':' || c.is_control();
    if name.is_empty() || name.contains(is_bad) {
        let message = format!("'{name}' cannot be a model's name; hint: no '/' nor ':'");
        return Err(ServeError::invalid(message));
    }
    Ok(())
}

/// `path` as seen from `folder`.
fn from_folder(folder: &Path, path: impl AsRef<Path>) -> PathBuf {
    folder.join(path)
}

#[cfg(test)]
mod tests;
