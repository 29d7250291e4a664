#!/usr/bin/env python3
"""Scores answers with the scorers of the Python package `nvidia-simple-evals`, to hold ours against them.

    python3 -m venv V && V/bin/pip install nvidia-simple-evals
    V/bin/python scripts/accuracy_differential.py score FILE.jsonl...          writes `expected` into each line
    V/bin/python scripts/accuracy_differential.py solutions TASKS OUT.jsonl    answers made of HumanEval's solutions
    V/bin/python scripts/accuracy_differential.py questions FOLDER             lines with a `prompt`, in the package's words
    V/bin/python scripts/accuracy_differential.py ask URL MODEL FILE.jsonl...  lines with a `prompt` get an `answer`
    V/bin/python scripts/accuracy_differential.py items ITEMS.jsonl... OUT     the answers of a run of ours

A line is {"key": a key as src/accuracy/evaluator writes it, "answer": text, "origin": where the answer is from}. What
the scorer says is added as `expected` (`score`; for DROP `em_score` and `f1_score` too). `cargo test differential`
marks the same lines in tests/fixtures/accuracy/differential, and those in the folder that
VLLM_CIBENCH_DIFFERENTIAL names, and compares line by line.

Answers to HumanEval are run by `score` as the package runs them: without a sandbox. What a model wrote is therefore
not scored: `items` leaves it out, and `score` refuses a HumanEval line that `solutions` has not made.
"""

import asyncio
import concurrent.futures
import gzip
import json
import pathlib
import random
import sys
import urllib.request


class Sampler:
    """Says what was answered."""

    def __init__(self, answer):
        self.answer, self.last_usage, self.last_reasoning_content = answer, {}, None

    def _pack_message(self, role, content):
        return {"role": role, "content": content}

    async def __call__(self, messages, seed=None):
        return self.answer


class Seeds:
    def get_seed(self, *_):
        return 0


def scored(kind, example, answer, **settings):
    """One example through the package's own evaluation, whose loading of data alone is left out."""
    import simple_evals.common as common

    evaluation = kind.__new__(kind)
    defaults = {"examples": [example], "num_threads": 1, "cache_dir": None, "n_repeats": 1, "custom_eval_config": None}
    vars(evaluation).update({**defaults, "seed_generator": Seeds(), **settings})

    async def one_by_one(function, examples, **_):
        return [await function(example, index) for index, example in enumerate(examples)]

    kept = common.map_with_progress, common.aggregate_results
    common.map_with_progress, common.aggregate_results = one_by_one, lambda results, **_: results
    try:
        [result] = asyncio.run(evaluation(Sampler(answer)))
    finally:
        common.map_with_progress, common.aggregate_results = kept
    return {"score": float(result.score)}


def gpqa(key, answer):
    from simple_evals.evals.gpqa_eval import QUERY_TEMPLATE_MULTICHOICE, GPQAEval

    names = ["Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"]
    order = [1, 2, 3]
    order.insert("ABCD".index(key["letter"]), 0)
    row = {"Question": "?", "permutation": order, **{name: name for name in names}}
    settings = {"variant": "diamond", "is_nemo": False, "query_template": QUERY_TEMPLATE_MULTICHOICE}
    return scored(GPQAEval, row, answer, **settings)


