//! Inputs of a signature as they fill up with the tensors of a JSON body.

use std::collections::BTreeSet;

use prost::bytes::Bytes;
use sardonyx_tensor::{DType, Data, Tensor, with_data};

use super::tensor::dtype_name;
use crate::json::debug::excerpt;
use crate::json::fill::{FillFault, Filler, is_base64_object};
use crate::json::scan::Scanner;
use crate::{BytesTensor, Code, Result, TensorSpec, Value, WireError};

/// Room that is taken ahead for at most this many bytes of text for each element: a digit and a
/// comma.
const MIN_ELEMENT_BYTES: usize = 2;

/// What has been read of one input.
#[derive(Debug)]
pub(super) struct Column<'s> {
    pub(super) spec: &'s TensorSpec,
    elements: Elements,
    /// Shape and number of elements of the first item, which all others must have.
    first: Option<(Vec<usize>, usize)>,
    n_items: usize,
    /// Whether the items are examples, which are stacked.
    is_row: bool,
}

#[derive(Debug)]
enum Elements {
    Data(Data),
    Bytes(Vec<Bytes>),
}

impl Elements {
    fn len(&self) -> usize {
        match self {
            Elements::Data(data) => data.len(),
            Elements::Bytes(bytes) => bytes.len(),
        }
    }
}

