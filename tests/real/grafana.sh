#!/usr/bin/env bash
# The dashboard against the JSON schema that Grafana publishes (grafana-foundation-sdk): the frame, every panel, every
# variable and every query; then four spoilt copies, each of which has to be refused.
#
#   tests/real/grafana.sh setup  fetch the schema and a validator from GitHub and PyPI, once
#   tests/real/grafana.sh        needs git, python3
set -euo pipefail
cd "$(dirname "$0")/../.."
home=${GRAFANA_SCHEMA_HOME:-$HOME/.cache/grafana-schema}
commit=f178d5a42a8915fdda9235e97ad93881e3f94fef
if [ "$(git -C "$home/sdk" rev-parse HEAD 2>/dev/null)" != "$commit" ]; then
  rm -rf "$home/sdk" && mkdir -p "$home"
  git clone -q --filter=blob:none --no-checkout https://github.com/grafana/grafana-foundation-sdk "$home/sdk"
  git -C "$home/sdk" checkout -q "$commit" -- jsonschema
  git -C "$home/sdk" update-ref --no-deref HEAD "$commit"
fi
[ -x "$home/venv/bin/python" ] || { python3 -m venv "$home/venv" && "$home/venv/bin/pip" -q install jsonschema; }
if [ "${1:-}" = setup ]; then exit; fi
"$home/venv/bin/python" - "$home/sdk/jsonschema" configs/grafana/vllm-cibench.json <<'PY'
import copy, json, sys
from jsonschema import Draft7Validator
schemas, board = sys.argv[1], json.load(open(sys.argv[2]))

def load(name):
    schema = json.load(open(f"{schemas}/{name}.jsonschema.json"))
    # The generator wrote "an object" where Grafana's own type says "anything".
    for holder, key in (("MatcherConfig", "options"), ("DynamicConfigValue", "value")):
        if holder in schema["definitions"]:
            schema["definitions"][holder]["properties"][key] = {}
    return schema

def validator(name, definition):
    schema = load(name)
    return Draft7Validator({"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]})

frame, panel, row = (validator("dashboard", name) for name in ("Dashboard", "Panel", "RowPanel"))
variable, query = validator("dashboard", "VariableModel"), validator("prometheus", "Dataquery")
options = {name: validator(name, "Options") for name in ("timeseries", "stat", "table")}

def mistakes(board):
    checks = [(frame, {**board, "panels": [], "templating": {"list": []}}, "dashboard")]
    for one in board["panels"]:
        checks.append((row if one["type"] == "row" else panel, one, one["title"]))
        if one["type"] in options:
            checks.append((options[one["type"]], one["options"], one["title"] + " options"))
        checks += [(query, target, f"{one['title']} {target['refId']}") for target in one.get("targets", [])]
    checks += [(variable, one, one["name"]) for one in board["templating"]["list"]]
    found = [f"{what}: {list(error.path)}: {error.message[:300]}" for check, value, what in checks for error in check.iter_errors(value)]
    return len(checks), found

count, found = mistakes(board)
print("\n".join(found) or f"{count} parts are as the schema wants them")
for spoil in (lambda b: b["panels"][1]["gridPos"].update(w="6"), lambda b: b["panels"][1].update(tagets=[]),
              lambda b: b["templating"]["list"][2].update(type="qery"), lambda b: b.pop("schemaVersion")):
    spoilt = copy.deepcopy(board)
    spoil(spoilt)
    if len(mistakes(spoilt)[1]) <= len(found):
        sys.exit("a spoilt dashboard was not refused: this check proves nothing")
sys.exit(bool(found))
PY
