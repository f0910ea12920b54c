//! The messages of `onnx.proto` as plain structs, up to IR version 11 (ONNX 1.18).
//!
//! Written by hand so that no build needs `protoc`, and so that the types fit their use: `raw_data`
//! shares the buffer that the file was read into instead of copying weights, and the members of an
//! attribute that most attributes lack are boxed. Every field is optional as in the schema, so that
//! what was absent stays absent when a message is written back. Getters of the same name as the
//! scalar fields (`node.op_type()`) give the value or the schema's default.
//!
//! The meaning of each field is said in full by the comments of the schema itself.

mod attribute;
mod device;
mod graph;
mod model;
mod tensor;
mod types;

pub use attribute::{AttributeProto, AttributeType};
pub use device::{
    DeviceConfigurationProto, IntIntListEntryProto, NodeDeviceConfigurationProto, ShardedDimProto,
    ShardingSpecProto, SimpleShardedDimProto, sharded_dim,
};
pub use graph::{GraphProto, NodeProto, TensorAnnotation, ValueInfoProto};
pub use model::{
    FunctionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TrainingInfoProto,
};
pub use tensor::{DataLocation, Segment, SparseTensorProto, TensorProto};
pub use types::{
    Dimension, MapType, OpaqueType, OptionalType, SequenceType, SparseTensorType, TensorShapeProto,
    TensorType, TypeProto, dimension, type_proto,
};
