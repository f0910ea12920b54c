//! A whole server in one call: ports, models, the watch over files, and an orderly end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sardonyx_kernels::Pool;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::config::{RequestLog, ServeConfig};
use crate::doors::auth::Keys;
use crate::doors::listen::{Limits, Listener, Tls};
use crate::doors::{AccessLog, DoorOptions, Doors, RequestSampler, watch_keys, watch_tls};
use crate::error::{Code, Result, ServeError, internal};
use crate::log::{AccessFormat, LineLog, LogFile, Sampler, Sink};
use crate::metrics::{LogKind, Metrics, MetricsOptions, Port, VersionState};
use crate::registry::{ModelConfig, Registry, VersionPolicy};
use crate::servable::ServableOptions;
use crate::server::Server;
use crate::stop::heed;

/// What a server tells of itself while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        /// How long it took.
        load_time: Duration,
    },
    /// A version could not be loaded.
    Failed {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// Why.
        error: ServeError,
    },
    /// Keys or certificates were read again.
    Reloaded {
        /// What.
        what: &'static str,
        /// Why the old ones stay, where the new ones are wrong.
        error: Option<ServeError>,
    },
    /// Requests in flight are finished, then it ends.
    Stopping,
}

/// Hears of events, on any thread.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// Requests of the largest size that may be in memory at a time.
const BUFFERED_REQUESTS: usize = 4;
/// Lines of the access log that may wait to be written.
const MAX_WAITING_LINES: usize = 1 << 14;
/// Size at which an access log is put aside.
const MAX_LOG_BYTES: u64 = 256 << 20;
/// Access logs that are kept.
const MAX_LOG_FILES: usize = 4;

/// Runs a server until `stop` ends, then lets requests in flight finish.
///
/// # Errors
/// When a port cannot be had, a file that the configuration names is wrong, or no model at all
/// could be loaded.
pub fn serve(
    config: &ServeConfig,
    report: Report,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    config.check()?;
    for message in config.warnings.iter().cloned() {
        report(Event::Warned { message });
    }
    let pool = Pool::new(threads(config.threads)).map_err(internal)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(pool.threads())
        .thread_name("door")
        .enable_all()
        .build()
        .map_err(internal)?;
    let registry = registry(config, Arc::new(pool));
    let (stopping, stopped) = watch::channel(false);
    let stopping = Arc::new(stopping);
    let stop = heed(&runtime, stop, Arc::clone(&report), Arc::clone(&stopping));
    let open = open(config, &registry, &report, &runtime, &stopped)?;
    let ended = load(config, &registry, &report).map(|watcher| {
        // What panicked was reported by the panic hook.
        let _ = runtime.block_on(stop);
        watcher.end();
    });
    stopping.send_replace(true);
    runtime.block_on(async {
        for listener in open.listeners {
            // A listener that panicked was reported by the panic hook.
            let _ = listener.await;
        }
    });
    open.doors.flush();
    registry.close();
    ended
}

fn threads(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        wanted => wanted,
    }
}

fn registry(config: &ServeConfig, pool: Arc<Pool>) -> Arc<Registry> {
    let metrics = Metrics::new(MetricsOptions {
        tensorflow_names: config.has_tensorflow_metrics,
        triton_names: config.has_triton_metrics,
        ..MetricsOptions::default()
    });
    let mut options = ServableOptions::new(pool);
    let has_cache = config.cache_bytes > 0;
    options.cache = has_cache.then(|| Arc::new(Cache::new(config.cache_bytes)));
    let mut registry = Registry::new(options, Arc::new(metrics), config.rollout_file.clone());
    if let Some(root) = &config.root {
        registry = registry.with_root(root.clone());
    }
    for (model, rollout) in &config.rollouts {
        registry = registry.with_rollout(model, rollout.clone());
    }
    Arc::new(registry)
}

struct Open {
    listeners: Vec<tokio::task::JoinHandle<()>>,
    doors: Arc<Doors>,
}

