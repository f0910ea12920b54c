//! Graphs from files and back.

use std::path::Path;

use sardonyx_ir::Graph;
use sardonyx_onnx::{Bytes, LoadOptions, SaveOptions, Saved};

use crate::error::Result;
use crate::{export, import};

/// Reads the graph of a model file, and of the external data beside it.
///
/// # Errors
/// When the file cannot be read, is over a limit, is not an ONNX model or not a well-formed one.
pub fn load(path: &Path) -> Result<Graph> {
    load_with(path, &LoadOptions::default())
}

/// As [`load`], with limits.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, options: &LoadOptions) -> Result<Graph> {
    import(&sardonyx_onnx::load(path, options)?.model)
}

/// Reads the graph of a model in memory. It cannot have external data.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(bytes: impl Into<Bytes>) -> Result<Graph> {
    import(&sardonyx_onnx::decode(bytes, None, &LoadOptions::default())?.model)
}

/// The bytes of a graph's model file. The same graph gives the same bytes.
///
/// # Errors
/// As [`export`], or when the model does not fit into 2 GiB.
pub fn to_bytes(graph: &Graph) -> Result<Vec<u8>> {
    Ok(sardonyx_onnx::encode(&export(graph)?)?)
}

/// Writes a graph as a model file: a kill at any moment leaves the old file or the new one.
/// Weights go to a second file when one file cannot hold them.
///
/// # Errors
/// As [`export`], or when the system refuses to write.
pub fn save(path: &Path, graph: &Graph) -> Result<Saved> {
    save_with(path, graph, &SaveOptions::default())
}

/// As [`save`], with options.
///
/// # Errors
/// As [`save`].
pub fn save_with(path: &Path, graph: &Graph, options: &SaveOptions) -> Result<Saved> {
    Ok(sardonyx_onnx::save(path, &export(graph)?, options)?)
}
