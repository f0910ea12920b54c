use std::path::Path;

use sardonyx_tensor::{Tensor, element_count};

use crate::arrays;
use crate::dataset::Kind;
use crate::error::{DataError, Result};
use crate::limits::Limits;
use crate::npy;
use crate::read::picture::{self, PictureForm};
use crate::read::source::Source;
use crate::read::{ImageOptions, Layout, ReadOptions, table};
use crate::schema::TableSchema;

/// What a model takes, for [`read_inputs`].
#[derive(Debug, Clone, PartialEq)]
pub enum InputSpec {
    /// Images.
    Image {
        /// Colour channels: 1 or 3 for image files.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
        /// Raw value of a full pixel: 255 for most models, 16 for the digits. An image file's
        /// pixels, which go to 255, are scaled to it.
        pixel_max: f32,
    },
    /// Rows of a table with these columns.
    Table(TableSchema),
    /// Rows of this many numbers.
    Features(usize),
}

/// Inputs without targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// Raw `f32` inputs, `[n, C, H, W]` or `[n, F]`.
    pub x: Tensor,
    /// Name of each input: the file, followed by the row when there is more than one.
    pub names: Vec<String>,
    /// Missing cells that were filled as the schema says.
    pub n_missing: usize,
    /// Cells whose category the schema does not have; they are zeros.
    pub n_unknown_categories: usize,
}

impl InputSpec {
    fn kind(&self) -> Kind {
        match self {
            InputSpec::Image {
                channels,
                height,
                width,
                ..
            } => Kind::Image {
                channels: *channels,
                height: *height,
                width: *width,
            },
            InputSpec::Table(schema) => Kind::Table {
                features: schema.width(),
            },
            InputSpec::Features(features) => Kind::Table {
                features: *features,
            },
        }
    }
}

/// Reads what a model is to predict for: an image file (one input, resized), a CSV file or an NPY
/// array (one or more). A single sample may come without the batch dimension.
///
/// # Errors
/// When the file is damaged or does not have the form that `spec` describes, or a limit is passed.
pub fn read_inputs(path: &Path, spec: &InputSpec, options: &ReadOptions) -> Result<Inputs> {
    let kind = spec.kind();
    let sample_shape = kind.sample_shape();
    if element_count(&sample_shape)? == 0 {
        return Err(DataError::shape(
            &path.display().to_string(),
            format!("the model takes inputs of shape {sample_shape:?}"),
            "no dimension may be zero",
        ));
    }
    let head = Source::head(path, &options.limits, 8)?;
    let (mut n_missing, mut n_unknown_categories) = (0, 0);
    let x = if picture::is_picture(&head) {
        image(path, spec, options)?
    } else if head.starts_with(npy::MAGIC) {
        array(path, kind, options)?
    } else {
        let rows = match spec {
            InputSpec::Table(schema) => table::read_rows(path, schema, options)?,
            _ => table::read_numbers(path, kind.sample_len(), options)?,
        };
        n_missing = rows.n_missing;
        n_unknown_categories = rows.n_unknown_categories;
        rows.x
    };
    let n = x.shape()[0];
    if n == 0 {
        return Err(DataError::shape(
            &path.display().to_string(),
            "there is no row to predict for",
            "give one row for each sample; a first line of text is taken for names",
        ));
    }
    let mut shape = vec![n];
    shape.extend(sample_shape);
    let file = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let names = match n {
        1 => vec![file.into_owned()],
        _ => (0..n).map(|row| format!("{file}[{row}]")).collect(),
    };
    Ok(Inputs {
        x: x.reshape(shape)?,
        names,
        n_missing,
        n_unknown_categories,
    })
}

fn image(path: &Path, spec: &InputSpec, options: &ReadOptions) -> Result<Tensor> {
    let (form, pixel_max) = picture_form(path, spec, &options.limits)?;
    let mut pixels = Vec::new();
    picture::decode_into(path, form, &options.limits, &mut pixels)?;
    to_image(form, pixel_max, &pixels)
}

/// An image as a model takes it, `[1, C, H, W]`, from the bytes of a PNG or JPEG file; `name` stands
/// for it in errors.
///
/// # Errors
/// When the bytes are damaged, the model does not take images, or a limit is passed.
pub fn image_from_bytes(
    name: &str,
    bytes: &[u8],
    spec: &InputSpec,
    limits: &Limits,
) -> Result<Tensor> {
    let name = Path::new(name);
    let (form, pixel_max) = picture_form(name, spec, limits)?;
    let mut pixels = Vec::new();
    picture::decode_bytes_into(name, bytes, form, limits, &mut pixels)?;
    to_image(form, pixel_max, &pixels)
}

/// The form of the images that a model takes, and the value of their brightest pixel.
fn picture_form(path: &Path, spec: &InputSpec, limits: &Limits) -> Result<(PictureForm, f32)> {
    let &InputSpec::Image {
        channels: channels @ (1 | 3),
        height,
        width,
        pixel_max,
    } = spec
    else {
        return Err(DataError::shape(
            &path.display().to_string(),
            format!(
                "an image, but the model takes {:?}",
                spec.kind().sample_shape()
            ),
            "image files fit models of 1 or 3 channels; give CSV rows or an NPY array",
        ));
    };
    let form = PictureForm {
        channels,
        height,
        width,
    };
    picture::check_form(path, form, limits)?;
    Ok((form, pixel_max))
}

fn to_image(form: PictureForm, pixel_max: f32, pixels: &[u8]) -> Result<Tensor> {
    let values = pixels
        .iter()
        .map(|&p| f32::from(p) * (pixel_max / 255.0))
        .collect();
    let shape = [1, form.channels, form.height, form.width];
    Ok(Tensor::new(shape, values)?)
}

/// Finds the reading of the array's dimensions that fits: a batch or a single sample, channels
/// first or last, or flat rows.
fn array(path: &Path, kind: Kind, options: &ReadOptions) -> Result<Tensor> {
    let source = path.display().to_string();
    let x = npy::read(path, &options.limits)?;
    let sample = kind.sample_shape();
    let last = match kind {
        Kind::Image {
            channels,
            height,
            width,
        } => vec![height, width, channels],
        Kind::Table { .. } => sample.clone(),
    };
    let mut options = options.clone();
    options.image = ImageOptions::default();
    let shape = x.shape().to_vec();
    let is_flat = |shape: &[usize]| shape == [kind.sample_len()];
    let is_plane = |shape: &[usize]| {
        matches!(kind, Kind::Image { channels: 1, height, width }
        if shape == [height, width])
    };
    // A batch first: a single sample only if the array cannot be one.
    let (batched, inner) = match shape.split_first() {
        Some((_, inner))
            if inner == sample || inner == last || is_flat(inner) || is_plane(inner) =>
        {
            (x, inner.to_vec())
        }
        _ if shape == sample || shape == last || is_flat(&shape) || is_plane(&shape) => {
            let mut batch = vec![1];
            batch.extend(&shape);
            (x.reshape(batch)?, shape)
        }
        _ => {
            return Err(DataError::shape(
                &source,
                format!("an array of shape {shape:?}, the model takes {sample:?}"),
                "give one sample of this shape or a batch of them",
            ));
        }
    };
    options.layout = Some(if inner == sample {
        Layout::ChannelsFirst
    } else {
        Layout::ChannelsLast
    });
    arrays::to_f32(arrays::inputs(batched, &options, &source)?, &source)
}
