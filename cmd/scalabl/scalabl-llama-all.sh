#!/usr/bin/env bash
# ScalaBL on six datasets, three seeds, one process, with its published rates. The reference has no
# such script.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each ScalaBL-llama-all/scalabl-DATASET-sample10-eps0.05-kllr0.2 "$ID6" \
  --config cmd/configs/llama.json --method scalabl --processes 1 --scale-kl-lr 0.2 \
    --scale-prior-std 1
