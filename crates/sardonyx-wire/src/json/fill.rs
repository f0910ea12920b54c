//! Nested arrays of JSON into the flat elements of a tensor, in one pass: the shape is found on
//! the way, and what does not fit it is refused.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::bytes::Bytes;
use sardonyx_tensor::limits::MAX_RANK;
use sardonyx_tensor::{bf16, f16};

use super::number::plain_f32;
use super::scan::{Fault, Number, Scanner, TOO_BIG};

/// The shape of nested arrays, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Lengths by level; [`UNKNOWN`] until the first array of the level is closed.
    dims: [usize; MAX_RANK],
    /// At which level the elements are.
    rank: Option<usize>,
}

const UNKNOWN: usize = usize::MAX;

/// Why arrays cannot become a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FillFault {
    /// The text is not JSON.
    Syntax(Fault),
    /// The value that starts at this byte is of another type.
    Type(usize),
    /// Values of this type cannot be read from JSON; one starts at this byte.
    Unsupported(usize),
    /// The object that starts at this byte is not `{"b64": "..."}`.
    NotBase64(usize),
    /// What is in `b64` is not base64.
    Base64,
    /// The value that starts at this byte is at `level`; elements are at `rank`.
    Level {
        at: usize,
        level: usize,
        rank: usize,
    },
    /// An array where an element was expected.
    List { level: usize, rank: usize },
    /// An array of another length than those before it.
    Length {
        found: usize,
        level: usize,
        expected: usize,
    },
    /// More levels than a tensor may have dimensions.
    Depth,
}

impl From<Fault> for FillFault {
    fn from(fault: Fault) -> FillFault {
        FillFault::Syntax(fault)
    }
}

impl Shape {
    pub(crate) fn new() -> Shape {
        Shape {
            dims: [UNKNOWN; MAX_RANK],
            rank: None,
        }
    }

    /// The dimensions, once a value has been read.
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims[..self.rank.unwrap_or(0)]
    }

    /// Notes that an array of this length at this level is closed.
    fn close(&mut self, level: usize, length: usize) -> Result<(), FillFault> {
        let dim = &mut self.dims[level];
        if *dim == UNKNOWN {
            *dim = length;
            // An array without elements has nothing below it that could tell more.
            self.rank.get_or_insert(level + 1);
        }
        if *dim == length {
            return Ok(());
        }
        Err(FillFault::Length {
            found: length,
            level,
            expected: *dim,
        })
    }
}

/// An element that can be read from JSON.
pub(crate) trait Leaf: Sized {
    /// Reads the element that starts at the scanner's place (which is no white space).
    fn read(scanner: &mut Scanner<'_>) -> Result<Self, FillFault>;
}

/// How nested arrays are read.
#[derive(Debug)]
pub(crate) struct Filler<'s, 'a> {
    pub(crate) scanner: &'s mut Scanner<'a>,
    pub(crate) shape: Shape,
    /// Whether arrays are counted before they are read, so that of several faults the outermost
    /// one is reported. The text must be valid then.
    pub(crate) careful: bool,
}

impl<'s, 'a> Filler<'s, 'a> {
    pub(crate) fn new(scanner: &'s mut Scanner<'a>, careful: bool) -> Filler<'s, 'a> {
        Filler {
            scanner,
            shape: Shape::new(),
            careful,
        }
    }

    /// Appends the elements of the value that comes next to `out`.
    pub(crate) fn fill<T: Leaf>(
        &mut self,
        level: usize,
        out: &mut Vec<T>,
    ) -> Result<(), FillFault> {
        if self.scanner.peek() != Some(b'[') {
            self.expect_level(level)?;
            out.push(T::read(self.scanner)?);
            return Ok(());
        }
        if let Some(rank) = self.shape.rank.filter(|&rank| level >= rank) {
            return Err(FillFault::List { level, rank });
        }
        if level >= MAX_RANK {
            return Err(FillFault::Depth);
        }
        if self.careful && self.shape.dims[level] != UNKNOWN {
            let length = count(self.scanner.clone())?;
            self.shape.close(level, length)?;
        }
        self.scanner.at += 1;
        let length = match self.scanner.peek() {
            Some(b']') => {
                self.scanner.at += 1;
                0
            }
            Some(b'[') => self.arrays(level + 1, out)?,
            _ => self.elements(level + 1, out)?,
        };
        self.shape.close(level, length)
    }

    /// The elements of an array that starts with an array.
    fn arrays<T: Leaf>(&mut self, level: usize, out: &mut Vec<T>) -> Result<usize, FillFault> {
        let mut length = 0;
        loop {
            self.fill(level, out)?;
            length += 1;
            if !self.scanner.another_element()? {
                return Ok(length);
            }
        }
    }

