//! What the fuzz targets run. It lives here so that the unit tests can run the same.

use prost::bytes::Bytes;

use crate::error::Result;
use crate::load::{LoadOptions, decode, decode_tensor};
use crate::proto::{ModelProto, SparseTensorProto, TensorProto};
use crate::save::encode;
use crate::sparse::sparse_from_proto;
use crate::tensor::tensor_from_proto;
use crate::walk::{Role, Visitor, visit_model};

/// Reads any bytes as a model and as a tensor. They may be refused; what is accepted must convert
/// or be refused, and must be the same after it is written and read again.
///
/// Gives whether the bytes were a model.
///
/// # Panics
/// When a promise of this crate is broken.
pub fn read_model(bytes: &[u8]) -> bool {
    if let Ok(tensor) = decode_tensor(Bytes::copy_from_slice(bytes)) {
        // Whether it converts does not matter here.
        let _ = tensor_from_proto(&tensor);
    }
    let options = LoadOptions::default();
    let Ok(loaded) = decode(Bytes::copy_from_slice(bytes), None, &options) else {
        return false;
    };
    let mut model = loaded.model;
    convert_all(&mut model);
    let written = encode(&model).expect("what was read can be written");
    let again = decode(written.clone(), None, &options).expect("what was written can be read");
    let rewritten = encode(&again.model).expect("what was read can be written");
    assert_eq!(written, rewritten, "a round trip keeps every byte");
    true
}

fn convert_all(model: &mut ModelProto) {
    visit_model(model, &mut Convert).expect("a model that was read has been visited before");
}

struct Convert;

impl Visitor for Convert {
    fn tensor(&mut self, tensor: &mut TensorProto, _: Role) -> Result<()> {
        let _ = tensor_from_proto(tensor);
        Ok(())
    }

    fn sparse(&mut self, sparse: &SparseTensorProto) -> Result<()> {
        let _ = sparse_from_proto(sparse);
        Ok(())
    }
}
