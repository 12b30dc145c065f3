#!/usr/bin/env bash
# The same as blob-llama-all-single-gpu, evaluated at the posterior mean ("N = 0" in the paper).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

name=blob-DATASET-sample1-eps0.05-kllr0.01-beta0.2-gamma8
train_each BLoB-mean-llama-all-single-gpu/$name "$ID6" \
  --config cmd/configs/llama.json --processes 1 --eval-every 6000 --eval-samples 0
