#!/usr/bin/env bash
# One stage of one scenario, or of the whole matrix, ended early enough to write its reports.
#
#   scripts/ci_stage.sh functional|perf|accuracy pr     SCENARIO=sim MINUTES=30
#   scripts/ci_stage.sh all daily                       MINUTES=360 DRY_RUN=true|false
set -euo pipefail
stage=$1 run_type=$2
command=${VLLM_CIBENCH:-target/st/vllm-cibench}
# A tenth of the limit is left for the reports and for taking the server down; SIGTERM asks for both.
limit=$(( MINUTES * 54 ))
case $stage in
  all)
    options=()
    [ "${DRY_RUN:-false}" != true ] || options=(--dry-run)
    exec timeout --signal=TERM "$limit" "$command" run-matrix --run-type "$run_type" "${options[@]}"
    ;;
  # The gates over a whole run are about its functional cases.
  functional) others=(perf accuracy) ;;
  perf) others=(functional accuracy gate) ;;
  accuracy) others=(functional perf gate) ;;
  *) echo "expected functional, perf, accuracy or all, found $stage" >&2; exit 2 ;;
esac
skips=()
for kind in "${others[@]}"; do skips+=(--skip "$kind::"); done
code=0
timeout --signal=TERM "$limit" "$command" run --scenario "$SCENARIO" --run-type "$run_type" "${skips[@]}" || code=$?
# 5: the matrix leaves this stage out, or there are no such cases. 3: inconclusive, which is a warning.
case $code in
  0) ;;
  3) echo "::warning title=$stage::inconclusive; see the summary" ;;
  5) echo "::notice title=$stage::nothing to run for $SCENARIO" ;;
  124) echo "::error title=$stage::stopped after $((limit / 60)) of $MINUTES minutes; what had finished is reported"; exit 1 ;;
  *) exit "$code" ;;
esac
