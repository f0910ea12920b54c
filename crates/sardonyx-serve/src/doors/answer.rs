//! Answers over HTTP.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use hyper::{HeaderMap, Response, StatusCode};

use super::listen::{Body, BodyError};
use crate::error::{Code, ServeError};

pub(super) type Answer = Response<Body>;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Why a request over HTTP has no answer: a canonical error, and a status of its own where the
/// usual translation is not the honest one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ServeError,
    pub(super) status: StatusCode,
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Failure {
        let status = StatusCode::from_u16(error.http_status());
        Failure {
            error,
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl From<BodyError> for Failure {
    fn from(BodyError { error, status }: BodyError) -> Failure {
        Failure { error, status }
    }
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Failure {
        let error = ServeError::new(code, message);
        Failure { error, status }
    }

    /// The answer, with a body that `encode` makes of the message.
    pub(super) fn answer(&self, encode: impl Fn(&str) -> Vec<u8>) -> Answer {
        let mut answer = whole(self.status, JSON, encode(&self.error.message));
        match self.error.code {
            Code::Unauthenticated => {
                let scheme = HeaderValue::from_static("Bearer");
                answer.headers_mut().insert("www-authenticate", scheme);
            }
            Code::ResourceExhausted if self.status == StatusCode::TOO_MANY_REQUESTS => {
                let seconds = HeaderValue::from_static("1");
                answer.headers_mut().insert("retry-after", seconds);
            }
            _ => {}
        }
        answer
    }
}

/// An answer with a body.
pub(super) fn whole(status: StatusCode, kind: HeaderValue, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// An answer of JSON.
pub(super) fn json(body: Vec<u8>) -> Answer {
    whole(StatusCode::OK, JSON, body)
}

/// An answer that is only a status.
pub(super) fn bare(status: StatusCode) -> Answer {
    whole(status, TEXT, Vec::new())
}

/// Bodies below this are sent as they are: they fit in a few packets.
const MIN_PACKED_BYTES: usize = 4096;

/// `answer` packed as the request's `accept-encoding` allows.
pub(super) fn packed(mut answer: Answer, request: &HeaderMap) -> Answer {
    let has_size = answer.body().len() >= MIN_PACKED_BYTES;
    let Some(packing) = accepted(request).filter(|_| has_size) else {
        return answer;
    };
    let data = answer.body_mut().take_data();
    let level = Compression::fast();
    let packed = match packing {
        "gzip" => {
            let mut packer = GzEncoder::new(Vec::new(), level);
            packer.write_all(&data).and_then(|()| packer.finish())
        }
        _ => {
            let mut packer = ZlibEncoder::new(Vec::new(), level);
            packer.write_all(&data).and_then(|()| packer.finish())
        }
    };
    let Ok(packed) = packed else {
        *answer.body_mut() = Body::new(data);
        return answer;
    };
    *answer.body_mut() = Body::new(packed);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(packing));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    answer
}

/// The first packing of ours that the header names and does not rule out.
fn accepted(request: &HeaderMap) -> Option<&'static str> {
    let value = request.get(ACCEPT_ENCODING)?.to_str().ok()?;
    value.split(',').find_map(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
        if weight == Some(Ok(0.0)) {
            return None;
        }
        let names = ["gzip", "deflate"];
        names
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_follows_the_header() {
        let accepted = |value: &str| {
            let value = value.parse().expect("a header value");
            accepted(&[(ACCEPT_ENCODING, value)].into_iter().collect())
        };
        assert_eq!(accepted("gzip, deflate"), Some("gzip"));
        assert_eq!(accepted("br, Deflate;q=0.5"), Some("deflate"));
        assert_eq!(accepted("gzip;q=0, identity"), None);
        assert_eq!(accepted("br"), None);
    }
}
