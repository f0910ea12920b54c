//! Everything that a program around training needs: `use sardonyx::prelude::*;`.

pub use sardonyx_data::{Augmentation, Dataset, ReadOptions, Scaling, View, digits, read};
pub use sardonyx_ir::Graph;
pub use sardonyx_model::{load, save};
pub use sardonyx_train::{
    Adam, AdamW, Batch, EarlyStopConfig, Event, Flow, LossConfig, Outcome, Pool, Run, Schedule,
    Sgd, Splits, StepOptions, TrainState, Trainer, evaluate, predict,
};
pub use sardonyx_zoo::{Input, Model, Seed, zoo};
