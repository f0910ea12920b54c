//! Sliding windows along one axis: what every convolution and pooling, and the gradient of each,
//! reads for an output at a given place.

use std::ops::Range;

/// A sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowAxis {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// Positions that the first window starts before the axis.
    pub(crate) pad: usize,
}

/// Outputs along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// How many.
    pub(crate) count: usize,
    /// Output coordinate of the first one.
    pub(crate) first: usize,
    /// Output coordinates from one to the next.
    pub(crate) step: usize,
    /// Source coordinates from one to the next.
    pub(crate) source_step: usize,
}

/// Outputs along one axis, with the kernel positions that they read and the source coordinate
/// that each reads for the first of them, which grows from one position to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AxisTaps {
    pub(crate) axis: Axis,
    pub(crate) taps: Vec<(usize, isize)>,
}

/// Neighbouring outputs that read the same taps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AxisZone {
    pub(crate) outputs: Range<usize>,
    pub(crate) taps: Range<usize>,
}

impl AxisTaps {
    /// `count` windows, each reading its own positions.
    pub(crate) fn forward(window: &WindowAxis, count: usize) -> AxisTaps {
        let pad = window.pad.cast_signed();
        let tap = |k: usize| (k, (k * window.dilation).cast_signed() - pad);
        AxisTaps {
            axis: Axis {
                count,
                first: 0,
                step: 1,
                source_step: window.stride,
            },
            taps: (0..window.kernel).map(tap).collect(),
        }
    }

    /// `len` window positions, each reading the windows that cover it: one entry per residue of
    /// the coordinate modulo the stride.
    pub(crate) fn gradients(window: &WindowAxis, len: usize) -> Vec<AxisTaps> {
        let (stride, dilation) = (window.stride.cast_signed(), window.dilation.cast_signed());
        (0..window.stride.min(len))
            .map(|first| {
                let padded = (first + window.pad).cast_signed();
                let taps = (0..window.kernel).rev().filter_map(|k| {
                    let ahead = padded - k.cast_signed() * dilation;
                    (ahead.rem_euclid(stride) == 0).then(|| (k, ahead.div_euclid(stride)))
                });
                let count = (len - first).div_ceil(window.stride);
                AxisTaps {
                    axis: Axis {
                        count,
                        first,
                        step: window.stride,
                        source_step: 1,
                    },
                    taps: taps.collect(),
                }
            })
            .collect()
    }

    /// The taps that read within `0..len` for output `index`.
    pub(crate) fn valid(&self, index: usize, len: usize) -> Range<usize> {
        let start = (index * self.axis.source_step).cast_signed();
        let first = self.taps.partition_point(|(_, tap)| start + tap < 0);
        let end = self
            .taps
            .partition_point(|(_, tap)| start + tap < len.cast_signed());
        first..end.max(first)
    }

    /// Those of `outputs` whose tap number `tap` reads within `0..len`.
    pub(crate) fn outputs_of(
        &self,
        tap: usize,
        outputs: &Range<usize>,
        len: usize,
    ) -> Range<usize> {
        let (offset, step) = (self.taps[tap].1, self.axis.source_step);
        let before = (-offset).max(0).unsigned_abs().div_ceil(step);
        let room = (len.cast_signed() - offset).max(0).unsigned_abs();
        let start = outputs.start.max(before);
        start..outputs.end.min(room.div_ceil(step)).max(start)
    }

    /// Source coordinate that tap number `tap` reads for `output`, which must lie on the axis.
    pub(crate) fn source(&self, tap: usize, output: usize) -> usize {
        (output * self.axis.source_step).wrapping_add_signed(self.taps[tap].1)
    }

    /// All outputs with all taps, whether they read within an axis or not.
    pub(crate) fn whole(&self) -> AxisZone {
        AxisZone {
            outputs: 0..self.axis.count,
            taps: 0..self.taps.len(),
        }
    }

