//! Limits on what a file may ask for. They hold for every reader and, so that what is written can
//! be read again, for the writer.

/// Most bytes of one protobuf message: its libraries refuse 2 GiB and more.
pub const MAX_MESSAGE_BYTES: u64 = i32::MAX as u64;

/// Deepest nesting of messages, the limit of the protobuf libraries.
pub const MAX_MESSAGE_DEPTH: usize = 100;

/// Deepest nesting of graphs, the outermost included. A graph inside a graph is three messages
/// deeper, so this is the most that protobuf's own limit leaves room for.
pub const MAX_GRAPH_DEPTH: usize = 32;

/// Deepest chain of functions that call each other.
pub const MAX_CALL_DEPTH: usize = 64;

/// Most nodes that a model may have once every function call is replaced by the function's body.
/// A few functions that each call the next one twice would otherwise ask for 2^n nodes.
pub const MAX_INLINED_NODES: u64 = 10_000_000;

/// Memory that decoding may take whatever the size of the file.
pub const DECODE_FLOOR_BYTES: u64 = 64 << 20;

/// Memory that decoding may take for each byte of the file. The densest honest graphs (a node with
/// short names and one small attribute) need about 24.
pub const DECODE_BYTES_PER_BYTE: u64 = 32;

/// External data that tensors may claim from one file whatever its size, shared ranges counted
/// each time.
pub const SHARED_FLOOR_BYTES: u64 = 64 << 20;

/// External data that tensors may claim from one file for each byte of it, shared ranges counted
/// each time.
pub const SHARED_BYTES_PER_BYTE: u64 = 8;

/// Bytes that a sparse tensor may take once it is dense, whatever it stores.
pub const DENSE_FLOOR_BYTES: u64 = 1 << 20;

/// Bytes that a sparse tensor may take once it is dense for each byte that it stores.
pub const DENSE_BYTES_PER_BYTE: u64 = 1024;
