//! Replies to infer requests over HTTP.

use sardonyx_tensor::Data;

use super::datatype;
use super::infer::{InferReply, ReplyOutput};
use crate::json::write::{Layout, Writer};
use crate::{Result, WireError, raw};

/// Text that an element takes, about; only to take room at once.
const ELEMENT_BYTES: usize = 12;

/// The body of a reply to an infer request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedReply {
    /// The body.
    pub body: Vec<u8>,
    /// How many bytes of it are JSON, when binary tensors follow: the value of
    /// [`super::HEADER_LENGTH`]. The content type is then `application/octet-stream`.
    pub header_length: Option<usize>,
}

/// Encodes a reply. Floats have the fewest digits that give them back (Triton widens them to
/// doubles first); `NaN` and the infinities are bare words.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] for an output of half or bfloat16 that is not binary.
pub fn encode_infer(reply: &InferReply<'_>) -> Result<EncodedReply> {
    let json = reply.outputs.iter().filter(|output| !output.binary);
    let n_elements: usize = json.map(|output| output.tensor.len()).sum();
    let binary: Vec<Vec<u8>> = reply
        .outputs
        .iter()
        .filter(|output| output.binary)
        .map(|output| raw::encode(output.tensor.data()))
        .collect();
    let mut sizes = binary.iter().map(Vec::len);
    let mut writer = Writer::new(Layout::Compact, n_elements * ELEMENT_BYTES + 256);
    writer.begin_object();
    if !reply.id.is_empty() {
        text(&mut writer, "id", reply.id);
    }
    text(&mut writer, "model_name", reply.model_name);
    text(&mut writer, "model_version", reply.model_version);
    writer.name("outputs");
    writer.begin_array();
    for output in &reply.outputs {
        let size = if output.binary { sizes.next() } else { None };
        write_output(&mut writer, output, size)?;
    }
    writer.end_array();
    writer.end_object();
    let mut body = writer.finish();
    if binary.is_empty() {
        return Ok(EncodedReply {
            body,
            header_length: None,
        });
    }
    let header_length = Some(body.len());
    for bytes in binary {
        body.extend_from_slice(&bytes);
    }
    Ok(EncodedReply {
        body,
        header_length,
    })
}

fn text(writer: &mut Writer, name: &str, value: &str) {
    writer.name(name);
    writer.string(value);
}

fn write_output(
    writer: &mut Writer,
    output: &ReplyOutput<'_>,
    binary_size: Option<usize>,
) -> Result<()> {
    writer.begin_object();
    text(writer, "name", output.name);
    text(writer, "datatype", datatype(output.tensor.dtype()));
    writer.name("shape");
    writer.begin_array();
    for &dim in output.tensor.shape() {
        writer.unsigned(dim as u64);
    }
    writer.end_array();
    if let Some(size) = binary_size {
        writer.name("parameters");
        writer.begin_object();
        writer.name("binary_data_size");
        writer.unsigned(size as u64);
        writer.end_object();
    } else {
        writer.name("data");
        writer.begin_array();
        write_data(writer, output)?;
        writer.end_array();
    }
    writer.end_object();
    Ok(())
}

fn write_data(writer: &mut Writer, output: &ReplyOutput<'_>) -> Result<()> {
    match output.tensor.data() {
        Data::F32(v) => v.iter().for_each(|&x| writer.shortest_f32(x)),
        Data::F64(v) => v.iter().for_each(|&x| writer.shortest_f64(x)),
        Data::I8(v) => v.iter().for_each(|&x| writer.signed(i64::from(x))),
        Data::I16(v) => v.iter().for_each(|&x| writer.signed(i64::from(x))),
        Data::I32(v) => v.iter().for_each(|&x| writer.signed(i64::from(x))),
        Data::I64(v) => v.iter().for_each(|&x| writer.signed(x)),
        Data::U8(v) => v.iter().for_each(|&x| writer.unsigned(u64::from(x))),
        Data::U16(v) => v.iter().for_each(|&x| writer.unsigned(u64::from(x))),
        Data::U32(v) => v.iter().for_each(|&x| writer.unsigned(u64::from(x))),
        Data::U64(v) => v.iter().for_each(|&x| writer.unsigned(x)),
        Data::Bool(v) => v.iter().for_each(|&x| writer.bool(x)),
        Data::String(v) => v.iter().for_each(|text| writer.string(text)),
        Data::F16(_) | Data::Bf16(_) => {
            return Err(WireError::invalid(format!(
                "sending {} data via JSON is not supported. Please use the binary data format \
                 for output '{}'",
                datatype(output.tensor.dtype()),
                output.name
            )));
        }
    }
    Ok(())
}
