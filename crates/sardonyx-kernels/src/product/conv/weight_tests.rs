//! Weight gradients against their definition, summed in double precision.

use super::tests::{drawn_shapes, pack, pooled_gradient, products, shapes, weight_len};
use super::*;
use crate::Isa;
use crate::product::{SumShards, UnpackPanels};
use crate::testing::{Buffer, Rig};

/// The weight gradient in ONNX order and the bias gradient, in double precision.
fn weight_gradient(shape: &ConvShape, x: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut dw = vec![0f64; weight_len(shape)];
    products(shape, |y, from, w| {
        dw[w] += f64::from(dy[y]) * f64::from(x[from])
    });
    let mut db = vec![0f64; shape.out_channels];
    for (i, d) in dy.iter().enumerate() {
        db[i % shape.out_channels] += f64::from(*d);
    }
    (
        dw.iter().map(|d| *d as f32).collect(),
        db.iter().map(|d| *d as f32).collect(),
    )
}

fn reduced(isa: Isa, shards: usize, parts: &Buffer) -> Buffer {
    let len = parts.to_f32s().len() / shards;
    let kernel = SumShards::new(isa, shards, len, false);
    Rig::new(kernel).run(&[parts.clone(), Buffer::unset(len)])[1].clone()
}

/// `operands` are the input, its gradient, and where that is pooled.
fn check_weight_gradient(
    isa: Isa,
    shape: &ConvShape,
    operands: [Buffer; 3],
    expected: &[Vec<f32>; 2],
) {
    let [x, dy @ ..] = operands;
    let unpool = (dy[1] != Buffer::absent()).then_some([2, 2]);
    for most_shards in [0, 1, 3] {
        let options = WeightGradientOptions {
            unpool,
            accumulate: false,
            most_shards,
        };
        let kernel = Conv2dWeightGradient::new(isa, *shape, options).unwrap();
        let (shards, len) = (kernel.shards(), shape.weights().len(isa));
        assert!(most_shards == 0 || shards <= most_shards);
        let made = Rig::new(kernel).run(&[
            x.clone(),
            dy[0].clone(),
            dy[1].clone(),
            Buffer::unset(shards * len),
            Buffer::unset(shards * shape.out_channels),
        ]);
        let panels = reduced(isa, shards, &made[3]);
        let is_number = |buffer: &Buffer| buffer.to_f32s().iter().all(|x| x.is_finite());
        assert!(
            is_number(&panels) || !is_number(&x),
            "every lane is written"
        );
        let unpack = Rig::new(UnpackPanels::new(isa, shape.weight_map()));
        let dw = unpack.run(&[panels, Buffer::unset(weight_len(shape))]);
        Rig::assert_close(&dw[1].to_f32s(), &expected[0], 3e-6);
        Rig::assert_close(
            &reduced(isa, shards, &made[4]).to_f32s(),
            &expected[1],
            3e-6,
        );
    }
}

#[test]
fn weight_gradient_agrees_with_the_definition() {
    for (shape, draw) in drawn_shapes() {
        let (x, dy) = (draw(shape.in_len(), 3), Rig::ramp(shape.out_len_total(), 1));
        let (dw, db) = weight_gradient(&shape, &x, &dy);
        for isa in Isa::available() {
            let operands = [Buffer::f32s(&x), Buffer::f32s(&dy), Buffer::absent()];
            check_weight_gradient(isa, &shape, operands, &[dw.clone(), db.clone()]);
        }
    }
}

#[test]
fn unpooling_weight_gradient_agrees_with_the_dense_one() {
    for shape in shapes() {
        let x = Rig::ramp(shape.in_len(), 3);
        let (dy, argmax, dense) = pooled_gradient(&shape, [2, 2]);
        let (dw, db) = weight_gradient(&shape, &x, &dense);
        for isa in Isa::available() {
            let operands = [Buffer::f32s(&x), Buffer::f32s(&dy), Buffer::of(&argmax)];
            check_weight_gradient(isa, &shape, operands, &[dw.clone(), db.clone()]);
        }
    }
}

#[test]
fn weight_gradient_accumulates() {
    let shape = ConvShape {
        pads: [1; 4],
        ..ConvShape::plain([3, 6, 7, 5], 9, [3, 3])
    };
    let (x, dy) = (
        Rig::ramp(shape.in_len(), 3),
        Rig::ramp(shape.out_len_total(), 1),
    );
    let (dw, db) = weight_gradient(&shape, &x, &dy);
    for isa in Isa::available() {
        let (old, old_bias) = (Rig::ramp(dw.len(), 5), Rig::ramp(db.len(), 6));
        let options = WeightGradientOptions {
            accumulate: true,
            most_shards: 1,
            ..Default::default()
        };
        let made = Rig::new(Conv2dWeightGradient::new(isa, shape, options).unwrap()).run(&[
            Buffer::f32s(&x),
            Buffer::f32s(&dy),
            Buffer::absent(),
            pack(isa, &shape, &old),
            Buffer::f32s(&old_bias),
        ]);
        let unpack = Rig::new(UnpackPanels::new(isa, shape.weight_map()));
        let sum = unpack.run(&[made[3].clone(), Buffer::unset(dw.len())]);
        let add = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        Rig::assert_close(&sum[1].to_f32s(), &add(&dw, &old), 3e-6);
        Rig::assert_close(&made[4].to_f32s(), &add(&db, &old_bias), 3e-6);
    }
}
