//! What became of the conversations of a trial, and its figures turn by turn: [`tell`]. Pure. Must not know how they were
//! held.
//!
//! 按轮次统计的对话指标。

use std::collections::BTreeMap;

use serde::Serialize;
use st_harness::verdict::Measurement;

use crate::perf::{
    record::{Outcome, Record},
    summary::Summary,
};

/// The measured conversations.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Told {
    /// Whose first turn was sent.
    begun: usize,
    /// That came to their end.
    completed: usize,
    /// That broke off with a turn that failed.
    failed: usize,
    /// That were not gone on with because sending was over, or were cut off.
    cut_short: usize,
    /// By their place in the conversation.
    turns: Vec<ByTurn>,
}

/// All turns at the same place of their conversations.
#[derive(Debug, PartialEq, Serialize)]
struct ByTurn {
    /// The place, from 0.
    turn: u32,
    /// How many the conversations that were begun have there.
    asked: usize,
    /// How many of them were not sent because an earlier turn had failed.
    unsent: u64,
    /// How those ended that were sent.
    outcomes: BTreeMap<&'static str, u64>,
    /// Their figures.
    figures: Vec<Measurement>,
}

/// Nothing where requests stand alone.
pub(super) fn tell(records: &[Record]) -> Option<Told> {
    let mut talks: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| !record.warmup) {
        talks.entry(record.conversation?.number).or_default().push(record);
    }
    let talks: Vec<Vec<&Record>> = talks.into_values().collect();
    let ends = |wanted: fn(&Record) -> bool| {
        talks.iter().filter(|turns| turns.iter().any(|record| record.closes() && wanted(record))).count()
    };
    let failed = ends(|record| !record.is_ok() && record.outcome != Outcome::Cancelled);
    let completed = ends(Record::is_ok);
    let most = talks.iter().filter_map(|turns| planned(turns)).max()?;
    Some(Told {
        begun: talks.len(),
        completed,
        failed,
        cut_short: talks.len() - completed - failed,
        turns: (0..most).map(|turn| by_turn(turn, &talks)).collect(),
    })
}

/// How many turns a conversation was to have.
fn planned(turns: &[&Record]) -> Option<u32> {
    turns.iter().filter_map(|record| record.conversation).map(|place| place.turns).max()
}

fn by_turn(turn: u32, talks: &[Vec<&Record>]) -> ByTurn {
    let place = |record: &Record| record.conversation.map(|place| place.turn);
    let asked: Vec<&Vec<&Record>> = talks.iter().filter(|turns| planned(turns) > Some(turn)).collect();
    let broke_off = |turns: &&&Vec<&Record>| {
        turns.iter().any(|record| record.silenced() > 0 && place(record).is_some_and(|at| at < turn))
    };
    let unsent = asked.iter().filter(broke_off).count() as u64;
    let own: Vec<Record> = talks
        .iter()
        .flatten()
        .filter(|record| place(record) == Some(turn))
        .map(|record| (*record).clone())
        .collect();
    let summary = Summary::of_asked(&own, unsent);
    ByTurn {
        turn,
        asked: asked.len(),
        unsent,
        outcomes: summary.outcomes,
        figures: summary.measurements.into_iter().filter(|figure| figure.value.is_some()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{record::Turn, summary::tests::record};

    fn turn(number: u32, turn: u32, turns: u32, outcome: Outcome) -> Record {
        let conversation = Some(Turn { number, turn, turns });
        // Each turn's first token comes 100 ms later than that of the one before.
        let mut record = Record { conversation, ..record(u64::from(number * 10 + turn), 0, outcome) };
        record.first_token =
            record.first_token.map(|at| crate::client::Stamp(at.0 + u64::from(turn) * 100_000_000));
        record
    }

    #[test]
    fn turns_are_told_by_their_place_with_those_that_were_never_sent() {
        let refused = || Outcome::Status { status: 503, message: "busy".to_owned() };
        let mut records = vec![
            turn(0, 0, 3, Outcome::Ok),
            turn(0, 1, 3, Outcome::Ok),
            turn(0, 2, 3, Outcome::Ok),
            turn(1, 0, 3, refused()),
            turn(2, 0, 3, Outcome::Ok),
            turn(2, 1, 3, refused()),
            turn(3, 0, 1, Outcome::Ok),
            turn(4, 0, 2, Outcome::Ok),
        ];
        records.push(Record { warmup: true, ..turn(9, 0, 7, Outcome::Ok) });
        let told = tell(&records).unwrap();
        assert_eq!((told.begun, told.completed, told.failed, told.cut_short), (5, 2, 2, 1));
        let counts: Vec<_> = told.turns.iter().map(|turn| (turn.turn, turn.asked, turn.unsent)).collect();
        assert_eq!(counts, [(0, 5, 0), (1, 4, 1), (2, 3, 2)]);
        assert_eq!(told.turns[1].outcomes, BTreeMap::from([("ok", 1), ("status", 1)]));
        let p50 = |turn: &ByTurn, name: &str| {
            turn.figures
                .iter()
                .find(|figure| figure.name == name && figure.stat == "p50")
                .and_then(|figure| figure.value)
        };
        assert_eq!(p50(&told.turns[0], "ttft"), Some(0.1));
        assert_eq!(p50(&told.turns[2], "ttft"), Some(0.3));
        assert_eq!(p50(&told.turns[2], "ttft_all"), None, "two of three were never served");
    }

    #[test]
    fn requests_that_stand_alone_are_no_conversations() {
        assert_eq!(tell(&[record(0, 0, Outcome::Ok)]), None);
    }
}
