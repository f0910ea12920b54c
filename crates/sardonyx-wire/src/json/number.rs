//! Numbers of JSON, read straight into the type that a tensor wants.
//!
//! Bodies of predict requests are almost nothing but numbers of seventeen digits, so reading them
//! is what a request costs. Digits are taken eight at a time; the decimal is then turned into a
//! float with one or two multiplications wherever the result is provably the nearest float, and by
//! the standard library otherwise.

/// A number as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal {
    /// All digits as one integer; meaningless when there are more than [`MAX_DIGITS`].
    mantissa: u64,
    /// Power of ten by which to multiply it.
    exponent: i64,
    negative: bool,
    /// Whether there is neither a fraction nor an exponent.
    pub(crate) is_integer: bool,
    n_digits: usize,
    /// Where the number ends.
    pub(crate) end: usize,
}

/// Why a text is no number, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberFault {
    Value(usize),
    Fraction(usize),
    Exponent(usize),
}

/// Digits that always fit into 64 bits.
const MAX_DIGITS: usize = 19;

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Reads the number that starts at `at`, after JSON's grammar.
#[inline]
pub(crate) fn scan(bytes: &[u8], at: usize) -> Result<Decimal, NumberFault> {
    let digit_at = |at: usize| {
        bytes
            .get(at)
            .map(|byte| byte.wrapping_sub(b'0'))
            .filter(|&d| d < 10)
    };
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let first = digit_at(start).ok_or(NumberFault::Value(start))?;
    let (mut mantissa, mut end) = (u64::from(first), start + 1);
    if first != 0 {
        (mantissa, end) = digits(bytes, end, mantissa);
    }
    let (mut n_digits, mut exponent, mut is_integer) = (end - start, 0, true);
    if bytes.get(end) == Some(&b'.') {
        let from = end + 1;
        (mantissa, end) = digits(bytes, from, mantissa);
        if end == from {
            return Err(NumberFault::Fraction(from));
        }
        n_digits += end - from;
        exponent = -((end - from) as i64);
        is_integer = false;
    }
    if bytes.get(end).is_some_and(|byte| byte | 0x20 == b'e') {
        let (written, after) = exponent_at(bytes, end + 1)?;
        exponent += written;
        end = after;
        is_integer = false;
    }
    Ok(Decimal {
        mantissa,
        exponent,
        negative,
        is_integer,
        n_digits,
        end,
    })
}

/// Appends the digits from `at` on to `mantissa` (which wraps when there are too many).
#[inline]
fn digits(bytes: &[u8], mut at: usize, mut mantissa: u64) -> (u64, usize) {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        if !is_eight_digits(word) {
            break;
        }
        mantissa = mantissa
            .wrapping_mul(100_000_000)
            .wrapping_add(eight_digits(word));
        at += 8;
    }
    while let Some(digit) = bytes
        .get(at)
        .map(|byte| byte.wrapping_sub(b'0'))
        .filter(|&d| d < 10)
    {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (mantissa, at)
}

