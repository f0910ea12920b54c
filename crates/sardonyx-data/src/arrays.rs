//! From arrays (IDX, NPY, NPZ) to data sets: which array is what, layout, element types, labels.

use std::cmp::Ordering;
use std::path::PathBuf;

use sardonyx_tensor::{Data, Tensor, TensorError, element_count, map_data, strides};

use crate::dataset::{Dataset, DatasetParts, Target};
use crate::error::{DataError, Result};
use crate::read::{Layout, Loaded, ReadOptions, ReadReport, TargetKind, source};

/// What a part of the data is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    /// The role that a word of a file's or folder's name tells: `emnist-letters-test-images`.
    pub(crate) fn from_name(name: &str) -> Option<Role> {
        name.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .find_map(|word| match word {
                "train" | "training" => Some(Role::Train),
                "val" | "valid" | "validation" => Some(Role::Validation),
                "test" | "testing" | "t10k" => Some(Role::Test),
                _ => None,
            })
    }
}

/// Inputs and targets as arrays.
pub(crate) struct Pair {
    pub(crate) role: Role,
    pub(crate) x: Tensor,
    pub(crate) y: Tensor,
    /// Name of the targets' array, for messages.
    pub(crate) y_name: String,
    pub(crate) path: PathBuf,
}

/// Elements of a shape that a file claims. Stricter than a tensor's own check: next to a zero, the
/// other dimensions must make a possible size too, so that their products cannot overflow later.
pub(crate) fn claimed_count(shape: &[usize]) -> Result<usize, TensorError> {
    let not_zero: Vec<usize> = shape.iter().map(|&dim| dim.max(1)).collect();
    element_count(&not_zero)?;
    element_count(shape)
}

/// Names under which inputs and targets are commonly saved: Keras, scikit-learn, MedMNIST, numpy's
/// own for arrays without a name.
pub(crate) const NAMES: [(Role, &str, &str); 18] = [
    (Role::Train, "x_train", "y_train"),
    (Role::Train, "X_train", "y_train"),
    (Role::Train, "X_train", "Y_train"),
    (Role::Train, "train_images", "train_labels"),
    (Role::Train, "x", "y"),
    (Role::Train, "X", "y"),
    (Role::Train, "X", "Y"),
    (Role::Train, "images", "labels"),
    (Role::Train, "data", "labels"),
    (Role::Train, "data", "target"),
    (Role::Train, "arr_0", "arr_1"),
    (Role::Validation, "x_val", "y_val"),
    (Role::Validation, "X_val", "y_val"),
    (Role::Validation, "val_images", "val_labels"),
    (Role::Test, "x_test", "y_test"),
    (Role::Test, "X_test", "y_test"),
    (Role::Test, "X_test", "Y_test"),
    (Role::Test, "test_images", "test_labels"),
];

/// The first known pair of names for each role that are both there.
pub(crate) fn known_pairs(has: impl Fn(&str) -> bool) -> Vec<(Role, &'static str, &'static str)> {
    let mut found: Vec<(Role, &str, &str)> = Vec::new();
    for (role, x, y) in NAMES {
        if has(x) && has(y) && found.iter().all(|(known, ..)| *known != role) {
            found.push((role, x, y));
        }
    }
    found
}

