//! Every operation against plain `f64`, every way of walking an operand against plain indexing.

use std::sync::Arc;

use super::*;
use crate::testing::{Buffer, Rig};
use crate::{Arena, ArenaLengths, Call, Chain, Machine, Pool, Program, Region, Space, Stage};

type Unary = fn(f64) -> f64;
type Binary = fn(f64, f64) -> f64;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    let made = std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum;
    if x.abs() > 6.0 { x.signum() } else { made }
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Every function of one argument, with parameters as the tests set them.
fn unary() -> Vec<(Op, Unary)> {
    vec![
        (Op::Identity, |x| x),
        (Op::Neg, |x| -x),
        (Op::Abs, f64::abs),
        (Op::Sign, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        (Op::Floor, f64::floor),
        (Op::Ceil, f64::ceil),
        (Op::Round, f64::round_ties_even),
        (Op::Sqrt, f64::sqrt),
        (Op::Rsqrt, |x| 1.0 / x.sqrt()),
        (Op::Reciprocal, |x| 1.0 / x),
        (Op::Square, |x| x * x),
        (Op::Affine(1.5, -2.0), |x| 1.5 * x - 2.0),
        (Op::Exp, f64::exp),
        (Op::ExpM1, f64::exp_m1),
        (Op::Log, f64::ln),
        (Op::Log1P, f64::ln_1p),
        (Op::Tanh, f64::tanh),
        (Op::Sigmoid, sigmoid),
        (Op::Erf, erf),
        (Op::Softplus, softplus),
        (Op::Softsign, |x| x / (1.0 + x.abs())),
        (Op::Relu, |x| if x < 0.0 { 0.0 } else { x }),
        (Op::LeakyRelu(0.25), |x| if x < 0.0 { 0.25 * x } else { x }),
        (Op::ThresholdedRelu(0.5), |x| if x > 0.5 { x } else { 0.0 }),
        (Op::Clip(-0.5, 1.25), |x| x.clamp(-0.5, 1.25)),
        (
            Op::Elu(0.75),
            |x| if x < 0.0 { 0.75 * x.exp_m1() } else { x },
        ),
        (Op::Celu(0.75), |x| {
            if x < 0.0 {
                0.75 * (x / 0.75).exp_m1()
            } else {
                x
            }
        }),
        (Op::Selu(1.5, 1.25), |x| {
            1.25 * if x <= 0.0 { 1.5 * x.exp_m1() } else { x }
        }),
        (Op::HardSigmoid(0.25, 0.5), |x| {
            (0.25 * x + 0.5).clamp(0.0, 1.0)
        }),
        (Op::HardSwish, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        (Op::Swish(1.5), |x| x * sigmoid(1.5 * x)),
        (Op::Gelu, |x| {
            0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
        }),
        (Op::GeluTanh, |x| {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh())
        }),
        (Op::Mish, |x| x * softplus(x).tanh()),
        (Op::Not, |x| truth(x == 0.0)),
        (Op::IsNan, |x| truth(x.is_nan())),
        (Op::IsInf, |x| truth(x.is_infinite())),
        (Op::Sin, f64::sin),
        (Op::Cos, f64::cos),
        (Op::Tan, f64::tan),
        (Op::Asin, f64::asin),
        (Op::Acos, f64::acos),
        (Op::Atan, f64::atan),
        (Op::Sinh, f64::sinh),
        (Op::Cosh, f64::cosh),
        (Op::Asinh, f64::asinh),
        (Op::Acosh, f64::acosh),
        (Op::Atanh, f64::atanh),
    ]
}

fn binary() -> Vec<(Op, Binary)> {
    let max: fn(f64, f64) -> f64 = |x, y| if x.is_nan() || x > y { x } else { y };
    let min: fn(f64, f64) -> f64 = |x, y| if x.is_nan() || x < y { x } else { y };
    vec![
        (Op::Add, |x, y| x + y),
        (Op::Sub, |x, y| x - y),
        (Op::Mul, |x, y| x * y),
        (Op::Div, |x, y| x / y),
        (Op::Max, max),
        (Op::Min, min),
        (Op::PRelu, |x, y| if x < 0.0 { x * y } else { x }),
        (Op::Less, |x, y| truth(x < y)),
        (Op::LessOrEqual, |x, y| truth(x <= y)),
        (Op::Greater, |x, y| truth(x > y)),
        (Op::GreaterOrEqual, |x, y| truth(x >= y)),
        (Op::Equal, |x, y| truth(x == y)),
        (Op::NotEqual, |x, y| truth(x != y)),
        (Op::And, |x, y| truth(x != 0.0 && y != 0.0)),
        (Op::Or, |x, y| truth(x != 0.0 || y != 0.0)),
        (Op::Xor, |x, y| truth((x != 0.0) != (y != 0.0))),
        (Op::Pow, f64::powf),
        (Op::Fmod, |x, y| x % y),
        (Op::Mod, |x, y| {
            let rest = x % y;
            let behind = rest != 0.0 && rest.signum() != y.signum();
            if behind { rest + y } else { rest }
        }),
    ]
}

/// `op` over `inputs`, all of one length.
fn apply(isa: Isa, op: Op, inputs: &[Vec<f32>]) -> Vec<f32> {
    let mut program = ElementwiseProgram::new();
    let args: Vec<Reg> = inputs
        .iter()
        .map(|_| program.input(DType::F32).unwrap())
        .collect();
    let made = program.push(op, &args).unwrap();
    program.output(made, DType::F32).unwrap();
    let dims = vec![inputs[0].len()];
    let views = inputs.iter().map(|_| View::full(&dims)).collect();
    let mut operands: Vec<Buffer> = inputs.iter().map(|x| Buffer::f32s(x)).collect();
    operands.push(Buffer::unset(dims[0]));
    let rig = Rig::new(Elementwise::new(isa, &program, &shape(&dims, views)).unwrap());
    rig.run(&operands)[inputs.len()].to_f32s()
}

fn shape(dims: &[usize], inputs: Vec<View>) -> ElementwiseShape {
    ElementwiseShape {
        dims: dims.to_vec(),
        inputs,
        item_len: None,
    }
}

fn values() -> Vec<f32> {
    let mut values: Vec<f32> = (-400..400).map(|i| i as f32 * 0.017).collect();
    values.extend([
        0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 3.0, 2.5, -40.0, 40.0, 1e-30,
    ]);
    values.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 90.0, -110.0]);
    values
}

