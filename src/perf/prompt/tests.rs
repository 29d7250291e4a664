//! What every prompt must be, held against a server that counts.
//!
//! 提示词生成的测试。

use super::*;

/// A server whose template costs 10 tokens, a long ASCII word two tokens, a Chinese character one.
struct Server;

impl TokenCounter for Server {
    async fn count(&self, content: &Content) -> Result<u64, String> {
        let text = content.text();
        let ascii: usize = text
            .split(|c: char| !c.is_ascii_alphabetic())
            .map(|word| match word.len() {
                0 => 0,
                1..=6 => 1,
                _ => 2,
            })
            .sum();
        let other = text.chars().filter(|c| !c.is_ascii_alphabetic() && *c != ' ').count();
        Ok(10 + (ascii + other) as u64)
    }
}

/// Nobody counts.
const NOBODY: NoCount = NoCount("POST /tokenize answered 404");

const WANTED: Wanted = Wanted { prefix: 0, language: Language::Mixed, seed: 1, mark: 0 };

/// Of two warm-up requests and eight measured ones.
fn asked(tokens: u32, wanted: Wanted) -> Vec<Asked> {
    of(Stream::all(2, 8), tokens, Spread::default(), wanted)
}

fn of(streams: impl Iterator<Item = Stream>, tokens: u32, spread: Spread, wanted: Wanted) -> Vec<Asked> {
    streams.map(|stream| Asked::drawn(stream, tokens, spread, wanted.seed)).collect()
}

async fn count(text: &str) -> u64 {
    Server.count(&Content::Text(text.to_owned())).await.unwrap()
}

async fn made(wanted: Wanted, asked: Vec<Asked>, counter: &impl TokenCounter) -> Vec<String> {
    let made = prepare(wanted, asked, counter).await.unwrap();
    made.texts.into_iter().map(|one| one.text).collect()
}

async fn texts(tokens: u32, wanted: Wanted, counter: &impl TokenCounter) -> Vec<String> {
    made(wanted, asked(tokens, wanted), counter).await
}

#[tokio::test]
async fn every_prompt_has_exactly_the_wanted_length_by_the_servers_count() {
    for language in [Language::En, Language::Zh, Language::Mixed] {
        for tokens in [16, 64, 333, 2048] {
            let wanted = Wanted { language, ..WANTED };
            let made = prepare(wanted, asked(tokens, wanted), &Server).await.unwrap();
            assert_eq!(made.counted, Counted::Exact);
            for one in &made.texts {
                assert_eq!(count(&one.text).await, u64::from(tokens), "{language:?}: {}", one.text);
                assert_eq!(one.tokens, Some(u64::from(tokens)));
            }
        }
    }
}

#[tokio::test]
async fn lengths_spread_over_the_asked_range_and_each_is_exact() {
    let spread = Spread { above: 0.5, below: 0.25 };
    let made = prepare(WANTED, of(Stream::all(2, 60), 200, spread, WANTED), &Server).await.unwrap();
    assert_eq!(made.counted, Counted::Exact);
    let lengths: Vec<u64> = made.texts.iter().filter_map(|one| one.tokens).collect();
    assert!(lengths.iter().all(|length| (150..=300).contains(length)), "{lengths:?}");
    let (short, long) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert!(*short < 175 && *long > 275, "{lengths:?}");
    for one in &made.texts {
        assert_eq!(Some(count(&one.text).await), one.tokens);
    }
}

#[tokio::test]
async fn a_common_prefix_is_part_of_the_length_and_of_every_prompt() {
    let made = texts(100, Wanted { prefix: 40, ..WANTED }, &Server).await;
    let common = made.iter().skip(1).fold(made[0].as_str(), |common, text| {
        let end = common.char_indices().zip(text.chars()).find(|((_, a), b)| a != b);
        end.map_or(common, |((at, _), _)| &common[..at])
    });
    let alone = count(common).await - 10;
    assert!((40..44).contains(&alone), "{alone} tokens are common: {common}");
    for text in &made {
        assert_eq!(count(text).await, 100);
    }
    let mut different = made.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), made.len(), "no prompt comes twice");
}

#[tokio::test]
async fn what_follows_in_a_conversation_has_its_length_without_the_prefix() {
    let wanted = Wanted { prefix: 40, ..WANTED };
    let mut asked = asked(100, wanted);
    asked.truncate(3);
    asked[1].follows = true;
    for counted in [true, false] {
        let made = match counted {
            true => made(wanted, asked.clone(), &Server).await,
            false => made(wanted, asked.clone(), &NOBODY).await,
        };
        assert!(common(&made[0], &made[2]).len() > 100 && common(&made[0], &made[1]).len() < 20, "{made:?}");
        if counted {
            assert_eq!(count(&made[1]).await, 100);
        }
    }
}

#[tokio::test]
async fn no_prompt_comes_twice_and_warm_up_has_its_own() {
    let mut texts = texts(64, WANTED, &Server).await;
    assert_eq!(texts.len(), 10);
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 10);
}

