//! When bytes reached this machine: [`read`] reads a socket and tells how long ago the kernel had the last byte it
//! read. A process that is late to look, because others have the processor or many sockets are ready at once, is then
//! late and no more: what it measures is not. Must not know what the bytes mean.
//!
//! 字节到达本机的时刻：取内核接收时间戳，不受本进程调度延迟影响。

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{io::Interest, net::TcpStream};

pub(crate) use self::system::{BY_KERNEL, ask, read};

/// What one read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    /// How many bytes; 0 where the other side has closed.
    pub(crate) bytes: usize,
    /// How long ago the last of them had arrived; nothing where the system does not say, as of an end.
    pub(crate) ago: Option<Duration>,
}

/// [`read`], as soon as there is something to.
pub(crate) fn poll_read(stream: &TcpStream, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<Read>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let mut found = None;
        let tried = stream.try_io(Interest::READABLE, || {
            let read = read(stream, into)?;
            found = Some(read);
            // A read that did not fill its room has emptied the socket: to ask again would be a call for nothing.
            if (1..into.len()).contains(&read.bytes) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (found, tried) {
            (Some(read), _) => return Poll::Ready(Ok(read)),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                return Poll::Ready(Err(error));
            }
            (None, _) => {}
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{
        io::{self, IoSliceMut},
        os::fd::{AsFd, AsRawFd as _},
        time::Duration,
    };

    use nix::{
        errno::Errno,
        sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
    };
    use rustix::time::{ClockId, clock_gettime};

    use super::Read;

    /// For a stamp and its head, which take 32 bytes; aligned as a head is.
    #[repr(align(8))]
    struct Room([u8; 64]);

    /// Whether the kernel says when bytes arrived.
    pub(crate) const BY_KERNEL: bool = true;

    /// Asks the kernel to stamp what `socket` receives from now on. One that cannot leaves reads without, and so does
    /// any for some milliseconds after the first socket of the machine has asked.
    pub(crate) fn ask(socket: &impl AsFd) {
        let _ = setsockopt(&socket.as_fd(), ReceiveTimestampns, &true);
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// As a read of the socket.
    pub(crate) fn read(socket: &impl AsFd, into: &mut [u8]) -> io::Result<Read> {
        let mut room = Room([0; 64]);
        let mut into = [IoSliceMut::new(into)];
        loop {
            let fd = socket.as_fd().as_raw_fd();
            match recvmsg::<()>(fd, &mut into, Some(&mut room.0), MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(message) => {
                    let arrived = message.cmsgs().ok().and_then(|mut told| {
                        told.find_map(|told| match told {
                            ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                            _ => None,
                        })
                    });
                    return Ok(Read { bytes: message.bytes, ago: arrived.and_then(ago) });
                }
            }
        }
    }

    /// The stamp is the wall clock's. Nothing where that was set back since.
    fn ago(arrived: Duration) -> Option<Duration> {
        let now = clock_gettime(ClockId::Realtime);
        let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
        now.checked_sub(arrived)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::{io, os::fd::AsFd};

    use rustix::net::{RecvFlags, recv};

    use super::Read;

    /// Whether the kernel says when bytes arrived.
    pub(crate) const BY_KERNEL: bool = false;

    /// No stamps are asked for here.
    pub(crate) fn ask(_: &impl AsFd) {}

    /// Reads what is there.
    ///
    /// # Errors
    /// As a read of the socket.
    pub(crate) fn read(socket: &impl AsFd, into: &mut [u8]) -> io::Result<Read> {
        let (bytes, _) = recv(socket, into, RecvFlags::empty())?;
        Ok(Read { bytes, ago: None })
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write as _, net::TcpListener, time::Instant};

    use super::*;

    async fn pair() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        far.set_nodelay(true).unwrap();
        let near = listener.accept().unwrap().0;
        near.set_nonblocking(true).unwrap();
        ask(&near);
        (far, TcpStream::from_std(near).unwrap())
    }

    /// A process that looks `late` after the bytes came knows when they came.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn bytes_arrived_when_they_were_sent_however_late_they_are_read() {
        let (mut far, near) = pair().await;
        let late = Duration::from_millis(40);
        let mut room = [0; 16];
        // The kernel begins a moment after the first socket of the machine has asked.
        for _ in 0..1000 {
            far.write_all(b"token").unwrap();
            if poll_fn(|cx| poll_read(&near, cx, &mut room)).await.unwrap().ago.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..3 {
            let before = Instant::now();
            far.write_all(b"token").unwrap();
            let after = Instant::now();
            std::thread::sleep(late);
            let read = poll_fn(|cx| poll_read(&near, cx, &mut room)).await.unwrap();
            let arrived = Instant::now() - read.ago.expect("Linux stamps what a socket receives");
            assert_eq!(read.bytes, 5);
            assert!(read.ago.unwrap() >= late, "{read:?}");
            // Stamped by the wall clock: a millisecond is for its being steered, none of it for our being late.
            let slack = Duration::from_millis(1);
            assert!(arrived + slack >= before && arrived <= after + slack, "{:?}", arrived - before);
        }
    }

    #[tokio::test]
    async fn it_waits_for_what_comes_and_ends_with_the_other_side() {
        let (mut far, near) = pair().await;
        let mut room = [0; 4];
        let sender = std::thread::spawn(move || {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(5));
                far.write_all(b"seven b").unwrap();
            }
        });
        let mut all = Vec::new();
        loop {
            let read = poll_fn(|cx| poll_read(&near, cx, &mut room)).await.unwrap();
            if read.bytes == 0 {
                break;
            }
            all.extend_from_slice(&room[..read.bytes]);
        }
        sender.join().unwrap();
        assert_eq!(all, b"seven bseven bseven b");
    }
}
