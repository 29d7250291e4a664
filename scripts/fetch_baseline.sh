#!/usr/bin/env bash
# Brings the results of the newest daily run of main that left any into a folder, for performance to be held against.
# None is no error: the gate then says `no_baseline`.
#
#   scripts/fetch_baseline.sh DIR          needs `gh`, GH_TOKEN with actions:read, and GITHUB_REPOSITORY
set -euo pipefail
folder=$1
mkdir -p "$folder"
runs=$(gh run list --repo "$GITHUB_REPOSITORY" --workflow daily.yml --branch main --status completed --limit 10 \
  --json databaseId --jq '.[].databaseId' || true)
for run in $runs; do
  if gh run download "$run" --repo "$GITHUB_REPOSITORY" --name daily-results --dir "$folder"; then
    echo "baseline: the daily run $run"
    exit 0
  fi
done
echo "::warning title=no baseline::no daily run of main has results yet, or they are past their retention"
