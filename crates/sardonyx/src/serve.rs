//! Models behind the doors of TensorFlow Serving and KServe v2.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use sardonyx_serve::TlsFiles;
use sardonyx_serve::{ModelConfig, Report, RequestLog, ServeConfig};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::text::Table;

/// What to serve, and how. What is absent is as in the configuration file, or usual.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// A model file, a run's folder, or a folder of versions.
    pub model: Option<PathBuf>,
    /// The name that clients use for `model`; that of the file when absent.
    pub name: Option<String>,
    /// A folder of models, `NAME/VERSION/model.onnx`.
    pub models: Option<PathBuf>,
    /// A configuration: TOML, or TensorFlow Serving's `models.config`.
    pub config: Option<PathBuf>,
    /// TensorFlow Serving's batching parameters.
    pub batching_parameters: Option<PathBuf>,
    /// TensorFlow Serving's configuration of metrics.
    pub monitoring_config: Option<PathBuf>,
    /// TensorFlow Serving's configuration of TLS.
    pub ssl_config: Option<PathBuf>,
    /// Address of the public ports.
    pub host: Option<IpAddr>,
    /// Port of HTTP.
    pub http_port: Option<u16>,
    /// Port of gRPC.
    pub grpc_port: Option<u16>,
    /// Where the admin API is.
    pub admin: Option<Admin>,
    /// Most samples of a batch.
    pub max_batch_size: Option<usize>,
    /// How long a free lane waits for a batch to fill.
    pub max_delay: Option<Duration>,
    /// Most requests of a model that wait.
    pub max_queue: Option<usize>,
    /// How often the disk is looked at for new versions; zero never does.
    pub poll: Option<Duration>,
    /// MiB of answers that are kept.
    pub cache_mb: Option<usize>,
    /// Threads; 0 takes every core.
    pub threads: Option<usize>,
    /// Certificate, private key, and roots of clients' certificates.
    pub tls: Option<TlsFiles>,
    /// The file of keys.
    pub keys: Option<PathBuf>,
    /// Where every request's line goes; `-` is standard error.
    pub access_log: Option<PathBuf>,
    /// Folder of the request log.
    pub request_log: Option<PathBuf>,
    /// The share of requests that the request log gets, from 0 to 1.
    pub sample: Option<f64>,
    /// Where decisions about rollouts are kept.
    pub rollout_file: Option<PathBuf>,
    /// Whether the public ports load and unload models too.
    pub is_repository_open: bool,
    /// Whether metrics also carry the names of TensorFlow Serving and Triton.
    pub has_foreign_metrics: bool,
}

/// Where orders are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// On this port of the loopback; 0 takes a free one.
    Port(u16),
    /// Nowhere.
    Off,
}

impl std::str::FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Admin, String> {
        match text {
            "off" => Ok(Admin::Off),
            port => port
                .parse()
                .map(Admin::Port)
                .map_err(|_| format!("`{port}` is neither a port nor `off`")),
        }
    }
}

/// How often a folder is looked at, where nothing else is said.
const USUAL_POLL: Duration = Duration::from_secs(2);

