//! Normalisations against plain `f64`.

use super::*;
use crate::testing::{Buffer, Rig};
use crate::{AxisShape, Gate, Isa, Reduce, Reduction};

const SHAPES: [BatchShape; 8] = [
    BatchShape {
        rows: 5,
        channels: 3,
    },
    BatchShape {
        rows: 1,
        channels: 17,
    },
    BatchShape {
        rows: 300,
        channels: 64,
    },
    BatchShape {
        rows: 1000,
        channels: 70,
    },
    BatchShape {
        rows: 9000,
        channels: 8,
    },
    BatchShape {
        rows: 40,
        channels: 1030,
    },
    BatchShape {
        rows: 0,
        channels: 4,
    },
    BatchShape {
        rows: 4,
        channels: 0,
    },
];

/// Numbers about a distant mean, which costs a careless sum of squares all its digits.
fn far(len: usize, seed: u64) -> Vec<f32> {
    Rig::ramp(len, seed)
        .into_iter()
        .map(|x| 100.0 + x)
        .collect()
}

fn column(x: &[f32], shape: BatchShape, channel: usize) -> Vec<f64> {
    (0..shape.rows)
        .map(|row| f64::from(x[row * shape.channels + channel]))
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / values.len() as f64
}

fn floats(values: impl Iterator<Item = f64>) -> Vec<f32> {
    values.map(|value| value as f32).collect()
}

#[test]
fn batch_statistics_agree_with_plain_numbers() {
    for isa in Isa::available() {
        for shape in SHAPES {
            let (n, c) = (shape.rows, shape.channels);
            let mut x = far(n * c, 1);
            if let Some(last) = x.last_mut() {
                // Its channel alone has no statistics.
                *last = f32::NAN;
            }
            let partials = Buffer::unset(shape.partials_len());
            let moments = Rig::new(BatchMoments::new(isa, shape));
            let partials = moments.run(&[Buffer::f32s(&x), partials]).swap_remove(1);
            let (scale, old) = (Rig::ramp(c, 2), Rig::ramp(c, 3));
            let statistics: Vec<[f64; 2]> = (0..c)
                .map(|channel| column(&x, shape, channel))
                .map(|column| [mean(&column), variance(&column)])
                .collect();
            for unbiased in [false, true] {
                let mut fold = BatchFold::new(shape, 1e-3, 0.9);
                if unbiased {
                    fold = fold.with_unbiased_running();
                }
                let made = Rig::new(fold).run(&[
                    partials.clone(),
                    Buffer::f32s(&scale),
                    Buffer::unset(c),
                    Buffer::unset(c),
                    Buffer::unset(c),
                    Buffer::f32s(&old),
                    Buffer::f32s(&old),
                    Buffer::unset(c),
                    Buffer::unset(c),
                ]);
                let inv_std = |[_, variance]: &[f64; 2]| (variance + 1e-3).sqrt().recip();
                let means = floats(statistics.iter().map(|s| s[0]));
                Rig::assert_close(&made[2].to_f32s(), &means, 1e-6);
                Rig::assert_close(
                    &made[3].to_f32s(),
                    &floats(statistics.iter().map(inv_std)),
                    1e-5,
                );
                let slopes = statistics.iter().zip(&scale);
                let slopes = floats(slopes.map(|(s, scale)| inv_std(s) * f64::from(*scale)));
                Rig::assert_close(&made[4].to_f32s(), &slopes, 1e-5);
                let sample = if unbiased {
                    n as f64 / (n.max(2) - 1) as f64
                } else {
                    1.0
                };
                for (operand, index, factor) in [(7, 0, 1.0), (8, 1, sample)] {
                    let pairs = statistics.iter().zip(&old);
                    let next = |(s, old): (&[f64; 2], &f32)| {
                        f64::from(*old) * 0.9 + s[index] * factor * 0.1
                    };
                    Rig::assert_close(&made[operand].to_f32s(), &floats(pairs.map(next)), 1e-5);
                }
            }
        }
    }
}

