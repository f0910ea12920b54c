use crate::{Result, WireError};

/// What a `POST` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `:classify`
    Classify,
    /// `:predict`
    Predict,
    /// `:regress`
    Regress,
}

/// How a path names a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSelector {
    /// Not at all: the latest.
    Latest,
    /// `/versions/N`
    Number(i64),
    /// `/labels/L`
    Label(String),
}

/// The model that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: VersionSelector,
}

/// What a request of the REST API asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `POST`: run the model.
    Run(Target, Verb),
    /// `GET`: how the versions of the model are.
    Status(Target),
    /// `GET .../metadata`: the signatures of the model.
    Metadata(Target),
    /// `GET /v1/models`: the models that there are (TensorFlow Serving answers with an error).
    List,
}

/// Reads a path of the REST API (without its query).
pub fn parse_path(method: &str, path: &str) -> Result<Call> {
    let _ = (method, path);
    Err(WireError::unimplemented(""))
}
