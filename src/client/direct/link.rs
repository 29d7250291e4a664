//! One connection, and those that wait for a request: [`Link`], [`Links`]. Must not know HTTP.
//!
//! 连接与空闲连接池。

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::net::TcpStream;

use crate::client::{Stamp, http::IDLE};

/// A connection to the server.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    served: u64,
    free_since: Stamp,
}

impl Link {
    pub(super) async fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, served: 0, free_since: Stamp::now() })
    }

    /// How many requests were answered on it.
    pub(super) fn served(&self) -> u64 {
        self.served
    }

    /// One more was.
    pub(super) fn has_served(&mut self) {
        self.served += 1;
        self.free_since = Stamp::now();
    }

    /// Whether a request can go out on it. The system is asked, not the runtime, which may not have heard yet. A server
    /// closes a connection some time after its last answer; one that had none is let be.
    fn is_good(&self) -> bool {
        let quiet = matches!(
            recv(&self.stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT),
            Err(Errno::AGAIN)
        );
        quiet && (self.served == 0 || Stamp::now().since(self.free_since) < IDLE)
    }
}

/// Connections without a request.
#[derive(Default)]
pub(super) struct Links(Mutex<Vec<Link>>);

impl Links {
    pub(super) fn put(&self, link: Link) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(link);
    }

    /// The one that was used last, and whether the server had closed another one meanwhile, or was about to.
    pub(super) fn take(&self) -> (Option<Link>, bool) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut closed = false;
        while let Some(link) = links.pop() {
            if link.is_good() {
                return (Some(link), closed);
            }
            closed = true;
        }
        (None, closed)
    }
}
