//! Every reduction against plain `f64`, in one call and in two.

use super::*;
use crate::testing::{Buffer, Rig};

const ALL: [Reduction; 10] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::SumSquare,
    Reduction::L1,
    Reduction::L2,
    Reduction::Product,
    Reduction::Max,
    Reduction::Min,
    Reduction::LogSum,
    Reduction::LogSumExp,
];

fn plain(reduction: Reduction, line: &[f64]) -> f64 {
    let sum = |f: fn(&f64) -> f64| line.iter().map(f).sum::<f64>();
    match reduction {
        Reduction::Sum => sum(|x| *x),
        Reduction::Mean => sum(|x| *x) / line.len() as f64,
        Reduction::SumSquare => sum(|x| x * x),
        Reduction::L1 => sum(|x| x.abs()),
        Reduction::L2 => sum(|x| x * x).sqrt(),
        Reduction::Product => line.iter().product(),
        Reduction::Max => line.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Reduction::Min => line.iter().copied().fold(f64::INFINITY, f64::min),
        Reduction::LogSum => sum(|x| *x).ln(),
        Reduction::LogSumExp => {
            let largest = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let finite = if largest.is_finite() { largest } else { 0.0 };
            let sum: f64 = line.iter().map(|x| (x - finite).exp()).sum();
            finite + sum.ln()
        }
    }
}

fn lines(shape: AxisShape, x: &[f32]) -> Vec<Vec<f64>> {
    let AxisShape { len, inner, .. } = shape;
    (0..shape.lines())
        .map(|line| line / inner * len * inner + line % inner)
        .map(|start| (0..len).map(|i| f64::from(x[start + i * inner])).collect())
        .collect()
}

fn shape([outer, len, inner]: [usize; 3]) -> AxisShape {
    AxisShape { outer, len, inner }
}

/// Positive, so that logarithms of sums exist; near 1, so that products do.
fn values(shape: AxisShape) -> Vec<f32> {
    let spread = if shape.len > 1000 { 1e-3 } else { 0.2 };
    let x = Rig::ramp(shape.elements(), 5);
    x.into_iter().map(|x| 1.0 + spread * x).collect()
}

#[test]
fn every_reduction_agrees_with_plain_numbers() {
    let shapes = [
        [5, 10, 1],
        [400, 130, 1],
        [1, 9001, 1],
        [3, 4, 7],
        [1, 300, 200],
        [2, 65, 64],
        [7, 1, 33],
        [0, 4, 3],
        [4, 0, 3],
        [4, 0, 1],
        [3, 5, 0],
    ];
    for isa in Isa::available() {
        for (shape, reduction) in shapes.iter().flat_map(|s| ALL.map(|r| (shape(*s), r))) {
            let x = values(shape);
            let operands = [Buffer::f32s(&x), Buffer::unset(shape.lines())];
            let made = Rig::new(Reduce::new(isa, reduction, shape)).run(&operands)[1].to_f32s();
            let expected: Vec<f32> = lines(shape, &x)
                .iter()
                .map(|line| plain(reduction, line) as f32)
                .collect();
            for (a, b) in made.iter().zip(&expected) {
                let same = a == b || (a.is_nan() && b.is_nan());
                let near = same || (a - b).abs() <= 3e-6 * b.abs().max(1.0);
                assert!(near, "{reduction:?} of {shape:?} is {a}, not {b}");
            }
        }
    }
}

