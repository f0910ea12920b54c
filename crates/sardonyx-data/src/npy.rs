//! NPY, numpy's format of one array (NEP 1): magic, version, a Python literal that says type, order
//! and shape, then the elements. Pickled objects are never loaded.

use std::io::Read;
use std::path::Path;

use sardonyx_tensor::{DType, Data, Tensor, f16, map_data, strides};

use crate::arrays::{claimed_count, permute};
use crate::error::{DataError, Result};
use crate::limits::Limits;
use crate::read::source::{self, Claim, Source};

pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is read; numpy's own are of one or two hundred bytes.
const HEADER_BYTES_MAX: usize = 1 << 16;

/// What the header of a file written here is padded to, as numpy does.
const HEADER_ALIGN: usize = 64;

/// Reads an array of any number type, byte order and memory order; the result is row-major.
///
/// # Errors
/// When the file cannot be read, is damaged, holds anything but numbers or truth values, or passes
/// a limit.
pub fn read(path: &Path, limits: &Limits) -> Result<Tensor> {
    let mut source = Source::open(path, limits)?;
    let place = Place {
        path,
        name: "array",
        plausible: source.plausible_bytes(),
    };
    read_from(&mut source.reader, &place, limits)
}

/// The array as the bytes of an `.npy` file, version 1.0, little-endian, row-major.
///
/// # Errors
/// When the elements are strings or bfloat16, which the format does not have.
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let descr = match tensor.dtype() {
        DType::F64 => "<f8",
        DType::F32 => "<f4",
        DType::F16 => "<f2",
        DType::I64 => "<i8",
        DType::I32 => "<i4",
        DType::I16 => "<i2",
        DType::I8 => "|i1",
        DType::U64 => "<u8",
        DType::U32 => "<u4",
        DType::U16 => "<u2",
        DType::U8 => "|u1",
        DType::Bool => "|b1",
        dtype @ (DType::Bf16 | DType::String) => {
            return Err(DataError::shape(
                "array",
                format!("an NPY file cannot hold elements of type {dtype}"),
                "convert them to f32",
            ));
        }
    };
    let mut dict = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': {}, }}",
        tuple_text(tensor.shape())
    );
    let unpadded = MAGIC.len() + 4 + dict.len() + 1;
    dict.extend(std::iter::repeat_n(
        ' ',
        unpadded.next_multiple_of(HEADER_ALIGN) - unpadded,
    ));
    dict.push('\n');
    let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + dict.len() + tensor.size_bytes());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    let length = u16::try_from(dict.len()).expect("32 dimensions of 20 digits fit a short header");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    encode(tensor.data(), &mut bytes);
    Ok(bytes)
}

/// A shape as Python writes it: `()`, `(5,)`, `(3, 4)`.
fn tuple_text(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    format!("({}{comma})", dims.join(", "))
}

/// Where an array lies.
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    /// Name of the array, for messages.
    pub(crate) name: &'a str,
    /// Most bytes that it can have.
    pub(crate) plausible: u64,
}

impl Place<'_> {
    fn corrupt(&self, problem: impl Into<String>, hint: &str) -> DataError {
        DataError::corrupt(self.path, format!("{}, header", self.name), problem, hint)
    }
}

pub(crate) fn read_from(
    reader: &mut dyn Read,
    place: &Place<'_>,
    limits: &Limits,
) -> Result<Tensor> {
    let at = format!("{}, header", place.name);
    let start = source::read_exact(reader, 8, &at, place.path)?;
    if !start.starts_with(MAGIC) {
        return Err(place.corrupt("the NPY magic is missing", "write it with numpy.save"));
    }
    let n_length_bytes = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => {
            let problem = format!("format version {version} is not known");
            return Err(place.corrupt(problem, "save it with version 1, 2 or 3"));
        }
    };
    let length = source::read_exact(reader, n_length_bytes, &at, place.path)?
        .iter()
        .rev()
        .fold(0usize, |length, &byte| length << 8 | usize::from(byte));
    if length > HEADER_BYTES_MAX {
        let problem = format!("{length} bytes, over the limit of {HEADER_BYTES_MAX}");
        return Err(place.corrupt(problem, "the header is damaged"));
    }
    let text = source::read_exact(reader, length, &at, place.path)?;
    let header = parse_header(&text)
        .ok_or_else(|| place.corrupt("is not what numpy writes", "write it with numpy.save"))?;
    let element = Element::parse(&header.descr, place)?;
    let count = claimed_count(&header.shape)
        .map_err(|error| place.corrupt(error.to_string(), "the header is damaged"))?;
    let claim = Claim {
        path: place.path,
        what: place.name,
        bytes: count as u64 * element.size as u64,
        plausible: place.plausible,
    };
    let bytes = source::read_payload(reader, &claim, limits)?;
    let data = element.decode(bytes);
    let data = if header.is_fortran {
        let mut reversed: Vec<usize> = header.shape.clone();
        reversed.reverse();
        let mut from = strides(&reversed);
        from.reverse();
        map_data!(data, values => permute(&values, &header.shape, &from))
    } else {
        data
    };
    Ok(Tensor::from_data(header.shape, data)?)
}

