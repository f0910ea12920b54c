//! Softmaxes and cross entropy against plain `f64`.

use super::*;
use crate::testing::{Buffer, Rig};
use crate::{DType, Isa};

const SHAPES: [[usize; 3]; 9] = [
    [5, 10, 1],
    [130, 33, 1],
    [2, 3001, 1],
    [1, 1, 1],
    [3, 4, 7],
    [2, 21, 50],
    [0, 4, 3],
    [4, 0, 1],
    [3, 5, 0],
];

fn shapes() -> impl Iterator<Item = AxisShape> {
    SHAPES
        .into_iter()
        .map(|[outer, len, inner]| AxisShape { outer, len, inner })
}

/// Applies `f` to every line of `inputs`.
fn each_line(shape: AxisShape, inputs: &[&[f32]], f: impl Fn(&[Vec<f64>]) -> Vec<f64>) -> Vec<f32> {
    let mut made = vec![0.0; shape.elements()];
    for outer in 0..shape.outer {
        for inner in 0..shape.inner {
            let at = |index: usize| (outer * shape.len + index) * shape.inner + inner;
            let line = |x: &&[f32]| (0..shape.len).map(|i| f64::from(x[at(i)])).collect();
            let values = f(&inputs.iter().map(line).collect::<Vec<Vec<f64>>>());
            values
                .into_iter()
                .enumerate()
                .for_each(|(i, y)| made[at(i)] = y as f32);
        }
    }
    made
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
    x.iter().map(|x| x - largest - sum.ln()).collect()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    log_softmax(x).into_iter().map(f64::exp).collect()
}

fn logits(shape: AxisShape, seed: u64) -> Vec<f32> {
    Rig::ramp(shape.elements(), seed)
        .into_iter()
        .map(|x| 9.0 * x)
        .collect()
}

#[test]
fn values_agree_with_plain_numbers() {
    for isa in Isa::available() {
        for shape in shapes() {
            let x = logits(shape, 1);
            let operands = [Buffer::f32s(&x), Buffer::unset(x.len())];
            let made = Rig::new(Softmax::new(isa, shape)).run(&operands)[1].to_f32s();
            Rig::assert_close(&made, &each_line(shape, &[&x], |x| softmax(&x[0])), 1e-6);
            let made = Rig::new(Softmax::logarithm(isa, shape)).run(&operands)[1].to_f32s();
            Rig::assert_close(
                &made,
                &each_line(shape, &[&x], |x| log_softmax(&x[0])),
                1e-6,
            );
        }
    }
}

#[test]
fn gradients_agree_with_plain_numbers() {
    for isa in Isa::available() {
        for shape in shapes() {
            let (x, dy) = (logits(shape, 2), Rig::ramp(shape.elements(), 3));
            let y = each_line(shape, &[&x], |x| softmax(&x[0]));
            let operands = [Buffer::f32s(&y), Buffer::f32s(&dy), Buffer::unset(y.len())];
            let made = Rig::new(SoftmaxGrad::new(isa, shape)).run(&operands)[2].to_f32s();
            let expected = each_line(shape, &[&y, &dy], |v| {
                let sum: f64 = v[0].iter().zip(&v[1]).map(|(y, dy)| y * dy).sum();
                v[0].iter()
                    .zip(&v[1])
                    .map(|(y, dy)| y * (dy - sum))
                    .collect()
            });
            Rig::assert_close(&made, &expected, 2e-6);
            let y = each_line(shape, &[&x], |x| log_softmax(&x[0]));
            let operands = [Buffer::f32s(&y), Buffer::f32s(&dy), Buffer::unset(y.len())];
            let made = Rig::new(SoftmaxGrad::logarithm(isa, shape)).run(&operands)[2].to_f32s();
            let expected = each_line(shape, &[&y, &dy], |v| {
                let sum: f64 = v[1].iter().sum();
                v[0].iter()
                    .zip(&v[1])
                    .map(|(y, dy)| dy - y.exp() * sum)
                    .collect()
            });
            Rig::assert_close(&made, &expected, 2e-6);
        }
    }
}

#[test]
fn extremes_are_kept_apart() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [
        [1e4, -1e4, 1e4, -inf, 0.0],
        [0.0, nan, 1.0, 2.0, 3.0],
        [-inf, -inf, -inf, -inf, -inf],
        [-3e38, -3e38, -inf, -3e38, -3e38],
    ];
    let shape = AxisShape::new(&[4, 5], 1);
    for isa in Isa::available() {
        let operands = [Buffer::f32s(x.as_flattened()), Buffer::unset(20)];
        let made = Rig::new(Softmax::new(isa, shape)).run(&operands)[1].to_f32s();
        assert_eq!(made[..5], [0.5, 0.0, 0.5, 0.0, 0.0]);
        assert!(made[5..15].iter().all(|y| y.is_nan()));
        assert_eq!(made[15..], [0.25, 0.25, 0.0, 0.25, 0.25]);
    }
}