/// Makes data sets of pairs of arrays; they share their classes.
pub(crate) fn assemble(
    pairs: Vec<Pair>,
    class_names: Option<Vec<String>>,
    options: &ReadOptions,
    format: &'static str,
) -> Result<Loaded> {
    let mut targets = Vec::with_capacity(pairs.len());
    let as_values = match options.target_kind {
        TargetKind::Classes => false,
        TargetKind::Values => true,
        TargetKind::Auto => pairs.iter().any(|pair| !is_integral(&pair.y)),
    };
    let mut n_classes = 0;
    for pair in &pairs {
        let target = if as_values {
            values(pair)?
        } else {
            classes(pair, options)?
        };
        if let Target::Classes(ids) = &target {
            n_classes = n_classes.max(ids.iter().max().map_or(0, |&id| id as usize + 1));
        }
        targets.push(target);
    }
    let class_names = match class_names {
        _ if as_values => Vec::new(),
        Some(names) => names,
        None => (0..n_classes).map(|id| id.to_string()).collect(),
    };
    let mut parts = Vec::with_capacity(pairs.len());
    for (pair, target) in pairs.into_iter().zip(targets) {
        let source = pair.path.display().to_string();
        let is_bytes = matches!(pair.x.data(), Data::U8(_));
        let x = inputs(pair.x, options, &source)?;
        let dataset = Dataset::new(DatasetParts {
            x,
            target,
            class_names: class_names.clone(),
            schema: None,
            nominal_range: is_bytes.then_some((0.0, 255.0)),
            source,
        })?;
        parts.push((pair.role, dataset));
    }
    Loaded::from_parts(parts, ReadReport::new(format))
}

/// Brings raw inputs into a data set's form: `[N, C, H, W]` of `u8` or `f32`, or `[N, F]` of `f32`.
pub(crate) fn inputs(x: Tensor, options: &ReadOptions, source: &str) -> Result<Tensor> {
    let shape = x.shape().to_vec();
    let x = match *shape {
        [n] => x.reshape([n, 1])?,
        [_, _] => x,
        [n, height, width] => x.reshape([n, 1, height, width])?,
        [_, a, _, c] => match layout(a, c, &shape, options, source)? {
            Layout::ChannelsFirst => x,
            Layout::ChannelsLast => channels_first(x)?,
        },
        _ => {
            return Err(DataError::shape(
                source,
                format!("inputs of shape {shape:?}"),
                "[N, F], [N, H, W], [N, C, H, W] or [N, H, W, C]",
            ));
        }
    };
    let x = as_images(x, options, source)?;
    if x.rank() == 4 && matches!(x.data(), Data::U8(_)) {
        return Ok(x);
    }
    to_f32(x, source)
}

fn layout(
    dim_1: usize,
    dim_3: usize,
    shape: &[usize],
    options: &ReadOptions,
    source: &str,
) -> Result<Layout> {
    if let Some(layout) = options.layout {
        return Ok(layout);
    }
    // One and three channels are common, four are rare.
    let likelihood = |dim| match dim {
        1 | 3 => 2,
        4 => 1,
        _ => 0,
    };
    match likelihood(dim_1).cmp(&likelihood(dim_3)) {
        Ordering::Greater => Ok(Layout::ChannelsFirst),
        Ordering::Less => Ok(Layout::ChannelsLast),
        Ordering::Equal => Err(DataError::shape(
            source,
            format!("in inputs of shape {shape:?} the channels may come first or last"),
            "set the layout to channels-first or channels-last",
        )),
    }
}

fn channels_first(x: Tensor) -> Result<Tensor> {
    let [n, height, width, channels] = *x.shape() else {
        unreachable!("the caller matched four dimensions");
    };
    let from = [height * width * channels, 1, width * channels, channels];
    let shape = [n, channels, height, width];
    let data = map_data!(x.into_data(), values => permute(&values, &shape, &from));
    Ok(Tensor::from_data(shape, data)?)
}

/// The elements of a row-major tensor of `shape` whose element at `coords` lies at the sum of
/// `coords * from` in `values`.
pub(crate) fn permute<T: Clone>(values: &[T], shape: &[usize], from: &[usize]) -> Vec<T> {
    assert_eq!(shape.len(), from.len(), "one stride for each dimension");
    let mut out = Vec::with_capacity(values.len());
    let Some((&inner, outer)) = shape.split_last().filter(|_| !values.is_empty()) else {
        return values.to_vec();
    };
    let inner_stride = from[outer.len()];
    let mut coords = vec![0; outer.len()];
    let n_runs = element_count(outer).expect("no larger than the tensor itself");
    for run in 0..n_runs {
        sardonyx_tensor::unravel(run, outer, &mut coords);
        let start: usize = coords.iter().zip(from).map(|(c, s)| c * s).sum();
        out.extend((0..inner).map(|i| values[start + i * inner_stride].clone()));
    }
    debug_assert_eq!(out.len(), values.len());
    out
}