    /// The elements of an array that does not start with an array.
    fn elements<T: Leaf>(&mut self, level: usize, out: &mut Vec<T>) -> Result<usize, FillFault> {
        self.expect_level(level)?;
        let before = out.len();
        loop {
            if self.scanner.peek() == Some(b'[') {
                return Err(FillFault::List { level, rank: level });
            }
            out.push(T::read(self.scanner)?);
            if !self.scanner.another_element()? {
                return Ok(out.len() - before);
            }
        }
    }

    fn expect_level(&mut self, level: usize) -> Result<(), FillFault> {
        let rank = *self.shape.rank.get_or_insert(level);
        if rank == level {
            return Ok(());
        }
        let at = self.scanner.at;
        Err(FillFault::Level { at, level, rank })
    }
}

/// How many elements the array has that comes next.
fn count(mut scanner: Scanner<'_>) -> Result<usize, Fault> {
    scanner.at += 1;
    if scanner.eat(b']') {
        return Ok(0);
    }
    let mut length = 0;
    loop {
        scanner.pass_value()?;
        length += 1;
        if !scanner.another_element()? {
            return Ok(length);
        }
    }
}

/// Whether what comes next starts like a number, so that a fault in it is one of syntax.
fn is_number(scanner: &Scanner<'_>) -> bool {
    matches!(
        scanner.bytes.get(scanner.at),
        Some(b'-' | b'0'..=b'9' | b'N' | b'I')
    )
}

fn number(scanner: &mut Scanner<'_>) -> Result<Number, FillFault> {
    let start = scanner.at;
    scanner.number().map_err(|fault| {
        if is_number(scanner) {
            FillFault::Syntax(fault)
        } else {
            FillFault::Type(start)
        }
    })
}

macro_rules! float_reader {
    ($name:ident, $type:ty, $convert:ident) => {
        fn $name(scanner: &mut Scanner<'_>) -> Result<$type, FillFault> {
            let start = scanner.at;
            match number(scanner)? {
                Number::Decimal(decimal) => {
                    let text = &scanner.bytes[start..scanner.at];
                    decimal.$convert(text).ok_or(FillFault::Syntax(Fault {
                        problem: TOO_BIG,
                        at: start,
                    }))
                }
                Number::Special(value) => Ok(value as $type),
            }
        }
    };
}

float_reader!(any_f32, f32, to_f32);
float_reader!(any_f64, f64, to_f64);

impl Leaf for f32 {
    #[inline(always)]
    fn read(scanner: &mut Scanner<'_>) -> Result<Self, FillFault> {
        match plain_f32(scanner.bytes, scanner.at) {
            Some((value, end)) => {
                scanner.at = end;
                Ok(value)
            }
            None => any_f32(scanner),
        }
    }
}

impl Leaf for f64 {
    fn read(scanner: &mut Scanner<'_>) -> Result<Self, FillFault> {
        any_f64(scanner)
    }
}

macro_rules! integer_leaf {
    ($($type:ty),+) => {$(
        impl Leaf for $type {
            #[inline]
            fn read(scanner: &mut Scanner<'_>) -> Result<Self, FillFault> {
                let start = scanner.at;
                let Number::Decimal(decimal) = number(scanner)? else {
                    return Err(FillFault::Type(start));
                };
                let value = decimal.to_integer(&scanner.bytes[start..scanner.at]);
                value
                    .and_then(|value| <$type>::try_from(value).ok())
                    .ok_or(FillFault::Type(start))
            }
        }
    )+};
}

integer_leaf!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! unsupported_leaf {
    ($($type:ty),+) => {$(
        impl Leaf for $type {
            fn read(scanner: &mut Scanner<'_>) -> Result<Self, FillFault> {
                Err(if scanner.bytes.get(scanner.at) == Some(&b'{') {
                    FillFault::Type(scanner.at)
                } else {
                    FillFault::Unsupported(scanner.at)
                })
            }
        }
    )+};
}

// Strings are read as `Bytes`: not every byte string is text.
unsupported_leaf!(f16, bf16, String);

impl Leaf for bool {
    fn read(scanner: &mut Scanner<'_>) -> Result<Self, FillFault> {
        if scanner.token(b"true") {
            Ok(true)
        } else if scanner.token(b"false") {
            Ok(false)
        } else {
            Err(FillFault::Type(scanner.at))
        }
    }
}

impl Leaf for Bytes {
    fn read(scanner: &mut Scanner<'_>) -> Result<Self, FillFault> {
        match scanner.bytes.get(scanner.at) {
            Some(b'"') => {
                let text = scanner.string()?;
                Ok(Bytes::from(text.into_owned()))
            }
            Some(b'{') => base64_object(scanner),
            _ => Err(FillFault::Type(scanner.at)),
        }
    }
}

/// Reads `{"b64": "..."}`, which must have no other member.
fn base64_object(scanner: &mut Scanner<'_>) -> Result<Bytes, FillFault> {
    let start = scanner.at;
    let encoded = base64_text(scanner)?;
    match encoded {
        Some(text) => decode_base64(&text).ok_or(FillFault::Base64),
        None => Err(FillFault::NotBase64(start)),
    }
}

/// The text in `{"b64": "..."}`; `None`, with the scanner anywhere, when the object is another.
fn base64_text<'a>(scanner: &mut Scanner<'a>) -> Result<Option<std::borrow::Cow<'a, [u8]>>, Fault> {
    scanner.at += 1;
    if scanner.peek() != Some(b'"') || &*scanner.name()? != b"b64" || scanner.peek() != Some(b'"') {
        return Ok(None);
    }
    let text = scanner.string()?;
    Ok(scanner.eat(b'}').then_some(text))
}

