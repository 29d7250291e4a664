//! A process that carries a share of the load: [`at_the_door`], the first thing that a `main` of ours does. It ends when
//! its standard input does, so that it never outlives whoever started it. Must not know how many there are.
//!
//! 承担部分负载的子进程。

use std::{
    io::{BufRead as _, Write as _},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
};

use tokio_util::sync::CancellationToken;

use super::wire::{Order, Share, Told};
use crate::{client::Stamp, perf::drive::load};

/// Holds the moment from which all stamps count.
pub(super) const VARIABLE: &str = "VLLM_CIBENCH_LOAD_PROCESS";

/// Whether this program's `main` would carry load when it is started again.
static AT_THE_DOOR: AtomicBool = AtomicBool::new(false);

/// Carries load where this process was started to; the exit code then. Otherwise notes that this program can be started
/// so: a program whose `main` does not begin with this would run itself, whatever it is.
pub fn at_the_door() -> Option<ExitCode> {
    let Ok(zero) = std::env::var(VARIABLE) else {
        AT_THE_DOOR.store(true, Ordering::Relaxed);
        return None;
    };
    let counts = zero.parse().is_ok_and(Stamp::count_from);
    if !counts {
        tell(&Told::Failed("the two processes have no clock in common".to_owned()));
        return Some(ExitCode::FAILURE);
    }
    carry_out();
    Some(ExitCode::SUCCESS)
}

/// Whether [`at_the_door`] was asked in this process.
pub(super) fn is_at_the_door() -> bool {
    AT_THE_DOOR.load(Ordering::Relaxed)
}

/// One line; a parent that does not read any more is gone, and so are we in a moment.
fn tell(told: &Told) {
    static LINE: Mutex<()> = Mutex::new(());
    if let Ok(text) = serde_json::to_string(told) {
        let _whole = LINE.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

fn carry_out() {
    let cancel = CancellationToken::new();
    let orders = orders(cancel.clone());
    while let Ok(order) = orders.recv() {
        let Order::Carry(share) = order else { continue };
        if let Err(message) = carry(*share, &orders, &cancel) {
            tell(&Told::Failed(message));
        }
    }
}

/// What is said on standard input. Its end is a cancellation.
fn orders(cancel: CancellationToken) -> Receiver<Order> {
    let (take, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Order::Cancel) | Err(_) => cancel.cancel(),
                Ok(order) => {
                    if take.send(order).is_err() {
                        break;
                    }
                }
            }
        }
        cancel.cancel();
    });
    orders
}

fn carry(share: Share, orders: &Receiver<Order>, cancel: &CancellationToken) -> Result<(), String> {
    let (client, mut plan) = share.unpacked()?;
    tell(&Told::Ready);
    let Ok(Order::Begin(at)) = orders.recv() else { return Err("it was never told to begin".to_owned()) };
    plan.begin = Some(at);
    let in_flight = AtomicU32::new(0);
    let keep = |record| tell(&Told::Ended(Box::new(record), in_flight.load(Ordering::Relaxed)));
    let driven = load(&client, plan, cancel, &in_flight, &keep)?;
    let turned = driven.epochs.into_iter().next().ok_or("no epoch was begun")?;
    tell(&Told::Turned(driven.transport.to_owned(), Box::new(turned)));
    Ok(())
}
