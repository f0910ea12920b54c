//! Messages of gRPC in the bodies of HTTP/2
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>): five bytes before each
//! message, a status in the trailers.

use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response};
use prost::Message;

use super::super::exchange::text;
use super::super::listen::{Body, Limits, Received};
use crate::error::{Code, Result, ServeError};

const PREFIX_BYTES: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// What the messages of a call may be packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Deflate,
    Gzip,
}

impl Packing {
    /// What the client packs with.
    ///
    /// # Errors
    /// [`Code::Unimplemented`] for what is not known here.
    pub(super) fn of(headers: &HeaderMap) -> Result<Packing> {
        match text(headers, "grpc-encoding") {
            None | Some("identity") => Ok(Packing::None),
            Some("deflate") => Ok(Packing::Deflate),
            Some("gzip") => Ok(Packing::Gzip),
            Some(other) => Err(ServeError::new(
                Code::Unimplemented,
                format!("grpc-encoding '{other}'; hint: gzip, deflate or identity"),
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Packing::None => "identity",
            Packing::Deflate => "deflate",
            Packing::Gzip => "gzip",
        }
    }
}

/// Whether the message after this prefix is packed, and its length.
fn prefix(bytes: &[u8]) -> Option<(bool, usize)> {
    let (prefix, _) = bytes.split_at_checked(PREFIX_BYTES)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    Some((
        prefix[0] == 1,
        usize::try_from(length).unwrap_or(usize::MAX),
    ))
}

/// The one message of a unary request.
///
/// # Errors
/// When the body is not one message, or as [`Received::read`].
pub(super) async fn read_one(
    body: Incoming,
    packing: Packing,
    limits: &Limits,
) -> Result<Received> {
    let received = Received::read(body, None, limits).await;
    let received = received.map_err(|failure| failure.error)?;
    let Some((is_packed, length)) = prefix(&received.bytes) else {
        return Err(ServeError::invalid("the request has no message"));
    };
    if received.bytes.len() - PREFIX_BYTES != length {
        return Err(ServeError::invalid("the request is not one whole message"));
    }
    let encoding = (is_packed).then(|| packing.name());
    let message = received.unpacked_from(PREFIX_BYTES, encoding, limits);
    message.map_err(|failure| failure.error)
}

/// Reads the messages of a streaming request one by one.
pub(super) struct Messages {
    body: Incoming,
    packing: Packing,
    limits: Limits,
    waiting: Vec<u8>,
}

impl Messages {
    pub(super) fn new(body: Incoming, packing: Packing, limits: Limits) -> Messages {
        Messages {
            body,
            packing,
            limits,
            waiting: Vec::new(),
        }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// When the stream breaks off, or a message is too large, too slow or packed wrongly.
    pub(super) async fn next(&mut self) -> Result<Option<Received>> {
        loop {
            if let Some((is_packed, length)) = prefix(&self.waiting) {
                if length > self.limits.max_body_bytes {
                    let most = self.limits.max_body_bytes;
                    return Err(ServeError::new(
                        Code::ResourceExhausted,
                        format!("a message of {length} bytes is larger than {most}"),
                    ));
                }
                if self.waiting.len() - PREFIX_BYTES >= length {
                    return self.take(is_packed, length).map(Some);
                }
            }
            // Nothing begun may be waited for as long as the client likes.
            let patience = if self.waiting.is_empty() {
                Duration::MAX
            } else {
                self.limits.body_timeout
            };
            let frame = tokio::time::timeout(patience, next_frame(&mut self.body)).await;
            let frame = frame.map_err(|_| {
                ServeError::new(Code::DeadlineExceeded, "the message did not arrive in time")
            })?;
            match frame {
                None if self.waiting.is_empty() => return Ok(None),
                None | Some(Err(_)) => return Err(ServeError::invalid("the stream broke off")),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.waiting.extend_from_slice(data);
                    }
                }
            }
        }
    }

    fn take(&mut self, is_packed: bool, length: usize) -> Result<Received> {
        let rest = self.waiting.split_off(PREFIX_BYTES + length);
        let message = std::mem::replace(&mut self.waiting, rest);
        let encoding = is_packed.then(|| self.packing.name());
        Received::whole(message.into(), &self.limits)
            .and_then(|received| received.unpacked_from(PREFIX_BYTES, encoding, &self.limits))
            .map_err(|failure| failure.error)
    }
}

async fn next_frame(body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// A message with its prefix. Small ones are not worth packing.
///
/// # Errors
/// When it is larger than the prefix can say.
pub(super) fn framed(message: &impl Message, packing: Packing) -> Result<Bytes> {
    const MIN_PACKED_BYTES: usize = 1024;
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.resize(PREFIX_BYTES, 0);
    message
        .encode(&mut bytes)
        .map_err(|error| ServeError::new(Code::Internal, error.to_string()))?;
    if packing != Packing::None && length >= MIN_PACKED_BYTES {
        let packed = packed(&bytes[PREFIX_BYTES..], packing);
        bytes = packed.map_err(|error| ServeError::new(Code::Internal, error.to_string()))?;
        bytes[0] = 1;
    }
    let length = u32::try_from(bytes.len() - PREFIX_BYTES)
        .map_err(|_| ServeError::new(Code::ResourceExhausted, "the answer is larger than 4 GiB"))?;
    bytes[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.into())
}

/// A packed message after room for its prefix.
fn packed(message: &[u8], packing: Packing) -> std::io::Result<Vec<u8>> {
    let (room, level) = (vec![0; PREFIX_BYTES], Compression::fast());
    if packing == Packing::Deflate {
        let mut packer = ZlibEncoder::new(room, level);
        packer.write_all(message)?;
        return packer.finish();
    }
    let mut packer = GzEncoder::new(room, level);
    packer.write_all(message)?;
    packer.finish()
}

/// The head of an answer whose messages may be packed so.
pub(super) fn head(body: Body, packing: Packing) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    if packing != Packing::None {
        let name = HeaderValue::from_static(packing.name());
        headers.insert("grpc-encoding", name);
    }
    let known = HeaderValue::from_static("identity,deflate,gzip");
    headers.insert("grpc-accept-encoding", known);
    response
}

/// The trailers of an end, good or bad.
pub(super) fn trailers(outcome: Result<(), &ServeError>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    let code = outcome.map_or_else(|error| error.grpc_code(), |()| 0);
    trailers.insert("grpc-status", HeaderValue::from(code));
    if let Err(error) = outcome
        && let Ok(message) = HeaderValue::from_str(&percent_encoded(&error.message))
    {
        trailers.insert("grpc-message", message);
    }
    trailers
}

/// An answer that is only an error.
pub(super) fn refusal(error: &ServeError) -> Response<Body> {
    let mut response = head(Body::empty(), Packing::None);
    response.headers_mut().extend(trailers(Err(error)));
    response
}

/// Longest message of an error, in bytes: some clients take only 8 KiB of headers.
const MAX_MESSAGE_BYTES: usize = 4096;

fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if encoded.len() >= MAX_MESSAGE_BYTES {
            break;
        }
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use sardonyx_wire::proto::health::HealthCheckRequest;

