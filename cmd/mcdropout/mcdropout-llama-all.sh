#!/usr/bin/env bash
# MC dropout on Llama-2-7B, six datasets, three seeds, two processes (the reference's
# mcdropout-llama-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each MCD-llama-all/mcdropout-DATASET-sample10 "$ID6" \
  --config cmd/configs/llama.json --method mc-dropout --lora-dropout 0.1
