//! A worker that carries a share of a load far from the run that made it: [`work`]. It finds which share is its own,
//! that share, a key and, as they are given, its orders in a folder, and tells all it saw on standard output, in frames. Must not know what put
//! the folder there, nor how many other workers there are.
//!
//! 远端工作者：读取份额与指令，施压，并以帧输出记录。

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{JoinHandle, spawn},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    super::load,
    INDEX, KEY, ORDER,
    frames::Writer,
    part_name,
    wire::{Maker, Moment, Order, Parcel, Said, unix_ns, unpacked},
};
use crate::client::Stamp;

/// How often it says that it lives, and sends what it has.
const BEAT: Duration = Duration::from_secs(1);
/// How often it looks for an order.
const LOOK: Duration = Duration::from_millis(50);

/// How long it waits to be told which share is its own.
const UNNUMBERED: Duration = Duration::from_secs(300);

/// Carries a share of the load that lies in `folder`, and tells `out` of it.
///
/// # Errors
/// In words, what stands in the way; `out` was told too, where it could be.
pub fn work(folder: &Path, out: impl Write + Send + 'static) -> Result<(), String> {
    let part = part(&folder.join(INDEX))?;
    let parcel = parcel(folder, part)?;
    let key = match std::fs::read_to_string(folder.join(KEY)) {
        Ok(key) => Some(key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("the key cannot be read: {error}")),
    };
    let in_flight = Arc::new(AtomicU32::new(0));
    let (say, said) = channel();
    let voice = voice(out, said, Arc::clone(&in_flight));
    let _ = say.send(Said::Hello { maker: Maker::this(), part, clock: Moment::now() });
    let carried = carry(parcel, key, &Orders::of(folder.join(ORDER)), &say, &in_flight);
    let _ = say.send(match &carried {
        Ok(()) => Said::Done,
        Err(message) => Said::Failed(message.clone()),
    });
    drop(say);
    let written = voice.join().map_err(|_| "what tells of the load has failed".to_owned())?;
    carried.and(written)
}

/// Which share is its own: a cluster numbers a worker before it starts, or while it waits.
fn part(path: &Path) -> Result<u32, String> {
    let since = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("which share of the load is to be carried, {}: {error}", path.display())
        })?;
        match text.trim() {
            "" if since.elapsed() < UNNUMBERED => std::thread::sleep(LOOK),
            "" => {
                return Err(format!("it was not told in {} s which share is its own", UNNUMBERED.as_secs()));
            }
            number => {
                let wrong =
                    |_| format!("expected the number of a share in {}, found `{number}`", path.display());
                return number.parse().map_err(wrong);
            }
        }
    }
}

/// The pieces of a share, in their order.
fn parcel(folder: &Path, part: u32) -> Result<Parcel, String> {
    let mut bytes = Vec::new();
    for piece in 0.. {
        let path = folder.join(part_name(part, piece));
        match std::fs::read(&path) {
            Ok(read) => bytes.extend(read),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && piece > 0 => break,
            Err(error) => return Err(format!("share {part} of the load, {}: {error}", path.display())),
        }
    }
    let parcel = unpacked(&bytes)?;
    if parcel.part != part {
        return Err(format!("expected share {part} of the load, found share {}", parcel.part));
    }
    Ok(parcel)
}

/// Tells what is said on a thread of its own: whoever makes load waits for no log.
fn voice(
    out: impl Write + Send + 'static,
    said: Receiver<Said>,
    in_flight: Arc<AtomicU32>,
) -> JoinHandle<Result<(), String>> {
    let told = |error: std::io::Error| format!("what the load did cannot be told: {error}");
    spawn(move || {
        let mut writer = Writer::new(out);
        let mut beat = Instant::now();
        loop {
            match said.recv_timeout(BEAT.saturating_sub(beat.elapsed())) {
                Ok(Said::Ended(record)) => writer.say(&Said::Ended(record)).map_err(told)?,
                Ok(urgent) => writer.say(&urgent).and_then(|()| writer.flush()).map_err(told)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return writer.finish().map_err(told),
            }
            if beat.elapsed() >= BEAT {
                let alive = Said::Alive { unix_ns: unix_ns(), in_flight: in_flight.load(Ordering::Relaxed) };
                writer.say(&alive).and_then(|()| writer.flush()).map_err(told)?;
                beat = Instant::now();
            }
        }
    })
}

