//! A model: its versions, where each is in its life, and how requests are shared out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use super::source::{VersionPolicy, fingerprint, versions_at};
use super::triton::{self, Beside};
use crate::batch::BatchOptions;
use crate::error::{Code, Result, ServeError};
use crate::metrics::{Metrics, VersionState};
use crate::rollout::Rollout;
use crate::servable::{Servable, ServableOptions, WARM_UP_LINES, WARM_UP_RECORDS};

/// How a model is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// The name that clients use.
    pub name: String,
    /// A model file, or a folder with a subfolder for each version.
    pub path: PathBuf,
    /// Which versions are served.
    pub policy: VersionPolicy,
    /// How requests are gathered.
    pub batch: BatchOptions,
    /// Lanes; 0 chooses by the model's size.
    pub lanes: usize,
    /// Whether a sample runs before a version is ready.
    pub warm_up: bool,
}

impl ModelConfig {
    /// The defaults for a model of this name at this place.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> ModelConfig {
        ModelConfig {
            name: name.into(),
            path: path.into(),
            policy: VersionPolicy::default(),
            batch: BatchOptions::default(),
            lanes: 0,
            warm_up: true,
        }
    }
}

/// Where a version is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionStatus {
    /// Number of the version.
    pub version: u64,
    /// How far it is.
    pub state: VersionState,
    /// Why it ended, where it failed.
    pub error: Option<ServeError>,
    /// What its folder asks for and is not done.
    pub notes: Vec<String>,
}

/// How long an unloading version may take to finish its requests.
const DRAIN_TIME: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Version {
    state: VersionState,
    error: Option<ServeError>,
    notes: Vec<String>,
    /// The file when it failed to load: it is tried again when that changes.
    failed_file: Option<(u64, SystemTime)>,
    servable: Option<Arc<Servable>>,
}

#[derive(Debug)]
struct Inner {
    config: ModelConfig,
    is_wanted: bool,
    versions: BTreeMap<u64, Version>,
    rollout: Arc<Rollout>,
}

/// What tells whether a version that failed to load is worth another try: its model, and what
/// lies beside it.
fn files_now(config: &ModelConfig, model: &Path) -> Option<(u64, SystemTime)> {
    let folder = model.parent().unwrap_or(Path::new(""));
    let others = [
        config.path.join(triton::FILE),
        folder.join(WARM_UP_LINES),
        folder.join(WARM_UP_RECORDS),
    ];
    let others = others.iter().filter_map(|path| fingerprint(path));
    others.fold(fingerprint(model), |all, (bytes, time)| {
        let (sum, last) = all?;
        Some((sum + bytes, last.max(time)))
    })
}

/// A model by name.
#[derive(Debug)]
pub(super) struct Model {
    inner: RwLock<Inner>,
}

