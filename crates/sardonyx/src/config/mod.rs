//! The configuration of a training run: one TOML file, `key=value` on top of it, a default for
//! everything but the data.
//!
//! [`TrainConfig`] is the plain result. [`TrainConfig::load`] builds it in layers (defaults, file,
//! overrides) that remember where each setting came from, so that a mistake is reported with file,
//! line and column, or with the argument that made it. [`KEYS`] is the one table of all keys: it
//! drives the checks, the short names, the comments of [`TrainConfig::render`].

mod check;
mod keys;
mod layers;
mod overrides;
mod render;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::path::{Path, PathBuf};

use sardonyx_data::{Augmentation, Scaling};
use sardonyx_train::{EarlyStopConfig, LossConfig, OptimizerConfig, Schedule};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use keys::{KEYS, Key, Kind};
pub use values::{ImageSize, Portion};

/// Everything that decides a training run. The same configuration, data and version give the same
/// model to the bit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Where the samples come from.
    pub data: DataConfig,
    /// What happens to a sample before the first layer.
    pub preprocess: PreprocessConfig,
    /// What is trained.
    pub model: ModelConfig,
    /// How it is trained.
    pub train: LoopConfig,
    /// What the run is called and where it lies.
    pub run: RunConfig,
}

/// Where the samples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A folder or file in any format of [`sardonyx_data::read`], or `digits` for the embedded
    /// data set.
    pub train: String,
    /// Column of the classes, of a table; the last one when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Validation data; a share is taken from the training data by class.
    pub val: Portion,
    /// Test data; `None` takes the part of the source that is kept apart for it, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Portion>,
    /// Columns to leave out, of a table.
    pub drop: Vec<String>,
    /// Columns of numbers that are categories all the same, of a table.
    pub categorical: Vec<String>,
    /// Names of the classes 0, 1, ... of data that has numbers only; empty when the data names
    /// them.
    pub classes: Vec<String>,
    /// Form of the images.
    pub image: ImageConfig,
}

/// Form of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConfig {
    /// Size that image files are brought to; `None` when all have one size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ImageSize>,
    /// Channels that image files are read into.
    pub color: ColorConfig,
}

/// Channels that image files are read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorConfig {
    /// Grey when every file is, else RGB.
    #[default]
    Auto,
    /// One channel.
    Gray,
    /// Three channels.
    Rgb,
}

/// What happens to a sample before the first layer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreprocessConfig {
    /// Scaling, which becomes part of the saved model; when `None`, to \[-1, 1\], unless the model
    /// has one from an earlier training.
    #[serde(with = "values::scaling", skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scaling>,
    /// Random changes of training images, in this order.
    #[serde(with = "values::augmentations")]
    pub augment: Vec<Augmentation>,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Name of a network of the zoo, or path of an ONNX file; `seed-cnn` for images and `mlp` for
    /// rows when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
}

/// How it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoopConfig {
    /// Passes over the training data.
    pub epochs: u64,
    /// Samples of a step.
    pub batch: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads; 0 takes every core. The result does not depend on it.
    pub threads: u64,
    /// Steps between checkpoints besides those at the end of each epoch; 0 makes none.
    pub checkpoint_every: u64,
    /// What is minimised.
    pub loss: LossConfig,
    /// How weights move.
    pub optimizer: OptimizerConfig,
    /// Largest norm of all gradients together; larger ones are scaled down to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// When to stop before the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStopConfig>,
}

/// What the run is called and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run's folder, which must be free; made of data and model, with a number, when
    /// `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Folder of the runs.
    pub dir: PathBuf,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            train: String::new(),
            target: None,
            val: Portion::Share(0.1),
            test: None,
            drop: Vec::new(),
            categorical: Vec::new(),
            classes: Vec::new(),
            image: ImageConfig::default(),
        }
    }
}

impl Default for LoopConfig {
    fn default() -> Self {
        LoopConfig {
            epochs: 10,
            batch: 128,
            seed: 0,
            threads: 0,
            checkpoint_every: 0,
            loss: LossConfig::default(),
            optimizer: OptimizerConfig::default(),
            clip_norm: None,
            schedule: Schedule::default(),
            early_stop: None,
        }
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        RunConfig {
            name: None,
            dir: PathBuf::from("runs"),
        }
    }
}

impl TrainConfig {
    /// Name of the embedded data set as a value of `data.train`.
    pub const DIGITS: &'static str = "digits";

    /// The configuration of a file, if any, with `overrides` (`key=value`) on top. Settings are
    /// checked each for itself and against each other; whether files are there is not looked at.
    ///
    /// # Errors
    /// When the file cannot be read, and for the first setting that is unknown, of the wrong type
    /// or out of range, with the place where it was made.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<TrainConfig> {
        let text = file.map(source::read).transpose()?;
        let file = file.map(|path| path.display().to_string());
        TrainConfig::from_layers(file.as_deref().zip(text.as_deref()), overrides)
    }

    /// The configuration that arguments of a command line make: at most one file, and `key=value`.
    ///
    /// # Errors
    /// As [`TrainConfig::load`], or when there is more than one file.
    pub fn from_arguments(arguments: &[String]) -> Result<TrainConfig> {
        let is_setting = |argument: &&String| argument.contains('=');
        let (overrides, files): (Vec<&String>, Vec<&String>) =
            arguments.iter().partition(is_setting);
        if let [first, second, ..] = &files[..] {
            let problem =
                format!("`{first}` is the configuration file already; hint: write key=value");
            return Err(Error::config(format!("argument `{second}`"), problem));
        }
        let overrides: Vec<String> = overrides.into_iter().cloned().collect();
        TrainConfig::load(files.first().map(Path::new), &overrides)
    }

    /// The configuration of a TOML text; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`TrainConfig::load`].
    pub fn parse(name: &str, text: &str) -> Result<TrainConfig> {
        TrainConfig::from_layers(Some((name, text)), &[])
    }

    fn from_layers(file: Option<(&str, &str)>, overrides: &[String]) -> Result<TrainConfig> {
        let mut layers = layers::Layers::defaults();
        if let Some((name, text)) = file {
            layers.add(source::settings(name, text)?)?;
        }
        layers.add(overrides::settings(overrides)?)?;
        layers.finish()
    }

    /// Fails unless the configuration names its data.
    ///
    /// # Errors
    /// When `data.train` is empty.
    pub fn require_data(&self) -> Result<()> {
        if self.data.train.is_empty() {
            return Err(Error::config(
                "data.train",
                "no data is given; hint: `data=FOLDER`, or `data=digits` for the embedded digits",
            ));
        }
        Ok(())
    }
}
