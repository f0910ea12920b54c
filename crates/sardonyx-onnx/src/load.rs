//! Bytes and files to models whose every tensor is in memory.

use std::path::Path;

use prost::Message;
use prost::bytes::Bytes;

use crate::error::{OnnxError, Result, quoted};
use crate::external::Resolver;
use crate::folder::Folder;
use crate::proto::{ModelProto, TensorProto};
use crate::walk::{Role, Visitor, visit_model};
use crate::wire::{Kind, scan};
use crate::{functions, limits};

/// Limits and permissions of a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Most bytes of the model file itself.
    pub max_file_bytes: u64,
    /// Most memory that the decoded model may take, external data and raw data aside. The size of
    /// the file limits it further ([`limits::DECODE_BYTES_PER_BYTE`]).
    pub max_decoded_bytes: u64,
    /// Most bytes that are read from other files.
    pub max_external_bytes: u64,
    /// Whether external data may be in a file with several hard links, as download caches make
    /// them. Such a file may be one from outside the model's folder.
    pub allow_hardlinks: bool,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            max_file_bytes: limits::MAX_MESSAGE_BYTES,
            max_decoded_bytes: 8 << 30,
            max_external_bytes: 64 << 30,
            allow_hardlinks: false,
        }
    }
}

/// A model whose tensors hold their data, whatever file it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The model. No tensor refers to another file.
    pub model: ModelProto,
    /// Files besides the model's own that were read, relative to its folder, sorted.
    pub external_files: Vec<String>,
    /// Bytes of the model file itself.
    pub file_bytes: u64,
}

/// Reads a model file and the external data beside it.
///
/// # Errors
/// When the file cannot be read or is over a limit, is not an ONNX model, or contradicts itself;
/// the message says where.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Loaded> {
    let (folder, name) = split(path)?;
    let folder = Folder::open(folder).map_err(|error| match error {
        OnnxError::Io { action, source, .. } => OnnxError::io(action, path, source),
        error => error,
    })?;
    let bytes = folder
        .open_named(name)?
        .read_all(path, options.max_file_bytes)?;
    decode_in(bytes, Some(&folder), options).map_err(|error| error.at(path.display().to_string()))
}

/// Decodes a model. External data is read from `folder`; without one, it is refused.
///
/// # Errors
/// As [`load`].
pub fn decode(
    bytes: impl Into<Bytes>,
    folder: Option<&Path>,
    options: &LoadOptions,
) -> Result<Loaded> {
    let folder = folder.map(Folder::open).transpose()?;
    decode_in(bytes.into(), folder.as_ref(), options)
}

/// Decodes a tensor that is a message of its own, as the test data of ONNX are.
///
/// # Errors
/// When the bytes are not a tensor, it contradicts itself, or its data is in another file.
pub fn decode_tensor(bytes: impl Into<Bytes>) -> Result<TensorProto> {
    let bytes = bytes.into();
    let options = LoadOptions::default();
    scan(&bytes, Kind::Tensor, options.max_decoded_bytes)?;
    let mut tensor = TensorProto::decode(bytes)?;
    Resolver::new(None, &options)
        .tensor(&mut tensor, Role::Other)
        .map_err(|error| error.at(format!("tensor {}", quoted(tensor.name()))))?;
    Ok(tensor)
}

fn decode_in(bytes: Bytes, folder: Option<&Folder>, options: &LoadOptions) -> Result<Loaded> {
    let file_bytes = bytes.len() as u64;
    scan(&bytes, Kind::Model, options.max_decoded_bytes)?;
    let mut model = ModelProto::decode(bytes)?;
    if model.graph.is_none() {
        return Err(OnnxError::NoGraph);
    }
    let mut resolver = Resolver::new(folder, options);
    visit_model(&mut model, &mut resolver)?;
    functions::check(&model)?;
    Ok(Loaded {
        model,
        external_files: resolver.into_files(),
        file_bytes,
    })
}

/// Folder and name of a file.
pub(crate) fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr)> {
    let name = path.file_name().ok_or_else(|| OnnxError::NotAFile {
        path: path.to_owned(),
        found: "a directory",
    })?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name))
}
