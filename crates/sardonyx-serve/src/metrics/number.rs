//! Counters, gauges and histograms of atomics.
//!
//! All orderings are relaxed: a reader may see a moment between two additions of one request,
//! never a value that was not there.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it to `value`.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// What was last set; zero at first.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A number of things that are there now.
#[derive(Debug, Default)]
pub(super) struct Level(AtomicU64);

impl Level {
    pub(super) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The buckets of a histogram.
#[derive(Debug)]
pub struct Scale {
    /// Upper bounds, ascending, in recorded units.
    bounds: Vec<u64>,
    /// The bounds as they are written.
    texts: Vec<String>,
    /// Recorded units in one written unit.
    per_unit: f64,
}

/// Recorded units in a second, and in one of a difference.
pub(super) const NANO: f64 = 1e9;

impl Scale {
    /// Buckets whose `bounds`, in recorded units, are ascending and are written in units of
    /// `per_unit`, as `write` says.
    pub(super) fn new(bounds: Vec<u64>, per_unit: f64, write: fn(f64) -> String) -> Scale {
        debug_assert!(bounds.is_sorted(), "bounds ascend");
        debug_assert!(per_unit > 0.0, "a unit is something");
        let texts = bounds
            .iter()
            .map(|&bound| write(bound as f64 / per_unit))
            .collect();
        Scale {
            bounds,
            texts,
            per_unit,
        }
    }

    /// From 10 microseconds to 10 seconds, written in seconds.
    pub fn seconds() -> &'static Scale {
        static SECONDS: LazyLock<Scale> = LazyLock::new(|| {
            let micros = [
                10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000,
                250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
            ];
            Scale::new(micros.map(|micro| micro * 1000).to_vec(), NANO, decimal)
        });
        &SECONDS
    }

    /// Powers of two from 1 to 1024.
    pub fn sizes() -> &'static Scale {
        static SIZES: LazyLock<Scale> =
            LazyLock::new(|| Scale::new((0..=10).map(|power| 1 << power).collect(), 1.0, decimal));
        &SIZES
    }

    /// Powers of ten from 1e-8 to 1.
    pub fn differences() -> &'static Scale {
        static DIFFERENCES: LazyLock<Scale> = LazyLock::new(|| {
            let bounds = (1..=9).map(|power| 10_u64.pow(power)).collect();
            Scale::new(bounds, NANO, decimal)
        });
        &DIFFERENCES
    }
}

/// `value` with a point, as OpenMetrics writes the bounds of buckets. Both formats have it, so
/// that a series keeps its name when a scraper changes its mind.
pub(super) fn decimal(value: f64) -> String {
    format!("{value:?}")
}

/// How often values fell between fixed bounds, and their sum.
#[derive(Debug)]
pub struct Histogram {
    scale: &'static Scale,
    /// One for each bound and one for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new(scale: &'static Scale) -> Histogram {
        Histogram {
            scale,
            counts: (0..=scale.bounds.len())
                .map(|_| AtomicU64::new(0))
                .collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Records `value`, in the units of the scale's bounds.
    pub fn record(&self, value: u64) {
        let bucket = self.scale.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Records `time`; for scales in seconds.
    pub fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records `value`; for the scale of differences. What is no number counts as infinite.
    pub fn record_difference(&self, value: f64) {
        if value.is_finite() {
            // Saturates, and takes what is below zero for zero.
            self.record((value * NANO) as u64);
        } else {
            let last = self.counts.len() - 1;
            self.counts[last].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The sum of what was recorded, in the scale's written unit.
    pub fn sum(&self) -> f64 {
        self.sum_recorded() as f64 / self.scale.per_unit
    }

    /// The sum of what was recorded, in the units of the bounds.
    pub(super) fn sum_recorded(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// For each bound, as written, how many values lie at or below it; at last `+Inf`.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let texts = self.scale.texts.iter().map(String::as_str);
        let mut below = 0;
        texts
            .chain(std::iter::once("+Inf"))
            .zip(&self.counts)
            .map(move |(text, count)| {
                below += count.load(Ordering::Relaxed);
                (text, below)
            })
    }
}
