//! `HandleReloadConfigRequest`: the models that are to be served from now on.

use sardonyx_wire::proto::model_server::ModelServerConfig;

use super::super::Doors;
use crate::config::model_config;
use crate::error::{Code, Result, ServeError};
use crate::registry::ModelConfig;

/// Serves what `config` says. Blocks until the models are loaded.
///
/// # Errors
/// When the configuration is wrong or names what is not there.
pub(super) fn reload(doors: &Doors, config: Option<ModelServerConfig>) -> Result<()> {
    let list = config.and_then(|config| config.model_config_list);
    let Some(list) = list else {
        return Err(ServeError::invalid(
            "the configuration has no model_config_list",
        ));
    };
    let registry = doors.server.registry();
    let wanted = list.config.iter().map(model_config);
    let (models, rollouts): (Vec<_>, Vec<_>) =
        wanted.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    models.iter().try_for_each(has_place)?;
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    registry.configure(models)?;
    for (name, wanted) in names.iter().zip(rollouts) {
        if !wanted.labels.is_empty() {
            let mut rollout = registry.rollout(name)?;
            rollout.labels = wanted.labels;
            registry.set_rollout(name, rollout)?;
        }
    }
    let failed = list.config.iter().find_map(|wanted| {
        let versions = registry.status(&wanted.name).ok()?;
        versions.into_iter().find_map(|version| version.error)
    });
    failed.map_or(Ok(()), Err)
}

/// Looked at before anything changes: a slip must not take away what is served.
fn has_place(model: &ModelConfig) -> Result<()> {
    let (path, name) = (&model.path, &model.name);
    std::fs::metadata(path).map(drop).map_err(|error| {
        let message = format!(
            "Could not find base path {} for servable {name}: {error}",
            path.display()
        );
        ServeError::new(Code::NotFound, message)
    })
}