    /// The outputs by the taps that read within `0..len`.
    pub(crate) fn zones(&self, len: usize) -> Vec<AxisZone> {
        let mut zones: Vec<AxisZone> = Vec::new();
        for output in 0..self.axis.count {
            let taps = self.valid(output, len);
            match zones.last_mut() {
                Some(zone) if zone.taps == taps || (zone.taps.is_empty() && taps.is_empty()) => {
                    zone.outputs.end = output + 1;
                }
                _ => zones.push(AxisZone {
                    outputs: output..output + 1,
                    taps,
                }),
            }
        }
        zones
    }

    /// Source coordinate that the first tap of `zone` reads for `output`; the output's place
    /// where it reads none.
    pub(crate) fn first_tap(&self, zone: &AxisZone, output: usize) -> isize {
        let tap = self.taps[zone.taps.clone()]
            .first()
            .map_or(0, |(_, tap)| *tap);
        (output * self.axis.source_step).cast_signed() + tap
    }

    /// The outputs for which every tap reads within `0..len`.
    pub(crate) fn interior(&self, len: usize) -> Range<usize> {
        let all = |index: &usize| self.valid(*index, len).len() == self.taps.len();
        let start = (0..self.axis.count).find(all).unwrap_or(0);
        let end = (start..self.axis.count)
            .rev()
            .find(all)
            .map_or(start, |last| last + 1);
        start..end
    }
}

/// Whether no two elements of a tensor with these axes, given as stride and length, are the same:
/// axes by growing stride must nest.
pub(crate) fn axes_nest(mut axes: Vec<(usize, usize)>) -> bool {
    axes.retain(|(_, len)| *len > 1);
    axes.sort_unstable();
    let mut reach = 0;
    axes.iter().all(|(stride, len)| {
        let nests = *stride > reach;
        reach += stride * (len - 1);
        nests
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of a window and a position it covers, from both sides.
    #[test]
    fn forward_and_gradients_see_the_same_pairs() {
        let windows = [
            (3, 1, 1, 1),
            (3, 2, 1, 0),
            (2, 3, 1, 1),
            (3, 2, 3, 4),
            (1, 2, 1, 0),
        ];
        for (kernel, stride, dilation, pad) in windows {
            let window = WindowAxis {
                kernel,
                stride,
                dilation,
                pad,
            };
            let (len, count) = (11, 6);
            let forward = AxisTaps::forward(&window, count);
            let mut pairs: Vec<_> = (0..count)
                .flat_map(|out| {
                    let valid = forward.valid(out, len);
                    forward.taps[valid]
                        .iter()
                        .map(move |(k, x)| (out, (out * stride).wrapping_add_signed(*x), *k))
                })
                .collect();
            let gradients = AxisTaps::gradients(&window, len);
            let mut back: Vec<_> = gradients
                .iter()
                .flat_map(|residue| (0..residue.axis.count).map(move |i| (residue, i)))
                .flat_map(|(residue, i)| {
                    let at = residue.axis.first + i * residue.axis.step;
                    let valid = residue.valid(i, count);
                    residue.taps[valid]
                        .iter()
                        .map(move |(k, out)| (i.wrapping_add_signed(*out), at, *k))
                })
                .collect();
            pairs.sort_unstable();
            back.sort_unstable();
            assert_eq!(pairs, back, "{window:?}");
            for tap in 0..kernel {
                let reads = |out: &usize| forward.valid(*out, len).contains(&tap);
                let expected: Vec<_> = (1..count).filter(reads).collect();
                let made = forward.outputs_of(tap, &(1..count), len);
                assert_eq!(made.collect::<Vec<_>>(), expected);
            }
            for zone in forward.zones(len) {
                let same = |out: usize| forward.valid(out, len) == zone.taps;
                assert!(zone.taps.is_empty() || zone.outputs.clone().all(same));
            }
            let interior = forward.interior(len);
            let whole = |out: &usize| forward.valid(*out, len).len() == kernel;
            assert_eq!(
                interior.collect::<Vec<_>>(),
                (0..count).filter(whole).collect::<Vec<_>>()
            );
        }
    }
}
