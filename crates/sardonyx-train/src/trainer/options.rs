use sardonyx_data::{Augmentation, Scaling};
use serde::{Deserialize, Serialize};

use super::measures;
use crate::early_stop::EarlyStopConfig;
use crate::error::{Result, TrainError};
use crate::loss::LossConfig;
use crate::optimizer::{OptimizerConfig, check_clip_norm};
use crate::schedule::Schedule;

/// Everything that decides what a training run does to its model. A checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Passes over the training data.
    pub epochs: u64,
    /// Samples of a step; the last one of an epoch has what is left.
    pub batch_len: usize,
    /// Seed of order, augmentation and dropout.
    pub seed: u64,
    /// What is minimised.
    pub loss: LossConfig,
    /// Who minimises it.
    pub optimizer: OptimizerConfig,
    /// Largest norm of all gradients together; larger ones are scaled down to it.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Scaling of the raw samples, which becomes part of the model. `None` takes [`Scaling`]'s
    /// default, or leaves a model alone that has a scaling from an earlier training.
    #[serde(with = "text::optional")]
    pub scaling: Option<Scaling>,
    /// Random changes of training images, in this order.
    #[serde(with = "text::list")]
    pub augment: Vec<Augmentation>,
    /// When to stop before the last epoch; its metric then chooses the best weights too.
    pub early_stop: Option<EarlyStopConfig>,
    /// The metric by which the best weights are chosen when there is no early stopping. Without
    /// validation data the last weights are kept.
    pub best_metric: String,
    /// What is measured on the validation data: names of [`super::MEASURES`].
    pub metrics: Vec<String>,
    /// Steps between checkpoints besides those at the end of each epoch; 0 for none.
    pub checkpoint_every: u64,
    /// Steps between lines of the metrics file besides those at the end of each epoch; 0 for none.
    pub log_every: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            epochs: 10,
            batch_len: 128,
            seed: 0,
            loss: LossConfig::default(),
            optimizer: OptimizerConfig::default(),
            clip_norm: None,
            schedule: Schedule::default(),
            scaling: None,
            augment: Vec::new(),
            early_stop: None,
            best_metric: "val.loss".to_owned(),
            metrics: ["accuracy", "f1_macro", "loss"].map(str::to_owned).to_vec(),
            checkpoint_every: 0,
            log_every: 0,
        }
    }
}

impl TrainOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn check(&self, has_validation: bool) -> Result<()> {
        if self.epochs == 0 || self.batch_len == 0 {
            let key = if self.epochs == 0 {
                "train.epochs"
            } else {
                "train.batch"
            };
            return Err(TrainError::config(
                key,
                "0 will not do, it must be 1 or more",
            ));
        }
        self.loss.check("train.loss")?;
        self.optimizer.check("train.optimizer")?;
        check_clip_norm("train.clip_norm", self.clip_norm)?;
        self.schedule.check("train.schedule")?;
        for name in &self.metrics {
            measures::check_name("train.metrics", name)?;
        }
        if let Schedule::Plateau(plateau) = &self.schedule {
            let key = "train.schedule.metric";
            measures::check_watched(key, &plateau.metric, has_validation)?;
        }
        match &self.early_stop {
            Some(early_stop) => {
                early_stop.check("train.early_stop")?;
                let key = "train.early_stop.metric";
                measures::check_watched(key, &early_stop.metric, has_validation)
            }
            // Without validation data the default is no mistake: nothing is chosen then.
            None => measures::check_watched("train.best_metric", &self.best_metric, true),
        }
    }

    /// The rule that chooses the best weights; `None` when the last are kept.
    pub(super) fn watch(&self, has_validation: bool) -> Option<EarlyStopConfig> {
        let by_metric = || EarlyStopConfig {
            metric: self.best_metric.clone(),
            patience: u64::MAX,
            ..EarlyStopConfig::default()
        };
        let is_measured = has_validation || !self.best_metric.starts_with("val.");
        let early_stop = self.early_stop.clone();
        early_stop.or_else(|| is_measured.then(by_metric))
    }
}

/// Settings that are written as texts.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    fn parse<T: FromStr<Err: Display>, E: serde::de::Error>(text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    pub(super) mod optional {
        use super::*;

        pub(in super::super) fn serialize<T: Display, S: Serializer>(
            value: &Option<T>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => serializer.collect_str(value),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            let text = Option::<String>::deserialize(from)?;
            text.as_deref().map(parse::<T, D::Error>).transpose()
        }
    }

    pub(super) mod list {
        use super::*;

        pub(in super::super) fn serialize<T: Display, S: Serializer>(
            values: &[T],
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(values.iter().map(ToString::to_string))
        }

        pub(in super::super) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            let texts = Vec::<String>::deserialize(from)?;
            texts
                .iter()
                .map(|text| parse::<T, D::Error>(text))
                .collect()
        }
    }
}
