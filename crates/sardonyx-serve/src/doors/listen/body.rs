//! Bodies: requests' read whole within limits, answers' whole or as a stream.

use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::run::unhurried;
use super::Limits;
use super::activity::Running;
use super::limits::Share;
use crate::error::{Code, ServeError};

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyError {
    /// What a gRPC client is told.
    pub error: ServeError,
    /// The status that HTTP has for it.
    pub status: StatusCode,
}

type Result<T, E = BodyError> = std::result::Result<T, E>;

impl BodyError {
    fn new(status: StatusCode, code: Code, message: impl Into<String>) -> BodyError {
        let error = ServeError::new(code, message);
        BodyError { error, status }
    }
}

/// A request's body, read and unpacked.
#[derive(Debug)]
pub struct Received {
    /// Its bytes.
    pub bytes: Bytes,
    /// Bytes that came over the wire.
    pub wire_bytes: usize,
    share: Share,
}

impl Received {
    /// Reads `body` to its end and unpacks it as the header `content-encoding` says.
    ///
    /// # Errors
    /// When it is larger or slower than the limits allow, breaks off or is packed wrongly.
    pub async fn read(body: Incoming, encoding: Option<&str>, limits: &Limits) -> Result<Received> {
        let mut share = limits.ledger.open();
        let reading = collect(body, limits.max_body_bytes, &mut share);
        let Ok(read) = timeout(limits.body_timeout, reading).await else {
            let message = format!(
                "the body did not arrive within {} seconds",
                limits.body_timeout.as_secs_f32()
            );
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(BodyError::new(status, Code::DeadlineExceeded, message));
        };
        let packed = read?;
        let wire_bytes = packed.len();
        let bytes = unpack(packed, encoding, limits.max_body_bytes, &mut share)?;
        Ok(Received {
            bytes,
            wire_bytes,
            share,
        })
    }

    /// Bytes that have come already.
    ///
    /// # Errors
    /// When all bodies hold as much as they may.
    pub(in crate::doors) fn whole(bytes: Bytes, limits: &Limits) -> Result<Received> {
        let mut share = limits.ledger.open();
        take(&mut share, bytes.len())?;
        Ok(Received {
            wire_bytes: bytes.len(),
            bytes,
            share,
        })
    }

    /// A part of the body from `start` on, unpacked as `encoding` says.
    ///
    /// # Errors
    /// As [`Received::read`].
    pub(in crate::doors) fn unpacked_from(
        mut self,
        start: usize,
        encoding: Option<&str>,
        limits: &Limits,
    ) -> Result<Received> {
        let packed = self.bytes.slice(start.min(self.bytes.len())..);
        self.bytes = unpack(packed, encoding, limits.max_body_bytes, &mut self.share)?;
        Ok(self)
    }
}

