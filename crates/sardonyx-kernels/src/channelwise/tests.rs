//! Depthwise convolution and pooling, with their gradients, against their definitions.

use super::*;
use crate::Isa;
use crate::product::{Activation, Addend, Gate, SumShards};
use crate::testing::{Buffer, Draw, Rig};

/// Calls `visit(output element, input element, kernel position)` for every element of every
/// window that lies within the image.
fn pairs(shape: &WindowShape, mut visit: impl FnMut(usize, usize, usize)) {
    let [out_h, out_w] = shape.out;
    for y in 0..shape.out_len() {
        let (pixel, c) = (y / shape.channels, y % shape.channels);
        let (n, oy, ox) = (
            pixel / (out_h * out_w),
            pixel / out_w % out_h,
            pixel % out_w,
        );
        for k in 0..shape.taps() {
            let iy = oy * shape.stride[0] + k / shape.kernel[1] * shape.dilation[0];
            let ix = ox * shape.stride[1] + k % shape.kernel[1] * shape.dilation[1];
            let inside = (shape.pads[0]..shape.height + shape.pads[0]).contains(&iy)
                && (shape.pads[1]..shape.width + shape.pads[1]).contains(&ix);
            if inside {
                let (iy, ix) = (iy - shape.pads[0], ix - shape.pads[1]);
                visit(
                    y,
                    ((n * shape.height + iy) * shape.width + ix) * shape.channels + c,
                    k,
                );
            }
        }
    }
}

fn shapes() -> Vec<WindowShape> {
    let plain = WindowShape::plain;
    vec![
        plain([2, 5, 6, 3], [2, 2]),
        WindowShape {
            pads: [1; 4],
            out: [9, 14],
            ..plain([2, 9, 14, 37], [3, 3])
        },
        WindowShape {
            pads: [1; 4],
            stride: [2, 2],
            out: [5, 6],
            ..plain([1, 9, 12, 16], [3, 3])
        },
        WindowShape {
            stride: [2, 2],
            out: [4, 5],
            ..plain([3, 8, 10, 33], [2, 2])
        },
        // Windows that reach over the end, as rounding up makes them.
        WindowShape {
            stride: [3, 2],
            out: [3, 4],
            ..plain([1, 8, 8, 5], [3, 3])
        },
        WindowShape {
            dilation: [2, 3],
            pads: [2, 3, 1, 2],
            out: [8, 7],
            ..plain([1, 9, 8, 4], [3, 3])
        },
        WindowShape {
            out: [1, 1],
            ..plain([2, 7, 7, 20], [7, 7])
        },
        WindowShape {
            out: [1, 1],
            ..plain([1, 17, 18, 3], [17, 18])
        },
        WindowShape {
            stride: [3, 3],
            out: [3, 2],
            ..plain([1, 8, 6, 2], [1, 2])
        },
        plain([0, 4, 4, 2], [2, 2]),
    ]
}

/// With every instruction set and geometry, and with every kind of operand.
fn each(check: impl Fn(Isa, &WindowShape, Draw)) {
    for isa in Isa::available() {
        for shape in shapes() {
            for draw in Rig::DRAWS {
                check(isa, &shape, draw);
            }
        }
    }
}

#[test]
fn depthwise_agrees_with_the_definition() {
    each(|isa, shape, draw| {
        let (x, weights) = (
            draw(shape.in_len(), 1),
            Rig::ramp(shape.taps() * shape.channels, 2),
        );
        let bias = Rig::ramp(shape.channels, 3);
        let mut y: Vec<f32> = (0..shape.out_len())
            .map(|i| bias[i % shape.channels])
            .collect();
        pairs(shape, |out, from, k| {
            y[out] += x[from] * weights[k * shape.channels + out % shape.channels];
        });
        y.iter_mut().for_each(|v| *v = Activation::Relu.of(*v));
        for images in [None, Some(1)] {
            let kernel = DepthwiseConv::new(isa, *shape, Activation::Relu, images).unwrap();
            let made = Rig::new(kernel).run(&[
                Buffer::f32s(&x),
                Buffer::f32s(&weights),
                Buffer::f32s(&bias),
                Buffer::unset(y.len()),
            ]);
            Rig::assert_close(&made[3].to_f32s(), &y, 1e-5);
        }
    });
}

