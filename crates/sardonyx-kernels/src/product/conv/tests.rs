//! Convolutions and their gradients against their definition, summed in double precision.

use super::*;
use crate::product::{Activation, Addend, Gate, PackPanels, TransposePanels};
use crate::testing::{Buffer, Draw, Rig};
use crate::{Isa, Kernel};

/// Calls `visit(y index, x index, ONNX weight index)` for every product of the convolution.
pub(super) fn products(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (out_h, out_w) = (shape.out_height(), shape.out_width());
    let (ic, oc) = (
        shape.in_channels / shape.groups,
        shape.out_channels / shape.groups,
    );
    let [kernel_h, kernel_w] = shape.kernel;
    for y in 0..shape.batch * out_h * out_w * shape.out_channels {
        let (pixel, o) = (y / shape.out_channels, y % shape.out_channels);
        let (n, oy, ox) = (
            pixel / (out_h * out_w),
            pixel / out_w % out_h,
            pixel % out_w,
        );
        for k in 0..kernel_h * kernel_w * ic {
            let (tap, c) = (k / ic, k % ic);
            let iy = oy * shape.stride[0] + tap / kernel_w * shape.dilation[0];
            let ix = ox * shape.stride[1] + tap % kernel_w * shape.dilation[1];
            let inside = (shape.pads[0]..shape.height + shape.pads[0]).contains(&iy)
                && (shape.pads[1]..shape.width + shape.pads[1]).contains(&ix);
            if inside {
                let (iy, ix) = (iy - shape.pads[0], ix - shape.pads[1]);
                let x = ((n * shape.height + iy) * shape.width + ix) * shape.in_channels;
                visit(
                    y,
                    x + o / oc * ic + c,
                    (o * ic + c) * kernel_h * kernel_w + tap,
                );
            }
        }
    }
}

/// Geometries with every feature, none of them round.
pub(super) fn shapes() -> Vec<ConvShape> {
    let plain = ConvShape::plain;
    vec![
        plain([2, 9, 11, 3], 5, [3, 3]),
        ConvShape {
            pads: [1; 4],
            ..plain([2, 8, 8, 17], 40, [3, 3])
        },
        ConvShape {
            pads: [1; 4],
            stride: [2, 2],
            ..plain([1, 9, 12, 6], 33, [3, 3])
        },
        ConvShape {
            pads: [0, 2, 1, 3],
            dilation: [2, 3],
            ..plain([1, 10, 9, 4], 7, [2, 3])
        },
        ConvShape {
            groups: 3,
            pads: [1; 4],
            ..plain([2, 6, 5, 6], 9, [3, 3])
        },
        ConvShape {
            groups: 2,
            ..plain([1, 5, 5, 34], 70, [1, 1])
        },
        plain([3, 7, 5, 19], 36, [1, 1]),
        ConvShape {
            stride: [2, 3],
            ..plain([2, 9, 9, 8], 12, [1, 1])
        },
        ConvShape {
            stride: [3, 2],
            pads: [2, 0, 0, 1],
            ..plain([1, 11, 10, 5], 6, [2, 2])
        },
        ConvShape {
            pads: [3; 4],
            stride: [2, 2],
            ..plain([1, 15, 15, 3], 32, [7, 7])
        },
        ConvShape {
            pads: [0, 4, 0, 4],
            ..plain([2, 1, 40, 5], 33, [1, 9])
        },
        ConvShape {
            pads: [1; 4],
            ..plain([5, 4, 4, 40], 64, [3, 3])
        },
        ConvShape {
            pads: [3; 4],
            ..plain([1, 3, 3, 2], 3, [2, 2])
        },
        plain([0, 4, 4, 2], 3, [3, 3]),
        plain([1, 1, 1, 300], 31, [1, 1]),
        ConvShape {
            stride: [2, 2],
            dilation: [2, 2],
            ..plain([1, 9, 9, 3], 4, [3, 3])
        },
    ]
}

/// Every geometry with every kind of operand.
pub(super) fn drawn_shapes() -> impl Iterator<Item = (ConvShape, Draw)> {
    let shapes = shapes().into_iter();
    shapes.flat_map(|shape| Rig::DRAWS.map(|draw| (shape, draw)))
}

pub(super) fn weight_len(shape: &ConvShape) -> usize {
    let [kernel_h, kernel_w] = shape.kernel;
    shape.out_channels * shape.in_channels / shape.groups * kernel_h * kernel_w
}

pub(super) fn pack(isa: Isa, shape: &ConvShape, weights: &[f32]) -> Buffer {
    let operands = [
        Buffer::f32s(weights),
        Buffer::unset(shape.weights().len(isa)),
    ];
    Rig::new(PackPanels::new(isa, shape.weight_map())).run(&operands)[1].clone()
}

fn transpose(isa: Isa, shape: &ConvShape, panels: Buffer) -> Buffer {
    let operands = [panels, Buffer::unset(shape.weights().transposed().len(isa))];
    Rig::new(TransposePanels::new(isa, shape.weights())).run(&operands)[1].clone()
}

