//! One mistake hides no other: what is wrong with a matrix, a placeholder or a common key, and with the suite's keys
//! beside it, is told in one go and once.
//!
//! 一次报出全部错误：一处错误不掩盖另一处。

use crate::toy::Toy;

fn mistakes(text: &str) -> Vec<String> {
    Toy::new().file("a", text).mistakes()
}

#[test]
fn a_placeholder_without_an_axis_hides_no_other_mistake() {
    let text = "\
cases:
  - id: x
    matrix: {n: [1, 2]}
    off: 3
    of: [1, '${m}', two, '${n}']
    expect: 1
";
    assert_eq!(
        mistakes(text),
        [
            "a.yaml:4:5 unknown key `off`",
            "a.yaml:5:13 there is no axis `m`",
            "a.yaml:5:21 expected a whole number, found the text \"two\"",
        ]
    );
    assert_eq!(
        mistakes("cases:\n  - id: x\n    of: '${m}'\n    expect: 1\n"),
        ["a.yaml:3:9 there is no axis `m`"],
        "a text that is no list is told once, as what it is"
    );
}

#[test]
fn what_types_cannot_say_is_told_beside_a_gap_whose_text_has_the_right_type() {
    let long = "cases:\n  - id: x\n    of: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n    expect: '${a} ${m}'\n";
    assert_eq!(
        mistakes(long),
        [
            "a.yaml:3:9 expected at most 9 numbers, found 10",
            "a.yaml:4:13 there is no axis `a`",
            "a.yaml:4:13 there is no axis `m`",
        ]
    );
}

#[test]
fn a_matrix_with_a_mistake_hides_none_of_its_case_and_its_overrides() {
    for (matrix, mistake) in [
        ("matrix: {n: []}", "a.yaml:3:17 the axis `n` has no list of values"),
        ("matrix: {n: [1], m: [1, 1]}", "a.yaml:3:29 1 and 1 both become `m_1` in the id"),
        ("matrix: {n: [1]}\n    exclude: [{n: 2}]", "a.yaml:4:15 this matches no trial"),
        ("matrix: {n: [1]}\n    exclude: [{m: 2}]", "a.yaml:4:16 there is no axis `m`"),
        ("matrix: 1", "a.yaml:3:13 expected a mapping, found the number 1"),
    ] {
        let text = format!(
            "cases:\n  - id: x\n    {matrix}\n    of: ['${{n}}', two]\n    expect: 1\n    overrides:\n      - when: {{n: 1}}\n        \
             expct: 2\n"
        );
        let at = text.lines().position(|line| line.contains("two")).expect("it is there") + 1;
        let mut expected = vec![
            mistake.to_owned(),
            format!("a.yaml:{at}:18 expected a whole number, found the text \"two\""),
        ];
        if matrix != "matrix: 1" {
            expected.push(format!("a.yaml:{}:9 unknown key `expct`", at + 4));
        }
        assert_eq!(mistakes(&text), expected, "{text}");
    }
}

#[test]
fn a_mistake_in_a_common_key_hides_none_of_the_suite() {
    for (key, mistake) in [
        ("tags: 5", "a.yaml:3:11 expected a list, found the number 5"),
        ("required_capabilities: [toy.rots]", "a.yaml:3:29 there is no capability `toy.rots`"),
        ("timeout: 3", "a.yaml:3:14 expected text, found the number 3"),
    ] {
        let text = format!("cases:\n  - id: x\n    {key}\n    of: [two]\n    expect: 1\n");
        let typed = "a.yaml:4:10 expected a whole number, found the text \"two\"";
        assert_eq!(mistakes(&text), [mistake, typed], "{text}");
    }
    assert_eq!(
        mistakes("cases:\n  - id: X\n    of: [two]\n    expect: 1\n  - id: y\n    off: 1\n    expect: 1\n"),
        [
            "a.yaml:2:9 the id \"X\" is not made of `a-z`, `0-9` and `_` alone",
            "a.yaml:3:10 expected a whole number, found the text \"two\"",
            "a.yaml:5:5 the key `of` is missing",
            "a.yaml:6:5 unknown key `off`",
        ]
    );
}

#[test]
fn all_files_tell_theirs_together() {
    let toy = Toy::new()
        .file("a", "cases:\n  - id: x\n    of: ['${m}']\n    expt: 1\n")
        .file("b", "cases:\n  - id: x\n    matrix: {n: 1}\n    of: 1\n    expect: 1\n")
        .file("c", "cases:\n\t- id: x\n");
    assert_eq!(
        toy.mistakes(),
        [
            "a.yaml:2:5 the key `expect` is missing",
            "a.yaml:3:10 there is no axis `m`",
            "a.yaml:4:5 unknown key `expt`",
            "b.yaml:3:17 the axis `n` has no list of values",
            "b.yaml:4:9 expected a list, found the number 1",
            "c.yaml:2:1 a tab in the indentation",
        ]
    );
}
