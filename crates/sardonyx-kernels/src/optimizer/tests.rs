//! Every rule against PyTorch and Keras (`tests/golden/optimizers.py`), step by step.

use super::*;
use crate::testing::{Buffer, Rig};

const GOLDEN: &str = include_str!("../../tests/golden/optimizers.txt");
const STEPS: usize = 6;

/// The fractions of the script that made the golden file.
fn parameters(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0)
        .collect()
}

fn gradients(len: usize, step: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (((i * 53 + step * 29) % 97) as f32 - 48.0) / 128.0)
        .collect()
}

/// Parameters after all steps; state starts at `start`.
fn train(isa: Isa, rule: Rule, mut hyper: Hyper, start: f32, len: usize) -> Vec<f32> {
    let rig = Rig::new(Optimizer::new(isa, rule, len));
    let mut kept = vec![Buffer::f32s(&parameters(len))];
    kept.extend((0..rule.states()).map(|_| Buffer::f32s(&vec![start; len])));
    for step in 1..=STEPS {
        hyper.step = step as f64;
        hyper.momentum_product *= hyper.nadam_momentum(hyper.step);
        // Half the gradient, scaled by two.
        let halves: Vec<f32> = gradients(len, step).iter().map(|g| g * 0.5).collect();
        let mut operands = vec![Buffer::of(&hyper.to_array()), Buffer::f32s(&[2.0])];
        operands.push(Buffer::f32s(&halves));
        operands.append(&mut kept);
        kept = rig.run(&operands).split_off(3);
    }
    kept[0].to_f32s()
}

fn check(name: &str, rule: Rule, hyper: Hyper, start: f32) {
    let line = GOLDEN
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no golden values of {name}"));
    let expected: Vec<f32> = line
        .split(' ')
        .map(|value| value.parse().unwrap())
        .collect();
    for isa in Isa::available() {
        let made = train(isa, rule, hyper, start, expected.len());
        for (a, b) in made.iter().zip(&expected) {
            assert!(
                (a - b).abs() <= 1e-6 * b.abs().max(0.3),
                "{name} is {a}, not {b}, on {isa}"
            );
        }
    }
}

fn hyper(learning_rate: f64) -> Hyper {
    Hyper {
        learning_rate,
        ..Hyper::default()
    }
}

fn adam(decoupled: bool, amsgrad: bool, epsilon: EpsilonPlace) -> Rule {
    Rule::Adam {
        decoupled,
        amsgrad,
        epsilon,
    }
}

#[test]
fn gradient_descent_with_and_without_momentum() {
    let rule = |nesterov, scaled_velocity| Rule::Momentum {
        nesterov,
        scaled_velocity,
    };
    let momentum = Hyper {
        momentum: 0.9,
        ..hyper(0.1)
    };
    let decayed = Hyper {
        weight_decay: 0.05,
        ..hyper(0.1)
    };
    check("torch_sgd", Rule::Sgd, hyper(0.1), 0.0);
    check("torch_sgd_decay", Rule::Sgd, decayed, 0.0);
    let dampened = Hyper {
        momentum: 0.9,
        dampening: 0.25,
        ..decayed
    };
    check("torch_momentum", rule(false, false), dampened, 0.0);
    check("torch_nesterov", rule(true, false), momentum, 0.0);
    check("keras_momentum", rule(false, true), momentum, 0.0);
    check("keras_nesterov", rule(true, true), momentum, 0.0);
}

#[test]
fn adam_in_all_its_forms() {
    use EpsilonPlace::{Keras, OutsideRoot};
    let decay = Hyper {
        weight_decay: 0.05,
        ..hyper(0.01)
    };
    let quick = Hyper {
        beta1: 0.8,
        beta2: 0.5,
        ..hyper(0.01)
    };
    check("torch_adam", adam(false, false, OutsideRoot), decay, 0.0);
    check("torch_amsgrad", adam(false, true, OutsideRoot), quick, 0.0);
    check("torch_adamw", adam(true, false, OutsideRoot), decay, 0.0);
    let wide = |hyper: Hyper| Hyper {
        epsilon: 1e-3,
        ..hyper
    };
    check(
        "keras_adam",
        adam(false, false, Keras),
        wide(hyper(0.01)),
        0.0,
    );
    let quick = Hyper {
        beta1: 0.9,
        ..quick
    };
    check("keras_amsgrad", adam(false, true, Keras), wide(quick), 0.0);
    check("keras_adamw", adam(true, false, Keras), wide(decay), 0.0);
}

