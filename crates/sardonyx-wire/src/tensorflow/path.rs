//! Paths of the REST API.

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
    /// `GET /v1/models`: the models that there are. TensorFlow Serving answers with
    /// [`MISSING_MODEL`] as an error.
    List,
}

/// What TensorFlow Serving says to `GET /v1/models`.
pub const MISSING_MODEL: &str = "Missing model name in request.";

/// Reads a path of the REST API (without its query). Fixed parts are matched whatever their case;
/// names and labels are percent-decoded.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] for a path or a method that there is none of, a version over
/// 64 bits, and a name that is not UTF-8.
pub fn parse_path(method: &str, path: &str) -> Result<Call> {
    let malformed = || WireError::invalid(format!("Malformed request: {method} {path}"));
    let rest = strip(path, "/v1/models").ok_or_else(malformed)?;
    match method {
        "POST" => {
            let rest = rest.strip_prefix('/').ok_or_else(malformed)?;
            let (target, verb) = rest.rsplit_once(':').ok_or_else(malformed)?;
            let verbs = [
                ("classify", Verb::Classify),
                ("predict", Verb::Predict),
                ("regress", Verb::Regress),
            ];
            let verb = verbs
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(verb));
            let (_, verb) = verb.ok_or_else(malformed)?;
            let target = parse_target(target).ok_or_else(malformed)??;
            Ok(Call::Run(target, *verb))
        }
        "GET" => {
            let (rest, is_metadata) = match strip_end(rest, "/metadata") {
                Some(rest) if !rest.is_empty() => (rest, true),
                _ => (rest, false),
            };
            let Some(rest) = rest.strip_prefix('/') else {
                return if rest.is_empty() {
                    Ok(Call::List)
                } else {
                    Err(malformed())
                };
            };
            let target = parse_target(rest).ok_or_else(malformed)??;
            Ok(if is_metadata {
                Call::Metadata(target)
            } else {
                Call::Status(target)
            })
        }
        _ => Err(malformed()),
    }
}

fn strip<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let (start, rest) = path.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn strip_end<'p>(path: &'p str, suffix: &str) -> Option<&'p str> {
    let (rest, end) = path.split_at_checked(path.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

/// `NAME`, `NAME/versions/N` or `NAME/labels/L`; `None` when it is none of these.
fn parse_target(text: &str) -> Option<Result<Target>> {
    let mut parts = text.split('/');
    let name = parts.next()?;
    let version = match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => None,
        (Some(kind), Some(value), None) => Some((kind, value)),
        _ => return None,
    };
    let is_name = |text: &str| !text.is_empty() && !text.contains(':');
    if !is_name(name) {
        return None;
    }
    let version = match version {
        None => Ok(VersionSelector::Latest),
        Some((kind, number)) if kind.eq_ignore_ascii_case("versions") => {
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            number.parse().map(VersionSelector::Number).map_err(|_| {
                WireError::invalid(format!("Failed to convert version: {number} to numeric."))
            })
        }
        Some((kind, label)) if kind.eq_ignore_ascii_case("labels") && is_name(label) => {
            decoded(label, "model version label").map(VersionSelector::Label)
        }
        Some(_) => return None,
    };
    let target = |model| version.map(|version| Target { model, version });
    Some(decoded(name, "model name").and_then(target))
}

/// Percent-decodes. A percent sign without two hexadecimal digits behind it stands for itself.
fn decoded(text: &str, what: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out)
        .map_err(|_| WireError::invalid(format!("Failed to decode {what}:{text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(model: &str, version: VersionSelector) -> Target {
        Target {
            model: model.to_owned(),
            version,
        }
    }

    #[test]
    fn paths_are_read() {
        use VersionSelector::{Label, Latest, Number};
        let cases = [
            (
                "POST",
                "/v1/models/m:predict",
                Call::Run(target("m", Latest), Verb::Predict),
            ),
            (
                "POST",
                "/V1/Models/M:PREDICT",
                Call::Run(target("M", Latest), Verb::Predict),
            ),
            (
                "POST",
                "/v1/models/m/versions/7:regress",
                Call::Run(target("m", Number(7)), Verb::Regress),
            ),
            (
                "POST",
                "/v1/models/m/labels/a%2Fb:classify",
                Call::Run(target("m", Label("a/b".to_owned())), Verb::Classify),
            ),
            ("GET", "/v1/models", Call::List),
            (
                "GET",
                "/v1/models/a%20b",
                Call::Status(target("a b", Latest)),
            ),
            (
                "GET",
                "/v1/models/100%",
                Call::Status(target("100%", Latest)),
            ),
            (
                "GET",
                "/v1/models/m/versions/0",
                Call::Status(target("m", Number(0))),
            ),
            (
                "GET",
                "/v1/models/m/labels/l/metadata",
                Call::Metadata(target("m", Label("l".to_owned()))),
            ),
            (
                "GET",
                "/v1/models/metadata",
                Call::Status(target("metadata", Latest)),
            ),
        ];
        for (method, path, call) in cases {
            assert_eq!(parse_path(method, path), Ok(call), "{path}");
        }
    }

    #[test]
    fn other_paths_are_refused() {
        let big = format!("/v1/models/foo/versions/{}:regress", u64::MAX);
        let message = |method: &str, path: &str| parse_path(method, path).map_err(|e| e.message);
        for (method, path) in [
            ("GET", "/v1/foo"),
            ("POST", "/v1/foo"),
            ("GET", "/v1/models/debug/model_name"),
            ("POST", "/v1/models"),
            ("GET", "/v1/models/foo:predict"),
            ("GET", "/v1/models/foo/version/50:predict"),
            ("POST", "/v1/models/foo/version/50:regress"),
            ("POST", "/v1/models/foo/versions/HELLO:regress"),
            ("POST", "/v1/models/foo/metadata"),
            ("POST", "/v1/models/foo/label/some_label:regress"),
            ("PUT", "/v1/models/foo"),
            (
                "POST",
                "/v1/models/foo/versions/50/labels/some_label:regress",
            ),
            ("GET", "/v1/modelsx"),
            ("POST", "/v1/models/foo/versions/some_label:regress"),
            ("GET", "/v1/models/"),
            ("POST", "/v1/models/a:b:predict"),
            ("POST", "/v1/models/:predict"),
        ] {
            let expected = format!("Malformed request: {method} {path}");
            assert_eq!(message(method, path), Err(expected));
        }
        assert_eq!(
            message("POST", &big),
            Err(format!(
                "Failed to convert version: {} to numeric.",
                u64::MAX
            ))
        );
        assert!(parse_path("GET", "/v1/models/%ff").is_err());
    }
}
