//! Both transports over every recorded answer of a real server, however its chunks travel.
//!
//! 两种传输层对全部录制回答给出同样的结果。

use camino::Utf8Path;

use super::*;
use crate::client::read_recording;

/// How the chunks of a recording travel.
#[derive(Debug, Clone, Copy)]
enum Travel {
    /// Each in a write of its own.
    AsRecorded,
    /// Each in two.
    Split,
    /// All in one.
    Coalesced,
}

fn travelling(chunks: &[Vec<u8>], how: Travel) -> Vec<Step> {
    let framed = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let framed: Vec<Vec<u8>> =
        chunks.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| framed(chunk)).collect();
    match how {
        Travel::AsRecorded => framed.into_iter().map(Step::Write).collect(),
        Travel::Split => framed
            .iter()
            .flat_map(|chunk| {
                let (head, tail) = chunk.split_at(chunk.len() / 2);
                [Step::Write(head.to_vec()), Step::Write(tail.to_vec())]
            })
            .collect(),
        Travel::Coalesced => vec![Step::Write(framed.concat())],
    }
}

#[tokio::test]
async fn they_agree_on_every_recording_however_its_chunks_travel() {
    let dir = Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings/vllm-0.32.0"));
    let mut streams = 0;
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        let recorded = read_recording(&path).unwrap();
        let attempt = recorded.last();
        let Some(status) = attempt.status.filter(|_| attempt.end == End::Complete) else { continue };
        let headers = attempt.headers.iter();
        let headers: String = headers
            .filter(|(name, _)| name != "content-length" && name != "transfer-encoding")
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}transfer-encoding: chunked\r\n\r\n");
        let chunks: Vec<Vec<u8>> = attempt.chunks.iter().map(|(_, bytes)| bytes.to_vec()).collect();
        let mut records = Vec::new();
        for how in [Travel::AsRecorded, Travel::Split, Travel::Coalesced] {
            let mut script = vec![Step::Read, write(&head)];
            script.extend(travelling(&chunks, how));
            script.extend([write("0\r\n\r\n"), Step::Stall]);
            let told = both(script, &short()).await;
            same(&told);
            assert_eq!(told[0].body, attempt.body(), "{path} {how:?}");
            records.push(timeless(&told[0].record));
        }
        assert!(records.iter().all(|record| *record == records[0]), "{path}");
        streams += usize::from(records[0].outcome == Outcome::Ok);
    }
    assert!(streams >= 10, "{streams} streams of tokens");
}
