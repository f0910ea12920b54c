//! Listeners: connections come in, HTTP/1.1 and HTTP/2 on the same port, with or without TLS.
//!
//! A client is trusted with nothing: the number of connections, how long a head or a body may
//! take, how large a body may be and what all bodies together may hold are limited, so that
//! neither slow nor greedy clients keep others out.

mod activity;
mod body;
mod connection;
mod limits;
mod stream;
mod tls;
mod vigil;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use body::{Body, BodyError, BodySender, Received};
pub use limits::Limits;
pub(super) use limits::{Ledger, Share};
pub use tls::{Tls, TlsFiles, TlsTexts};

use crate::error::{Code, Result, ServeError};
use crate::metrics;
use connection::{Connection, Phase};
use vigil::Turns;

/// Who is at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// A number that no other connection of this process has.
    pub source: u64,
    /// Its address.
    pub address: SocketAddr,
    /// The certificate that it showed; only one that was verified.
    pub certificate: Option<CertificateDer<'static>>,
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer to `request` from `peer`. The future is dropped when the client leaves.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// A connection has come; what is returned is dropped when it ends.
    fn connected(&self) -> Option<metrics::Connection> {
        None
    }
}

/// An open port that nobody answers yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
    tls: Option<Arc<Tls>>,
}

/// How long to wait before the next try when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

impl Listener {
    /// Opens `address`; port 0 takes any that is free. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        limits: Limits,
        tls: Option<Arc<Tls>>,
    ) -> Result<Listener> {
        let refused = |error: std::io::Error| {
            let message = format!("cannot listen on {address}: {error}; hint: choose another port");
            ServeError::new(Code::FailedPrecondition, message)
        };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Listener {
            socket,
            address,
            limits,
            tls,
        })
    }

    /// The address with the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` turns true; then takes no more connections, lets requests in
    /// flight end within [`Limits::drain_timeout`] and returns.
    pub async fn run<H: Handler>(self, handler: Arc<H>, mut stop: watch::Receiver<bool>) {
        let most = self.limits.max_connections;
        let places = Arc::new(Semaphore::new(most));
        let (phase, _) = watch::channel(Phase::Open);
        let turns = Turns::new();
        loop {
            let taken = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.socket.accept().await)
            };
            let (place, accepted) = tokio::select! {
                taken = taken => taken,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (Ok(place), Ok((socket, address))) = (place, accepted) else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let connection = Connection {
                socket,
                address,
                limits: self.limits.clone(),
                tls: self.tls.clone(),
                phase: phase.subscribe(),
                turns: Arc::clone(&turns),
            };
            let handler = Arc::clone(&handler);
            tokio::spawn(async move {
                let _counted = handler.connected();
                connection.serve(handler).await;
                drop(place);
            });
        }
        drop(self.socket);
        phase.send_replace(Phase::Draining);
        let all = u32::try_from(most).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(self.limits.drain_timeout, places.acquire_many(all));
        if drained.await.is_err() {
            phase.send_replace(Phase::Closed);
        }
    }
}

#[cfg(test)]
mod tests;
