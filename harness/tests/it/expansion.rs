//! From case files to trials: ids, order, values, specs, and the mistakes of matrices.
//!
//! 用例文件的展开。

use std::sync::Arc;

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use st_harness::{
    capability::{CapabilityId, Catalogue},
    case::{CASE_KEYS, ExpandedCase, read_cases, schema_of_case_file},
    diag::{Problem, Problems},
    expand::{Limits, expand_all},
    read::{self, Source},
};

fn catalogue() -> Catalogue {
    Catalogue(["chat.tools", "chat.top_p", "server.metrics"].map(|id| CapabilityId(id.to_owned())).into())
}

fn expanded_within(text: &str, limits: Limits) -> Result<Vec<ExpandedCase>, Vec<Problem>> {
    let source = Arc::new(Source::parse("cases/functional/params-boundary.yaml", text)?);
    expand_all(&read_cases(&source, "functional", &catalogue())?, limits)
}

fn expanded(text: &str) -> Vec<ExpandedCase> {
    expanded_within(text, Limits::default()).unwrap_or_else(|problems| panic!("{}", Problems::from(problems)))
}

/// What follows the file in each id.
fn names(trials: &[ExpandedCase]) -> Vec<&str> {
    let cut =
        |trial: &'_ ExpandedCase| trial.id.as_str().splitn(3, "::").nth(2).map(str::len).unwrap_or_default();
    trials.iter().map(|trial| &trial.id.as_str()[trial.id.as_str().len() - cut(trial)..]).collect()
}

/// `line:column message`, one a mistake.
fn told(text: &str) -> Vec<String> {
    let problems = expanded_within(text, Limits::default()).expect_err("there are mistakes");
    let tell = |problem: &Problem| {
        let place = problem.place.as_ref().expect("every mistake in a file has a place");
        format!("{}:{} {}", place.line, place.column, problem.message)
    };
    Problems::from(problems).into_vec().iter().map(tell).collect()
}

#[test]
fn a_case_without_matrix_is_one_trial() {
    let trials = expanded(
        "about: x\ncases:\n  - id: plain\n    about: says hello\n    tags: [a]\n    timeout: 1m\n    request: {model: m}\n",
    );
    let [trial] = trials.as_slice() else { panic!("{trials:?}") };
    assert_eq!(trial.id.as_str(), "functional::params_boundary::plain");
    assert_eq!(&*trial.case_id, "functional::params_boundary::plain");
    assert_eq!(&*trial.file, "params_boundary");
    assert_eq!(trial.head.about.as_deref(), Some("says hello"));
    assert_eq!(trial.head.timeout, Some(std::time::Duration::from_secs(60)));
    assert!(trial.head.skip_if_unsupported && !trial.head.exclusive);
    assert_eq!(**trial.spec(), json!({"request": {"model": "m"}}), "the suite sees its own keys only");
}

#[test]
fn a_matrix_is_a_product_whose_first_axis_is_slowest() {
    let trials = expanded(
        "cases:\n  - id: t\n    matrix: {t: [-2, 0.6, 1.0], mode: [plain, stream]}\n    request: {temperature: '${t}', note: 't=${t}'}\n",
    );
    assert_eq!(
        names(&trials),
        [
            "t::t_m2::mode_plain",
            "t::t_m2::mode_stream",
            "t::t_0_6::mode_plain",
            "t::t_0_6::mode_stream",
            "t::t_1_0::mode_plain",
            "t::t_1_0::mode_stream",
        ]
    );
    assert_eq!(Value::Object(trials[3].values.clone()), json!({"t": 0.6, "mode": "stream"}));
    assert_eq!(**trials[0].spec(), json!({"request": {"temperature": -2, "note": "t=-2"}}));
    assert_eq!(**trials[4].spec(), json!({"request": {"temperature": 1.0, "note": "t=1.0"}}));
}