#[test]
fn the_adaptive_others() {
    use EpsilonPlace::{Keras, OutsideRoot};
    let adagrad = Hyper {
        schedule_decay: 0.1,
        epsilon: 1e-10,
        ..hyper(0.1)
    };
    check(
        "torch_adagrad",
        Rule::Adagrad {
            epsilon: OutsideRoot,
        },
        adagrad,
        0.0,
    );
    let keras = Hyper {
        epsilon: 1e-3,
        ..hyper(0.1)
    };
    check(
        "keras_adagrad",
        Rule::Adagrad { epsilon: Keras },
        keras,
        0.1,
    );
    let adadelta = Hyper {
        beta2: 0.9,
        epsilon: 1e-6,
        ..hyper(1.0)
    };
    check("torch_adadelta", Rule::Adadelta, adadelta, 0.0);
    check("keras_adadelta", Rule::Adadelta, adadelta, 0.0);
    check(
        "torch_adamax",
        Rule::Adamax {
            epsilon: OutsideRoot,
        },
        hyper(0.01),
        0.0,
    );
    let keras = Hyper {
        epsilon: 1e-3,
        ..hyper(0.01)
    };
    check("keras_adamax", Rule::Adamax { epsilon: Keras }, keras, 0.0);
    let nadam = Hyper {
        schedule_decay: 0.004,
        ..hyper(0.01)
    };
    check("torch_nadam", Rule::NAdam, nadam, 0.0);
    let lion = Hyper {
        beta2: 0.99,
        weight_decay: 0.05,
        ..hyper(0.01)
    };
    check("keras_lion", Rule::Lion, lion, 0.0);
}

#[test]
fn root_mean_squares() {
    use EpsilonPlace::{Keras, OutsideRoot};
    let rule = |centred, momentum, epsilon| Rule::RmsProp {
        centred,
        momentum,
        epsilon,
    };
    let plain = Hyper {
        beta2: 0.9,
        momentum: 0.5,
        ..hyper(0.01)
    };
    check("torch_rmsprop", rule(false, false, OutsideRoot), plain, 0.0);
    check(
        "torch_rmsprop_centred",
        rule(true, false, OutsideRoot),
        plain,
        0.0,
    );
    check(
        "torch_rmsprop_momentum",
        rule(false, true, OutsideRoot),
        plain,
        0.0,
    );
    check(
        "torch_rmsprop_full",
        rule(true, true, OutsideRoot),
        plain,
        0.0,
    );
    let wide = Hyper {
        epsilon: 1e-3,
        ..plain
    };
    check("keras_rmsprop", rule(false, false, Keras), wide, 0.0);
    check("keras_rmsprop_full", rule(true, true, Keras), wide, 0.0);
}

/// What the golden sizes do not reach: several items, and none.
#[test]
fn any_number_of_parameters() {
    let rule = adam(true, true, EpsilonPlace::OutsideRoot);
    for isa in Isa::available() {
        let long = train(isa, rule, hyper(0.01), 0.0, 2 * ITEM_LEN + 19);
        // Gradients and parameters repeat, and so must what becomes of them.
        let period = 97 * 101;
        assert_eq!(long[period..], long[..long.len() - period]);
        assert!(train(isa, rule, hyper(0.01), 0.0, 0).is_empty());
    }
}

#[test]
fn gradients_are_clipped_by_their_norm() {
    let lens = [0, 5, 40_000, 1];
    let gradients: Vec<Vec<f32>> = lens
        .iter()
        .enumerate()
        .map(|(seed, len)| Rig::ramp(*len, seed as u64))
        .collect();
    let squares = gradients.iter().flatten().map(|g| f64::from(*g).powi(2));
    let norm = squares.sum::<f64>().sqrt();
    for isa in Isa::available() {
        let kernel = GradientNorm::new(isa, &lens);
        let partials = kernel.partials();
        let mut operands: Vec<Buffer> = gradients.iter().map(|g| Buffer::f32s(g)).collect();
        operands.push(Buffer::unset(partials));
        let sums = Rig::new(kernel).run(&operands).pop().unwrap();
        for (limit, scale) in [(3.0, 3.0 / (norm + 1e-6)), (1e9, 1.0)] {
            let operands = [
                sums.clone(),
                Buffer::of(&[limit]),
                Buffer::unset(1),
                Buffer::unset(1),
            ];
            let made = Rig::new(ClipScale::new(partials)).run(&operands);
            Rig::assert_close(&made[2].to_f32s(), &[norm as f32], 1e-6);
            Rig::assert_close(&made[3].to_f32s(), &[scale as f32], 1e-6);
        }
        let broken = vec![f32::NAN; partials];
        let operands = [
            Buffer::f32s(&broken),
            Buffer::of(&[1.0f64]),
            Buffer::absent(),
            Buffer::unset(1),
        ];
        assert!(Rig::new(ClipScale::new(partials)).run(&operands)[3].to_f32s()[0].is_nan());
    }
}
