//! A look over the protobuf bytes before they are decoded.
//!
//! Decoding turns a message of two bytes into a struct of hundreds, so a small hostile file could
//! take a large amount of memory. This pass walks the same bytes without allocating for them,
//! checks that they are well formed and not nested too deep, and adds up what the structs will
//! take.

use std::mem::size_of;

use crate::error::{OnnxError, Result};
use crate::limits::{DECODE_BYTES_PER_BYTE, DECODE_FLOOR_BYTES, MAX_MESSAGE_DEPTH};
use crate::proto;

/// The messages of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    /// Sequence, optional: their field 1 is a type.
    TypeInField1,
    /// Map: its field 2 is a type.
    TypeInField2,
    /// Dense and sparse tensor types: their field 2 is a shape.
    ShapeInField2,
    Shape,
    Dimension,
    Function,
    TrainingInfo,
    Annotation,
    NodeDevices,
    Sharding,
    ShardedDim,
    /// Messages with no message inside: entries, operator sets, segments, devices.
    Leaf,
}

impl Kind {
    /// The message in a field, when it holds one.
    fn child(self, tag: u64) -> Option<Kind> {
        Some(match (self, tag) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8 | 14 | 26) => Kind::Leaf,
            (Kind::Model, 20) => Kind::TrainingInfo,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
            (Kind::Graph, 5) => Kind::Tensor,
            (Kind::Graph, 11..=13) | (Kind::Function, 12) => Kind::ValueInfo,
            (Kind::Graph, 14) => Kind::Annotation,
            (Kind::Graph, 15) => Kind::Sparse,
            (Kind::Graph, 16) | (Kind::Function, 9 | 14) | (Kind::Node, 9) => Kind::Leaf,
            (Kind::Node, 5) | (Kind::Function, 11) => Kind::Attribute,
            (Kind::Node, 10) => Kind::NodeDevices,
            (Kind::Attribute, 5 | 10) => Kind::Tensor,
            (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Attribute, 14 | 15) => Kind::Type,
            (Kind::Attribute, 22 | 23) => Kind::Sparse,
            (Kind::Tensor, 3 | 13 | 16) => Kind::Leaf,
            (Kind::Sparse, 1 | 2) => Kind::Tensor,
            (Kind::ValueInfo, 2) => Kind::Type,
            (Kind::ValueInfo, 4) | (Kind::Annotation, 2) => Kind::Leaf,
            (Kind::Type, 1 | 8) => Kind::ShapeInField2,
            (Kind::Type, 4 | 9) => Kind::TypeInField1,
            (Kind::Type, 5) => Kind::TypeInField2,
            (Kind::Type, 7) => Kind::Leaf,
            (Kind::TypeInField1, 1) | (Kind::TypeInField2, 2) => Kind::Type,
            (Kind::ShapeInField2, 2) => Kind::Shape,
            (Kind::Shape, 1) => Kind::Dimension,
            (Kind::TrainingInfo, 1 | 2) => Kind::Graph,
            (Kind::TrainingInfo, 3 | 4) => Kind::Leaf,
            (Kind::NodeDevices, 2) => Kind::Sharding,
            (Kind::Sharding, 3) => Kind::Leaf,
            (Kind::Sharding, 4) => Kind::ShardedDim,
            (Kind::ShardedDim, 2) => Kind::Leaf,
            _ => return None,
        })
    }

    /// Bytes of the struct, room for the next one in a growing vector included.
    fn struct_bytes(self) -> u64 {
        let bytes = match self {
            Kind::Model => size_of::<proto::ModelProto>(),
            Kind::Graph => size_of::<proto::GraphProto>(),
            Kind::Node => size_of::<proto::NodeProto>(),
            Kind::Attribute => size_of::<proto::AttributeProto>(),
            Kind::Tensor => size_of::<proto::TensorProto>(),
            Kind::Sparse => size_of::<proto::SparseTensorProto>(),
            Kind::ValueInfo => size_of::<proto::ValueInfoProto>(),
            Kind::Type | Kind::TypeInField1 | Kind::TypeInField2 => size_of::<proto::TypeProto>(),
            Kind::ShapeInField2 => size_of::<proto::TensorType>(),
            Kind::Shape => size_of::<proto::TensorShapeProto>(),
            Kind::Dimension => size_of::<proto::Dimension>(),
            Kind::Function => size_of::<proto::FunctionProto>(),
            Kind::TrainingInfo => size_of::<proto::TrainingInfoProto>(),
            Kind::Annotation => size_of::<proto::TensorAnnotation>(),
            Kind::NodeDevices => size_of::<proto::NodeDeviceConfigurationProto>(),
            Kind::Sharding => size_of::<proto::ShardingSpecProto>(),
            Kind::ShardedDim => size_of::<proto::ShardedDimProto>(),
            Kind::Leaf => size_of::<proto::DeviceConfigurationProto>(),
        };
        bytes as u64
    }

    /// Bytes that a field of length `len` takes when it holds no message. Numbers packed into
    /// bytes become words; raw data shares the file's buffer.
    fn field_bytes(self, tag: u64, len: u64) -> u64 {
        match (self, tag) {
            (Kind::Tensor, 9) => 0,
            (Kind::Tensor, 5) => len.saturating_mul(4),
            (Kind::Tensor | Kind::Sharding, 1 | 2 | 7 | 11)
            | (Kind::Sparse, 3)
            | (Kind::Attribute, 8)
            | (Kind::Leaf, 2) => len.saturating_mul(8),
            _ => len.saturating_add(size_of::<String>() as u64),
        }
    }
}