#[tokio::test]
async fn a_prompt_depends_on_seed_and_index_and_not_on_how_many_are_made() {
    let spread = Spread { above: 0.2, below: 0.2 };
    let some = async |warmup, measured, wanted| {
        made(wanted, of(Stream::all(warmup, measured), 40, spread, wanted), &Server).await
    };
    let few = some(0, 3, WANTED).await;
    let many = some(5, 9, WANTED).await;
    assert_eq!(few[..], many[5..8]);
    let other = some(0, 3, Wanted { seed: 2, ..WANTED }).await;
    assert_ne!(few, other);
}

#[tokio::test]
async fn two_trials_ask_the_same_behind_first_words_of_their_own() {
    let made = async |mark| texts(64, Wanted { mark, ..WANTED }, &NOBODY).await;
    let (one, other) = (made(1).await, made(2).await);
    for (one, other) in one.iter().zip(&other) {
        let common = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        assert!(common < 8, "{one} and {other} begin alike");
        assert_eq!(
            one.chars().rev().take(60).collect::<String>(),
            other.chars().rev().take(60).collect::<String>()
        );
    }
}

#[tokio::test]
async fn without_a_counting_server_the_length_is_an_estimate_and_says_why() {
    for prefix in [0, 16] {
        let wanted = Wanted { prefix, ..WANTED };
        let made = prepare(wanted, asked(64, wanted), &NOBODY).await.unwrap();
        assert_eq!(made.counted, Counted::Estimated { reason: "POST /tokenize answered 404".to_owned() });
        assert!(made.texts.iter().all(|one| !one.text.is_empty() && one.tokens.is_none()));
    }
}

#[tokio::test]
async fn a_length_below_the_template_is_refused_with_the_least_that_works() {
    let error = prepare(WANTED, asked(4, WANTED), &Server).await.unwrap_err();
    assert!(error.starts_with("input_len 4 cannot be reached: the server counts 1"), "{error}");
}

/// Prompts of so many tokens that consist of these blocks.
fn of_blocks(prompts: &[(u64, &[u64])]) -> Vec<Asked> {
    let asked = |((tokens, blocks), n): (&(u64, &[u64]), u32)| Asked {
        stream: Stream::Measured(n),
        tokens: *tokens,
        blocks: blocks.to_vec(),
        follows: false,
    };
    prompts.iter().zip(0..).map(asked).collect()
}

/// What both begin with.
fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let end = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    end.map_or(one, |((at, _), _)| &one[..at])
}

#[tokio::test]
async fn equal_blocks_are_equal_tokens_at_equal_places_and_every_length_is_exact() {
    for language in [Language::En, Language::Zh, Language::Mixed] {
        let wanted = Wanted { language, ..WANTED };
        let prompts: [(u64, &[u64]); 6] = [
            (1100, &[0, 1, 2]),
            (1300, &[0, 1, 3]),
            (600, &[0, 4]),
            (1024, &[0, 1]),
            (1030, &[0, 1]),
            (600, &[9, 4]),
        ];
        let made = prepare(wanted, of_blocks(&prompts), &Server).await.unwrap();
        let texts: Vec<&str> = made.texts.iter().map(|one| one.text.as_str()).collect();
        for (text, (tokens, _)) in texts.iter().zip(&prompts) {
            assert_eq!(count(text).await, *tokens, "{language:?}");
        }
        assert_eq!(made.counted, Counted::Exact);
        for (one, other, blocks) in [(0, 1, 2), (0, 2, 1), (1, 2, 1), (3, 0, 2), (4, 1, 2)] {
            let tokens = count(common(texts[one], texts[other])).await;
            let places = blocks * BLOCK;
            // The server's template is part of the first block, and its last words may be alike by chance.
            assert!(
                (places..places + 16).contains(&tokens),
                "{language:?}: {one} and {other} share {tokens}"
            );
        }
        assert!(count(common(texts[2], texts[5])).await < 40, "another first block, another prompt");
    }
}

#[tokio::test]
async fn a_tail_too_short_for_a_word_is_left_out_and_told() {
    /// Every word is five tokens.
    struct Fives;
    impl TokenCounter for Fives {
        async fn count(&self, content: &Content) -> Result<u64, String> {
            Ok(5 * content.text().split_whitespace().count() as u64)
        }
    }
    let wanted = Wanted { language: Language::En, ..WANTED };
    let made = prepare(wanted, of_blocks(&[(513, &[0, 1])]), &Fives).await.unwrap();
    assert_eq!(made.texts[0].tokens, Some(510));
    assert_eq!(made.counted, Counted::Near { prompts: 1, short_by: 3 });
}

#[tokio::test]
async fn blocks_are_shared_where_nobody_counts_too() {
    let made = prepare(WANTED, of_blocks(&[(1100, &[0, 1, 2]), (1300, &[0, 1, 3])]), &NOBODY).await.unwrap();
    let both = common(&made.texts[0].text, &made.texts[1].text);
    assert!(both.split_whitespace().count() > 300, "{both}");
    assert_ne!(made.texts[0].text, made.texts[1].text);
}
