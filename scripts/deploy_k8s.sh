#!/usr/bin/env bash
# Applies a manifest and, with --wait, waits for its pods: `vllm-cibench deploy` with the same flags.
#
#   scripts/deploy_k8s.sh -f configs/deploy/infer_vllm_kubeinfer.yaml --wait 30
set -euo pipefail
exec "${VLLM_CIBENCH:-vllm-cibench}" deploy "$@"