#[test]
fn defaults_lie_under_the_case_and_overrides_over_it() {
    let text = "\
defaults:
  tags: [base]
  request: {model: m, n: 1, stop: [a, b]}
cases:
  - id: x
    matrix: {t: [0, 1]}
    request: {n: 2, stop: [c]}
    overrides:
      - when: {t: 1}
        request: {n: 3}
        tags: [hot]
      - when: {t: 1}
        request: {n: '${t}'}
";
    let trials = expanded(text);
    assert_eq!(**trials[0].spec(), json!({"request": {"model": "m", "n": 2, "stop": ["c"]}}));
    assert_eq!(**trials[1].spec(), json!({"request": {"model": "m", "n": 1, "stop": ["c"]}}));
    assert_eq!(
        (&trials[0].head.tags, &trials[1].head.tags),
        (&vec!["base".to_owned()], &vec!["hot".to_owned()])
    );

    let line =
        |trial: &ExpandedCase, pointer| trial.origin.place(pointer).map(|place| (place.line, place.column));
    assert_eq!(line(&trials[0], "/request/model"), Some((3, 20)), "from the defaults");
    assert_eq!(line(&trials[0], "/request/n"), Some((7, 18)), "from the case");
    assert_eq!(line(&trials[1], "/request/n"), Some((13, 22)), "from the last override");
    assert_eq!(line(&trials[1], "/request/stop/1"), Some((7, 27)), "a replaced list hides the one below it");
    assert_eq!(line(&trials[1], "/nowhere/at/all"), Some((12, 9)), "the nearest that somebody wrote");
}

