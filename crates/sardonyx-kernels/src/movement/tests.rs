//! Every movement against plain indexing.

use super::*;
use crate::testing::{Buffer, Rig};
use crate::{AxisShape, Element, Isa, Kernel, View};

fn run<T: Element>(kernel: impl Kernel + 'static, inputs: &[Buffer], out: &[T]) -> Vec<T> {
    let mut operands = inputs.to_vec();
    operands.push(Buffer::of(out));
    Rig::new(kernel).run(&operands).pop().unwrap().to()
}

fn counting(len: usize) -> Vec<u32> {
    (1..=len as u32)
        .map(|i| i.wrapping_mul(2_654_435_761))
        .collect()
}

/// Flat index of every element of a shape, given the flat offset of each index of each axis.
fn offsets(dims: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut made = vec![0];
    for (dim, stride) in dims.iter().zip(strides) {
        made = made
            .iter()
            .flat_map(|at| (0..*dim).map(move |i| at + i * stride))
            .collect();
    }
    made
}

#[test]
fn permutations_agree_with_indexing() {
    let cases: [(&[usize], &[usize]); 14] = [
        (&[], &[]),
        (&[7], &[0]),
        (&[70, 130], &[1, 0]),
        (&[3, 0, 2], &[2, 0, 1]),
        (&[2, 3, 65, 33], &[0, 2, 3, 1]),
        (&[2, 65, 33, 3], &[0, 3, 1, 2]),
        (&[4, 5, 6, 7], &[3, 2, 1, 0]),
        (&[4, 5, 6, 7], &[2, 0, 1, 3]),
        (&[9, 1, 40, 1, 21], &[2, 1, 4, 3, 0]),
        (&[2, 8, 9, 16], &[0, 2, 1, 3]),
        (&[100, 3], &[1, 0]),
        (&[3, 70_000], &[1, 0]),
        (&[2, 20_000], &[0, 1]),
        (&[17, 16, 16, 17], &[1, 3, 0, 2]),
    ];
    for (dims, axes) in cases {
        let x = counting(dims.iter().product());
        let output: Vec<usize> = axes.iter().map(|axis| dims[*axis]).collect();
        let input = View::full(dims).strides;
        let strides: Vec<usize> = axes.iter().map(|axis| input[*axis]).collect();
        let places = offsets(&output, &strides);
        macro_rules! check {
            ($dtype:ident, $ty:ty) => {
                let x: Vec<$ty> = x
                    .iter()
                    .map(|x| (*x).wrapping_mul(0x0101_0101) as $ty)
                    .collect();
                let expected: Vec<$ty> = places.iter().map(|at| x[*at]).collect();
                let kernel = Permute::new(DType::$dtype, dims, axes).unwrap();
                let made = run(kernel, &[Buffer::of(&x)], &vec![0 as $ty; x.len()]);
                assert!(
                    made == expected,
                    "{dims:?} by {axes:?} of {} bytes",
                    size_of::<$ty>()
                );
            };
        }
        check!(U8, u8);
        check!(F16, u16);
        check!(F32, u32);
        check!(I64, u64);
    }
    assert!(Permute::new(DType::F32, &[2, 3], &[0, 0]).is_err());
    assert!(Permute::new(DType::F32, &[2, 3], &[0]).is_err());
    assert!(Permute::new(DType::String, &[2], &[0]).is_err());
}

const WHOLE: fn(usize) -> AxisRun = |len| read(0, 1, len);

const fn read(first: usize, step: isize, len: usize) -> AxisRun {
    AxisRun::Read { first, step, len }
}

