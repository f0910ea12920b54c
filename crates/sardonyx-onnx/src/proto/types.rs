/// Type of a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TypeProto {
    /// Which kind of type, and its details.
    #[prost(oneof = "type_proto::Value", tags = "1, 4, 5, 7, 8, 9")]
    pub value: Option<type_proto::Value>,
    /// What the value means to people and tools (`IMAGE`, `TEXT`, ...).
    #[prost(string, optional, tag = "6")]
    pub denotation: Option<String>,
}

/// The alternatives of [`TypeProto`].
pub mod type_proto {
    use super::{MapType, OpaqueType, OptionalType, SequenceType, SparseTensorType, TensorType};

    /// Kind of a type.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// A dense tensor.
        #[prost(message, tag = "1")]
        TensorType(TensorType),
        /// A sequence.
        #[prost(message, tag = "4")]
        SequenceType(Box<SequenceType>),
        /// A map.
        #[prost(message, tag = "5")]
        MapType(Box<MapType>),
        /// A value that may be missing.
        #[prost(message, tag = "9")]
        OptionalType(Box<OptionalType>),
        /// A sparse tensor.
        #[prost(message, tag = "8")]
        SparseTensorType(SparseTensorType),
        /// A type known by its name only.
        #[prost(message, tag = "7")]
        OpaqueType(OpaqueType),
    }
}

/// Element type and shape of a dense tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    /// Number of the element type, see [`crate::element_type_name`].
    #[prost(int32, optional, tag = "1")]
    pub elem_type: Option<i32>,
    /// Shape; absent when even the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// A sequence of values of one type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SequenceType {
    /// Type of the elements.
    #[prost(message, optional, boxed, tag = "1")]
    pub elem_type: Option<Box<TypeProto>>,
}

/// A map from integers or strings.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MapType {
    /// Number of the element type of the keys.
    #[prost(int32, optional, tag = "1")]
    pub key_type: Option<i32>,
    /// Type of the values.
    #[prost(message, optional, boxed, tag = "2")]
    pub value_type: Option<Box<TypeProto>>,
}

/// A value that may be missing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalType {
    /// Type of the value.
    #[prost(message, optional, boxed, tag = "1")]
    pub elem_type: Option<Box<TypeProto>>,
}

/// Element type and shape of a sparse tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SparseTensorType {
    /// Number of the element type, see [`crate::element_type_name`].
    #[prost(int32, optional, tag = "1")]
    pub elem_type: Option<i32>,
    /// Shape; absent when even the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// A type known by its name only.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OpaqueType {
    /// Domain of the type; empty is the node's.
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    /// Name of the type.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

/// Shape of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// Dimensions, outermost first.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// One dimension: a number, a symbol, or (neither) unknown.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dimension {
    /// Number or symbol.
    #[prost(oneof = "dimension::Value", tags = "1, 2")]
    pub value: Option<dimension::Value>,
    /// What the dimension means to people and tools (`DATA_BATCH`, `DATA_CHANNEL`, ...).
    #[prost(string, optional, tag = "3")]
    pub denotation: Option<String>,
}

/// The alternatives of [`Dimension`].
pub mod dimension {
    /// A dimension that is known by number or by name.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// A number.
        #[prost(int64, tag = "1")]
        DimValue(i64),
        /// A symbol.
        #[prost(string, tag = "2")]
        DimParam(String),
    }
}
