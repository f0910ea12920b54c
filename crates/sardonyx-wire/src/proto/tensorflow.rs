//! Messages of TensorFlow itself that the serving API contains (package `tensorflow`).

use std::collections::BTreeMap;

use prost::bytes::Bytes;

/// Element types (`tensorflow.DataType`) that have a counterpart here, and those that are only
/// recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DataType {
    Invalid = 0,
    Float = 1,
    Double = 2,
    Int32 = 3,
    Uint8 = 4,
    Int16 = 5,
    Int8 = 6,
    String = 7,
    Complex64 = 8,
    Int64 = 9,
    Bool = 10,
    Qint8 = 11,
    Quint8 = 12,
    Qint32 = 13,
    Bfloat16 = 14,
    Qint16 = 15,
    Quint16 = 16,
    Uint16 = 17,
    Complex128 = 18,
    Half = 19,
    Resource = 20,
    Variant = 21,
    Uint32 = 22,
    Uint64 = 23,
}

/// A shape, maybe unknown in part.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// Dimensions, outermost first.
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
    /// Whether even the number of dimensions is unknown.
    #[prost(bool, tag = "3")]
    pub unknown_rank: bool,
}

/// One dimension of a [`TensorShapeProto`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dim {
    /// Size; -1 when unknown.
    #[prost(int64, tag = "1")]
    pub size: i64,
    /// Name, for people.
    #[prost(string, tag = "2")]
    pub name: String,
}

/// A tensor. Elements are in `tensor_content` or in the typed field of their type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// A [`DataType`].
    #[prost(enumeration = "DataType", tag = "1")]
    pub dtype: i32,
    /// Its shape.
    #[prost(message, optional, tag = "2")]
    pub tensor_shape: Option<TensorShapeProto>,
    /// Always 0.
    #[prost(int32, tag = "3")]
    pub version_number: i32,
    /// Elements of any numeric type: little-endian, row-major, fixed width.
    #[prost(bytes = "bytes", tag = "4")]
    pub tensor_content: Bytes,
    /// Elements of `Float`.
    #[prost(float, repeated, tag = "5")]
    pub float_val: Vec<f32>,
    /// Elements of `Double`.
    #[prost(double, repeated, tag = "6")]
    pub double_val: Vec<f64>,
    /// Elements of `Int32`, `Int16`, `Int8`, `Uint8` and `Uint16`.
    #[prost(int32, repeated, tag = "7")]
    pub int_val: Vec<i32>,
    /// Elements of `String`: byte strings of any content.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub string_val: Vec<Bytes>,
    /// Elements of `Int64`.
    #[prost(int64, repeated, tag = "10")]
    pub int64_val: Vec<i64>,
    /// Elements of `Bool`.
    #[prost(bool, repeated, tag = "11")]
    pub bool_val: Vec<bool>,
    /// Bits of elements of `Half` and `Bfloat16`.
    #[prost(int32, repeated, tag = "13")]
    pub half_val: Vec<i32>,
    /// Elements of `Uint32`.
    #[prost(uint32, repeated, tag = "16")]
    pub uint32_val: Vec<u32>,
    /// Elements of `Uint64`.
    #[prost(uint64, repeated, tag = "17")]
    pub uint64_val: Vec<u64>,
}

/// Named values of one example.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Example {
    /// The values.
    #[prost(message, optional, tag = "1")]
    pub features: Option<Features>,
}

/// The values of an [`Example`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Features {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub feature: BTreeMap<String, Feature>,
}

/// A list of values of one kind.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Feature {
    /// The list; absent when it was never said of which kind it is.
    #[prost(oneof = "Kind", tags = "1, 2, 3")]
    pub kind: Option<Kind>,
}

/// The kinds of a [`Feature`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// Byte strings.
    #[prost(message, tag = "1")]
    BytesList(BytesList),
    /// Floats.
    #[prost(message, tag = "2")]
    FloatList(FloatList),
    /// Integers.
    #[prost(message, tag = "3")]
    Int64List(Int64List),
}

/// Byte strings.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BytesList {
    /// The values.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub value: Vec<Bytes>,
}

/// Floats.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FloatList {
    /// The values.
    #[prost(float, repeated, tag = "1")]
    pub value: Vec<f32>,
}

/// Integers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Int64List {
    /// The values.
    #[prost(int64, repeated, tag = "1")]
    pub value: Vec<i64>,
}

/// What a signature says of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorInfo {
    /// Name within the graph.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A [`DataType`].
    #[prost(enumeration = "DataType", tag = "2")]
    pub dtype: i32,
    /// Its shape.
    #[prost(message, optional, tag = "3")]
    pub tensor_shape: Option<TensorShapeProto>,
}

/// What a model takes and gives under one name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignatureDef {
    /// Inputs by name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub inputs: BTreeMap<String, TensorInfo>,
    /// Outputs by name.
    #[prost(btree_map = "string, message", tag = "2")]
    pub outputs: BTreeMap<String, TensorInfo>,
    /// `tensorflow/serving/predict`, `/classify` or `/regress`.
    #[prost(string, tag = "3")]
    pub method_name: String,
}
