//! Floats as TensorFlow Serving writes them: six significant digits where these give the number
//! back, else nine (seventeen of a double); `.0` behind a number that would look like an integer.

use super::number::nearest_f32;
use super::write::push_digits;

/// Digits that always give a number back.
const F32_DIGITS: u32 = 9;
const F64_DIGITS: usize = 17;
/// Digits that are tried first.
const SHORT_DIGITS: u32 = 6;

/// The token for NaN or an infinity.
pub(crate) fn special(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    }
}

/// Appends an `f32`.
pub(crate) fn general_f32(value: f32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return out.extend_from_slice(special(f64::from(value)));
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    if value == 0.0 {
        return out.extend_from_slice(b"0.0");
    }
    match quick(value) {
        Some((digits, exponent)) => layout(digits, exponent, precision(digits), out),
        None => slow_f32(value, out),
    }
}

/// Appends an `f64`.
pub(crate) fn general_f64(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return out.extend_from_slice(special(value));
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    if value == 0.0 {
        return out.extend_from_slice(b"0.0");
    }
    let (digits, exponent) = parts(&format!("{value:.5e}"));
    if short_f64(digits, exponent) == Some(value) {
        return layout(digits, exponent, SHORT_DIGITS, out);
    }
    let (digits, exponent) = parts(&format!("{value:.*e}", F64_DIGITS - 1));
    layout(digits, exponent, F64_DIGITS as u32, out);
}

/// The digits and the exponent of the first one of a positive number, six or nine of them as it
/// takes; `None` when the quick way cannot be sure.
fn quick(value: f32) -> Option<(u64, i32)> {
    const POWERS: [f64; 20] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19,
    ];
    let wide = f64::from(value);
    if !(1e-9..1e9).contains(&wide) {
        return None;
    }
    // The first digit's exponent, from -9 to 8.
    let exponent = if wide >= 1.0 {
        POWERS[1..].iter().position(|&power| wide < power)? as i32
    } else {
        -1 - POWERS[1..].iter().position(|&power| wide * power >= 1.0)? as i32
    };
    // Nine digits before the point: an exact number times an exact power, rounded once.
    let scaled = wide * POWERS[usize::try_from(8 - exponent).ok()?];
    let whole = scaled.round();
    // One rounding to 53 bits moves 30-bit numbers by far less than this.
    if (scaled - scaled.trunc() - 0.5).abs() < 1e-6 || !(1e8..1e9).contains(&whole) {
        return None;
    }
    let nine = whole as u64;
    let six = (nine + 500) / 1000;
    // Where the digits that go are just a half, rounding twice may differ from rounding once.
    if nine % 1000 == 500 || six >= 1_000_000 {
        return None;
    }
    let is_short = nearest_f32(six, i64::from(exponent) - 5)? == value;
    Some((if is_short { six } else { nine }, exponent))
}

/// How many digits these are of: the short form or the long one.
fn precision(digits: u64) -> u32 {
    if digits < 1_000_000 {
        SHORT_DIGITS
    } else {
        F32_DIGITS
    }
}

#[cold]
fn slow_f32(value: f32, out: &mut Vec<u8>) {
    let text = format!("{value:.5e}");
    let (digits, exponent) = if text.parse() == Ok(value) {
        parts(&text)
    } else {
        parts(&format!("{value:.*e}", F32_DIGITS as usize - 1))
    };
    layout(digits, exponent, precision(digits), out);
}

fn short_f64(digits: u64, exponent: i32) -> Option<f64> {
    format!("{digits}e{}", exponent - 5).parse().ok()
}

/// All digits and the exponent of `d.ddde-x`.
fn parts(text: &str) -> (u64, i32) {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digit = |value: u64, byte: u8| {
        if byte.is_ascii_digit() {
            value * 10 + u64::from(byte - b'0')
        } else {
            value
        }
    };
    (digits.bytes().fold(0, digit), exponent.parse().unwrap_or(0))
}

