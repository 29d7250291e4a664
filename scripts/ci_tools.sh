#!/usr/bin/env bash
# What the checks need on a runner of GitHub's, or on one of your own where it is missing: a Rust toolchain with the
# LLVM tools under the names that .ci/coverage looks for, and a real Prometheus for the tests of the dashboard.
set -euo pipefail
rustup toolchain install stable --profile minimal --component clippy --component rustfmt --component llvm-tools
rustup default stable
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
mkdir -p "$HOME/.local/bin"
for tool in llvm-cov llvm-profdata; do
  ln -sf "$tools/$tool" "$HOME/.local/bin/$tool-$llvm"
done
[ -z "${GITHUB_PATH:-}" ] || echo "$HOME/.local/bin" >>"$GITHUB_PATH"
if ! command -v promtool >/dev/null && command -v sudo >/dev/null; then
  sudo apt-get update -qq
  sudo apt-get install -y -qq --no-install-recommends prometheus prometheus-pushgateway >/dev/null
  # Debian starts them; the tests start their own.
  sudo systemctl disable --now prometheus prometheus-pushgateway 2>/dev/null || true
fi