fn assert_near(what: &str, made: f32, expected: f64, tolerance: f64) {
    let expected32 = expected as f32;
    let same = made == expected32 || (made.is_nan() && expected32.is_nan());
    let error = (f64::from(made) - expected).abs();
    let near = error <= tolerance * expected.abs().max(5e-2);
    assert!(
        same || (near && made.is_finite()),
        "{what} is {made}, not {expected}"
    );
}

#[test]
fn functions_of_one_argument() {
    let x = values();
    for isa in Isa::available() {
        for (op, truth) in unary() {
            let made = apply(isa, op, std::slice::from_ref(&x));
            for (x, y) in x.iter().zip(made) {
                let what = format!("{op:?} of {x} on {isa}");
                assert_near(&what, y, truth(f64::from(*x)), 2e-6);
            }
        }
    }
}

#[test]
fn functions_of_two_arguments() {
    let some = values();
    let some: Vec<f32> = some
        .iter()
        .step_by(19)
        .chain(&some[800..])
        .copied()
        .collect();
    let x: Vec<f32> = some.iter().flat_map(|x| some.iter().map(|_| *x)).collect();
    let y: Vec<f32> = some.iter().flat_map(|_| some.iter().copied()).collect();
    for isa in Isa::available() {
        for (op, truth) in binary() {
            let made = apply(isa, op, &[x.clone(), y.clone()]);
            for (index, z) in made.into_iter().enumerate() {
                let what = format!("{op:?} of {} and {} on {isa}", x[index], y[index]);
                let expected = truth(f64::from(x[index]), f64::from(y[index]));
                assert_near(&what, z, expected, 1e-6);
            }
        }
    }
}

