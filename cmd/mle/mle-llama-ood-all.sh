#!/usr/bin/env bash
# MLE trained on obqa, evaluated on four other datasets (the reference's mle-llama-ood-all).
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

transfer_each MLE-llama-ood-all/mle-obqa MLE-llama-ood-all/mle-obqa-on-DATASET \
  --config cmd/configs/llama.json --method mle --