fn check_remap(dims: &[usize], runs: &[Vec<AxisRun>]) {
    let fill = 0xdead_beefu32;
    let x = counting(dims.iter().product());
    let strides = View::full(dims).strides;
    let mut places = vec![Some(0)];
    for (runs, stride) in runs.iter().zip(strides) {
        let indices: Vec<Option<usize>> = runs
            .iter()
            .flat_map(|run| {
                (0..run.len()).map(move |i| match *run {
                    AxisRun::Read { first, step, .. } => {
                        Some((first as isize + i as isize * step) as usize)
                    }
                    AxisRun::Fill { .. } => None,
                })
            })
            .collect();
        let step = |at: &Option<usize>| {
            let at = *at;
            let next = move |i: &Option<usize>| Some(at? + (*i)? * stride);
            indices.iter().map(next).collect::<Vec<_>>()
        };
        places = places.iter().flat_map(step).collect();
    }
    let expected: Vec<u32> = places
        .iter()
        .map(|at| at.map_or(fill, |at| x[at]))
        .collect();
    let kernel = Remap::new(DType::F32, dims, runs, u64::from(fill)).unwrap();
    assert_eq!(kernel.output_len(), expected.len());
    let made = run(kernel, &[Buffer::of(&x)], &vec![0u32; expected.len()]);
    assert!(made == expected, "{dims:?} by {runs:?}");
}

#[test]
fn slices_pads_and_repetitions_agree_with_indexing() {
    let fill = |len| AxisRun::Fill { len };
    check_remap(&[], &[]);
    check_remap(&[10], &[vec![read(1, 3, 3)]]);
    check_remap(&[10], &[vec![read(9, -2, 5)]]);
    check_remap(&[4, 5], &[vec![WHOLE(4)], vec![read(1, 1, 3)]]);
    check_remap(
        &[4, 5, 6],
        &[vec![read(3, -1, 4)], vec![WHOLE(5)], vec![WHOLE(6)]],
    );
    check_remap(
        &[4, 5],
        &[vec![fill(2), WHOLE(4)], vec![fill(1), WHOLE(5), fill(3)]],
    );
    check_remap(
        &[2, 1, 3],
        &[vec![WHOLE(2)], vec![read(0, 0, 4)], vec![WHOLE(3)]],
    );
    check_remap(
        &[2, 3, 1],
        &[vec![WHOLE(2)], vec![WHOLE(3)], vec![read(0, 0, 700)]],
    );
    let reflect = vec![read(2, -1, 2), WHOLE(5), read(3, -1, 2)];
    check_remap(&[5, 5, 2], &[reflect.clone(), reflect, vec![WHOLE(2)]]);
    check_remap(&[3, 2], &[vec![WHOLE(3); 3], vec![WHOLE(2); 2]]);
    check_remap(&[0, 2], &[vec![fill(2)], vec![WHOLE(2)]]);
    check_remap(&[3, 2], &[vec![WHOLE(3)], vec![read(0, 1, 0)]]);
    check_remap(&[300, 150], &[vec![read(1, 1, 299)], vec![read(0, 1, 149)]]);
    let runs = |run| vec![vec![run]];
    assert!(Remap::new(DType::F32, &[3], &runs(read(1, 1, 3)), 0).is_err());
    assert!(Remap::new(DType::F32, &[3], &runs(read(1, -1, 3)), 0).is_err());
    assert!(Remap::new(DType::F32, &[3], &runs(read(3, 0, 1)), 0).is_err());
    assert!(Remap::new(DType::F32, &[3], &runs(read(1, isize::MAX, 3)), 0).is_err());
    assert!(Remap::new(DType::F32, &[3, 3], &runs(read(0, 1, 3)), 0).is_err());
}

#[test]
fn joins_keep_every_element() {
    for (outer, lens) in [
        (3, vec![2, 0, 5]),
        (1, vec![20_000, 1, 17_000]),
        (400, vec![99, 64]),
    ] {
        let inputs: Vec<Vec<u8>> = lens
            .iter()
            .enumerate()
            .map(|(seed, len)| {
                (0..outer * len)
                    .map(|i| (i * 7 + seed * 91) as u8)
                    .collect()
            })
            .collect();
        let mut expected = Vec::new();
        for row in 0..outer {
            for (input, len) in inputs.iter().zip(&lens) {
                expected.extend_from_slice(&input[row * len..(row + 1) * len]);
            }
        }
        let buffers: Vec<Buffer> = inputs.iter().map(|x| Buffer::of(x)).collect();
        let kernel = Concat::new(DType::U8, outer, &lens).unwrap();
        assert_eq!(run(kernel, &buffers, &vec![0u8; expected.len()]), expected);
    }
    let kernel = Concat::new(DType::F32, 0, &[3, 4]).unwrap();
    let nothing = Buffer::of(&[0u32; 0]);
    assert_eq!(run(kernel, &[nothing.clone(), nothing], &[0u32; 0]), []);
}

