use std::io;
use std::path::{Path, PathBuf};

use sardonyx_tensor::TensorError;

/// What can be wrong with an ONNX file, or with reading or writing one.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// An error further in, and where it is.
    #[error("{place}: {inner}")]
    In {
        /// The part of the model: a graph, a node, an attribute, a tensor, an external file.
        place: String,
        /// What is wrong there.
        inner: Box<OnnxError>,
    },
    /// The system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `read`, `write`, ...
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory, a pipe, a device where a file was needed.
    #[error("{} is {found}, not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file without content.
    #[error("{} is empty; hint: the export or the download was cut off", path.display())]
    EmptyFile {
        /// The path.
        path: PathBuf,
    },
    /// A file or message over the limit.
    #[error("{what} has {bytes} bytes, over the limit of {max}{hint}")]
    TooLarge {
        /// Which file or message.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
        /// How to mend it, or nothing.
        hint: &'static str,
    },
    /// Bytes that are not a protobuf message.
    #[error("malformed at byte {offset}: {problem}; hint: not an ONNX file, or cut off")]
    Malformed {
        /// Where, from the start.
        offset: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A protobuf message that does not fit the schema.
    #[error("{0}; hint: not an ONNX file, or damaged")]
    Decode(#[from] prost::DecodeError),
    /// Nesting over a limit.
    #[error("{what} are nested deeper than {max}")]
    TooDeep {
        /// What is nested.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A model without a graph.
    #[error("the model has no graph; hint: is this an ONNX model?")]
    NoGraph,
    /// Two initializers of one graph with one name.
    #[error("two initializers are named {0:?}")]
    DuplicateInitializer(String),
    /// An initializer that nothing can refer to.
    #[error("an initializer has no name")]
    UnnamedInitializer,
    /// Two functions with one identity.
    #[error("two functions are named {0}")]
    DuplicateFunction(String),
    /// A function that calls itself, through others or not.
    #[error("function {0} calls itself")]
    RecursiveFunction(String),
    /// Functions whose bodies multiply.
    #[error("the model has more than {max} nodes once its functions are inlined")]
    TooManyNodes {
        /// The limit.
        max: u64,
    },
    /// A part of a larger tensor.
    #[error("segments of tensors are not supported")]
    Segment,
    /// A dimension below zero.
    #[error("dimension {axis} is {dim}")]
    NegativeDim {
        /// Which dimension.
        axis: usize,
        /// Its value.
        dim: i64,
    },
    /// Dimensions that no tensor may have.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Data of the wrong length.
    #[error("{field} has {found} {unit}, the shape needs {expected}")]
    DataLength {
        /// Field that holds the data.
        field: &'static str,
        /// What is counted: bytes or elements.
        unit: &'static str,
        /// How many the shape and the element type need.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// Data in a field that is not that of the element type, or in two fields.
    #[error("elements of {element_type} cannot be in {found}")]
    DataField {
        /// Name of the element type.
        element_type: &'static str,
        /// Fields with data.
        found: String,
    },
    /// An integer that the element type cannot hold.
    #[error("element {index} is {value}, which {element_type} cannot hold")]
    ElementRange {
        /// Row-major index.
        index: usize,
        /// The integer found.
        value: i64,
        /// Name of the element type.
        element_type: &'static str,
    },
    /// A string element that is not text.
    #[error("string {index} is not UTF-8")]
    NotUtf8 {
        /// Row-major index.
        index: usize,
    },
    /// An element type that Sardonyx does not compute with.
    #[error("element type {name} ({number}) is not supported")]
    ElementType {
        /// Name of the type.
        name: &'static str,
        /// Number of the type.
        number: i32,
    },
    /// A sparse tensor that contradicts itself.
    #[error("sparse tensor: {0}")]
    Sparse(&'static str),
    /// An index of a sparse tensor that is out of range or not above the one before.
    #[error("sparse tensor: index {position} is outside the shape or not in ascending order")]
    SparseIndex {
        /// Which of the indices.
        position: usize,
    },
    /// External data that breaks a rule.
    #[error(transparent)]
    External(#[from] ExternalError),
}

/// What can be wrong with a tensor's data in another file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExternalError {
    /// A model from memory has no folder to read from.
    #[error(
        "the data is in another file, and a model from memory has no folder; hint: load it \
             from its file"
    )]
    NoFolder,
    /// Reference and data at once.
    #[error("the tensor has external data and also {0}")]
    Contradiction(&'static str),
    /// A reference to another file on a tensor that is not marked as external.
    #[error("there is external_data, but data_location is not EXTERNAL")]
    Unmarked,
    /// A value of `data_location` that the format does not define.
    #[error("data_location {0} is unknown")]
    Location(i32),
    /// A key that the format does not define.
    #[error("unknown key {0:?}")]
    UnknownKey(String),
    /// A key given twice.
    #[error("key {0:?} is given twice")]
    DuplicateKey(&'static str),
    /// A value that does not parse.
    #[error("{key} is {value:?}, which is not {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What was needed.
        expected: &'static str,
    },
    /// No `location`, or an empty one.
    #[error("there is no location")]
    NoLocation,
    /// The mark with which ONNX Runtime names addresses in its own memory.
    #[error("location {0:?} stands for memory of another program")]
    MemoryAddress(String),
    /// A path out of the model's folder.
    #[error("location {0:?} leaves the model's folder")]
    Escapes(String),
    /// A symbolic link, as the file or on the way to it.
    #[error(
        "location {0:?} goes through a symbolic link; hint: put the file itself beside the \
             model"
    )]
    Symlink(String),
    /// A file with a second name somewhere.
    #[error(
        "{location:?} has {links} hard links, so it may be a file from outside the model's \
             folder; hint: copy it, or allow hard links if you trust the model"
    )]
    HardLink {
        /// The location.
        location: String,
        /// Number of names.
        links: u64,
    },
    /// A directory, a pipe, a device.
    #[error("{location:?} is {found}, not a file")]
    NotAFile {
        /// The location.
        location: String,
        /// What is there.
        found: &'static str,
    },
    /// A range that the file does not have.
    #[error("bytes {offset}..{offset}+{length} are outside {location:?} of {size} bytes")]
    OutOfRange {
        /// The location.
        location: String,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Size of the file.
        size: u64,
    },
    /// A length that is not the tensor's.
    #[error("length is {found}, the shape needs {expected} bytes")]
    Length {
        /// Length claimed.
        found: u64,
        /// Length that the shape and the element type need.
        expected: u64,
    },
    /// Strings, or a type of unknown width.
    #[error("elements of type {0} cannot be in another file")]
    ElementType(&'static str),
    /// A model that asks for more than is there, again and again.
    #[error("tensors claim {claimed} bytes of {location:?}, over the limit of {max}")]
    Claims {
        /// The location.
        location: String,
        /// Bytes claimed, shared ranges counted each time.
        claimed: u64,
        /// The limit.
        max: u64,
    },
    /// More external data than the caller allows.
    #[error(
        "external data of {bytes} bytes is over the limit of {max}; hint: raise \
             max_external_bytes"
    )]
    TooLarge {
        /// Bytes needed so far.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A file whose SHA-1 is not the one that the model gives.
    #[error("{location:?} has SHA-1 {found}, the model says {expected}")]
    Checksum {
        /// The location.
        location: String,
        /// SHA-1 in the model.
        expected: String,
        /// SHA-1 of the file.
        found: String,
    },
}

/// Result of a function of this crate.
pub type Result<T, E = OnnxError> = std::result::Result<T, E>;

impl OnnxError {
    /// The innermost error, without the places around it.
    pub fn root(&self) -> &OnnxError {
        let mut error = self;
        while let OnnxError::In { inner, .. } = error {
            error = inner;
        }
        error
    }

    pub(crate) fn at(self, place: impl Into<String>) -> OnnxError {
        OnnxError::In {
            place: place.into(),
            inner: Box::new(self),
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> OnnxError {
        OnnxError::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// A name from a file as an error shows it: escaped, so that it cannot play with a terminal, and
/// cut, because it may have any length.
pub(crate) fn quoted(name: &str) -> String {
    format!("{:?}", shortened(name))
}

/// The start of a text from a file.
pub(crate) fn shortened(name: &str) -> String {
    const MAX_CHARS: usize = 120;
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}