/// Writes `digits`, the first of which has this power of ten, as C's `%g` does with `precision`
/// significant digits, and then `.0` where neither a point nor an exponent is.
fn layout(digits: u64, exponent: i32, precision: u32, out: &mut Vec<u8>) {
    let mut digits = digits;
    while digits.is_multiple_of(10) {
        digits /= 10;
    }
    let start = out.len();
    push_digits(digits, out);
    let n_digits = out.len() - start;
    if exponent < -4 || exponent >= precision as i32 {
        if n_digits > 1 {
            out.insert(start + 1, b'.');
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        let size = exponent.unsigned_abs();
        if size < 10 {
            out.push(b'0');
        }
        return push_digits(u64::from(size), out);
    }
    match usize::try_from(exponent) {
        Err(_) => {
            let zeros = [b'0'; 5];
            let n_zeros = exponent.unsigned_abs() as usize;
            out.splice(start..start, zeros[..n_zeros].iter().copied());
            out.insert(start + 1, b'.');
        }
        Ok(exponent) if n_digits > exponent + 1 => out.insert(start + exponent + 1, b'.'),
        Ok(exponent) => {
            out.resize(start + exponent + 1, b'0');
            out.extend_from_slice(b".0");
        }
    }
}

#[cfg(test)]
mod tests {
    use sardonyx_tensor::Philox;

    use super::*;

    fn single(value: f32) -> String {
        let mut out = Vec::new();
        general_f32(value, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        general_f64(value, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn floats_look_like_those_of_tensorflow_serving() {
        for (value, text) in [
            (9_000_000.0, "9e+06"),
            (999_999.0, "999999.0"),
            (0.5, "0.5"),
            (0.0003, "0.0003"),
            (0.00003, "3e-05"),
            (555_557.5, "555557.5"),
            (0.2, "0.2"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (6.49135, "6.49135"),
            (16_777_216.0, "16777216.0"),
            (1e10, "1e+10"),
            (f32::MAX, "3.40282347e+38"),
            (f32::MIN_POSITIVE, "1.17549435e-38"),
            (1e-45, "1.4013e-45"),
            (-2.582_886_2, "-2.58288622"),
            (f32::NAN, "NaN"),
            (f32::INFINITY, "Infinity"),
            (f32::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(single(value), text);
        }
        assert_eq!(double(0.2), "0.2");
        assert_eq!(double(1.0 / 3.0), "0.33333333333333331");
        assert_eq!(double(8.0), "8.0");
        assert_eq!(double(1e300), "1e+300");
        assert_eq!(double(123_456_789.0), "123456789.0");
    }

    /// C's `%g` by way of the standard library alone.
    fn general(value: f32) -> String {
        for n_digits in [SHORT_DIGITS, F32_DIGITS] {
            let text = format!("{value:.*e}", n_digits as usize - 1);
            if n_digits == F32_DIGITS || text.parse() == Ok(value) {
                let (digits, exponent) = parts(&text);
                let mut out = Vec::new();
                layout(digits, exponent, n_digits, &mut out);
                return String::from_utf8(out).expect("ASCII");
            }
        }
        String::new()
    }

    #[test]
    fn the_quick_way_is_right() {
        let mut rng = Philox::new(5, 0);
        let mut n_quick = 0;
        for index in 0..60_000 {
            let value = match index % 3 {
                0 => f32::from_bits(rng.next_u32() >> 1),
                1 => rng.uniform() * 20.0,
                _ => (rng.next_u32() % 2_000_000) as f32 / 1000.0,
            };
            if value.is_finite() && value > 0.0 {
                assert_eq!(single(value), general(value), "{value:e}");
                assert_eq!(single(value).parse(), Ok(value));
                n_quick += usize::from(quick(value).is_some());
            }
        }
        assert!(n_quick > 30_000, "{n_quick} took the quick way");
    }
}
