//! The file of a trial's requests, one line each, written while the run goes on: [`write`]. Must not know what is
//! computed of them.
//!
//! 逐请求记录文件 requests.jsonl，边运行边写。

use std::sync::{
    atomic::{AtomicU32, Ordering},
    mpsc::{Receiver, RecvTimeoutError},
};

use st_harness::{
    folder::{LineWriter, TrialFolder},
    verdict::Artifact,
};

use crate::perf::{progress::Progress, record::Record};

/// Its name in the trial's folder.
pub(crate) const NAME: &str = "requests.jsonl";

/// Takes records until the last sender is gone, and returns them in the order of sending with the file they went
/// to; `progress` hears of each, and of `in_flight`. A file that cannot be written loses no record.
pub(crate) fn write(
    folder: &TrialFolder,
    ended: &Receiver<Record>,
    mut progress: Progress,
    in_flight: &AtomicU32,
) -> (Vec<Record>, Result<Artifact, String>) {
    let mut lines = folder.lines(NAME).map_err(|error| error.to_string());
    let mut records: Vec<Record> = Vec::new();
    loop {
        match ended.recv_timeout(progress.every()) {
            Ok(record) => {
                if let Ok(writer) = &mut lines
                    && let Err(message) = line(writer, &record)
                {
                    lines = Err(message);
                }
                progress.take(&record);
                records.push(record);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress.show(in_flight.load(Ordering::Relaxed));
    }
    progress.finish();
    records.sort_by_key(|record| record.index);
    let written = lines.and_then(|writer| {
        writer.finish().map_err(|error| error.to_string())?;
        folder.artifact("requests", NAME, "application/jsonl").map_err(|error| error.to_string())
    });
    (records, written)
}

fn line(writer: &mut LineWriter, record: &Record) -> Result<(), String> {
    let text = serde_json::to_string(record).map_err(|error| format!("a record is no JSON: {error}"))?;
    writer.line(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use st_harness::{case::TrialId, folder::RunFolder};

    use super::*;
    use crate::perf::{record::Outcome, schedule::Schedule, summary::tests::record};

    #[test]
    fn every_request_is_a_line_as_soon_as_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(root.path().to_owned()).unwrap();
        let run = RunFolder::open(&path, Arc::default()).unwrap();
        let folder = run.trial(&TrialId::new("perf::smoke::chat").unwrap());
        let (send, ended) = mpsc::channel();
        let file = path.join(folder.path_of(NAME));
        let schedule = Schedule { schema: String::new(), seed: 0, epochs: Vec::new() };
        let progress = Progress::new("x", &schedule, None);
        let writer = std::thread::spawn(move || write(&folder, &ended, progress, &AtomicU32::new(0)));
        send.send(record(1, 0, Outcome::Ok)).unwrap();
        let begun = std::time::Instant::now();
        while std::fs::read_to_string(&file).unwrap_or_default().lines().count() < 1 {
            assert!(begun.elapsed().as_secs() < 10, "no line was written while the run went on");
            std::thread::yield_now();
        }
        send.send(record(0, 0, Outcome::Truncated)).unwrap();
        drop(send);
        let (records, artifact) = writer.join().unwrap();
        assert_eq!(records.iter().map(|record| record.index).collect::<Vec<_>>(), [0, 1]);
        let text = std::fs::read_to_string(path.join(artifact.unwrap().path)).unwrap();
        let kept: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(kept.iter().map(|record| record.index).collect::<Vec<_>>(), [1, 0]);
    }
}