#[test]
fn long_axes_are_reduced_in_parts() {
    for isa in Isa::available() {
        for (shape, reduction) in [[1, 200_003, 1], [1, 5001, 33], [2, 3000, 70]]
            .iter()
            .flat_map(|s| ALL.map(|r| (shape(*s), r)))
        {
            let x = values(shape);
            let [first, second] = Reduce::in_two(isa, reduction, shape).unwrap();
            let middle = Buffer::unset(first.output_len());
            let middle = Rig::new(first)
                .run(&[Buffer::f32s(&x), middle])
                .swap_remove(1);
            let made = Rig::new(second).run(&[middle, Buffer::unset(shape.lines())]);
            let expected: Vec<f32> = lines(shape, &x)
                .iter()
                .map(|line| plain(reduction, line) as f32)
                .collect();
            // Every factor of a product brings its own rounding.
            let tolerance = if reduction == Reduction::Product {
                3e-4
            } else {
                3e-6
            };
            Rig::assert_close(&made[1].to_f32s(), &expected, tolerance);
        }
        assert!(Reduce::in_two(isa, Reduction::Sum, shape([1000, 100, 1])).is_none());
        assert!(Reduce::in_two(isa, Reduction::Sum, shape([1, 100, 1])).is_none());
        assert!(Reduce::in_two(isa, Reduction::Sum, shape([1, 0, 8])).is_none());
    }
}

#[test]
fn not_a_number_stays_wherever_it_is() {
    for isa in Isa::available() {
        for (size, at) in [33, 100, 5000]
            .into_iter()
            .flat_map(|n| [(n, 0), (n, 31), (n, n - 1)])
        {
            for inner in [1, 3, 70] {
                let shape = shape([1, size, inner]);
                let mut x = values(shape);
                x[at * inner] = f32::NAN;
                for reduction in ALL {
                    let operands = [Buffer::f32s(&x), Buffer::unset(inner)];
                    let rig = Rig::new(Reduce::new(isa, reduction, shape));
                    let made = rig.run(&operands)[1].to_f32s();
                    assert!(
                        made[0].is_nan(),
                        "{reduction:?} {size} {at} {inner} on {isa}"
                    );
                    assert!(made[1..].iter().all(|y| y.is_finite()));
                }
            }
        }
    }
}

#[test]
fn infinities_are_summed() {
    let inf = f32::INFINITY;
    let x = [1.0, -inf, -inf, -inf, inf, 2.0];
    for isa in Isa::available() {
        for inner in [1, 2] {
            let shape = shape([3, 2, 1]);
            let line = |line: usize, index: usize| x[2 * line + index];
            let (shape, x) = if inner == 1 {
                (shape, x.to_vec())
            } else {
                let side_by_side = AxisShape {
                    outer: 1,
                    len: 2,
                    inner: 3,
                };
                let x = (0..6).map(|i| line(i % 3, i / 3)).collect();
                (side_by_side, x)
            };
            let rig = Rig::new(Reduce::new(isa, Reduction::LogSumExp, shape));
            let made = rig.run(&[Buffer::f32s(&x), Buffer::unset(3)])[1].to_f32s();
            assert_eq!(made, [1.0, -inf, inf]);
        }
    }
}

#[test]
fn indices_of_extremes() {
    let x = [3.0, 7.0, 7.0, 1.0, f32::NAN, 2.0, f32::NAN, 1.0];
    let run = |kernel: ArgReduce, len| {
        let operands = [Buffer::f32s(&x), Buffer::of(&vec![-1i64; len])];
        Rig::new(kernel).run(&operands)[1].to::<i64>()
    };
    let lines = shape([2, 4, 1]);
    assert_eq!(run(ArgReduce::largest(lines), 2), [1, 0]);
    assert_eq!(run(ArgReduce::largest(lines).last_of_equals(), 2), [2, 2]);
    assert_eq!(run(ArgReduce::smallest(lines), 2), [3, 0]);
    let side_by_side = shape([1, 2, 4]);
    assert_eq!(run(ArgReduce::largest(side_by_side), 4), [1, 0, 1, 0]);
    assert_eq!(
        run(ArgReduce::smallest(side_by_side).last_of_equals(), 4),
        [1, 1, 1, 1]
    );
    assert_eq!(run(ArgReduce::largest(shape([2, 0, 3])), 6), [0; 6]);
}