#[test]
fn a_failing_expectation_can_be_shown() {
    let trials =
        expanded("cases:\n  - id: x\n    expect:\n      - status: 200 # 好\n      - text: {eq: a}\n");
    snapbox::assert_data_eq!(
        trials[0].origin.snippet("/expect/0/status", "found 500").expect("it stands in a file"),
        snapbox::str![[r#"
 --> cases/functional/params-boundary.yaml:4:17
  |
4 |       - status: 200 # 好
  |                 ^^^ found 500
"#]]
    );
}

#[test]
fn exclude_takes_away_and_add_brings_in() {
    let trials = expanded(
        "cases:\n  - id: x\n    matrix: {a: [0, 1, false], b: [{id: long, value: [1, 2]}, s]}\n    \
         exclude: [{a: 0}, {a: 1, b: long}, {a: false, b: [1, 2]}]\n    add: [{a: 7, b: long}, {a: 0, b: {id: mine, value: {k: v}}}]\n",
    );
    assert_eq!(names(&trials), ["x::a_1::b_s", "x::a_false::b_s", "x::a_7::b_long", "x::a_0::b_mine"]);
    assert_eq!(trials[2].values["b"], json!([1, 2]));
    assert_eq!(trials[3].values["b"], json!({"k": "v"}));
}

#[test]
fn each_mistake_is_told_at_its_place() {
    let case = |rest: &str| format!("cases:\n  - id: x\n    {rest}\n");
    let table: &[(String, &[&str])] = &[
        (case("id2: y\n    tagz: 1").replace("id: x", "ID: x"), &["2:5 the key `id` is missing"]),
        (case("tags: a"), &["3:11 expected a list, found the text \"a\""]),
        (
            case("timeout: soon"),
            &["3:14 expected a duration such as `500ms`, `30s`, `2m` or `1h30m`, found \"soon\""],
        ),
        (
            case("a: 1").replace("id: x", "id: X-1"),
            &["2:9 the id \"X-1\" is not made of `a-z`, `0-9` and `_` alone"],
        ),
        (
            case("required_capabilities: [chat.tools, chat.topp]"),
            &["3:41 there is no capability `chat.topp`"],
        ),
        ("case: []\n".into(), &["1:1 unknown key `case`", "1:1 the key `cases` is missing"]),
        ("cases: []\n".into(), &["1:8 there is no case in this file"]),
        ("defaults: {id: x}\ncases: [{id: y}]\n".into(), &["1:12 an id cannot be a default"]),
        (
            "defaults: {timeout: 5}\ncases: [{id: y}, {id: z}]\n".into(),
            &["1:21 expected text, found the number 5"],
        ),
        (
            "cases: [{id: y}, {id: z}, {id: y}]\n".into(),
            &["1:32 there are two cases `y` in `params_boundary`"],
        ),
        (case("matrix: {T: [1]}"), &["3:14 the axis \"T\" is not named with `a-z`, `0-9` and `_` alone"]),
        (case("matrix: {t: 1}"), &["3:17 the axis `t` has no list of values"]),
        (case("matrix: {t: []}"), &["3:17 the axis `t` has no list of values"]),
        (case("matrix: {t: [1, \"1\"]}"), &["3:21 1 and \"1\" both become `t_1` in the id"]),
        (
            case("matrix: {t: [a-b, {id: a_b, value: 1}]}"),
            &["3:23 \"a-b\" and 1 both become `t_a_b` in the id"],
        ),
        (case("matrix: {t: [中文]}"), &["3:18 this value needs a label: no part of an id can be made of it"]),
        (
            case("matrix: {t: [{id: a b, value: 1}]}"),
            &["3:23 the label \"a b\" is not made of `a-z`, `0-9` and `_` alone"],
        ),
        (
            case("matrix: {t: [{id: a, valu: 1}]}"),
            &["3:18 the key `value` is missing", "3:26 unknown key `valu`"],
        ),
        (case("matrix: {t: [1]}\n    exclude: [{u: 1}]"), &["4:16 there is no axis `u`"]),
        (case("matrix: {t: [1]}\n    exclude: [{t: \"1\"}]"), &["4:15 this matches no trial"]),
        (case("matrix: {t: [0]}\n    exclude: [{t: false}]"), &["4:15 this matches no trial"]),
        (case("matrix: {t: [1]}\n    exclude: [{t: 1}]"), &["4:14 nothing is left of the matrix"]),
        (
            case("matrix: {t: [1], u: [1]}\n    add: [{t: 2}]"),
            &["4:11 the axis `u` is missing: a combination to add names all of them"],
        ),
        (case("matrix: {t: [1]}\n    add: [{t: 1}]"), &["4:11 there is a trial `t_1` already"]),
        (case("overrides: [{when: {t: 1}, a: 1}]"), &["3:25 there is no axis `t`"]),
        (case("matrix: {t: [1]}\n    overrides: [{a: 1}]"), &["4:17 an override needs a mapping `when`"]),
        (case("matrix: {t: [1]}\n    overrides: [{when: {t: 2}, a: 1}]"), &["4:24 this matches no trial"]),
        (
            case("matrix: {t: [1]}\n    overrides: [{when: {t: 1}, id: y}]"),
            &["4:32 an override cannot change `id`"],
        ),
        (
            case("matrix: {t: [1]}\n    overrides: [{when: {t: 1}, timeout: x}]"),
            &["4:41 expected a duration such as `500ms`, `30s`, `2m` or `1h30m`, found \"x\""],
        ),
        (
            case("matrix: {t: [1]}\n    overrides: [{when: {t: 1}, required_capabilities: [tools]}]"),
            &["4:56 there is no capability `tools`"],
        ),
        (case("matrix: {temp: [1]}\n    request: {a: [\"中${tmp}\"]}"), &["4:19 there is no axis `tmp`"]),
        (case("request: \"${t}\""), &["3:14 there is no axis `t`"]),
        (case("matrix: {t: [1]}\n    request: \"${t\""), &["4:14 `${` without its `}`"]),
    ];
    for (text, expected) in table {
        assert_eq!(told(text), *expected, "{text}");
    }
}

#[test]
fn mistakes_of_a_spec_are_told_through_the_layers() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for its mistakes")]
    struct Spec {
        request: Request,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for its mistakes")]
    struct Request {
        model: String,
        temperature: Option<f64>,
    }
    let text = "\
defaults:
  request: {model: 5}
cases:
  - id: a
    matrix: {t: [0, warm]}
    timout: 3s
    request: {temperature: '${t}'}
    overrides:
      - when: {t: warm}
        request: {temprature: 1}
";
    let mut problems = Problems::new();
    for trial in expanded(text) {
        problems.collect(read::typed::<Spec>(trial.spec(), &trial.origin, CASE_KEYS));
    }
    snapbox::assert_data_eq!(problems.to_string(), snapbox::file!["golden/layers.txt"]);
}

#[test]
fn too_many_trials_are_refused_before_they_are_made() {
    let axis = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "cases:\n  - id: x\n    matrix: {{a: [{0}], b: [{0}], c: [{0}], d: [{0}], e: [{0}]}}\n",
        axis(1000)
    );
    assert_eq!(told(&text), ["3:13 this matrix makes 1000000000000000 trials; 10000 are allowed"]);
    let text = format!(
        "cases:\n  - id: x\n    matrix: {{a: [{}]}}\n  - id: y\n    matrix: {{a: [1, 2]}}\n",
        axis(1999)
    );
    assert_eq!(told(&text), ["5:13 this file makes 2001 trials; 2000 are allowed"]);
    let more = Limits { per_file: 10_000, ..Limits::default() };
    assert_eq!(expanded_within(&text, more).map(|trials| trials.len()), Ok(2001));
}

#[test]
fn the_schema_lets_every_right_file_pass() {
    #[derive(JsonSchema)]
    #[schemars(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Spec {
        /// What is sent.
        request: Inner,
        count: u32,
        mode: Mode,
        expect: Vec<Expect>,
    }
    #[derive(JsonSchema)]
    #[schemars(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Inner {
        n: u32,
    }
    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Mode {
        Plain,
        Stream,
    }
    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Expect {
        Status(u16),
        Done,
    }
    let schema = schema_of_case_file::<Spec>("functional");
    snapbox::assert_data_eq!(
        serde_json::to_string_pretty(&schema).expect("it is JSON"),
        snapbox::file!["golden/schema.json"].raw()
    );
    let mut known: Vec<&String> =
        schema["$defs"]["case"]["properties"].as_object().expect("a mapping of keys").keys().collect();
    known.retain(|key| CASE_KEYS.contains(&key.as_str()));
    assert_eq!(known, CASE_KEYS, "the list of keys and the type say the same");

    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let case = |case: Value| json!({"defaults": {"count": 1, "timeout": "3s"}, "cases": [case]});
    for right in [
        case(json!({"id": "x"})),
        case(json!({"id": "x", "request": {}, "mode": "plain", "expect": ["done", {"status": 200}]})),
        case(
            json!({"id": "x", "matrix": {"m": [1, {"id": "a", "value": {}}]}, "request": {"n": "${m}"}, "mode": "${m}"}),
        ),
        case(json!({"id": "x", "expect": ["${m}", {"status": "${m}"}], "count": "${m}"})),
    ] {
        assert!(
            validator.is_valid(&right),
            "{right}: {:?}",
            validator.iter_errors(&right).collect::<Vec<_>>()
        );
    }
    for wrong in [
        json!({}),
        json!({"cases": []}),
        json!({"defaults": {"id": "x"}, "cases": [{"id": "y"}]}),
        case(json!({})),
        case(json!({"id": "x", "requets": {}})),
        case(json!({"id": "x", "count": "many"})),
        case(json!({"id": "x", "mode": "fast"})),
        case(json!({"id": "x", "expect": [{"stauts": 200}]})),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

proptest! {
    #[test]
    fn ids_are_unique_and_in_the_order_of_the_product(axes in prop::collection::vec(prop::collection::btree_set(-50i64..50, 1..5), 1..4)) {
        let matrix: Vec<String> = axes.iter().enumerate().map(|(n, values)| format!("a{n}: {values:?}").replace('{', "[").replace('}', "]")).collect();
        let trials = expanded(&format!("cases:\n  - id: x\n    matrix: {{{}}}\n", matrix.join(", ")));
        prop_assert_eq!(trials.len(), axes.iter().map(|values| values.len()).product::<usize>());
        let mut ids = names(&trials);
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), trials.len());
        let values: Vec<Vec<i64>> = trials.iter().map(|trial| trial.values.values().filter_map(Value::as_i64).collect()).collect();
        prop_assert!(values.is_sorted(), "sorted axes give a sorted product");
    }

    #[test]
    fn a_new_order_of_values_renames_nothing((values, shuffled) in prop::collection::vec(-100i64..100, 1..12)
        .prop_map(|mut values| { values.sort_unstable(); values.dedup(); values })
        .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())))
    {
        let ids = |values: &[i64]| {
            let trials = expanded(&format!("cases:\n  - id: x\n    matrix: {{t: {values:?}}}\n    v: '${{t}}'\n"));
            let mut all: Vec<_> = trials.iter().map(|trial| (trial.id.clone(), trial.hash().to_owned())).collect();
            all.sort();
            all
        };
        prop_assert_eq!(ids(&values), ids(&shuffled));
    }
}
