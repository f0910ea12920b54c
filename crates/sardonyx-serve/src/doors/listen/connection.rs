//! The life of one connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::activity::{Activity, Verdict, Watchdog};
use super::stream::{Carrier, Stream};
use super::vigil::{Turns, Vigil};
use super::{Handler, Limits, Peer, Tls};

/// Whether connections may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Requests in flight end, no more begin.
    Draining,
    Closed,
}

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) limits: Limits,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) turns: Arc<Turns>,
}

/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 128;
/// How much a client may send of one stream, and of all, before the server has read it: enough
/// for an image without a pause.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Numbers the connections of the process, from 1.
static NEXT_SOURCE: AtomicU64 = AtomicU64::new(1);

impl Connection {
    /// Answers what comes until the client leaves, is sent away or the listener closes.
    pub(super) async fn serve<H: Handler>(mut self, handler: Arc<H>) {
        // Answers are small and whole: waiting to fill a packet would only delay them.
        let _ = self.socket.set_nodelay(true);
        let (carrier, certificate) = match &self.tls {
            None => (Carrier::Plain(self.socket), None),
            Some(tls) => {
                let handshake = tls.acceptor().accept(self.socket);
                let Ok(Ok(stream)) = timeout(self.limits.header_timeout, handshake).await else {
                    return;
                };
                let shown = stream.get_ref().1.peer_certificates();
                let certificate = shown.and_then(|chain| chain.first()).cloned();
                let certificate = certificate.map(|certificate| certificate.into_owned());
                (Carrier::Tls(Box::new(stream)), certificate)
            }
        };
        let peer = Arc::new(Peer {
            source: NEXT_SOURCE.fetch_add(1, Ordering::Relaxed),
            address: self.address,
            certificate,
        });
        let activity = Arc::new(Activity::default());
        let stream = Stream {
            carrier,
            activity: Arc::clone(&activity),
            vigil: Vigil::new(peer.source, self.turns),
        };
        let watchdog = Watchdog::new(Arc::clone(&activity), &self.limits);
        let service = service_fn(move |request: Request<Incoming>| {
            let running = activity.begin(request.version());
            let answer = Arc::clone(&handler).handle(request, Arc::clone(&peer));
            async move {
                let mut response = answer.await;
                response.body_mut().keep_while_streaming(running);
                Ok::<_, Infallible>(response)
            }
        });
        let builder = builder(&self.limits);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        attend(connection, watchdog, &mut self.phase).await;
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(limits.idle_timeout.min(limits.header_timeout * 6))
        .keep_alive_timeout(limits.header_timeout);
    builder
}

/// Drives `connection` under the eye of the watchdog and of the phase.
async fn attend<C>(connection: C, mut watchdog: Watchdog, phase: &mut watch::Receiver<Phase>)
where
    C: Dismissable,
{
    let mut connection = pin!(connection);
    let mut ticks = interval(watchdog.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    let mut is_draining = false;
    loop {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            _ = ticks.tick() => match watchdog.look() {
                Verdict::Keep => {}
                Verdict::Dismiss => connection.as_mut().dismiss(),
                Verdict::Cut => return,
            },
            ordered = phase.wait_for(|phase| match phase {
                Phase::Open => false,
                Phase::Draining => !is_draining,
                Phase::Closed => true,
            }) => match ordered.map(|phase| *phase) {
                Ok(Phase::Draining) => {
                    is_draining = true;
                    connection.as_mut().dismiss();
                }
                _ => return,
            },
        }
    }
}

/// A connection that can be asked to end after what is in flight.
trait Dismissable: Future {
    fn dismiss(self: std::pin::Pin<&mut Self>);
}

impl<I, S, B> Dismissable for hyper_util::server::conn::auto::Connection<'_, I, S, TokioExecutor>
where
    S: hyper::service::Service<Request<Incoming>, Response = hyper::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    fn dismiss(self: std::pin::Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
