#!/usr/bin/env bash
# The JUnit file of a run of every status, read by the parsers of the three actions that GitHub users have: dorny/
# test-reporter, mikepenz/action-junit-report and EnricoMi/publish-unit-test-result-action. Their counts, names and
# reasons have to be those of the run's own report.
#
#   tests/real/junit.sh setup     fetch the three repositories at the commits below, and what their parsers need, once
#   tests/real/junit.sh [RUN]     RUN: a run folder; without it: the committed journal of every status
#
# Needs the built command, git, node with npm, python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
home=${JUNIT_READERS_HOME:-$HOME/.cache/junit-readers}
command=${VLLM_CIBENCH:-target/debug/vllm-cibench}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

clone() { # OWNER/NAME COMMIT
  local folder=$home/${1#*/}
  [ "$(git -C "$folder" rev-parse HEAD 2>/dev/null)" = "$2" ] && return
  rm -rf "$folder"
  git clone -q "https://github.com/$1" "$folder"
  git -C "$folder" checkout -q "$2"
}
setup() {
  mkdir -p "$home"
  clone dorny/test-reporter 29672c52a8220c09bd9f79b5b6cf6315f1763996
  clone mikepenz/action-junit-report 305cd1f47a0fbd606dfeacc59048ea5595ea0a96
  clone EnricoMi/publish-unit-test-result-action c9bbcabcaf28c5ce2a9f8b6ee91c62873071b2ce

  # The parsers' own dependencies, and a bundler for the two that are TypeScript.
  [ -d "$home/node_modules/esbuild" ] || (cd "$home" && npm install --silent --no-fund --no-audit --ignore-scripts=false \
    esbuild@0.25 xml2js@0.6.2 xml-js@1.6.11 glob@13 @actions/core@3.0.1 >/dev/null)
  [ -x "$home/venv/bin/python" ] || { python3 -m venv "$home/venv" && "$home/venv/bin/pip" -q install junitparser==5.0.0 lxml humanize; }
}
setup
if [ "${1:-}" = setup ]; then exit; fi

mkdir "$work/run"
cp "${1:-tests/fixtures/journals/every_status.jsonl}" "$work/run/journal.jsonl" 2>/dev/null || cp "$1/journal.jsonl" "$work/run/"
"$command" report "$work/run" >/dev/null

bundle() { # ENTRY OUT
  NODE_PATH=$home/node_modules "$home/node_modules/.bin/esbuild" "$1" --bundle --platform=node --format=cjs --log-level=error --outfile="$2"
}
bundle "$home/test-reporter/src/parsers/java-junit/java-junit-parser.ts" "$work/dorny.cjs"
bundle "$home/action-junit-report/src/testParser.ts" "$work/mikepenz.cjs"
cat >"$work/dorny.js" <<'JS'
const fs = require('fs'), {JavaJunitParser} = require('./dorny.cjs')
const file = process.argv[2]
new JavaJunitParser({parseErrors: true, trackedFiles: []}).parse(file, fs.readFileSync(file, 'utf8')).then(run => {
  const cases = run.suites.flatMap(suite => suite.groups.flatMap(group => group.tests))
  const of = result => cases.filter(test => test.result === result)
  console.log(JSON.stringify({
    tests: run.tests, failed: run.failed, skipped: run.skipped,
    failed_names: of('failed').map(test => test.name), skipped_names: of('skipped').map(test => test.name),
    reasons: Object.fromEntries(of('failed').map(test => [test.name, `${test.error.message} ${test.error.details}`])),
  }))
})
JS
cat >"$work/mikepenz.js" <<'JS'
const {parseTestReports} = require('./mikepenz.cjs')
const file = process.argv[2]
// includePassed and annotateNotice: every case becomes an annotation, with its status.
parseTestReports('', '', file, '', true, true, false, [], '{{TEST_NAME}}', '').then(run => {
  const of = status => run.globalAnnotations.filter(one => one.status === status)
  console.log(JSON.stringify({
    tests: run.totalCount, failed: run.failed, skipped: run.skipped,
    failed_names: of('failure').map(one => one.title), skipped_names: of('skipped').map(one => one.title),
    reasons: Object.fromEntries(of('failure').map(one => [one.title, `${one.message} ${one.raw_details}`])),
    places: Object.fromEntries(of('failure').map(one => [one.title, `${one.path}:${one.start_line}`])),
  }))
})
JS
cat >"$work/enricomi.py" <<'PY'
import json, sys
from publish.junit import parse_junit_xml_files, process_junit_xml_elems
run = process_junit_xml_elems(parse_junit_xml_files([sys.argv[1]], False, False))
assert not run.errors, run.errors
red = [case for case in run.cases if case.result in ("failure", "error")]
skipped = [case for case in run.cases if case.result == "skipped"]
print(json.dumps({
    "tests": run.suite_tests, "failed": run.suite_failures + run.suite_errors, "skipped": run.suite_skipped,
    "failed_names": [case.test_name for case in red], "skipped_names": [case.test_name for case in skipped],
    "reasons": {case.test_name: f"{case.message} {case.content}" for case in red + skipped},
    "places": {case.test_name: f"{case.test_file}:{case.line}" for case in red},
}))
PY
node "$work/dorny.js" "$work/run/junit.xml" >"$work/dorny.json"
node "$work/mikepenz.js" "$work/run/junit.xml" >"$work/mikepenz.json"
PYTHONPATH=$home/publish-unit-test-result-action/python "$home/venv/bin/python" "$work/enricomi.py" "$work/run/junit.xml" >"$work/enricomi.json"

python3 - "$work" <<'PY'
import csv, json, sys
work = sys.argv[1]
rows = list(csv.DictReader(open(f"{work}/run/trials.csv")))
status = {row["id"]: row["verdict"] for row in rows}
reason = {row["id"]: row["reason"] for row in rows}
red = {name for name, word in status.items() if word in ("failed", "errored", "invalid", "interrupted")}
skipped = {name for name, word in status.items() if word in ("skipped", "blocked", "inconclusive", "not_run", "not run")}
print(f"the run: {len(rows)} trials, {len(red)} red, {len(skipped)} skipped: {sorted(set(status.values()))}")
assert red and skipped, "a run that shows nothing"
wrong = []
def same(reader, what, found, expected):
    if found != expected: wrong.append(f"{reader}: {what}: {found!r} is not {expected!r}")
for reader in ("dorny", "mikepenz", "enricomi"):
    # An action talks to its runner on standard output; what was asked for comes last.
    read = json.loads(open(f"{work}/{reader}.json").read().splitlines()[-1])
    same(reader, "tests", read["tests"], len(rows))
    same(reader, "failed", read["failed"], len(red))
    same(reader, "skipped", read["skipped"], len(skipped))
    same(reader, "names of the red", set(read["failed_names"]), red)
    same(reader, "names of the skipped", set(read["skipped_names"]), skipped)
    explained = red | skipped if reader == "enricomi" else red
    for name in explained:
        if reason[name] not in " ".join(read["reasons"].get(name, "").split()):
            wrong.append(f"{reader}: {name}: no {reason[name]!r} in {read['reasons'].get(name)!r}")
    for name, place in read.get("places", {}).items():
        if status[name] == "failed" and ".yaml:" not in place: wrong.append(f"{reader}: {name}: its place is {place}")
    print(f"{reader}: {read['tests']} tests, {read['failed']} red, {read['skipped']} skipped, {len(explained)} reasons")
print("\n".join(wrong) if wrong else "all agree")
sys.exit(bool(wrong))
PY
