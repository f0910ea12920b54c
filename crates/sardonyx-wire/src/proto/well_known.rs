//! Messages of `google.protobuf` that the others contain.

use prost::bytes::Bytes;

/// A message of a named type (`google.protobuf.Any`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// `type.googleapis.com/` and the full name of the type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message, serialised.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Any {
    /// Wraps a message whose full name is `type_name`.
    pub fn pack(type_name: &str, message: &impl prost::Message) -> Any {
        Any {
            type_url: format!("type.googleapis.com/{type_name}"),
            value: message.encode_to_vec().into(),
        }
    }
}

/// An integer that may be absent (`google.protobuf.Int64Value`).
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Int64Value {
    /// The integer.
    #[prost(int64, tag = "1")]
    pub value: i64,
}

/// A text that may be absent (`google.protobuf.StringValue`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct StringValue {
    /// The text.
    #[prost(string, tag = "1")]
    pub value: String,
}

/// A truth value that may be absent (`google.protobuf.BoolValue`).
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct BoolValue {
    /// The truth value.
    #[prost(bool, tag = "1")]
    pub value: bool,
}