/// `dx` put together as the operands say it must be, against the gradient by its definition.
#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one case, told from inputs to outputs"
)]
fn batch_gradients_agree_with_plain_numbers() {
    let leaky = Gate {
        low: -0.25,
        high: 0.5,
        slope: 0.1,
    };
    for (isa, gate) in Isa::available()
        .into_iter()
        .flat_map(|isa| [(isa, None), (isa, Some(Gate::RELU)), (isa, Some(leaky))])
    {
        for shape in SHAPES.into_iter().filter(|shape| shape.rows > 0) {
            let (n, c) = (shape.rows, shape.channels);
            let (x, dy) = (far(n * c, 1), Rig::ramp(n * c, 2));
            let (scale, bias) = (Rig::ramp(c, 4), Rig::ramp(c, 3));
            let columns: Vec<Vec<f64>> = (0..c).map(|i| column(&x, shape, i)).collect();
            let means = floats(columns.iter().map(|column| mean(column)));
            let inv_std: Vec<f64> = columns
                .iter()
                .map(|column| (variance(column) + 1e-3).sqrt().recip())
                .collect();
            let slope = inv_std
                .iter()
                .zip(&scale)
                .map(|(inv, scale)| inv * f64::from(*scale));
            let slope = floats(slope);
            let partials = Rig::new(BatchGradSums::new(isa, shape, gate.unwrap_or(Gate::RELU)))
                .run(&[
                    Buffer::f32s(&x),
                    Buffer::f32s(&dy),
                    Buffer::f32s(&means),
                    gate.map_or_else(Buffer::absent, |_| Buffer::f32s(&slope)),
                    gate.map_or_else(Buffer::absent, |_| Buffer::f32s(&bias)),
                    Buffer::unset(shape.partials_len()),
                ]);
            let mut operands = vec![partials[5].clone()];
            operands.push(Buffer::f32s(&floats(inv_std.iter().copied())));
            operands.push(Buffer::f32s(&slope));
            operands.extend((0..4).map(|_| Buffer::unset(c)));
            let made = Rig::new(BatchGradFold::new(shape)).run(&operands);
            let [d_scale, d_bias, bend, shift] = [3, 4, 5, 6].map(|i| made[i].to_f32s());
            for channel in 0..c {
                let factor = |row: usize| {
                    let distance = x[row * c + channel] - means[channel];
                    let value = distance.mul_add(slope[channel], bias[channel]);
                    let passes = |gate: &Gate| gate.low < value && value < gate.high;
                    gate.filter(|gate| !passes(gate))
                        .map_or(1.0, |gate| gate.slope)
                };
                let dy = column(&dy, shape, channel).into_iter().enumerate();
                let dy: Vec<f64> = dy.map(|(row, d)| d * f64::from(factor(row))).collect();
                let centre = mean(&columns[channel]);
                let unit: Vec<f64> = columns[channel]
                    .iter()
                    .map(|x| (x - centre) * inv_std[channel])
                    .collect();
                let along: f64 = unit.iter().zip(&dy).map(|(u, d)| u * d).sum();
                let total: f64 = dy.iter().sum();
                let scale_of_sums = 1e-4 * (n as f64).sqrt();
                assert!((f64::from(d_scale[channel]) - along).abs() < scale_of_sums);
                assert!((f64::from(d_bias[channel]) - total).abs() < scale_of_sums);
                let pieces = [slope[channel], bend[channel], shift[channel]].map(f64::from);
                for row in 0..n {
                    let made = pieces[0] * dy[row]
                        + (columns[channel][row] - f64::from(means[channel])) * pieces[1]
                        + pieces[2];
                    let mean_part = (total + unit[row] * along) / n as f64;
                    let expected = f64::from(slope[channel]) * (dy[row] - mean_part);
                    assert!((made - expected).abs() < 1e-3, "{made} {expected}");
                }
            }
        }
    }
}

fn layers() -> impl Iterator<Item = LayerNormOptions> {
    let sizes = [
        (3, 5),
        (1, 1),
        (40, 64),
        (700, 33),
        (7, 3001),
        (0, 4),
        (50, 768),
    ];
    let options = |(rows, len), centred| LayerNormOptions {
        rows,
        len,
        epsilon: 1e-3,
        centred,
    };
    sizes
        .into_iter()
        .flat_map(move |size| [options(size, true), options(size, false)])
}

struct Line {
    mean: f64,
    inv_std: f64,
    unit: Vec<f64>,
}

fn line(x: &[f32], options: LayerNormOptions) -> Line {
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let centre = if options.centred { mean(&x) } else { 0.0 };
    let spread = mean(&x.iter().map(|x| (x - centre).powi(2)).collect::<Vec<_>>());
    let inv_std = (spread + 1e-3).sqrt().recip();
    Line {
        unit: x.iter().map(|x| (x - centre) * inv_std).collect(),
        mean: centre,
        inv_std,
    }
}