fn carry(
    parcel: Parcel,
    key: Option<String>,
    orders: &Orders,
    say: &Sender<Said>,
    in_flight: &AtomicU32,
) -> Result<(), String> {
    let patience = Duration::from_secs(parcel.patience_s);
    for (share, epoch) in parcel.shares.into_iter().zip(0..) {
        let (client, mut plan) = share.with_key(key.clone()).unpacked()?;
        let _ = say.send(Said::Ready { epoch });
        let Some(unix_ns) = orders.begin(epoch, patience)? else { return Ok(()) };
        plan.begin = Some(stamp_of(unix_ns)?);
        let keep = |record| {
            // Whoever writes outlives the load; were it gone, its own error would tell.
            let _ = say.send(Said::Ended(Box::new(record)));
        };
        let _ = say.send(Said::Begins { epoch, unix_ns: self::unix_ns() });
        let driven = orders.meanwhile(|cancel| load(&client, plan, cancel, in_flight, &keep))?;
        let machine = Box::new(driven.machine);
        let turned = driven.epochs.into_iter().next().ok_or("no epoch was begun")?;
        let _ = say.send(Said::Turned {
            transport: driven.transport.to_owned(),
            turned: Box::new(turned),
            machine,
        });
        if orders.cancelled() {
            break;
        }
    }
    Ok(())
}

/// When that is on our monotonic clock.
fn stamp_of(unix_ns: i64) -> Result<Stamp, String> {
    let now = Moment::now();
    let ahead = unix_ns - now.unix_ns;
    let late = || {
        format!(
            "the order to begin was read {:.1} s after the moment that it names: this machine was told too late, or \
             its clock is fast",
            -ahead as f64 / 1e9
        )
    };
    u64::try_from(ahead).map(|ahead| Stamp(now.stamp.0 + ahead)).map_err(|_| late())
}

/// What stands in the file of orders: always the latest.
struct Orders {
    path: PathBuf,
}

impl Orders {
    fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// The latest; nothing where there is none yet.
    fn latest(&self) -> Option<Order> {
        serde_json::from_str(&std::fs::read_to_string(&self.path).ok()?).ok()
    }

    fn cancelled(&self) -> bool {
        self.latest() == Some(Order::Cancel)
    }

    /// When to begin an epoch; nothing where all is off.
    fn begin(&self, wanted: u32, patience: Duration) -> Result<Option<i64>, String> {
        let since = Instant::now();
        loop {
            match self.latest() {
                Some(Order::Begin { epoch, unix_ns }) if epoch == wanted => return Ok(Some(unix_ns)),
                Some(Order::Cancel) => return Ok(None),
                _ if since.elapsed() >= patience => {
                    return Err(format!("it was never told to begin, in {} s", patience.as_secs()));
                }
                _ => std::thread::sleep(LOOK),
            }
        }
    }

    /// Does `work`, whose token is set when all is off.
    fn meanwhile<T>(&self, work: impl FnOnce(&CancellationToken) -> T) -> T {
        let (cancel, over) = (CancellationToken::new(), CancellationToken::new());
        std::thread::scope(|scope| {
            let _over = over.clone().drop_guard();
            scope.spawn(|| {
                while !over.is_cancelled() {
                    if self.cancelled() {
                        return cancel.cancel();
                    }
                    std::thread::sleep(LOOK);
                }
            });
            work(&cancel)
        })
    }
}
