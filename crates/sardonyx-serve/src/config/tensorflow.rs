//! TensorFlow Serving's `models.config`, in protobuf's text format.

use std::path::Path;

use sardonyx_wire::proto::model_server::{ModelConfig as Wanted, ModelServerConfig, PolicyChoice};

use super::{ServeConfig, from_folder};
use crate::error::{Result, ServeError, invalid};
use crate::registry::{ModelConfig, VersionPolicy};
use crate::rollout::Rollout;

/// Reads the text of a file in `folder`.
pub(super) fn read(text: &str, folder: &Path) -> Result<ServeConfig> {
    let parsed: ModelServerConfig =
        sardonyx_wire::text::model_server_config(text).map_err(invalid)?;
    let list = parsed.model_config_list.unwrap_or_default();
    let mut config = ServeConfig::default();
    for wanted in &list.config {
        let (mut model, rollout) = model_config(wanted)?;
        model.path = from_folder(folder, &model.path);
        if rollout != Rollout::default() {
            config.rollouts.push((model.name.clone(), rollout));
        }
        let logging = wanted.logging_config.as_ref();
        if let Some(sampling) = logging.and_then(|logging| logging.sampling_config.as_ref()) {
            config
                .log_fractions
                .insert(model.name.clone(), sampling.sampling_rate);
        }
        config.models.push(model);
    }
    Ok(config)
}

/// A model as TensorFlow Serving configures it, with its labels.
///
/// # Errors
/// When it has no name or place, or a version is negative.
pub(crate) fn model_config(wanted: &Wanted) -> Result<(ModelConfig, Rollout)> {
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
    let labels = wanted.version_labels.iter();
    let labels = labels.map(|(label, version)| Ok((label.clone(), number(*version)?)));
    let rollout = Rollout {
        labels: labels.collect::<Result<_>>()?,
        ..Rollout::default()
    };
    Ok((config, rollout))
}

fn number(version: i64) -> Result<u64> {
    u64::try_from(version)
        .map_err(|_| ServeError::invalid(format!("version {version} is negative")))
}