#[test]
fn depthwise_input_gradient_agrees_with_the_definition() {
    each(|isa, shape, draw| {
        let weights = Rig::ramp(shape.taps() * shape.channels, 2);
        let (dy, old) = (draw(shape.out_len(), 1), Rig::ramp(shape.in_len(), 4));
        let x = Rig::ramp(shape.in_len(), 5);
        let mut dx = old.clone();
        pairs(shape, |out, to, k| {
            dx[to] += dy[out] * weights[k * shape.channels + out % shape.channels];
        });
        dx.iter_mut()
            .zip(&x)
            .for_each(|(d, x)| *d *= if *x > 0.0 { 1.0 } else { 0.0 });
        for images in [None, Some(2)] {
            let (addend, gate) = (Addend::Residual, Some(Gate::RELU));
            let kernel =
                DepthwiseConvInputGradient::new(isa, *shape, addend, gate, images).unwrap();
            let made = Rig::new(kernel).run(&[
                Buffer::f32s(&dy),
                Buffer::f32s(&weights),
                Buffer::f32s(&old),
                Buffer::f32s(&x),
                Buffer::unset(dx.len()),
            ]);
            Rig::assert_close(&made[4].to_f32s(), &dx, 1e-5);
        }
    });
}

#[test]
fn depthwise_weight_gradient_agrees_with_the_definition() {
    let large = WindowShape {
        pads: [1; 4],
        out: [40, 40],
        ..WindowShape::plain([5, 40, 40, 24], [3, 3])
    };
    for (isa, shape, draw) in Isa::available().into_iter().flat_map(|isa| {
        shapes()
            .into_iter()
            .chain([large])
            .flat_map(move |shape| Rig::DRAWS.map(|draw| (isa, shape, draw)))
    }) {
        let (x, dy) = (draw(shape.in_len(), 1), Rig::ramp(shape.out_len(), 2));
        let mut dw = vec![0f64; shape.taps() * shape.channels];
        let mut db = vec![0f64; shape.channels];
        pairs(&shape, |out, from, k| {
            dw[k * shape.channels + out % shape.channels] +=
                f64::from(x[from]) * f64::from(dy[out]);
        });
        dy.iter()
            .enumerate()
            .for_each(|(i, d)| db[i % shape.channels] += f64::from(*d));
        let kernel = DepthwiseConvWeightGradient::new(isa, shape, 0).unwrap();
        let shards = kernel.shards();
        assert_eq!(shards > 1, shape == large);
        let made = Rig::new(kernel).run(&[
            Buffer::f32s(&x),
            Buffer::f32s(&dy),
            Buffer::unset(shards * dw.len()),
            Buffer::unset(shards * db.len()),
        ]);
        for (parts, expected) in made[2..].iter().zip([dw, db]) {
            let sum = SumShards::new(isa, shards, expected.len(), false);
            let total = Rig::new(sum).run(&[parts.clone(), Buffer::unset(expected.len())]);
            let expected: Vec<f32> = expected.iter().map(|v| *v as f32).collect();
            Rig::assert_close(&total[1].to_f32s(), &expected, 1e-5);
        }
    }
}

#[test]
fn max_pool_and_its_gradient_agree_with_the_definition() {
    each(|isa, shape, _| {
        // Few distinct values, so that there are ties.
        let x: Vec<f32> = Rig::ramp(shape.in_len(), 1)
            .iter()
            .map(|v| (v * 6.0).round())
            .collect();
        let mut y = vec![f32::NEG_INFINITY; shape.out_len()];
        let mut taken = vec![(0usize, 0usize); y.len()];
        pairs(shape, |out, from, k| {
            if x[from] > y[out] {
                (y[out], taken[out]) = (x[from], (from, k));
            }
        });
        let dy = Rig::ramp(y.len(), 2);
        let mut dx = vec![0f32; x.len()];
        taken
            .iter()
            .zip(&dy)
            .for_each(|((from, _), d)| dx[*from] += d);
        let wide = shape.taps() > 256;
        let unset = if wide {
            Buffer::of(&vec![-7i32; y.len()])
        } else {
            Buffer::of(&vec![77u8; y.len()])
        };
        for images in [None, Some(1)] {
            let pool = MaxPool::new(isa, *shape, images).unwrap();
            let made =
                Rig::new(pool).run(&[Buffer::f32s(&x), Buffer::unset(y.len()), unset.clone()]);
            assert_eq!(made[1].to_f32s(), y);
            let positions: Vec<usize> = if wide {
                made[2].to::<i32>().iter().map(|p| *p as usize).collect()
            } else {
                made[2].to::<u8>().iter().map(|p| usize::from(*p)).collect()
            };
            assert_eq!(positions, taken.iter().map(|(_, k)| *k).collect::<Vec<_>>());
            let gradient = MaxPoolGradient::new(isa, *shape, images).unwrap();
            let back = Rig::new(gradient).run(&[
                Buffer::f32s(&dy),
                made[2].clone(),
                Buffer::unset(dx.len()),
            ]);
            Rig::assert_close(&back[2].to_f32s(), &dx, 1e-6);
        }
    });
}