struct Case {
    shape: AxisShape,
    logits: Vec<f32>,
    labels: Vec<i64>,
    weights: Vec<f32>,
    ignored: i64,
}

fn case(shape: AxisShape) -> Case {
    let ignored = -1;
    let labels = (0..shape.lines()).map(|line| match line % 7 {
        3 => ignored,
        _ => (line * 5 % shape.len.max(1)) as i64,
    });
    Case {
        logits: logits(shape, 4),
        labels: labels.collect(),
        weights: (0..shape.len)
            .map(|class| 0.5 + class as f32 * 0.01)
            .collect(),
        ignored,
        shape,
    }
}

impl Case {
    fn options(&self, scale_per_line: bool) -> CrossEntropyOptions {
        CrossEntropyOptions {
            label_dtype: DType::I64,
            ignore_index: Some(self.ignored),
            scale_per_line,
        }
    }

    /// Index of a line's element of class 0.
    fn start(&self, line: usize) -> usize {
        let AxisShape { len, inner, .. } = self.shape;
        line / inner * len * inner + line % inner
    }

    fn loss(&self, log_prob: &[f32], line: usize) -> f32 {
        let label = self.labels[line];
        if label == self.ignored {
            return 0.0;
        }
        let at = self.start(line) + label as usize * self.shape.inner;
        -self.weights[label as usize] * log_prob[at]
    }
}

#[test]
fn cross_entropy_agrees_with_plain_numbers() {
    for isa in Isa::available() {
        for shape in shapes().filter(|shape| shape.len > 0) {
            let case = case(shape);
            let (lines, all) = (shape.lines(), shape.elements());
            let scale = Rig::ramp(lines, 8);
            let rig = Rig::new(CrossEntropy::new(isa, shape, case.options(true)).unwrap());
            let made = rig.run(&[
                Buffer::f32s(&case.logits),
                Buffer::of(&case.labels),
                Buffer::f32s(&case.weights),
                Buffer::f32s(&scale),
                Buffer::f32s(&[4.0]),
                Buffer::unset(lines),
                Buffer::unset(all),
                Buffer::unset(all),
            ]);
            let log_prob = each_line(shape, &[&case.logits], |x| log_softmax(&x[0]));
            Rig::assert_close(&made[6].to_f32s(), &log_prob, 1e-6);
            let loss: Vec<f32> = (0..lines).map(|line| case.loss(&log_prob, line)).collect();
            Rig::assert_close(&made[5].to_f32s(), &loss, 1e-6);
            let mut gradient: Vec<f32> = log_prob.iter().map(|x| x.exp()).collect();
            for (line, scale) in scale.iter().enumerate() {
                let label = case.labels[line];
                for class in 0..shape.len {
                    let at = case.start(line) + class * shape.inner;
                    gradient[at] -= f32::from(u8::from(class as i64 == label));
                    gradient[at] *= match label {
                        label if label == case.ignored => 0.0,
                        label => case.weights[label as usize] * scale / 4.0,
                    };
                }
            }
            Rig::assert_close(&made[7].to_f32s(), &gradient, 2e-6);
        }
    }
}

#[test]
fn only_what_is_wanted_is_made() {
    let shape = AxisShape::new(&[3, 4], 1);
    let options = CrossEntropyOptions {
        label_dtype: DType::I32,
        ignore_index: None,
        scale_per_line: false,
    };
    for isa in Isa::available() {
        let rig = Rig::new(CrossEntropy::new(isa, shape, options).unwrap());
        let absent = Buffer::absent;
        let mut operands = vec![Buffer::f32s(&[0.0; 12]), Buffer::of(&[1i32, 9, 0])];
        operands.extend([
            absent(),
            absent(),
            absent(),
            Buffer::unset(3),
            absent(),
            absent(),
        ]);
        let made = rig.run(&operands)[5].to_f32s();
        assert!((made[0] - 4f32.ln()).abs() < 1e-6 && made[1].is_nan());
    }
}

#[test]
fn label_weights_are_summed() {
    let case = case(AxisShape::new(&[400, 6], 1));
    let kernel = || LabelWeight::new(400, 6, case.options(false)).unwrap();
    let labels = || Buffer::of(&case.labels);
    let kept = case.labels.iter().filter(|label| **label != case.ignored);
    let made = Rig::new(kernel()).run(&[labels(), Buffer::absent(), Buffer::unset(1)]);
    assert_eq!(made[2].to_f32s()[0], kept.clone().count() as f32);
    let total: f32 = kept.map(|label| case.weights[*label as usize]).sum();
    let made = Rig::new(kernel()).run(&[labels(), Buffer::f32s(&case.weights), Buffer::unset(1)]);
    Rig::assert_close(&made[2].to_f32s(), &[total], 1e-5);
}