fn forward(shape: &ConvShape, x: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut y: Vec<f64> = (0..shape.out_len_total())
        .map(|i| f64::from(bias[i % shape.out_channels]))
        .collect();
    products(shape, |at, from, w| {
        y[at] += f64::from(x[from]) * f64::from(weights[w])
    });
    y.into_iter().map(|v| v as f32).collect()
}

/// Max-pools images of `shape`'s output; gives values and indices.
fn pool(shape: &ConvShape, y: &[f32], window: [usize; 2]) -> (Vec<f32>, Vec<u8>) {
    let (h, w, c) = (shape.out_height(), shape.out_width(), shape.out_channels);
    let (out_h, out_w) = (h / window[0], w / window[1]);
    (0..shape.batch * out_h * out_w * c)
        .map(|i| {
            let (pixel, channel) = (i / c, i % c);
            let (n, oy, ox) = (
                pixel / (out_h * out_w),
                pixel / out_w % out_h,
                pixel % out_w,
            );
            let mut best = (f32::NEG_INFINITY, 0u8);
            for q in 0..window[0] * window[1] {
                let (iy, ix) = (
                    oy * window[0] + q / window[1],
                    ox * window[1] + q % window[1],
                );
                let value = y[((n * h + iy) * w + ix) * c + channel];
                if value > best.0 {
                    best = (value, q as u8);
                }
            }
            best
        })
        .unzip()
}

#[test]
fn forward_agrees_with_the_definition() {
    for (shape, draw) in drawn_shapes() {
        let (x, weights) = (draw(shape.in_len(), 1), Rig::ramp(weight_len(&shape), 2));
        let (bias, old) = (
            Rig::ramp(shape.out_channels, 3),
            Rig::ramp(shape.out_len_total(), 4),
        );
        let sum = forward(&shape, &x, &weights, &bias);
        let expected: Vec<f32> = sum
            .iter()
            .zip(&old)
            .map(|(a, b)| Activation::Relu.of(a + b))
            .collect();
        for isa in Isa::available() {
            for images_per_item in [None, Some(2)] {
                let options = ConvOptions {
                    addend: Addend::Residual,
                    activation: Activation::Relu,
                    images_per_item,
                    ..Default::default()
                };
                let kernel = Conv2d::new(isa, shape, options).unwrap();
                assert_eq!(kernel.flops(), shape.flops());
                let made = Rig::new(kernel).run(&[
                    Buffer::f32s(&x),
                    pack(isa, &shape, &weights),
                    Buffer::f32s(&bias),
                    Buffer::f32s(&old),
                    Buffer::unset(old.len()),
                    Buffer::absent(),
                ]);
                Rig::assert_close(&made[4].to_f32s(), &expected, 2e-6);
            }
        }
    }
}

#[test]
fn pooled_forward_agrees_with_pooling_the_definition() {
    for shape in shapes() {
        let (x, weights) = (
            Rig::ramp(shape.in_len(), 1),
            Rig::ramp(weight_len(&shape), 2),
        );
        let bias = Rig::ramp(shape.out_channels, 3);
        let sum = forward(&shape, &x, &weights, &bias);
        for window in [[2, 2], [1, 3], [3, 3]] {
            let (values, indices) = pool(&shape, &sum, window);
            let shut = |v: f32| v <= 0.0;
            let argmax: Vec<u8> = values
                .iter()
                .zip(&indices)
                .map(|(v, i)| if shut(*v) { 255 } else { *i })
                .collect();
            let expected: Vec<f32> = values.iter().map(|v| v.max(0.0)).collect();
            for isa in Isa::available() {
                let options = ConvOptions {
                    activation: Activation::Relu,
                    pool: Some(window),
                    ..Default::default()
                };
                let made = Rig::new(Conv2d::new(isa, shape, options).unwrap()).run(&[
                    Buffer::f32s(&x),
                    pack(isa, &shape, &weights),
                    Buffer::f32s(&bias),
                    Buffer::absent(),
                    Buffer::unset(values.len()),
                    Buffer::of(&vec![77u8; values.len()]),
                ]);
                Rig::assert_close(&made[4].to_f32s(), &expected, 2e-6);
                assert_eq!(made[5].to::<u8>(), argmax);
            }
        }
    }
}

#[test]
fn pooling_passes_nan_on() {
    for isa in Isa::available() {
        let shape = ConvShape::plain([1, 2, 6, 1], 1, [1, 1]);
        let options = ConvOptions {
            pool: Some([2, 2]),
            ..Default::default()
        };
        let nan = f32::NAN;
        let x = [1.0, nan, 4.0, 5.0, 1.0, 2.0, 3.0, 9.0, nan, 3.0, 4.0, 3.0];
        let made = Rig::new(Conv2d::new(isa, shape, options).unwrap()).run(&[
            Buffer::f32s(&x),
            pack(isa, &shape, &[1.0]),
            Buffer::absent(),
            Buffer::absent(),
            Buffer::unset(3),
            Buffer::of(&[77u8; 3]),
        ]);
        let y = made[4].to_f32s();
        assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 4.0, "{y:?}");
        assert_eq!(made[5].to::<u8>(), [1, 2, 2]);
    }
}