def mmlu(key, answer):
    from simple_evals.evals.mmlu_eval import MMLUEval

    row = {"Question": "?", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": key["letter"], "Subject": "virology"}
    return scored(MMLUEval, row, answer, language="en")


def mgsm(key, answer):
    from simple_evals.evals.mgsm_eval import MGSMEval

    return scored(MGSMEval, {"inputs": "?", "targets": key["target"], "lang": key["language"]}, answer)


def drop(key, answer):
    """Its evaluation cannot run (it passes a plain function where a coroutine is awaited); its scorers can."""
    import re

    from simple_evals.evals.drop_eval import ANSWER_PATTERN, drop_metric, fuzzy_match

    match = re.search(ANSWER_PATTERN, answer)
    found = match.group(1) if match else answer
    em_score, f1_score = drop_metric(found, key["answers"])
    score = float(any(fuzzy_match(found, right) for right in key["answers"]))
    return {"score": score, "em_score": float(em_score), "f1_score": float(f1_score)}


def humaneval(key, answer):
    from simple_evals.evals.humaneval_eval import HumanEval

    task = {"task_id": "t", **{name: key[name] for name in ("prompt", "entry_point", "test")}}
    settings = {"eval_name": "humaneval", "_num_samples_per_task": 1, "_ks_passes": [1], "_timeout": 15.0}
    return scored(HumanEval, task, answer, **settings)


def score(paths):
    for path in map(pathlib.Path, paths):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            [(name, key)] = line["key"].items()
            if name == "humaneval" and not line["origin"].startswith("solution"):
                sys.exit(f"{path}: {line['origin']}: not run: nobody vouches for it")
            line["expected"] = globals()[name](key, line["answer"])
        write(path, lines)
        right = sum(line["expected"]["score"] == 1 for line in lines)
        print(f"{path}: {len(lines)} answers, {right} right")


CHANGES = [("<", ">="), (" + ", " - "), ("==", "!="), ("return ", "return 1 and "), ("range(", "range(1 + ")]


def solutions(tasks, out):
    """Of each task: a solution in one of several dresses, and solutions with something changed in them."""
    read = gzip.open if tasks.endswith(".gz") else open
    lines = []
    with read(tasks, "rt") as file:
        for index, task in enumerate(map(json.loads, file)):
            names = ("entry_point", "prompt", "test")
            key = {"humaneval": {**{name: task[name] for name in names}, "sandbox": "full"}}
            prompt, body = task["prompt"], task["canonical_solution"]
            dresses = [
                f"```python\n{prompt}{body}\n```",
                f"Here it is.\n\n```python\n{prompt}{body}```\n\nDone.",
                prompt + body,
                f"```\n{prompt}{body}\n```",
                f"```python\n{prompt}{body}\n```\n\n```python\nprint({task['entry_point']})\n```",
            ]
            lines.append({"origin": "solution", "key": key, "answer": dresses[index % len(dresses)]})
            changes = [(old, new) for old, new in CHANGES if old in body]
            for old, new in changes[index % 2 : index % 2 + 1] or changes[:1]:
                answer = f"```python\n{prompt}{body.replace(old, new, 1)}\n```"
                lines.append({"origin": f"solution with {old!r} for {new!r}", "key": key, "answer": answer})
            if index % 4 == 0:
                narrow = f"```python\n{prompt}{body}".replace("    ", "  ") + "\n```"
                lines.append({"origin": "solution indented by two", "key": key, "answer": narrow})
    write(pathlib.Path(out), lines)


def questions(folder):
    """Sixty easy questions for each evaluator but HumanEval, worded by the package's own templates."""
    folder, draw = pathlib.Path(folder), random.Random(7)
    for kind, make in {"gpqa": choice, "mmlu": choice, "mgsm": sum_of_two, "drop": passage}.items():
        made = [make(kind, draw, index) for index in range(60)]
        write(folder / f"{kind}.jsonl", [{"key": {kind: key}, "prompt": prompt} for key, prompt in made])


def choice(kind, draw, index):
    from simple_evals.common import QUERY_TEMPLATE_MULTICHOICE

    one, other, letter = draw.randrange(2, 30), draw.randrange(2, 30), "ABCD"[index % 4]
    options = {other_letter: one + other + 1 + place for place, other_letter in enumerate("ABCD")}
    options[letter] = one + other
    return {"letter": letter}, QUERY_TEMPLATE_MULTICHOICE.format(Question=f"What is {one} + {other}?", **options)


STORIES = {
    "en": "Tom has {0} apples. He buys {1} more. How many apples does he have?",
    "de": "Tom hat {0} Äpfel. Er kauft {1} dazu. Wie viele Äpfel hat er?",
    "zh": "小明有{0}个苹果，又买了{1}个。他现在有多少个苹果？",
}


def sum_of_two(kind, draw, index):
    from simple_evals.evals.mgsm_eval import LANG_TO_INSTRUCTIONS

    language = list(STORIES)[index % len(STORIES)]
    one, other = draw.randrange(2, 20), draw.randrange(2, 20)
    story = STORIES[language].format(one, other)
    return {"language": language, "target": str(one + other)}, LANG_TO_INSTRUCTIONS[language].format(input=story)


def passage(kind, draw, index):
    """As simple-evals asks DROP, with one example for three: its own wording, filled in."""
    name, other = draw.sample(["Anna", "Boris", "Clara", "David", "Emma", "Felix"], 2)
    one, two = draw.sample(range(2, 40), 2)
    text = f"{name} scored {one} points in the first game, and {other} scored {two} in the second."
    asked, answers = [
        (f"How many points did {name} score?", [str(one)]),
        (f"Who scored {two} points?", [other]),
        ("In which game were the fewer points scored?", ["first" if one < two else "second"]),
    ][index % 3]
    example = "Passage: Rome has 3 parks and 5 lakes.\nQuestion: How many lakes has Rome?\nAnswer: 5"
    prompt = (
        "You will be asked to read a passage and answer a question. Some examples of passages and Q&A are provided "
        f"below.\n\n# Examples\n---\n{example}\n\n# Your Task\n\n---\nPassage: {text}\nQuestion: {asked}\n\n"
        'Think step by step, then write a line of the form "Answer: $ANSWER" at the end of your response.'
    )
    return {"answers": answers}, prompt


def ask(url, model, paths):
    """Greedily first and then with some chance, so that answers differ in form; sixteen at a time."""

    def answered(place, line):
        messages = [{"role": "user", "content": line["prompt"]}]
        body = {"model": model, "messages": messages, "temperature": place % 2 * 0.8, "seed": place, "max_tokens": 80}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            text = json.load(answer)["choices"][0]["message"]["content"] or ""
        return {"key": line["key"], "answer": text, "origin": model}

    for path in map(pathlib.Path, paths):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            write(path, list(pool.map(answered, range(len(lines)), lines)))


def items(*paths):
    """The answers that `items.jsonl` of runs of ours hold, none of them a program."""
    *sources, out = map(pathlib.Path, paths)
    rows = [json.loads(line) for source in sources for line in source.read_text().splitlines()]
    kept = [row for row in rows if row["text"] is not None and "humaneval" not in row["key"]]
    write(out, [{"key": row["key"], "answer": row["text"], "origin": f"run, item {row['id']}"} for row in kept])


def write(path, lines):
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["score", *paths] if paths:
            score(paths)
        case ["solutions", tasks, out]:
            solutions(tasks, out)
        case ["questions", folder]:
            questions(folder)
        case ["ask", url, model, *paths] if paths:
            ask(url, model, paths)
        case ["items", *paths] if len(paths) > 1:
            items(*paths)
        case _:
            sys.exit(__doc__)