struct Header {
    descr: String,
    is_fortran: bool,
    shape: Vec<usize>,
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order.
fn parse_header(text: &[u8]) -> Option<Header> {
    let text = std::str::from_utf8(text).ok()?;
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut descr, mut is_fortran, mut shape) = (None, None, None);
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if rest.is_empty() {
            break;
        }
        let (key, after) = quoted(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" if rest.starts_with('[') => {
                // A record of several fields; the type check refuses it by this name.
                descr = Some("a record".to_owned());
                rest = rest.rsplit_once(']')?.1;
            }
            "descr" => {
                let (value, after) = quoted(rest)?;
                (descr, rest) = (Some(value.to_owned()), after);
            }
            "fortran_order" => {
                let is_true = rest.starts_with("True");
                is_fortran = Some(is_true);
                rest = rest.strip_prefix(if is_true { "True" } else { "False" })?;
            }
            "shape" => {
                let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
                let dims = inside
                    .split(',')
                    .map(str::trim)
                    .filter(|dim| !dim.is_empty());
                let dims = dims.map(|dim| dim.trim_end_matches('L').parse().ok());
                (shape, rest) = (Some(dims.collect::<Option<Vec<usize>>>()?), after);
            }
            _ => return None,
        }
    }
    Some(Header {
        descr: descr?,
        is_fortran: is_fortran?,
        shape: shape?,
    })
}

/// The string literal at the start of `text` and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// An element type of numpy: byte order, kind and size in bytes.
struct Element {
    is_big_endian: bool,
    kind: u8,
    size: usize,
}

impl Element {
    fn parse(descr: &str, place: &Place<'_>) -> Result<Element> {
        let error = |hint| place.corrupt(format!("elements of type `{descr}`"), hint);
        let number = "save numbers: arr.astype('float32')";
        let (&order, rest) = descr
            .as_bytes()
            .split_first()
            .ok_or_else(|| error(number))?;
        let (order, rest) = match order {
            b'<' | b'>' | b'|' | b'=' => (order, rest),
            _ => (b'=', descr.as_bytes()),
        };
        let (&kind, size) = rest.split_first().ok_or_else(|| error(number))?;
        let size = match (kind, size) {
            (b'b' | b'i' | b'u', b"1") => 1,
            (b'f' | b'i' | b'u', b"2") => 2,
            (b'f' | b'i' | b'u', b"4") => 4,
            (b'f' | b'i' | b'u', b"8") => 8,
            (b'O', _) => return Err(error("Python objects are never loaded; save numbers")),
            (b'U' | b'S', _) => return Err(error("text is not read from NPY; use class numbers")),
            _ => return Err(error(number)),
        };
        Ok(Element {
            is_big_endian: order == b'>',
            kind,
            size,
        })
    }

    fn decode(&self, bytes: Vec<u8>) -> Data {
        macro_rules! words {
            ($type:ty) => {
                bytes
                    .chunks_exact(size_of::<$type>())
                    .map(|word| {
                        let word = word.try_into().expect("whole words");
                        if self.is_big_endian {
                            <$type>::from_be_bytes(word)
                        } else {
                            <$type>::from_le_bytes(word)
                        }
                    })
                    .collect()
            };
        }
        match (self.kind, self.size) {
            (b'b', _) => Data::Bool(bytes.into_iter().map(|byte| byte != 0).collect()),
            (b'f', 2) => Data::F16(words!(f16)),
            (b'f', 4) => Data::F32(words!(f32)),
            (b'f', _) => Data::F64(words!(f64)),
            (b'i', 1) => Data::I8(words!(i8)),
            (b'i', 2) => Data::I16(words!(i16)),
            (b'i', 4) => Data::I32(words!(i32)),
            (b'i', _) => Data::I64(words!(i64)),
            (_, 1) => Data::U8(bytes),
            (_, 2) => Data::U16(words!(u16)),
            (_, 4) => Data::U32(words!(u32)),
            _ => Data::U64(words!(u64)),
        }
    }
}

fn encode(data: &Data, bytes: &mut Vec<u8>) {
    macro_rules! words {
        ($values:expr) => {
            $values
                .iter()
                .for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()))
        };
    }
    match data {
        Data::F32(values) => words!(values),
        Data::F64(values) => words!(values),
        Data::F16(values) => words!(values),
        Data::I8(values) => words!(values),
        Data::I16(values) => words!(values),
        Data::I32(values) => words!(values),
        Data::I64(values) => words!(values),
        Data::U8(values) => bytes.extend_from_slice(values),
        Data::U16(values) => words!(values),
        Data::U32(values) => words!(values),
        Data::U64(values) => words!(values),
        Data::Bool(values) => bytes.extend(values.iter().map(|&value| u8::from(value))),
        Data::Bf16(_) | Data::String(_) => unreachable!("the header was refused before"),
    }
}