#[test]
fn max_pool_passes_nan_and_negative_infinity_on() {
    for isa in Isa::available() {
        let shape = WindowShape {
            stride: [1, 2],
            out: [1, 3],
            ..WindowShape::plain([1, 1, 6, 1], [1, 2])
        };
        let low = f32::NEG_INFINITY;
        let x = [1.0, f32::NAN, f32::NAN, 5.0, low, low];
        let made = Rig::new(MaxPool::new(isa, shape, None).unwrap()).run(&[
            Buffer::f32s(&x),
            Buffer::unset(3),
            Buffer::of(&[9u8; 3]),
        ]);
        let y = made[1].to_f32s();
        assert!(y[0].is_nan() && y[1].is_nan() && y[2] == low, "{y:?}");
        assert_eq!(made[2].to::<u8>(), [1, 0, 0]);
    }
}

#[test]
fn average_pool_and_its_gradient_agree_with_the_definition() {
    each(|isa, shape, draw| {
        for count_padding in [false, true] {
            let (x, dy) = (draw(shape.in_len(), 1), draw(shape.out_len(), 2));
            let mut counts = vec![0usize; shape.out_len()];
            pairs(shape, |out, _, _| counts[out] += 1);
            if count_padding {
                // The same windows over the padded image, whose padding is then inside.
                let [top, left, bottom, right] = shape.pads;
                let (height, width) = (shape.height + top + bottom, shape.width + left + right);
                let padded = WindowShape {
                    height,
                    width,
                    pads: [0; 4],
                    ..*shape
                };
                counts.fill(0);
                pairs(&padded, |out, _, _| counts[out] += 1);
            }
            let (mut y, mut dx) = (vec![0f32; dy.len()], vec![0f32; x.len()]);
            pairs(shape, |out, at, _| {
                y[out] += x[at] / counts[out] as f32;
                dx[at] += dy[out] / counts[out] as f32;
            });
            for images in [None, Some(1)] {
                let pool = AveragePool::new(isa, *shape, count_padding, images).unwrap();
                let made = Rig::new(pool).run(&[Buffer::f32s(&x), Buffer::unset(y.len())]);
                Rig::assert_close(&made[1].to_f32s(), &y, 1e-5);
                let back = AveragePoolGradient::new(isa, *shape, count_padding, images).unwrap();
                let made = Rig::new(back).run(&[Buffer::f32s(&dy), Buffer::unset(dx.len())]);
                Rig::assert_close(&made[1].to_f32s(), &dx, 1e-5);
            }
        }
    });
}

#[test]
fn windows_without_an_element_are_refused() {
    let plain = WindowShape::plain([1, 4, 4, 1], [2, 2]);
    assert!(MaxPool::new(Isa::Scalar, plain, None).is_ok());
    assert!(
        MaxPool::new(
            Isa::Scalar,
            WindowShape {
                out: [5, 3],
                ..plain
            },
            None
        )
        .is_err()
    );
    assert!(
        MaxPool::new(
            Isa::Scalar,
            WindowShape {
                pads: [2; 4],
                ..plain
            },
            None
        )
        .is_err()
    );
    assert!(
        MaxPool::new(
            Isa::Scalar,
            WindowShape {
                stride: [0, 1],
                ..plain
            },
            None
        )
        .is_err()
    );
}
