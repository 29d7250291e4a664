//! What a corpus must be.
//!
//! 语料的测试。

use camino::Utf8Path;

use super::*;
use crate::perf::{
    prompt::NoCount,
    schedule::{Epoch, Pace},
};

/// Counts words.
struct ByWords;

impl TokenCounter for ByWords {
    async fn count(&self, content: &Content) -> Result<u64, String> {
        Ok(content.text().split_whitespace().count() as u64)
    }
}

const NOBODY: NoCount = NoCount("POST /tokenize answered 404");

fn spec(text: &str) -> Spec {
    serde_json::from_str(&format!(r#"{{"concurrency":1,"requests":2,{text}}}"#)).unwrap()
}

fn samples() -> Library {
    Library::new(Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perf/data"))
}

async fn corpus(
    spec: &Spec,
    warmup: u32,
    measured: u32,
    counter: &impl TokenCounter,
) -> Result<Corpus, Refused> {
    let epoch = Epoch { warmup, measured, pace: Pace::Closed { starts_ns: vec![0] }, conversations: None };
    let schedule = Schedule { schema: String::new(), seed: 0, epochs: vec![epoch] };
    Corpus::of(spec, &schedule, 7, &samples(), counter).await
}

fn said(corpus: &Corpus) -> Vec<String> {
    corpus.items.iter().map(|item| item.content.text()).collect()
}

const CUSTOM: &str = r#""dataset":[{"layout":"custom","path":"custom.jsonl"}]"#;

#[tokio::test]
async fn a_file_is_asked_in_its_order_and_the_warm_up_from_its_end() {
    let spec = spec(&format!(r#"{CUSTOM},"output_len":5"#));
    let made = corpus(&spec, 1, 7, &ByWords).await.unwrap();
    let said = said(&made);
    assert!(said[0].contains("Is a whale a fish?"), "the warm-up takes the last: {}", said[0]);
    assert!(said[1].starts_with("Name three rivers"));
    assert_eq!(said[1], said[7], "after its end it begins again");
    assert_eq!((made.sources[0].items, made.sources[0].requests, made.sources[0].repeated), (Some(6), 8, 2));
    assert!(made.items.iter().all(|item| item.output_len == 5));
    assert_eq!(made.items[1].tokens, Some(8));
}

#[tokio::test]
async fn a_shuffle_is_the_seeds_and_leaves_nothing_out() {
    let of = async |seed: u32| {
        let text = format!(
            r#""dataset":[{{"layout":"custom","path":"custom.jsonl","shuffle":true}}],"output_len":5,"seed":{seed}"#
        );
        said(&corpus(&spec(&text), 0, 6, &ByWords).await.unwrap())
    };
    let (one, again, other) = (of(1).await, of(1).await, of(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    assert_eq!(sorted(one), sorted(other));
}

#[tokio::test]
async fn a_mixture_keeps_its_weights_and_more_requests_change_none_of_the_earlier() {
    let text = r#""dataset":[{"layout":"alpaca","path":"alpaca.json","weight":3},{"layout":"random"}],
                  "input_len":30,"output_len":5,"input_range":{"below":0.99}"#;
    let few = corpus(&spec(text), 0, 50, &ByWords).await.unwrap();
    let many = corpus(&spec(text), 3, 400, &ByWords).await.unwrap();
    assert_eq!(said(&few)[..], said(&many)[3..53]);
    let of_alpaca = many.sources[0].requests as f64 / 403.0;
    assert!((0.68..0.82).contains(&of_alpaca), "three in four are asked for, found {of_alpaca}");
    let (alpaca, random) = (many.lengths(Some(0)).unwrap(), many.lengths(Some(1)).unwrap());
    assert_eq!((alpaca.n, random.n), (many.sources[0].requests, many.sources[1].requests));
    assert!(random.max <= 30.0 && alpaca.min >= 1.0);
}

#[tokio::test]
async fn answers_are_as_long_as_the_case_says_or_else_the_item() {
    let ranged = spec(&format!(r#"{CUSTOM},"output_len":100,"output_range":{{"above":0.5,"below":0.5}}"#));
    let made = corpus(&ranged, 0, 40, &ByWords).await.unwrap();
    let lengths: Vec<u32> = made.items.iter().map(|item| item.output_len).collect();
    assert!(lengths.iter().all(|length| (50..=150).contains(length)));
    assert!(lengths.iter().any(|length| *length < 75) && lengths.iter().any(|length| *length > 125));
    let own = corpus(&spec(CUSTOM), 0, 1, &ByWords).await.unwrap();
    assert_eq!(own.items[0].output_len, 12);
    let refused = corpus(&spec(CUSTOM), 0, 2, &ByWords).await.unwrap_err();
    assert!(refused.message.starts_with("expected `output_len` in the case"), "{refused:?}");
}

#[tokio::test]
async fn an_input_length_that_does_not_match_the_data_set_is_refused() {
    let refused = corpus(&spec(&format!(r#"{CUSTOM},"output_len":5,"input_len":8"#)), 0, 3, &ByWords).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.pointer, "/dataset/0/path");
    let told = "input_len 8: expected every item to have 8 tokens, found one of 1";
    assert!(refused.message.starts_with(told), "{}", refused.message);
    let unchecked =
        corpus(&spec(&format!(r#"{CUSTOM},"output_len":5,"input_len":8"#)), 0, 3, &NOBODY).await.unwrap();
    assert_eq!(unchecked.counted, Counted::Estimated { reason: NOBODY.0.to_owned() });
    assert_eq!(unchecked.lengths(None), None);
}

#[tokio::test]
async fn a_trace_is_asked_as_it_was_with_text_of_its_lengths() {
    let text = r#""control_method":{"trace":{}},"dataset":[{"layout":"trace","path":"trace.jsonl"}],"requests":null"#;
    let spec = serde_json::from_str(&format!(r#"{{"concurrency":1,{text}}}"#)).unwrap();
    let made = corpus(&spec, 1, 4, &ByWords).await.unwrap();
    let lengths: Vec<Option<u64>> = made.items.iter().map(|item| item.tokens).collect();
    assert_eq!(lengths, [Some(64), Some(40), Some(48), None, Some(72)]);
    let outputs: Vec<u32> = made.items.iter().map(|item| item.output_len).collect();
    assert_eq!(outputs, [8, 4, 6, 5, 3]);
    assert_eq!(made.items[3].content.text(), "Which rivers end in a desert?");
    assert_eq!(arrivals(&spec, &samples()).len(), 5);
}

#[tokio::test]
async fn a_trace_that_names_its_blocks_is_asked_with_the_prefixes_that_it_recorded() {
    let text = r#""control_method":{"trace":{}},"dataset":[{"layout":"trace","path":"mooncake.jsonl"}],"requests":null"#;
    let spec = serde_json::from_str(&format!(r#"{{"concurrency":1,"language":"en",{text}}}"#)).unwrap();
    let made = corpus(&spec, 0, 3, &ByWords).await.unwrap();
    let said = said(&made);
    let words: Vec<Vec<&str>> = said.iter().map(|text| text.split_whitespace().collect()).collect();
    assert_eq!(words.iter().map(Vec::len).collect::<Vec<_>>(), [1100, 1300, 600]);
    assert_eq!(words[0][..1024], words[1][..1024]);
    assert_eq!(words[0][..512], words[2][..512]);
    assert_ne!(words[0][512..600], words[2][512..600]);
    assert_eq!(made.sources[0].prefix_hit_ratio, Some((1024.0 + 512.0) / 3000.0));
    assert!(made.shares_prefixes());
}

/// What the turns of each conversation ask.
async fn talks(text: &str, counter: &impl TokenCounter) -> (Vec<Vec<String>>, Corpus) {
    let spec: Spec = serde_json::from_str(&format!(r#"{{"concurrency":1,{text}}}"#)).unwrap();
    let schedule = Schedule::of(&spec).with_conversations(&spec, turns(&spec, &samples()));
    let made = Corpus::of(&spec, &schedule, 7, &samples(), counter).await.unwrap();
    let mut said = said(&made).into_iter();
    let all = schedule.epochs.iter().flat_map(|epoch| &epoch.conversations.as_ref().unwrap().think_ns);
    (all.map(|turns| said.by_ref().take(turns.len()).collect()).collect(), made)
}

#[tokio::test]
async fn a_persons_turns_are_those_of_the_file_and_at_most_as_many_as_asked() {
    let of = async |most: &str| {
        let text = format!(
            r#""dataset":[{{"layout":"sharegpt","path":"sharegpt.json"}}],"output_len":5,
               "conversation":{{"num_conversations":5{most}}},"warmup":1"#
        );
        talks(&text, &ByWords).await
    };
    let (all, made) = of("").await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 1, 1, 1, 2]);
    assert_eq!(all[0], ["Give me a title for a story about a lighthouse."], "the warm-up takes the last");
    assert_eq!(all[1], ["How do I keep bread fresh?", "And for a whole week?"]);
    assert_eq!(all[1], all[5], "after its end it begins again");
    let source = &made.sources[0];
    assert_eq!((source.items, source.requests, source.repeated), (Some(4), 8, 2));
    assert_eq!(of(r#","turns":1"#).await.0.iter().map(Vec::len).max(), Some(1));
}

#[tokio::test]
async fn turns_of_random_text_have_their_length_and_only_the_first_the_prefix() {
    let of = async |conversations: u32| {
        let text = format!(
            r#""input_len":40,"prefix_len":20,"output_len":5,"output_range":{{"above":1.0}},"language":"en","conversation":
               {{"num_conversations":{conversations},"turns":{{"distribution":"uniform","min":2,"max":4}}}}"#
        );
        talks(&text, &ByWords).await.0
    };
    let (few, many) = (of(3).await, of(9).await);
    assert_eq!(few[..], many[..3]);
    let lengths: Vec<usize> = many.iter().map(Vec::len).collect();
    assert!(
        lengths.iter().all(|n| (2..=4).contains(n)) && lengths.iter().min() < lengths.iter().max(),
        "{lengths:?}"
    );
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert!(many.iter().flatten().all(|text| words(text).len() == 40));
    assert_eq!(words(&many[0][0])[..20], words(&many[1][0])[..20]);
    assert_ne!(words(&many[0][0])[..20], words(&many[0][1])[..20]);
    let mut all: Vec<&String> = many.iter().flatten().collect();
    let asked = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), asked, "no turn comes twice");
}

#[tokio::test]
async fn what_is_asked_does_not_depend_on_the_load() {
    let of = async |load: &str| {
        let text = format!(r#""input_len":40,"output_len":5,"input_range":{{"above":0.2}}{load}"#);
        said(&corpus(&spec(&text), 1, 4, &ByWords).await.unwrap())
    };
    let rate = r#","control_method":{"rate":{"requests_per_second":3}}"#;
    assert_eq!(of("").await, of(rate).await);
}