    #[test]
    fn messages_have_a_prefix_and_may_be_packed() {
        let message = HealthCheckRequest {
            service: "x".repeat(2000),
        };
        let plain = framed(&message, Packing::None).expect("small");
        assert_eq!(prefix(&plain), Some((false, plain.len() - 5)));
        assert_eq!(HealthCheckRequest::decode(&plain[5..]), Ok(message.clone()));
        let limits = Limits::default();
        for packing in [Packing::Gzip, Packing::Deflate] {
            let packed = framed(&message, packing).expect("small");
            assert_eq!(prefix(&packed), Some((true, packed.len() - 5)));
            let received = Received::whole(packed, &limits).expect("within limits");
            let received = received
                .unpacked_from(5, Some(packing.name()), &limits)
                .expect("packed well");
            let found = HealthCheckRequest::decode(received.bytes);
            assert_eq!(found, Ok(message.clone()));
        }
        assert_eq!(prefix(&[0; 4]), None);
    }

    #[test]
    fn messages_of_errors_are_headers() {
        assert_eq!(percent_encoded("a% b\né"), "a%25 b%0A%C3%A9");
        let error = ServeError::invalid("wrong\r\ngrpc-status: 0");
        let trailers = trailers(Err(&error));
        assert_eq!(trailers["grpc-status"], "3");
        assert_eq!(trailers["grpc-message"], "wrong%0D%0Agrpc-status: 0");
    }
}