#[test]
fn functions_of_three_arguments() {
    let x = values();
    let y: Vec<f32> = x.iter().rev().copied().collect();
    let z: Vec<f32> = x.iter().map(|x| x * 0.5 + 0.25).collect();
    for isa in Isa::available() {
        let args = [x.clone(), y.clone(), z.clone()];
        let (sums, chosen) = (apply(isa, Op::MulAdd, &args), apply(isa, Op::Select, &args));
        for index in 0..x.len() {
            let [a, b, c] = [x[index], y[index], z[index]].map(f64::from);
            assert_near("a sum", sums[index], a * b + c, 1e-4);
            assert_near("a choice", chosen[index], if a != 0.0 { b } else { c }, 0.0);
        }
    }
}

/// The gradients against differences of the functions in `f64`, off their kinks.
#[test]
fn gradients_are_differences() {
    let smooth = |op: Op| !matches!(op, Op::Not | Op::IsNan | Op::IsInf);
    for isa in Isa::available() {
        for (op, f) in unary().into_iter().filter(|(op, _)| smooth(*op)) {
            let mut x: Vec<f32> = (-60..60).map(|i| i as f32 * 0.071 + 0.013).collect();
            x.retain(|x| f(f64::from(*x)).is_finite());
            let mut program = ElementwiseProgram::new();
            let arg = program.input(DType::F32).unwrap();
            let dy = program.constant(0.5);
            let value = program.push(op, &[arg]).unwrap();
            let made = program.push_gradient(op, arg, value, dy).unwrap();
            program.output(made, DType::F32).unwrap();
            let dims = [x.len()];
            let shape = shape(&dims, vec![View::full(&dims)]);
            let rig = Rig::new(Elementwise::new(isa, &program, &shape).unwrap());
            let made = rig.run(&[Buffer::f32s(&x), Buffer::unset(x.len())])[1].to_f32s();
            for (x, gradient) in x.iter().zip(made) {
                let (x, step) = (f64::from(*x), 1e-6);
                let expected = 0.5 * (f(x + step) - f(x - step)) / (2.0 * step);
                let kink = ((f(x + step) - 2.0 * f(x) + f(x - step)) / step).abs() > 1e-2;
                if !kink {
                    assert_near(&format!("{op:?} at {x} on {isa}"), gradient, expected, 1e-5);
                }
            }
        }
    }
}

/// `(x - mean) * rstd * scale + shift > 0` and its argument, over broadcast operands.
fn normalisation() -> ElementwiseProgram {
    let mut program = ElementwiseProgram::new();
    let [x, mean, rstd, scale, shift] = [(); 5].map(|()| program.input(DType::F32).unwrap());
    let centred = program.push(Op::Sub, &[x, mean]).unwrap();
    let unused = program.push(Op::Exp, &[centred]).unwrap();
    program.push(Op::Neg, &[unused]).unwrap();
    let scaled = program.push(Op::Mul, &[rstd, scale]).unwrap();
    let sum = program.push(Op::MulAdd, &[centred, scaled, shift]).unwrap();
    let zero = program.constant(0.0);
    let positive = program.push(Op::Greater, &[sum, zero]).unwrap();
    program.output(sum, DType::F32).unwrap();
    program.output(positive, DType::Bool).unwrap();
    program.output(x, DType::F32).unwrap();
    program.output(sum, DType::I64).unwrap();
    program
}