#[test]
fn lookups_and_their_gradient() {
    let cases = [
        [1, 50, 64, 300],
        [3, 7, 1, 40],
        [2, 1000, 33, 9],
        [4, 3, 200, 5],
        [1, 5, 2, 0],
    ];
    for [outer, len, inner, count] in cases {
        let shape = AxisShape { outer, len, inner };
        let indices: Vec<i64> = (0..count)
            .map(|i| match i % 9 {
                4 => -1 - (i * 3 % len) as i64,
                5 => len as i64 + 1,
                _ => (i * i % len) as i64,
            })
            .collect();
        let place = |index: i64| match index {
            index if index < 0 => Some((index + len as i64) as usize),
            index if index < len as i64 => Some(index as usize),
            _ => None,
        };
        let x = Rig::ramp(shape.elements(), 1);
        let dy = Rig::ramp(outer * count * inner, 2);
        let (mut y, mut dx) = (vec![0f32; dy.len()], vec![0f32; x.len()]);
        for (row, slice) in y.chunks_mut(inner).enumerate() {
            let Some(place) = place(indices[row % count]) else {
                continue;
            };
            let start = (row / count * len + place) * inner;
            slice.copy_from_slice(&x[start..start + inner]);
            for column in 0..inner {
                dx[start + column] += dy[row * inner + column];
            }
        }
        let kernel = || Gather::new(DType::F32, shape, DType::I64, count).unwrap();
        let buffers = [Buffer::f32s(&x), Buffer::of(&indices)];
        assert_eq!(run(kernel(), &buffers, &vec![f32::NAN; y.len()]), y);
        let short: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
        let kernel = Gather::new(DType::F32, shape, DType::I32, count).unwrap();
        let buffers = [Buffer::f32s(&x), Buffer::of(&short)];
        assert_eq!(run(kernel, &buffers, &vec![f32::NAN; y.len()]), y);
        for isa in Isa::available() {
            let kernel = GatherGrad::new(isa, shape, DType::I64, count).unwrap();
            let buffers = [Buffer::f32s(&dy), Buffer::of(&indices)];
            assert_eq!(run(kernel, &buffers, &vec![f32::NAN; dx.len()]), dx);
        }
    }
    let shape = AxisShape::new(&[3], 0);
    assert!(Gather::new(DType::F32, shape, DType::F32, 2).is_err());
}

