//! Axes with numbers that people would choose.

/// An axis from `low` to `high` with labelled ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<f64>,
    step: f64,
}

impl Axis {
    /// An axis that takes in all finite `values`, with about `n_ticks` ticks at multiples of 1, 2
    /// or 5 times a power of ten, and ends at ticks. It starts at zero when that costs little
    /// space.
    pub(super) fn around(values: impl Iterator<Item = f64>, n_ticks: usize) -> Axis {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (mut low, mut high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        if low > 0.0 && low < 0.4 * high {
            low = 0.0;
        }
        if high - low <= 1e-9 * high.abs().max(low.abs()) {
            let margin = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
            (low, high) = (low - margin, high + margin);
        }
        let step = nice_step((high - low) / n_ticks.max(1) as f64);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        Axis {
            low: first * step,
            high: last * step,
            ticks: multiples(first, last, step),
            step,
        }
    }

    /// The whole numbers from `low` to `high`, with ticks at round ones and at the first.
    pub(super) fn whole(low: f64, high: f64, n_ticks: usize) -> Axis {
        let high = high.max(low + 1.0);
        let step = nice_step((high - low) / n_ticks.max(1) as f64).max(1.0);
        let mut ticks = multiples((low / step).ceil(), (high / step).floor(), step);
        if ticks.first().is_none_or(|first| first - low >= 0.5 * step) {
            ticks.insert(0, low);
        }
        Axis {
            low,
            high,
            ticks,
            step,
        }
    }

    /// From 0 to `high` by fifths of it.
    pub(super) fn from_zero(high: f64) -> Axis {
        let step = high / 5.0;
        Axis {
            low: 0.0,
            high,
            ticks: multiples(0.0, 5.0, step),
            step,
        }
    }

    /// From `1 - length` to 1 by fifths of the length, which divides 1.
    pub(super) fn up_to_one(length: f64) -> Axis {
        let step = length / 5.0;
        let last = (1.0 / step).round();
        Axis {
            low: 1.0 - length,
            high: 1.0,
            ticks: multiples(last - 5.0, last, step),
            step,
        }
    }

    /// Where a value lies: 0 at `low`, 1 at `high`.
    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The label of a tick.
    pub(super) fn label(&self, tick: f64) -> String {
        if tick == 0.0 {
            return "0".to_owned();
        }
        if self.step < 1e-4 || tick.abs() >= 1e6 {
            return format!("{tick:.1e}").replace(".0e", "e");
        }
        let decimals = (-self.step.log10() - 1e-9).ceil().max(0.0) as usize;
        format!("{tick:.decimals$}").replace('-', "−")
    }

    /// The label of a tick that is a share.
    pub(super) fn percent_label(&self, tick: f64) -> String {
        let decimals = (-(self.step * 100.0).log10() - 1e-9).ceil().clamp(0.0, 4.0) as usize;
        format!("{:.decimals$}%", tick * 100.0)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `least`.
fn nice_step(least: f64) -> f64 {
    if !least.is_finite() || least <= f64::MIN_POSITIVE {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let factor = match least / power {
        f if f <= 1.0 + 1e-9 => 1.0,
        f if f <= 2.0 + 1e-9 => 2.0,
        f if f <= 5.0 + 1e-9 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// Multiples of `step` from `first` to `last` times it; at most a hundred, however odd the range.
fn multiples(first: f64, last: f64, step: f64) -> Vec<f64> {
    let n = (last - first).clamp(0.0, 100.0) as usize;
    match first <= last {
        true => (0..=n).map(|i| (first + i as f64) * step).collect(),
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Vec<String> {
        let axis = Axis::around(values.iter().copied(), 5);
        axis.ticks.iter().map(|&tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(&[0.03, 0.97]),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(&[0.93, 0.984]),
            ["0.92", "0.94", "0.96", "0.98", "1.00"]
        );
        assert_eq!(
            labels(&[1e-5, 1e-3]),
            ["0", "0.0002", "0.0004", "0.0006", "0.0008", "0.0010"]
        );
        assert_eq!(labels(&[0.0, 8e-6]), ["0", "2e-6", "4e-6", "6e-6", "8e-6"]);
        assert_eq!(labels(&[-3.0, 4.0]), ["−4", "−2", "0", "2", "4"]);
        assert_eq!(labels(&[]), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[2.0, 2.0]), ["1.8", "1.9", "2.0", "2.1", "2.2"]);
    }

    #[test]
    fn whole_numbers_start_at_the_first() {
        let ticks = |low, high| Axis::whole(low, high, 5).ticks;
        assert_eq!(ticks(1.0, 12.0), [1.0, 5.0, 10.0]);
        assert_eq!(ticks(1.0, 4.0), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(1.0, 1.0), [1.0, 2.0]);
        assert_eq!(ticks(1.0, 300.0), [1.0, 100.0, 200.0, 300.0]);
    }

    #[test]
    fn every_range_gives_an_axis() {
        let odd = [
            vec![f64::NAN],
            vec![f64::INFINITY, 1.0],
            vec![1e308, -1e308],
            vec![5e-324, 0.0],
            vec![1e300, 1e300],
            vec![1.0, 1.0 + f64::EPSILON],
        ];
        for values in odd {
            let axis = Axis::around(values.iter().copied(), 5);
            assert!(axis.ticks.len() <= 101, "{values:?}: {axis:?}");
            for tick in &axis.ticks {
                axis.label(*tick);
                axis.percent_label(*tick);
            }
        }
    }
}
