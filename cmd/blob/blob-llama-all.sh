#!/usr/bin/env bash
# BLoB on Llama-2-7B, six datasets, three seeds, two processes (the reference's blob-llama-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each BLoB-llama-all/blob-DATASET-sample10-eps0.05-kllr0.01-beta0.2-gamma8 "$ID6" \
  --config cmd/configs/llama.json