/// Opens the ports. They answer at once, though models may still be loading.
fn open(
    config: &ServeConfig,
    registry: &Arc<Registry>,
    report: &Report,
    runtime: &Runtime,
    stopped: &watch::Receiver<bool>,
) -> Result<Open> {
    let metrics = Arc::clone(registry.metrics());
    let tls = tls(config)?.map(Arc::new);
    let keys = config
        .keys
        .as_ref()
        .map(Keys::load)
        .transpose()?
        .map(Arc::new);
    let limits = limits(config);
    let options = DoorOptions {
        limits: limits.clone(),
        keys: keys.clone(),
        is_repository_open: config.is_repository_open,
        access_log: access_log(config, &metrics)?,
        request_log: request_log(config, &metrics)?,
        metrics_path: config.metrics_path.clone(),
        ..DoorOptions::default()
    };
    let server = Arc::new(Server::new(Arc::clone(registry))?);
    let doors = Doors::new(server, options, stopped.clone());
    let mut listeners = Vec::new();
    let mut open = |port: Port, address: SocketAddr, tls: Option<Arc<Tls>>| {
        let listener = runtime.block_on(Listener::bind(address, limits.clone(), tls))?;
        let address = listener.address();
        let entrance = doors.entrance(port);
        listeners.push(runtime.spawn(listener.run(entrance, stopped.clone())));
        Ok::<_, ServeError>(address)
    };
    let http = open(Port::Http, config.http, tls.clone())?;
    let grpc = open(Port::Grpc, config.grpc, tls.clone())?;
    let admin = config.admin.map(|address| open(Port::Admin, address, None));
    let admin = admin.transpose().map_err(|mut error| {
        error.message = format!("admin API: {}, or turn it off", error.message);
        error
    })?;
    let heard = |what: &'static str| {
        let report = Arc::clone(report);
        move |result: &Result<()>| {
            let error = result.as_ref().err().cloned();
            report(Event::Reloaded { what, error });
        }
    };
    if let Some(tls) = &tls {
        let watched = watch_tls(
            Arc::downgrade(tls),
            Arc::clone(&metrics),
            heard("certificates"),
        );
        runtime.spawn(watched);
    }
    if let Some(keys) = &keys {
        let watched = watch_keys(Arc::downgrade(keys), Arc::clone(&metrics), heard("keys"));
        runtime.spawn(watched);
    }
    let is_secure = tls.is_some();
    report(Event::Listening {
        http,
        grpc,
        admin,
        is_secure,
    });
    Ok(Open { listeners, doors })
}

fn limits(config: &ServeConfig) -> Limits {
    let usual = config.max_request_bytes.saturating_mul(BUFFERED_REQUESTS);
    let buffered = config.max_buffered_bytes.unwrap_or(usual);
    let timeouts = &config.timeouts;
    let mut limits = Limits::new(config.max_request_bytes, buffered);
    limits.max_connections = config.max_connections;
    limits.header_timeout = timeouts.header;
    limits.body_timeout = timeouts.body;
    limits.write_timeout = timeouts.write;
    limits.idle_timeout = timeouts.idle;
    limits.drain_timeout = timeouts.drain;
    limits
}

fn tls(config: &ServeConfig) -> Result<Option<Tls>> {
    match (&config.tls, &config.tls_texts) {
        (Some(files), _) => Tls::load(files.clone()).map(Some),
        (None, texts) => texts.as_ref().map(Tls::from_texts).transpose(),
    }
}

fn access_log(config: &ServeConfig, metrics: &Arc<Metrics>) -> Result<Option<AccessLog>> {
    let Some(path) = &config.access_log else {
        return Ok(None);
    };
    let (sink, format) = if path == Path::new("-") {
        (
            Sink::Stream(Box::new(std::io::stderr())),
            AccessFormat::Text,
        )
    } else {
        let file = LogFile {
            path: path.clone(),
            max_bytes: MAX_LOG_BYTES,
            max_files: MAX_LOG_FILES,
        };
        (Sink::File(file), AccessFormat::Json)
    };
    let log = LineLog::open(
        sink,
        MAX_WAITING_LINES,
        LogKind::Access,
        Arc::clone(metrics),
    )?;
    Ok(Some(AccessLog { log, format }))
}

fn request_log(config: &ServeConfig, metrics: &Arc<Metrics>) -> Result<Option<RequestSampler>> {
    let Some(wanted) = &config.request_log else {
        return Ok(None);
    };
    let RequestLog { folder, .. } = wanted;
    std::fs::create_dir_all(folder).map_err(|error| {
        let message = format!(
            "cannot make the folder {} for requests: {error}",
            folder.display()
        );
        ServeError::new(Code::FailedPrecondition, message)
    })?;
    let sink = Sink::File(LogFile {
        path: wanted.path(),
        max_bytes: wanted.max_file_bytes,
        max_files: wanted.max_files,
    });
    let metrics = Arc::clone(metrics);
    let log = LineLog::open(sink, MAX_WAITING_LINES, LogKind::Request, metrics)?;
    let sampler = Sampler {
        share: wanted.fraction,
        shares: config.log_fractions.clone(),
    };
    Ok(Some(RequestSampler::new(log, sampler, wanted.max_values)))
}

