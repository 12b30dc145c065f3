#!/usr/bin/env bash
# MAP trained on obqa, evaluated on four other datasets (the reference's map-llama-ood-all, whose
# names are MLE's and write over them).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

transfer_each MAP-llama-ood-all/map-obqa MAP-llama-ood-all/map-obqa-on-DATASET \
  --config cmd/configs/llama.json --method map --