/// Walks the bytes of one message of kind `kind` and gives the number of messages in it.
///
/// # Errors
/// When they are not a protobuf message, are nested too deep, or would take more than
/// `max_bytes` of memory (or more than the size of the message allows for).
pub(crate) fn scan(bytes: &[u8], kind: Kind, max_bytes: u64) -> Result<usize> {
    let allowed = DECODE_FLOOR_BYTES
        .saturating_add((bytes.len() as u64).saturating_mul(DECODE_BYTES_PER_BYTE))
        .min(max_bytes);
    let mut cursor = Cursor { bytes, at: 0 };
    let mut needed = kind.struct_bytes();
    let mut messages = 1;
    // The messages that are open: kind and end of each.
    let mut open = vec![(kind, bytes.len())];
    while let Some(&(kind, end)) = open.last() {
        if cursor.at == end {
            open.pop();
            continue;
        }
        let (tag, wire_type) = cursor.key(end)?;
        needed = needed.saturating_add(match wire_type {
            0 => {
                cursor.varint(end)?;
                8
            }
            1 => cursor.skip(8, end)?,
            5 => cursor.skip(4, end)?,
            2 => {
                let len = cursor.varint(end)?;
                match kind.child(tag) {
                    Some(child) => {
                        open.push((child, cursor.end_of(len, end)?));
                        messages += 1;
                        child.struct_bytes()
                    }
                    None => {
                        cursor.skip(len, end)?;
                        kind.field_bytes(tag, len)
                    }
                }
            }
            _ => return Err(cursor.malformed("this kind of field is not used by ONNX")),
        });
        if open.len() > MAX_MESSAGE_DEPTH {
            return Err(OnnxError::TooDeep {
                what: "messages",
                max: MAX_MESSAGE_DEPTH,
            });
        }
        if needed > allowed {
            return Err(OnnxError::TooLarge {
                what: "the decoded model".to_owned(),
                bytes: needed,
                max: allowed,
                hint: "",
            });
        }
    }
    Ok(messages)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn malformed(&self, problem: &'static str) -> OnnxError {
        OnnxError::Malformed {
            offset: self.at,
            problem,
        }
    }

    /// Field number and wire type.
    fn key(&mut self, end: usize) -> Result<(u64, u64)> {
        let key = self.varint(end)?;
        if key >> 3 == 0 || key > u64::from(u32::MAX) {
            return Err(self.malformed("no field has this number"));
        }
        Ok((key >> 3, key & 7))
    }

    fn varint(&mut self, end: usize) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = match self.bytes.get(self.at) {
                Some(&byte) if self.at < end => byte,
                _ => return Err(self.malformed("a number is cut off")),
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number has too many bytes"))
    }

    /// Where `len` bytes from here end.
    fn end_of(&self, len: u64, end: usize) -> Result<usize> {
        usize::try_from(len)
            .ok()
            .and_then(|len| self.at.checked_add(len))
            .filter(|&inner| inner <= end)
            .ok_or_else(|| self.malformed("a field is longer than what holds it"))
    }

    fn skip(&mut self, len: u64, end: usize) -> Result<u64> {
        self.at = self.end_of(len, end)?;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn scan_model(bytes: &[u8]) -> String {
        match scan(bytes, Kind::Model, u64::MAX) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// A message that the table lacks would not be counted.
    #[test]
    fn every_message_of_the_schema_is_walked() {
        let bytes = include_bytes!("../tests/golden/all_fields.onnx");
        let model = proto::ModelProto::decode(&bytes[..]).unwrap();
        let structs = format!("{model:?}").matches('{').count();
        assert_eq!(scan(bytes, Kind::Model, u64::MAX).unwrap(), structs);
    }

    #[test]
    fn what_is_cut_off_is_told_with_its_place() {
        assert_eq!(scan_model(&[]), "ok");
        assert_eq!(scan_model(&[0x08, 0x08]), "ok");
        assert!(scan_model(&[0x08]).starts_with("malformed at byte 1: a number is cut off"));
        assert!(scan_model(&[0x3a, 0x02, 0x0a]).contains("longer than what holds it"));
        // The inner field claims more than its message has, though the file goes on.
        assert!(scan_model(&[0x3a, 0x02, 0x12, 0x05, 0, 0, 0, 0, 0]).contains("longer than"));
        assert!(scan_model(&[0x0b, 0x0c]).contains("not used by ONNX"));
        assert!(scan_model(&[0x00, 0x00]).contains("no field has this number"));
        assert!(
            scan_model(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1])
                .contains("too many bytes")
        );
        let huge = [0x3a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert!(scan_model(&huge).contains("longer than what holds it"));
    }

    #[test]
    fn small_messages_do_not_become_large_ones() {
        // A graph of empty attributes-bearing nodes: two bytes each, hundreds once decoded.
        let node = proto::NodeProto {
            attribute: vec![proto::AttributeProto::default(); 2_000_000],
            ..Default::default()
        };
        let graph = proto::GraphProto {
            node: vec![node],
            ..Default::default()
        };
        let model = proto::ModelProto {
            graph: Some(graph),
            ..Default::default()
        };
        let error = scan_model(&model.encode_to_vec());
        assert!(error.starts_with("the decoded model has"), "{error}");
        assert!(error.contains("over the limit"), "{error}");
    }

    #[test]
    fn depth_is_counted() {
        let mut value = None;
        for _ in 0..60 {
            value = Some(Box::new(proto::TypeProto {
                value: Some(proto::type_proto::Value::SequenceType(Box::new(
                    proto::SequenceType { elem_type: value },
                ))),
                denotation: None,
            }));
        }
        let attribute = proto::AttributeProto {
            tp: value,
            ..Default::default()
        };
        let error = scan(&attribute.encode_to_vec(), Kind::Attribute, u64::MAX).unwrap_err();
        assert_eq!(error.to_string(), "messages are nested deeper than 100");
    }
}
