#!/usr/bin/env bash
# BLoB trained on obqa, evaluated on four other datasets (the reference's blob-llama-ood-all). The
# training omits the rescaling of the KL cycle: M is the loader's length per process, 619. The
# evaluation uses batches of 16.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

table=BLoB-llama-ood-all settings=eps0.05-kllr0.01-beta0.2-gamma8
transfer_each $table/blob-obqa-$settings $table/blob-DATASET-sample10-$settings \
  --config cmd/configs/llama.json --kl-cycle epoch -- --samples 10 --eval-batch-size 16