/// Loads the models, and looks for new versions from then on.
///
/// # Errors
/// When models were asked for and none could be loaded.
fn load(config: &ServeConfig, registry: &Arc<Registry>, report: &Report) -> Result<Watcher> {
    registry.configure(config.models.clone())?;
    let mut told = Told::default();
    let failure = told.tell(registry, report);
    let names = registry.names();
    let has_any = names
        .iter()
        .any(|name| registry.config(name).is_ok() && registry.is_model_ready(name));
    if !has_any && (!config.models.is_empty()) {
        let message = "no model could be loaded: none of them has a version";
        return Err(failure.unwrap_or_else(|| ServeError::new(Code::FailedPrecondition, message)));
    }
    Watcher::start(config.poll, Arc::clone(registry), Arc::clone(report), told)
}

/// Loads the models of a configuration without opening a port, and tells what became of each
/// version: what a server would say.
///
/// # Errors
/// When a file that the configuration names is wrong, or a model that it names is not there.
pub fn check(config: &ServeConfig) -> Result<Vec<Event>> {
    config.check()?;
    tls(config)?;
    config.keys.as_ref().map(Keys::load).transpose()?;
    let pool = Pool::new(threads(config.threads)).map_err(internal)?;
    let registry = registry(config, Arc::new(pool));
    registry.configure(config.models.clone())?;
    for model in &config.models {
        has_versions(model, &registry)?;
    }
    let warned = |message: &String| Event::Warned {
        message: message.clone(),
    };
    let events: Vec<Event> = config.warnings.iter().map(warned).collect();
    let events = Arc::new(Mutex::new(events));
    let heard = Arc::clone(&events);
    let report: Report = Arc::new(move |event| {
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    });
    Told::default().tell(&registry, &report);
    drop(report);
    let events = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(events)
}

/// A model that is asked for must be there, all of it.
fn has_versions(model: &ModelConfig, registry: &Registry) -> Result<()> {
    let (name, place) = (&model.name, model.path.display());
    let there = registry.status(name)?;
    let is_there = |version: &u64| there.iter().any(|status| status.version == *version);
    let missing = match &model.policy {
        VersionPolicy::Specific(wanted) => wanted.iter().find(|version| !is_there(version)),
        VersionPolicy::Latest(_) | VersionPolicy::All => None,
    };
    let message = match missing {
        Some(version) => format!("model '{name}': version {version} is not at {place}"),
        None if there.is_empty() => format!(
            "model '{name}': no version is at {place}; hint: give a model file, or a folder of \
             versions, such as {place}/1/model.onnx"
        ),
        None => return Ok(()),
    };
    Err(ServeError::new(Code::NotFound, message))
}

/// What was reported of each version, so that it is reported once.
#[derive(Debug, Default)]
struct Told(std::collections::BTreeMap<(String, u64), VersionState>);

impl Told {
    /// Reports what is new; returns the last failure among it.
    fn tell(&mut self, registry: &Registry, report: &Report) -> Option<ServeError> {
        let mut failure = None;
        for model in registry.names() {
            for status in registry.status(&model).unwrap_or_default() {
                let key = (model.clone(), status.version);
                if self.0.insert(key, status.state) == Some(status.state) {
                    continue;
                }
                for message in status.notes {
                    report(Event::Warned { message });
                }
                if let Some(error) = status.error {
                    failure = Some(error.clone());
                    report(Event::Failed {
                        model: model.clone(),
                        version: status.version,
                        error,
                    });
                } else if status.state == VersionState::Available {
                    report(Event::Loaded {
                        model: model.clone(),
                        version: status.version,
                        load_time: registry
                            .load_time(&model, status.version)
                            .unwrap_or_default(),
                    });
                }
            }
        }
        failure
    }
}

/// A thread that looks for versions that came or went.
struct Watcher {
    end: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Watcher {
    fn start(
        period: Option<Duration>,
        registry: Arc<Registry>,
        report: Report,
        mut told: Told,
    ) -> Result<Watcher> {
        let (end, ended) = sync_channel(1);
        // What is changed by orders is reported too, so it always looks from time to time.
        let pause = period.unwrap_or(Duration::from_secs(1));
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    if period.is_some() {
                        registry.poll();
                    }
                    told.tell(&registry, &report);
                }
            })
            .map_err(internal)?;
        Ok(Watcher { end, thread })
    }

    fn end(self) {
        // It may have ended already.
        let _ = self.end.try_send(());
        let _ = self.thread.join();
    }
}