/// Gives rows of numbers the shape of the images that the options describe, and checks images
/// against them.
fn as_images(x: Tensor, options: &ReadOptions, source: &str) -> Result<Tensor> {
    let Some((height, width)) = options.image.size else {
        return Ok(x);
    };
    match *x.shape() {
        [_, _, h, w] if (h, w) == (height, width) => Ok(x),
        [_, _, h, w] => Err(DataError::shape(
            source,
            format!("images of {h} x {w} pixels, {height} x {width} were asked for"),
            "arrays are not resized: leave the size out or save them in that size",
        )),
        [n, features] => {
            let area = height.saturating_mul(width);
            if area == 0 || features == 0 || !features.is_multiple_of(area) {
                return Err(DataError::shape(
                    source,
                    format!("{features} numbers do not make images of {height} x {width} pixels"),
                    "give the size that they have, or none for a table",
                ));
            }
            Ok(x.reshape([n, features / area, height, width])?)
        }
        _ => unreachable!("the caller made two or four dimensions"),
    }
}

/// Converts to `f32`; a finite number that becomes infinite is an error.
pub(crate) fn to_f32(x: Tensor, source: &str) -> Result<Tensor> {
    if matches!(x.data(), Data::F32(_)) {
        return Ok(x);
    }
    let wide = x.to_f64()?;
    let shape = x.shape().to_vec();
    drop(x);
    let mut values = Vec::with_capacity(wide.len());
    let sample_len = strides(&shape).first().copied().unwrap_or(1).max(1);
    for (index, value) in wide.into_iter().enumerate() {
        let narrow = value as f32;
        if narrow.is_infinite() && value.is_finite() {
            return Err(DataError::Values {
                source_name: source.to_owned(),
                problem: format!(
                    "{value:e} in sample {} does not fit an f32",
                    index / sample_len
                ),
                hint: "rescale or clip the values".into(),
            });
        }
        values.push(narrow);
    }
    Ok(Tensor::new(shape, values)?)
}

fn is_integral(y: &Tensor) -> bool {
    match y.data() {
        Data::F16(values) => values.iter().all(|v| v.to_f32().fract() == 0.0),
        Data::F32(values) => values.iter().all(|v| v.fract() == 0.0),
        Data::F64(values) => values.iter().all(|v| v.fract() == 0.0),
        _ => true,
    }
}

/// The targets as numbers, one for each sample.
fn flat(pair: &Pair) -> Result<Vec<f64>> {
    match *pair.y.shape() {
        [_] | [_, 1] => Ok(pair.y.to_f64()?),
        ref shape => Err(DataError::shape(
            &pair.y_name,
            format!("targets of shape {shape:?}"),
            "one number for each sample: [N] or [N, 1]",
        )),
    }
}

fn values(pair: &Pair) -> Result<Target> {
    Ok(Target::Values(
        flat(pair)?.into_iter().map(|value| value as f32).collect(),
    ))
}

fn classes(pair: &Pair, options: &ReadOptions) -> Result<Target> {
    let mut ids = Vec::with_capacity(pair.y.len());
    for (row, value) in flat(pair)?.into_iter().enumerate() {
        if !(value >= 0.0 && value.fract() == 0.0) {
            return Err(DataError::Values {
                source_name: pair.y_name.clone(),
                problem: format!("the target of sample {row} is {value}, not a class id"),
                hint: "number the classes 0, 1, 2, ...; \
                       for regression ask for targets that are values"
                    .into(),
            });
        }
        let max = options.limits.classes as u64;
        source::check(
            "a class id",
            "classes",
            &pair.path,
            value as u64,
            max.saturating_sub(1),
        )?;
        ids.push(value as u32);
    }
    Ok(Target::Classes(ids))
}
