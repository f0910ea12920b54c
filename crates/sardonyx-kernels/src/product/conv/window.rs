//! What every kind of convolution reads: outputs on a grid, each looking at taps of a source image
//! around its place.
//!
//! A forward convolution is one grid whose outputs step through the input by the stride. An input
//! gradient is one grid per residue of the input coordinates modulo the stride: within a grid,
//! neighbouring inputs read neighbouring output gradients, through those taps that reach them.
//! Outputs near a border read fewer taps; a grid falls into zones that read the same ones.

use std::ops::Range;

use super::shape::ConvShape;
use crate::axis::{AxisTaps, AxisZone};
use crate::product::micro::Segment;

/// A grid of outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) rows: AxisTaps,
    pub(super) cols: AxisTaps,
    kernel: [usize; 2],
    /// Whether weights come in reverse order, as transposed panels have them.
    reversed: bool,
}

/// Outputs of a grid that read the same taps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) rows: AxisZone,
    pub(super) cols: AxisZone,
}

impl Grid {
    /// The grid of a forward convolution, of which only `rows` x `cols` outputs are computed.
    pub(super) fn forward(shape: &ConvShape, rows: usize, cols: usize) -> Grid {
        Grid {
            rows: AxisTaps::forward(&shape.axis(0), rows),
            cols: AxisTaps::forward(&shape.axis(1), cols),
            kernel: shape.kernel,
            reversed: false,
        }
    }

    /// The grids of an input gradient: together they cover every input pixel once.
    pub(super) fn input_gradient(shape: &ConvShape) -> Vec<Grid> {
        let [rows, cols] = [(0, shape.height), (1, shape.width)]
            .map(|(axis, len)| AxisTaps::gradients(&shape.axis(axis), len));
        let grid = |rows: &AxisTaps, cols: &AxisTaps| Grid {
            rows: rows.clone(),
            cols: cols.clone(),
            kernel: shape.kernel,
            reversed: true,
        };
        rows.iter()
            .flat_map(|row| cols.iter().map(move |col| grid(row, col)))
            .collect()
    }

    /// All outputs as one zone, which reads over the borders where taps do.
    pub(super) fn whole(&self) -> Zone {
        Zone {
            rows: self.rows.whole(),
            cols: self.cols.whole(),
        }
    }

    /// The zones of a grid over a source image of this height and width.
    pub(super) fn zones(&self, height: usize, width: usize) -> Vec<Zone> {
        let cols = self.cols.zones(width);
        let zone = |rows: &AxisZone, cols: &AxisZone| Zone {
            rows: rows.clone(),
            cols: cols.clone(),
        };
        let rows = self.rows.zones(height);
        rows.iter()
            .flat_map(|row| cols.iter().map(move |col| zone(row, col)))
            .collect()
    }

    /// Source row and column that the first tap of `zone` reads for the output `row`, `col`.
    pub(super) fn first_tap(&self, zone: &Zone, row: usize, col: usize) -> (isize, isize) {
        (
            self.rows.first_tap(&zone.rows, row),
            self.cols.first_tap(&zone.cols, col),
        )
    }

    /// Source rows (or columns) that outputs `outputs` of an axis read, borders or not.
    pub(super) fn reach(axis: &AxisTaps, outputs: &Range<usize>) -> Range<isize> {
        let step = axis.axis.source_step;
        match (axis.taps.first(), axis.taps.last()) {
            (Some((_, first)), Some((_, last))) if !outputs.is_empty() => {
                (outputs.start * step).cast_signed() + first
                    ..((outputs.end - 1) * step).cast_signed() + last + 1
            }
            _ => 0..0,
        }
    }

    /// The sum over `k` of an output of `zone`: segments, all of the length returned with them,
    /// over a source whose rows and pixels are `row` and `pixel` floats apart, from the zone's
    /// first tap on. `inner` channels per tap, `width` floats of panel per channel.
    pub(super) fn segments(
        &self,
        zone: &Zone,
        (row, pixel): (usize, usize),
        inner: usize,
        width: usize,
    ) -> (Vec<Segment>, usize) {
        let (y_taps, x_taps) = (&self.rows.taps[zone.rows.taps.clone()], &self.cols.taps);
        let x_taps = &x_taps[zone.cols.taps.clone()];
        let last = self.kernel[0] * self.kernel[1] - 1;
        let single: Vec<Segment> = y_taps
            .iter()
            .flat_map(|(ky, y)| x_taps.iter().map(move |(kx, x)| (ky, y, kx, x)))
            .map(|(ky, y, kx, x)| {
                let position = ky * self.kernel[1] + kx;
                let position = if self.reversed {
                    last - position
                } else {
                    position
                };
                Segment {
                    a: (y - y_taps[0].1).unsigned_abs() * row
                        + (x - x_taps[0].1).unsigned_abs() * pixel,
                    b: position * inner * width,
                }
            })
            .collect();
        // Neighbouring taps whose channels follow each other in both operands are one run.
        let mut merged: Vec<(Segment, usize)> = Vec::new();
        for segment in &single {
            match merged.last_mut() {
                Some((start, run))
                    if segment.a == start.a + *run && segment.b == start.b + *run * width =>
                {
                    *run += inner;
                }
                _ => merged.push((*segment, inner)),
            }
        }
        match merged.first() {
            Some((_, run)) if merged.iter().all(|(_, other)| other == run) => {
                let run = *run;
                (
                    merged.into_iter().map(|(segment, _)| segment).collect(),
                    run,
                )
            }
            _ => (single, inner),
        }
    }
}
