use std::sync::{Arc, OnceLock};

use sardonyx_tensor::{DType, Data, Tensor, element_count};

use crate::error::{DataError, Result};
use crate::hash;
use crate::schema::TableSchema;
use crate::view::View;

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A picture; inputs are `[N, channels, height, width]`.
    Image {
        /// Colour channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
    },
    /// A row of numbers; inputs are `[N, features]`.
    Table {
        /// Numbers in a row.
        features: usize,
    },
}

impl Kind {
    /// Shape of one sample, without the batch.
    pub fn sample_shape(self) -> Vec<usize> {
        match self {
            Kind::Image {
                channels,
                height,
                width,
            } => vec![channels, height, width],
            Kind::Table { features } => vec![features],
        }
    }

    /// Numbers in one sample.
    pub fn sample_len(self) -> usize {
        match self {
            Kind::Image {
                channels,
                height,
                width,
            } => channels * height * width,
            Kind::Table { features } => features,
        }
    }

    /// Groups of numbers that scaling treats alike: an image's channels, a table's columns.
    pub fn channels(self) -> usize {
        match self {
            Kind::Image { channels, .. } => channels,
            Kind::Table { features } => features,
        }
    }
}

/// What is to be learned, one entry for each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Class ids, each an index into the class names.
    Classes(Vec<u32>),
    /// Numbers (regression).
    Values(Vec<f32>),
}

impl Target {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Target::Classes(ids) => ids.len(),
            Target::Values(values) => values.len(),
        }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a [`Dataset`] is made of.
#[derive(Debug, Clone)]
pub struct DatasetParts {
    /// Raw inputs: `[N, C, H, W]` of `u8` or `f32`, or `[N, F]` of `f32`.
    pub x: Tensor,
    /// Targets.
    pub target: Target,
    /// Name of each class; empty for regression.
    pub class_names: Vec<String>,
    /// What a table's features are; `None` for images.
    pub schema: Option<TableSchema>,
    /// The range that raw values are known to lie in by the format's definition: (0, 255) for
    /// pixels of 8 bits. `None` when only the data can tell.
    pub nominal_range: Option<(f32, f32)>,
    /// Where the data came from, for messages and reports.
    pub source: String,
}

/// Samples in memory, with their targets and names; immutable, and cheap to clone (shared).
#[derive(Debug, Clone)]
pub struct Dataset(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    parts: DatasetParts,
    feature_names: Vec<String>,
    hash: OnceLock<[u8; 32]>,
}

impl Dataset {
    /// Checks the parts against each other and takes them.
    ///
    /// # Errors
    /// When the inputs have another rank or element type than the above, inputs and targets differ
    /// in number, a class id has no name, a schema does not have as many features as the inputs,
    /// or there is no class name.
    pub fn new(parts: DatasetParts) -> Result<Dataset> {
        let kind = kind_of(&parts)?;
        let n_inputs = parts.x.shape()[0];
        if n_inputs != parts.target.len() {
            return Err(DataError::Count {
                source_name: parts.source,
                n_inputs,
                n_targets: parts.target.len(),
            });
        }
        check_classes(&parts)?;
        let feature_names = match (&parts.schema, kind) {
            (Some(schema), Kind::Table { features }) => {
                if schema.width() != features {
                    return Err(DataError::shape(
                        &parts.source,
                        format!(
                            "the schema describes {} features, the inputs have {features}",
                            schema.width()
                        ),
                        "one column of the inputs for each feature",
                    ));
                }
                schema.feature_names()
            }
            (None, Kind::Table { features }) => (0..features).map(|i| format!("x{i}")).collect(),
            (_, Kind::Image { .. }) => Vec::new(),
        };
        Ok(Dataset(Arc::new(Inner {
            kind,
            parts,
            feature_names,
            hash: OnceLock::new(),
        })))
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.0.parts.target.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a sample is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Raw inputs, `[N, C, H, W]` or `[N, F]`.
    pub fn x(&self) -> &Tensor {
        &self.0.parts.x
    }

    /// Targets.
    pub fn target(&self) -> &Target {
        &self.0.parts.target
    }

    /// Class ids; `None` for regression.
    pub fn labels(&self) -> Option<&[u32]> {
        match self.target() {
            Target::Classes(ids) => Some(ids),
            Target::Values(_) => None,
        }
    }

    /// Class names; empty for regression.
    pub fn class_names(&self) -> &[String] {
        &self.0.parts.class_names
    }

    /// Number of classes; 0 for regression.
    pub fn n_classes(&self) -> usize {
        self.0.parts.class_names.len()
    }

    /// Names of a table's features; empty for images.
    pub fn feature_names(&self) -> &[String] {
        &self.0.feature_names
    }

    /// What a table's columns mean, when the data came with columns.
    pub fn schema(&self) -> Option<&TableSchema> {
        self.0.parts.schema.as_ref()
    }

    /// The range that the format defines for raw values.
    pub fn nominal_range(&self) -> Option<(f32, f32)> {
        self.0.parts.nominal_range
    }

    /// Where the data came from.
    pub fn source(&self) -> &str {
        &self.0.parts.source
    }

    /// A copy of the parts, to make another data set from.
    pub fn to_parts(&self) -> DatasetParts {
        self.0.parts.clone()
    }

    /// The parts without the inputs, which may be large.
    pub(crate) fn parts_without_x(&self) -> DatasetParts {
        let parts = &self.0.parts;
        DatasetParts {
            x: Tensor::vector(Vec::<f32>::new()),
            target: parts.target.clone(),
            class_names: parts.class_names.clone(),
            schema: parts.schema.clone(),
            nominal_range: parts.nominal_range,
            source: parts.source.clone(),
        }
    }

    /// Whether both are handles of the same data.
    pub(crate) fn is_same(&self, other: &Dataset) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All samples, in order.
    pub fn view(&self) -> View {
        View::all(self)
    }

    /// SHA-256 of shape, element type, inputs, targets, class names and feature names. It does not
    /// depend on the file format or the machine. Computed at the first call.
    pub fn content_hash(&self) -> [u8; 32] {
        *self.0.hash.get_or_init(|| hash::content(self))
    }

    /// [`Dataset::content_hash`] in hexadecimal.
    pub fn content_hash_hex(&self) -> String {
        use std::fmt::Write as _;
        self.content_hash()
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a string does not fail");
                text
            })
    }

    /// Writes sample `row` as `f32` into `out`, which must have exactly the sample's length.
    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        let len = self.kind().sample_len();
        assert_eq!(out.len(), len, "a row buffer has the sample's length");
        let range = row * len..(row + 1) * len;
        match self.x().data() {
            Data::U8(values) => {
                for (out, &value) in out.iter_mut().zip(&values[range]) {
                    *out = f32::from(value);
                }
            }
            Data::F32(values) => out.copy_from_slice(&values[range]),
            _ => unreachable!("the constructor admits u8 and f32 only"),
        }
    }
}