fn check_broadcast(isa: Isa, dims: &[usize], from: &[&[usize]; 5], item_len: Option<usize>) {
    let views: Vec<View> = from
        .iter()
        .map(|f| View::broadcast(f, dims).unwrap())
        .collect();
    let inputs: Vec<Vec<f32>> = from
        .iter()
        .enumerate()
        .map(|(seed, dims)| Rig::ramp(dims.iter().product(), seed as u64))
        .map(|values| values.into_iter().map(|x| x * 4.0).collect())
        .collect();
    let total: usize = dims.iter().product();
    let mut expected: [Vec<f64>; 2] = Default::default();
    for flat in 0..total {
        let pick = |operand: usize| {
            let (mut rest, mut at) = (flat, 0);
            for axis in (0..dims.len()).rev() {
                at += rest % dims[axis] * views[operand].strides[axis];
                rest /= dims[axis];
            }
            f64::from(inputs[operand][at])
        };
        let centred = pick(0) - pick(1);
        expected[0].push(centred * pick(2) * pick(3) + pick(4));
        expected[1].push(pick(0));
    }
    let mut shape = shape(dims, views);
    shape.item_len = item_len;
    let rig = Rig::new(Elementwise::new(isa, &normalisation(), &shape).unwrap());
    let mut operands: Vec<Buffer> = inputs.iter().map(|x| Buffer::f32s(x)).collect();
    operands.push(Buffer::unset(total));
    operands.push(Buffer::of(&vec![7u8; total]));
    operands.push(Buffer::unset(total));
    operands.push(Buffer::of(&vec![-1i64; total]));
    let made = rig.run(&operands);
    let sums = made[5].to_f32s();
    for (index, sum) in sums.iter().enumerate() {
        assert_near(
            &format!("{index} of {dims:?}"),
            *sum,
            expected[0][index],
            2e-3,
        );
        assert_eq!(made[6].to::<u8>()[index], u8::from(*sum > 0.0));
        assert_eq!(f64::from(made[7].to_f32s()[index]), expected[1][index]);
        assert_eq!(made[8].to::<i64>()[index], *sum as i64);
    }
}

#[test]
fn operands_broadcast() {
    for isa in Isa::available() {
        let check = |dims: &[usize], from: [&[usize]; 5]| {
            check_broadcast(isa, dims, &from, None);
        };
        check(&[37], [&[37], &[1], &[], &[37], &[1]]);
        check(&[9, 33], [&[9, 33], &[33], &[9, 1], &[], &[1, 33]]);
        check(&[3, 700], [&[3, 700], &[700], &[3, 1], &[3, 700], &[1, 1]]);
        check(
            &[2, 5, 7, 3],
            [&[2, 5, 7, 3], &[3], &[2, 1, 1, 3], &[5, 1, 1], &[7, 1]],
        );
        check(
            &[2, 5, 1100],
            [&[5, 1], &[2, 1, 1100], &[2, 5, 1], &[5, 1100], &[1100]],
        );
        check(&[4, 0, 3], [&[4, 0, 3], &[3], &[4, 1, 1], &[], &[0, 1]]);
        check(&[], [&[], &[], &[], &[], &[]]);
        check(&[5, 1, 1], [&[1], &[5, 1, 1], &[], &[1, 1, 1], &[5, 1, 1]]);
    }
}

#[test]
fn callers_choose_items() {
    for isa in Isa::available() {
        let from: [&[usize]; 5] = [&[12, 50], &[50], &[12, 1], &[], &[12, 50]];
        for item_len in [50, 130, 7, 600, 10_000] {
            check_broadcast(isa, &[12, 50], &from, Some(item_len));
        }
    }
}

