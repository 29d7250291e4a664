//! The truth bench: this program's own load, and other clients if wanted, against a null server whose log says what
//! was really sent and when. [`bench`] carries out a [`Plan`] round by round; [`Told`] is what came of it. The clients
//! are processes of their own, ours through its ordinary command, so that what is measured of them is what their users
//! get. Must not know how a client makes its load.
//!
//! ```text
//! Plan ─ for each round, each load, each client ─▶ null server + client ─▶ Run ─▶ Told: medians and ranges
//! ```
//!
//! 真值基准：以空服务器的日志检验客户端。

mod client;
mod load;
mod process;
mod round;
mod told;

use camino::Utf8PathBuf;
pub use client::Client;
pub use load::{Backend, Load};
pub use process::many_descriptors;
pub use round::{Run, Verdict};
pub use told::{FIGURES, Figure, Spread, Told};

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Each in every round.
    pub loads: Vec<Load>,
    /// Each at every load. In every second round they come in the opposite order.
    pub clients: Vec<Client>,
    /// How often.
    pub rounds: u32,
    /// Where the runs leave their files; those of a run are thrown away once it was read, unless it went wrong.
    pub folder: Utf8PathBuf,
    /// Keep all of them.
    pub keep: bool,
}

/// Carries it out; `hear` gets a line for each run.
pub fn bench(plan: &Plan, mut hear: impl FnMut(&Run)) -> Told {
    many_descriptors();
    let mut runs = Vec::new();
    for round in 1..=plan.rounds {
        for load in &plan.loads {
            let mut clients: Vec<&Client> = plan.clients.iter().collect();
            if round % 2 == 0 {
                clients.reverse();
            }
            for client in clients {
                let run = round::run(plan, load, client, round);
                hear(&run);
                runs.push(run);
            }
        }
    }
    Told::of(plan, runs)
}