impl<'s> Column<'s> {
    pub(super) fn new(spec: &'s TensorSpec) -> Column<'s> {
        let elements = if spec.dtype == DType::String {
            Elements::Bytes(Vec::new())
        } else {
            Elements::Data(Data::zeros(spec.dtype, 0))
        };
        Column {
            spec,
            elements,
            first: None,
            n_items: 0,
            is_row: false,
        }
    }

    /// Reads the item that comes next; its shape and number of elements.
    fn read(&mut self, scanner: &mut Scanner<'_>, careful: bool) -> Result<(Vec<usize>, usize)> {
        if self.n_items == 0 {
            self.prepare(scanner);
        }
        let before = self.elements.len();
        let mut filler = Filler::new(scanner, careful);
        let filled = match &mut self.elements {
            Elements::Data(data) => with_data!(data, values => filler.fill(0, values)),
            Elements::Bytes(values) => filler.fill(0, values),
        };
        let shape = filler.shape.dims().to_vec();
        filled.map_err(|fault| refusal(fault, scanner.bytes, self.spec.dtype))?;
        Ok((shape, self.elements.len() - before))
    }

    /// Before the first item: takes room for what one item should have, as far as the text can
    /// hold it, and notices encoded bytes that stand in place of numbers.
    fn prepare(&mut self, scanner: &Scanner<'_>) {
        let mut ahead = scanner.clone();
        while ahead.eat(b'[') {}
        let is_bytes = matches!(ahead.peek(), Some(b'"' | b'{'));
        if self.spec.takes_bytes && is_bytes {
            self.elements = Elements::Bytes(Vec::new());
        }
        if let Elements::Data(data) = &mut self.elements {
            let mut count = self.spec.dims.iter().flatten();
            let count = count.try_fold(1usize, |count, &dim| count.checked_mul(dim));
            let left = scanner.bytes.len() - scanner.at;
            let room = count.unwrap_or(0).min(left / MIN_ELEMENT_BYTES);
            with_data!(data, values => values.reserve(room));
        }
    }

    /// Reads one example.
    fn add(&mut self, scanner: &mut Scanner<'_>, careful: bool) -> Result<()> {
        let (shape, count) = self.read(scanner, careful)?;
        self.n_items += 1;
        self.is_row = true;
        let Some((first, expected)) = &self.first else {
            self.first = Some((shape, count));
            return Ok(());
        };
        if *expected != count {
            return Err(WireError::invalid(format!(
                "Expecting tensor size: {expected} but got: {count}"
            )));
        }
        if *first != shape {
            return Err(WireError::invalid(format!(
                "Expecting shape {} but got: {}",
                shown(first),
                shown(&shape)
            )));
        }
        Ok(())
    }

    /// Reads the whole tensor.
    fn set(&mut self, scanner: &mut Scanner<'_>, careful: bool) -> Result<()> {
        self.first = Some(self.read(scanner, careful)?);
        self.n_items = 1;
        Ok(())
    }

    /// The tensor; of examples, with their number as the first dimension.
    pub(super) fn into_value(self) -> Result<Value> {
        let (mut shape, _) = self.first.unwrap_or_default();
        if self.is_row {
            shape.insert(0, self.n_items);
        }
        match self.elements {
            Elements::Data(data) => Tensor::from_data(shape, data)
                .map(Value::Tensor)
                .map_err(|error| WireError::invalid(error.to_string())),
            Elements::Bytes(values) => BytesTensor::new(shape, values).map(Value::Bytes),
        }
    }
}

/// Reads the list of `instances`: values when there is one input, else objects with one member for
/// each.
pub(super) fn rows(
    scanner: &mut Scanner<'_>,
    columns: &mut [Column<'_>],
    careful: bool,
) -> Result<()> {
    if !scanner.eat(b'[') {
        return Err(scanner.fault("Invalid value.").into());
    }
    if scanner.peek() != Some(b'{') && columns.len() > 1 {
        return Err(WireError::invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors \
             required as per tensorinfo_map",
        ));
    }
    let are_objects = is_named(scanner);
    let mut item = 0;
    loop {
        scanner.peek();
        match (are_objects, is_named(scanner)) {
            (true, true) => named_row(scanner, columns, item, careful)?,
            (true, false) => {
                return Err(WireError::invalid(format!(
                    "Expecting object but got list at item {item} of input list"
                )));
            }
            (false, true) => {
                return Err(WireError::invalid(format!(
                    "Expecting value/list but got object at item {item} of input list"
                )));
            }
            (false, false) => columns[0].add(scanner, careful).map_err(|error| {
                failed(
                    format!("Failed to process element: {item} of 'instances' list"),
                    &error,
                )
            })?,
        }
        item += 1;
        if !scanner.another_element()? {
            return Ok(());
        }
    }
}

/// Whether what comes next is an object, and not one that stands for a byte string.
fn is_named(scanner: &Scanner<'_>) -> bool {
    let mut ahead = scanner.clone();
    ahead.peek() == Some(b'{') && !is_base64_object(ahead)
}

/// Reads one object of `instances`.
fn named_row(
    scanner: &mut Scanner<'_>,
    columns: &mut [Column<'_>],
    item: usize,
    careful: bool,
) -> Result<()> {
    let start = scanner.at;
    let mut n_found = 0;
    scanner.eat(b'{');
    let mut more = !scanner.eat(b'}');
    while more {
        let name = scanner.name()?;
        let column = columns
            .iter_mut()
            .find(|column| column.spec.name.as_bytes() == &*name);
        let added = match column {
            Some(column) if column.n_items == item => column.add(scanner, careful),
            Some(_) => Err(WireError::invalid("JSON object: has the input twice")),
            None => Err(WireError::invalid(format!(
                "JSON object: does not have named input: {}",
                String::from_utf8_lossy(&name)
            ))),
        };
        added.map_err(|error| {
            let name = String::from_utf8_lossy(&name);
            let place =
                format!("Failed to process element: {item} key: {name} of 'instances' list");
            failed(place, &error)
        })?;
        n_found += 1;
        more = scanner.another_member()?;
    }
    if n_found == columns.len() {
        return Ok(());
    }
    let names: BTreeSet<&str> = columns
        .iter()
        .map(|column| column.spec.name.as_str())
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    Err(WireError::invalid(format!(
        "Failed to process element: {item} of 'instances' list. JSON object: {} keys must be \
         equal to: {}",
        excerpt(&scanner.bytes[start..]),
        names.join(",")
    )))
}

/// Reads `inputs`: one tensor, or an object with one member for each input.
pub(super) fn columns(
    scanner: &mut Scanner<'_>,
    columns: &mut [Column<'_>],
    careful: bool,
) -> Result<()> {
    if !is_named(scanner) {
        if columns.len() > 1 {
            return Err(WireError::invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors \
                 required as per tensorinfo_map",
            ));
        }
        scanner.peek();
        return columns[0].set(scanner, careful);
    }
    scanner.eat(b'{');
    let mut more = !scanner.eat(b'}');
    while more {
        let name = scanner.name()?;
        let column = columns
            .iter_mut()
            .find(|column| column.spec.name.as_bytes() == &*name);
        match column {
            Some(column) if column.n_items == 0 => column.set(scanner, careful)?,
            // Names that the signature lacks are passed over, and so is a second of a name.
            _ => scanner.pass_value()?,
        }
        more = scanner.another_member()?;
    }
    match columns.iter().find(|column| column.n_items == 0) {
        Some(missing) => Err(WireError::invalid(format!(
            "Missing named input: {} in 'inputs' object.",
            missing.spec.name
        ))),
        None => Ok(()),
    }
}

#[cold]
fn failed(place: String, error: &WireError) -> WireError {
    WireError::invalid(format!("{place}. Error: {}: {}", error.code, error.message))
}

fn shown(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", dims.join(","))
}

/// What TensorFlow Serving says of values that cannot become a tensor.
#[cold]
fn refusal(fault: FillFault, text: &[u8], dtype: DType) -> WireError {
    let value = |at: usize| excerpt(text.get(at..).unwrap_or_default());
    WireError::invalid(match fault {
        FillFault::Syntax(fault) => return fault.into(),
        FillFault::Unsupported(at) => {
            let message = format!(
                "Conversion of JSON Value: {} to type: {}",
                value(at),
                dtype_name(dtype)
            );
            return WireError::new(Code::Unimplemented, message);
        }
        FillFault::Type(at) => format!(
            "JSON Value: {} Type: {} is not of expected type: {}",
            value(at),
            type_name(text.get(at)),
            dtype_name(dtype)
        ),
        FillFault::NotBase64(at) => format!(
            "JSON Value: {} not formatted correctly for base64 data",
            value(at)
        ),
        FillFault::Base64 => "Unable to base64 decode".to_owned(),
        FillFault::Level { at, level, rank } => format!(
            "JSON Value: {} found at incorrect level: {} in the JSON DOM. Expected at level: {rank}",
            value(at),
            level + 1
        ),
        FillFault::List { level, rank } => {
            format!("Encountered list at unexpected level: {level} expected < {rank}")
        }
        FillFault::Length {
            found,
            level,
            expected,
        } => format!(
            "Encountered list at unexpected size: {found} at level: {level} expected size: \
             {expected}"
        ),
        FillFault::Depth => "lists are nested deeper than a tensor may have dimensions".to_owned(),
    })
}

/// The name of the kind of value that starts with this byte.
pub(super) fn type_name(first: Option<&u8>) -> &'static str {
    match first {
        Some(b'n') => "Null",
        Some(b't') => "True",
        Some(b'f') => "False",
        Some(b'"') => "String",
        Some(b'[') => "Array",
        Some(b'{') => "Object",
        _ => "Number",
    }
}
