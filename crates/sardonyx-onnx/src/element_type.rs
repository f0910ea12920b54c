//! The element types of ONNX: number, name, width and the field that holds them.

use sardonyx_tensor::DType;

/// The field of a tensor message that holds elements of a type when `raw_data` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypedField {
    Float,
    Int32,
    String,
    Int64,
    Double,
    Uint64,
}

/// What is known of one element type.
#[derive(Debug)]
pub(crate) struct ElementType {
    pub(crate) number: i32,
    pub(crate) name: &'static str,
    /// Bits of one element in `raw_data`; `None` for strings.
    pub(crate) bits: Option<u64>,
    pub(crate) field: TypedField,
    pub(crate) dtype: Option<DType>,
}

const fn row(
    number: i32,
    name: &'static str,
    bits: u64,
    field: TypedField,
    dtype: Option<DType>,
) -> ElementType {
    let bits = if bits == 0 { None } else { Some(bits) };
    ElementType {
        number,
        name,
        bits,
        field,
        dtype,
    }
}

/// Every type of `TensorProto.DataType` but `UNDEFINED`, by number.
const ELEMENT_TYPES: [ElementType; 28] = [
    row(1, "float32", 32, TypedField::Float, Some(DType::F32)),
    row(2, "uint8", 8, TypedField::Int32, Some(DType::U8)),
    row(3, "int8", 8, TypedField::Int32, Some(DType::I8)),
    row(4, "uint16", 16, TypedField::Int32, Some(DType::U16)),
    row(5, "int16", 16, TypedField::Int32, Some(DType::I16)),
    row(6, "int32", 32, TypedField::Int32, Some(DType::I32)),
    row(7, "int64", 64, TypedField::Int64, Some(DType::I64)),
    row(8, "string", 0, TypedField::String, Some(DType::String)),
    row(9, "bool", 8, TypedField::Int32, Some(DType::Bool)),
    row(10, "float16", 16, TypedField::Int32, Some(DType::F16)),
    row(11, "float64", 64, TypedField::Double, Some(DType::F64)),
    row(12, "uint32", 32, TypedField::Uint64, Some(DType::U32)),
    row(13, "uint64", 64, TypedField::Uint64, Some(DType::U64)),
    row(14, "complex64", 64, TypedField::Float, None),
    row(15, "complex128", 128, TypedField::Double, None),
    row(16, "bfloat16", 16, TypedField::Int32, Some(DType::Bf16)),
    row(17, "float8e4m3fn", 8, TypedField::Int32, None),
    row(18, "float8e4m3fnuz", 8, TypedField::Int32, None),
    row(19, "float8e5m2", 8, TypedField::Int32, None),
    row(20, "float8e5m2fnuz", 8, TypedField::Int32, None),
    row(21, "uint4", 4, TypedField::Int32, None),
    row(22, "int4", 4, TypedField::Int32, None),
    row(23, "float4e2m1", 4, TypedField::Int32, None),
    row(24, "float8e8m0", 8, TypedField::Int32, None),
    row(25, "uint2", 2, TypedField::Int32, None),
    row(26, "int2", 2, TypedField::Int32, None),
    row(27, "float6e2m3", 6, TypedField::Int32, None),
    row(28, "float6e3m2", 6, TypedField::Int32, None),
];

impl ElementType {
    pub(crate) fn of(number: i32) -> Option<&'static ElementType> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        ELEMENT_TYPES.get(index)
    }

    /// Bytes that `count` elements take in `raw_data`; `None` for strings.
    pub(crate) fn raw_bytes(&self, count: u64) -> Option<u64> {
        self.bits?.checked_mul(count).map(|bits| bits.div_ceil(8))
    }

    /// Entries that `count` elements take in the type's own field.
    pub(crate) fn entries(&self, count: u64) -> u64 {
        match self.name {
            "complex64" | "complex128" => count.saturating_mul(2),
            "uint4" | "int4" | "float4e2m1" => count.div_ceil(2),
            "uint2" | "int2" => count.div_ceil(4),
            _ => count,
        }
    }
}

/// The element type with this number in ONNX; `None` when Sardonyx does not compute with it.
pub fn dtype_from_onnx(number: i32) -> Option<DType> {
    ElementType::of(number).and_then(|element_type| element_type.dtype)
}

/// The number of an element type in ONNX.
pub fn dtype_to_onnx(dtype: DType) -> i32 {
    ELEMENT_TYPES
        .iter()
        .find(|element_type| element_type.dtype == Some(dtype))
        .map(|element_type| element_type.number)
        .expect("every DType has its row in the table")
}

/// Name of the element type with this number, for people: `float32`, `int4`, `undefined`.
pub fn element_type_name(number: i32) -> &'static str {
    match (number, ElementType::of(number)) {
        (0, _) => "undefined",
        (_, Some(element_type)) => element_type.name,
        (_, None) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_complete() {
        for (index, element_type) in ELEMENT_TYPES.iter().enumerate() {
            assert_eq!(element_type.number as usize, index + 1);
        }
        for dtype in DType::ALL {
            assert_eq!(dtype_from_onnx(dtype_to_onnx(dtype)), Some(dtype));
            let element_type = ElementType::of(dtype_to_onnx(dtype)).unwrap();
            let bytes = dtype.size_bytes().map(|bytes| bytes as u64);
            assert_eq!(element_type.raw_bytes(1), bytes);
        }
    }

    #[test]
    fn numbers_outside_the_table_have_no_type() {
        for number in [i32::MIN, -1, 0, 29, i32::MAX] {
            assert_eq!(dtype_from_onnx(number), None);
        }
        assert_eq!(element_type_name(0), "undefined");
        assert_eq!(element_type_name(22), "int4");
        assert_eq!(element_type_name(99), "unknown");
    }
}