#[test]
fn integers_and_truth_values_are_converted() {
    let mut program = ElementwiseProgram::new();
    let types = [DType::I32, DType::I64, DType::U8, DType::Bool];
    let inputs = types.map(|dtype| program.input(dtype).unwrap());
    let sum = inputs[1..].iter().fold(inputs[0], |sum, x| {
        program.push(Op::Add, &[sum, *x]).unwrap()
    });
    for dtype in types {
        program.output(sum, dtype).unwrap();
    }
    let dims = [3, 5];
    let views = [&[3, 5][..], &[5], &[3, 1], &[]];
    let views = views
        .map(|from| View::broadcast(from, &dims).unwrap())
        .to_vec();
    let a: Vec<i32> = (-7..8).collect();
    let (b, c, d) = ([-9i64, 300, 5, 0, 1], [0u8, 200, 3], [1u8]);
    for isa in Isa::available() {
        let rig = Rig::new(Elementwise::new(isa, &program, &shape(&dims, views.clone())).unwrap());
        let made = rig.run(&[
            Buffer::of(&a),
            Buffer::of(&b),
            Buffer::of(&c),
            Buffer::of(&d),
            Buffer::of(&[0i32; 15]),
            Buffer::of(&[0i64; 15]),
            Buffer::of(&[0u8; 15]),
            Buffer::of(&[0u8; 15]),
        ]);
        for index in 0..15 {
            let sum = i64::from(a[index]) + b[index % 5] + i64::from(c[index / 5]) + 1;
            assert_eq!(made[4].to::<i32>()[index] as i64, sum);
            assert_eq!(made[5].to::<i64>()[index], sum);
            assert_eq!(i64::from(made[6].to::<u8>()[index]), sum.clamp(0, 255));
            assert_eq!(made[7].to::<u8>()[index], u8::from(sum != 0));
        }
    }
}

/// The first output takes the place of `x`, which a later step still needs.
#[test]
fn an_output_may_take_the_place_of_an_input() {
    let mut program = ElementwiseProgram::new();
    let x = program.input(DType::F32).unwrap();
    let y = program.push(Op::Square, &[x]).unwrap();
    let z = program.push(Op::Sub, &[y, x]).unwrap();
    program.output(y, DType::F32).unwrap();
    program.output(z, DType::F32).unwrap();
    let len = 40_001;
    let dims = [len];
    for isa in Isa::available() {
        let shape = shape(&dims, vec![View::full(&dims)]);
        let kernel = Elementwise::new(isa, &program, &shape).unwrap();
        let bytes = (4 * len).next_multiple_of(64);
        let [at, behind] = [0, bytes].map(|offset| Region {
            space: Space::Work,
            offset,
            len: 4 * len,
        });
        let call = Call {
            kernel: Arc::new(kernel),
            operands: vec![Some(at), Some(at), Some(behind)],
        };
        let stage = Stage {
            chains: vec![Chain { calls: vec![call] }],
        };
        let lengths = ArenaLengths {
            work: 2 * bytes,
            ..Default::default()
        };
        let program = Arc::new(Program::new(vec![stage], lengths).unwrap());
        let mut work = Arena::zeroed(2 * bytes);
        let x = Rig::ramp(len, 4);
        work.f32s_mut(at).copy_from_slice(&x);
        let (none, pool) = (|| Arena::zeroed(0), Arc::new(Pool::new(2).unwrap()));
        let mut machine = Machine::new(program, Arc::new(none()), none(), work, pool).unwrap();
        machine.run();
        let work = machine.arena(Space::Work);
        for (index, x) in x.iter().enumerate() {
            assert_eq!(work.f32s(at)[index], x * x);
            assert_eq!(work.f32s(behind)[index], x * x - x);
        }
    }
}

#[test]
fn misfits_are_errors() {
    let mut program = ElementwiseProgram::new();
    let x = program.input(DType::F32).unwrap();
    assert!(program.input(DType::F16).is_err());
    assert!(program.push(Op::Add, &[x]).is_err());
    assert!(program.output(x, DType::String).is_err());
    program.output(x, DType::F32).unwrap();
    let dims = [3];
    assert!(Elementwise::new(Isa::Scalar, &program, &shape(&dims, vec![])).is_err());
    let view = View::full(&[3, 1]);
    assert!(Elementwise::new(Isa::Scalar, &program, &shape(&dims, vec![view])).is_err());
}