impl ServeOptions {
    /// The configuration that these options make.
    ///
    /// # Errors
    /// When there is nothing to serve, or the configuration file is wrong.
    pub fn to_config(&self) -> Result<ServeConfig> {
        let mut config = match &self.config {
            Some(path) => ServeConfig::from_file(path)?,
            None => ServeConfig::default(),
        };
        if let Some(path) = &self.model {
            config.models.push(self.model_config(path)?);
        }
        config.root = self.models.clone().or(config.root);
        if config.models.is_empty() && config.root.is_none() {
            let problem =
                "nothing to serve; hint: give a model file, --models FOLDER or --config FILE";
            return Err(Error::config("serve", problem));
        }
        if let Some(path) = &self.batching_parameters {
            config.apply_batching_parameters(path)?;
        }
        if let Some(path) = &self.monitoring_config {
            config.apply_monitoring_config(path)?;
        }
        if let Some(path) = &self.ssl_config {
            config.apply_ssl_config(path)?;
        }
        self.apply_network(&mut config);
        self.apply_request_log(&mut config)?;
        self.apply_batching(&mut config);
        config.cache_bytes = self.cache_mb.map_or(config.cache_bytes, |mb| mb << 20);
        config.threads = self.threads.unwrap_or(config.threads);
        config.rollout_file = self.rollout_file.clone().or(config.rollout_file);
        config.has_tensorflow_metrics |= self.has_foreign_metrics;
        config.has_triton_metrics |= self.has_foreign_metrics;
        let is_folder = |model: &ModelConfig| model.path.is_dir();
        let may_change = config.root.is_some() || config.models.iter().any(is_folder);
        let usual = config.poll.or(may_change.then_some(USUAL_POLL));
        config.poll = self.poll.or(usual).filter(|period| !period.is_zero());
        config.check()?;
        Ok(config)
    }

    fn model_config(&self, path: &Path) -> Result<ModelConfig> {
        let run = crate::model_file(path);
        let file = if run.is_file() { run } else { path.to_owned() };
        let named = match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if file == path && path.is_file() => {
                name.strip_suffix(".onnx").unwrap_or(name)
            }
            Some(name) => name,
            None => "model",
        };
        if !file.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::Io {
                action: "read",
                path: file,
                source,
            });
        }
        let name = self.name.clone().unwrap_or_else(|| named.to_owned());
        Ok(ModelConfig::new(name, file))
    }

    fn apply_network(&self, config: &mut ServeConfig) {
        for (address, port) in [
            (&mut config.http, self.http_port),
            (&mut config.grpc, self.grpc_port),
        ] {
            address.set_ip(self.host.unwrap_or(address.ip()));
            address.set_port(port.unwrap_or(address.port()));
        }
        let loopback = |port| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
        // Whoever asks for free ports runs servers side by side.
        let is_any = self.http_port == Some(0) && self.config.is_none();
        config.admin = match self.admin {
            Some(Admin::Port(port)) => Some(loopback(port)),
            Some(Admin::Off) => None,
            None if is_any => Some(loopback(0)),
            None => config.admin,
        };
        config.tls = self.tls.clone().or(config.tls.take());
        config.keys = self.keys.clone().or(config.keys.take());
        config.access_log = self.access_log.clone().or(config.access_log.take());
        config.is_repository_open |= self.is_repository_open;
    }

    fn apply_request_log(&self, config: &mut ServeConfig) -> Result<()> {
        if let Some(folder) = &self.request_log {
            let given = config
                .request_log
                .get_or_insert_with(|| RequestLog::new(folder));
            given.folder.clone_from(folder);
        }
        match (&mut config.request_log, self.sample) {
            (_, None) => Ok(()),
            (Some(log), Some(share)) => {
                log.fraction = share;
                Ok(())
            }
            (None, Some(_)) => {
                let problem = "--sample without a request log; hint: add --request-log FOLDER";
                Err(Error::config("serve", problem))
            }
        }
    }

    fn apply_batching(&self, config: &mut ServeConfig) {
        for model in &mut config.models {
            let batch = &mut model.batch;
            batch.max_batch_size = self.max_batch_size.unwrap_or(batch.max_batch_size);
            batch.max_delay = self.max_delay.unwrap_or(batch.max_delay);
            batch.max_queue = self.max_queue.unwrap_or(batch.max_queue);
        }
    }
}

/// Serves until the process is told to stop.
///
/// # Errors
/// When the options make no sense, a port cannot be had, or no model could be loaded.
pub fn serve(options: &ServeOptions, report: impl Fn(Event) + Send + Sync + 'static) -> Result<()> {
    let config = options.to_config()?;
    let report: Report = Arc::new(move |event| report(Event::from(event)));
    sardonyx_serve::serve(&config, report, sardonyx_serve::stop_signal())?;
    Ok(())
}

