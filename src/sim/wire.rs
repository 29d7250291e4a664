//! The socket as the simulator needs it: [`Wire`] notes when bytes came and were written, can dribble a head out byte by byte
//! and can reset the connection. Must not know HTTP.
//!
//! 带记时、慢速头与复位能力的套接字。

use super::log::Record;
use crate::arrival::{self, Read};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// What the handler of a request tells the socket that carries its answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Control(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    record: Option<Record>,
    /// When the bytes that were read last had arrived.
    arrived: Option<Instant>,
    /// One byte per this time, for this many bytes more.
    slow: Option<(Duration, usize)>,
    reset: bool,
    refuse: bool,
}

impl Control {
    /// Every write from now on belongs to this answer.
    pub(super) fn carry(&self, record: Record) {
        self.with(|state| state.record = Some(record));
    }

    /// When the last byte of what has been read arrived.
    pub(super) fn arrived(&self) -> Instant {
        self.with(|state| state.arrived).unwrap_or_else(Instant::now)
    }

    /// The next `bytes` go out one by one, spread over `over`.
    pub(super) fn dribble(&self, over: Duration, bytes: usize) {
        self.with(|state| state.slow = Some((over / u32::try_from(bytes.max(1)).unwrap_or(1), bytes)));
    }

    /// When the connection is dropped it is reset, not closed.
    pub(super) fn reset(&self) {
        self.with(|state| state.reset = true);
    }

    /// Nothing more is written: the connection is reset at once.
    pub(super) fn refuse(&self) {
        self.with(|state| (state.reset, state.refuse) = (true, true));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Accepts on a loopback port and hands out [`Wire`]s.
pub(super) struct Door(pub(super) TcpListener);

impl Listener for Door {
    type Io = Wire;
    type Addr = Control;

    async fn accept(&mut self) -> (Wire, Control) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    // Without it a token would wait for the acknowledgement of the one before.
                    let _ = stream.set_nodelay(true);
                    arrival::ask(&stream);
                    let control = Control::default();
                    return (Wire { stream, control: control.clone(), pause: None }, control);
                }
                // Out of file descriptors, or the peer gave up already: neither ends the server.
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Control> {
        Ok(Control::default())
    }
}

impl Connected<IncomingStream<'_, Door>> for Control {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    control: Control,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(result, Poll::Ready(Ok(n)) if n > 0)
            && let Some(record) = self.control.with(|state| state.record.clone())
        {
            record.written();
        }
        result
    }

    /// One byte at most, and a pause after it.
    fn poll_slow(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
        pace: Duration,
        left: usize,
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, &buf[..buf.len().min(1)]);
        if result.is_ready() {
            self.pause = Some(Box::pin(sleep(pace)));
            self.control.with(|state| state.slow = (left > 1).then_some((pace, left - 1)));
        }
        self.written(result)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Read { bytes, ago } = ready!(arrival::poll_read(&self.stream, cx, buf.initialize_unfilled()))?;
        buf.advance(bytes);
        if bytes > 0 {
            let now = Instant::now();
            let arrived = now.checked_sub(ago.unwrap_or_default()).unwrap_or(now);
            self.control.with(|state| state.arrived = Some(arrived));
        }
        Ok(()).into()
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.control.with(|state| state.refuse) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if let Some((pace, left)) = self.control.with(|state| state.slow) {
            return self.poll_slow(cx, buf, pace, left);
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.with(|state| state.reset) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.control.with(|state| state.reset) {
            // Lingering for no time makes the system send RST instead of FIN.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// The address that was bound.
pub(super) fn bind(port: u16) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
