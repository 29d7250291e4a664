//! Every kind of mistake in a file, and the exact line and column that it is told with.
//!
//! 各类文件错误及其精确位置。
#![allow(dead_code, reason = "the types below are read for their mistakes, not for their values")]

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use st_harness::{
    diag::{Problem, Problems},
    read::{self, Source},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    retries: u32,
    #[serde(default)]
    mode: Mode,
    #[serde(default, with = "read::duration::option")]
    timeout: Option<Duration>,
    pair: Option<[u8; 2]>,
    share: Option<f64>,
    parts: Option<NonZeroU32>,
    body: Option<Value>,
    limits: Option<BTreeMap<String, u64>>,
    server: Option<Server>,
    #[serde(default)]
    expect: Vec<Expect>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    host: String,
    port: u16,
    tls: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Plain,
    Stream,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Expect {
    Status(u16),
    Done,
    Each { path: String, expect: Vec<Expect> },
    Text(Text),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    path: String,
    contains: Option<String>,
}

fn problems(text: &str) -> Vec<Problem> {
    let read = Source::parse("a.yaml", text).and_then(|source| read::document::<File>(&Arc::new(source)));
    Problems::from(read.err().unwrap_or_default()).into_vec()
}

/// `line:column+length message`, one a mistake.
fn told(text: &str) -> Vec<String> {
    let tell = |problem: &Problem| {
        let place = problem.place.as_ref().expect("every mistake in a file has a place");
        format!("{}:{}+{} {}", place.line, place.column, place.length, problem.message)
    };
    problems(text).iter().map(tell).collect()
}

#[test]
fn a_right_file_has_no_mistake() {
    let text = "name: x\nretries: 2\nmode: stream\ntimeout: 1m30s\npair: [1, 2]\nbody: {a: [1]}\nserver: {host: h, port: 80}\n\
                expect:\n  - status: 200\n  - done\n  - each: {path: a, expect: [{status: 200}]}\n";
    assert!(told(text).is_empty(), "{:?}", told(text));
}

#[test]
fn each_mistake_is_told_at_its_place() {
    let table: &[(&str, &[&str])] = &[
        // Wrong types: the value is meant.
        ("name: 5\n", &["1:7+1 expected text, found the number 5"]),
        (
            "name: x\nretries: many\n",
            &["2:10+4 expected a whole number from 0 to 4294967295, found the text \"many\""],
        ),
        (
            "name: x\nretries: -1\n",
            &["2:10+2 expected a whole number from 0 to 4294967295, found the number -1"],
        ),
        (
            "name: x\nretries: [1,\n  2]\n",
            &["2:10+3 expected a whole number from 0 to 4294967295, found a list of 2 items"],
        ),
        (
            "name: x\nretries:\n  - 1\n",
            &["3:3+1 expected a whole number from 0 to 4294967295, found a list of 1 item"],
        ),
        (
            "name: x\nretries:\n  a: 1\n",
            &["3:3+1 expected a whole number from 0 to 4294967295, found a mapping of 1 key"],
        ),
        ("name: x\nretries:\n", &["2:1+7 expected a whole number from 0 to 4294967295, found null"]),
        ("name: |\n  x\nserver: here\n", &["3:9+4 expected a mapping, found the text \"here\""]),
        (
            "name: x\nserver: {host: h, port: 70000}\n",
            &["2:25+5 expected a whole number from 0 to 65535, found the number 70000"],
        ),
        (
            "name: x\nserver: {host: h, port: 1, tls: yes}\n",
            &["2:33+3 expected `true` or `false`, found the text \"yes\""],
        ),
        ("name: x\npair: [1, 2, 3]\n", &["2:7+9 expected 2 items, found 3"]),
        ("name: x\npair: [1]\n", &["2:7+3 expected a list of 2 items, found a list of 1 item"]),
        (
            "name: x\nparts: 0\n",
            &["2:8+1 expected a whole number from 0 to 4294967295 other than 0, found the number 0"],
        ),
        (
            "name: x\nlimits: {a: 1, b: -1}\n",
            &["2:19+2 expected a whole number, 0 or more, found the number -1"],
        ),
        ("name: x\ntimeout: 30\n", &["2:10+2 expected text, found the number 30"]),
        (
            "name: x\ntimeout: 30x\n",
            &["2:10+3 expected a duration such as `500ms`, `30s`, `2m` or `1h30m`, found \"30x\""],
        ),
        // Keys: the key is meant; a missing one is told where its mapping begins.
        ("name: x\nretrys: 1\n", &["2:1+6 unknown key `retrys`"]),
        ("retries: 1\n", &["1:1+7 the key `name` is missing"]),
        ("name: x\nserver:\n  host: h\n", &["3:3+4 the key `port` is missing"]),
        ("name: x\nserver: {}\n", &["2:9+2 the key `host` is missing", "2:9+2 the key `port` is missing"]),
        ("name: x\nname: y\n", &["2:1+4 the key `name` stands here a second time"]),
        (
            "name: x\nserver: {host: a, port: 1, host: b}\n",
            &["2:28+4 the key `host` stands here a second time"],
        ),
        // Choices.
        ("name: x\nmode: fast\n", &["2:7+4 unknown choice `fast`"]),
        ("name: x\nexpect:\n  - stauts: 200\n", &["3:5+6 unknown choice `stauts`"]),
        ("name: x\nexpect:\n  - stauts\n", &["3:5+6 unknown choice `stauts`"]),
        ("name: x\nexpect:\n  - status\n", &["3:5+6 `status` needs a value: write `status: …`"]),
        ("name: x\nexpect:\n  - done: 1\n", &["3:11+1 `done` takes no value: write `done` alone"]),
        ("name: x\nexpect:\n  - 200\n", &["3:5+3 expected one of the known words, found the number 200"]),
        (
            "name: x\nexpect:\n  - status: 200\n    done:\n",
            &["4:5+4 expected a mapping with exactly one key, found a mapping of 2 keys"],
        ),
        ("name: x\nexpect:\n  -\n", &["3:3+1 expected one of the known words, found null"]),
        // Depth.
        (
            "name: x\nexpect:\n  - each: {path: x, expect: [{each: {path: y, expect: [{status: ok}]}}]}\n",
            &["3:65+2 expected a whole number from 0 to 65535, found the text \"ok\""],
        ),
        (
            "name: x\nexpect:\n  - each:\n      path: x\n      expect:\n        - each:\n            path: y\n            expect:\n              - text: {pth: z}\n",
            &["9:23+8 the key `path` is missing", "9:24+3 unknown key `pth`"],
        ),
        // The text itself.
        ("name:\n\tx: 1\n", &["2:1+1 a tab in the indentation"]),
        ("name: x\nserver:\n  host: h\n\tport: 1\n", &["4:1+1 a tab in the indentation"]),
        ("name: x\n  retries: 1\n", &["2:10+1 a `key: value` cannot stand here"]),
        ("name: x\nexpect:\n  - done\n - done\n", &["4:2+1 expected a key here"]),
        ("name: [x\n", &["1:7+1 unclosed bracket '['"]),
        ("name: \"x\n", &["1:7+1 unclosed quote"]),
        ("name: x\n<<: {retries: 1}\n", &["2:1+2 the merge key `<<` is not read here"]),
        (
            "name: &n x\nbody: *n\n",
            &[
                "1:7+2 the anchor `&n` is not read here: nothing can refer to it",
                "2:7+2 the alias `*n` is not read here",
            ],
        ),
        ("name: !!str 5\n", &["1:7+5 the YAML tag `!!str` is not read here"]),
        (
            "name: x\nbody: {1: a, true: b}\n",
            &["2:8+1 expected text as a key, found `1`", "2:14+4 expected text as a key, found `true`"],
        ),
        ("name: x\nbody: {[a]: b}\n", &["2:8+1 expected text as a key, found a list, a mapping or an alias"]),
        ("name: x\nshare: .nan\n", &["2:8+4 `.nan` is no finite number"]),
        ("name: x\nbody: [1, 1e999]\n", &["2:11+5 `1e999` is no finite number"]),
        (
            "name: x\nbody: 18446744073709551616\n",
            &["2:7+20 `18446744073709551616` does not fit into 64 bits"],
        ),
        ("name: x\n---\nname: y\n", &["2:1+3 a second document begins here; a file holds one"]),
        ("", &["1:1+1 the file is empty: expected a mapping"]),
        ("# nothing yet\n", &["1:1+13 the file is empty: expected a mapping"]),
        ("- name: x\n", &["1:1+1 expected a mapping, found a list of 1 item"]),
    ];
    for (text, expected) in table {
        assert_eq!(told(text), *expected, "{text:?}");
    }
}

#[test]
fn characters_are_counted_not_bytes() {
    assert_eq!(
        told("name: 中文😀\nserver: {host: \"服务器😀\", prot: 1, port: 1}\n"),
        ["2:24+4 unknown key `prot`"]
    );
    assert_eq!(told("name: x\nbody: {中: 1, 😀: .nan}\n"), ["2:17+4 `.nan` is no finite number"]);
    assert_eq!(told("\u{feff}name: 5\r\nretries: x\r\n").len(), 2);
    assert_eq!(told("\u{feff}name: 5\r\n"), ["1:7+1 expected text, found the number 5"]);
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let text = "\
nmae: x
retries: many
mode: fast
server:
  port: here
  hots: h
expect:
  - status: ok
  - stauts: 200
  - each:
      path: 1
      expect: [{status: 1}, {done: 1}, {status: -1}]
parts: no
timeout: soon
";
    assert_eq!(
        told(text),
        [
            "1:1+4 unknown key `nmae`",
            "1:1+4 the key `name` is missing",
            "2:10+4 expected a whole number from 0 to 4294967295, found the text \"many\"",
            "3:7+4 unknown choice `fast`",
            "5:3+4 the key `host` is missing",
            "5:9+4 expected a whole number from 0 to 65535, found the text \"here\"",
            "6:3+4 unknown key `hots`",
            "8:13+2 expected a whole number from 0 to 65535, found the text \"ok\"",
            "9:5+6 unknown choice `stauts`",
            "11:13+1 expected text, found the number 1",
            "12:36+1 `done` takes no value: write `done` alone",
            "12:49+2 expected a whole number from 0 to 65535, found the number -1",
            "13:8+2 expected a whole number from 0 to 4294967295 other than 0, found the text \"no\"",
            "14:10+4 expected a duration such as `500ms`, `30s`, `2m` or `1h30m`, found \"soon\"",
        ]
    );
}

#[test]
fn a_type_that_is_made_of_another_tells_its_mistake_once() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "Value")]
    struct Even;

    impl TryFrom<Value> for Even {
        type Error = String;

        fn try_from(value: Value) -> Result<Self, String> {
            let even = value.as_i64().is_some_and(|number| number % 2 == 0);
            if even { Ok(Self) } else { Err(format!("expected an even number, found {value}")) }
        }
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Evens {
        a: Even,
        all: Vec<Even>,
    }
    let source = Source::parse("a.yaml", "a: 1\nall: [2, 3, 4, x]\nb: 5\n").expect("it is YAML");
    let told = read::document::<Evens>(&Arc::new(source)).expect_err("there are mistakes");
    let messages: Vec<_> = told.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "expected an even number, found 1",
            "expected an even number, found 3",
            "expected an even number, found \"x\"",
            "unknown key `b`",
        ]
    );
}