async fn collect(mut body: Incoming, most: usize, share: &mut Share) -> Result<Bytes> {
    let claimed = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if claimed > most {
        return Err(too_large(most));
    }
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = next_frame(&mut body).await {
        let frame = frame.map_err(|_| wrong("the body broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        take(share, data.len())?;
        if first.len() + rest.len() + data.len() > most {
            return Err(too_large(most));
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            // No more than twice what has come is taken on the word of a header.
            rest.reserve(claimed.min(MAX_CLAIM_BYTES).max(first.len() + data.len()));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

/// Most bytes that are taken because a header says that so many will come.
const MAX_CLAIM_BYTES: usize = 256 << 10;

async fn next_frame(body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

fn take(share: &mut Share, bytes: usize) -> Result<()> {
    if share.grow(bytes) {
        return Ok(());
    }
    let message = "the server holds as many bytes of requests as it may; hint: try again later";
    let status = StatusCode::TOO_MANY_REQUESTS;
    Err(BodyError::new(status, Code::ResourceExhausted, message))
}

fn wrong(message: impl Into<String>) -> BodyError {
    BodyError::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message)
}

fn too_large(most: usize) -> BodyError {
    let message = format!("the body is larger than {most} bytes; hint: max_body_bytes allows more");
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    BodyError::new(status, Code::ResourceExhausted, message)
}

/// How much larger an unpacked body may well be.
const USUAL_RATIO: usize = 100;

fn unpack(packed: Bytes, encoding: Option<&str>, most: usize, share: &mut Share) -> Result<Bytes> {
    let encoding = encoding.map_or("identity", str::trim);
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    let likely = packed.len().saturating_mul(USUAL_RATIO);
    if is("identity") || encoding.is_empty() {
        Ok(packed)
    } else if is("gzip") || is("x-gzip") {
        unhurried(likely, || {
            inflate(MultiGzDecoder::new(&packed[..]), most, share)
        })
    } else if is("deflate") {
        unhurried(likely, || {
            inflate(ZlibDecoder::new(&packed[..]), most, share)
        })
    } else {
        let message = format!("content-encoding '{encoding}'; hint: gzip, deflate or none");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(BodyError::new(status, Code::Unimplemented, message))
    }
}

/// The bytes that `reader` unpacks, at most `most`.
fn inflate(reader: impl Read, most: usize, share: &mut Share) -> Result<Bytes> {
    let mut reader = reader.take(most as u64 + 1);
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let count = reader
            .read(&mut chunk)
            .map_err(|error| wrong(format!("the body does not unpack: {error}")))?;
        if count == 0 {
            return Ok(bytes.into());
        }
        take(share, count)?;
        bytes.extend_from_slice(&chunk[..count]);
        if bytes.len() > most {
            return Err(too_large(most));
        }
    }
}

/// An answer's body.
#[derive(Debug)]
pub struct Body {
    kind: Kind,
    running: Option<Running>,
}

#[derive(Debug)]
enum Kind {
    Whole {
        data: Option<Bytes>,
        trailers: Option<HeaderMap>,
    },
    Stream(mpsc::Receiver<Frame<Bytes>>),
}

/// Where the frames of a streamed body come from; closed when the client has left.
pub type BodySender = mpsc::Sender<Frame<Bytes>>;

impl Body {
    /// A body of these bytes.
    pub fn new(data: impl Into<Bytes>) -> Body {
        Body::with_trailers(data.into(), None)
    }

    /// No bytes.
    pub fn empty() -> Body {
        Body::new(Bytes::new())
    }

    /// Bytes, then trailers.
    pub fn with_trailers(data: Bytes, trailers: Option<HeaderMap>) -> Body {
        let data = (!data.is_empty()).then_some(data);
        let kind = Kind::Whole { data, trailers };
        Body {
            kind,
            running: None,
        }
    }

    /// A body whose frames are sent one by one; `depth` of them wait at most.
    pub fn stream(depth: usize) -> (BodySender, Body) {
        let (sender, receiver) = mpsc::channel(depth);
        let kind = Kind::Stream(receiver);
        let running = None;
        (sender, Body { kind, running })
    }

    /// Bytes of a body that is whole.
    pub(in crate::doors) fn len(&self) -> usize {
        match &self.kind {
            Kind::Whole { data, .. } => data.as_ref().map_or(0, Bytes::len),
            Kind::Stream(_) => 0,
        }
    }

    /// Takes the bytes out of a body that is whole.
    pub(in crate::doors) fn take_data(&mut self) -> Bytes {
        match &mut self.kind {
            Kind::Whole { data, .. } => data.take().unwrap_or_default(),
            Kind::Stream(_) => Bytes::new(),
        }
    }

    /// A stream is in flight as long as it is there; what is whole only needs to be written.
    pub(super) fn keep_while_streaming(&mut self, running: Running) {
        if matches!(self.kind, Kind::Stream(_)) {
            self.running = Some(running);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.kind {
            Kind::Whole { data, trailers } => {
                let data = data.take().map(Frame::data);
                let frame = data.or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            Kind::Stream(frames) => frames.poll_recv(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole { data, .. } => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}
