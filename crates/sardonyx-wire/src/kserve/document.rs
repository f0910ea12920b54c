//! The JSON of everything but inference.

use prost::Message as _;

use crate::json::fill::decode_base64;
use crate::json::scan::Scanner;
use crate::json::write::{Layout, Writer};
use crate::proto::administration::ModelIndex;
use crate::proto::inference::{ModelMetadataResponse, ServerMetadataResponse};
use crate::proto::model_config::ModelConfig;
use crate::proto::statistics::ModelStatisticsResponse;
use crate::schema::{from_json, to_json, triton};
use crate::{Bytes, Result, WireError};

/// Body of `POST /v2/repository/index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexRequest {
    /// Whether only models that answer are wanted.
    pub ready: bool,
}

/// Body of `POST /v2/repository/models/M/load` and `/unload`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadRequest {
    /// The configuration that the model is to have, as JSON.
    pub config: Option<String>,
    /// Files that the model is to have: path below the model's folder, contents.
    pub files: Vec<(String, Bytes)>,
    /// Whether the models that only this one needs go with it (of an unload).
    pub unload_dependents: bool,
}

/// Decodes the body of `POST /v2/repository/index`; an empty one is allowed.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when it is not what it should be.
pub fn decode_index_request(body: &[u8]) -> Result<IndexRequest> {
    let mut request = IndexRequest::default();
    object(body, &mut |scanner, name| {
        if name == "ready" {
            request.ready = boolean(scanner, "ready")?;
            return Ok(());
        }
        Ok(scanner.pass_value()?)
    })?;
    Ok(request)
}

/// Decodes the body of a load or unload; an empty one is allowed. Files are base64 under names
/// that start with `file:`.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when it is not what it should be.
pub fn decode_load_request(body: &[u8]) -> Result<LoadRequest> {
    let mut request = LoadRequest::default();
    object(body, &mut |scanner, name| {
        if name == "parameters" {
            return members(scanner, &mut |scanner, name| {
                load_parameter(scanner, name, &mut request)
            });
        }
        Ok(scanner.pass_value()?)
    })?;
    Ok(request)
}

fn load_parameter(scanner: &mut Scanner<'_>, name: &str, request: &mut LoadRequest) -> Result<()> {
    if name == "config" {
        request.config = Some(text(scanner, name)?);
    } else if let Some(path) = name.strip_prefix("file:") {
        let encoded = text(scanner, name)?;
        let contents = decode_base64(encoded.as_bytes());
        let contents =
            contents.ok_or_else(|| WireError::invalid(format!("'{name}' is not base64")))?;
        request.files.push((path.to_owned(), contents));
    } else if name == "unload_dependents" {
        request.unload_dependents = boolean(scanner, name)?;
    } else {
        scanner.pass_value()?;
    }
    Ok(())
}

type Member<'m> = dyn FnMut(&mut Scanner<'_>, &str) -> Result<()> + 'm;

fn object(body: &[u8], member: &mut Member<'_>) -> Result<()> {
    let mut scanner = Scanner::new(body);
    if scanner.peek().is_none() {
        return Ok(());
    }
    members(&mut scanner, member)
}

fn members(scanner: &mut Scanner<'_>, member: &mut Member<'_>) -> Result<()> {
    if !scanner.eat(b'{') {
        return Err(WireError::invalid("a JSON object is expected"));
    }
    let mut more = !scanner.eat(b'}');
    while more {
        let name = scanner.name()?;
        scanner.peek();
        member(scanner, &String::from_utf8_lossy(&name))?;
        more = scanner.another_member()?;
    }
    Ok(())
}

fn boolean(scanner: &mut Scanner<'_>, name: &str) -> Result<bool> {
    if scanner.token(b"true") {
        Ok(true)
    } else if scanner.token(b"false") {
        Ok(false)
    } else {
        Err(WireError::invalid(format!("'{name}' must be a boolean")))
    }
}

fn text(scanner: &mut Scanner<'_>, name: &str) -> Result<String> {
    let wrong = || WireError::invalid(format!("'{name}' must be a string"));
    if scanner.peek() != Some(b'"') {
        return Err(wrong());
    }
    String::from_utf8(scanner.string()?.into_owned()).map_err(|_| wrong())
}

/// Body of the reply to `GET /v2`.
pub fn encode_server_metadata(metadata: &ServerMetadataResponse) -> Vec<u8> {
    to_json(&triton::SERVER_METADATA, &metadata.encode_to_vec())
}

/// Body of the reply to `GET /v2/models/M`.
pub fn encode_model_metadata(metadata: &ModelMetadataResponse) -> Vec<u8> {
    to_json(&triton::MODEL_METADATA, &metadata.encode_to_vec())
}

/// Body of the reply to `GET /v2/models/M/config`.
pub fn encode_config(config: &ModelConfig) -> Vec<u8> {
    to_json(&triton::MODEL_CONFIG, &config.encode_to_vec())
}

/// A configuration from JSON, as loads carry it.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when the text does not describe a configuration.
pub fn config_from_json(json: &[u8]) -> Result<ModelConfig> {
    let bytes = from_json(&triton::MODEL_CONFIG, json)?;
    ModelConfig::decode(bytes.as_slice()).map_err(|error| WireError::invalid(error.to_string()))
}

/// Body of the reply to `GET /v2/models/M/stats`.
pub fn encode_statistics(statistics: &ModelStatisticsResponse) -> Vec<u8> {
    to_json(&triton::MODEL_STATISTICS, &statistics.encode_to_vec())
}

/// Body of the reply to `POST /v2/repository/index`. What is empty is left out.
pub fn encode_index(models: &[ModelIndex]) -> Vec<u8> {
    let mut writer = Writer::new(Layout::Compact, 64 * models.len() + 2);
    writer.begin_array();
    for model in models {
        writer.begin_object();
        let members = [
            ("name", &model.name),
            ("version", &model.version),
            ("state", &model.state),
            ("reason", &model.reason),
        ];
        for (name, value) in members {
            if name == "name" || !value.is_empty() {
                writer.name(name);
                writer.string(value);
            }
        }
        writer.end_object();
    }
    writer.end_array();
    writer.finish()
}

/// Body of an error.
pub fn encode_error(message: &str) -> Vec<u8> {
    let mut writer = Writer::new(Layout::Compact, message.len() + 16);
    writer.begin_object();
    writer.name("error");
    writer.string(message);
    writer.end_object();
    writer.finish()
}
