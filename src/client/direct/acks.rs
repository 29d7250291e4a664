//! When what was read is acknowledged. Left to itself the system acknowledges every small read at once, which takes
//! longer than the read. It can put that off until the next one has come or 40 ms are over (RFC 1122, 4.2.3.2). No
//! token comes later for it, unless the server holds small writes back until all before them was acknowledged (RFC 896,
//! Nagle): so one answer tries it, and only when its tokens come as before do the others follow. [`Acks`] is what the
//! connections of a load know together, [`Putting`] what one of them does. Must not know what is read.
//!
//! 延迟确认：先由一个响应试行，证明服务端不受影响后再启用。

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use crate::client::Stamp;

/// Longer reads are acknowledged at once whatever we ask for: the least that a full segment can be.
const SHORT: usize = 536;
/// A pause of so long may be one of a server that waited for the acknowledgement.
const PAUSE: Duration = Duration::from_millis(30);
/// So many short reads after a first one, without such a pause. The system acknowledges every second of them only, so
/// that two came although the one before was not acknowledged: the server does not wait.
const PROOF: u8 = 4;
/// After so many pauses nobody tries any more: a busy machine makes some of its own.
const TRIES: u8 = 8;
/// A pause ends it; after so many reads it is asked for again.
const AGAIN: u8 = 8;

/// What is known of the server. Numbers up to [`TRIES`] count the tries that saw a pause.
#[derive(Debug, Default)]
pub(super) struct Acks(AtomicU8);

const TRYING: u8 = 0x80;
const HARMLESS: u8 = 0xff;

impl Acks {
    pub(super) fn are_put_off(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HARMLESS
    }

    /// Whether the asker may be the one that tries.
    fn may_try(&self) -> bool {
        let claim = |seen: u8| (seen < TRIES).then_some(seen | TRYING);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).is_ok()
    }

    /// The one that tried tells.
    fn tried(&self, told: Tried) {
        let seen = self.0.load(Ordering::Relaxed) & !TRYING;
        let now = match told {
            Tried::Harmless => HARMLESS,
            Tried::Paused => seen + 1,
            Tried::Nothing => seen,
        };
        self.0.store(now, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    Harmless,
    Paused,
    /// The answer was over before.
    Nothing,
}

/// What a connection does.
#[derive(Debug)]
pub(super) struct Putting {
    acks: Arc<Acks>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was read of this answer's body yet.
    Before,
    /// As the system likes.
    AtOnce,
    /// This is the answer that tries it: `left` more reads, the last one then.
    Trying { left: u8, last: Stamp },
    /// Every read but the second is acknowledged later; asked for so many reads ago.
    Off { reads: u8 },
}

impl Putting {
    pub(super) fn off(acks: Arc<Acks>) -> Self {
        Self { acks, stage: Stage::Before }
    }

    /// Another answer begins.
    pub(super) fn begin(&mut self) {
        self.give_up(Tried::Nothing);
        self.stage = Stage::Before;
    }

    /// A part of the body was read, so long.
    pub(super) fn read(&mut self, at: Stamp, length: usize, stream: &TcpStream) {
        self.stage = match self.stage {
            Stage::Before | Stage::AtOnce if self.acks.are_put_off() => {
                put_off(stream, Stage::Off { reads: 0 })
            }
            Stage::AtOnce => return,
            Stage::Before if self.acks.may_try() => {
                let begun = put_off(stream, Stage::Trying { left: PROOF, last: at });
                if begun == Stage::AtOnce {
                    self.acks.tried(Tried::Nothing);
                }
                begun
            }
            Stage::Before => Stage::AtOnce,
            Stage::Off { reads: AGAIN } => put_off(stream, Stage::Off { reads: 0 }),
            Stage::Off { reads } => Stage::Off { reads: reads + 1 },
            Stage::Trying { last, .. } if length >= SHORT || at.since(last) >= PAUSE => {
                self.give_up(Tried::Paused);
                system::at_once(stream);
                Stage::AtOnce
            }
            Stage::Trying { left: 1, .. } => {
                // A pause that we did not see would have ended it.
                let (told, next) = match system::are_put_off(stream) {
                    true => (Tried::Harmless, Stage::Off { reads: 0 }),
                    false => (Tried::Paused, Stage::AtOnce),
                };
                self.give_up(told);
                next
            }
            Stage::Trying { left, .. } => Stage::Trying { left: left - 1, last: at },
        };
    }

    fn give_up(&mut self, told: Tried) {
        if matches!(self.stage, Stage::Trying { .. }) {
            self.acks.tried(told);
            self.stage = Stage::AtOnce;
        }
    }
}

impl Drop for Putting {
    fn drop(&mut self) {
        self.give_up(Tried::Nothing);
    }
}

/// `stage`, where the system does it.
fn put_off(stream: &TcpStream, stage: Stage) -> Stage {
    if system::put_off(stream) { stage } else { Stage::AtOnce }
}

#[cfg(target_os = "linux")]
mod system {
    use std::net::TcpStream;

    use rustix::net::sockopt::{set_tcp_quickack, tcp_quickack};

    pub(super) fn put_off(stream: &TcpStream) -> bool {
        set_tcp_quickack(stream, false).is_ok()
    }

    pub(super) fn at_once(stream: &TcpStream) {
        // Where it cannot be asked for it was not put off either.
        let _ = set_tcp_quickack(stream, true);
    }

    pub(super) fn are_put_off(stream: &TcpStream) -> bool {
        tcp_quickack(stream) == Ok(false)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::net::TcpStream;

    pub(super) fn put_off(_: &TcpStream) -> bool {
        false
    }

    pub(super) fn at_once(_: &TcpStream) {}

    pub(super) fn are_put_off(_: &TcpStream) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;

    /// Reads one answer of short writes, one each 3 ms, as far as its server lets them go at once.
    fn an_answer(acks: &Arc<Acks>, nodelay: bool) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nodelay(nodelay).unwrap();
        let writer = std::thread::spawn(move || {
            for _ in 0..8 * PROOF {
                server.write_all(&[b'x'; 100]).unwrap();
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let mut putting = Putting::off(Arc::clone(acks));
        putting.begin();
        loop {
            let n = stream.read(&mut [0; 4096]).unwrap();
            if n == 0 {
                break;
            }
            putting.read(Stamp::now(), n, &stream);
        }
        writer.join().unwrap();
    }

    #[test]
    fn a_server_that_does_not_wait_for_them_is_found_out_and_one_that_does_is_let_be() {
        // A busy machine makes pauses of its own: some answers may be in vain.
        let found = (0..10).any(|_| {
            let acks = Arc::default();
            (0..TRIES).for_each(|_| an_answer(&acks, true));
            acks.are_put_off()
        });
        assert!(found);
        let acks = Arc::default();
        for _ in 0..3 {
            an_answer(&acks, false);
            assert!(!acks.are_put_off(), "a server that waits for them would be slowed");
        }
        assert!(acks.0.load(Ordering::Relaxed) > 0, "its pauses were seen");
    }

    #[test]
    fn one_answer_tries_it_at_a_time() {
        let acks = Acks::default();
        assert!(acks.may_try() && !acks.may_try());
        acks.tried(Tried::Nothing);
        assert!(acks.may_try(), "an answer that was over before says nothing");
        acks.tried(Tried::Harmless);
        assert!(acks.are_put_off() && !acks.may_try());
        let acks = Acks::default();
        for _ in 0..TRIES {
            assert!(acks.may_try());
            acks.tried(Tried::Paused);
        }
        assert!(!acks.may_try() && !acks.are_put_off(), "often enough");
    }
}
