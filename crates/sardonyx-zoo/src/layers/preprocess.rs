//! Preprocessing as nodes of the model, so that what is saved takes raw data and nobody who serves
//! it has to know how it was trained.

use sardonyx_ir::{Attr, Dim, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::{Layer, Result, Scope, ZooError};

/// Element type number of `FLOAT` in ONNX's `TensorProto.DataType`.
const ONNX_FLOAT: i64 = 1;

/// `(x - mean) / std` by channel (axis 1 of images, the last axis otherwise), the two vectors
/// being constants that training leaves alone. Integers become `f32` first.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalize {
    /// Mean of each channel, in the units of the raw data; one entry stands for all channels.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, none zero; as many as means.
    pub std: Vec<f32>,
}

impl Layer for Normalize {
    fn kind(&self) -> &'static str {
        "normalize"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let shape = scope.shape(input)?;
        let channels = match shape.len() {
            4 => shape.get(1),
            _ => shape.last(),
        };
        let channels = channels.and_then(Dim::value);
        if let Err(problem) = self.check(channels) {
            return Err(scope.problem(&[input], problem));
        }
        let input = to_float(scope, input)?;
        let dims = self.dims(&shape);
        let mean = constant(scope, "mean", &dims, &self.mean)?;
        let std = constant(scope, "std", &dims, &self.std)?;
        let centred = scope.node(("centred", "Sub"), &[Some(input), Some(mean)], &[])?;
        scope.node(("", "Div"), &[Some(centred), Some(std)], &[])
    }
}

impl Normalize {
    fn check(&self, channels: Option<usize>) -> Result<(), String> {
        let (means, stds) = (self.mean.len(), self.std.len());
        if means != stds || !(means == 1 || Some(means) == channels) {
            let channels = channels.map_or("an unknown number of".to_owned(), |n| n.to_string());
            return Err(format!(
                "{means} means and {stds} standard deviations for {channels} channels"
            ));
        }
        if let Some(bad) = self.mean.iter().position(|mean| !mean.is_finite()) {
            return Err(format!("the mean of channel {bad} is {}", self.mean[bad]));
        }
        let bad = self
            .std
            .iter()
            .position(|&std| !(std.is_finite() && std > 0.0));
        bad.map_or(Ok(()), |bad| {
            let std = self.std[bad];
            Err(format!(
                "the standard deviation of channel {bad} is {std}; \
                 hint: leave out a constant channel, or give it 1"
            ))
        })
    }

    /// Shape of the vectors, which makes them run along the channels.
    fn dims(&self, shape: &[Dim]) -> Vec<usize> {
        match shape.len() {
            4 => vec![self.mean.len(), 1, 1],
            _ => vec![self.mean.len()],
        }
    }
}

/// `x * scale + offset`: bytes to `[-1, 1]` by [`Rescale::SYMMETRIC_BYTES`]. Integers become `f32`
/// first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rescale {
    /// Factor.
    pub scale: f32,
    /// Added after scaling.
    pub offset: f32,
}

impl Rescale {
    /// Bytes to `[0, 1]`.
    pub const UNIT_BYTES: Rescale = Rescale {
        scale: 1.0 / 255.0,
        offset: 0.0,
    };
    /// Bytes to `[-1, 1]`.
    pub const SYMMETRIC_BYTES: Rescale = Rescale {
        scale: 2.0 / 255.0,
        offset: -1.0,
    };
}

impl Layer for Rescale {
    fn kind(&self) -> &'static str {
        "rescale"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let Rescale { scale, offset } = *self;
        if !(scale.is_finite() && offset.is_finite() && scale != 0.0) {
            let problem = format!("it cannot scale by {scale} and add {offset}");
            return Err(scope.problem(&[input], problem));
        }
        let input = to_float(scope, input)?;
        let factor = scope.constant("scale", Tensor::scalar(scale))?;
        if offset == 0.0 {
            return scope.node(("", "Mul"), &[Some(input), Some(factor)], &[]);
        }
        let term = scope.constant("offset", Tensor::scalar(offset))?;
        let scaled = scope.node(("scaled", "Mul"), &[Some(input), Some(factor)], &[])?;
        scope.node(("", "Add"), &[Some(scaled), Some(term)], &[])
    }
}

fn constant(scope: &mut Scope, suffix: &str, dims: &[usize], values: &[f32]) -> Result<ValueId> {
    let tensor = Tensor::new(dims, values.to_vec()).map_err(ZooError::from)?;
    scope.constant(suffix, tensor)
}

fn to_float(scope: &mut Scope, input: ValueId) -> Result<ValueId> {
    if scope.dtype(input)? == DType::F32 {
        return Ok(input);
    }
    let attributes = [("to", Attr::Int(ONNX_FLOAT))];
    scope.node(("float", "Cast"), &[Some(input)], &attributes)
}
