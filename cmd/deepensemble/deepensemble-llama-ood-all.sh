#!/usr/bin/env bash
# A deep ensemble trained on obqa, evaluated on four other datasets (the reference's
# deepensemble-llama-ood-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

table=ENS-llama-ood-all
transfer_each $table/deepensemble-obqa $table/deepensemble-obqa-on-DATASET \
  --config cmd/configs/llama.json --method ensemble --members 3 --