/// Whether the object that comes next stands for a byte string.
pub(crate) fn is_base64_object(mut scanner: Scanner<'_>) -> bool {
    scanner.peek() == Some(b'{') && matches!(base64_text(&mut scanner), Ok(Some(_)))
}

/// Decodes base64 of the usual alphabet, padded or not; white space is skipped.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Bytes> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    if let Ok(bytes) = ENGINE.decode(text) {
        return Some(Bytes::from(bytes));
    }
    let dense: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    ENGINE.decode(dense).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill<T: Leaf>(text: &str, careful: bool) -> Result<(Vec<usize>, Vec<T>), FillFault> {
        let mut scanner = Scanner::new(text.as_bytes());
        let mut filler = Filler::new(&mut scanner, careful);
        let mut out = Vec::new();
        filler.fill(0, &mut out)?;
        let dims = filler.shape.dims().to_vec();
        assert_eq!(scanner.at, text.len());
        Ok((dims, out))
    }

    #[test]
    fn shapes_are_found() {
        for careful in [false, true] {
            assert_eq!(fill("7", careful), Ok((vec![], vec![7i32])));
            assert_eq!(fill("[]", careful), Ok((vec![0], Vec::<i32>::new())));
            assert_eq!(
                fill("[[],[]]", careful),
                Ok((vec![2, 0], Vec::<i32>::new()))
            );
            assert_eq!(
                fill("[ [1, 2], [3,4] , [5,6]]", careful),
                Ok((vec![3, 2], vec![1u8, 2, 3, 4, 5, 6]))
            );
            assert_eq!(
                fill("[[[true]],[[false]]]", careful),
                Ok((vec![2, 1, 1], vec![true, false]))
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let faults = [
            (
                "[[1,2],[3]]",
                FillFault::Length {
                    found: 1,
                    level: 1,
                    expected: 2,
                },
            ),
            (
                "[[1,2],3]",
                FillFault::Level {
                    at: 7,
                    level: 1,
                    rank: 2,
                },
            ),
            ("[1,[2]]", FillFault::List { level: 1, rank: 1 }),
            ("[[1],[[2]]]", FillFault::List { level: 2, rank: 2 }),
            ("[1,\"a\"]", FillFault::Type(3)),
            ("[1,2.0]", FillFault::Type(3)),
            ("[1,2147483648]", FillFault::Type(3)),
            (
                "[[1,2],[\"a\",3,4]]",
                FillFault::Length {
                    found: 3,
                    level: 1,
                    expected: 2,
                },
            ),
        ];
        for (text, fault) in faults {
            assert_eq!(fill::<i32>(text, true), Err(fault), "{text}");
        }
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert_eq!(fill::<i32>(&deep, false), Err(FillFault::Depth));
    }

    #[test]
    fn byte_strings_are_strings_or_base64() {
        let bytes = |text: &'static [u8]| Bytes::from_static(text);
        assert_eq!(
            fill(
                r#"["a\n", {"b64": "aGVsbG8="}, { "b64":"aGVsbG8" }]"#,
                false
            ),
            Ok((
                vec![3],
                vec![bytes(b"a\n"), bytes(b"hello"), bytes(b"hello")]
            ))
        );
        assert_eq!(
            fill::<Bytes>(r#"[{"b64": "a", "c": 1}]"#, false),
            Err(FillFault::NotBase64(1))
        );
        assert_eq!(
            fill::<Bytes>(r#"[{}]"#, false),
            Err(FillFault::NotBase64(1))
        );
        assert_eq!(
            fill::<Bytes>(r#"[{"b64": "!"}]"#, false),
            Err(FillFault::Base64)
        );
        assert_eq!(fill::<Bytes>("[1]", false), Err(FillFault::Type(1)));
    }
}
