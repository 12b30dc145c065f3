#!/usr/bin/env bash
# BLoB trained on obqa, evaluated on four other datasets (the reference's blob-llama-ood-all). The
# training omits the rescaling of the KL cycle: M is the loader's length per process, 619. The
# evaluation uses batches of 16.
set -euo pipefail
source "$(dirname "$0")/../environment.sh"

for seed in ${SEEDS:-1 2 3}; do
  run=BLoB-llama-ood-all/blob-obqa-eps0.05-kllr0.01-beta0.2-gamma8-seed$seed
  train "$run" --config cmd/configs/llama.json --dataset obqa --kl-cycle epoch --seed "$seed"
  for dataset in ${DATASETS:-$OOD4}; do
    name=blob-$dataset-sample10-eps0.05-kllr0.01-beta0.2-gamma8-seed$seed
    evaluate "$run" "BLoB-llama-ood-all/$name" --dataset "$dataset" --samples 10 --eval-batch-size 16
  done
done
