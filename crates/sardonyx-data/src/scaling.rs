use std::fmt;
use std::str::FromStr;

use sardonyx_tensor::Data;

use crate::dataset::Kind;
use crate::error::{DataError, Result, nearest_hint};
use crate::view::View;

/// How raw values become what the first layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// As they are.
    None,
    /// To `[0, 1]`.
    Unit,
    /// To `[-1, 1]`.
    #[default]
    SymmetricUnit,
    /// To mean 0 and standard deviation 1: each channel of an image, each column of a table.
    Standardize,
}

/// The numbers of `(x - mean) / std`, one pair for each channel of an image or column of a table,
/// for the caller to write into the model's graph. No `std` is zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// What is subtracted.
    pub mean: Vec<f32>,
    /// What the difference is divided by.
    pub std: Vec<f32>,
}

const NAMES: [(&str, Scaling); 6] = [
    ("[-1,1]", Scaling::SymmetricUnit),
    ("[0,1]", Scaling::Unit),
    ("none", Scaling::None),
    ("standardize", Scaling::Standardize),
    ("symmetric", Scaling::SymmetricUnit),
    ("unit", Scaling::Unit),
];

impl FromStr for Scaling {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Scaling> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        NAMES
            .iter()
            .find(|(name, _)| *name == compact)
            .map(|(_, scaling)| *scaling)
            .ok_or_else(|| DataError::Setting {
                setting: "scale",
                value: text.to_owned(),
                problem: "there is no such scaling".into(),
                hint: nearest_hint(text, &NAMES.map(|(name, _)| name)),
            })
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scaling::None => "none",
            Scaling::Unit => "[0,1]",
            Scaling::SymmetricUnit => "[-1,1]",
            Scaling::Standardize => "standardize",
        })
    }
}

impl Scaling {
    /// Fits the scaling to the rows of `train` and to no others.
    ///
    /// [`Scaling::Unit`] and [`Scaling::SymmetricUnit`] take the format's range of raw values
    /// (0 to 255 for pixels of 8 bits); where the format defines none, the smallest and largest
    /// value: of all pixels for images, of each column for tables. [`Scaling::Standardize`] takes
    /// mean and population standard deviation, computed in `f64` (scikit-learn's
    /// `StandardScaler`). A channel or column of one value gets a `std` of 1.
    ///
    /// # Errors
    /// When there is no row, a value is NaN or infinite, or the spread does not fit an `f32`.
    pub fn fit(self, train: &View) -> Result<Affine> {
        let kind = train.dataset().kind();
        let n_channels = kind.channels();
        if train.is_empty() && self != Scaling::None {
            return Err(DataError::Values {
                source_name: train.dataset().source().to_owned(),
                problem: format!("there is no row to fit the scaling `{self}` to"),
                hint: "give the training part at least one sample".into(),
            });
        }
        let pairs = match self {
            Scaling::None => vec![(0.0, 1.0); n_channels],
            Scaling::Unit => map_ranges(train, |low, high| (low, high - low))?,
            Scaling::SymmetricUnit => {
                map_ranges(train, |low, high| (low.midpoint(high), (high - low) / 2.0))?
            }
            Scaling::Standardize => statistics(train)?
                .iter()
                .map(|s| {
                    (
                        s.mean,
                        if s.low == s.high {
                            1.0
                        } else {
                            s.variance.sqrt()
                        },
                    )
                })
                .collect(),
        };
        to_affine(train, &pairs)
    }
}

fn to_affine(train: &View, pairs: &[(f64, f64)]) -> Result<Affine> {
    let mut affine = Affine {
        mean: Vec::with_capacity(pairs.len()),
        std: Vec::with_capacity(pairs.len()),
    };
    for (channel, &(mean, std)) in pairs.iter().enumerate() {
        let (mean, std) = (mean as f32, std as f32);
        if !mean.is_finite() || !std.is_finite() {
            return Err(DataError::Values {
                source_name: train.dataset().source().to_owned(),
                problem: format!("the spread of {} does not fit an f32", name(train, channel)),
                hint: "leave the column out, or rescale or clip its values".into(),
            });
        }
        affine.mean.push(mean);
        affine.std.push(if std == 0.0 { 1.0 } else { std });
    }
    Ok(affine)
}