#[test]
fn input_gradient_agrees_with_the_definition() {
    for (shape, draw) in drawn_shapes() {
        let (dy, weights) = (
            draw(shape.out_len_total(), 1),
            Rig::ramp(weight_len(&shape), 2),
        );
        let (x, old) = (Rig::ramp(shape.in_len(), 3), Rig::ramp(shape.in_len(), 4));
        let mut dx: Vec<f64> = old.iter().map(|v| f64::from(*v)).collect();
        products(&shape, |y, at, w| {
            dx[at] += f64::from(dy[y]) * f64::from(weights[w])
        });
        let expected: Vec<f32> = dx
            .iter()
            .zip(&x)
            .map(|(d, x)| *d as f32 * if *x > 0.0 { 1.0 } else { 0.0 })
            .collect();
        for isa in Isa::available() {
            for images_per_item in [None, Some(1)] {
                let options = InputGradientOptions {
                    addend: Addend::Output,
                    gate: Some(Gate::RELU),
                    images_per_item,
                    ..Default::default()
                };
                let kernel = Conv2dInputGradient::new(isa, shape, options).unwrap();
                let made = Rig::new(kernel).run(&[
                    Buffer::f32s(&dy),
                    Buffer::absent(),
                    transpose(isa, &shape, pack(isa, &shape, &weights)),
                    Buffer::absent(),
                    Buffer::f32s(&x),
                    Buffer::f32s(&old),
                ]);
                Rig::assert_close(&made[5].to_f32s(), &expected, 2e-6);
            }
        }
    }
}

/// Pooled gradients with random indices (some of them 255), and the dense ones they stand for.
pub(super) fn pooled_gradient(
    shape: &ConvShape,
    window: [usize; 2],
) -> (Vec<f32>, Vec<u8>, Vec<f32>) {
    let (h, w, c) = (shape.out_height(), shape.out_width(), shape.out_channels);
    let (out_h, out_w) = (h / window[0], w / window[1]);
    let len = shape.batch * out_h * out_w * c;
    let values = Rig::ramp(len, 7);
    let argmax: Vec<u8> = Rig::ramp(len, 8)
        .iter()
        .map(|r| {
            if *r > 0.8 {
                255
            } else {
                (r.abs() * 100.0) as u8 % (window[0] * window[1]) as u8
            }
        })
        .collect();
    let mut dense = vec![0.0; shape.out_len_total()];
    for i in 0..len {
        let (pixel, channel, q) = (i / c, i % c, usize::from(argmax[i]));
        let (n, oy, ox) = (
            pixel / (out_h * out_w),
            pixel / out_w % out_h,
            pixel % out_w,
        );
        if q < window[0] * window[1] {
            let (iy, ix) = (
                oy * window[0] + q / window[1],
                ox * window[1] + q % window[1],
            );
            dense[((n * h + iy) * w + ix) * c + channel] = values[i];
        }
    }
    (values, argmax, dense)
}

#[test]
fn unpooling_input_gradient_agrees_with_the_dense_one() {
    for shape in shapes() {
        let weights = Rig::ramp(weight_len(&shape), 2);
        for window in [[2, 2], [3, 1]] {
            let (dy, argmax, dense) = pooled_gradient(&shape, window);
            let mut dx = vec![0f64; shape.in_len()];
            products(&shape, |y, at, w| {
                dx[at] += f64::from(dense[y]) * f64::from(weights[w])
            });
            let expected: Vec<f32> = dx.iter().map(|d| *d as f32).collect();
            for isa in Isa::available() {
                let options = InputGradientOptions {
                    unpool: Some(window),
                    ..Default::default()
                };
                let kernel = Conv2dInputGradient::new(isa, shape, options).unwrap();
                let made = Rig::new(kernel).run(&[
                    Buffer::f32s(&dy),
                    Buffer::of(&argmax),
                    transpose(isa, &shape, pack(isa, &shape, &weights)),
                    Buffer::absent(),
                    Buffer::absent(),
                    Buffer::unset(expected.len()),
                ]);
                Rig::assert_close(&made[5].to_f32s(), &expected, 2e-6);
            }
        }
    }
}

#[test]
fn impossible_geometry_is_refused() {
    let good = ConvShape::plain([1, 4, 4, 4], 4, [3, 3]);
    let bad = [
        ConvShape {
            kernel: [5, 3],
            ..good
        },
        ConvShape {
            stride: [0, 1],
            ..good
        },
        ConvShape { groups: 3, ..good },
        ConvShape { groups: 0, ..good },
        ConvShape {
            batch: usize::MAX,
            ..good
        },
        ConvShape {
            batch: 1 << 24,
            height: 1 << 24,
            width: 1 << 24,
            ..good
        },
    ];
    for shape in bad {
        assert!(
            Conv2d::new(Isa::Scalar, shape, ConvOptions::default()).is_err(),
            "{shape:?}"
        );
    }
    let pooled = |window| ConvOptions {
        pool: Some(window),
        ..Default::default()
    };
    assert!(Conv2d::new(Isa::Scalar, good, pooled([16, 16])).is_err());
    assert!(Conv2d::new(Isa::Scalar, good, pooled([0, 2])).is_err());
}
