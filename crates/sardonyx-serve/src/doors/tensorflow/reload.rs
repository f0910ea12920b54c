//! `HandleReloadConfigRequest`: the models that are to be served from now on.

use sardonyx_wire::proto::model_server::{ModelConfig as Wanted, ModelServerConfig, PolicyChoice};

use super::super::Doors;
use crate::error::{Code, Result, ServeError};
use crate::registry::{ModelConfig, VersionPolicy};

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
    let models = list.config.iter().map(model_config);
    registry.configure(models.collect::<Result<_>>()?)?;
    for wanted in list
        .config
        .iter()
        .filter(|model| !model.version_labels.is_empty())
    {
        let mut rollout = registry.rollout(&wanted.name)?;
        let labels = wanted.version_labels.iter();
        let labels = labels.map(|(label, version)| Ok((label.clone(), number(*version)?)));
        rollout.labels = labels.collect::<Result<_>>()?;
        registry.set_rollout(&wanted.name, rollout)?;
    }
    let failed = list.config.iter().find_map(|wanted| {
        let versions = registry.status(&wanted.name).ok()?;
        versions.into_iter().find_map(|version| version.error)
    });
    failed.map_or(Ok(()), Err)
}

fn model_config(wanted: &Wanted) -> Result<ModelConfig> {
    if wanted.name.is_empty() || wanted.base_path.is_empty() {
        return Err(ServeError::invalid(
            "every model of the configuration needs a name and a base_path",
        ));
    }
    let mut config = ModelConfig::new(&wanted.name, &wanted.base_path);
    let policy = wanted.model_version_policy.as_ref();
    config.policy = match policy.and_then(|policy| policy.policy_choice.as_ref()) {
        None => VersionPolicy::default(),
        Some(PolicyChoice::Latest(latest)) => {
            VersionPolicy::Latest(latest.num_versions.max(1) as usize)
        }
        Some(PolicyChoice::All(_)) => VersionPolicy::All,
        Some(PolicyChoice::Specific(specific)) => {
            let versions = specific.versions.iter().map(|version| number(*version));
            VersionPolicy::Specific(versions.collect::<Result<_>>()?)
        }
    };
    Ok(config)
}

fn number(version: i64) -> Result<u64> {
    u64::try_from(version).map_err(|_| {
        ServeError::new(
            Code::InvalidArgument,
            format!("version {version} is negative"),
        )
    })
}
