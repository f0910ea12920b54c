//! From a path to a batch: readers, validation, splits, scaling, augmentation and loaders.
//!
//! [`read`] finds out what a path holds (IDX, NPY/NPZ, CSV, a folder of images by class) and gives
//! [`Dataset`]s: raw values in memory, never changed afterwards. [`View`]s select rows without
//! copying, [`Scaling`] is fitted on the training view only and gives numbers for the model's own
//! graph to apply, and [`Batches`] gathers raw rows as `f32` into buffers that the caller owns.
//!
//! Invariants: a data set's inputs and targets always agree in number and every class id has a
//! name; everything random is a function of (seed, epoch, sample) and of nothing else; no file is
//! ever written; no memory is taken in proportion to a number that a
//! file merely claims; no panic on input.

mod arrays;
mod augment;
mod batches;
mod dataset;
mod digits;
mod error;
mod hash;
mod impute;
mod inputs;
mod limits;
pub mod npy;
mod read;
mod scaling;
mod schema;
mod split;
mod validate;
mod view;

pub use augment::{Augmentation, MAX_AUGMENTATIONS};
pub use batches::{BatchOptions, Batches, Cursor, PADDING_LABEL};
pub use dataset::{Dataset, DatasetParts, Kind, Target};
pub use digits::{DIGITS_ATTRIBUTION, digits};
pub use error::{DataError, Result};
pub use impute::{ImputeReport, ImputedColumn, impute};
pub use inputs::{InputSpec, Inputs, image_from_bytes, read_inputs};
pub use limits::Limits;
pub use read::{
    Color, CsvOptions, ImageOptions, Layout, Loaded, ReadOptions, ReadReport, TargetKind, read,
};
pub use scaling::{Affine, Scaling};
pub use schema::{Column, ColumnKind, TableSchema};
pub use validate::{
    CrossReport, Finding, Location, PartReport, Severity, ValidationReport, validate,
    validate_parts,
};
pub use view::View;
