//! The models that are served: loading before unloading, versions by number, label or weight.

mod model;
mod source;
mod triton;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::error::{Code, Result, ServeError};
use crate::metrics::{Metrics, Pick};
use crate::rollout::{Rollout, RolloutFile, sticky_place, unit};
use crate::servable::{Servable, ServableOptions};
use model::Model;

pub use model::{ModelConfig, VersionStatus};
pub use source::VersionPolicy;

/// Which version a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one that the rollout gives it, or the newest.
    Default,
    /// The one of this number.
    Version(u64),
    /// The one of this label.
    Label(String),
}

/// What a request is for, resolved.
#[derive(Debug, Clone)]
pub struct Target {
    /// The version that answers.
    pub servable: Arc<Servable>,
    /// A version that is to see a copy, with the largest difference that counts as agreement.
    pub shadow: Option<(Arc<Servable>, f64)>,
}

/// The models that are served.
pub struct Registry {
    models: RwLock<BTreeMap<String, Arc<Model>>>,
    options: ServableOptions,
    metrics: Arc<Metrics>,
    root: Option<PathBuf>,
    rollouts: Option<RolloutFile>,
    /// Rollouts of models for which the file has none.
    usual: BTreeMap<String, Rollout>,
    /// Changes are made one at a time.
    change: Mutex<()>,
    draws: AtomicU64,
}

