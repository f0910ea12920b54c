//! A connection's bytes, plain or through TLS, with a count of what moves.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::vigil::Vigil;

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A carrier whose moves are noted.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) carrier: Carrier,
    pub(super) activity: Arc<Activity>,
    pub(super) vigil: Vigil,
}

/// Calls the same method of whichever carrier there is.
macro_rules! carried {
    ($self:expr, $carrier:ident => $call:expr) => {
        match &mut $self.carrier {
            Carrier::Plain($carrier) => {
                let $carrier = Pin::new($carrier);
                $call
            }
            Carrier::Tls($carrier) => {
                let $carrier = Pin::new(&mut **$carrier);
                $call
            }
        }
    };
}

impl Stream {
    /// Whether bytes came, or their end, while the connection waited for them awake. The task is
    /// still woken when more come: the runtime has seen none of this.
    fn has_waited_awake(&mut self, buffer: &mut ReadBuf<'_>) -> Result<bool> {
        match &self.carrier {
            Carrier::Plain(socket) => self.vigil.keep(socket, buffer),
            // Only whole records can be read, and those the session knows.
            Carrier::Tls(_) => Ok(false),
        }
    }

    /// Notes whether bytes went.
    fn noted(&mut self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match &written {
            Poll::Ready(_) => {
                self.activity.wrote();
                self.vigil.wrote();
            }
            Poll::Pending => self.activity.held_up(),
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let polled = carried!(self, carrier => carrier.poll_read(cx, buffer));
        if polled.is_pending() && !self.has_waited_awake(buffer)? {
            return Poll::Pending;
        }
        if let Poll::Ready(read) = polled {
            read?;
        }
        if buffer.filled().len() > before {
            self.activity.read();
            self.vigil.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = carried!(self, carrier => carrier.poll_write(cx, bytes));
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = carried!(self, carrier => carrier.poll_write_vectored(cx, parts));
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(carrier) => carrier.is_write_vectored(),
            Carrier::Tls(carrier) => carrier.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        carried!(self, carrier => carrier.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        carried!(self, carrier => carrier.poll_shutdown(cx))
    }
}