#[test]
fn layers_agree_with_plain_numbers() {
    for isa in Isa::available() {
        for (options, draw) in layers().flat_map(|o| Rig::DRAWS.map(|draw| (o, draw))) {
            let (rows, len) = (options.rows, options.len);
            let x: Vec<f32> = draw(rows * len, 1).iter().map(|x| 3.0 + x).collect();
            let (scale, bias) = (Rig::ramp(len, 2), Rig::ramp(len, 3));
            let lines: Vec<Line> = x.chunks(len).map(|x| line(x, options)).collect();
            let made = Rig::new(LayerNorm::new(isa, options)).run(&[
                Buffer::f32s(&x),
                Buffer::f32s(&scale),
                Buffer::f32s(&bias),
                Buffer::unset(rows * len),
                Buffer::unset(rows),
                Buffer::unset(rows),
            ]);
            let y = lines.iter().flat_map(|line| {
                let pairs = line.unit.iter().zip(scale.iter().zip(&bias));
                pairs.map(|(unit, (scale, bias))| unit * f64::from(*scale) + f64::from(*bias))
            });
            Rig::assert_close(&made[3].to_f32s(), &floats(y), 3e-6);
            Rig::assert_close(
                &made[4].to_f32s(),
                &floats(lines.iter().map(|l| l.mean)),
                1e-6,
            );
            Rig::assert_close(
                &made[5].to_f32s(),
                &floats(lines.iter().map(|l| l.inv_std)),
                1e-5,
            );
            let absent = Buffer::absent;
            let operands = [
                Buffer::f32s(&x),
                absent(),
                absent(),
                Buffer::unset(rows * len),
                absent(),
                absent(),
            ];
            let made = Rig::new(LayerNorm::new(isa, options)).run(&operands);
            let unit = floats(lines.iter().flat_map(|line| line.unit.iter().copied()));
            Rig::assert_close(&made[3].to_f32s(), &unit, 3e-6);
        }
    }
}

#[test]
fn gradients_of_layers_agree_with_plain_numbers() {
    for isa in Isa::available() {
        for options in layers() {
            let (rows, len) = (options.rows, options.len);
            let x: Vec<f32> = Rig::ramp(rows * len, 1).iter().map(|x| 3.0 + x).collect();
            let (dy, scale) = (Rig::ramp(rows * len, 2), Rig::ramp(len, 3));
            let kernel = LayerNormGrad::new(isa, options);
            let parts = kernel.parts();
            let made = Rig::new(kernel).run(&[
                Buffer::f32s(&x),
                Buffer::f32s(&dy),
                Buffer::f32s(&scale),
                Buffer::unset(rows * len),
                Buffer::unset(parts * len),
                Buffer::unset(parts * len),
            ]);
            let (mut dx, mut d_scale, mut d_bias) = (vec![], vec![0.0; len], vec![0.0; len]);
            for (x, dy) in x.chunks(len).zip(dy.chunks(len)) {
                let line = line(x, options);
                let g: Vec<f64> = dy
                    .iter()
                    .zip(&scale)
                    .map(|(d, s)| f64::from(*d) * f64::from(*s))
                    .collect();
                let plain = if options.centred { mean(&g) } else { 0.0 };
                let along = mean(
                    &g.iter()
                        .zip(&line.unit)
                        .map(|(g, u)| g * u)
                        .collect::<Vec<_>>(),
                );
                for index in 0..len {
                    let unit = line.unit[index];
                    dx.push((line.inv_std * (g[index] - plain - unit * along)) as f32);
                    d_scale[index] += f64::from(dy[index]) * unit;
                    d_bias[index] += f64::from(dy[index]);
                }
            }
            Rig::assert_close(&made[3].to_f32s(), &dx, 1e-5);
            let shape = AxisShape {
                outer: 1,
                len: parts,
                inner: len,
            };
            for (sums, expected) in [(&made[4], d_scale), (&made[5], d_bias)] {
                let operands = [sums.clone(), Buffer::unset(len)];
                let sum = Rig::new(Reduce::new(isa, Reduction::Sum, shape)).run(&operands);
                Rig::assert_close(&sum[1].to_f32s(), &floats(expected.into_iter()), 1e-5);
            }
        }
    }
}