impl Registry {
    /// A registry without models. `rollout_file` keeps what is decided about rollouts; those that
    /// it has apply when their models come.
    pub fn new(
        options: ServableOptions,
        metrics: Arc<Metrics>,
        rollout_file: Option<PathBuf>,
    ) -> Registry {
        let seed = crate::clock::system_now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |time| time.as_nanos() as u64);
        Registry {
            models: RwLock::default(),
            options,
            metrics,
            root: None,
            rollouts: rollout_file.map(RolloutFile::new),
            usual: BTreeMap::new(),
            change: Mutex::new(()),
            draws: AtomicU64::new(seed),
        }
    }

    /// Serves every model of a folder, `NAME/VERSION/model.onnx`, also those that come later.
    #[must_use]
    pub fn with_root(mut self, root: PathBuf) -> Registry {
        self.root = Some(root);
        self
    }

    /// Shares out a model's requests so, where the rollout file says nothing else.
    #[must_use]
    pub fn with_rollout(mut self, model: &str, rollout: Rollout) -> Registry {
        self.usual.insert(model.to_owned(), rollout);
        self
    }

    /// The metrics of its models.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Serves exactly these models (and those of the root folder): loads what is new, unloads what
    /// is not among them. Failures of single versions are found in [`Registry::status`].
    ///
    /// # Errors
    /// When two models have one name, or rollouts cannot be read.
    pub fn configure(&self, configs: Vec<ModelConfig>) -> Result<()> {
        let guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let rollouts = self.decided()?;
        let mut wanted = BTreeMap::new();
        for config in configs {
            if let Some(twice) = wanted.insert(config.name.clone(), config) {
                let message = format!("two models have the name '{}'", twice.name);
                return Err(ServeError::invalid(message));
            }
        }
        for (name, path) in self.found()? {
            let new = || ModelConfig::new(name.clone(), path);
            wanted.entry(name.clone()).or_insert_with(new);
        }
        let mut gone = Vec::new();
        {
            let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
            models.retain(|name, model| {
                let stays = wanted.contains_key(name);
                if !stays {
                    gone.push(Arc::clone(model));
                }
                stays
            });
            for (name, config) in wanted {
                if let Some(model) = models.get(&name) {
                    model.set_config(config);
                } else {
                    let rollout = rollouts.get(&name).cloned().unwrap_or_default();
                    models.insert(name, Arc::new(Model::new(config, rollout)));
                }
            }
        }
        for model in gone {
            model.close(&self.metrics);
        }
        drop(guard);
        self.poll();
        Ok(())
    }

    /// Rollouts by model: as decided while a server ran, else as configured.
    fn decided(&self) -> Result<BTreeMap<String, Rollout>> {
        let mut rollouts = self.usual.clone();
        if let Some(file) = &self.rollouts {
            rollouts.extend(file.read()?);
        }
        Ok(rollouts)
    }

    fn found(&self) -> Result<BTreeMap<String, PathBuf>> {
        let root = self.root.as_deref();
        Ok(root.map(source::models_at).transpose()?.unwrap_or_default())
    }

    /// Looks at the disk again: loads versions that came, unloads those that went. Call it from a
    /// thread that may wait.
    pub fn poll(&self) {
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        // A folder that cannot be read now leaves everything as it is.
        for (name, path) in self.found().unwrap_or_default() {
            let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
            models.entry(name.clone()).or_insert_with(|| {
                let rollout = self.decided().unwrap_or_default().remove(&name);
                Arc::new(Model::new(
                    ModelConfig::new(name, path),
                    rollout.unwrap_or_default(),
                ))
            });
        }
        for model in self.all() {
            // The same: what cannot be read now is served as it was.
            let _ = model.reconcile(&self.options, &self.metrics);
        }
    }

    fn all(&self) -> Vec<Arc<Model>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.values().cloned().collect()
    }

    fn model(&self, name: &str) -> Result<Arc<Model>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.get(name).cloned().ok_or_else(|| {
            let message = format!("Servable not found for request: Latest({name})");
            ServeError::new(Code::NotFound, message)
        })
    }

    /// Names of the models.
    pub fn names(&self) -> Vec<String> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.keys().cloned().collect()
    }

    /// Whether a model has a version that takes requests.
    pub fn is_model_ready(&self, name: &str) -> bool {
        self.model(name)
            .is_ok_and(|model| !model.ready().is_empty())
    }

    /// How long a version that takes requests took to load.
    pub fn load_time(&self, name: &str, version: u64) -> Option<std::time::Duration> {
        let servable = self.model(name).ok()?.servable(version)?;
        Some(servable.load_time())
    }

    /// Whether every model that should be served has a version that is ready.
    pub fn is_ready(&self) -> bool {
        self.all().iter().all(|model| !model.ready().is_empty())
    }

    /// The versions of a model and where each is in its life.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn status(&self, name: &str) -> Result<Vec<VersionStatus>> {
        let missing = |_| {
            let message = format!("Could not find any versions of model {name}");
            ServeError::new(Code::NotFound, message)
        };
        self.model(name)
            .map(|model| model.status())
            .map_err(missing)
    }

    /// How a model is served.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn config(&self, name: &str) -> Result<ModelConfig> {
        self.model(name).map(|model| model.config())
    }

    /// How a model's requests are shared out.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn rollout(&self, name: &str) -> Result<Rollout> {
        self.model(name)
            .map(|model| model.rollout().as_ref().clone())
    }

    /// Changes how a model's requests are shared out, on disk first.
    ///
    /// # Errors
    /// When there is no such model, the rollout makes no sense, names versions that are not ready,
    /// or cannot be written.
    pub fn set_rollout(&self, name: &str, rollout: Rollout) -> Result<()> {
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        rollout.check()?;
        let model = self.model(name)?;
        let ready = model.ready();
        let weighted = rollout.weights.iter().filter(|(_, weight)| **weight > 0);
        let named = weighted.map(|(version, _)| version);
        let named = named
            .chain(rollout.labels.values())
            .chain(rollout.shadow.iter().map(|shadow| &shadow.version));
        if let Some(missing) = named.into_iter().find(|version| !ready.contains(version)) {
            let message = format!(
                "version {missing} of '{name}' is not ready; hint: load it first; ready are {ready:?}"
            );
            return Err(ServeError::new(Code::FailedPrecondition, message));
        }
        if let Some(file) = &self.rollouts {
            let mut rollouts = file.read()?;
            rollouts.insert(name.to_owned(), rollout.clone());
            file.write(&rollouts)?;
        }
        model.set_rollout(rollout);
        Ok(())
    }

    /// Loads a model's versions, one of the root folder also when it is new.
    ///
    /// # Errors
    /// When there is no such model, or none of its versions could be loaded.
    pub fn load(&self, name: &str) -> Result<()> {
        if self.model(name).is_err() {
            self.poll();
        }
        let model = self.model(name)?;
        model.set_wanted(true);
        let guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        model.reconcile(&self.options, &self.metrics)?;
        drop(guard);
        if !model.ready().is_empty() {
            return Ok(());
        }
        let failed = model
            .status()
            .into_iter()
            .rev()
            .find_map(|status| status.error);
        Err(failed.unwrap_or_else(|| {
            let message = format!("model '{name}' has no versions to load");
            ServeError::new(Code::NotFound, message)
        }))
    }

    /// Unloads a model's versions; [`Registry::load`] brings them back.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn unload(&self, name: &str) -> Result<()> {
        let model = self.model(name)?;
        model.set_wanted(false);
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        model.reconcile(&self.options, &self.metrics)
    }

    /// The version that a request is for. `sticky` ties requests with the same key to one version
    /// for as long as the rollout stays.
    ///
    /// # Errors
    /// When there is no such model, version or label, or none is ready.
    pub fn resolve(&self, name: &str, selector: &Selector, sticky: Option<&str>) -> Result<Target> {
        let model = self.model(name)?;
        let number = match selector {
            Selector::Default => return self.by_rollout(name, &model, sticky),
            Selector::Version(number) => *number,
            Selector::Label(label) => model.labelled(label)?,
        };
        let missing = || {
            let message = format!("Servable not found for request: Specific({name}, {number})");
            ServeError::new(Code::NotFound, message)
        };
        let servable = model.servable(number).ok_or_else(missing)?;
        servable.metrics().pick(match selector {
            Selector::Label(_) => Pick::Label,
            _ => Pick::Version,
        });
        Ok(Target {
            servable,
            shadow: None,
        })
    }

    fn by_rollout(&self, name: &str, model: &Model, sticky: Option<&str>) -> Result<Target> {
        let rollout = model.rollout();
        let place = match sticky {
            Some(key) => sticky_place(name, key),
            None => unit(self.draw()),
        };
        // A version may begin to unload between the choice and the taking: then choose again.
        for _ in 0..8 {
            let Some(number) = rollout.pick(&model.ready(), place) else {
                break;
            };
            let Some(servable) = model.servable(number) else {
                continue;
            };
            servable
                .metrics()
                .pick(match (rollout.weights.is_empty(), sticky) {
                    (true, _) => Pick::Default,
                    (false, Some(_)) => Pick::Sticky,
                    (false, None) => Pick::Weight,
                });
            let shadow = self.shadow(model, &rollout, number);
            return Ok(Target { servable, shadow });
        }
        let message = format!("Servable not found for request: Latest({name})");
        Err(ServeError::new(Code::NotFound, message))
    }

    fn shadow(
        &self,
        model: &Model,
        rollout: &Rollout,
        champion: u64,
    ) -> Option<(Arc<Servable>, f64)> {
        let shadow = rollout.shadow.as_ref()?;
        if shadow.version == champion || unit(self.draw()) >= shadow.fraction {
            return None;
        }
        Some((model.servable(shadow.version)?, shadow.tolerance))
    }

    /// 64 random bits: SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self
            .draws
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Unloads everything, after what runs has ended.
    pub fn close(&self) {
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        for model in self.all() {
            model.close(&self.metrics);
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("models", &self.names())
            .finish_non_exhaustive()
    }
}