#[test]
fn a_flood_of_mistakes_is_cut() {
    let text = format!("name: x\nexpect: [{}]\n", "{status: a}, ".repeat(500));
    assert_eq!(problems(&text).len(), 100);
}

#[test]
fn a_person_sees_the_line_and_what_to_do() {
    let text = "name: 中文\nserver:\n  host: h\n  port: 80\n  tsl: true\nmode: strem\nbody: {seed: .nan}\n";
    let good = text.replace(".nan", "1");
    let seen = format!("{}\n\n{}", Problems::from(problems(&good)), Problems::from(problems(text)));
    snapbox::assert_data_eq!(seen, snapbox::file!["golden/mistakes.txt"]);
}

#[test]
fn a_long_line_is_cut_round_its_marker() {
    let text =
        format!("name: x\nbody: {{a: \"{}\", b: .nan, c: \"{}\"}}\n", "长".repeat(300), "y".repeat(300));
    let seen = Problems::from(problems(&text)).to_string();
    snapbox::assert_data_eq!(seen, snapbox::file!["golden/long_line.txt"]);
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_told_of(text in "([-:?{}\\[\\],&*!|>'\"%#@` \t\n\r~.0-9a-c中😀]|name: |server:\n  |  - |<<: |\u{feff}){0,40}") {
        let lines = text.lines().count().max(1) + 1;
        for problem in problems(&text) {
            let place = problem.place.clone().expect("every mistake in a file has a place");
            prop_assert!(place.line as usize <= lines && place.column >= 1 && place.length >= 1, "{place:?}");
            prop_assert!(problem.to_string().starts_with("error: "));
        }
    }

    #[test]
    fn what_another_writer_writes_is_read_back(value in value()) {
        let text = serde_yaml::to_string(&value).expect("every JSON value can be written");
        let read = Source::parse("a.yaml", text.clone()).map(|source| source.root().clone());
        prop_assert_eq!(read.ok(), Some(value), "{}", text);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let word = "[-a-z0-9_ :#中😀~.\"'\\\\\n]{0,12}|no|on|~|null|true|0x1f|1e3|007";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word, inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}
