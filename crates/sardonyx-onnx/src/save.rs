//! Models to bytes and files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::atomic::AtomicFile;
use crate::element_type::dtype_from_onnx;
use crate::error::{ExternalError, OnnxError, Result};
use crate::external::{hex, refer};
use crate::limits::MAX_MESSAGE_BYTES;
use crate::load::split;
use crate::proto::{DataLocation, ModelProto, SparseTensorProto, TensorProto};
use crate::tensor::{tensor_from_proto, tensor_to_proto};
use crate::walk::{Role, Visitor, visit_model};
use crate::{functions, layout, sparse};

/// Data of each tensor in another file starts at a multiple of this, so that it can be mapped.
const ALIGNMENT: u64 = 4096;

/// When weights go to a second file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExternalData {
    /// When the model would not fit into one protobuf message (2 GiB).
    #[default]
    WhenNeeded,
    /// Always.
    Always,
    /// Never; a model that needs it is refused.
    Never,
}

/// How a model is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveOptions {
    /// When weights go to a second file.
    pub external_data: ExternalData,
    /// Initializers of fewer bytes stay in the model file even then. Other runtimes look for shapes
    /// and axes in the model file only, so a small number here can make a model that they refuse.
    pub min_external_bytes: u64,
}

impl Default for SaveOptions {
    fn default() -> SaveOptions {
        SaveOptions {
            external_data: ExternalData::WhenNeeded,
            min_external_bytes: 1024,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the model file.
    pub file_bytes: u64,
    /// Bytes of the file of weights; 0 without one.
    pub external_bytes: u64,
    /// The file of weights beside the model.
    pub external_file: Option<PathBuf>,
}

/// The bytes of a model in one message. The same model gives the same bytes.
///
/// # Errors
/// When the model breaks a rule that [`crate::load`] would hold against it, or does not fit into
/// 2 GiB.
pub fn encode(model: &ModelProto) -> Result<Vec<u8>> {
    to_bytes(&checked(model)?)
}

/// The bytes of a tensor as a message of its own.
pub fn encode_tensor(tensor: &TensorProto) -> Vec<u8> {
    tensor.encode_to_vec()
}

/// Writes a model so that a kill at any moment leaves the old model or the new one.
///
/// Weights in a second file get the name `<model>.<16 hex digits of their SHA-1>.data`: the old
/// model keeps its own until the new one is in place, and then the second files of earlier saves
/// under the same model name are removed. No name is ever taken from the model.
///
/// # Errors
/// As [`encode`], or when the system refuses; the old files are then untouched and nothing new is
/// left.
pub fn save(path: &Path, model: &ModelProto, options: &SaveOptions) -> Result<Saved> {
    let mut model = checked(model)?;
    let external = match options.external_data {
        ExternalData::WhenNeeded => model.encoded_len() as u64 > MAX_MESSAGE_BYTES,
        ExternalData::Always => true,
        ExternalData::Never => false,
    };
    let weights = if external {
        write_weights(path, &mut model, options.min_external_bytes)?
    } else {
        None
    };
    let bytes = to_bytes(&model)?;
    let mut file = AtomicFile::create(path)?;
    file.write_all(&bytes)
        .map_err(|error| OnnxError::io("write", path, error))?;
    let mut saved = Saved {
        file_bytes: bytes.len() as u64,
        external_bytes: 0,
        external_file: None,
    };
    if let Some(weights) = weights {
        saved.external_bytes = weights.bytes;
        saved.external_file = Some(weights.path.clone());
        let existed = weights.path.exists();
        weights.file.commit()?;
        if let Err(error) = file.commit() {
            if !existed {
                // Best effort: the error below is the one to tell.
                let _ = fs::remove_file(&weights.path);
            }
            return Err(error);
        }
    } else {
        file.commit()?;
    }
    remove_stale(path, saved.external_file.as_deref());
    Ok(saved)
}

/// A copy (sharing raw data) that holds to the rules of the reader.
fn checked(model: &ModelProto) -> Result<ModelProto> {
    if model.graph.is_none() {
        return Err(OnnxError::NoGraph);
    }
    let mut model = model.clone();
    visit_model(&mut model, &mut Check)?;
    functions::check(&model)?;
    Ok(model)
}

struct Check;

impl Visitor for Check {
    fn tensor(&mut self, tensor: &mut TensorProto, _: Role) -> Result<()> {
        if tensor.data_location() == DataLocation::External || !tensor.external_data.is_empty() {
            return Err(ExternalError::NoFolder.into());
        }
        layout::check(tensor).map(|_| ())
    }

    fn sparse(&mut self, sparse: &SparseTensorProto) -> Result<()> {
        sparse::check(sparse)
    }
}

fn to_bytes(model: &ModelProto) -> Result<Vec<u8>> {
    let bytes = model.encoded_len() as u64;
    if bytes > MAX_MESSAGE_BYTES {
        return Err(OnnxError::TooLarge {
            what: "the model".to_owned(),
            bytes,
            max: MAX_MESSAGE_BYTES,
            hint: "; hint: save with external data",
        });
    }
    Ok(model.encode_to_vec())
}

/// A file of weights, written but not yet in its place.
struct Weights {
    file: AtomicFile,
    path: PathBuf,
    bytes: u64,
}

/// Moves the initializers of `model` into a second file; `None` when none is large enough.
fn write_weights(path: &Path, model: &mut ModelProto, min_bytes: u64) -> Result<Option<Weights>> {
    let (_, name) = split(path)?;
    let name = name.to_str().ok_or_else(|| {
        let error = std::io::Error::other("external data needs a file name in UTF-8");
        OnnxError::io("write", path, error)
    })?;
    let mut mover = Mover {
        file: AtomicFile::create(path)?,
        path,
        hash: Sha1::new(),
        position: 0,
        min_bytes,
    };
    visit_model(model, &mut mover)?;
    if mover.position == 0 {
        return Ok(None);
    }
    let digest = hex(&mover.hash.finalize()[..8]);
    let location = format!("{name}.{digest}.data");
    visit_model(model, &mut Locate(&location))?;
    let mut file = mover.file;
    let path = path.with_file_name(location);
    file.retarget(path.clone());
    Ok(Some(Weights {
        file,
        path,
        bytes: mover.position,
    }))
}

/// Appends the data of large initializers to a file.
struct Mover<'a> {
    file: AtomicFile,
    path: &'a Path,
    hash: Sha1,
    position: u64,
    min_bytes: u64,
}

impl Visitor for Mover<'_> {
    fn tensor(&mut self, tensor: &mut TensorProto, role: Role) -> Result<()> {
        if role != Role::Initializer {
            return Ok(());
        }
        let Some(bytes) = layout::raw_bytes(tensor)? else {
            return Ok(());
        };
        let movable = tensor.raw_data.is_some() || dtype_from_onnx(tensor.data_type()).is_some();
        if !movable || bytes < self.min_bytes.max(1) {
            return Ok(());
        }
        let raw = take_raw(tensor)?;
        let offset = self.position.next_multiple_of(ALIGNMENT);
        let padding = vec![0; (offset - self.position) as usize];
        self.append(&padding)?;
        self.append(&raw)?;
        refer(tensor, "", offset, raw.len() as u64);
        Ok(())
    }

