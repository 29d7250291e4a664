#!/usr/bin/env bash
# Pushes the figures of an acs-bench summary to a Pushgateway: `vllm-cibench push` with the same flags.
#
#   scripts/collect_and_push.sh --csv benchmark_output/summary_x.csv --run-type daily \
#     --label model=qwen3-32b --label quant=w8a8 --label scenario=local_single --gateway-url http://pushgateway:9091
set -euo pipefail
exec "${VLLM_CIBENCH:-vllm-cibench}" push "$@"
