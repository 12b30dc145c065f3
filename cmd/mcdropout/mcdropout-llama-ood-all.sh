#!/usr/bin/env bash
# MC dropout trained on obqa, evaluated on four other datasets (the reference's
# mcdropout-llama-ood-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

table=MCD-llama-ood-all
transfer_each $table/mcdropout-obqa-sample10 $table/mcdropout-obqa-on-DATASET-sample10 \
  --config cmd/configs/llama.json --method mc-dropout --lora-dropout 0.1 -- --samples 10
