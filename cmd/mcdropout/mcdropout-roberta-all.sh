#!/usr/bin/env bash
# MC dropout on RoBERTa, five datasets, three seeds, four processes (what the reference's
# mcdropout-roberta-all intends).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

train_each MCD-roberta-all/mcdropout-DATASET-sample10 "$GLUE5" \
  --config cmd/configs/roberta.json --method mc-dropout --lora-dropout 0.1