    fn sparse(&mut self, _: &SparseTensorProto) -> Result<()> {
        Ok(())
    }
}

impl Mover<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| OnnxError::io("write", self.path, error))?;
        self.hash.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// The data of a tensor as raw bytes, taken out of whichever field holds it.
fn take_raw(tensor: &mut TensorProto) -> Result<Bytes> {
    if layout::filled_fields(tensor).is_empty() {
        return Ok(tensor.raw_data.take().unwrap_or_default());
    }
    let raw = tensor_to_proto("", &tensor_from_proto(tensor)?).raw_data;
    tensor.float_data = Vec::new();
    tensor.int32_data = Vec::new();
    tensor.int64_data = Vec::new();
    tensor.double_data = Vec::new();
    tensor.uint64_data = Vec::new();
    Ok(raw.unwrap_or_default())
}

/// Fills in the name of the file of weights.
struct Locate<'a>(&'a str);

impl Visitor for Locate<'_> {
    fn tensor(&mut self, tensor: &mut TensorProto, _: Role) -> Result<()> {
        if let Some(location) = tensor.external_data.first_mut() {
            location.value = Some(self.0.to_owned());
        }
        Ok(())
    }

    fn sparse(&mut self, _: &SparseTensorProto) -> Result<()> {
        Ok(())
    }
}

/// Removes the files of weights that earlier saves of this model made. One that stays does no
/// harm, so failures are not reported.
fn remove_stale(path: &Path, keep: Option<&Path>) {
    let Ok((folder, name)) = split(path) else {
        return;
    };
    let Some(name) = name.to_str() else {
        return;
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let keep = keep.and_then(Path::file_name);
    for entry in entries.flatten() {
        let found = entry.file_name();
        if found
            .to_str()
            .is_some_and(|found| is_weights_of(name, found))
            && Some(found.as_os_str()) != keep
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether `found` is a name that a save of `model` gives to its file of weights.
fn is_weights_of(model: &str, found: &str) -> bool {
    found
        .strip_prefix(model)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_suffix(".data"))
        .is_some_and(|digest| {
            let lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            digest.len() == 16 && digest.bytes().all(lower_hex)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_stale() {
        assert!(is_weights_of("m.onnx", "m.onnx.0123456789abcdef.data"));
        for other in [
            "m.onnx.data",
            "m.onnx",
            "m.onnx.0123456789abcde.data",
            "m.onnx.0123456789ABCDEF.data",
            "x.onnx.0123456789abcdef.data",
            "m.onnx.backup.data",
        ] {
            assert!(!is_weights_of("m.onnx", other), "{other}");
        }
    }
}