/// The number that starts at `at` and where it ends, when it is of the form that bodies are full
/// of: a few digits, and a fraction of no more than what 63 bits hold; without an exponent and not
/// at the very end of the text. Everything stays in registers and nothing is called: [`scan`] and
/// [`Decimal::to_f32`] in turn take almost twice as long.
#[inline(always)]
pub(crate) fn plain_f32(bytes: &[u8], at: usize) -> Option<(f32, usize)> {
    let text: &[u8; PLAIN_BYTES] = bytes.get(at..)?.first_chunk()?;
    let digit = |place: usize| text[place].wrapping_sub(b'0');
    let word = |place: usize| {
        let eight = text.get(place..).and_then(|rest| rest.first_chunk::<8>());
        eight.map_or(0, |eight| u64::from_le_bytes(*eight))
    };
    let negative = text[0] == b'-';
    let start = usize::from(negative);
    let mut whole = digit(start);
    let mut place = start + 1;
    if whole >= 10 {
        return None;
    }
    if whole > 0 && digit(place) < 10 {
        whole = whole * 10 + digit(place);
        place += 1;
    }
    let mut mantissa = u64::from(whole);
    let mut n_places = 0;
    if text[place] == b'.' {
        let from = place + 1;
        place = from;
        for _ in 0..2 {
            let eight = word(place);
            if !is_eight_digits(eight) {
                break;
            }
            mantissa = mantissa * 100_000_000 + eight_digits(eight);
            place += 8;
        }
        let most = if whole == 0 { MAX_PLAIN_PLACES } else { 16 };
        while place < from + most && digit(place) < 10 {
            mantissa = mantissa * 10 + u64::from(digit(place));
            place += 1;
        }
        n_places = place - from;
        if n_places == 0 {
            return None;
        }
    }
    let is_over = matches!(text[place], b',' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    let value = plain_value(mantissa, n_places)?;
    is_over.then_some((if negative { -value } else { value }, at + place))
}

/// What [`plain_f32`] looks at: a sign, two digits, a point, the fraction, what ends it, and as
/// many bytes as are read at once.
const PLAIN_BYTES: usize = 32;
/// Digits of a fraction that always fit 63 bits, behind a zero. Behind two others it is 16: shortest
/// forms of doubles have no more than 17 digits in all.
const MAX_PLAIN_PLACES: usize = 18;

/// `mantissa / 10^n_places` as the nearest `f32`, when that is sure.
#[inline(always)]
fn plain_value(mantissa: u64, n_places: usize) -> Option<f32> {
    const INVERSES: [f64; MAX_PLAIN_PLACES + 1] = [
        1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13,
        1e-14, 1e-15, 1e-16, 1e-17, 1e-18,
    ];
    if mantissa == 0 {
        return Some(0.0);
    }
    // At most 18 digits, which is less than 2^63. Three roundings to 53 bits, those of the
    // mantissa, of the power and of the product.
    let value = mantissa.cast_signed() as f64 * INVERSES[n_places];
    is_sure(value).then_some(value as f32)
}

/// Whether every number less than four units in the last place away from this one rounds to the
/// same `f32`: whether it is not that close to the middle between two of them, which the 29 bits
/// below theirs say. Subnormal `f32`s have fewer bits.
#[inline(always)]
fn is_sure(value: f64) -> bool {
    const MIDDLE: u64 = 1 << 28;
    let below = value.to_bits() & ((1 << 29) - 1);
    value >= f64::from(f32::MIN_POSITIVE) && below.abs_diff(MIDDLE) > 4
}

/// Whether every byte is an ASCII digit: its high half is 3, also after adding 6.
#[inline]
const fn is_eight_digits(word: u64) -> bool {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    (word & HIGH) | ((word.wrapping_add(0x0606_0606_0606_0606) & HIGH) >> 4)
        == 0x3333_3333_3333_3333
}

/// The value of eight ASCII digits, the first in the lowest byte: pairs, then fours, then eight.
#[inline]
const fn eight_digits(word: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00FF_0000_00FF;
    let word = word.wrapping_sub(0x3030_3030_3030_3030);
    let word = word.wrapping_mul(10).wrapping_add(word >> 8);
    let high = (word & PAIRS).wrapping_mul(0x000F_4240_0000_0064);
    let low = ((word >> 16) & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

fn exponent_at(bytes: &[u8], at: usize) -> Result<(i64, usize), NumberFault> {
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let (mut value, mut end) = (0i64, start);
    while let Some(byte) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        // Past any float's range the value no longer matters, only that it does not wrap.
        value = (value * 10 + i64::from(byte - b'0')).min(1_000_000);
        end += 1;
    }
    if end == start {
        return Err(NumberFault::Exponent(end));
    }
    Ok((if negative { -value } else { value }, end))
}

impl Decimal {
    /// The nearest `f32`; `None` when the number is too big even for an `f64`. `text` is the
    /// number as it is written.
    #[inline]
    pub(crate) fn to_f32(self, text: &[u8]) -> Option<f32> {
        if self.n_digits <= MAX_DIGITS
            && let Some(value) = nearest_f32(self.mantissa, self.exponent)
        {
            return Some(if self.negative { -value } else { value });
        }
        let text = std::str::from_utf8(text).ok()?;
        text.parse::<f64>().ok().filter(|value| value.is_finite())?;
        text.parse().ok()
    }

    /// The nearest `f64`; `None` when the number is too big. `text` is the number as it is
    /// written.
    #[inline]
    pub(crate) fn to_f64(self, text: &[u8]) -> Option<f64> {
        let power = usize::try_from(self.exponent.unsigned_abs()).ok();
        let power = power.and_then(|power| POWERS.get(power));
        if self.n_digits <= MAX_DIGITS
            && self.mantissa <= 1 << 53
            && let Some(power) = power
        {
            // Both are exact, so there is a single rounding (Clinger's fast path).
            let value = self.mantissa as f64;
            let value = if self.exponent < 0 {
                value / power
            } else {
                value * power
            };
            return Some(if self.negative { -value } else { value });
        }
        let text = std::str::from_utf8(text).ok()?;
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The integer, when it is written as one and has no more than 38 digits. `text` is the number
    /// as it is written.
    #[inline]
    pub(crate) fn to_integer(self, text: &[u8]) -> Option<i128> {
        if !self.is_integer {
            return None;
        }
        if self.n_digits > MAX_DIGITS {
            return std::str::from_utf8(text).ok()?.parse().ok();
        }
        let value = i128::from(self.mantissa);
        Some(if self.negative { -value } else { value })
    }
}

/// The `f32` nearest to `mantissa * 10^exponent`, when few floating-point operations settle it.
#[inline]
pub(crate) fn nearest_f32(mantissa: u64, exponent: i64) -> Option<f32> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let power = exponent.unsigned_abs();
    if power > 44 {
        return None;
    }
    let (first, second) = (
        POWERS[power.min(22) as usize],
        power.saturating_sub(22) as usize,
    );
    let mut value = mantissa as f64;
    value = if exponent < 0 {
        value / first
    } else {
        value * first
    };
    if second > 0 {
        let second = POWERS[second];
        value = if exponent < 0 {
            value / second
        } else {
            value * second
        };
    }
    // At most three roundings to 53 bits.
    is_sure(value).then_some(value as f32)
}

#[cfg(test)]
mod tests {
    use sardonyx_tensor::Philox;

    use super::*;

    fn f32_of(text: &str) -> Option<f32> {
        let number = scan(text.as_bytes(), 0).expect("a number");
        assert_eq!(number.end, text.len(), "{text}");
        number.to_f32(text.as_bytes())
    }

    /// What the plain way makes of a number within a list.
    fn plain_of(text: &str) -> Option<f32> {
        let list = format!("{text}, 0.25{}", " ".repeat(PLAIN_BYTES));
        let (value, end) = plain_f32(list.as_bytes(), 0)?;
        assert_eq!(end, text.len(), "{text}");
        Some(value)
    }

    fn f64_of(text: &str) -> Option<f64> {
        let number = scan(text.as_bytes(), 0).expect("a number");
        number.to_f64(text.as_bytes())
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        let mut rng = Philox::new(11, 0);
        for _ in 0..20_000 {
            let bits = rng.next_u64();
            let single = f32::from_bits(bits as u32);
            let double = f64::from_bits(bits);
            for text in [
                format!("{single}"),
                format!("{single:e}"),
                format!("{}", single as f64),
            ] {
                if single.is_finite() {
                    assert_eq!(
                        f32_of(&text).map(f32::to_bits),
                        Some(single.to_bits()),
                        "{text}"
                    );
                }
            }
            if double.is_finite() {
                let text = format!("{double:e}");
                assert_eq!(f64_of(&text), Some(double), "{text}");
                assert_eq!(f32_of(&text), text.parse().ok(), "{text}");
            }
            let text = format!("{}", rng.uniform_f64());
            assert_eq!(f32_of(&text), text.parse().ok(), "{text}");
            assert_eq!(f64_of(&text), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn the_plain_way_is_right_where_it_goes() {
        let mut rng = Philox::new(3, 0);
        let mut n_plain = 0;
        for index in 0..40_000u32 {
            let value = match index % 4 {
                0 => rng.uniform_f64(),
                1 => f64::from(rng.uniform()) * 200.0 - 100.0,
                2 => f64::from(rng.next_u32() % 256) / 255.0,
                _ => f64::from(f32::from_bits(rng.next_u32())),
            };
            for text in [
                format!("{value:?}"),
                format!("{value:.3}"),
                format!("{value}"),
            ] {
                if let Some(found) = plain_of(&text) {
                    assert_eq!(Some(found), text.parse().ok(), "{text}");
                    n_plain += 1;
                }
            }
        }
        assert!(n_plain > 80_000, "{n_plain} were plain");
        for text in [
            "0",
            "7",
            "-0.0",
            "99.9999999999999999",
            "0.999999999999999999",
        ] {
            assert_eq!(
                plain_of(text).map(f32::to_bits),
                f32_of(text).map(f32::to_bits),
                "{text}"
            );
        }
        for text in [
            "", "-", "1.", "1e5", "1.5e3", "01", "123", "NaN", ".5", "1.5x", "--1",
        ] {
            assert_eq!(plain_of(text), None, "{text}");
        }
    }

    /// Decimals that lie exactly in the middle between two floats, and a hair to either side.
    #[test]
    fn middles_round_to_even() {
        for low in [1.0f32, 3.0, 0.1, 7.5e-20, 6.5e18, 1.0e-38] {
            let high = f32::from_bits(low.to_bits() + 1);
            let middle = (f64::from(low) + f64::from(high)) / 2.0;
            let exact = format!("{middle:.70}");
            for text in [
                exact.clone(),
                format!("{exact}1"),
                exact.replacen("00000", "00001", 1),
            ] {
                assert_eq!(f32_of(&text), text.parse().ok(), "{text}");
            }
        }
        for text in [
            "16777217",
            "16777217.0",
            "16777219",
            "9007199254740993",
            "1435774380",
        ] {
            assert_eq!(f32_of(text), text.parse().ok(), "{text}");
            assert_eq!(f64_of(text), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn what_is_too_big_for_a_double_is_none() {
        assert_eq!(f32_of("1.7976931348623157e308"), Some(f32::INFINITY));
        assert_eq!(
            f32_of("-2.2250738585072014e-308").map(f32::to_bits),
            Some(1 << 31)
        );
        assert_eq!(f32_of("1e400"), None);
        assert_eq!(f64_of("1e400"), None);
        assert_eq!(f64_of("1e-99999999999999999999"), Some(0.0));
    }

    #[test]
    fn the_grammar_is_json() {
        assert_eq!(scan(b"-", 0).err(), Some(NumberFault::Value(1)));
        assert_eq!(scan(b"1.", 0).err(), Some(NumberFault::Fraction(2)));
        assert_eq!(scan(b"1.e5", 0).err(), Some(NumberFault::Fraction(2)));
        assert_eq!(scan(b"1e+", 0).err(), Some(NumberFault::Exponent(3)));
        assert_eq!(scan(b"012", 0).map(|number| number.end), Ok(1));
    }

    #[test]
    fn integers_are_whole() {
        let integer = |text: &str| {
            let number = scan(text.as_bytes(), 0).expect("a number");
            number.to_integer(text.as_bytes())
        };
        assert_eq!(integer("-12"), Some(-12));
        assert_eq!(integer("12.0"), None);
        assert_eq!(integer("1e3"), None);
        assert_eq!(integer("18446744073709551615"), Some(i128::from(u64::MAX)));
        assert_eq!(integer(&"9".repeat(60)), None);
    }
}
