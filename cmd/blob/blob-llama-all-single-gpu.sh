#!/usr/bin/env bash
# BLoB on Llama-2-7B, six datasets, three seeds, one process (the reference's
# blob-llama-all-single-gpu).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

name=blob-DATASET-sample10-eps0.05-kllr0.01-beta0.2-gamma8
train_each BLoB-llama-all-single-gpu/$name "$ID6" \
  --config cmd/configs/llama.json --processes 1 --eval-every 6000