fn map_ranges(train: &View, map: impl Fn(f64, f64) -> (f64, f64)) -> Result<Vec<(f64, f64)>> {
    let dataset = train.dataset();
    let n_channels = dataset.kind().channels();
    let ranges = if let Some((low, high)) = dataset.nominal_range() {
        vec![(f64::from(low), f64::from(high)); n_channels]
    } else {
        let statistics = statistics(train)?;
        let all = statistics
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| {
                (low.min(s.low), high.max(s.high))
            });
        match dataset.kind() {
            Kind::Image { .. } => vec![all; n_channels],
            Kind::Table { .. } => statistics.iter().map(|s| (s.low, s.high)).collect(),
        }
    };
    let pair = |(low, high): (f64, f64)| {
        let (mean, std) = map(low, high);
        (mean, if low == high { 1.0 } else { std })
    };
    Ok(ranges.into_iter().map(pair).collect())
}

#[derive(Debug, Clone, Copy)]
struct Statistics {
    mean: f64,
    variance: f64,
    low: f64,
    high: f64,
}

/// Statistics of each channel over the rows of the view, which has at least one.
fn statistics(train: &View) -> Result<Vec<Statistics>> {
    match train.dataset().x().data() {
        Data::U8(values) => Ok(statistics_u8(train, values)),
        Data::F32(values) => statistics_f32(train, values),
        _ => unreachable!("a data set holds u8 or f32 only"),
    }
}

/// Exact sums in integers, then one rounding in each quotient.
fn statistics_u8(train: &View, values: &[u8]) -> Vec<Statistics> {
    let kind = train.dataset().kind();
    let (len, n_channels) = (kind.sample_len(), kind.channels());
    let mut histograms = vec![[0u64; 256]; n_channels];
    for &row in train.rows() {
        let planes = values[row * len..(row + 1) * len].chunks_exact(len / n_channels);
        for (plane, histogram) in planes.zip(&mut histograms) {
            for &value in plane {
                histogram[usize::from(value)] += 1;
            }
        }
    }
    histograms
        .iter()
        .map(|histogram| {
            let weighted = |power: u32| -> u128 {
                (0u128..256)
                    .zip(histogram)
                    .map(|(value, &n)| value.pow(power) * u128::from(n))
                    .sum()
            };
            let (n, sum, squares) = (weighted(0), weighted(1), weighted(2));
            let extreme =
                |found: Option<usize>| found.expect("a view with a row has a value") as f64;
            Statistics {
                mean: sum as f64 / n as f64,
                variance: (n * squares - sum * sum) as f64 / (n as f64 * n as f64),
                low: extreme(histogram.iter().position(|&n| n > 0)),
                high: extreme(histogram.iter().rposition(|&n| n > 0)),
            }
        })
        .collect()
}

/// Two passes, so that a large mean does not eat the variance.
fn statistics_f32(train: &View, values: &[f32]) -> Result<Vec<Statistics>> {
    let kind = train.dataset().kind();
    let (len, n_channels) = (kind.sample_len(), kind.channels());
    let plane = len / n_channels;
    let n = (train.len() * plane) as f64;
    let start = Statistics {
        mean: 0.0,
        variance: 0.0,
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
    };
    let mut out = vec![start; n_channels];
    for &row in train.rows() {
        for (i, &value) in values[row * len..(row + 1) * len].iter().enumerate() {
            if !value.is_finite() {
                return Err(not_finite(train, row, i / plane, value));
            }
            let (value, channel) = (f64::from(value), &mut out[i / plane]);
            channel.mean += value;
            channel.low = channel.low.min(value);
            channel.high = channel.high.max(value);
        }
    }
    for channel in &mut out {
        channel.mean /= n;
    }
    for &row in train.rows() {
        for (i, &value) in values[row * len..(row + 1) * len].iter().enumerate() {
            let channel = &mut out[i / plane];
            channel.variance += (f64::from(value) - channel.mean).powi(2);
        }
    }
    for channel in &mut out {
        channel.variance /= n;
    }
    Ok(out)
}

fn not_finite(train: &View, row: usize, channel: usize, value: f32) -> DataError {
    DataError::Values {
        source_name: train.dataset().source().to_owned(),
        problem: format!(
            "sample {row} has the value {value} in {}",
            name(train, channel)
        ),
        hint: "impute missing values first, and remove or clip infinite ones".into(),
    }
}

fn name(view: &View, channel: usize) -> String {
    match view.dataset().feature_names().get(channel) {
        Some(name) => format!("column `{name}`"),
        None => format!("channel {channel}"),
    }
}
