//! Every operation on every instruction set, against the same operation on plain numbers.

use super::{Simd, simd_entry};
use crate::Isa;

const SPECIAL: [f32; 16] = [
    0.0,
    -0.0,
    1.5,
    -2.5,
    3.499_999_8,
    0.5,
    -0.5,
    1e-40,
    -1e30,
    7e8,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    2.5,
    -3.0,
    123.75,
];

simd_entry! {
    fn check_for(failures: &mut Vec<&'static str>) = check
}

#[inline(always)]
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[inline(always)]
fn check<S: Simd>(s: S, failures: &mut Vec<&'static str>) {
    // SAFETY: every pointer below is into an array of 32 elements, and LANES is at most 16.
    unsafe { check_floats(s, failures) };
    // SAFETY: as above.
    unsafe { check_integers(s, failures) };
    // SAFETY: as above.
    unsafe { check_memory(s, failures) };
}

#[inline(always)]
unsafe fn check_floats<S: Simd>(s: S, failures: &mut Vec<&'static str>) {
    let n = S::LANES;
    let (a, mut b) = (SPECIAL, SPECIAL);
    b.rotate_left(3);
    let mut out = [0f32; 32];
    // SAFETY: the arrays have at least LANES elements.
    let (va, vb) = unsafe { (s.load(a.as_ptr()), s.load(b.as_ptr())) };
    let mut expect = |name, value: S::F, truth: &dyn Fn(f32, f32) -> f32| {
        // SAFETY: `out` has 32 elements.
        unsafe { s.store(out.as_mut_ptr(), value) };
        if (0..n).any(|i| !same(out[i], truth(a[i], b[i]))) {
            failures.push(name);
        }
    };
    expect("add", s.add(va, vb), &|x, y| x + y);
    expect("sub", s.sub(va, vb), &|x, y| x - y);
    expect("mul", s.mul(va, vb), &|x, y| x * y);
    expect("div", s.div(va, vb), &|x, y| x / y);
    expect("max", s.max(va, vb), &|x, y| if x > y { x } else { y });
    expect("min", s.min(va, vb), &|x, y| if x < y { x } else { y });
    expect("sqrt", s.sqrt(va), &|x, _| x.sqrt());
    expect("abs", s.abs(va), &|x, _| x.abs());
    expect("neg", s.neg(va), &|x, _| -x);
    expect("floor", s.floor(va), &|x, _| x.floor());
    expect("ceil", s.ceil(va), &|x, _| x.ceil());
    expect("round", s.round(va), &|x, _| x.round_ties_even());
    let pick = |mask| s.select(mask, va, vb);
    expect("lt", pick(s.lt(va, vb)), &|x, y| if x < y { x } else { y });
    expect("le", pick(s.le(va, vb)), &|x, y| if x <= y { x } else { y });
    expect("gt", pick(s.gt(va, vb)), &|x, y| if x > y { x } else { y });
    expect("ge", pick(s.ge(va, vb)), &|x, y| if x >= y { x } else { y });
    expect("eq", pick(s.eq(va, vb)), &|x, y| if x == y { x } else { y });
    expect("ne", pick(s.ne(va, vb)), &|x, y| if x != y { x } else { y });
    let both = s.and(s.gt(va, vb), s.gt(va, s.splat(1.0)));
    expect("and", pick(both), &|x, y| {
        if x > y && x > 1.0 { x } else { y }
    });
    let either = s.or(s.gt(va, vb), s.gt(va, s.splat(1.0)));
    expect("or", pick(either), &|x, y| {
        if x > y || x > 1.0 { x } else { y }
    });
    let ramp: Vec<f32> = (1..=16).map(|i| i as f32).collect();
    // SAFETY: the ramp has 16 elements.
    let ramp = unsafe { s.load(ramp.as_ptr()) };
    expect("fma", s.fma(ramp, ramp, s.splat(1.0)), &{
        let next = std::cell::Cell::new(0.0f32);
        move |_, _| {
            next.set(next.get() + 1.0);
            next.get() * next.get() + 1.0
        }
    });
    if s.sum(ramp) != (n * (n + 1) / 2) as f32 {
        failures.push("sum");
    }
    if s.largest(ramp) != n as f32 || s.smallest(s.neg(ramp)) != -(n as f32) {
        failures.push("largest, smallest");
    }
}

#[inline(always)]
unsafe fn check_integers<S: Simd>(s: S, failures: &mut Vec<&'static str>) {
    let a: [i32; 16] = std::array::from_fn(|i| (i as i32 + 1).wrapping_mul(0x3779_b9b1) ^ -5);
    let b: [i32; 16] = std::array::from_fn(|i| if i % 3 == 0 { a[i] } else { a[i] >> (i + 3) });
    let mut out = [0i32; 32];
    // SAFETY: the arrays have at least LANES elements.
    let (va, vb) = unsafe { (s.i_load(a.as_ptr()), s.i_load(b.as_ptr())) };
    let mut expect = |name, value: S::I, truth: &dyn Fn(i32, i32) -> i32| {
        // SAFETY: `out` has 32 elements.
        unsafe { s.i_store(out.as_mut_ptr(), value) };
        if (0..S::LANES).any(|i| out[i] != truth(a[i], b[i])) {
            failures.push(name);
        }
    };
    expect("i_add", s.i_add(va, vb), &i32::wrapping_add);
    expect("i_mul", s.i_mul(va, vb), &i32::wrapping_mul);
    expect("i_mul_high_u32", s.i_mul_high_u32(va, vb), &|x, y| {
        ((u64::from(x as u32) * u64::from(y as u32)) >> 32) as i32
    });
    expect("i_and", s.i_and(va, vb), &|x, y| x & y);
    expect("i_or", s.i_or(va, vb), &|x, y| x | y);
    expect("i_xor", s.i_xor(va, vb), &|x, y| x ^ y);
    expect("i_shl", s.i_shl::<23>(va), &|x, _| x << 23);
    expect("i_shr", s.i_shr::<9>(va), &|x, _| ((x as u32) >> 9) as i32);
    let equal = s.i_select(s.i_eq(va, vb), va, s.i_splat(7));
    expect("i_eq", equal, &|x, y| if x == y { x } else { 7 });
    let greater = s.i_select(s.i_gt(va, vb), va, vb);
    expect("i_gt", greater, &|x, y| x.max(y));
    expect("bits", s.to_bits(s.from_bits(va)), &|x, _| x);
    let floats = SPECIAL.map(|x| if x.is_nan() || x.abs() > 1e9 { 17.5 } else { x });
    // SAFETY: the array has 16 elements.
    let converted = s.to_int(unsafe { s.load(floats.as_ptr()) });
    // SAFETY: `out` has 32 elements.
    unsafe { s.i_store(out.as_mut_ptr(), converted) };
    if (0..S::LANES).any(|i| out[i] != floats[i].round_ties_even() as i32) {
        failures.push("to_int");
    }
    let mut floats = [0f32; 32];
    // SAFETY: `floats` has 32 elements.
    unsafe { s.store(floats.as_mut_ptr(), s.to_float(va)) };
    if (0..S::LANES).any(|i| floats[i] != a[i] as f32) {
        failures.push("to_float");
    }
}

#[inline(always)]
unsafe fn check_memory<S: Simd>(s: S, failures: &mut Vec<&'static str>) {
    let from: Vec<f32> = (1..=32).map(|i| i as f32).collect();
    for count in 0..=S::LANES {
        let mut to = [-1f32; 32];
        // SAFETY: both arrays have 32 elements.
        unsafe { s.store(to.as_mut_ptr(), s.load_first(count, from.as_ptr())) };
        let loaded = (0..S::LANES).all(|i| to[i] == if i < count { from[i] } else { 0.0 });
        let mut to = [-1f32; 32];
        // SAFETY: both arrays have 32 elements.
        unsafe { s.store_first(count, to.as_mut_ptr(), s.load(from.as_ptr())) };
        let stored = (0..32).all(|i| to[i] == if i < count { from[i] } else { -1.0 });
        if !(loaded && stored) {
            failures.push("load_first, store_first");
        }
    }
    let (block, mut turned) = (SPECIAL.repeat(8), [-1f32; 8 * 11]);
    // SAFETY: rows 13 and 11 floats apart end within the arrays.
    unsafe { s.transpose8(block.as_ptr(), 13, turned.as_mut_ptr(), 11) };
    let right = |i: usize| {
        let (row, col) = (i / 11, i % 11);
        same(
            turned[i],
            if col < 8 { block[col * 13 + row] } else { -1.0 },
        )
    };
    if !(0..turned.len()).all(right) {
        failures.push("transpose8");
    }
    let bytes: Vec<u8> = (0..32).map(|i| (i * 37 + 130) as u8).collect();
    let mut back = [0u8; 32];
    // SAFETY: both arrays have 32 elements.
    let wide = s.i_add(unsafe { s.i_load_u8(bytes.as_ptr()) }, s.i_splat(0x1200));
    // SAFETY: `back` has 32 elements.
    unsafe { s.i_store_u8(back.as_mut_ptr(), wide) };
    if back[..S::LANES] != bytes[..S::LANES] || back[S::LANES..].iter().any(|&byte| byte != 0) {
        failures.push("i_load_u8, i_store_u8");
    }
}

#[test]
fn every_operation_agrees_with_plain_numbers() {
    for isa in Isa::available() {
        let mut failures = Vec::new();
        // SAFETY: the body has no contract beyond the token.
        unsafe { check_for(isa)(&mut failures) };
        assert_eq!(failures, Vec::<&str>::new(), "on {isa}");
    }
}
