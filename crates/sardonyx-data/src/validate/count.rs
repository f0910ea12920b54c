use sardonyx_tensor::Data;

use crate::dataset::{Dataset, Kind, Target};
use crate::view::View;

use super::{CrossReport, Location, PartReport};

/// A sample for comparison: hash of its inputs, bits of its target, its row.
type Key = (u128, u32, usize);

/// Keys of a view's samples in ascending order, so that equal inputs are neighbours.
pub(super) fn sorted_keys(view: &View, hashes: &[u128]) -> Vec<Key> {
    let target = view.dataset().target();
    let bits = |row: usize| match target {
        Target::Classes(ids) => ids[row],
        Target::Values(values) => values[row].to_bits(),
    };
    let mut keys: Vec<Key> = view
        .rows()
        .iter()
        .map(|&r| (hashes[r], bits(r), r))
        .collect();
    keys.sort_unstable();
    keys
}

pub(super) fn part(name: &str, view: &View, keys: &[Key]) -> PartReport {
    let values = scan(view);
    let class_counts = view.class_counts();
    let present = class_counts.iter().copied().filter(|&n| n > 0);
    let imbalance = match (present.clone().max(), present.min()) {
        (Some(largest), Some(smallest)) => Some(largest as f64 / smallest as f64),
        _ => None,
    };
    let n_bad_targets = match view.target() {
        Target::Classes(_) => 0,
        Target::Values(values) => values.iter().filter(|v| !v.is_finite()).count(),
    };
    let groups = || keys.chunk_by(|a, b| a.0 == b.0);
    PartReport {
        name: name.to_owned(),
        n_rows: view.len(),
        class_counts,
        imbalance,
        range: values.range(),
        n_nan: values.n_nan,
        n_infinite: values.n_infinite,
        first_not_finite: values.first.map(|(row, feature)| Location {
            row,
            feature,
            name: feature_name(view.dataset(), feature),
        }),
        n_bad_targets,
        constant_features: values.constant_features(view.len()),
        n_duplicates: groups().map(|group| group.len() - 1).sum(),
        n_conflicts: groups()
            .filter(|group| group.iter().any(|key| key.1 != group[0].1))
            .count(),
    }
}

/// What two parts share; the caller names them.
pub(super) fn pair(first: &[Key], second: &[Key]) -> CrossReport {
    let mut report = CrossReport {
        first: String::new(),
        second: String::new(),
        n_shared: 0,
        n_conflicts: 0,
        example: None,
    };
    for &(hash, target, row) in second {
        let start = first.partition_point(|key| key.0 < hash);
        let same = first[start..].iter().take_while(|key| key.0 == hash);
        let Some(other) = same.clone().next() else {
            continue;
        };
        report.n_shared += 1;
        report.n_conflicts += usize::from(same.clone().all(|key| key.1 != target));
        report.example.get_or_insert((other.2, row));
    }
    report
}

/// The feature's column, or its place in the image.
pub(super) fn feature_name(dataset: &Dataset, feature: usize) -> String {
    match dataset.kind() {
        Kind::Image { height, width, .. } => format!(
            "channel {}, row {}, column {}",
            feature / (height * width),
            feature / width % height,
            feature % width
        ),
        Kind::Table { .. } => format!("column `{}`", dataset.feature_names()[feature]),
    }
}

/// Extremes of each feature over the finite values, and where the others are.
struct Values {
    low: Vec<f32>,
    high: Vec<f32>,
    n_nan: usize,
    n_infinite: usize,
    first: Option<(usize, usize)>,
}

impl Values {
    fn range(&self) -> Option<(f32, f32)> {
        let low = self.low.iter().copied().fold(f32::INFINITY, f32::min);
        let high = self.high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (low <= high).then_some((low, high))
    }

    fn constant_features(&self, n_rows: usize) -> Vec<usize> {
        if n_rows < 2 {
            return Vec::new();
        }
        (0..self.low.len())
            .filter(|&feature| self.low[feature] >= self.high[feature])
            .collect()
    }
}

fn scan(view: &View) -> Values {
    let len = view.dataset().kind().sample_len();
    let mut out = Values {
        low: vec![f32::INFINITY; len],
        high: vec![f32::NEG_INFINITY; len],
        n_nan: 0,
        n_infinite: 0,
        first: None,
    };
    match view.dataset().x().data() {
        Data::U8(values) => {
            let (mut low, mut high) = (vec![u8::MAX; len], vec![u8::MIN; len]);
            for &row in view.rows() {
                let sample = &values[row * len..(row + 1) * len];
                for ((low, high), &value) in low.iter_mut().zip(&mut high).zip(sample) {
                    *low = (*low).min(value);
                    *high = (*high).max(value);
                }
            }
            if !view.is_empty() {
                out.low = low.into_iter().map(f32::from).collect();
                out.high = high.into_iter().map(f32::from).collect();
            }
        }
        Data::F32(values) => {
            for &row in view.rows() {
                for (i, &value) in values[row * len..(row + 1) * len].iter().enumerate() {
                    if value.is_finite() {
                        out.low[i] = out.low[i].min(value);
                        out.high[i] = out.high[i].max(value);
                        continue;
                    }
                    out.n_nan += usize::from(value.is_nan());
                    out.n_infinite += usize::from(value.is_infinite());
                    out.first.get_or_insert((row, i));
                }
            }
        }
        _ => unreachable!("a data set holds u8 or f32 only"),
    }
    out
}
