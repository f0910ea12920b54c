//! ONNX's names of element types.

use sardonyx_tensor::DType;

/// Name of an element type in ONNX's syntax.
pub(super) const fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::F16 => "float16",
        DType::Bf16 => "bfloat16",
        DType::I8 => "int8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::U8 => "uint8",
        DType::U16 => "uint16",
        DType::U32 => "uint32",
        DType::U64 => "uint64",
        DType::Bool => "bool",
        DType::String => "string",
    }
}

/// The element type of this name.
pub(super) fn dtype(text: &str) -> Option<DType> {
    DType::ALL.into_iter().find(|&dtype| name(dtype) == text)
}

/// Whether a word begins a type, so that it cannot be a bare name.
pub(super) fn begins_type(word: &str) -> bool {
    dtype(word).is_some() || is_unsupported(word)
}

/// Types of ONNX's syntax that a graph here cannot have.
pub(super) fn is_unsupported(word: &str) -> bool {
    const WORDS: [&str; 16] = [
        "complex128",
        "complex64",
        "float4e2m1",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "float8e8m0",
        "int2",
        "int4",
        "map",
        "opaque",
        "optional",
        "seq",
        "sparse_tensor",
        "uint4",
    ];
    WORDS.binary_search(&word).is_ok()
}

/// Whether a name can be written without quotes.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a word is one that floats are written with.
pub(super) fn is_float_word(word: &str) -> bool {
    ["inf", "infinity", "nan"].contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for known in DType::ALL {
            assert_eq!(dtype(name(known)), Some(known));
        }
        assert!(begins_type("seq") && begins_type("uint4") && begins_type("complex128"));
        assert!(!begins_type("floats"));
        assert!(is_identifier("_a1") && !is_identifier("1a") && !is_identifier(""));
        assert!(!is_identifier("a.b") && is_float_word("NaN"));
    }
}