/// What would be served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// What became of each version.
    pub versions: Vec<Event>,
}

/// Loads what would be served without opening a port.
///
/// # Errors
/// When the options make no sense, or a version cannot be loaded.
pub fn check(options: &ServeOptions) -> Result<CheckReport> {
    let events = sardonyx_serve::check(&options.to_config()?)?;
    let failed = events.iter().find_map(|event| match event {
        sardonyx_serve::Event::Failed { error, .. } => Some(error.clone()),
        _ => None,
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(CheckReport {
            versions: events.into_iter().map(Event::from).collect(),
        }),
    }
}

impl CheckReport {
    /// The report for people to read.
    pub fn to_text(&self) -> String {
        let mut table = Table::new(&["model", ">version", ">loaded in"]);
        for event in &self.versions {
            if let Event::Loaded {
                model,
                version,
                load_ms,
            } = event
            {
                table.row([model, &version.to_string(), &format!("{load_ms:.0} ms")]);
            }
        }
        table.text()
    }
}

/// What a server tells while it runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Its ports are open.
    Listening {
        /// Where HTTP is answered.
        http: SocketAddr,
        /// Where gRPC is answered.
        grpc: SocketAddr,
        /// Where orders are taken.
        admin: Option<SocketAddr>,
        /// Whether HTTP and gRPC are behind TLS.
        is_secure: bool,
    },
    /// The configuration asks for what is not done.
    Warned {
        /// What.
        message: String,
    },
    /// A version takes requests.
    Loaded {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// How long it took, in milliseconds.
        load_ms: f64,
    },
    /// A version could not be loaded.
    Failed {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// Why.
        error: String,
    },
    /// Keys or certificates were read again.
    Reloaded {
        /// What.
        what: String,
        /// Why the old ones stay, where the new ones are wrong.
        error: Option<String>,
    },
    /// Requests in flight are finished, then it ends.
    Stopping,
}

impl From<sardonyx_serve::Event> for Event {
    fn from(event: sardonyx_serve::Event) -> Event {
        use sardonyx_serve::Event as From;
        match event {
            From::Listening {
                http,
                grpc,
                admin,
                is_secure,
            } => Event::Listening {
                http,
                grpc,
                admin,
                is_secure,
            },
            From::Loaded {
                model,
                version,
                load_time,
            } => Event::Loaded {
                model,
                version,
                load_ms: 1e3 * load_time.as_secs_f64(),
            },
            From::Failed {
                model,
                version,
                error,
            } => Event::Failed {
                model,
                version,
                error: error.message,
            },
            From::Reloaded { what, error } => Event::Reloaded {
                what: what.to_owned(),
                error: error.map(|error| error.message),
            },
            From::Warned { message } => Event::Warned { message },
            From::Stopping => Event::Stopping,
        }
    }
}

impl Event {
    /// The event for people to read.
    pub fn to_text(&self) -> String {
        match self {
            Event::Listening {
                http,
                grpc,
                admin,
                is_secure,
            } => {
                let admin = admin.map_or(String::new(), |admin| format!(", admin http://{admin}"));
                let (scheme, tls) = if *is_secure {
                    ("https", " with TLS")
                } else {
                    ("http", "")
                };
                format!("listening: {scheme}://{http}, grpc {grpc}{tls}{admin}")
            }
            Event::Loaded {
                model,
                version,
                load_ms,
            } => {
                format!("serving {model} version {version} (loaded in {load_ms:.0} ms)")
            }
            Event::Failed {
                model,
                version,
                error,
            } => {
                format!("cannot serve {model} version {version}: {error}")
            }
            Event::Reloaded { what, error: None } => format!("read the {what} again"),
            Event::Reloaded {
                what,
                error: Some(error),
            } => {
                format!("the old {what} stay: {error}")
            }
            Event::Warned { message } => format!("warning: {message}"),
            Event::Stopping => "stopping: requests in flight are finished first".to_owned(),
        }
    }
}