#[test]
fn conversions_follow_the_language() {
    let x = [
        0.0f32,
        -0.0,
        1.9,
        -1.9,
        300.0,
        -7e18,
        3e9,
        f32::NAN,
        f32::INFINITY,
        0.5,
    ];
    fn cast<A: Element, B: Element>(x: &[A], [from, to]: [DType; 2], like: B) -> Vec<B> {
        let kernel = Cast::new(from, to, x.len()).unwrap();
        run(kernel, &[Buffer::of(x)], &vec![like; x.len()])
    }
    use DType::*;
    let same = |a: &[f64], b: Vec<f64>| {
        assert_eq!(a.len(), b.len());
        assert!(
            a.iter()
                .zip(b)
                .all(|(a, b)| *a == b || (a.is_nan() && b.is_nan()))
        );
    };
    assert_eq!(cast(&x, [F32, I64], 0i64), x.map(|x| x as i64));
    assert_eq!(cast(&x, [F32, I32], 0i32), x.map(|x| x as i32));
    assert_eq!(cast(&x, [F32, U8], 0u8), x.map(|x| x as u8));
    assert_eq!(cast(&x, [F32, Bool], 9u8), [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
    same(&x.map(f64::from), cast(&x, [F32, F64], 0f64));
    let y = [0i64, -1, 1 << 40, i64::MIN, 255, 256, 2];
    assert_eq!(cast(&y, [I64, I32], 0i32), y.map(|y| y as i32));
    assert_eq!(cast(&y, [I64, U8], 0u8), y.map(|y| y as u8));
    assert_eq!(cast(&y, [I64, F32], 0f32), y.map(|y| y as f32));
    assert_eq!(cast(&y, [I64, Bool], 9u8), [0, 1, 1, 1, 1, 1, 1]);
    let many: Vec<u8> = (0..40_001).map(|i| (i % 3 == 0).into()).collect();
    assert_eq!(
        cast(&many, [Bool, I64], 9i64),
        many.iter().map(|y| i64::from(*y)).collect::<Vec<_>>()
    );
    assert!(Cast::new(F32, String, 1).is_err());
}

#[test]
fn choices_and_integer_arithmetic_broadcast() {
    let dims = [3, 5, 7];
    let shapes: [&[usize]; 3] = [&[3, 5, 7], &[5, 1], &[7]];
    let views = || shapes.map(|from| View::broadcast(from, &dims).unwrap());
    let at = views().map(|view| offsets(&dims, &view.strides));
    let condition: Vec<u8> = (0..105).map(|i| (i % 4 == 1).into()).collect();
    let (yes, no) = ([10u64, 11, 12, 13, 14], [20u64, 21, 22, 23, 24, 25, 26]);
    let buffers = [Buffer::of(&condition), Buffer::of(&yes), Buffer::of(&no)];
    let kernel = Select::new(DType::I64, &dims, views()).unwrap();
    let expected: Vec<u64> = (0..105)
        .map(|i| {
            if condition[at[0][i]] != 0 {
                yes[at[1][i]]
            } else {
                no[at[2][i]]
            }
        })
        .collect();
    assert_eq!(run(kernel, &buffers, &[0u64; 105]), expected);

    let x: Vec<i64> = (0..105).map(|i| i * 37 % 23 - 11).chain([]).collect();
    let y = [3i64, -4, 0, 1, i64::MIN];
    let [wide, narrow, _] = views();
    type Plain = fn(i64, i64) -> i64;
    let truth: [(IntegerOp, Plain); 4] = [
        (IntegerOp::Less, |x, y| i64::from(x < y)),
        (IntegerOp::GreaterOrEqual, |x, y| i64::from(x >= y)),
        (IntegerOp::Equal, |x, y| i64::from(x == y)),
        (IntegerOp::Xor, |x, y| i64::from((x != 0) != (y != 0))),
    ];
    let sums: [(IntegerOp, Plain); 6] = [
        (IntegerOp::Sub, i64::wrapping_sub),
        (IntegerOp::Mul, i64::wrapping_mul),
        (IntegerOp::Div, |x, y| x.checked_div(y).unwrap_or(0)),
        (IntegerOp::Fmod, |x, y| x.checked_rem(y).unwrap_or(0)),
        (IntegerOp::Mod, |x, y| {
            let (x, y) = (i128::from(x), i128::from(y));
            if y == 0 { 0 } else { ((x % y + y) % y) as i64 }
        }),
        (IntegerOp::Min, i64::min),
    ];
    let buffers = [Buffer::of(&x), Buffer::of(&y)];
    let pair = |op| IntegerMap::new(op, DType::I64, &dims, [wide.clone(), narrow.clone()]).unwrap();
    let plain = |f: Plain| {
        (0..105)
            .map(|i| f(x[at[0][i]], y[at[1][i]]))
            .collect::<Vec<i64>>()
    };
    for (op, f) in sums {
        assert_eq!(run(pair(op), &buffers, &[0i64; 105]), plain(f), "{op:?}");
    }
    for (op, f) in truth {
        let made = run(pair(op), &buffers, &[0u8; 105]);
        assert_eq!(
            made.into_iter().map(i64::from).collect::<Vec<_>>(),
            plain(f),
            "{op:?}"
        );
    }
    let full = [wide.clone(), wide.clone()];
    assert!(IntegerMap::new(IntegerOp::Add, DType::F32, &dims, full).is_err());
    assert!(Select::new(DType::I64, &[105], views()).is_err());
}
