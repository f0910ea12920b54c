//! The arithmetic that the normalisations share. They differ only in which elements are
//! normalised together (the groups) and which scale and bias each element gets.

use sardonyx_tensor::{Tensor, broadcast_shapes};

use crate::reference::broadcast_pairs;
use crate::{EvalCx, Result};

/// Which group and which parameter each element belongs to.
pub(crate) struct Layout {
    /// Group of each element, below `n_groups`.
    pub group: Vec<usize>,
    /// Number of groups.
    pub n_groups: usize,
    /// Whether the mean is subtracted: `false` for RMS normalisation.
    pub is_centered: bool,
}

/// What the elements of each group are normalised by.
pub(crate) struct Statistics {
    /// Mean; zero when the layout is not centered.
    pub mean: Vec<f64>,
    /// Population variance, or mean square when the layout is not centered.
    pub variance: Vec<f64>,
    count: Vec<f64>,
}

impl Layout {
    /// Groups of `len` neighbouring elements, of `count` in all.
    pub(crate) fn rows(count: usize, len: usize, is_centered: bool) -> Layout {
        Layout {
            group: (0..count).map(|index| index / len).collect(),
            n_groups: count.checked_div(len).unwrap_or(0),
            is_centered,
        }
    }

    /// A group for each channel (axis 1).
    pub(crate) fn channels(shape: &[usize]) -> Layout {
        Layout {
            group: channel_of(shape),
            n_groups: shape[1],
            is_centered: true,
        }
    }

    /// Mean and variance of each group.
    pub(crate) fn statistics(&self, x: &[f64]) -> Statistics {
        let mut count = vec![0.0; self.n_groups];
        let mut mean = vec![0.0; self.n_groups];
        let mut variance = vec![0.0; self.n_groups];
        for (x, &group) in x.iter().zip(&self.group) {
            count[group] += 1.0;
            mean[group] += if self.is_centered { x } else { &0.0 };
        }
        mean.iter_mut().zip(&count).for_each(|(sum, n)| *sum /= n);
        for (x, &group) in x.iter().zip(&self.group) {
            variance[group] += (x - mean[group]).powi(2);
        }
        variance
            .iter_mut()
            .zip(&count)
            .for_each(|(sum, n)| *sum /= n);
        Statistics {
            mean,
            variance,
            count,
        }
    }

    /// `(x - mean) / sqrt(variance + epsilon)`.
    pub(crate) fn apply(&self, x: &[f64], statistics: &Statistics, epsilon: f64) -> Vec<f64> {
        let inv_std = statistics.inv_std(epsilon);
        let unit = |(x, &group): (&f64, &usize)| (x - statistics.mean[group]) * inv_std[group];
        x.iter().zip(&self.group).map(unit).collect()
    }

    /// Gradient of the loss by `x`, given that by the normalised (and not yet scaled) elements.
    pub(crate) fn backward(&self, x: &[f64], d_unit: &[f64], epsilon: f64) -> Vec<f64> {
        let statistics = self.statistics(x);
        let unit = self.apply(x, &statistics, epsilon);
        let mut mean = vec![0.0; self.n_groups];
        let mut slope = vec![0.0; self.n_groups];
        for ((d, unit), &group) in d_unit.iter().zip(&unit).zip(&self.group) {
            let n = statistics.count[group];
            mean[group] += if self.is_centered { d / n } else { 0.0 };
            slope[group] += d * unit / n;
        }
        let inv_std = statistics.inv_std(epsilon);
        let elements = d_unit.iter().zip(&unit).zip(&self.group);
        elements
            .map(|((d, unit), &group)| inv_std[group] * (d - mean[group] - unit * slope[group]))
            .collect()
    }
}

impl Statistics {
    /// Statistics that are given instead of computed.
    pub(crate) fn given(mean: Vec<f64>, variance: Vec<f64>) -> Statistics {
        let count = Vec::new();
        Statistics {
            mean,
            variance,
            count,
        }
    }

    /// `1 / sqrt(variance + epsilon)`.
    pub(crate) fn inv_std(&self, epsilon: f64) -> Vec<f64> {
        self.variance
            .iter()
            .map(|variance| (variance + epsilon).sqrt().recip())
            .collect()
    }
}

/// Channel of each element of a tensor `[batch, channels, ..]`.
pub(crate) fn channel_of(shape: &[usize]) -> Vec<usize> {
    let inner: usize = shape[2..].iter().product();
    let count = shape.iter().product();
    (0..count)
        .map(|index: usize| index / inner % shape[1])
        .collect()
}

/// For each element of `shape` the element of a parameter broadcast to it.
pub(crate) fn broadcast_parameter(
    cx: &EvalCx<'_>,
    parameter: &[usize],
    shape: &[usize],
) -> Result<Vec<usize>> {
    if broadcast_shapes(parameter, shape)? != shape {
        let problem = format!("a parameter of shape {parameter:?} does not fit {shape:?}");
        return Err(cx.invalid(problem));
    }
    let mut indices = Vec::new();
    broadcast_pairs(parameter, shape, |index, _| indices.push(index))?;
    Ok(indices)
}

/// Multiplies each element by its scale.
pub(crate) fn scaled(values: &[f64], scale: &[f64], parameter: &[usize]) -> Vec<f64> {
    let scaled = values.iter().zip(parameter);
    scaled
        .map(|(value, &parameter)| value * scale[parameter])
        .collect()
}

/// Adds to each element its bias.
pub(crate) fn add_bias(values: &mut [f64], bias: &[f64], parameter: &[usize]) {
    values
        .iter_mut()
        .zip(parameter)
        .for_each(|(value, &parameter)| *value += bias[parameter]);
}

/// Sums the elements that share a parameter.
pub(crate) fn sum_by(
    values: impl IntoIterator<Item = f64>,
    parameter: &[usize],
    count: usize,
) -> Vec<f64> {
    let mut sums = vec![0.0; count];
    values
        .into_iter()
        .zip(parameter)
        .for_each(|(value, &parameter)| sums[parameter] += value);
    sums
}

/// The gradients of a normalisation by its input, its scale and its bias.
pub(crate) fn gradients(
    layout: &Layout,
    parameter: &[usize],
    [x, scale, dy]: [&Tensor; 3],
    epsilon: f64,
) -> Result<Vec<Tensor>> {
    let (xs, scales, dys) = (x.to_f64()?, scale.to_f64()?, dy.to_f64()?);
    let unit = layout.apply(&xs, &layout.statistics(&xs), epsilon);
    let dx = layout.backward(&xs, &scaled(&dys, &scales, parameter), epsilon);
    let by_scale = dys.iter().zip(&unit).map(|(dy, unit)| dy * unit);
    let d_scale = sum_by(by_scale, parameter, scales.len());
    let d_bias = sum_by(dys.iter().copied(), parameter, scales.len());
    Ok(vec![
        Tensor::from_f64(x.dtype(), x.shape(), dx)?,
        Tensor::from_f64(scale.dtype(), scale.shape(), d_scale)?,
        Tensor::from_f64(scale.dtype(), scale.shape(), d_bias)?,
    ])
}