fn kind_of(parts: &DatasetParts) -> Result<Kind> {
    let (shape, dtype) = (parts.x.shape(), parts.x.dtype());
    let sample_len = element_count(shape.get(1..).unwrap_or_default())?;
    let kind = match *shape {
        [_, channels, height, width] if sample_len > 0 => Kind::Image {
            channels,
            height,
            width,
        },
        [_, features] if features > 0 => Kind::Table { features },
        _ => {
            return Err(DataError::shape(
                &parts.source,
                format!("inputs of shape {shape:?} are neither images nor rows of numbers"),
                "[N, C, H, W] for images, [N, F] for tables, no dimension but N zero",
            ));
        }
    };
    let fits = match kind {
        Kind::Image { .. } => matches!(dtype, DType::U8 | DType::F32),
        Kind::Table { .. } => dtype == DType::F32,
    };
    if fits {
        return Ok(kind);
    }
    Err(DataError::shape(
        &parts.source,
        format!("inputs of element type {dtype}"),
        "u8 or f32 for images, f32 for tables",
    ))
}

fn check_classes(parts: &DatasetParts) -> Result<()> {
    let n_classes = parts.class_names.len();
    let Target::Classes(ids) = &parts.target else {
        return Ok(());
    };
    match ids.iter().position(|&id| id as usize >= n_classes) {
        None => Ok(()),
        Some(row) => Err(DataError::Label {
            source_name: parts.source.clone(),
            row,
            label: ids[row],
            n_classes,
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A table of one feature, its values 0, 1, 2, ..., with these class ids.
    pub(crate) fn table(labels: &[u32], n_classes: usize) -> Dataset {
        Dataset::new(DatasetParts {
            x: Tensor::from_fn([labels.len(), 1], |i| i as f32).expect("small"),
            target: Target::Classes(labels.to_vec()),
            class_names: (0..n_classes).map(|i| i.to_string()).collect(),
            schema: None,
            nominal_range: None,
            source: "test".into(),
        })
        .expect("consistent parts")
    }

    fn error(parts: DatasetParts) -> String {
        Dataset::new(parts)
            .expect_err("inconsistent parts")
            .to_string()
    }

    #[test]
    fn parts_must_agree() {
        let good = table(&[0, 1, 2], 3).to_parts();
        assert_eq!(
            error(DatasetParts {
                target: Target::Classes(vec![0, 1]),
                ..good.clone()
            }),
            "test: 3 inputs but 2 targets; \
             hint: both must have one entry for each sample, in the same order"
        );
        assert_eq!(
            error(DatasetParts {
                target: Target::Classes(vec![0, 3, 1]),
                ..good.clone()
            }),
            "test: sample 1 has class id 3, but there are 3 classes; \
             hint: class ids start at 0 and each needs a name"
        );
        for x in [
            Tensor::vector(vec![1f32; 3]),
            Tensor::new([3, 1], vec![1f64; 3]).expect("small"),
            Tensor::new([3, 0], Vec::<f32>::new()).expect("small"),
        ] {
            error(DatasetParts { x, ..good.clone() });
        }
        error(DatasetParts {
            schema: Some(TableSchema::default()),
            ..good
        });
    }

    #[test]
    fn the_hash_is_of_the_content_only() {
        let one = table(&[0, 1, 2], 3);
        let other_source = Dataset::new(DatasetParts {
            source: "elsewhere".into(),
            ..one.to_parts()
        })
        .expect("consistent parts");
        assert_eq!(one.content_hash(), other_source.content_hash());
        assert_ne!(one.content_hash(), table(&[0, 2, 1], 3).content_hash());
        assert_ne!(one.content_hash(), table(&[0, 1, 2], 4).content_hash());
        assert_eq!(one.content_hash_hex().len(), 64);
    }
}