impl Model {
    pub(super) fn new(config: ModelConfig, rollout: Rollout) -> Model {
        let inner = Inner {
            config,
            is_wanted: true,
            versions: BTreeMap::new(),
            rollout: Arc::new(rollout),
        };
        Model {
            inner: RwLock::new(inner),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn config(&self) -> ModelConfig {
        self.read().config.clone()
    }

    pub(super) fn set_config(&self, config: ModelConfig) {
        self.write().config = config;
    }

    /// Whether its versions are to be loaded at all.
    pub(super) fn set_wanted(&self, is_wanted: bool) {
        self.write().is_wanted = is_wanted;
    }

    pub(super) fn rollout(&self) -> Arc<Rollout> {
        Arc::clone(&self.read().rollout)
    }

    pub(super) fn set_rollout(&self, rollout: Rollout) {
        self.write().rollout = Arc::new(rollout);
    }

    pub(super) fn status(&self) -> Vec<VersionStatus> {
        let inner = self.read();
        let status = |(&version, entry): (&u64, &Version)| VersionStatus {
            version,
            state: entry.state,
            error: entry.error.clone(),
            notes: entry.notes.clone(),
        };
        inner.versions.iter().map(status).collect()
    }

    /// Versions that take requests, in ascending order.
    pub(super) fn ready(&self) -> Vec<u64> {
        let inner = self.read();
        let versions = inner.versions.iter();
        let ready = versions.filter(|(_, entry)| entry.state == VersionState::Available);
        ready.map(|(&version, _)| version).collect()
    }

    /// The version of this number, if it takes requests.
    pub(super) fn servable(&self, version: u64) -> Option<Arc<Servable>> {
        let inner = self.read();
        let entry = inner.versions.get(&version)?;
        let is_ready = entry.state == VersionState::Available;
        entry.servable.clone().filter(|_| is_ready)
    }

    /// Loads what should be served and is not, then unloads what should not be. What serves goes
    /// only when something else serves, or nothing should.
    pub(super) fn reconcile(&self, options: &ServableOptions, metrics: &Metrics) -> Result<()> {
        let (mut config, is_wanted) = {
            let inner = self.read();
            (inner.config.clone(), inner.is_wanted)
        };
        let beside = Beside::apply(&mut config);
        let there = versions_at(&config.path);
        let there = if is_wanted { there? } else { BTreeMap::new() };
        let wanted = config.policy.choose(&there);
        for version in &wanted {
            self.load(
                (&config, &beside),
                *version,
                &there[version],
                options,
                metrics,
            );
        }
        let ready = self.ready();
        let is_safe = wanted.is_empty() || wanted.iter().any(|version| ready.contains(version));
        for version in ready {
            if is_safe && !wanted.contains(&version) {
                self.unload(&config.name, version, metrics);
            }
        }
        Ok(())
    }

    fn load(
        &self,
        (config, beside): (&ModelConfig, &Result<Option<Beside>>),
        version: u64,
        file: &Path,
        options: &ServableOptions,
        metrics: &Metrics,
    ) {
        let file_now = files_now(config, file);
        if let Some(entry) = self.read().versions.get(&version) {
            let has_failed = entry.state == VersionState::End && entry.error.is_some();
            let is_same = entry.failed_file.is_some() && entry.failed_file == file_now;
            let is_busy = entry.state != VersionState::End;
            if is_busy || has_failed && is_same {
                return;
            }
        }
        let counted = metrics.model(&config.name, version);
        counted.set_state(VersionState::Loading);
        let loading = Version {
            state: VersionState::Loading,
            error: None,
            notes: Vec::new(),
            failed_file: None,
            servable: None,
        };
        self.write().versions.insert(version, loading);
        let options = ServableOptions {
            batch: config.batch.clone(),
            lanes: config.lanes,
            warm_up: config.warm_up,
            ..options.clone()
        };
        let loaded = crate::batch::guarded(|| {
            let beside = beside.clone()?;
            let counted = Arc::clone(&counted);
            let servable = Servable::load(&config.name, version, file, &options, counted)?;
            if let Some(beside) = &beside {
                beside.check(servable.signature())?;
            }
            Ok((
                servable,
                beside.map_or_else(Vec::new, |beside| beside.notes),
            ))
        });
        let entry = match loaded {
            Ok((servable, notes)) => Version {
                state: VersionState::Available,
                error: None,
                notes,
                failed_file: None,
                servable: Some(Arc::new(servable)),
            },
            Err(error) => Version {
                state: VersionState::End,
                error: Some(error),
                notes: Vec::new(),
                failed_file: file_now,
                servable: None,
            },
        };
        counted.set_state(entry.state);
        self.write().versions.insert(version, entry);
    }

    fn unload(&self, name: &str, version: u64, metrics: &Metrics) {
        let servable = {
            let mut inner = self.write();
            let Some(entry) = inner.versions.get_mut(&version) else {
                return;
            };
            entry.state = VersionState::Unloading;
            entry.servable.take()
        };
        metrics
            .model(name, version)
            .set_state(VersionState::Unloading);
        if let Some(servable) = servable {
            let start = crate::clock::now();
            while Arc::strong_count(&servable) > 1 && start.elapsed() < DRAIN_TIME {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if let Some(entry) = self.write().versions.get_mut(&version) {
            entry.state = VersionState::End;
        }
        metrics.forget(name, version);
    }

    /// Unloads every version.
    pub(super) fn close(&self, metrics: &Metrics) {
        let name = self.config().name;
        for version in self.ready() {
            self.unload(&name, version, metrics);
        }
    }

    /// The version of a label.
    pub(super) fn labelled(&self, label: &str) -> Result<u64> {
        let inner = self.read();
        inner.rollout.labels.get(label).copied().ok_or_else(|| {
            let message = format!("Unrecognized servable version label: {label}");
            ServeError::new(Code::InvalidArgument, message)
        })
    }
}
